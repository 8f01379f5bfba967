"""Dynamic batching: a bounded queue, and one thread that forecasts compatible requests together.

- Requests with the same model, horizon, sampling and lookback share one `forecast_many`. Sampling is keyed by seed and
  series name, so a forecast does not depend on its batch.
- Interactive requests are computed before background jobs.
- If a batch fails, its requests are computed one by one, so one bad series does not affect the others.
- A cancelled request leaves the queue; a batch stops at its next step once all of its requests are cancelled.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kronos.serve.errors import ApiError, shutdown_error
from kronos.serve.jobs import wrap_exception
from kronos.serve.model_pool import ModelKey, ModelPool

if TYPE_CHECKING:
    from kronos.candles import Candles
    from kronos.forecasts import Forecast
    from kronos.inference import KronosPredictor, SamplingParams

_BATCH_WINDOW = 0.01  # seconds to wait for further requests

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class ForecastRequest:
    """One forecast to compute.

    Attributes:
        name: Name of the series; seeds its sampling.
        candles: History.
        horizon: Steps to forecast.
        sampling: Temperature, filters, number of samples, seed.
        model: Model to use.
        lookback: Largest number of history candles to use; None for the model's context.
        calibrate: Whether to calibrate the samples if the model has a calibration for this sampling.
        background: Whether interactive requests go first.
    """

    name: str
    candles: Candles
    horizon: int
    sampling: SamplingParams
    model: ModelKey
    lookback: int | None = None
    calibrate: bool = False
    background: bool = False

    @property
    def batch_key(self) -> Hashable:
        """Requests with equal keys can be computed together."""
        return self.model, self.horizon, self.sampling, self.lookback

    @property
    def work(self) -> int:
        """Path-steps: samples times steps."""
        return self.sampling.samples * self.horizon


@dataclass(frozen=True, slots=True, eq=False)
class FinishedForecast:
    """A forecast, and the same before calibration (identical if it is not calibrated)."""

    forecast: Forecast
    raw: Forecast


class Cancelled(Exception):  # noqa: N818 (not an error)
    """The request was cancelled."""


class PendingForecast:
    """A request in the queue or in computation.

    Attributes:
        request: The request.
        result: Future of the forecast.
    """

    def __init__(self, request: ForecastRequest, listener: Callable[[float], None] | None) -> None:
        self.request = request
        self.result: Future[FinishedForecast] = Future()
        self._listener = listener
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Give up the forecast."""
        self._cancelled.set()

    def advance(self, share: float) -> None:
        """Report progress; called in the inference thread."""
        if self._listener is not None:
            self._listener(share)

    def finish(self, outcome: FinishedForecast | BaseException) -> None:
        """Set the result or the error; only the first call counts."""
        with suppress(InvalidStateError):
            if isinstance(outcome, BaseException):
                self.result.set_exception(wrap_exception(outcome))
            else:
                self.result.set_result(outcome)


class InferenceQueue:
    """Computes forecasts in one thread, batch after batch.

    Attributes:
        computed: Forecasts computed so far.
        batches: Batches computed so far.
    """

    def __init__(self, models: ModelPool, *, queue: int, batch: int, threads: int | None = None) -> None:
        """Create the queue.

        Args:
            models: Loads the models.
            queue: Largest number of waiting requests.
            batch: Largest number of requests in a batch.
            threads: CPU threads of torch; None for torch's default.
        """
        self._models, self._max_waiting, self._batch, self._threads = models, queue, batch, threads
        self._queue: deque[PendingForecast] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._current: Sequence[PendingForecast] = ()
        self._pace = 0.0  # seconds per path-step, exponentially smoothed
        self.computed = 0
        self.batches = 0

    def start(self) -> None:
        """Start the inference thread."""
        threading.Thread(target=self._run, name="inference", daemon=True).start()

    @property
    def waiting(self) -> int:
        """Number of requests in the queue."""
        return len(self._queue)

    @property
    def busy(self) -> bool:
        """Whether a batch is being computed."""
        return bool(self._current)

    def submit(self, request: ForecastRequest, listener: Callable[[float], None] | None = None) -> PendingForecast:
        """Add a request to the queue.

        Args:
            request: The forecast to compute.
            listener: Called in the inference thread with the completed share.

        Raises:
            ApiError: 503 if the queue is full or the server is shutting down.
        """
        pending = PendingForecast(request, listener)
        with self._changed:
            if self._stopping:
                raise ApiError(503, "The server is shutting down; retry shortly.", retry_after=5)
            if len(self._queue) >= self._max_waiting:
                self._drop_cancelled()
            if len(self._queue) >= self._max_waiting:
                raise ApiError(503, "The forecast queue is full; retry later.", retry_after=self._delay())
            self._queue.append(pending)
            self._changed.notify()
        return pending

    def stop(self) -> None:
        """Reject new requests, drop waiting ones, and stop the current batch at its next step."""
        with self._changed:
            self._stopping = True
            dropped = [*self._queue, *self._current]
            self._queue.clear()
            self._changed.notify()
        for pending in dropped:
            pending.finish(shutdown_error())  # before `cancel`, or the inference thread may finish it as `Cancelled`
            pending.cancel()

    def _drop_cancelled(self) -> None:
        for pending in self._queue:
            if pending.cancelled:
                pending.finish(Cancelled())
        self._queue = deque(pending for pending in self._queue if not pending.cancelled)

    def _delay(self) -> float:
        """Estimate the seconds until the queue has room, from its work and the recent pace."""
        work = sum(pending.request.work for pending in (*self._queue, *self._current))
        return min(max(1.0, work * self._pace / 2), 60.0)

    def _run(self) -> None:
        try:
            if self._threads is not None:
                import torch

                torch.set_num_threads(self._threads)
        except Exception:  # noqa: BLE001 (without this thread every request would wait forever)
            _log.exception("cannot set the number of torch threads")
        while (batch := self._next_batch()) is not None:
            started = time.perf_counter()
            try:
                self._compute(batch)
            except BaseException as error:  # noqa: BLE001 (the thread must survive)
                _log.exception("batch failed")
                for pending in batch:
                    pending.finish(error)
            finally:
                self._current = ()
            work = sum(pending.request.work for pending in batch if not pending.cancelled)
            if work:
                pace = (time.perf_counter() - started) / work
                self._pace = pace if not self._pace else 0.8 * self._pace + 0.2 * pace

    def _next_batch(self) -> Sequence[PendingForecast] | None:
        """Wait for the next batch; None once the queue is stopped."""
        with self._changed:
            while not self._queue and not self._stopping:
                self._changed.wait()
            if not self._stopping and len(self._queue) < self._batch:
                self._changed.wait_for(lambda: self._stopping or len(self._queue) >= self._batch, _BATCH_WINDOW)
            if self._stopping:
                return None
            self._drop_cancelled()
            batch, names = list[PendingForecast](), set[str]()
            for pending in sorted(self._queue, key=lambda pending: pending.request.background):  # a stable sort
                request = pending.request
                fits = not batch or (
                    len(batch) < self._batch
                    and request.name not in names
                    and request.batch_key == batch[0].request.batch_key
                )
                if fits:
                    batch.append(pending)
                    names.add(request.name)
            self._queue = deque(pending for pending in self._queue if pending not in batch)
            self._current = batch
            return batch

    def _compute(self, batch: Sequence[PendingForecast]) -> None:
        if not batch:
            return
        try:
            predictor = self._models.get(batch[0].request.model)
            self._forecast(predictor, batch)
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 (the callers receive it)
            if len(batch) > 1:
                for pending in batch:
                    if not pending.result.done():
                        self._compute([pending])
            else:
                batch[0].finish(error)
        for pending in batch:
            if pending.cancelled:
                pending.finish(Cancelled())

    def _forecast(self, predictor: KronosPredictor, batch: Sequence[PendingForecast]) -> None:
        def progress(done: int, total: int) -> None:
            if all(pending.cancelled for pending in batch):
                raise Cancelled
            for pending in batch:
                pending.advance(done / total)

        first = batch[0].request
        forecasts = predictor.forecast_many(
            {pending.request.name: pending.request.candles for pending in batch},
            first.horizon,
            sampling=first.sampling,
            lookback=first.lookback,
            progress=progress,
        )
        self.batches += 1
        for pending in batch:
            request = pending.request
            raw = forecasts[request.name]
            pending.finish(FinishedForecast(_calibrate(predictor, raw, request) if request.calibrate else raw, raw))
            self.computed += 1


def _calibrate(predictor: KronosPredictor, raw: Forecast, request: ForecastRequest) -> Forecast:
    from kronos.calibration import calibrate_forecast
    from kronos.errors import ParameterError

    calibration = None
    with suppress(ParameterError):  # there is none, or only for another sampling
        calibration = predictor.calibration_for(True, request.sampling)
    return raw if calibration is None else calibrate_forecast(raw, calibration)

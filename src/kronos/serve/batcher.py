"""Dynamic batching: a bounded queue, and one thread that forecasts compatible requests together.

- Requests with the same model, horizon, sampling and lookback share one `forecast_many`. Sampling is keyed by seed and
  series name, so a forecast does not depend on its batch.
- Clients get equal shares of the work: next is the client that has received the least since it began to wait
  (start-time fair queueing). Of one client, interactive requests are computed before background jobs.
- A long batch lets shorter requests of other clients, and interactive ones, run between two of its steps, for up to
  half of the time. So a forecast of one path does not wait for one of 200 paths.
- If a batch fails, its requests are computed one by one, so one bad series does not affect the others.
- A cancelled request leaves the queue; a batch stops at its next step once all of its requests are cancelled.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
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
_BATCH_WORK = 100_000  # path-steps that a batch takes together; beyond, batching gains little and others wait long
_CLIENTS = 4  # clients that may fill their part of the queue at the same time

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
        client: Client that the work is counted for.
        background: Whether interactive requests of the same client go first.
    """

    name: str
    candles: Candles
    horizon: int
    sampling: SamplingParams
    model: ModelKey
    lookback: int | None = None
    calibrate: bool = False
    client: str = ""
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
            queue: Largest number of waiting requests of one client; all clients together may have four times as many.
            batch: Largest number of requests in a batch.
            threads: CPU threads of torch; None for torch's default.
        """
        self._models, self._max_waiting, self._batch, self._threads = models, queue, batch, threads
        self._queue: deque[PendingForecast] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._current: Sequence[PendingForecast] = ()
        self._received: dict[str, float] = {}  # virtual work per client
        self._virtual_time = 0.0  # the least of those that wait: newcomers start there
        self._interrupted = 0.0  # seconds that the current batch has given to shorter requests
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
            if self._is_full(request.client):
                self._drop_cancelled()
            if self._is_full(request.client):
                raise ApiError(503, "The forecast queue is full; retry later.", retry_after=self._delay())
            if not self._waiting_of(request.client):
                self._received[request.client] = max(self._virtual_time, self._received.get(request.client, 0.0))
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

    def _waiting_of(self, client: str) -> int:
        return sum(pending.request.client == client for pending in self._queue)

    def _is_full(self, client: str) -> bool:
        return len(self._queue) >= _CLIENTS * self._max_waiting or self._waiting_of(client) >= self._max_waiting

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
            started, self._interrupted = time.perf_counter(), 0.0
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
                pace = (time.perf_counter() - started - self._interrupted) / work
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
            if self._queue:
                self._virtual_time = min(self._received[pending.request.client] for pending in self._queue)
            self._current = self._take_batch(self._queue)
            return self._current

    def _take_batch(self, candidates: Iterable[PendingForecast]) -> list[PendingForecast]:
        """Take the fairest of some waiting requests, and those that can be computed with it; call it with the lock."""
        received = self._received
        batch, names, work = list[PendingForecast](), set[str](), 0
        # A stable sort: otherwise in the order of arrival.
        for pending in sorted(candidates, key=lambda p: (received[p.request.client], p.request.background)):
            request = pending.request
            fits = not batch or (
                len(batch) < self._batch
                and work + request.work <= _BATCH_WORK
                and request.name not in names
                and request.batch_key == batch[0].request.batch_key
            )
            if fits:
                batch.append(pending)
                names.add(request.name)
                work += request.work
        if batch:
            for pending in batch:
                received[pending.request.client] += pending.request.work
            self._queue = deque(pending for pending in self._queue if pending not in batch)
            waiting = {pending.request.client for pending in self._queue}
            self._received = {
                client: value for client, value in received.items() if client in waiting or value > self._virtual_time
            }
        return batch

    def _interrupt(self, batch: Sequence[PendingForecast], remaining: float, started: float) -> None:
        """Compute waiting requests that are much shorter than the rest of a batch, in the middle of it.

        Args:
            batch: The batch.
            remaining: Its remaining path-steps.
            started: When it began, by `time.perf_counter`.
        """
        now = time.perf_counter()
        if self._current is not batch or 2 * self._interrupted > now - started:
            return
        clients = {pending.request.client for pending in batch}
        with self._changed:
            self._drop_cancelled()
            shorter = self._take_batch(
                pending
                for pending in self._queue
                if 2 * pending.request.work <= remaining
                and (not pending.request.background or pending.request.client not in clients)
                and self._models.loaded(pending.request.model) is not None  # loading takes too long here
            )
            if not shorter:
                return
            self._current = [*batch, *shorter]
        self._compute(shorter)
        self._current = batch
        self._interrupted += time.perf_counter() - now

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
        started, work = time.perf_counter(), sum(pending.request.work for pending in batch)

        def progress(done: int, total: int) -> None:
            if all(pending.cancelled for pending in batch):
                raise Cancelled
            for pending in batch:
                pending.advance(done / total)
            if self._queue:
                self._interrupt(batch, (1 - done / total) * work, started)

        first = batch[0].request
        forecasts = predictor.forecast_many(
            {pending.request.name: pending.request.candles for pending in batch},
            first.horizon,
            sampling=first.sampling,
            lookback=first.lookback,
            calibration=False,  # of each request below
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

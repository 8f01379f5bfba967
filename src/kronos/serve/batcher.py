"""The one thread that forecasts: a bounded queue, and waiting requests that agree computed together.

- Requests that agree in model, horizon, sampling and lookback go through one `forecast_many`. Paths are keyed by seed
  and name, so a forecast is the same alone and in company.
- Those who cannot wait come first: a program's prediction before the workbench's jobs, however many there are.
- Where a batch fails, each of its members is tried alone: one bad series harms nobody else.
- A request that is cancelled leaves the queue; a batch that nobody waits for any more stops at its next step.
- The thread survives whatever a forecast does.
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

from kronos.serve.errors import ApiError
from kronos.serve.executors import wrap_exception
from kronos.serve.model_pool import ModelKey, ModelPool

if TYPE_CHECKING:
    from kronos.candles import Candles
    from kronos.forecasts import Forecast
    from kronos.inference import KronosPredictor, SamplingParams

_WINDOW = 0.01  # seconds that the first request waits for company

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class ForecastRequest:
    """What to forecast.

    Attributes:
        name: Of the series; it keys the draws.
        candles: The history.
        horizon: Steps.
        sampling: Temperature, filters, samples, seed.
        model: Which.
        lookback: Candles of history to use, at most.
        calibrate: Whether to correct the paths where the model has a calibration for this sampling.
        patient: Whether it can wait for those that cannot: a job that someone watches, not a program's prediction.
    """

    name: str
    candles: Candles
    horizon: int
    sampling: SamplingParams
    model: ModelKey
    lookback: int | None = None
    calibrate: bool = False
    patient: bool = False

    @property
    def group(self) -> Hashable:
        """What requests must agree in to be computed together."""
        return self.model, self.horizon, self.sampling, self.lookback

    @property
    def work(self) -> int:
        """Path-steps."""
        return self.sampling.samples * self.horizon


@dataclass(frozen=True, slots=True, eq=False)
class FinishedForecast:
    """A forecast, and the raw one if it is calibrated (else the same)."""

    forecast: Forecast
    raw: Forecast


class Cancelled(Exception):  # noqa: N818 (no error: it was asked for)
    """Nobody waits for the result any more."""


class PendingForecast:
    """One request in the engine.

    Attributes:
        ask: What it asked for.
        result: The answer, once it is there.
        progress: Share of the work done, 0 to 1.
    """

    def __init__(self, ask: ForecastRequest, listener: Callable[[float], None] | None) -> None:
        self.ask = ask
        self.result: Future[FinishedForecast] = Future()
        self.progress = 0.0
        self._listener = listener
        self._unwanted = threading.Event()

    @property
    def unwanted(self) -> bool:
        """Whether it was cancelled."""
        return self._unwanted.is_set()

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._unwanted.set()

    def advance(self, share: float) -> None:
        """Tell how far it is; called in the engine's thread."""
        self.progress = share
        if self._listener is not None:
            self._listener(share)

    def finish(self, answer: FinishedForecast | BaseException) -> None:
        """Hand over the answer, or what went wrong."""
        with suppress(InvalidStateError):  # it has an answer already, or whoever waited has given it up
            if isinstance(answer, BaseException):
                self.result.set_exception(wrap_exception(answer))
            else:
                self.result.set_result(answer)


class InferenceQueue:
    """Forecasts one batch after another."""

    def __init__(self, models: ModelPool, *, queue: int, batch: int, threads: int | None = None) -> None:
        """Prepare; `start` begins to work.

        Args:
            models: Where predictors come from.
            queue: Requests that may wait.
            batch: Requests computed together, at most.
            threads: CPU threads of torch; None leaves it to torch.
        """
        self._models, self._most, self._batch, self._threads = models, queue, batch, threads
        self._queue: deque[PendingForecast] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._current: Sequence[PendingForecast] = ()
        self._pace = 0.0  # seconds of one path-step, smoothed
        self.computed = 0
        self.batches = 0

    def start(self) -> None:
        """Begin to work."""
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def busy(self) -> bool:
        """Whether a batch is being computed."""
        return bool(self._current)

    def submit(self, ask: ForecastRequest, listener: Callable[[float], None] | None = None) -> PendingForecast:
        """Queue a request.

        Args:
            ask: What to forecast.
            listener: Called in the engine's thread with the share of the work that is done.

        Raises:
            ApiError: 503 if the queue is full, or the server is stopping.
        """
        ticket = PendingForecast(ask, listener)
        with self._changed:
            if self._stopping:
                raise ApiError(503, "The server is stopping; try again in a moment.", retry_after=5)
            if len(self._queue) >= self._most:
                self._forget()
            if len(self._queue) >= self._most:
                raise ApiError(503, "Too many forecasts are waiting; try again later.", retry_after=self._delay())
            self._queue.append(ticket)
            self._changed.notify()
        return ticket

    def stop(self) -> None:
        """Turn away what comes, drop what waits, and stop what is computed at its next step."""
        with self._changed:
            self._stopping = True
            dropped = [*self._queue, *self._current]
            self._queue.clear()
            self._changed.notify()
        for ticket in dropped:  # told before they are cancelled, or the engine may say first that nobody waits
            ticket.finish(ApiError(503, "The server stopped before this was done; ask again.", retry_after=5))
            ticket.cancel()

    def _forget(self) -> None:
        """Make room: those that nobody waits for any more leave the queue."""
        for ticket in self._queue:
            if ticket.unwanted:
                ticket.finish(Cancelled())
        self._queue = deque(ticket for ticket in self._queue if not ticket.unwanted)

    def _delay(self) -> float:
        """Seconds after which the queue may have room: what waits, at the pace so far."""
        work = sum(ticket.ask.work for ticket in (*self._queue, *self._current))
        return min(max(1.0, work * self._pace / 2), 60.0)

    def _run(self) -> None:
        try:
            if self._threads is not None:
                import torch

                torch.set_num_threads(self._threads)
        except Exception:  # noqa: BLE001 (a thread that is gone would leave everybody waiting)
            _log.exception("torch does not take the number of threads")
        while (tickets := self._take()) is not None:
            started = time.perf_counter()
            try:
                self._compute(tickets)
            except BaseException as error:  # noqa: BLE001 (whatever it is, the next batch is to be served)
                _log.exception("a batch failed")
                for ticket in tickets:
                    ticket.finish(error)
            finally:
                self._current = ()
            work = sum(ticket.ask.work for ticket in tickets if not ticket.unwanted)
            if work:
                pace = (time.perf_counter() - started) / work
                self._pace = pace if not self._pace else 0.8 * self._pace + 0.2 * pace

    def _take(self) -> Sequence[PendingForecast] | None:
        """The next batch, once there is one; None to stop."""
        with self._changed:
            while not self._queue and not self._stopping:
                self._changed.wait()
            if not self._stopping and len(self._queue) < self._batch:
                self._changed.wait_for(lambda: self._stopping or len(self._queue) >= self._batch, _WINDOW)
            if self._stopping:
                return None
            self._forget()
            tickets, names = list[PendingForecast](), set[str]()
            for ticket in sorted(self._queue, key=lambda one: one.ask.patient):  # which keeps the order among equals
                if not tickets or self._fits(ticket, tickets, names):
                    tickets.append(ticket)
                    names.add(ticket.ask.name)
            self._queue = deque(ticket for ticket in self._queue if ticket not in tickets)
            self._current = tickets
            return tickets

    def _fits(self, ticket: PendingForecast, tickets: Sequence[PendingForecast], names: set[str]) -> bool:
        ask = ticket.ask
        return len(tickets) < self._batch and ask.name not in names and ask.group == tickets[0].ask.group

    def _compute(self, tickets: Sequence[PendingForecast]) -> None:
        if not tickets:
            return
        try:
            predictor = self._models.get(tickets[0].ask.model)
            self._forecast(predictor, tickets)
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 (it is the waiters', whatever it is)
            if len(tickets) > 1:
                for ticket in tickets:
                    if not ticket.result.done():
                        self._compute([ticket])
            else:
                tickets[0].finish(error)
        for ticket in tickets:
            if ticket.unwanted:
                ticket.finish(Cancelled())

    def _forecast(self, predictor: KronosPredictor, tickets: Sequence[PendingForecast]) -> None:
        """Forecast all of a batch together."""

        def progress(done: int, total: int) -> None:
            if all(ticket.unwanted for ticket in tickets):
                raise Cancelled
            for ticket in tickets:
                ticket.advance(done / total)

        first = tickets[0].ask
        raw = predictor.forecast_many(
            {ticket.ask.name: ticket.ask.candles for ticket in tickets},
            first.horizon,
            sampling=first.sampling,
            lookback=first.lookback,
            progress=progress,
        )
        self.batches += 1
        for ticket in tickets:
            ask = ticket.ask
            made = raw[ask.name]
            ticket.finish(FinishedForecast(_corrected(predictor, made, ask) if ask.calibrate else made, made))
            self.computed += 1


def _corrected(predictor: KronosPredictor, raw: Forecast, ask: ForecastRequest) -> Forecast:
    """The forecast calibrated, where the model has a calibration for this sampling."""
    from kronos.calibration import calibrate_forecast
    from kronos.errors import ParameterError

    calibration = None
    with suppress(ParameterError):  # the model has none, or it was fitted for another sampling
        calibration = predictor.calibration_for(True, ask.sampling)
    return raw if calibration is None else calibrate_forecast(raw, calibration)

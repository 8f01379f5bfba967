"""Forecasts of files: select a window, forecast it, compare it with the actual candles, save the result."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from kronos.candles import COLUMNS, Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast
from kronos.formatting import json_safe, plural
from kronos.serve.batcher import ForecastRequest
from kronos.serve.candle_columns import calendar_of, candle_columns, epoch_seconds, price_digits
from kronos.serve.plotly import plotly_document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kronos.inference import SamplingParams
    from kronos.serve.batcher import FinishedForecast
    from kronos.serve.model_pool import ModelKey
    from kronos.serve.state import AppState

_MIN_CANDLES = 2
_SHOWN_PATHS = 100


@dataclass(frozen=True, slots=True, eq=False)
class ForecastWindow:
    """A window of a file.

    Attributes:
        history: Candles to forecast from.
        actual: Candles that followed; None if the history ends with the file.
        earlier: Windows before this one, the latest first, to score together with it.
    """

    history: Candles
    actual: Candles | None
    earlier: tuple[ForecastWindow, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkbenchRequest:
    """Options of a file forecast.

    Attributes:
        lookback: Candles of history.
        pred_len: Candles to forecast.
        sampling: Temperature, filter, number of samples, seed.
        start_date: Time of the first candle of the history; None for the latest candles.
        calibrate: Whether to calibrate the samples if the model has a calibration.
        as_of: Time of the last candle of the history, instead of ``start_date``.
        windows: Windows to score in a replay.
        document: The request as the client sent it, saved with the result.
    """

    lookback: int
    pred_len: int
    sampling: SamplingParams
    start_date: str | None
    calibrate: bool
    as_of: str | None = None
    windows: int = 1
    document: Mapping[str, Any] = field(default_factory=dict)


def select_window(candles: Candles, request: WorkbenchRequest) -> ForecastWindow:
    """Select the part of a file to forecast from.

    Without a time the history is the end of the file. With ``start_date``, it is the ``lookback`` candles from then on;
    with ``as_of``, the ``lookback`` candles up to then. The ``pred_len`` candles after it are the actual ones. Earlier
    windows of the same size end where the actual candles of the next one begin.

    Raises:
        DataError: If there are too few candles.
        ParameterError: If a time is invalid, or both are given.
    """
    if request.start_date is not None and request.as_of is not None:
        raise ParameterError("Give start_date or as_of, not both.")
    if request.as_of is not None:
        end = len(candles.until(request.as_of))
        if end < _MIN_CANDLES:
            raise DataError(
                f"Up to {request.as_of} there are {plural(end, 'candle')}; a forecast needs at least {_MIN_CANDLES}. "
                f"The file starts at {candles.start}."
            )
    elif request.start_date is not None:
        before = len(candles) - len(candles.between(request.start_date, candles.end))
        end = before + request.lookback
        if end > len(candles):
            raise DataError(
                f"From {request.start_date} on there are {plural(len(candles) - before, 'candle')}, fewer than the "
                f"lookback of {request.lookback}: choose an earlier start_date or a shorter lookback. The file ends at "
                f"{candles.end}."
            )
    else:
        history = candles.tail(request.lookback)
        if len(history) < _MIN_CANDLES:
            raise DataError(f"The file has {plural(len(history), 'candle')}; a forecast needs at least {_MIN_CANDLES}.")
        return ForecastWindow(history, None)
    ends = range(end, _MIN_CANDLES - 1, -request.pred_len)[: request.windows]
    first, *earlier = (_window(candles, end, request) for end in ends)
    whole = (window for window in earlier if len(window.history) == len(first.history))
    return replace(first, earlier=() if first.actual is None else tuple(whole))


def _window(candles: Candles, end: int, request: WorkbenchRequest) -> ForecastWindow:
    """Return the window whose history ends before row ``end``."""
    actual = candles.tail(len(candles) - end).head(request.pred_len)
    return ForecastWindow(candles.head(end).tail(request.lookback), actual if len(actual) else None)


def data_info(candles: Candles) -> dict[str, Any]:
    """Describe the content of a file, as ``POST /api/load-data`` returns it."""
    columns = [*COLUMNS[:4], *(["volume"] if candles.has_volume else []), *(["amount"] if candles.has_amount else [])]
    prices = candles.frame[list(COLUMNS[:4])].to_numpy()
    return {
        "rows": len(candles),
        "columns": ["timestamps", *columns],
        "start_date": candles.start.isoformat(),
        "end_date": candles.end.isoformat(),
        "price_range": {"min": float(prices.min()), "max": float(prices.max())},
        "prediction_columns": columns,
        "timeframe": str(candles.interval),
        "timezone": candles.timezone,
        "calendar": calendar_of(candles),
        "calendar_inferred": candles.calendar is None,
        "symbol": candles.symbol,
        "simulated": candles.simulated,
        "findings": [
            {
                "severity": f.severity,
                "code": f.code,
                "count": f.count,
                "rows": list(f.rows),
                "message": f.message,
                "kind": getattr(f.message, "kind", ""),  # sources of others may have plain text
                "values": getattr(f.message, "values", {}),
            }
            for f in candles.findings
        ],
    }


async def forecast_window(
    state: AppState,
    window: ForecastWindow,
    request: WorkbenchRequest,
    model: ModelKey,
    *,
    client: str,
    listener: Callable[[float], None] | None,
) -> dict[str, Any]:
    """Forecast a window, save the result, and return its document.

    Args:
        state: The server.
        window: History and actual candles.
        request: Options.
        model: Model to use.
        client: Client that requests it; see `ForecastRequest`.
        listener: Called in another thread with the completed share.

    Raises:
        KronosError: If the forecast cannot be computed or saved.
        ApiError: 503 if the queue is full.
    """
    await asyncio.wrap_future(state.file_pool.submit(state.results.check_space))  # not only after the computation
    if request.sampling.seed is None:  # one seed for all windows, and the one that is reported
        request = replace(request, sampling=replace(request.sampling, seed=secrets.randbelow(2**31)))
    windows = (window, *window.earlier)
    progress = _Progress(len(windows), listener)
    pending = [
        state.inference.submit(
            ForecastRequest(
                window.history.symbol or "series",
                part.history,
                request.pred_len,
                request.sampling,
                model,
                lookback=request.lookback,
                calibrate=request.calibrate,
                client=client,
                background=True,
            ),
            progress.part(i),
        )
        for i, part in enumerate(windows)
    ]
    try:
        finished = await asyncio.gather(*(asyncio.wrap_future(each.result) for each in pending))
    except BaseException:
        for each in pending:
            each.cancel()
        raise
    # Shielded: saving is not interrupted when the client leaves or the job is cancelled.
    return await asyncio.shield(asyncio.wrap_future(state.file_pool.submit(_save, state, finished, window, request)))


class _Progress:
    """The completed share of several forecasts that are computed together."""

    def __init__(self, parts: int, listener: Callable[[float], None] | None) -> None:
        self._shares, self._listener = [0.0] * parts, listener

    def part(self, i: int) -> Callable[[float], None] | None:
        """Return the listener of one forecast."""
        listener = self._listener
        if listener is None:
            return None

        def report(share: float) -> None:
            self._shares[i] = share
            listener(sum(self._shares) / len(self._shares))

        return report


def _save(
    state: AppState, finished: Sequence[FinishedForecast], window: ForecastWindow, request: WorkbenchRequest
) -> dict[str, Any]:
    document = _document(finished, window, request)
    document["view"]["file_name"] = _file_name(state, str(request.document.get("file_path", "")))
    return {**document, "id": state.results.save(document, finished[0].forecast)}


def _file_name(state: AppState, reference: str) -> str:
    """Return the name of a file as its owner knows it."""
    kind, _, name = reference.partition(":")
    if kind == "upload":
        return next((upload.name for upload in state.library.uploads() if upload.id == name), name)
    return name if kind in ("sample", "asset") else reference.rpartition("/")[2]


def _document(
    finished: Sequence[FinishedForecast], window: ForecastWindow, request: WorkbenchRequest
) -> dict[str, Any]:
    forecast, actual = finished[0].forecast, window.actual
    kind = "beyond the last candle" if actual is None else "replay of a past window"
    return {
        "summary": {
            "symbol": forecast.symbol,
            "interval": str(forecast.interval),
            "model": forecast.metadata.model,
            "state": forecast.metadata.state,
            "as_of": forecast.start.isoformat(),
            "horizon": forecast.horizon,
            "replay": actual is not None,
            "simulated": forecast.simulated,
        },
        "success": True,
        "prediction_type": f"Kronos forecast, {kind}",
        "chart": json.dumps(plotly_document(forecast, actual=actual), allow_nan=False),
        "prediction_results": candle_rows(forecast.quantile_candles(0.5)),
        "actual_data": [] if actual is None else candle_rows(actual.frame),
        "has_comparison": actual is not None,
        "message": _message(forecast, actual),
        "model": forecast.metadata.model,
        "state": forecast.metadata.state,
        "simulated": forecast.simulated,
        "lookback": request.lookback,
        "forecast": forecast.to_dict(),
        "paths": forecast.channel("close")[:_SHOWN_PATHS].astype(float).tolist(),
        "scores": None if actual is None else _scores(finished[0], actual),
        "view": _view(finished, window, request),
    }


def _view(finished: Sequence[FinishedForecast], window: ForecastWindow, request: WorkbenchRequest) -> dict[str, Any]:
    """Return what a chart of the forecast shows."""
    forecast, history = finished[0].forecast, window.history
    central = forecast.representative()
    return {
        "request": {**request.document, "seed": forecast.metadata.details.get("seed")},
        "digits": price_digits(history),
        "history": candle_columns(history.frame, volume=history.has_volume),
        "actual": None
        if window.actual is None
        else candle_columns(window.actual.frame, volume=window.actual.has_volume),
        "time": epoch_seconds(forecast.timestamps),
        "central": candle_columns(forecast.sample(central), volume=history.has_volume),
        "central_path": central,
        "scores": _comparison(finished, window),
    }


def _comparison(finished: Sequence[FinishedForecast], window: ForecastWindow) -> dict[str, Any] | None:
    """Compare the model with baselines over all windows; None if the shown one has no known outcome."""
    from kronos.evaluation.replay import ReplayWindow, compare_replays

    replays = [
        ReplayWindow(own.forecast, part.actual, own.raw if own.raw is not own.forecast else None)
        for own, part in zip(finished, (window, *window.earlier), strict=True)
        if part.actual is not None
    ]
    try:
        comparison: dict[str, Any] | None = json_safe(compare_replays(replays)) if replays else None
    except DataError:
        return None
    return comparison


def actual_candles(document: bytes, forecast: Forecast) -> pd.DataFrame | None:
    """Return the actual candles of a saved replay at the times of its forecast; None if none is known."""
    rows = json.loads(document).get("actual_data") or []
    if not rows:
        return None
    frame = pd.DataFrame(rows).set_index("timestamp")
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.index, utc=forecast.timestamps.tz is not None))
    if forecast.timestamps.tz is not None:
        frame.index = frame.index.tz_convert(forecast.timestamps.tz)
    known = frame[frame.index.isin(forecast.timestamps)]
    return known if len(known) else None


def candle_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return candles as objects with ISO timestamps."""
    table = frame[list(COLUMNS)].astype(float)
    rows = table.to_numpy().tolist()
    return [
        {"timestamp": time.isoformat(), **dict(zip(COLUMNS, row, strict=True))}
        for time, row in zip(table.index, rows, strict=True)
    ]


def _message(forecast: Forecast, actual: Candles | None) -> str:
    summary = (
        f"Forecast of {plural(forecast.horizon, 'candle')} from {plural(forecast.samples, 'path')}, "
        f"{forecast.metadata.state}"
    )
    comparison = "" if actual is None else f", compared with {plural(len(actual), 'actual candle')}"
    warning = " SIMULATED candles: this does not describe a market." if forecast.simulated else ""
    return f"{summary}{comparison}.{warning} {' '.join(forecast.notes)}".strip()


def _scores(finished: FinishedForecast, actual: Candles) -> dict[str, Any] | None:
    """Score the forecast and the baselines; None if the actual candles share no time with the forecast."""
    from kronos.evaluation.replay import replay_to_dict, score_replay

    raw = finished.raw if finished.raw is not finished.forecast else None
    try:
        scores = replay_to_dict(*score_replay(finished.forecast, actual, raw))
    except DataError:
        return None
    safe: dict[str, Any] = json_safe(scores)
    return safe

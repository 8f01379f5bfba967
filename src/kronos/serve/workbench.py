"""Forecasts of files: select a window, forecast it, compare it with the actual candles, save the result."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from kronos.candles import COLUMNS, Candles
from kronos.errors import DataError
from kronos.forecasts import Forecast
from kronos.formatting import json_safe, plural
from kronos.serve.batcher import ForecastRequest
from kronos.serve.plotly import plotly_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from kronos.inference import SamplingParams
    from kronos.serve.batcher import FinishedForecast
    from kronos.serve.model_pool import ModelKey
    from kronos.serve.state import AppState

_MIN_CANDLES = 2
_SHOWN_PATHS = 20


@dataclass(frozen=True, slots=True, eq=False)
class ForecastWindow:
    """The history to forecast from, and the actual candles after it; None if there are none."""

    history: Candles
    actual: Candles | None


@dataclass(frozen=True, slots=True)
class WorkbenchRequest:
    """Options of a file forecast.

    Attributes:
        lookback: Candles of history.
        pred_len: Candles to forecast.
        sampling: Temperature, filter, number of samples, seed.
        start_date: Time of the first candle of the history; None for the latest candles.
        calibrate: Whether to calibrate the samples if the model has a calibration.
    """

    lookback: int
    pred_len: int
    sampling: SamplingParams
    start_date: str | None
    calibrate: bool


def select_window(candles: Candles, request: WorkbenchRequest) -> ForecastWindow:
    """Select the part of a file to forecast from.

    Without a start date the history is the end of the file. With one, it is the ``lookback`` candles from that date on,
    and the ``pred_len`` candles after them are the actual ones.

    Raises:
        DataError: If there are too few candles.
        ParameterError: If the start date is not a time.
    """
    if request.start_date is None:
        history = candles.tail(request.lookback)
        if len(history) < _MIN_CANDLES:
            raise DataError(f"The file has {plural(len(history), 'candle')}; a forecast needs at least {_MIN_CANDLES}.")
        return ForecastWindow(history, None)
    since = candles.between(request.start_date, candles.end)
    if len(since) < request.lookback:
        raise DataError(
            f"From {request.start_date} on there are {plural(len(since), 'candle')}, fewer than the lookback of "
            f"{request.lookback}: choose an earlier start_date or a shorter lookback. The file ends at {candles.end}."
        )
    actual = since.tail(len(since) - request.lookback).head(request.pred_len)
    return ForecastWindow(since.head(request.lookback), actual if len(actual) else None)


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
        "symbol": candles.symbol,
        "simulated": candles.simulated,
        "findings": [
            {"severity": f.severity, "code": f.code, "count": f.count, "rows": list(f.rows[:100]), "message": f.message}
            for f in candles.findings
        ],
    }


async def forecast_window(
    state: AppState,
    window: ForecastWindow,
    request: WorkbenchRequest,
    model: ModelKey,
    listener: Callable[[float], None] | None,
) -> dict[str, Any]:
    """Forecast a window, save the result, and return its document.

    Args:
        state: The server.
        window: History and actual candles.
        request: Options.
        model: Model to use.
        listener: Called in another thread with the completed share.

    Raises:
        KronosError: If the forecast cannot be computed or saved.
        ApiError: 503 if the queue is full.
    """
    pending = state.inference.submit(
        ForecastRequest(
            window.history.symbol or "series",
            window.history,
            request.pred_len,
            request.sampling,
            model,
            lookback=request.lookback,
            calibrate=request.calibrate,
            background=True,
        ),
        listener,
    )
    try:
        finished = await asyncio.wrap_future(pending.result)
    except asyncio.CancelledError:
        pending.cancel()
        raise
    # Shielded: saving is not interrupted when the client leaves or the job is cancelled.
    return await asyncio.shield(asyncio.wrap_future(state.file_pool.submit(_save, state, finished, window, request)))


def _save(
    state: AppState, finished: FinishedForecast, window: ForecastWindow, request: WorkbenchRequest
) -> dict[str, Any]:
    document = _document(finished, window, request)
    return {**document, "id": state.results.save(document, finished.forecast)}


def _document(finished: FinishedForecast, window: ForecastWindow, request: WorkbenchRequest) -> dict[str, Any]:
    forecast, actual = finished.forecast, window.actual
    kind = "beyond the last candle" if actual is None else "replay of a past window"
    return {
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
        "scores": None if actual is None else _scores(finished, actual),
    }


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

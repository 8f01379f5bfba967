"""What the workbench does: reads a window of a file, forecasts it, compares it with what came, saves the result."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from kronos.candles import COLUMNS, Candles
from kronos.errors import DataError
from kronos.forecasts import Forecast
from kronos.serve.batcher import ForecastRequest
from kronos.serve.plotly import plotly_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from kronos.inference import SamplingParams
    from kronos.serve.batcher import FinishedForecast
    from kronos.serve.model_pool import ModelKey
    from kronos.serve.state import AppState

_LEAST = 2


@dataclass(frozen=True, slots=True, eq=False)
class ForecastWindow:
    """What is known, and what came after it; None when nothing has."""

    history: Candles
    actual: Candles | None


@dataclass(frozen=True, slots=True)
class WorkbenchRequest:
    """A forecast that the workbench was asked for.

    Attributes:
        lookback: Candles of history.
        pred_len: Candles to forecast.
        sampling: Temperature, filter, samples, seed.
        start_date: Of the first candle of the history; None for the latest ones.
        calibrate: Whether to correct the paths where the model has a calibration.
    """

    lookback: int
    pred_len: int
    sampling: SamplingParams
    start_date: str | None
    calibrate: bool


def window(candles: Candles, wanted: WorkbenchRequest) -> ForecastWindow:
    """The part of a file to forecast from.

    Without a start date it is the end of the file, and what comes is not known. With one it is the ``lookback`` candles
    from there on, and the ``pred_len`` after them are what came.

    Raises:
        DataError: If there are too few candles.
        ParameterError: If the start date is no time.
    """
    if wanted.start_date is None:
        history = candles.tail(wanted.lookback)
        if len(history) < _LEAST:
            raise DataError(f"The file has {len(history)} candle; a forecast needs at least {_LEAST}.")
        return ForecastWindow(history, None)
    since = candles.between(wanted.start_date, candles.end)
    if len(since) < wanted.lookback:
        raise DataError(
            f"From {wanted.start_date} there are {len(since)} candles, fewer than the lookback of {wanted.lookback}; "
            f"take an earlier start_date or a shorter lookback. The file ends at {candles.end}."
        )
    actual = since.tail(len(since) - wanted.lookback).head(wanted.pred_len)
    return ForecastWindow(since.head(wanted.lookback), actual if len(actual) else None)


def data_info(candles: Candles) -> dict[str, Any]:
    """What a file holds, as ``POST /api/load-data`` tells it."""
    told = [*COLUMNS[:4], *(["volume"] if candles.has_volume else []), *(["amount"] if candles.has_amount else [])]
    prices = candles.frame[list(COLUMNS[:4])]
    return {
        "rows": len(candles),
        "columns": ["timestamps", *told],
        "start_date": candles.start.isoformat(),
        "end_date": candles.end.isoformat(),
        "price_range": {"min": float(prices.to_numpy().min()), "max": float(prices.to_numpy().max())},
        "prediction_columns": told,
        "timeframe": str(candles.interval),
        "timezone": candles.timezone,
        "symbol": candles.symbol,
        "simulated": candles.simulated,
        "findings": [
            {"severity": f.severity, "code": f.code, "count": f.count, "rows": list(f.rows[:100]), "message": f.message}
            for f in candles.findings
        ],
    }


async def forecast(
    state: AppState,
    seen: ForecastWindow,
    wanted: WorkbenchRequest,
    model: ModelKey,
    listener: Callable[[float], None] | None,
) -> dict[str, Any]:
    """Forecast a window, save the result, and give the document that clients get.

    Args:
        state: The server.
        seen: What is known, and what came.
        wanted: What was asked for.
        model: By which model.
        listener: Called in another thread with the share of the work that is done.

    Raises:
        KronosError: If the forecast cannot be made or saved.
        ApiError: 503 if too much is waiting.
    """
    name = seen.history.symbol or "series"
    ask = ForecastRequest(
        name,
        seen.history,
        wanted.pred_len,
        wanted.sampling,
        model,
        lookback=wanted.lookback,
        calibrate=wanted.calibrate,
        patient=True,
    )
    ticket = state.engine.submit(ask, listener)
    try:
        answer = await asyncio.wrap_future(ticket.result)
    except asyncio.CancelledError:
        ticket.cancel()
        raise
    # Shielded: what is being saved is saved whole, even if the client leaves or the job is cancelled now.
    return await asyncio.shield(asyncio.wrap_future(state.pool.submit(_finish, state, answer, seen, wanted)))


def _finish(
    state: AppState, answer: FinishedForecast, seen: ForecastWindow, wanted: WorkbenchRequest
) -> dict[str, Any]:
    """The document of a finished forecast, saved."""
    document = _document(answer, seen, wanted)
    return {**document, "id": state.results.save(document, answer.forecast)}


def _document(answer: FinishedForecast, seen: ForecastWindow, wanted: WorkbenchRequest) -> dict[str, Any]:
    made, actual = answer.forecast, seen.actual
    kind = "beyond the last candle" if actual is None else "replay of a past window"
    state = made.metadata.state
    return {
        "success": True,
        "prediction_type": f"Kronos forecast, {kind}",
        "chart": json.dumps(plotly_document(made, actual=actual), allow_nan=False),
        "prediction_results": rows(made.quantile_candles(0.5)),
        "actual_data": [] if actual is None else rows(actual.frame),
        "has_comparison": actual is not None,
        "message": _message(made, actual),
        "model": made.metadata.model,
        "state": state,
        "simulated": made.simulated,
        "lookback": wanted.lookback,
        "forecast": made.to_dict(),
        "paths": _paths(made),
        "scores": None if actual is None else _scores(answer, actual),
    }


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Candles as objects, with ISO times."""
    table = frame[list(COLUMNS)].astype(float)
    stamps = [time.isoformat() for time in table.index]
    values = table.to_numpy().tolist()
    return [{"timestamp": at, **dict(zip(COLUMNS, row, strict=True))} for at, row in zip(stamps, values, strict=True)]


def _message(made: Forecast, actual: Candles | None) -> str:
    paths = "1 path" if made.samples == 1 else f"{made.samples} paths"
    first = f"Forecast of {made.horizon} candles from {paths}, {made.metadata.state}"
    came = "" if actual is None else f", beside {len(actual)} that came"
    warning = " SIMULATED candles: this says nothing about a market." if made.simulated else ""
    return f"{first}{came}.{warning} {' '.join(made.notes)}".strip()


def _paths(made: Forecast, most: int = 20) -> list[list[float]]:
    """The closes of the first paths: enough to see how they differ."""
    closes = made.channel("close")[:most]
    return [[float(value) for value in path] for path in closes]


def _scores(answer: FinishedForecast, actual: Candles) -> dict[str, Any] | None:
    """How the forecast and the baselines did; None where what came shares no time with the forecast."""
    from kronos.evaluation.replay import as_dict, score_replay

    raw = answer.raw if answer.raw is not answer.forecast else None
    try:
        scores = as_dict(*score_replay(answer.forecast, actual, raw))
    except DataError:
        return None
    cleaned: dict[str, Any] = finite(scores)
    return cleaned


def finite(value: Any) -> Any:
    """The value with null for numbers that are not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if value == value and abs(value) != float("inf") else None
    return value

"""A forecast as a plotly figure in JSON, for clients with plotly.js; plotly itself is not needed.

Names that come from users are escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import BANDS, Forecast
from kronos.formatting import plural

_MIN_PATHS = 20  # below it no bands, and a representative path instead of the median, as in `Forecast.plot`
_UP, _DOWN = "#26a69a", "#ef5350"
_FORECAST, _FORECAST_RGB = "#5746d8", "87, 70, 216"
_TRANSPARENT = "rgba(0, 0, 0, 0)"
_TEXT, _BACKGROUND, _GRID = "#131722", "#ffffff", "#e8eaf0"


def plotly_document(forecast: Forecast, *, history_bars: int = 400, actual: Candles | None = None) -> dict[str, Any]:
    """Return the figure of a forecast: history, bands of the close, forecast candles, and actual candles.

    With 20 or more paths the forecast candles are medians of each price, with bands of the close. With fewer they are
    the most central path (`Forecast.representative`) without bands, since quantiles of few paths are rough. A point
    forecast has no bands either.

    Args:
        forecast: The forecast.
        history_bars: Largest number of history candles.
        actual: Actual candles; those at the times of the forecast are drawn.

    Returns:
        ``{"data": [...], "layout": {...}}`` of JSON values: no NaN, times in ISO 8601.

    Raises:
        ParameterError: If ``history_bars`` is below 1.
        DataError: If ``actual`` has no candle at a time of the forecast.
    """
    if history_bars < 1:
        raise ParameterError(f"Invalid history_bars {history_bars}: choose at least 1.")
    history, future = forecast.history.frame.iloc[-history_bars:], _iso_times(forecast.timestamps)
    past = _iso_times(history.index)
    bands = _bands(forecast) if forecast.samples >= _MIN_PATHS and not _is_point(forecast) else {}
    name, candles = _central_candles(forecast)
    data = [_candlesticks("History", past, history, _market_style())]
    data += [_band_trace(level, [past[-1], *future], *ends) for level, ends in sorted(bands.items(), reverse=True)]
    style = {**_forecast_style(), "text": _hover_texts(bands, len(future))}
    data.append(_candlesticks(name, future, candles, style if actual is None else {**style, "opacity": 0.4}))
    if actual is not None:
        data.append(_actual_trace(actual, forecast))
        # The actual candles cover the forecast's; a line keeps its close visible.
        data.append(_line(f"{name}: close", [past[-1], *future], [forecast.last_close, *candles["close"]]))
    return {"data": data, "layout": _layout(forecast, past, future)}


# Values ------------------------------------------------------------


def _is_point(forecast: Forecast) -> bool:
    closes = forecast.channel("close")
    return bool((closes == closes[0]).all())


def _central_candles(forecast: Forecast) -> tuple[str, pd.DataFrame]:
    """Return the candles that represent the forecast, and their name."""
    if forecast.samples >= _MIN_PATHS:
        return "Forecast: median of each price", forecast.quantile_candles(0.5)
    path = forecast.representative()
    name = f"path {path} of {forecast.samples}, the most central" if forecast.samples > 1 else "single path"
    return f"Forecast: {name}", forecast.sample(path)


def _bands(forecast: Forecast) -> dict[float, tuple[list[float], list[float]]]:
    """Return the lower and upper ends by level `[H + 1]`; they start at the last close without width."""
    start = forecast.last_close
    ranges = {level: forecast.range(level) for level in BANDS}
    return {level: ([start, *ends["low"]], [start, *ends["high"]]) for level, ends in ranges.items()}


def _hover_texts(bands: dict[float, tuple[list[float], list[float]]], steps: int) -> list[str]:
    lines = [
        [
            f"{100 * level:g} % of closes: {low[step]:.6g} to {high[step]:.6g}"
            for level, (low, high) in sorted(bands.items())
        ]
        for step in range(1, steps + 1)
    ]
    return ["<br>".join(line) for line in lines]


# Traces ------------------------------------------------------------


def _actual_trace(actual: Candles, forecast: Forecast) -> dict[str, Any]:
    if (actual.timezone is None) != (forecast.timestamps.tz is None):
        raise DataError("The actual candles and the forecast must both have a timezone, or neither.")
    candles = actual.frame.reindex(forecast.timestamps).dropna(subset=["open", "high", "low", "close"])
    if candles.empty:
        raise DataError("No actual candle is at a time of the forecast; compare their first timestamps.")
    return _candlesticks("Actual", _iso_times(candles.index), candles, _market_style())


def _candlesticks(name: str, times: list[str], candles: pd.DataFrame, style: dict[str, Any]) -> dict[str, Any]:
    prices = {column: _numbers(candles[column]) for column in ("open", "high", "low", "close")}
    return {"type": "candlestick", "name": name, "x": times, **prices, **style}


def _market_style() -> dict[str, Any]:
    """Candles of the market: green up, red down."""
    return {
        "increasing": {"line": {"color": _UP, "width": 1}, "fillcolor": _UP},
        "decreasing": {"line": {"color": _DOWN, "width": 1}, "fillcolor": _DOWN},
    }


def _forecast_style() -> dict[str, Any]:
    """Candles of the forecast: one other hue, hollow up, filled down."""
    line = {"color": _FORECAST, "width": 1}
    return {
        "increasing": {"line": line, "fillcolor": _TRANSPARENT},
        "decreasing": {"line": line, "fillcolor": _FORECAST},
    }


def _band_trace(level: float, times: list[str], low: list[float], high: list[float]) -> dict[str, Any]:
    """A band as one closed outline: forwards along its upper end, backwards along its lower end."""
    # Drawn over each other, the widest first: the same opacity makes the inner bands darker.
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"{100 * level:g} % band of the close",
        "x": [*times, *reversed(times)],
        "y": _numbers([*high, *reversed(low)]),
        "fill": "toself",
        "fillcolor": f"rgba({_FORECAST_RGB}, 0.14)",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }


def _line(name: str, times: list[str], prices: Iterable[float]) -> dict[str, Any]:
    line = {"color": _FORECAST, "width": 1.5, "dash": "dash"}
    return {"type": "scatter", "mode": "lines", "name": name, "x": times, "y": _numbers(prices), "line": line}


# Layout ------------------------------------------------------------


def _layout(forecast: Forecast, past: list[str], future: list[str]) -> dict[str, Any]:
    axis = {"gridcolor": _GRID, "automargin": True}
    return {
        "title": {"text": _title(forecast), "x": 0.01, "xanchor": "left"},
        "font": {"color": _TEXT},
        "paper_bgcolor": _BACKGROUND,
        "plot_bgcolor": _BACKGROUND,
        "hovermode": "x",
        "hoverlabel": {"namelength": -1},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        "margin": {"t": 120},
        "xaxis": {
            **axis,
            # Categories instead of dates: nights, weekends, holidays and halts leave no gaps, for any calendar. Their
            # text has the UTC offset, so an hour that a clock repeats in autumn is shown twice. The order is explicit,
            # because plotly would use the order in which traces name the categories.
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [*past, *future],
            "nticks": 8,
            "rangeslider": {"visible": False},
        },
        "yaxis": {**axis, "title": {"text": "Price"}, "side": "right"},
        "shapes": [_forecast_start(past[-1])],
    }


def _forecast_start(last: str) -> dict[str, Any]:
    """A vertical line at the last candle of the history."""
    line = {"color": _FORECAST, "width": 1, "dash": "dot"}
    return {"type": "line", "xref": "x", "yref": "paper", "x0": last, "x1": last, "y0": 0, "y1": 1, "line": line}


def _title(forecast: Forecast) -> str:
    """The title in two lines: symbol, interval, model; horizon, paths, state, timezone."""
    first = " · ".join([forecast.symbol or "Unnamed series", str(forecast.interval), forecast.metadata.name])
    zone = f"times in {forecast.history.timezone}" if forecast.history.timezone else "timezone unknown"
    horizon, paths = f"{plural(forecast.horizon, 'step')} ahead", plural(forecast.samples, "path")
    second = " · ".join([horizon, paths, forecast.metadata.state, zone])
    mark = "<b>SIMULATED</b> · " if forecast.simulated else ""
    return f'{mark}{_escape(first)}<br><span style="font-size: 0.8em">{_escape(second)}</span>'


def _escape(text: str) -> str:
    """Escape what plotly would interpret: ``<b>`` and ``&amp;`` as HTML, and ``$x$`` as TeX."""
    return html.escape(text, quote=False).replace("$", "&#36;")


def _iso_times(index: pd.Index) -> list[str]:
    return [time.isoformat() for time in pd.DatetimeIndex(index)]


def _numbers(values: Iterable[float]) -> list[float]:
    numbers: list[float] = np.asarray(list(values), dtype=np.float64).tolist()
    return numbers

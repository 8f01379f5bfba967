"""The chart of a forecast as a plotly figure document, for clients that draw it with plotly.js.

The document is plain JSON; plotly itself is not needed here. Names from outside are inert text in it.
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

_FEWEST_PATHS = 20  # below it no bands, and a real path instead of the median: as in pictures
_UP, _DOWN = "#26a69a", "#ef5350"
_FORECAST, _FORECAST_RGB = "#5746d8", "87, 70, 216"
_HOLLOW = "rgba(0, 0, 0, 0)"
_TEXT, _GROUND, _GRID = "#131722", "#ffffff", "#e8eaf0"


def plotly_document(forecast: Forecast, *, history_bars: int = 400, actual: Candles | None = None) -> dict[str, Any]:
    """Draw a forecast: history, nested bands of the close, the forecast's candles, and what came if it is known.

    From 20 paths on the forecast's candles are medians, each price by itself, and there are bands of the close; with
    fewer they are one real path, the most central one (`Forecast.representative`), without bands, as quantiles of few
    paths are rough. A point forecast has no bands either.

    Args:
        forecast: What to draw.
        history_bars: How many known candles to show at most.
        actual: The candles that came; those at the forecast's times are drawn.

    Returns:
        ``{"data": [...], "layout": {...}}`` of JSON values: no NaN, times in ISO 8601.

    Raises:
        ParameterError: If ``history_bars`` is below 1.
        DataError: If ``actual`` has no candle at any of the forecast's times.
    """
    if history_bars < 1:
        raise ParameterError(f"A chart shows at least 1 candle of history, not {history_bars}.")
    history, ahead = forecast.history.frame.iloc[-history_bars:], _stamps(forecast.timestamps)
    past = _stamps(history.index)
    bands = _bands(forecast) if forecast.samples >= _FEWEST_PATHS and not _is_point(forecast) else {}
    name, candles = _central(forecast)
    data = [_candlesticks("History", past, history, _market())]
    data += [_fan(level, [past[-1], *ahead], *ends) for level, ends in sorted(bands.items(), reverse=True)]
    style = {**_forecast_style(), "text": _words(bands, len(ahead))}
    data.append(_candlesticks(name, ahead, candles, style if actual is None else {**style, "opacity": 0.4}))
    if actual is not None:
        came = _actual_trace(actual, forecast)
        data.append(_candlesticks("What came", _stamps(came.index), came, _market()))
        # Candles at one time lie over each other; the line keeps the forecast in sight where what came covers it.
        data.append(_line(f"{name}: close", [past[-1], *ahead], [forecast.last_close, *candles["close"]]))
    return {"data": data, "layout": _layout(forecast, past, ahead)}


# What is drawn ------------------------------------------------------------


def _is_point(forecast: Forecast) -> bool:
    """Whether all paths are the same."""
    closes = forecast.channel("close")
    return bool((closes == closes[0]).all())


def _central(forecast: Forecast) -> tuple[str, pd.DataFrame]:
    """Name and candles of what stands for the forecast."""
    if forecast.samples >= _FEWEST_PATHS:
        return "Forecast: median of each price", forecast.quantile_candles(0.5)
    chosen = forecast.representative()
    name = f"path {chosen} of {forecast.samples}, the most central" if forecast.samples > 1 else "its one path"
    return f"Forecast: {name}", forecast.sample(chosen)


def _bands(forecast: Forecast) -> dict[float, tuple[list[float], list[float]]]:
    """Lower and upper ends by level, from the last close on `[H + 1]`, where they have no width."""
    start = forecast.last_close
    ranges = {level: forecast.range(level) for level in BANDS}
    return {level: ([start, *ends["low"]], [start, *ends["high"]]) for level, ends in ranges.items()}


def _words(bands: dict[float, tuple[list[float], list[float]]], steps: int) -> list[str]:
    """What the pointer tells at each step: the bands in numbers."""
    lines = [
        [
            f"{100 * level:g} % of closes: {low[step]:.6g} to {high[step]:.6g}"
            for level, (low, high) in sorted(bands.items())
        ]
        for step in range(1, steps + 1)
    ]
    return ["<br>".join(line) for line in lines]


def _actual_trace(actual: Candles, forecast: Forecast) -> pd.DataFrame:
    """The actual candles at the forecast's times, in their order."""
    if (actual.timezone is None) != (forecast.timestamps.tz is None):
        raise DataError("The actual candles need a timezone just if the forecast has one.")
    came = actual.frame.reindex(forecast.timestamps).dropna(subset=["open", "high", "low", "close"])
    if came.empty:
        raise DataError("No actual candle is at any of the forecast's times; compare their first rows.")
    return came


# Traces ------------------------------------------------------------


def _candlesticks(name: str, times: list[str], candles: pd.DataFrame, style: dict[str, Any]) -> dict[str, Any]:
    prices = {column: _numbers(candles[column]) for column in ("open", "high", "low", "close")}
    return {"type": "candlestick", "name": name, "x": times, **prices, **style}


def _market() -> dict[str, Any]:
    """Candles that traded: green up, red down."""
    return {
        "increasing": {"line": {"color": _UP, "width": 1}, "fillcolor": _UP},
        "decreasing": {"line": {"color": _DOWN, "width": 1}, "fillcolor": _DOWN},
    }


def _forecast_style() -> dict[str, Any]:
    """Candles that are forecast: one hue that the market has not, hollow where they rise."""
    line = {"color": _FORECAST, "width": 1}
    return {
        "increasing": {"line": line, "fillcolor": _HOLLOW},
        "decreasing": {"line": line, "fillcolor": _FORECAST},
    }


def _fan(level: float, times: list[str], low: list[float], high: list[float]) -> dict[str, Any]:
    """A band as one closed outline: forth along its upper end, back along its lower one."""
    # Bands lie over each other, the widest first, so that the same opacity makes the inner ones darker.
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


# Words and axes ------------------------------------------------------------


def _layout(forecast: Forecast, past: list[str], ahead: list[str]) -> dict[str, Any]:
    axis = {"gridcolor": _GRID, "automargin": True}
    return {
        "title": {"text": _title(forecast), "x": 0.01, "xanchor": "left"},
        "font": {"color": _TEXT},
        "paper_bgcolor": _GROUND,
        "plot_bgcolor": _GROUND,
        "hovermode": "x",
        "hoverlabel": {"namelength": -1},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        "margin": {"t": 120},
        "xaxis": {
            **axis,
            # Categories stand side by side whatever lies between them: nights, weekends, holidays and halts leave no
            # gaps, without rules for each calendar. Their text has its offset from UTC, so that the hour which a clock
            # repeats in autumn stays two; their order is given, as it would else be that in which traces name them.
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [*past, *ahead],
            "nticks": 8,
            "rangeslider": {"visible": False},
        },
        "yaxis": {**axis, "title": {"text": "Price"}, "side": "right"},
        "shapes": [_start(past[-1])],
    }


def _start(last: str) -> dict[str, Any]:
    """A line at the last known candle: everything after it is forecast."""
    line = {"color": _FORECAST, "width": 1, "dash": "dot"}
    return {"type": "line", "xref": "x", "yref": "paper", "x0": last, "x1": last, "y0": 0, "y1": 1, "line": line}


def _title(forecast: Forecast) -> str:
    """What it is, in two lines: symbol, interval, model; then how it was made."""
    first = " · ".join([forecast.symbol or "Unnamed series", str(forecast.interval), forecast.metadata.name])
    steps = "1 step" if forecast.horizon == 1 else f"{forecast.horizon} steps"
    paths = "1 path" if forecast.samples == 1 else f"{forecast.samples} paths"
    zone = f"times in {forecast.history.timezone}" if forecast.history.timezone else "timezone unknown"
    second = " · ".join([f"{steps} ahead", paths, forecast.metadata.state, zone])
    mark = "<b>SIMULATED</b> · " if forecast.simulated else ""
    return f'{mark}{_inert(first)}<br><span style="font-size: 0.8em">{_inert(second)}</span>'


def _inert(text: str) -> str:
    """Text that plotly draws as it is: it would take ``<b>`` and ``&amp;`` for HTML, and ``$x$`` for TeX."""
    return html.escape(text, quote=False).replace("$", "&#36;")


def _stamps(index: pd.Index) -> list[str]:
    return [time.isoformat() for time in pd.DatetimeIndex(index)]


def _numbers(values: Iterable[float]) -> list[float]:
    plain: list[float] = np.asarray(list(values), dtype=np.float64).tolist()
    return plain

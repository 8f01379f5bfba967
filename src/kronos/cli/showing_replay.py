"""A replay in the terminal: what came, and who had seen it coming."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from kronos.cli.showing import decimals_of, percent, rule, time_text
from kronos.evaluation.replaying import Line, horizons, replayed
from kronos.forecasts import Forecast
from kronos.plotting.scales import format_price

if TYPE_CHECKING:
    from kronos.candles import Candles
    from kronos.cli.running import Result


def replay_view(result: Result) -> list[RenderableType]:
    """What came, a score a forecaster, and how little one origin tells."""
    forecast, actual = result.forecast, result.actual
    assert actual is not None
    lines, _ = replayed(forecast, actual, result.raw)
    parts: list[RenderableType] = [rule("What came"), _outcome(forecast, actual), Text(), _scores(forecast, lines)]
    remark = "CRPS in units of σ√h, smaller is better. One origin is mostly luck: it takes many to tell who is better."
    return [*parts, Text(remark, style="dim")]


def _outcome(forecast: Forecast, actual: Candles) -> Text:
    """The last known close within the horizon, and where it lies among the paths."""
    closes = actual.frame["close"].reindex(forecast.timestamps).to_numpy()
    step = int(np.flatnonzero(~np.isnan(closes))[-1])  # the last one known
    time, close = forecast.timestamps[step], float(closes[step])
    below = forecast.probability_below(close, step).count
    decimals = decimals_of(forecast)
    text = Text("close ")
    text.append(format_price(close, decimals), style="bold")
    text.append(f" at {time_text(time, forecast.interval.intraday)}, step {step + 1} of {forecast.horizon}, ").append(
        percent(close / forecast.last_close - 1)
    )
    return text.append(f"; {below} of {forecast.samples} paths ended below it")


def _scores(forecast: Forecast, lines: list[Line]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
    table.add_column(Text("forecaster", style="dim"), no_wrap=True)
    steps = horizons(forecast)
    for step in steps:
        table.add_column(Text(f"CRPS, step {step}", style="dim"), justify="right", no_wrap=True)
    table.add_column(Text("closes in its 80 % band", style="dim"), justify="right", no_wrap=True)
    best = {step: min((_crps(line, step) for line in lines), default=math.nan) for step in steps}
    for line in lines:
        cells = [_cell(_crps(line, step), best[step]) for step in steps]
        inside = "–" if math.isnan(line.inside) else f"{100 * line.inside:.0f} %"
        table.add_row(Text(line.name), *cells, inside)
    return table


def _crps(line: Line, step: int) -> float:
    """The scaled CRPS; infinite where it is not known, so that the best one is."""
    value = float(line.scores["crps_scaled"].to_dict()[step])
    return math.inf if math.isnan(value) else value


def _cell(value: float, best: float) -> Text:
    return Text("–") if math.isinf(value) else Text(f"{value:.2f}", style="bold" if value == best else "")

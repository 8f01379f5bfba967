"""Terminal view of a forecast: where it starts, its distribution by step, and what the paths add up to.

- Bands are drawn to one scale next to the numbers: the central 95, 80 and 50 % of the close, its median, and the last
  close.
- In a narrow terminal, columns are dropped from the right; numbers are never truncated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from kronos.cli.console import emit, print_json, stdout
from kronos.cli.forecast.command import ForecastArgs
from kronos.cli.forecast.output import ForecastRun, SeriesResult, document
from kronos.forecasts import Forecast
from kronos.formatting import MISSING, format_price, plural
from kronos.plotting.ticks import price_decimals

if TYPE_CHECKING:
    from kronos.candles import Candles
    from kronos.evaluation.replay import ReplayScore

_BANDS = (0.5, 0.8, 0.95)
_HUE, _LABEL, _WARN = "#8b7cf6", "dim", "bold #f2b134"
_UP, _DOWN = "#26a69a", "#ef5350"
_STRIDES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 24, 30, 40, 50, 60, 80, 100)
_WARNINGS_SHOWN = 3  # without --verbose
_MIN_STRIP, _MAX_STRIP = 13, 41  # width of the drawn bands


def show(run: ForecastRun, args: ForecastArgs, files: Mapping[str, list[Path]]) -> None:
    """Print a run as one JSON document, as tables, or not at all."""
    if args.json:
        print_json(document(run, files))
    elif not args.quiet:
        console = stdout()
        for result in run.results:
            emit(console, Padding(_view(result, run, args, files[result.name], console), (1, 1, 0, 1)))
        console.print()


def _view(
    result: SeriesResult, run: ForecastRun, args: ForecastArgs, files: list[Path], console: Console
) -> RenderableType:
    forecast = result.forecast
    width = console.width - 2
    parts: list[RenderableType] = [_header(forecast), *_findings(forecast, args.verbose), Text()]
    parts += [_table(forecast, width), Text(), _summary(forecast, run, args.verbose, files)]
    if result.actual is not None:
        parts += [Text(), *_replay(forecast, result.actual, result.raw)]
    return Group(*parts)


def steps_shown(horizon: int) -> list[int]:
    """Return the steps to show, counted from 1: the first ones, evenly spaced ones, the last."""
    if horizon <= 8:
        return list(range(1, horizon + 1))
    stride = next((s for s in _STRIDES if horizon / s <= 6.5), -(-horizon // 6))
    return sorted({1, 2, 3, *range(stride, horizon + 1, stride), horizon})


def _time_text(time: pd.Timestamp, intraday: bool) -> str:
    return f"{time:%Y-%m-%d %H:%M}" if intraday else f"{time:%Y-%m-%d}"


def _short_time(time: pd.Timestamp, intraday: bool) -> str:
    """A time without its year if it has minutes; the header states the year."""
    return f"{time:%m-%d %H:%M}" if intraday else f"{time:%Y-%m-%d}"


def _change(share: float, digits: int = 2) -> Text:
    """A signed percentage in the colour of its direction."""
    rounded = round(100 * share, digits) + 0.0  # avoids −0
    style = _UP if rounded > 0 else _DOWN if rounded < 0 else ""
    return Text(f"{rounded:+.{digits}f} %", style=style)


def _header(forecast: Forecast) -> RenderableType:
    """Symbol, horizon and model; then last close, calendar and history."""
    history, metadata = forecast.history, forecast.metadata
    title = Text()
    title.append(forecast.symbol or "series", style="bold")
    title.append(f"  {forecast.interval}", style="bold")
    title.append(f"  {plural(forecast.horizon, 'step')} ahead")
    title.append(f"  {plural(forecast.samples, 'path')}")
    title.append(f"  {metadata.name}, {metadata.state}", style=_HUE)
    if forecast.simulated:
        title.append("  ")
        title.append(" SIMULATED DATA ", style="black on #f2b134")
    price = format_price(forecast.last_close, _price_decimals(forecast))
    used = metadata.details.get("lookback", len(history))
    rows = f"{used:,} of {len(history):,} candles" if used < len(history) else f"{len(history):,} candles"
    zone = history.timezone or "timezone unknown"
    basis = "" if metadata.calendar_basis == "calendar" else f" ({metadata.calendar_basis})"
    line = Text(style=_LABEL)
    line.append("last close ").append(price, style="bold not dim")
    line.append(f" at {_time_text(forecast.start, forecast.interval.intraday)} · {zone}")
    line.append(f" · calendar {metadata.calendar}{basis} · {rows}")
    return Group(title, line)


def _findings(forecast: Forecast, verbose: bool) -> list[RenderableType]:
    """Findings of the data check: warnings in words, and the number of the others; each of them if verbose."""
    findings = forecast.history.findings
    warnings = [finding for finding in findings if finding.severity == "warning"]
    shown = findings if verbose else warnings[:_WARNINGS_SHOWN]
    lines: list[RenderableType] = [
        Text.assemble((f"{f.severity}: ", _WARN if f.severity == "warning" else _LABEL), f.message) for f in shown
    ]
    if verbose or len(shown) == len(findings):
        return lines
    hidden = len(warnings) - len(shown)
    notes = len(findings) - len(warnings)
    counts = [plural(count, noun) for count, noun in ((hidden, "more warning"), (notes, "note")) if count]
    return [*lines, Text(f"{' and '.join(counts)} on the data; -v lists them", style=_WARN if hidden else _LABEL)]


def _table(forecast: Forecast, width: int) -> Table:
    """The distribution of the close by step, as numbers and drawn to scale."""
    decimals = _price_decimals(forecast)
    bands = {band: forecast.range(band) for band in _BANDS}
    median = forecast.median()["close"]
    steps = steps_shown(forecast.horizon)
    changes = [float(median.iloc[step - 1]) / forecast.last_close - 1 for step in steps]
    columns: list[tuple[str, list[Text | str]]] = [
        ("step", [str(step) for step in steps]),
        ("time", [_short_time(forecast.timestamps[step - 1], forecast.interval.intraday) for step in steps]),
        ("median", [Text(format_price(median.iloc[step - 1], decimals), style="bold") for step in steps]),
        ("change", [_change(change, 2 if max(map(abs, changes)) > 0.002 else 3) for change in changes]),
    ]
    cells = {band: _band_cells(bands[band], steps, decimals) for band in (0.8, 0.5, 0.95) if forecast.samples > 1}
    available = width - sum(_column_width(*column) for column in columns)
    shown = []
    for band, own in cells.items():  # the 80 % band is the last to be dropped
        needed = _column_width("", list(own))
        if available >= needed:
            shown.append(band)
            available -= needed
    columns += [(f"{100 * band:.0f} %", list(cells[band])) for band in sorted(shown)]
    if available >= _MIN_STRIP + 2 and cells:
        columns.append(("", list(_strips(forecast, bands, steps, min(available - 2, _MAX_STRIP)))))
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=_LABEL)
    for name, _ in columns:
        grid.add_column(Text(name, style=_LABEL), justify="left" if name in ("time", "") else "right", no_wrap=True)
    for row in zip(*(own for _, own in columns), strict=True):
        grid.add_row(*row)
    return grid


def _column_width(name: str, cells: list[Text | str]) -> int:
    return 2 + max(len(name), *(len(cell) for cell in cells))


def _band_cells(band: pd.DataFrame, steps: list[int], decimals: int) -> list[Text]:
    """Cells such as ``61,000.0 – 62,000.0``, with both ends aligned."""
    lows = [format_price(band["low"].iloc[step - 1], decimals) for step in steps]
    highs = [format_price(band["high"].iloc[step - 1], decimals) for step in steps]
    width = max(map(len, highs))
    return [Text(f"{low} – {high:>{width}}") for low, high in zip(lows, highs, strict=True)]


def _strips(forecast: Forecast, bands: Mapping[float, pd.DataFrame], steps: list[int], width: int) -> list[Text]:
    """The nested bands of each step, drawn to one scale."""
    widest = bands[0.95].iloc[[step - 1 for step in steps]]
    low = min(float(widest["low"].min()), forecast.last_close)
    high = max(float(widest["high"].max()), forecast.last_close)
    median = forecast.median()["close"]

    def column(price: float) -> int:
        return round((price - low) / (high - low) * (width - 1)) if high > low else width // 2

    strips = []
    for step in steps:
        cells = [(" ", "")] * width
        for band, mark in ((0.95, "─"), (0.8, "━"), (0.5, "█")):
            row = bands[band].iloc[step - 1]
            for i in range(column(row["low"]), column(row["high"]) + 1):
                cells[i] = (mark, _HUE)
        cells[column(forecast.last_close)] = ("│", "")  # a vertical line through all rows
        cells[column(median.iloc[step - 1])] = ("●", "bold")
        strips.append(Text.assemble(*cells))
    return strips


def _summary(forecast: Forecast, run: ForecastRun, verbose: bool, files: list[Path]) -> Table:
    """Probabilities and ranges, notes and files; details of the forecast if verbose."""
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(style=_LABEL, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in _facts(forecast):
        grid.add_row(label, value)
    for label, text in _details(forecast, run) if verbose else ():
        grid.add_row(label, Text(text))
    for i, note in enumerate(forecast.notes):
        grid.add_row("notes" if i == 0 else "", Text(note))
    for i, path in enumerate(files):
        grid.add_row("written" if i == 0 else "", Text(str(path), style="bold"))
    return grid


def _facts(forecast: Forecast) -> list[tuple[str, Text]]:
    decimals = _price_decimals(forecast)
    facts = []
    if forecast.samples > 1:
        last, path = forecast.range(0.9).iloc[-1], forecast.path_range(0.9)
        upside = str(forecast.upside_probability())
        facts.append(("probability up", _fact(upside, "that the last step closes above the last close")))
        at_end = f"{format_price(last['low'], decimals)} – {format_price(last['high'], decimals)}"
        on_path = f"{format_price(path[0], decimals)} – {format_price(path[1], decimals)}"
        facts.append(("expected range", _fact(at_end, f"90 % at the last step; over the whole horizon {on_path}")))
    window = min(24, len(forecast.history) - 1)
    if forecast.samples > 1 and forecast.horizon > 1 and window > 1:
        amplified = str(forecast.volatility_amplification(window))
        facts.append(("more volatile", _fact(amplified, f"than the last {window} candles")))
    share, _, remark = (forecast.describe_repairs() or "none of the sampled candles").partition(" of ")
    facts.append(("repaired", _fact(share, f"of {remark}")))
    return facts


def _fact(value: str, remark: str) -> Text:
    return Text.assemble((value, "bold"), (f"  {remark}", _LABEL))


def _details(forecast: Forecast, run: ForecastRun) -> list[tuple[str, str]]:
    """Calibration, sampling parameters, weights, device, data and versions."""
    details = forecast.metadata.details
    sampling = ", ".join(f"{name} {value:g}" for name, value in details["sampling"].items())
    weights = [
        f"{details[kind]['ref']} {(details[kind]['sha256'] or 'unsaved')[:12]}" for kind in ("model", "tokenizer")
    ]
    versions = ", ".join(f"{name} {version}" for name, version in details["versions"].items())
    return [
        *_calibration(details.get("calibration")),
        ("sampling", f"{sampling}, seed {details['seed']}"),
        ("weights", f"{weights[0]} with {weights[1]} (sha256), context {details['max_context']}"),
        ("computed", f"{details['device']}, {details['precision']} precision, {run.seconds:.2f} s"),
        ("data", f"{forecast.history.source}, sha256 {details['history']['sha256'][:12]}"),
        ("versions", versions),
    ]


def _calibration(calibration: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if calibration is None:
        return []
    group = calibration["group"] or "all groups together"
    digest = str(calibration["fitted_on"].get("sha256", "unknown"))[:12]
    parts, day = ", ".join(calibration["parts"]), calibration["created"][:10]
    return [("calibration", f"{parts}; factors of {group}; fitted on {day} to forecasts with sha256 {digest}")]


def _price_decimals(forecast: Forecast) -> int:
    """Decimals of the market's recent prices, or more if the bands are too narrow for them.

    Only recent prices count: adjusted prices of long ago have more decimals than the market quotes.
    """
    market = price_decimals(forecast.history.frame.iloc[-256:, :4].to_numpy())
    band = forecast.range(0.8)
    width = float((band["high"] - band["low"]).median())
    needed = math.ceil(-math.log10(width / 20)) if width > 0 else 0
    return max(market, min(needed, 8))


def _replay(forecast: Forecast, actual: Candles, raw: Forecast | None) -> list[RenderableType]:
    """The actual close, and the scores of the forecast and baselines."""
    from kronos.evaluation.replay import replay_steps, score_replay

    scores, _ = score_replay(forecast, actual, raw)
    table = _score_table(scores, replay_steps(forecast))
    title = Rule(Text("Actual", style="bold"), align="left", style=_LABEL, characters="─")
    remark = "CRPS in units of σ√h; smaller is better. One origin is mostly luck; compare forecasters over many."
    return [title, _actual_close(forecast, actual), Text(), table, Text(remark, style="dim")]


def _actual_close(forecast: Forecast, actual: Candles) -> Text:
    """The last actual close within the horizon, and its rank among the paths."""
    closes = actual.frame["close"].reindex(forecast.timestamps).to_numpy()
    step = int(np.flatnonzero(~np.isnan(closes))[-1]) + 1
    time, close = forecast.timestamps[step - 1], float(closes[step - 1])
    below = forecast.probability_below(close, step).count
    text = Text("close ")
    text.append(format_price(close, _price_decimals(forecast)), style="bold")
    text.append(f" at {_time_text(time, forecast.interval.intraday)}, step {step} of {forecast.horizon}, ")
    text.append(_change(close / forecast.last_close - 1))
    return text.append(f"; {below} of {forecast.samples} paths closed below it")


def _score_table(scores: list[ReplayScore], steps: list[int]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
    table.add_column(Text("forecaster", style="dim"), no_wrap=True)
    for step in steps:
        table.add_column(Text(f"CRPS, step {step}", style="dim"), justify="right", no_wrap=True)
    table.add_column(Text("closes in its 80 % band", style="dim"), justify="right", no_wrap=True)
    best = {step: min((_crps(score, step) for score in scores), default=math.nan) for step in steps}
    for score in scores:
        cells = [_crps_cell(_crps(score, step), best[step]) for step in steps]
        inside = MISSING if math.isnan(score.inside) else f"{100 * score.inside:.0f} %"
        table.add_row(Text(score.name), *cells, inside)
    return table


def _crps(score: ReplayScore, step: int) -> float:
    """The scaled CRPS at a step; infinite if unknown, so that it is never the best."""
    value = float(score.scores["crps_scaled"].to_dict()[step])
    return math.inf if math.isnan(value) else value


def _crps_cell(value: float, best: float) -> Text:
    return Text(MISSING) if math.isinf(value) else Text(f"{value:.2f}", style="bold" if value == best else "")

"""A forecast in the terminal: where it starts, what may come step by step, what it adds up to.

- Bands are drawn to one scale beside the numbers: the close's central 95, 80 and 50 %, the median, the last close.
- Columns leave from the right where the terminal is narrow; numbers are never cut.
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
from kronos.cli.forecast.arguments import OutputArgs
from kronos.evaluation.replay import Line, horizons, score_replay
from kronos.forecasts import Forecast
from kronos.formatting import format_price
from kronos.plotting.artists import price_decimals

if TYPE_CHECKING:
    from kronos.candles import Candles
    from kronos.cli.forecast.output import ForecastRun, SeriesResult

_BANDS = (0.5, 0.8, 0.95)
_HUE, _LABEL, _WARN = "#8b7cf6", "dim", "bold #f2b134"
_UP, _DOWN = "#26a69a", "#ef5350"
_STRIDES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 24, 30, 40, 50, 60, 80, 100)
_STRIP_LEAST, _STRIP_MOST = 13, 41


def show(run: ForecastRun, showing: OutputArgs, written: Mapping[str, list[Path]]) -> None:
    """Print a run as one JSON document, as tables, or not at all."""
    if showing.json:
        from kronos.cli.forecast.output import document

        print_json(document(run, written))
    elif not showing.quiet:
        console = stdout()
        for result in run.results:
            emit(console, Padding(view(result, run, showing, written[result.name], console), (1, 1, 0, 1)))
        console.print()


def view(
    result: SeriesResult, run: ForecastRun, showing: OutputArgs, files: list[Path], console: Console
) -> RenderableType:
    """One series' part of the screen."""
    forecast = result.forecast
    width = console.width - 2
    parts: list[RenderableType] = [_header(forecast), *_findings(forecast, showing.verbose), Text()]
    parts += [_table(forecast, width), Text(), _summary(forecast, run, showing.verbose, files)]
    if result.actual is not None:
        parts += [Text(), *replay_view(result)]
    return Group(*parts)


def steps_shown(horizon: int) -> list[int]:
    """The first steps, some on the way, the last; counted from 1."""
    if horizon <= 8:
        return list(range(1, horizon + 1))
    stride = next((s for s in _STRIDES if horizon / s <= 6.5), -(-horizon // 6))
    return sorted({1, 2, 3, *range(stride, horizon + 1, stride), horizon})


def time_text(time: pd.Timestamp, intraday: bool) -> str:
    """A time to the minute, or a day."""
    return f"{time:%Y-%m-%d %H:%M}" if intraday else f"{time:%Y-%m-%d}"


def _short_time(time: pd.Timestamp, intraday: bool) -> str:
    """The same in a table's row, where the year of a minute is known from the line above."""
    return f"{time:%m-%d %H:%M}" if intraday else f"{time:%Y-%m-%d}"


def percent(share: float, digits: int = 2) -> Text:
    """A signed percentage in the colour of its direction."""
    shown = round(100 * share, digits) + 0.0  # no minus before a zero
    style = _UP if shown > 0 else _DOWN if shown < 0 else ""
    return Text(f"{shown:+.{digits}f} %", style=style)


def _header(forecast: Forecast) -> RenderableType:
    """Who, from where, by what."""
    history, made = forecast.history, forecast.metadata
    title = Text()
    title.append(forecast.symbol or "series", style="bold")
    title.append(f"  {forecast.interval}", style="bold")
    title.append(f"  {forecast.horizon} {'step' if forecast.horizon == 1 else 'steps'} ahead")
    title.append(f"  {forecast.samples} {'path' if forecast.samples == 1 else 'paths'}")
    title.append(f"  {made.name}, {made.state}", style=_HUE)
    if forecast.simulated:
        title.append("  ")
        title.append(" SIMULATED DATA ", style="black on #f2b134")
    price = format_price(forecast.last_close, decimals_of(forecast))
    used = made.details.get("lookback", len(history))
    rows = f"{used:,} of {len(history):,} candles" if used < len(history) else f"{len(history):,} candles"
    zone = history.timezone or "timezone unknown"
    basis = "" if made.calendar_basis == "calendar" else f" ({made.calendar_basis})"
    line = Text(style=_LABEL)
    line.append("last close ").append(price, style="bold not dim")
    line.append(f" at {time_text(forecast.start, forecast.interval.intraday)} · {zone}")
    line.append(f" · calendar {made.calendar}{basis} · {rows}")
    return Group(title, line)


def _findings(forecast: Forecast, verbose: bool) -> list[RenderableType]:
    """What cleaning noticed: a count, or every finding with its rows."""
    findings = forecast.history.findings
    if not findings:
        return []
    if verbose:
        return [
            Text.assemble((f"{f.severity}: ", _WARN if f.severity == "warning" else _LABEL), f.message)
            for f in findings
        ]
    warnings = sum(f.severity == "warning" for f in findings)
    notes = len(findings) - warnings
    words = [f"{n} {word}{'s' if n > 1 else ''}" for n, word in ((warnings, "warning"), (notes, "note")) if n]
    return [Text(f"{' and '.join(words)} on the data; -v lists them", style=_WARN if warnings else _LABEL)]


def _table(forecast: Forecast, width: int) -> Table:
    """The close by step, as numbers and to scale."""
    decimals = decimals_of(forecast)
    ends = {band: forecast.range(band) for band in _BANDS}
    median = forecast.median()["close"]
    steps = steps_shown(forecast.horizon)
    changes = [float(median.iloc[step - 1]) / forecast.last_close - 1 for step in steps]
    columns: list[tuple[str, list[Text | str]]] = [
        ("step", [str(step) for step in steps]),
        ("time", [_short_time(forecast.timestamps[step - 1], forecast.interval.intraday) for step in steps]),
        ("median", [Text(format_price(median.iloc[step - 1], decimals), style="bold") for step in steps]),
        ("change", [percent(change, 2 if max(map(abs, changes)) > 0.002 else 3) for change in changes]),
    ]
    bands = {b: _band_cells(ends[b], steps, decimals) for b in ((0.8, 0.5, 0.95) if forecast.samples > 1 else ())}
    room = width - sum(_column_width(name, cells) for name, cells in columns)
    kept = []
    for band, cells in bands.items():  # the 80 % band first: it is the last to leave
        needed = _column_width("", list(cells))
        if room >= needed:
            kept.append(band)
            room -= needed
    columns += [(f"{100 * band:.0f} %", list(bands[band])) for band in sorted(kept)]
    if room >= _STRIP_LEAST + 2 and bands:
        columns.append(("", list(_strips(forecast, ends, steps, min(room - 2, _STRIP_MOST)))))
    return _grid(columns)


def _grid(columns: list[tuple[str, list[Text | str]]]) -> Table:
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=_LABEL)
    for name, _ in columns:
        grid.add_column(Text(name, style=_LABEL), justify="left" if name in ("time", "") else "right", no_wrap=True)
    for row in zip(*(cells for _, cells in columns), strict=True):
        grid.add_row(*row)
    return grid


def _column_width(name: str, cells: list[Text | str]) -> int:
    return 2 + max(len(name), *(len(cell) for cell in cells))


def _band_cells(ends: pd.DataFrame, steps: list[int], decimals: int) -> list[Text]:
    """``61,000.0 – 62,000.0``, both ends aligned."""
    lows = [format_price(ends["low"].iloc[s - 1], decimals) for s in steps]
    highs = [format_price(ends["high"].iloc[s - 1], decimals) for s in steps]
    wide = max(map(len, highs))
    return [Text(f"{low} – {high:>{wide}}") for low, high in zip(lows, highs, strict=True)]


def _strips(forecast: Forecast, ends: Mapping[float, pd.DataFrame], steps: list[int], width: int) -> list[Text]:
    """The nested bands of each step, drawn to one scale."""
    widest = ends[0.95].iloc[[s - 1 for s in steps]]
    low = min(float(widest["low"].min()), forecast.last_close)
    high = max(float(widest["high"].max()), forecast.last_close)
    median = forecast.median()["close"]

    def at(price: float) -> int:
        return round((price - low) / (high - low) * (width - 1)) if high > low else width // 2

    strips = []
    for step in steps:
        cells = [(" ", "")] * width
        for band, mark in ((0.95, "─"), (0.8, "━"), (0.5, "█")):
            row = ends[band].iloc[step - 1]
            for i in range(at(row["low"]), at(row["high"]) + 1):
                cells[i] = (mark, _HUE)
        cells[at(forecast.last_close)] = ("│", "")  # through all rows, so that the way from it shows
        cells[at(median.iloc[step - 1])] = ("●", "bold")
        strips.append(Text.assemble(*cells))
    return strips


def _summary(forecast: Forecast, run: ForecastRun, verbose: bool, files: list[Path]) -> Table:
    """What the paths add up to, with its uncertainty."""
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(style=_LABEL, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in _facts(forecast):
        grid.add_row(label, value)
    for label, words in _making(forecast, run) if verbose else ():
        grid.add_row(label, Text(words))
    for i, note in enumerate(forecast.notes):
        grid.add_row("notes" if i == 0 else "", Text(note))
    for i, path in enumerate(files):
        grid.add_row("written" if i == 0 else "", Text(str(path), style="bold"))
    return grid


def _facts(forecast: Forecast) -> list[tuple[str, Text]]:
    decimals = decimals_of(forecast)
    facts = []
    if forecast.samples > 1:
        end, way = forecast.range(0.9).iloc[-1], forecast.path_range(0.9)
        upside = str(forecast.upside_probability())
        facts.append(("probability up", _fact(upside, "that the last step closes above the last known close")))
        band = f"{format_price(end['low'], decimals)} – {format_price(end['high'], decimals)}"
        on_the_way = f"{format_price(way[0], decimals)} – {format_price(way[1], decimals)}"
        facts.append(("expected range", _fact(band, f"90 % at the last step; on the way there {on_the_way}")))
    window = min(24, len(forecast.history) - 1)
    if forecast.samples > 1 and forecast.horizon > 1 and window > 1:
        louder = str(forecast.volatility_amplification(window))
        facts.append(("more volatile", _fact(louder, f"than the last {window} candles")))
    mended = f"{100 * forecast.mended:.1f} %" if forecast.mended else "none"
    facts.append(("mended", _fact(mended, "of the sampled candles")))
    return facts


def _fact(value: str, remark: str) -> Text:
    return Text.assemble((value, "bold"), (f"  {remark}", _LABEL))


def _making(forecast: Forecast, run: ForecastRun) -> list[tuple[str, str]]:
    """What made the forecast, for ``-v``."""
    details = forecast.metadata.details
    sampling = ", ".join(f"{name} {value:g}" for name, value in details["sampling"].items())
    model, tokenizer = details["model"], details["tokenizer"]
    weights = [f"{one['ref']} {(one['sha256'] or 'unsaved')[:12]}" for one in (model, tokenizer)]
    versions = ", ".join(f"{name} {version}" for name, version in details["versions"].items())
    return [
        *_calibration(details.get("calibration")),
        ("sampling", f"{sampling}, seed {details['seed']}"),
        ("weights", f"{weights[0]} with {weights[1]} (sha256), context {details['max_context']}"),
        ("computed", f"{details['device']}, {details['precision']} precision, {run.seconds:.2f} s"),
        ("data", f"{forecast.history.source}, sha256 {details['history']['sha256'][:12]}"),
        ("versions", versions),
    ]


def _calibration(told: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What corrected the forecast, if anything did."""
    if told is None:
        return []
    whose = told["group"] or "all groups together"
    digest = str(told["fitted_on"].get("sha256", "unknown"))[:12]
    parts, day = ", ".join(told["parts"]), told["created"][:10]
    return [("calibration", f"{parts}; factors of {whose}; fitted on {day} to forecasts with sha256 {digest}")]


def decimals_of(forecast: Forecast) -> int:
    """Decimals that the market quotes of late (adjusted prices of long ago have more), and that tell bands apart."""
    market = price_decimals(forecast.history.frame.iloc[-256:, :4].to_numpy())
    band = forecast.range(0.8)
    width = float((band["high"] - band["low"]).median())
    telling = math.ceil(-math.log10(width / 20)) if width > 0 else 0
    return max(market, min(telling, 8))


def rule(title: str) -> Rule:
    """A quiet line with a title."""
    return Rule(Text(title, style="bold"), align="left", style=_LABEL, characters="─")


def replay_view(result: SeriesResult) -> list[RenderableType]:
    """What came, a score a forecaster, and how little one origin tells."""
    forecast, actual = result.forecast, result.actual
    assert actual is not None
    lines, _ = score_replay(forecast, actual, result.raw)
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

"""``kronos data check``: report problems in files of candles and how many candles training could use."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kronos.cli import options
from kronos.cli.data.check_report import (
    EXPLANATION,
    document,
    kept_percent,
    more_rows,
    split_and_excluded,
    total_lines,
    write_report,
)
from kronos.cli.errors import FAILED, MISUSED, print_error
from kronos.cli.files import check_no_folder, check_not_read, check_suffix, files_from_stdin
from kronos.cli.reading_options import ReadingArgs, name_options
from kronos.formatting import plural

if TYPE_CHECKING:
    from kronos.candles import Finding
    from kronos.datasets.inspection import InspectedSeries, InspectionReport

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos data check btc_1h.csv\n\n"
    "kronos data check data/candles --report quality.md\n\n"
    "kronos data check exports/*.csv --timezone Asia/Shanghai -v\n\n"
    "kronos data check data --strict --json > check.json   [dim](in a pipeline)[/dim]"
)
_REPORTS = (".md", ".json")
_MAX_FINDINGS = 20  # without --findings and --verbose


def check(
    paths: options.CandlePaths,
    interval: options.Interval = None,
    timezone: options.Timezone = None,
    column: options.Columns = None,
    decimal: options.Decimal = None,
    thousands: options.Thousands = None,
    date_format: options.DateFormat = None,
    header: options.Header = None,
    strict: options.StrictCheck = False,
    findings: options.MaxFindings = None,
    report: options.CheckReport = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Check candles: dropped and repaired rows, gaps, jumps, runs without trading, and what remains for training.

    Folders are searched for CSV, Feather and Parquet files; tables without candles are skipped.

    Status 0 even with findings; 1 with [bold]--strict[/bold] if there are warnings; 2 if a file could not be read.
    """
    if report is not None:
        check_suffix("--report", report, _REPORTS)
        check_no_folder("--report", report)
    from kronos.cli.console import emit, print_json, stdout
    from kronos.datasets.inspection import check_paths
    from kronos.progress import progress_bar

    reading = ReadingArgs(column or (), decimal, thousands, date_format, header)
    with progress_bar("Checking", enabled=not json) as progress, files_from_stdin(paths) as files:
        result = check_paths(files, interval=interval, timezone=timezone, reading=reading.options(), progress=progress)
    if report is not None:
        read = [*(series.path for series in result.series), *(file.path for file in result.unreadable)]
        check_not_read("--report", [report], read)
        write_report(result, report)
    if json:
        print_json(document(result))
    else:
        limit = findings if findings is not None else None if verbose else _MAX_FINDINGS
        console = stdout()
        emit(console, _view(result, console.width, limit=limit, verbose=verbose, report=report))
    if result.unreadable:
        print_error(f"{plural(len(result.unreadable), 'path')} could not be read; see the list.")
        raise typer.Exit(MISUSED)
    if strict and not result.flawless:
        raise typer.Exit(FAILED)


_DIM, _WARN, _BAD, _GOOD = "dim", "#f2b134", "bold #ef5350", "#26a69a"
_STYLES = {"good": _GOOD, "fair": "", "poor": _WARN, "unfit": _BAD, "too short": _BAD}
_GAP = 2  # between columns


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: its header in a wide and in a narrow terminal, and whether its cells are aligned to the right."""

    name: str
    short: str
    right: bool = False


_COLUMNS = {
    "name": _Column("series", "series"),
    "interval": _Column("interval", "bar"),
    "candles": _Column("candles", "candles", right=True),
    "days": _Column("from … to", "from … to"),
    "months": _Column("from … to", "from … to"),
    "years": _Column("from … to", "from … to"),
    "warnings": _Column("warnings", "warn", right=True),
    "notes": _Column("notes", "note", right=True),
    "segments": _Column("segments", "seg", right=True),
    "kept": _Column("kept", "kept", right=True),
    "verdict": _Column("verdict", "verdict"),
}
_LEFT, _RIGHT = ("name", "interval", "candles"), ("segments", "kept", "verdict")
# From wide to narrow: whether headers are long, and the columns between the left and the right ones.
_LAYOUTS: tuple[tuple[bool, tuple[str, ...]], ...] = (
    (True, ("days", "warnings", "notes")),
    (True, ("months", "warnings", "notes")),
    (False, ("months", "warnings", "notes")),
    (False, ("months", "warnings")),
    (False, ("years", "warnings")),
    (False, ("warnings",)),
    (False, ()),
)


def _view(
    result: InspectionReport, width: int, *, limit: int | None, verbose: bool, report: Path | None
) -> RenderableType:
    """Build the page.

    Args:
        result: Result of the check.
        width: Width of the terminal, in columns.
        limit: Maximum number of findings; None for all.
        verbose: Whether to show notes and splits too.
        report: Report that was written, if any.
    """
    parts: list[RenderableType] = []
    if result.series:
        parts += [_table(result.series, width - 2), Text()]
    simulated = [series.name for series in result.series if series.simulated]
    if simulated:
        parts += [Text(f"SIMULATED, never traded: {', '.join(simulated)}", style="bold yellow"), Text()]
    lines = list(_finding_lines(result, verbose))
    parts += lines[:limit]
    if limit is not None and len(lines) > limit:
        parts.append(Text(f"… and {len(lines) - limit:,} more; --findings and --report show them", style=_DIM))
    if lines:
        parts.append(Text())
    parts += [Text(line, style="bold") for line in total_lines(result)]
    if result.series:
        parts.append(Text(EXPLANATION, style=_DIM))
    if report is not None:
        parts.append(Text.assemble(("→ ", _DIM), str(report)))
    return Padding(Group(*parts), 1)


def _table(series: Sequence[InspectedSeries], width: int) -> Table:
    cells = {name: [_cell(entry, name) for entry in series] for name in _COLUMNS}
    folders = _folders(series)
    empty = {name for name, column in cells.items() if not any(map(len, column))}
    layouts = [(long, tuple(name for name in middle if name not in empty)) for long, middle in _LAYOUTS]
    long, middle = next((layout for layout in layouts if _width(cells, folders, *layout) <= width), layouts[-1])
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style=_DIM)
    names = (*_LEFT, *middle, *_RIGHT)
    for name in names:
        column = _COLUMNS[name]
        table.add_column(
            Text(column.name if long else column.short, style=_DIM),
            justify="right" if column.right else "left",
            no_wrap=name != "name",
            overflow="fold",
        )
    for i in range(len(series)):
        if folders[i] and (i == 0 or folders[i] != folders[i - 1]):
            table.add_row(Text(folders[i], style=_DIM))
        table.add_row(*(cells[name][i] for name in names))
    return table


def _width(cells: dict[str, list[Text]], folders: Sequence[str], long: bool, middle: tuple[str, ...]) -> int:
    """Return the width of a table with this layout."""
    total = 0
    for name in (*_LEFT, *middle, *_RIGHT):
        column = _COLUMNS[name]
        widths = [len(cell) for cell in cells[name]] + ([len(folder) for folder in folders] if name == "name" else [])
        total += max(len(column.name if long else column.short), *widths) + _GAP
    return total - _GAP


def _folders(series: Sequence[InspectedSeries]) -> list[str]:
    """Return the folder of each series below their common one; empty texts if all are in one folder."""
    parents = [str(entry.path.parent.absolute()) for entry in series]
    if len(set(parents)) < 2:
        return [""] * len(series)
    try:
        common = os.path.commonpath(parents)
    except ValueError:  # several drives
        return parents
    return [f"{os.path.relpath(parent, common)}{os.sep}" for parent in parents]


def _cell(series: InspectedSeries, name: str) -> Text:
    if name == "verdict":
        return Text(series.verdict, style=_STYLES[series.verdict])
    if name == "warnings":
        return Text(str(len(series.warnings) or ""), style=_WARN)
    cells = {
        "name": series.name,
        "interval": str(series.interval),
        "candles": f"{series.candles:,}",
        "days": f"{series.start:%Y-%m-%d} … {series.end:%Y-%m-%d}",
        "months": f"{series.start:%Y-%m} … {series.end:%Y-%m}",
        "years": f"{series.start:%Y} … {series.end:%Y}",
        "notes": str(len(series.notes) or ""),
        "segments": str(len(series.quality.segments)),
        "kept": kept_percent(series.quality.kept_share),
    }
    return Text(cells[name])


def _finding_lines(result: InspectionReport, verbose: bool) -> Iterator[Text]:
    """Yield unreadable files, then warnings, then excluded candles; if verbose, everything series by series."""
    for file in result.unreadable:
        where = "" if file.path.parent == Path() else f", in {file.path.parent}"
        yield Text.assemble((f"not read{where}: ", _BAD), name_options(file.problem))
    names = [series.name for series in result.series]
    labels = [
        name if names.count(name) == 1 else f"{name} {series.interval}"
        for name, series in zip(names, result.series, strict=True)
    ]
    if verbose:
        for label, series in zip(labels, result.series, strict=True):
            yield from (Text.assemble((f"{label}: ", "bold"), line) for line in _series_lines(series))
        return
    for label, series in zip(labels, result.series, strict=True):
        yield from (Text.assemble((f"{label}: ", "bold"), _finding_line(finding)) for finding in series.warnings)
    for label, series in zip(labels, result.series, strict=True):
        summary = split_and_excluded(series)
        if series.verdict != "good" and summary:
            yield Text.assemble((f"{label}: ", "bold"), summary)


def _series_lines(series: InspectedSeries) -> Iterator[Text]:
    yield from map(_finding_line, (*series.warnings, *series.notes))
    yield from (Text(f"note: {note}", style=_DIM) for note in series.quality.notes)
    summary = split_and_excluded(series)
    if summary:
        yield Text(summary)
    yield from (Text(str(reason), style=_DIM) for reason in series.quality.reasons)


def _finding_line(finding: Finding) -> Text:
    if finding.severity == "warning":
        return Text.assemble(("warning: ", _WARN), name_options(finding.message), (more_rows(finding.rows), _DIM))
    return Text(f"note: {name_options(finding.message)}{more_rows(finding.rows)}", style=_DIM)

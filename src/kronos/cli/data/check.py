"""``kronos data check``: what files of candles hold, before anything is made of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kronos.cli.data.check_report import MEANING, percent, rows_text, told, why
from kronos.cli.errors import FAILED, MISUSED
from kronos.errors import ParameterError, StorageError

if TYPE_CHECKING:
    from kronos.candles import Finding
    from kronos.datasets.inspection import Checked, InspectionReport

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos data check btc_1h.csv\n\n"
    "kronos data check data/candles --report quality.md\n\n"
    "kronos data check exports/*.csv --timezone Asia/Shanghai -v\n\n"
    "kronos data check data --strict --json > check.json   [dim](in a pipeline)[/dim]"
)
_REPORTS = (".md", ".json")
_LINES = 20  # of findings, where nobody says how many


def check(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Files of candles, and folders of them.", show_default=False),
    ],
    interval: Annotated[
        str | None, typer.Option(help="A candle's length in all files, such as 5m, 1h, 1d; else inferred.")
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="Of the times in all files, such as Asia/Shanghai.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Status 1 if there are warnings, or nothing is left of a series.")
    ] = False,
    findings: Annotated[
        int | None,
        typer.Option(
            "--findings", min=0, help="Lines of findings to show; reports have all.", show_default="20, or all with -v"
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a report with a section for each file: .md or .json.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="List notes too, and each place where a series splits.")
    ] = False,
) -> None:
    """Check candles: rows dropped or mended, gaps, jumps, runs without trading; what is left to learn from.

    Folders are searched for CSV, Feather and Parquet files; tables of something else in them are passed over.

    Status 0 even with findings; 1 with [bold]--strict[/bold] if there are warnings; 2 if a file could not be read.
    """
    if report is not None:
        _check_report(report)
    from kronos.cli.console import progress_bar
    from kronos.datasets.inspection import check_paths

    with progress_bar("Checking", wanted=not json) as bar:
        checkup = check_paths(paths, interval=interval, timezone=timezone, progress=bar)
    if report is not None:
        from kronos.cli.data.check_report import write

        write(checkup, report)
    lines = findings if findings is not None else None if verbose else _LINES
    _show(checkup, report, lines=lines, json=json, verbose=verbose)
    if checkup.unreadable:
        what = "1 path" if len(checkup.unreadable) == 1 else f"{len(checkup.unreadable)} paths"
        typer.echo(f"Error: {what} could not be read; see what is listed as not read.", err=True)
        raise typer.Exit(MISUSED)
    if strict and not checkup.flawless:
        raise typer.Exit(FAILED)


def _check_report(path: Path) -> None:
    """Refuse a report that cannot be written before anything is read.

    Raises:
        ParameterError: If its ending says nothing.
        StorageError: If it is a folder.
    """
    if path.suffix.lower() not in _REPORTS:
        raise ParameterError(
            f"--report {path.name} has no ending that says what to write; use {' or '.join(_REPORTS)}."
        )
    if path.is_dir():
        raise StorageError(f"Cannot write {path}: a folder of that name exists; choose another name.")


def _show(checkup: InspectionReport, report: Path | None, *, lines: int | None, json: bool, verbose: bool) -> None:
    from kronos.cli.console import emit, print_json, stdout

    if json:
        from kronos.cli.data.check_report import document

        print_json(document(checkup))
        return

    console = stdout()
    emit(console, view(checkup, console.width, lines=lines, verbose=verbose, written=report))


_DIM, _WARN, _BAD, _GOOD = "dim", "#f2b134", "bold #ef5350", "#26a69a"
_STYLES = {"good": _GOOD, "fair": "", "poor": _WARN, "unfit": _BAD, "too short": _BAD}
_GAP = 2  # between columns


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: its names, wide and narrow, and on which side its cells stand."""

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
# From wide to narrow: whether names are long, and which columns stand between the first and the last ones.
_LAYOUTS: tuple[tuple[bool, tuple[str, ...]], ...] = (
    (True, ("days", "warnings", "notes")),
    (True, ("months", "warnings", "notes")),
    (False, ("months", "warnings", "notes")),
    (False, ("months", "warnings")),
    (False, ("years", "warnings")),
    (False, ("warnings",)),
    (False, ()),
)


def view(
    checkup: InspectionReport, width: int, *, lines: int | None, verbose: bool, written: Path | None
) -> RenderableType:
    """Everything there is to see.

    Args:
        checkup: What was found.
        width: Of the terminal, in columns.
        lines: Findings to show, at most; None for all.
        verbose: Whether notes and splits are shown too.
        written: A report that was written.
    """
    parts: list[RenderableType] = []
    if checkup.series:
        parts += [_table(checkup.series, width - 2), Text()]
    simulated = [one.name for one in checkup.series if one.simulated]
    if simulated:
        parts += [Text(f"SIMULATED, never traded: {', '.join(simulated)}", style="bold yellow"), Text()]
    found = list(_findings(checkup, verbose))
    parts += found[:lines]
    if lines is not None and len(found) > lines:
        parts.append(Text(f"… and {len(found) - lines:,} more; --findings and --report show them", style=_DIM))
    if found:
        parts.append(Text())
    parts += [Text(text, style="bold") for text in told(checkup)]
    if checkup.series:
        parts.append(Text(MEANING, style=_DIM))
    if written is not None:
        parts.append(Text.assemble(("→ ", _DIM), str(written)))
    return Padding(Group(*parts), 1)


def _table(series: Sequence[Checked], width: int) -> Table:
    cells = {name: [_cell(one, name) for one in series] for name in _COLUMNS}
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
    """How wide a table would be."""
    total = 0
    for name in (*_LEFT, *middle, *_RIGHT):
        column = _COLUMNS[name]
        texts = [len(cell) for cell in cells[name]] + ([len(one) for one in folders] if name == "name" else [])
        total += max(len(column.name if long else column.short), *texts) + _GAP
    return total - _GAP


def _folders(series: Sequence[Checked]) -> list[str]:
    """The folder of each series below what all have in common; nothing where all lie in one."""
    parents = [str(one.path.parent.absolute()) for one in series]
    if len(set(parents)) < 2:
        return [""] * len(series)
    try:
        common = os.path.commonpath(parents)
    except ValueError:  # on several drives
        return parents
    return [f"{os.path.relpath(parent, common)}{os.sep}" for parent in parents]


def _cell(one: Checked, name: str) -> Text:
    if name == "verdict":
        return Text(one.verdict, style=_STYLES[one.verdict])
    if name == "warnings":
        return Text(str(len(one.warnings) or ""), style=_WARN)
    plain = {
        "name": one.name,
        "interval": str(one.interval),
        "candles": f"{one.candles:,}",
        "days": f"{one.start:%Y-%m-%d} … {one.end:%Y-%m-%d}",
        "months": f"{one.start:%Y-%m} … {one.end:%Y-%m}",
        "years": f"{one.start:%Y} … {one.end:%Y}",
        "notes": str(len(one.notes) or ""),
        "segments": str(len(one.quality.segments)),
        "kept": percent(one.quality.kept_share),
    }
    return Text(plain[name])


def _findings(checkup: InspectionReport, verbose: bool) -> Iterator[Text]:
    """What could not be read, then the warnings, then what was left out; all of a series together if all is wanted."""
    for bad in checkup.unreadable:
        where = "" if bad.path.parent == Path() else f", in {bad.path.parent}"
        yield Text.assemble((f"not read{where}: ", _BAD), bad.problem)
    names = [one.name for one in checkup.series]
    labels = [
        name if names.count(name) == 1 else f"{name} {one.interval}"
        for name, one in zip(names, checkup.series, strict=True)
    ]
    if verbose:
        for label, one in zip(labels, checkup.series, strict=True):
            yield from (Text.assemble((f"{label}: ", "bold"), text) for text in _everything(one))
        return
    for label, one in zip(labels, checkup.series, strict=True):
        yield from (Text.assemble((f"{label}: ", "bold"), _told(finding)) for finding in one.warnings)
    for label, one in zip(labels, checkup.series, strict=True):
        if one.verdict != "good" and why(one):
            yield Text.assemble((f"{label}: ", "bold"), why(one))


def _everything(one: Checked) -> Iterator[Text]:
    """All that is known of a series."""
    yield from map(_told, (*one.warnings, *one.notes))
    yield from (Text(f"note: {note}", style=_DIM) for note in one.quality.notes)
    if why(one):
        yield Text(why(one))
    yield from (Text(str(reason), style=_DIM) for reason in one.quality.reasons)


def _told(finding: Finding) -> Text:
    if finding.severity == "warning":
        return Text.assemble(("warning: ", _WARN), finding.message, (rows_text(finding.rows), _DIM))
    return Text(f"note: {finding.message}{rows_text(finding.rows)}", style=_DIM)

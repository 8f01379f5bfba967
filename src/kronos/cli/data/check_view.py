"""``kronos data check`` in the terminal: a line a series, what was found, what it adds up to.

Columns get shorter names and dates, and then leave, where the terminal is narrow; names and numbers are never cut.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kronos.cli.data.check_report import MEANING, percent, rows_text, told, why

if TYPE_CHECKING:
    from kronos.candles import Finding
    from kronos.datasets.checking import Checked, Checkup

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


def view(checkup: Checkup, width: int, *, lines: int | None, verbose: bool, written: Path | None) -> RenderableType:
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


def _findings(checkup: Checkup, verbose: bool) -> Iterator[Text]:
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

"""The study in a terminal: verdicts, warnings and the tables of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kronos.backtest.comparison import BacktestStudy
from kronos.backtest.report.tables import TONES, BacktestTables
from kronos.reports import Language, Table, Tone, Translator

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table as RichTable

_COLORS: dict[Tone, str] = {"good": "#26a69a", "bad": "#ef5350", "neutral": "bold", "unknown": "dim", "": ""}


def study_lines(
    study: BacktestStudy, *, width: int = 120, verbose: bool = False, language: Language = "en"
) -> list[RenderableType]:
    """Return what to print of a study.

    Args:
        study: The study.
        width: Columns of the terminal.
        verbose: Whether to show every table rather than the most important ones.
        language: Language of headings; the sentences of verdicts are English.
    """
    from rich.text import Text

    t = Translator(language)
    tables = BacktestTables(study, t)
    own = study.performance
    span = tables.text("dates", first=f"{own.first:%Y-%m-%d}", last=f"{own.last:%Y-%m-%d}")
    lines: list[RenderableType] = [Text.assemble((study.signal.name, "bold"), f"  {span}  {tables.basis}"), Text()]
    for verdict in study.verdicts:
        subject = f"{tables.text(f'about.{verdict.about}')}  "
        lines.append(Text.assemble((subject, "dim"), (verdict.sentence, _COLORS[TONES[verdict.word]])))
    lines.append(Text())
    lines += [Text(f"! {warning}", style="#f2b134") for warning in study.warnings]
    if study.warnings:
        lines.append(Text())
    shown = tables.every() if verbose else [tables.comparison(), tables.luck(), tables.costs(), tables.signal()]
    for table in shown:
        lines += [Text(table.caption, style="bold"), text_table(table, width), Text()]
    return lines


def text_table(table: Table, width: int) -> RichTable:
    """A table of the report for the terminal: without intervals, then without its last columns, where it is too wide.

    Numbers are never cut off or wrapped.
    """
    columns = len(table.columns)
    found = _rich_table(table, columns, details=True)
    while _natural_width(found) > width and columns > 1:
        found = _rich_table(table, columns, details=False)
        columns -= 1
    return found


def _rich_table(table: Table, columns: int, *, details: bool) -> RichTable:
    from rich.table import Table as RichTable
    from rich.text import Text

    result = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for number, column in enumerate(table.columns[:columns]):
        right = column.number and number > 0
        result.add_column(column.label, justify="right" if right else "left", no_wrap=number > 0, overflow="fold")
    for row in table.rows:
        shown = [(cell.text, cell.detail if details else "") for cell in row.cells[: columns - 1]]
        cells = [Text.assemble(text, (f" {detail}" if detail else "", "dim")) for text, detail in shown]
        result.add_row(Text(row.label), *cells)
    return result


def _natural_width(table: RichTable) -> int:
    """Width of a table in which nothing wraps."""
    from rich.console import Console

    endless = Console(width=10_000)
    return int(table.__rich_measure__(endless, endless.options).maximum)


__all__ = ["study_lines", "text_table"]

"""Notebooks: the HTML summaries that objects show themselves with, and a progress bar.

- Everything is escaped: names of symbols, columns and files come from outside.
- Colours are those of the page, so that summaries are legible in light and dark themes.
- Nothing but IPython is needed, which every notebook has; it is only used if it is loaded already.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib import import_module
from typing import Any

_MAX_REMARKS = 8
_DIGITS = 6  # significant
_UPDATE_SECONDS = 0.1  # shortest time between two updates of the bar
_LINE = "1px solid rgba(128, 128, 128, 0.35)"
_CELL = "padding: 0.15em 0.8em; background: none; border: none; white-space: nowrap"


@dataclass(frozen=True, slots=True)
class SummaryTable:
    """A small table of a summary.

    Attributes:
        columns: Heads of the columns; the first column is aligned to the left, others to the right.
        rows: Text of the cells.
        gap: Number of rows before which rows were left out; None if there is none.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    gap: int | None = None


def html_summary(
    title: str,
    facts: Sequence[tuple[str, str]] = (),
    table: SummaryTable | None = None,
    remarks: Sequence[str] = (),
    *,
    simulated: bool = False,
) -> str:
    """Return a summary for the ``_repr_html_`` of an object.

    Args:
        title: What the object is.
        facts: Names and values.
        table: A small table.
        remarks: Findings, warnings or notes; beyond eight they are counted.
        simulated: Whether the data are simulated, which is stated first.
    """
    parts = [f'<div style="font-weight: 600; padding: 0.2em 0">{escape(title)}</div>']
    if simulated:
        parts.insert(0, '<div style="font-weight: 600; letter-spacing: 0.05em">SIMULATED: no market data</div>')
    if facts:
        cells = (
            f'<span style="white-space: nowrap; margin-right: 1.6em"><span style="opacity: 0.65">{escape(name)}</span> '
            f"{escape(value)}</span>"
            for name, value in facts
        )
        parts.append(f'<div style="line-height: 1.6">{" ".join(cells)}</div>')
    if table is not None and table.rows:
        parts.append(_table(table))
    shown = [*remarks[:_MAX_REMARKS], *([f"{len(remarks) - _MAX_REMARKS:,} more"] * (len(remarks) > _MAX_REMARKS))]
    if shown:
        items = "".join(f"<li>{escape(remark)}</li>" for remark in shown)
        parts.append(f'<ul style="margin: 0.4em 0 0 1.2em; padding: 0">{items}</ul>')
    style = "border-left: 3px solid rgba(128, 128, 128, 0.5); padding: 0.1em 0 0.2em 0.8em; max-width: 76em"
    return f'<div class="kronos-summary" style="{style}">{"".join(parts)}</div>'


def format_column(values: Sequence[float]) -> list[str]:
    """Format prices or volumes of one column alike: thousands grouped, six significant digits of the largest at most.

    Args:
        values: Finite numbers.
    """
    largest = max(map(abs, values), default=0.0)
    most = min(max(0, _DIGITS - 1 - math.floor(math.log10(largest))), 15) if largest > 0 else 0
    tolerance = 1e-7 * largest  # files in single precision have noise in the eighth digit
    decimals = next((d for d in range(most) if all(abs(v - round(v, d)) <= tolerance for v in values)), most)
    return [f"{value:,.{decimals}f}" for value in values]


def format_times(times: Sequence[datetime]) -> list[str]:
    """Format times of one column alike: to the day, the minute or the second, whichever they need."""
    if all(stamp.hour == stamp.minute == stamp.second == 0 for stamp in times):
        pattern = "%Y-%m-%d"
    else:
        pattern = "%Y-%m-%d %H:%M:%S" if any(stamp.second for stamp in times) else "%Y-%m-%d %H:%M"
    return [stamp.strftime(pattern) for stamp in times]


def in_notebook() -> bool:
    """Whether the code runs in the kernel of a notebook."""
    return _shell() is not None


@contextmanager
def notebook_bar(title: str, next_title: str | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar in the output of the cell during the block, and remove it at the end.

    Args:
        title: Text before the bar.
        next_title: Text of the work that follows once the total is reached.

    Yields:
        The callback that moves the bar, called with the number of finished steps and their total.
    """
    output = import_module("IPython.display")
    handle = output.display(output.HTML(_bar(title, 0, 0)), display_id=True)
    last = -_UPDATE_SECONDS

    def update(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done >= total and next_title is not None:
            handle.update(output.HTML(_bar(next_title, 0, 0)))
        elif done >= total or now - last >= _UPDATE_SECONDS:
            last = now
            handle.update(output.HTML(_bar(title, done, total)))

    try:
        yield update
    finally:
        handle.update(output.HTML(""))


def _shell() -> Any:
    """The shell of a kernel; None in terminals, scripts and IPython without a kernel."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    return shell if getattr(shell, "kernel", None) is not None else None


def _bar(title: str, done: int, total: int) -> str:
    value = f' value="{done}" max="{total}"' if total else ""
    share = f"{100 * done // total} %" if total else ""
    return (
        f'<div style="font-variant-numeric: tabular-nums">{escape(title)} '
        f'<progress{value} style="width: 16em; vertical-align: middle"></progress> {share}</div>'
    )


def _table(table: SummaryTable) -> str:
    head = "".join(_cell("th", name, i) for i, name in enumerate(table.columns))
    rows = ["".join(_cell("td", text, i) for i, text in enumerate(row)) for row in table.rows]
    if table.gap is not None:
        rows.insert(table.gap, "".join(_cell("td", "…", i) for i in range(len(table.columns))))
    body = "".join(f'<tr style="background: none">{row}</tr>' for row in rows)
    return (
        '<div style="overflow-x: auto"><table style="border-collapse: collapse; margin: 0.4em 0; border: none; '
        'color: inherit; font: inherit; font-variant-numeric: tabular-nums">'
        f'<thead style="border-bottom: {_LINE}"><tr style="background: none">{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(tag: str, text: str, column: int) -> str:
    side = "right" if column else "left"
    weight = "; font-weight: 600" if tag == "th" else ""
    return f'<{tag} style="{_CELL}; text-align: {side}{weight}">{escape(text)}</{tag}>'

"""Tables of the terminal output."""

from __future__ import annotations

import pytest
from rich.console import Console

from kronos.cli.console import ConsoleColumn, table


def render(width: int, *columns: ConsoleColumn) -> list[str]:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(table(*columns, width=width, name_width=6))
    return [line.rstrip() for line in capture.get().splitlines()]


COLUMNS = (
    ConsoleColumn("name", ["alpha", "a-very-long-name"]),
    ConsoleColumn("n", ["1", "22"], right=True),
    ConsoleColumn("note", ["first", "second"], priority=1),
    ConsoleColumn("detail", ["0123456789", "9876543210"], priority=2),
    ConsoleColumn("empty", ["", ""]),
)


def test_empty_columns_are_dropped():
    header, first, second = render(80, *COLUMNS)
    assert header.split() == ["name", "n", "note", "detail"]
    assert first.split() == ["alpha", "1", "first", "0123456789"]
    assert second.split() == ["a-very-long-name", "22", "second", "9876543210"]


@pytest.mark.parametrize(("width", "names"), [(24, ["name", "n", "note"]), (12, ["name", "n"])])
def test_narrow_tables_drop_columns_by_priority_and_wrap_names(width, names):
    lines = render(width, *COLUMNS)
    assert lines[0].split() == names
    assert max(map(len, lines)) <= width
    assert len(lines) > 3  # the long name wraps

"""Options that take several values in a row: ``--config a b`` means what ``--config a --config b`` does."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class Spreading(TyperCommand):
    """A command without arguments, whose repeatable options take all words up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat an option's name before each further value of it, and parse that."""
        return super().parse_args(ctx, spread(args, self._repeatable()))

    def _repeatable(self) -> set[str]:
        return {name for one in self.params if getattr(one, "multiple", False) for name in one.opts}


def spread(args: list[str], repeatable: set[str]) -> list[str]:
    """``["--a", "1", "2", "--b"]`` becomes ``["--a", "1", "--a", "2", "--b"]`` if ``--a`` is repeatable."""
    result: list[str] = []
    option, values = "", 0
    for arg in args:
        name, equals, _ = arg.partition("=")
        if arg.startswith("-") and arg != "-":
            option, values = (name if name in repeatable else ""), int(bool(equals))
            result.append(arg)
            continue
        if option and values:
            result.append(option)
        values += 1
        result.append(arg)
    return result

"""A task of the paper in the terminal: what was run, the table, what follows from it, what to be wary of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from kronos.cli.data.tables import Column, page, table, width
from kronos.evaluation.verdict import FEW_DATES

if TYPE_CHECKING:
    from kronos.cli.paper import Told
    from kronos.evaluation.paper import Figure, Row

_WARN = "bold #f2b134"
_NONE = "–"


@dataclass(frozen=True)
class _Shown:
    """A figure of the table.

    Attributes:
        name: In the row's figures.
        heading: Above its column.
        text: The number as it is written.
        sure: Whether its t statistic stands beside it.
        spare: When its columns leave where it is narrow.
    """

    name: str
    heading: str
    text: Callable[[float], str]
    sure: bool = True
    spare: int = 0


def _coefficient(value: float) -> str:
    return f"{value:.4f}"


def _share(value: float) -> str:
    return f"{value:.1%}"


def _skill(value: float) -> str:
    return f"{value:+.1%}"


def _size(value: float) -> str:
    return f"{value:.3g}"


_FIGURES = {
    "price": (
        _Shown("ic", "IC", _coefficient),
        _Shown("rank_ic", "RankIC", _coefficient),
        _Shown("skill", "skill of MAE", _skill, sure=False, spare=1),
    ),
    "return": (
        _Shown("ic", "IC", _coefficient),
        _Shown("rank_ic", "RankIC", _coefficient),
        _Shown("rank_ic_by_date", "RankIC by date", _coefficient, spare=1),
    ),
    "volatility": (
        _Shown("mae", "MAE", _size, sure=False),
        _Shown("r2", "R²", _coefficient, sure=False),
        _Shown("r2_regression", "R² rescaled", _coefficient, sure=False, spare=2),
        _Shown("skill", "skill of MAE", _skill, sure=False, spare=1),
    ),
    "synthetic": (
        _Shown("discriminative", "discriminative error", _share, sure=False),
        _Shown("tstr_ic", "TSTR IC", _coefficient),
        _Shown("tstr_rank_ic", "TSTR RankIC", _coefficient),
    ),
}


def show(told: Told, *, verbose: bool) -> None:
    """Print it.

    Args:
        told: The result.
        verbose: Whether to say what the names mean.
    """
    result = told.result
    lines: list[RenderableType] = [*_header(result.to_dict()), Text()]
    lines += [_table(result.task, result.rows), Text()]
    lines += [Text(sentence) for sentence in result.sentences]
    unreadable = [f"{one.path} was not read: {one.problem}" for one in told.gathered.unreadable]
    lines += [Text(f"! {warning}", style=_WARN) for warning in (*result.warnings, *unreadable)]
    if verbose:
        lines += [Text(), *(Text(f"{name}: {meaning}", style="dim") for name, meaning in result.notes.items())]
    if told.file is not None:
        lines += [Text(), Text(f"Written: {told.file}", style="dim")]
    page(*lines)


def _header(made: dict[str, Any]) -> list[RenderableType]:
    """What was run, with what."""
    sampling, model = made["sampling"], made["model"]
    title = Text.assemble((f"The paper's {made['task']} task", "bold"), f" with {model['name']}")
    changed = made["not_as_published"]
    settings = f"temperature {sampling['temperature']:g}, top-p {sampling['top_p']:g}, {_count(sampling['samples'])}"
    settings += f", seed {made['seed']}" + (f"; not as published: {', '.join(changed)}" if changed else "")
    lines: list[RenderableType] = [title, Text(settings, style="dim")]
    for walk in made["walks"]:
        words = (
            f"{walk['interval']}: {walk['lookback']} candles of history, {walk['horizon']} ahead; instruments: "
            f"{walk['instruments']:,}, origins: {walk['origins']:,}, {walk['first'][:10]} to {walk['last'][:10]}"
        )
        lines.append(Text(words, style="dim"))
    digest = (model.get("model") or {}).get("sha256")
    return [*lines, Text(f"weights sha256 {digest}", style="dim")] if digest else lines


def _count(samples: int) -> str:
    return "1 path" if samples == 1 else f"{samples} paths"


def _table(task: str, rows: Sequence[Row]) -> RenderableType:
    groups = ["" if before == row.group else row.group for row, before in zip(rows, _before(rows), strict=True)]
    columns = [
        Column("group", groups),
        Column("forecaster", [row.forecaster for row in rows]),
        Column("n", [f"{row.n:,}" for row in rows], right=True, spare=3),
        Column("dates", [f"{row.dates:,}" if row.dates else "" for row in rows], right=True, spare=4),
    ]
    for shown in _FIGURES[task]:
        figures = [row.figures[shown.name] for row in rows]
        columns.append(Column(shown.heading, [_number(one, shown.text) for one in figures], True, shown.spare))
        if shown.sure:
            cells = [_t(row, one) for row, one in zip(rows, figures, strict=True)]
            columns.append(Column("t", cells, right=True, spare=shown.spare or 5))
    return table(*columns, width=width())


def _before(rows: Sequence[Row]) -> list[str]:
    """The group of the row above each."""
    return ["", *(row.group for row in rows[:-1])]


def _number(figure: Figure, text: Callable[[float], str]) -> str:
    return text(figure.value) if math.isfinite(figure.value) else _NONE


def _t(row: Row, figure: Figure) -> str:
    """The t statistic, where it rests on enough dates to be one."""
    return f"{figure.t:.1f}" if math.isfinite(figure.t) and row.dates >= FEW_DATES else ""

"""``kronos calibrate`` in the terminal: what was fitted, what it is worth, and how to use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from kronos.cli.data.tables import Column, page, table, width

if TYPE_CHECKING:
    from kronos.cli.calibrate import Result
    from kronos.evaluation.effects import Effect
    from kronos.evaluation.fitting import Fitted
    from kronos.metrics import Estimate

_ALL = "all"
_READING = (
    "CRPS of cumulative log returns in units of σ√h, lower is better; gain against the raw forecasts with its 95 % "
    "interval; the share of outcomes within the 50, 80 and 95 % bands. Corrected forecasts are judged on dates that "
    "their correction wasn't fitted on."
)


def show(result: Result, *, verbose: bool) -> None:
    """Print everything there is to see.

    Args:
        result: What came out.
        verbose: Whether to show each group.
    """
    from kronos.evaluation.weighing import LEAST, counted

    plan, fitted, file = result.plan, result.fitted, result.file
    groups = fitted.trials.counts()
    large = counted([name for name, count in groups.items() for _ in range(count)])
    names = [_ALL, *groups] if verbose and len(groups) > 1 else [_ALL]
    room = width()
    lines: list[Text | Table] = [
        Text(f"{len(plan):,} origins of {len(plan.instruments)} series, {result.dates}.", style="bold"),
        *(Text(f"! {one}", style="yellow") for one in result.warnings),
        Text(_READING, style="dim"),
        Text(),
    ]
    for name in names:
        title = "All forecasts" if name == _ALL else name
        if name == _ALL and len(groups) > 1:
            which = f"the {len(large)} groups of at least {LEAST} origins" if len(large) < len(groups) else "all groups"
            title = f"Mean over {which}"
        lines += [Text(title, style="bold")]
        lines += [_effects([one for one in fitted.effects if one.group == name], room), Text()]
    shown = [None, *groups] if verbose else [None]
    for group in shown:
        lines += [Text(fitted.calibration.describe(group)), Text()]
    nothing = [group for group in groups if "pooling" in fitted.calibration.parts and _silent(fitted, group)]
    if nothing:
        lines += [Text(f"In {', '.join(nothing)} the model adds nothing: its weight is 0.", style="bold"), Text()]
    lines += [
        Text(f"Written to {file}. Use it:"),
        Text(f"  kronos forecast FILE --calibration {file}"),
        Text(f"  kronos evaluate PATH --calibration {file}"),
    ]
    page(*lines)


def _silent(fitted: Fitted, group: str) -> bool:
    return fitted.calibration.adds_nothing(group)


def _effects(effects: Sequence[Effect], room: int) -> Table:
    """One line a step and setting."""
    return table(
        Column("steps", _once([str(one.step) for one in effects])),
        Column("forecasts", [one.setting for one in effects]),
        Column("n", [f"{one.n:,}" for one in effects], right=True, spare=3),
        Column("CRPS", [f"{one.crps:.3f}" for one in effects], right=True),
        Column("gain", [_gain(one.gain) for one in effects], right=True),
        Column("", [_range(one.gain) for one in effects], right=True, spare=2),
        *(
            Column(f"{band} %", [_share(one.coverage[band]) for one in effects], right=True, spare=spare)
            for band, spare in (("50", 1), ("80", 0), ("95", 1))
        ),
        width=room,
    )


def _once(values: Sequence[str]) -> list[str]:
    """Each value where it begins only."""
    return [value if place == 0 or values[place - 1] != value else "" for place, value in enumerate(values)]


def _gain(one: Estimate) -> str:
    return "" if one.estimate == 0 else f"{one.estimate:+.1%}"


def _range(one: Estimate) -> str:
    return "" if one.estimate == 0 else f"{one.low:+.1%} to {one.high:+.1%}"


def _share(one: Estimate) -> str:
    return f"{one.estimate:.1%}"

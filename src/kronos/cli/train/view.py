"""What ``kronos train`` shows: the plan, what became of it, and whether it helped."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.cli.console import print_json, stderr, watched
from kronos.cli.data.tables import Column, page, table, width
from kronos.cli.loading import short_count

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kronos.cli.train.doing import Telling
    from kronos.training.planning import RunPlan
    from kronos.training.running import Outcome

_STATES = {
    "done": "trained",
    "kept": "was done already",
    "skipped": "skipped",
    "failed": "failed",
    "stopped": "interrupted",
}


def show_plans(plans: Sequence[RunPlan], *, json: bool) -> None:
    """Print what would be done, and everything that is wrong with it."""
    if json:
        print_json({"kind": "kronos training plan", "dry_run": True, "runs": [plan.to_dict() for plan in plans]})
        return
    from rich.text import Text

    lines: list[RenderableType] = []
    for plan in plans:
        lines += [Text.assemble((plan.name, "bold"), "  ", plan.config.description), *_facts(plan), Text()]
        if plan.stages:
            lines += [_stages(plan), Text()]
        lines += [Text(f"! {problem}", style="yellow") for problem in plan.problems]
        lines += [Text()] if plan.problems else []
    lines.append(Text("Nothing was trained or written.", style="dim"))
    page(*lines)


def _facts(plan: RunPlan) -> list[RenderableType]:
    from rich.text import Text

    windows = plan.config.windows
    available = ", ".join(f"{count:,} {part}" for part, count in plan.windows.items()) or "none"
    facts = [
        ("from", plan.config.data),
        ("to", _short(plan.folder)),
        ("samples", f"{windows.lookback} + {windows.predict} candles: {available}"),
        ("tokenizer", plan.tokenizer or "none"),
        ("context", f"{plan.context:,} candles"),
        ("disk", f"{plan.disk / 1e6:,.0f} MB"),
    ]
    if plan.needs:
        facts.append(("after", ", ".join(map(_short, plan.needs))))
    return [Text.assemble((f"  {name:<10}", "dim"), value) for name, value in facts]


def _stages(plan: RunPlan) -> RenderableType:
    stages = plan.stages
    starts = [one.start.ref if one.start is not None else "nothing" for one in stages]
    return table(
        Column("stage", [one.stage for one in stages]),
        Column(
            "starts from",
            [f"{start}{' (done)' if one.done else ''}" for start, one in zip(starts, stages, strict=True)],
        ),
        Column("parameters", [short_count(one.parameters) for one in stages], right=True),
        Column("trained", [short_count(one.trained) for one in stages], right=True, spare=1),
        Column("epochs", [f"{one.settings.epochs:,}" for one in stages], right=True),
        Column("steps", [f"{one.steps:,}" for one in stages], right=True),
        Column("batch", [f"{one.settings.batch_size:,}" for one in stages], right=True, spare=2),
        Column("rate", [f"{one.settings.learning_rate:g}" for one in stages], right=True, spare=3),
        width=width(),
    )


def teller(telling: Telling) -> Callable[[Outcome], None]:
    """Tells on stderr what became of each stage, while a person watches."""

    def tell(outcome: Outcome) -> None:
        if telling.shown and watched():
            reason = f": {outcome.reason}" if outcome.reason else ""
            stderr().print(
                f"{outcome.name} {outcome.stage} {_STATES[outcome.state]}{reason}", style="dim", markup=False
            )

    return tell


def show_outcomes(outcomes: Sequence[Outcome], report: Path | None) -> None:
    """Print what became of everything, and whether it helped."""
    from rich.text import Text

    lines: list[RenderableType] = []
    for name in dict.fromkeys(one.name for one in outcomes):
        own = [one for one in outcomes if one.name == name]
        lines.append(Text(name, style="bold"))
        lines += [Text(f"  {_told(one)}") for one in own]
        for one in own:
            lines += _verdict(one)
        if own[-1].good:
            lines.append(Text.assemble(("→ ", "dim"), _short(own[-1].folder / own[-1].stage)))
        lines.append(Text())
    if report is not None:
        lines.append(Text.assemble(("→ ", "dim"), _short(report)))
    page(*lines)


def _told(one: Outcome) -> str:
    """A stage in one line."""
    if one.record is None:
        return f"{one.stage}: {_STATES[one.state]}" + (f", as {one.reason}" if one.reason else "")
    record = one.record
    ended = {"patience": ", no better for long", "minutes": ", out of time"}.get(record.stopped, "")
    best = "as it started" if record.best_epoch == 0 else f"epoch {record.best_epoch}"
    return (
        f"{one.stage}: {_STATES[one.state]}, {record.epochs} epochs, {record.steps:,} steps in "
        f"{_duration(record.seconds)}{ended}; best {best}, validation loss {record.best:.4f}"
    )


def _verdict(one: Outcome) -> list[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    if one.comparison is not None:
        first, *others = one.comparison.summary()
        lines = [Text(), Text(first, style="bold"), *(Text(line) for line in others), Text()]
        return [Padding(line, (0, 0, 0, 2)) for line in lines]
    return [Text(f"  Not compared: {one.not_compared}", style="yellow")] if one.not_compared else []


def print_outcomes(outcomes: Sequence[Outcome], report: Path | None) -> None:
    """Print everything for machines."""
    print_json(
        {
            "kind": "kronos training",
            "stages": [one.to_dict() for one in outcomes],
            "report": None if report is None else str(report),
        }
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _short(path: Path | str) -> str:
    """A path as it is seen from here."""
    text: Any = os.path.relpath(path)
    return str(path) if text.startswith("..") else str(text)

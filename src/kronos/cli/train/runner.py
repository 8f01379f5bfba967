"""What ``kronos train`` does once it knows what: plan, refuse or show, train, compare, report."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kronos.cli.console import Column, page, print_json, spinner, stderr, table, watched, width
from kronos.cli.errors import FAILED, MISUSED
from kronos.cli.model_loading import short_count
from kronos.errors import ParameterError
from kronos.training.torchrun import is_first

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kronos.datasets.config import StageName
    from kronos.training.callbacks import TrainingCallback
    from kronos.training.config import TrainConfig
    from kronos.training.plan import RunPlan, StagePlan
    from kronos.training.runner import RunOptions, StageResult

INTERRUPTED = 130


@dataclass(frozen=True)
class TrainOutputArgs:
    """What is printed and written beside the models.

    Attributes:
        json: Whether stdout gets one JSON document.
        quiet: Whether to print nothing but errors.
        dry_run: Whether to end after the plan.
        tensorboard: Whether to write events for TensorBoard.
    """

    json: bool = False
    quiet: bool = False
    dry_run: bool = False
    tensorboard: bool = False

    @property
    def shown(self) -> bool:
        """Whether people are told anything."""
        return not (self.json or self.quiet)


@dataclass(frozen=True)
class TrainingOutcome:
    """What became of everything.

    Attributes:
        outcomes: Of each stage.
        report: The page to look at; None where there is none.
    """

    outcomes: tuple[StageResult, ...]
    report: Path | None


def run_training(
    configs: Sequence[TrainConfig], stages: Sequence[StageName], how: RunOptions, telling: TrainOutputArgs
) -> None:
    """Train what configurations say, and end with what went wrong, if anything did.

    Args:
        configs: What was asked for.
        stages: Which of their networks; a configuration that doesn't train one of them is passed over in it.
        how: One after another, or side by side.
        telling: What is printed.

    Raises:
        KronosError: If something is wrong before the first step, or the only stage failed.
        typer.Exit: If one of several stages failed, or it was interrupted.
    """
    if telling.dry_run:
        plans = make_plans(configs, stages, how, telling)
        if is_first():
            show_plans(plans, json=telling.json)
        if any(plan.problems for plan in plans):
            raise typer.Exit(MISUSED)
        return
    trained = train(configs, stages, how, telling)
    if telling.json and is_first():
        print_outcomes(trained.outcomes, trained.report)
    _end(trained.outcomes)


def train(
    configs: Sequence[TrainConfig], stages: Sequence[StageName], how: RunOptions, telling: TrainOutputArgs
) -> TrainingOutcome:
    """Plan, train, compare, report, and tell people.

    Args:
        configs: As for `do`, and so are the others.
        stages: Likewise.
        how: Likewise.
        telling: Likewise; JSON is not printed here.

    Raises:
        KronosError: If something is wrong before the first step.
        typer.Exit: If it was interrupted.
    """
    from kronos.training.runner import report

    plans = make_plans(configs, stages, how, telling)
    for plan in plans:
        plan.check()
    outcomes = _run(plans, how, telling)
    stopped = any(one.state == "stopped" for one in outcomes)
    page = report(outcomes) if is_first() and not stopped else None
    if telling.shown and is_first():
        show_outcomes(outcomes, page)
    if stopped:
        raise typer.Exit(INTERRUPTED)
    return TrainingOutcome(tuple(outcomes), page)


def make_plans(
    configs: Sequence[TrainConfig], stages: Sequence[StageName], how: RunOptions, telling: TrainOutputArgs
) -> list[RunPlan]:
    """Look at everything before anything is trained.

    Raises:
        ParameterError: If none of the configurations trains any of the networks asked for.
    """
    from kronos.training.plan import make_plan
    from kronos.training.run_folder import result_folder

    chosen = [(config, [one for one in config.stages if one in stages]) for config in configs]
    if not any(wanted for _, wanted in chosen):
        raise ParameterError(
            f"{' and '.join(one.model_name for one in configs)} trains no {' or '.join(stages)}: its 'stages' are "
            f"{', '.join(configs[0].stages)}."
        )
    made = [result_folder(config.folder, one) for config, wanted in chosen for one in wanted]
    with spinner("Looking at candles and weights", wanted=telling.shown):
        return [make_plan(config, stages=wanted, made=made, restart=how.restart) for config, wanted in chosen if wanted]


def _run(plans: Sequence[RunPlan], how: RunOptions, telling: TrainOutputArgs) -> list[StageResult]:
    from kronos.training.runner import run

    def monitors(plan: RunPlan, stage: StagePlan) -> Sequence[TrainingCallback]:
        return _monitors(plan, stage, telling) if is_first() else ()

    several = sum(len(plan.stages) for plan in plans) > 1
    return run(plans, how, monitors=monitors, tell=teller(telling) if several and is_first() else lambda _: None)


def _monitors(plan: RunPlan, stage: StagePlan, telling: TrainOutputArgs) -> list[TrainingCallback]:
    from kronos.training.callbacks import TensorBoard, Terminal
    from kronos.training.run_folder import stage_folder

    listening: list[TrainingCallback] = []
    if telling.shown and watched():
        listening.append(Terminal(f"{plan.name} {stage.stage}"))
    if telling.tensorboard:
        listening.append(TensorBoard(stage_folder(plan.folder, stage.stage) / "tensorboard"))
    return listening


def _end(outcomes: Sequence[StageResult]) -> None:
    """End with what went wrong, if anything did.

    Raises:
        KronosError: What the only stage failed with.
        typer.Exit: If there were several.
    """
    failed = [one for one in outcomes if one.state == "failed"]
    if not failed:
        return
    error = failed[0].error
    if len(outcomes) == 1 and error is not None:
        raise error
    for one in failed:
        typer.echo(f"Error: {one.name}, {one.stage}: {' '.join((one.reason or '').split())}", err=True)
    raise typer.Exit(FAILED)


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


def teller(telling: TrainOutputArgs) -> Callable[[StageResult], None]:
    """Tells on stderr what became of each stage, while a person watches."""

    def tell(outcome: StageResult) -> None:
        if telling.shown and watched():
            reason = f": {outcome.reason}" if outcome.reason else ""
            stderr().print(
                f"{outcome.name} {outcome.stage} {_STATES[outcome.state]}{reason}", style="dim", markup=False
            )

    return tell


def show_outcomes(outcomes: Sequence[StageResult], report: Path | None) -> None:
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


def _told(one: StageResult) -> str:
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


def _verdict(one: StageResult) -> list[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    if one.comparison is not None:
        first, *others = one.comparison.summary()
        lines = [Text(), Text(first, style="bold"), *(Text(line) for line in others), Text()]
        return [Padding(line, (0, 0, 0, 2)) for line in lines]
    return [Text(f"  Not compared: {one.not_compared}", style="yellow")] if one.not_compared else []


def print_outcomes(outcomes: Sequence[StageResult], report: Path | None) -> None:
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

"""What ``kronos train`` does once it knows what: plan, refuse or show, train, compare, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kronos.cli.console import spinner, watched
from kronos.cli.errors import FAILED, MISUSED
from kronos.errors import ParameterError
from kronos.training.ranks import is_first

if TYPE_CHECKING:
    from kronos.datasets.recipes import StageName
    from kronos.training.config import TrainConfig
    from kronos.training.monitors import TrainingMonitor
    from kronos.training.planning import RunPlan, StagePlan
    from kronos.training.running import How, Outcome

INTERRUPTED = 130


@dataclass(frozen=True)
class Telling:
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
class Trained:
    """What became of everything.

    Attributes:
        outcomes: Of each stage.
        report: The page to look at; None where there is none.
    """

    outcomes: tuple[Outcome, ...]
    report: Path | None


def do(configs: Sequence[TrainConfig], stages: Sequence[StageName], how: How, telling: Telling) -> None:
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
    from kronos.cli.train import view

    if telling.dry_run:
        plans = make_plans(configs, stages, how, telling)
        if is_first():
            view.show_plans(plans, json=telling.json)
        if any(plan.problems for plan in plans):
            raise typer.Exit(MISUSED)
        return
    trained = train(configs, stages, how, telling)
    if telling.json and is_first():
        view.print_outcomes(trained.outcomes, trained.report)
    _end(trained.outcomes)


def train(configs: Sequence[TrainConfig], stages: Sequence[StageName], how: How, telling: Telling) -> Trained:
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
    from kronos.cli.train import view
    from kronos.training.running import report

    plans = make_plans(configs, stages, how, telling)
    for plan in plans:
        plan.check()
    outcomes = _run(plans, how, telling)
    stopped = any(one.state == "stopped" for one in outcomes)
    page = report(outcomes) if is_first() and not stopped else None
    if telling.shown and is_first():
        view.show_outcomes(outcomes, page)
    if stopped:
        raise typer.Exit(INTERRUPTED)
    return Trained(tuple(outcomes), page)


def make_plans(
    configs: Sequence[TrainConfig], stages: Sequence[StageName], how: How, telling: Telling
) -> list[RunPlan]:
    """Look at everything before anything is trained.

    Raises:
        ParameterError: If none of the configurations trains any of the networks asked for.
    """
    from kronos.training.planning import make_plan
    from kronos.training.records import result_folder

    chosen = [(config, [one for one in config.stages if one in stages]) for config in configs]
    if not any(wanted for _, wanted in chosen):
        raise ParameterError(
            f"{' and '.join(one.model_name for one in configs)} trains no {' or '.join(stages)}: its 'stages' are "
            f"{', '.join(configs[0].stages)}."
        )
    made = [result_folder(config.folder, one) for config, wanted in chosen for one in wanted]
    with spinner("Looking at candles and weights", wanted=telling.shown):
        return [make_plan(config, stages=wanted, made=made, restart=how.restart) for config, wanted in chosen if wanted]


def _run(plans: Sequence[RunPlan], how: How, telling: Telling) -> list[Outcome]:
    from kronos.cli.train import view
    from kronos.training.running import run

    def monitors(plan: RunPlan, stage: StagePlan) -> Sequence[TrainingMonitor]:
        return _monitors(plan, stage, telling) if is_first() else ()

    several = sum(len(plan.stages) for plan in plans) > 1
    return run(plans, how, monitors=monitors, tell=view.teller(telling) if several and is_first() else lambda _: None)


def _monitors(plan: RunPlan, stage: StagePlan, telling: Telling) -> list[TrainingMonitor]:
    from kronos.training.monitors import TensorBoard, Terminal
    from kronos.training.records import stage_folder

    listening: list[TrainingMonitor] = []
    if telling.shown and watched():
        listening.append(Terminal(f"{plan.name} {stage.stage}"))
    if telling.tensorboard:
        listening.append(TensorBoard(stage_folder(plan.folder, stage.stage) / "tensorboard"))
    return listening


def _end(outcomes: Sequence[Outcome]) -> None:
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

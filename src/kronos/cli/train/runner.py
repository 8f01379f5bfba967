"""Run ``kronos train``: plan, train, compare, and print plans and results."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kronos.cli.console import ConsoleColumn, page, page_width, print_json, spinner, stderr, table
from kronos.cli.errors import FAILED, INTERRUPTED, MISUSED, print_error, report_failures, report_skipped
from kronos.cli.reading_options import name_options
from kronos.cli.train.arguments import TrainOutputArgs
from kronos.errors import ParameterError
from kronos.formatting import duration, relative_path, short_count
from kronos.progress import is_interactive
from kronos.training.torchrun import is_first, world_size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kronos.datasets.config import StageName
    from kronos.training.callbacks import TrainingCallback
    from kronos.training.config import TrainConfig
    from kronos.training.plan import RunPlan, StagePlan
    from kronos.training.runner import RunOptions, StageResult


@dataclass(frozen=True)
class TrainingOutcome:
    """Results of a training command.

    Attributes:
        stages: Result of each stage of each configuration.
        report: The HTML report; None if there is none.
        skipped: Path of each candle file that cannot be read, and why.
    """

    stages: tuple[StageResult, ...]
    report: Path | None
    skipped: tuple[tuple[str, str], ...] = ()


def run_training(
    configs: Sequence[TrainConfig], stages: Sequence[StageName], options: RunOptions, output: TrainOutputArgs
) -> None:
    """Train the stages of configurations and exit with the status of the first failure.

    Args:
        configs: The configurations.
        stages: Stages to train; a configuration without one of them skips it.
        options: How to run several trainings.
        output: What to print.

    Raises:
        KronosError: If a plan is invalid, or the only stage failed.
        typer.Exit: If one of several stages failed, the training was interrupted, or files were skipped.
    """
    if output.dry_run:
        with tempfile.TemporaryDirectory(prefix="kronos-plan-") as cache:
            plans = _make_plans(configs, stages, options, output, cache=Path(cache))
        if is_first():
            _show_plans(plans, json=output.json)
        if any(plan.problems for plan in plans):
            raise typer.Exit(MISUSED)
        _report_skipped(_skipped(plans))
        return
    outcome = train(configs, stages, options, output)
    if output.json and is_first():
        _print_outcome(outcome)
    _exit_on_failure(outcome.stages, as_json=output.json)
    _report_skipped(outcome.skipped)


def _skipped(plans: Sequence[RunPlan]) -> tuple[tuple[str, str], ...]:
    """Path and problem of each candle file that cannot be read."""
    return tuple(dict.fromkeys(file for plan in plans for file in plan.skipped))


def _report_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    """Print the files that were skipped and exit with the status that says so; torchrun would take it for a failure."""
    if world_size() == 1:
        report_skipped(skipped)


def train(
    configs: Sequence[TrainConfig], stages: Sequence[StageName], options: RunOptions, output: TrainOutputArgs
) -> TrainingOutcome:
    """Plan, train, compare, write the report, and print the results as text unless JSON or nothing is printed.

    Raises:
        KronosError: If a plan is invalid.
        typer.Exit: If the training was interrupted.
    """
    from kronos.training.runner import write_run_reports

    plans = _make_plans(configs, stages, options, output)
    for plan in plans:
        plan.check()
    results = _run(plans, options, output)
    interrupted = any(result.state == "stopped" for result in results)
    report = write_run_reports(results) if is_first() and not interrupted else None
    if output.prints_text and is_first():
        _show_results(results, report)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    return TrainingOutcome(tuple(results), report, _skipped(plans))


def _make_plans(
    configs: Sequence[TrainConfig],
    stages: Sequence[StageName],
    options: RunOptions,
    output: TrainOutputArgs,
    *,
    cache: Path | None = None,
) -> list[RunPlan]:
    """Plan every configuration before anything is trained.

    Args:
        configs: The configurations.
        stages: Stages to train.
        options: How to run several trainings.
        output: What to print.
        cache: Folder in which candles are cached; None for the one that training uses.

    Raises:
        ParameterError: If no configuration has any of the stages.
    """
    from kronos.training.plan import make_plan
    from kronos.training.run_folder import result_folder

    selected = [(config, [stage for stage in config.stages if stage in stages]) for config in configs]
    selected = [(config, own) for config, own in selected if own]
    if not selected:
        raise ParameterError(
            f"{' and '.join(config.model_name for config in configs)}: no {' or '.join(stages)} to train; 'stages' "
            f"of the configuration are {', '.join(configs[0].stages)}."
        )
    results = [result_folder(config.folder, stage) for config, own in selected for stage in own]
    with spinner("Reading candles and weights", enabled=output.prints_text):
        return [
            make_plan(config, stages=own, expected=results, restart=options.restart, cache=cache)
            for config, own in selected
        ]


def _run(plans: Sequence[RunPlan], options: RunOptions, output: TrainOutputArgs) -> list[StageResult]:
    from kronos.training.runner import run

    def callbacks(plan: RunPlan, stage: StagePlan) -> Sequence[TrainingCallback]:
        return _callbacks(plan, stage, output) if is_first() else ()

    several = sum(len(plan.stages) for plan in plans) > 1
    shown = several and is_first() and output.prints_text and is_interactive()
    return run(plans, options, callbacks=callbacks, on_result=_report_stage if shown else lambda _: None)


def _report_stage(result: StageResult) -> None:
    """Print the state of a finished stage on stderr."""
    reason = f": {result.reason}" if result.reason else ""
    stderr().print(f"{result.name} {result.stage} {_STATES[result.state]}{reason}", style="dim", markup=False)


def _callbacks(plan: RunPlan, stage: StagePlan, output: TrainOutputArgs) -> list[TrainingCallback]:
    from kronos.training.callbacks import TensorBoard, Terminal
    from kronos.training.run_folder import stage_folder

    callbacks: list[TrainingCallback] = []
    if output.prints_text and is_interactive():
        callbacks.append(Terminal(f"{plan.name} {stage.stage}"))
    if output.tensorboard:
        callbacks.append(TensorBoard(stage_folder(plan.folder, stage.stage) / "tensorboard"))
    return callbacks


def _exit_on_failure(results: Sequence[StageResult], *, as_json: bool) -> None:
    """Raise the error of the only stage, or print the errors of several and exit; a JSON document has them already.

    Raises:
        KronosError: The error of the only stage.
        typer.Exit: If one of several stages failed.
    """
    failed = [result for result in results if result.state == "failed"]
    if not failed:
        return
    error = failed[0].error
    if len(results) == 1 and error is not None:
        if as_json:
            report_failures([(failed[0].name, error)])
        raise error
    for result in failed:
        print_error(f"{result.name}, {result.stage}: {result.reason or ''}")
    raise typer.Exit(FAILED)


_STATES = {
    "done": "trained",
    "kept": "already trained",
    "skipped": "skipped",
    "failed": "failed",
    "stopped": "interrupted",
}


def _show_plans(plans: Sequence[RunPlan], *, json: bool) -> None:
    """Print the plans and their problems."""
    if json:
        print_json({"kind": "kronos training plan", "dry_run": True, "runs": [plan.to_dict() for plan in plans]})
        return
    from rich.text import Text

    lines: list[RenderableType] = []
    for plan in plans:
        lines += [Text.assemble((plan.name, "bold"), "  ", plan.config.description), *_plan_facts(plan), Text()]
        if plan.stages:
            lines += [_stage_table(plan), Text()]
        lines += [Text(f"! {name_options(problem)}", style="yellow") for problem in plan.problems]
        lines += [Text()] if plan.problems else []
    lines.append(Text("Dry run: nothing was trained or written.", style="dim"))
    page(*lines)


def _plan_facts(plan: RunPlan) -> list[RenderableType]:
    from rich.text import Text

    windows = plan.config.windows
    available = ", ".join(f"{count:,} {split}" for split, count in plan.windows.items()) or "none"
    facts = [
        ("from", plan.config.data),
        ("to", relative_path(plan.folder)),
        ("windows", f"{windows.lookback} + {windows.predict} candles: {available}"),
        ("tokenizer", plan.tokenizer or "none"),
        ("context", f"{plan.context:,} candles"),
        ("disk", f"{plan.disk / 1e6:,.0f} MB"),
    ]
    if plan.needs:
        facts.append(("after", ", ".join(map(relative_path, plan.needs))))
    return [Text.assemble((f"  {name:<10}", "dim"), value) for name, value in facts]


def _stage_table(plan: RunPlan) -> RenderableType:
    stages = plan.stages
    starts = [
        f"{'random weights' if stage.start is None else stage.start.ref}{' (done)' if stage.done else ''}"
        for stage in stages
    ]
    settings = [stage.settings for stage in stages]
    return table(
        ConsoleColumn("stage", [stage.stage for stage in stages]),
        ConsoleColumn("starts from", starts),
        ConsoleColumn("parameters", [short_count(stage.parameters) for stage in stages], right=True),
        ConsoleColumn("trained", [short_count(stage.trained) for stage in stages], right=True, priority=1),
        ConsoleColumn("epochs", [f"{own.epochs:,}" for own in settings], right=True),
        ConsoleColumn("steps", [f"{stage.steps:,}" for stage in stages], right=True),
        ConsoleColumn("batch", [f"{own.batch_size:,}" for own in settings], right=True, priority=2),
        ConsoleColumn("rate", [f"{own.learning_rate:g}" for own in settings], right=True, priority=3),
        width=page_width(),
    )


def _show_results(results: Sequence[StageResult], report: Path | None) -> None:
    """Print the results and comparisons by model."""
    from rich.text import Text

    lines: list[RenderableType] = []
    for name in dict.fromkeys(result.name for result in results):
        own = [result for result in results if result.name == name]
        lines.append(Text(name, style="bold"))
        lines += [Text(f"  {_result_line(result)}") for result in own]
        for result in own:
            lines += _comparison_lines(result)
        if own[-1].succeeded:
            lines.append(Text.assemble(("→ ", "dim"), relative_path(own[-1].folder / own[-1].stage)))
        lines.append(Text())
    if report is not None:
        lines.append(Text.assemble(("→ ", "dim"), relative_path(report)))
    page(*lines)


def _result_line(result: StageResult) -> str:
    record = result.record
    if record is None:
        return f"{result.stage}: {_STATES[result.state]}" + (f": {result.reason}" if result.reason else "")
    end = {"patience": ", no further improvement", "minutes": ", time limit"}.get(record.stopped, "")
    best = "initial weights" if record.best_epoch == 0 else f"epoch {record.best_epoch}"
    return (
        f"{result.stage}: {_STATES[result.state]}, {record.epochs} epochs, {record.steps:,} steps in "
        f"{duration(record.seconds)}{end}; best: {best}, validation loss {record.best:.4f}"
    )


def _comparison_lines(result: StageResult) -> list[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    if result.comparison is not None:
        first, *others = result.comparison.summary()
        lines = [Text(), Text(first, style="bold"), *(Text(line) for line in others), Text()]
        return [Padding(line, (0, 0, 0, 2)) for line in lines]
    return [Text(f"  Not compared: {result.not_compared}", style="yellow")] if result.not_compared else []


def _print_outcome(outcome: TrainingOutcome) -> None:
    print_json(
        {
            "kind": "kronos training",
            "stages": [result.to_dict() for result in outcome.stages],
            "report": None if outcome.report is None else str(outcome.report),
            "skipped": [{"path": path, "problem": problem} for path, problem in outcome.skipped],
        }
    )

"""``kronos evaluate --dry-run``: what would be forecast, where it would be stored, and about how long it would take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.cli.console import ConsoleColumn, page, page_width, print_json, spinner, table
from kronos.cli.evaluate import EvaluateArgs, load_corrections
from kronos.cli.evaluation_setup import engine_for, prepare
from kronos.formatting import duration, relative_path

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kronos.evaluation import EvaluationSetup, Forecaster

_SHOWN_SERIES = 20


@dataclass(frozen=True)
class PlannedContender:
    """A contender of an evaluation that has not been run.

    Attributes:
        name: Name in tables.
        baseline: Whether it is a baseline.
        stored: Forecasts that an earlier run has stored.
        pending: Forecasts to compute; calibrations and adaptive bands use those of their model.
        seconds: Measured seconds per forecast; None if nothing is pending.
    """

    name: str
    baseline: bool
    stored: int
    pending: int
    seconds: float | None


@dataclass(frozen=True)
class EvaluationPlan:
    """An evaluation that has not been run.

    Attributes:
        setup: The data, the dates and the origins.
        contenders: Models, calibrated models and baselines.
        folder: Folder of the results.
        engine: Name of the engine.
        workers: Number of processes that the estimated time is for.
        measured: Most forecasts that were measured of one contender.
    """

    setup: EvaluationSetup
    contenders: tuple[PlannedContender, ...]
    folder: Path
    engine: str
    workers: int
    measured: int

    @property
    def seconds(self) -> float:
        """Estimated time: networks use all threads already, so worker processes speed up the baselines only."""
        share = {False: 1, True: self.workers}
        return sum(one.pending * (one.seconds or 0.0) / share[one.baseline] for one in self.contenders)

    def origins(self) -> dict[str, int]:
        """Number of origins by series."""
        counts = self.setup.plan.table()["series"].value_counts()
        return {one.name: int(counts.get(one.name, 0)) for one in self.setup.plan.instruments}

    def to_dict(self) -> dict[str, Any]:
        """The plan, ready for JSON."""
        plan, origins = self.setup.plan, self.origins()
        return {
            "kind": "kronos evaluation plan",
            "dry_run": True,
            "dates": self.setup.description,
            "horizon": plan.rolling.horizon,
            "origins": len(plan),
            "series": [
                {"name": one.name, "group": one.group, "candles": len(one.candles), "origins": origins[one.name]}
                for one in plan.instruments
            ],
            "contenders": [
                {
                    "name": one.name,
                    "baseline": one.baseline,
                    "stored": one.stored,
                    "pending": one.pending,
                    "seconds_per_forecast": one.seconds,
                }
                for one in self.contenders
            ],
            "folder": str(self.folder),
            "engine": self.engine,
            "workers": self.workers,
            "estimated_seconds": self.seconds,
        }


def show_plan(args: EvaluateArgs, *, json: bool) -> None:
    """Plan an evaluation, measure a few forecasts of each contender, and print the plan; nothing is written.

    Raises:
        KronosError: If the evaluation could not be run, or a model would have to be downloaded first.
    """
    plan = make_plan(args)
    if json:
        print_json(plan.to_dict())
    else:
        page(*_lines(plan))


def make_plan(args: EvaluateArgs) -> EvaluationPlan:
    """Plan an evaluation, and measure a few forecasts of each contender that has to make some.

    Raises:
        KronosError: As `show_plan`.
    """
    args.check()
    from kronos.evaluation import baseline_forecasters
    from kronos.evaluation.adaptive import adaptive_contenders
    from kronos.evaluation.rolling import MEASURED, check_run, measure_forecasts, stored_forecasts

    baselines = baseline_forecasters(args.baselines or None)
    if args.reference not in [baseline.name for baseline in baselines]:
        baselines += baseline_forecasters([args.reference])
    setup, models = prepare(replace(args, local=True))
    args = args.with_run_folder(setup.plan, models)
    corrections = load_corrections(args, models)
    engine, settings, plan = engine_for(args, models), args.rolling_settings(), setup.plan
    forecasters: list[Forecaster] = [*(model.forecaster for model in models), *baselines]
    if not args.restart:
        check_run(plan, forecasters, args.run_folder, settings)
    contenders = []
    with spinner("Measuring a few forecasts", enabled=not args.quiet):
        for forecaster in forecasters:
            stored = 0 if args.restart else stored_forecasts(plan, args.run_folder, forecaster.name)
            pending = len(plan) - stored
            seconds = measure_forecasts(plan, forecaster, settings) if pending else None
            contenders.append(PlannedContender(forecaster.name, forecaster in baselines, stored, pending, seconds))
    bands = adaptive_contenders([model.forecaster for model in models], corrections) if args.adaptive else []
    names = [*(one.name for one in corrections), *(one.name for one in bands)]
    derived = [PlannedContender(name, False, 0, 0, None) for name in names]
    contenders[len(models) : len(models)] = derived
    return EvaluationPlan(
        setup, tuple(contenders), args.folder, engine.name, engine.workers or 1, min(MEASURED, len(plan))
    )


def _lines(plan: EvaluationPlan) -> list[RenderableType]:
    from rich.text import Text

    instruments, origins, width = plan.setup.plan.instruments, plan.origins(), page_width()
    count = len(plan.setup.plan)
    shown = instruments[:_SHOWN_SERIES]
    more = len(instruments) - len(shown)
    lines: list[RenderableType] = [
        Text(f"{count:,} origins of {len(instruments)} series, {plan.setup.description}.", style="bold"),
        Text(),
        table(
            ConsoleColumn("series", [one.name for one in shown]),
            ConsoleColumn("group", [one.group for one in shown], priority=1),
            ConsoleColumn("candles", [f"{len(one.candles):,}" for one in shown], right=True, priority=2),
            ConsoleColumn("origins", [f"{origins[one.name]:,}" for one in shown], right=True),
            width=width,
        ),
        *([Text(f"and {more} more; --json lists all.", style="dim")] if more else []),
        Text(),
        _contender_table(plan.contenders, width),
        Text(),
        Text.assemble(("→ ", "dim"), relative_path(plan.folder)),
    ]
    processes = "1 process" if plan.workers == 1 else f"{plan.workers} processes"
    processes += " of this machine" if plan.engine == "ray" else ""
    if any(one.pending for one in plan.contenders):
        lines.append(
            Text(
                f"Estimated time: {duration(plan.seconds)} with {processes}, from at most {plan.measured} measured "
                "forecasts of each contender. A busy machine takes longer."
            )
        )
    else:
        lines.append(Text("All forecasts are stored: only scoring is left."))
    return [*lines, Text("Dry run: nothing was written.", style="dim")]


def _contender_table(contenders: Sequence[PlannedContender], width: int) -> RenderableType:
    return table(
        ConsoleColumn("contender", [one.name for one in contenders]),
        ConsoleColumn("stored", [f"{one.stored:,}" for one in contenders], right=True, priority=1),
        ConsoleColumn("to forecast", [f"{one.pending:,}" for one in contenders], right=True),
        ConsoleColumn(
            "s per forecast",
            ["" if one.seconds is None else f"{one.seconds:.2g}" for one in contenders],
            right=True,
            priority=2,
        ),
        width=width,
    )

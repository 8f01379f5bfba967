"""``kronos pipeline``: prepare a dataset, train on it, evaluate the trained model, and backtest its signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kronos.cli import options
from kronos.cli.console import print_json
from kronos.cli.errors import FAILED, print_error, report_skipped, status_of
from kronos.cli.reading_options import ReadingArgs
from kronos.cli.train.arguments import TrainOutputArgs
from kronos.errors import KronosError, ParameterError

if TYPE_CHECKING:
    from kronos.candles import ReadOptions
    from kronos.datasets import DatasetConfig
    from kronos.training.config import TrainConfig
    from kronos.training.runner import StageResult

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos pipeline model_a_4h\n\n"
    "kronos pipeline model_a_4h model_b_1d --skip-existing\n\n"
    "kronos pipeline model_a_4h --source simulated   [dim](no network; no statement about markets)[/dim]\n\n"
    "kronos pipeline model_a_4h --source files:data/candles --output-dir /data/models\n\n"
    "kronos pipeline model_a_4h --dry-run"
)
_STEPS = ("prepare", "train", "evaluate", "backtest")


@dataclass
class PipelineRun:
    """The run of one configuration.

    Attributes:
        name: Name of the model.
        config: Training configuration.
        dataset: Dataset to prepare first; None if the data exists already.
        steps: State of each finished step: ``done``, ``kept``, ``skipped`` or ``failed``.
        error: Error of the failed step.
        stages: Results of the training.
        skipped: Path of each candle file that cannot be read, and why.
    """

    name: str
    config: TrainConfig
    dataset: DatasetConfig | None
    steps: dict[str, str] = field(default_factory=dict)
    error: KronosError | None = None
    stages: tuple[StageResult, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def evaluation_file(self) -> Path:
        """JSON file of the evaluation."""
        return self.config.folder / "evaluation" / "evaluation.json"

    @property
    def backtest_file(self) -> Path:
        """JSON file of the backtest."""
        return self.config.folder / "backtest" / "backtest.json"

    @property
    def is_prepared(self) -> bool:
        """Whether the data exists."""
        from kronos.datasets.discovery import is_dataset

        return self.dataset is None or is_dataset(Path(self.config.data))

    def document(self) -> dict[str, Any]:
        """Return the run as a JSON document."""
        evaluated = self.steps.get("evaluate") in ("done", "kept")
        return {
            "model_name": self.name,
            "folder": str(self.config.folder),
            "steps": {step: self.steps.get(step, "skipped") for step in _STEPS},
            "error": None if self.error is None else str(self.error),
            "stages": [stage.to_dict() for stage in self.stages],
            "skipped": [{"path": path, "problem": problem} for path, problem in self.skipped],
            "evaluation": str(self.evaluation_file) if evaluated else None,
            "backtest": str(self.backtest_file) if self.steps.get("backtest") in ("done", "kept") else None,
        }


@dataclass(frozen=True)
class PipelineArgs:
    """Arguments of ``kronos pipeline`` that apply to every configuration.

    Attributes:
        skip_existing: Whether to skip finished steps.
        source: Candle source; None for the configuration's.
        max_origins: Maximum number of evaluation origins.
        samples: Number of sample paths per evaluation forecast.
        backtest: Whether to backtest the trained model.
        output: What to print.
        strict: Whether a candle file that cannot be read is an error.
        reading: How candle files are written; None to infer it.
    """

    skip_existing: bool
    source: str | None
    max_origins: int
    samples: int
    backtest: bool
    output: TrainOutputArgs
    strict: bool = False
    reading: ReadOptions | None = None


def pipeline(
    configs: options.Configs,
    source: options.ConfiguredSource = None,
    timezone: options.Timezone = None,
    column: options.Columns = None,
    decimal: options.Decimal = None,
    thousands: options.Thousands = None,
    date_format: options.DateFormat = None,
    header: options.Header = None,
    max_origins: options.PipelineOrigins = 300,
    samples: options.PipelineSamples = 50,
    backtest: Annotated[
        bool,
        typer.Option(
            "--backtest/--no-backtest",
            help="Backtest the trained model's signals.",
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = True,
    device: options.Device = None,
    output_dir: options.ModelsFolder = None,
    skip_existing: options.SkipExisting = False,
    strict: options.Strict = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """For each configuration, prepare the dataset, train on it, evaluate the model on the test split, and trade it.

    A configuration that fails does not stop the others.

    The same command continues an interrupted one; with [bold]--skip-existing[/bold] it skips finished steps.
    """
    reading = ReadingArgs(column or (), decimal, thousands, date_format, header, timezone)
    runs = _load_runs(configs, device, output_dir, reading)
    output = TrainOutputArgs(json, quiet)
    args = PipelineArgs(skip_existing, source, max_origins, samples, backtest, output, strict, reading.given())
    if dry_run:
        _show_plan(runs, args)
        return
    for run in runs:
        _execute(run, args)
    if json:
        print_json({"kind": "kronos pipeline", "models": [run.document() for run in runs]})
    _exit_on_failure(runs)
    report_skipped(tuple(dict.fromkeys(file for run in runs for file in run.skipped)))


def _load_runs(
    configs: Sequence[str], device: str | None, output: Path | None, reading: ReadingArgs
) -> list[PipelineRun]:
    """Load the configurations.

    Raises:
        ParameterError: If one is invalid or cannot be evaluated, or two share a folder.
    """
    from kronos.cli.train.arguments import shared_overrides
    from kronos.training.config import load_config_with_dataset

    overrides = shared_overrides(output, device)
    runs = []
    for name in dict.fromkeys(configs):
        loaded, dataset = load_config_with_dataset(name)
        # A dataset is read by its source, other data by the training.
        own = {"reading": reading.section()} if dataset is None and reading.section() else {}
        config = loaded.changed(overrides | own)
        if config.data.startswith("qlib:") and "model" in config.stages:
            raise ParameterError(
                f"{config.model_name}: the pipeline cannot evaluate on a Qlib folder; 'kronos train run {name}' trains "
                f"on it and compares on its test split."
            )
        runs.append(PipelineRun(config.model_name, config, dataset))
    folders = [run.config.folder for run in runs]
    shared = next((folder for folder in folders if folders.count(folder) > 1), None)
    if shared is not None:
        raise ParameterError(f"Two configurations would share {shared}; give one another model_name.")
    return runs


def _execute(run: PipelineRun, args: PipelineArgs) -> None:
    """Run the steps until one fails."""
    for step, function in zip(_STEPS, (_prepare, _train, _evaluate, _backtest), strict=True):
        try:
            run.steps[step] = function(run, args)
        except KronosError as error:
            run.steps[step], run.error = "failed", error
        if run.steps[step] == "failed":
            return


def _prepare(run: PipelineRun, args: PipelineArgs) -> str:
    """Prepare the dataset; an existing one is kept, as a training may have started on it."""
    from kronos.cli.console import log_to_stderr
    from kronos.cli.data.prepare_view import show_dataset
    from kronos.datasets import prepare
    from kronos.progress import progress_bar
    from kronos.settings import get_settings
    from kronos.sources import open_source

    if run.dataset is None:
        return "kept"
    settings = get_settings({"source": args.source})
    if run.is_prepared:
        return "kept"
    config = run.dataset.changed(source=settings.source, records=settings.records_per_tf)
    show_progress = args.output.prints_text
    with log_to_stderr(verbose=False), progress_bar(f"{run.name}: candles", enabled=show_progress) as progress:
        source = open_source(config.source, settings=settings, progress=progress, reading=args.reading)
        dataset = prepare(config, source, folder=Path(run.config.data))
    if args.output.prints_text:
        show_dataset(dataset, verbose=False)
    return "done"


def _train(run: PipelineRun, args: PipelineArgs) -> str:
    """Train the stages.

    Raises:
        KronosError: If the plan is invalid.
        typer.Exit: If the training was interrupted.
    """
    from kronos.cli.train.runner import train
    from kronos.training.runner import RunOptions

    run_options = RunOptions(skip_existing=args.skip_existing, strict=args.strict)
    outcome = train([run.config], run.config.stages, run_options, args.output)
    run.stages, run.skipped = outcome.stages, outcome.skipped
    bad = next((stage for stage in run.stages if not stage.succeeded), None)
    if bad is not None:
        run.error = bad.error or ParameterError(f"{bad.stage}: {bad.reason}")
        return "failed"
    return "kept" if all(stage.state == "kept" for stage in run.stages) else "done"


def _evaluate(run: PipelineRun, args: PipelineArgs) -> str:
    """Evaluate the model and all baselines on the test split."""
    from kronos.cli import evaluate
    from kronos.cli.evaluate_view import show

    if "model" not in run.config.stages:
        return "skipped"
    file, model = run.evaluation_file, run.config.folder / "model"
    weights = model / "model.safetensors"
    if args.skip_existing and file.is_file() and file.stat().st_mtime >= weights.stat().st_mtime:
        return "kept"
    result = evaluate.run(
        evaluate.EvaluateArgs(
            paths=(run.config.data,),
            start=_test_start(run.config),
            splits=run.config.split.file,
            horizon=run.config.windows.predict,
            max_origins=args.max_origins,
            models=(str(model),),
            device=run.config.settings("model").device,
            samples=args.samples,
            output=file.parent,
            run_name=None,  # another run after another training, whose forecasts differ
            quiet=not args.output.prints_text,
            timezone=run.config.reading.timezone,
            interval=run.config.reading.interval,
            reading=ReadingArgs.of(run.config.reading.options()),
            strict=args.strict,
        )
    )
    if args.output.prints_text:
        show(result, verbose=False)
    return "done"


def _backtest(run: PipelineRun, args: PipelineArgs) -> str:
    """Trade the model's signals on the days after its training, with the strategy for the number of instruments."""
    from kronos.backtest.config import load_backtest_config
    from kronos.cli import backtest
    from kronos.intervals import Interval

    if not args.backtest or "model" not in run.config.stages:
        return "skipped"
    file, model = run.backtest_file, run.config.folder / "model"
    if args.skip_existing and file.is_file() and file.stat().st_mtime >= (model / "model.safetensors").stat().st_mtime:
        return "kept"
    timeframes = () if run.dataset is None else run.dataset.timeframes
    # A backtest has one interval: the longest, whose trades cost least.
    longest = max(map(Interval.from_timeframe, timeframes), key=lambda one: one.seconds, default=None)
    windows = run.config.windows
    config = load_backtest_config(
        overrides={
            ("data", "paths"): [run.config.data],
            ("data", "interval"): run.config.reading.interval if longest is None else str(longest),
            ("data", "timezone"): run.config.reading.timezone,
            ("model", "name"): str(model),
            ("model", "device"): run.config.settings("model").device,
            ("signals", "names"): ["return"],
            ("signals", "lookback"): windows.lookback,
            ("signals", "horizon"): windows.predict,
            ("", "output"): str(file.parent),
        }
    )
    quiet = not args.output.prints_text
    outcome = backtest.run(config, run.name, reading=run.config.reading.options(), quiet=quiet)
    if not quiet:
        backtest.show(outcome, verbose=False)
    return "done"


def _test_start(config: TrainConfig) -> str | None:
    """Return the start of the test split; None if a splits file or the prepared dataset defines it."""
    from kronos.datasets.config import Split
    from kronos.training.plan import open_data

    data = open_data(config)
    if not isinstance(data.split, Split):
        return None
    return max(cut.test for cut in data.cuts.values()).isoformat()


def _show_plan(runs: Sequence[PipelineRun], args: PipelineArgs) -> None:
    """Print what each step would do.

    Raises:
        ParameterError: If there is no such source of candles as a step would use.
    """
    from kronos.cli.console import ConsoleColumn, page, page_width, table
    from kronos.settings import get_settings
    from kronos.sources import check_source
    from kronos.training.run_folder import is_done

    settings = get_settings({"source": args.source})
    rows = []
    for run in runs:
        source = settings.source or (run.dataset.source if run.dataset is not None else "")
        if run.dataset is not None and not run.is_prepared:
            check_source(source, settings)
        trained = all(is_done(run.config.folder, stage) for stage in run.config.stages)
        evaluated, traded = (args.skip_existing and path.is_file() for path in (run.evaluation_file, run.backtest_file))
        rows.append(
            {
                "model_name": run.name,
                "data": run.config.data,
                "prepare": "done" if run.is_prepared else f"from {source}",
                "train": "done" if trained else " and ".join(run.config.stages),
                "evaluate": "done" if evaluated else f"at most {args.max_origins:,} origins",
                "backtest": "done" if traded else "days after the training" if args.backtest else "left out",
                "folder": str(run.config.folder),
            }
        )
    if args.output.json:
        print_json({"kind": "kronos pipeline plan", "dry_run": True, "models": rows})
        return
    columns = [ConsoleColumn(name, [row[name] for row in rows]) for name in ("model_name", *_STEPS)]
    page(
        table(*columns, width=page_width()),
        "",
        "Dry run: nothing was fetched, trained or written. Once the candles exist, 'kronos train run … --dry-run' has "
        "details.",
    )


def _exit_on_failure(runs: Sequence[PipelineRun]) -> None:
    """Print the errors, if any, and exit: with their status if there is one run, else with 1.

    Raises:
        typer.Exit: If a run failed.
    """
    failed = [(run, run.error) for run in runs if run.error is not None]
    for run, error in failed:
        step = next(step for step in reversed(_STEPS) if step in run.steps)
        print_error(f"{run.name}, {step}: {error}")
    if failed:
        raise typer.Exit(FAILED if len(runs) > 1 else max(status_of(error) for _, error in failed))

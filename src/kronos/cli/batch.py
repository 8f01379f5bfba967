"""``kronos batch``: forecasts of many series and origins, from Parquet files to Parquet files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kronos.cli import options
from kronos.cli.engine_options import EngineArgs, EngineOption, Workers
from kronos.cli.errors import report_skipped
from kronos.cli.model_loading import ModelArgs, SamplingArgs
from kronos.errors import ParameterError
from kronos.formatting import duration, plural

if TYPE_CHECKING:
    from kronos.batch import BatchPlan, BatchSettings, BatchSummary, Engine
    from kronos.inference import KronosPredictor

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos batch candles/ --output out/batch --horizon 24\n\n"
    "kronos batch candles/ --output out/batch --stride 24 --from 2024-01-01   [dim](many origins of each series)[/dim]"
    "\n\n"
    "kronos batch candles.parquet --origins origins.csv --output out/batch --quantile 0.1 --quantile 0.9\n\n"
    "kronos batch candles/ --output out/paths --format long --samples 50   [dim](every sample path)[/dim]\n\n"
    "kronos batch s3://bucket/candles --output s3://bucket/forecasts --engine ray   [dim](a Ray cluster)[/dim]"
)


@dataclass(frozen=True, kw_only=True)
class BatchArgs:
    """Arguments of ``kronos batch``.

    Attributes:
        paths: Parquet files, folders of them, or their addresses.
        output: Folder or address for the forecasts.
        origins: Table of the forecasts to make.
        stride: Candles between the origins of a series; None for one origin, its last candle.
        start: First cutoff, with a stride.
        end: End of the cutoffs, exclusive.
        interval: Candle interval of all series; None to infer it.
        calendar: Trading calendar of all series; None to detect it.
        strict: Whether a series that cannot be forecast ends the command.
        history: Candles that are read of a series before each cutoff; None for the default.
        sampling: How to sample.
        calibrate: Whether to apply the calibration that ships with the model; None if there is one for this sampling.
        calibration: Saved calibration to apply instead.
        market: Market whose calibration factors apply; None to infer it from the calendar.
        model: Model and device.
        engine: Where forecasts are computed.
        format: Quantiles by step, or every path.
        targets: Columns of the candles to summarise; empty for the close.
        levels: Quantile levels; empty for the default.
        shard_size: Forecasts of a file; None for the default.
        restart: Whether to discard the forecasts of an earlier run.
        quiet: Whether to show no progress.
    """

    paths: tuple[str, ...]
    output: str
    origins: str | None
    stride: int | None
    start: str | None
    end: str | None
    interval: str | None
    calendar: str | None
    strict: bool
    history: int | None
    sampling: SamplingArgs
    calibrate: bool | None
    calibration: Path | None
    market: str | None
    model: ModelArgs
    engine: EngineArgs
    format: options.FormatName
    targets: tuple[str, ...]
    levels: tuple[float, ...]
    shard_size: int | None
    restart: bool
    quiet: bool

    def check(self) -> None:
        """Check the options that can be checked without reading a file.

        Raises:
            ParameterError: If options contradict each other or have no effect.
        """
        if self.origins is not None and (self.stride is not None or self.start or self.end):
            raise ParameterError("--origins lists the forecasts: leave out --origins, or --stride, --from and --to.")
        if self.start is not None and self.stride is None:
            raise ParameterError("--from is the first origin of many: add --stride, or leave out --from.")
        if self.calibrate is not None and self.calibration is not None:
            raise ParameterError("--calibrate uses the model's own calibration, --calibration another: leave one out.")
        if self.format == "long" and (self.levels or self.targets):
            raise ParameterError("--format long has every path: leave out --quantile and --target, or --format.")


def batch(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Parquet files of candles, folders of them, or addresses (s3://…)."),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder or address for the forecasts; an interrupted run resumes there.",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ],
    interval: options.Interval = None,
    calendar: options.Calendar = None,
    history: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Candles to read of a series before each origin; the calendar is detected from them.",
            show_default="4096",
            rich_help_panel=options.DATA_PANEL,
        ),
    ] = None,
    strict: options.Strict = False,
    origins: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Forecasts to make: a Parquet or CSV file with unique_id and cutoff, the last candle to use.",
            show_default="one per series, after its last candle",
            rich_help_panel=options.ORIGINS_PANEL,
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Forecast after every so many candles of each series, from the 65th on.",
            rich_help_panel=options.ORIGINS_PANEL,
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="First origin, with --stride; in the timezone of the candles, unless it has its own.",
            rich_help_panel=options.ORIGINS_PANEL,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TIME",
            help="End of the origins, exclusive: candles from here on are not used. Timezone as for --from.",
            rich_help_panel=options.ORIGINS_PANEL,
        ),
    ] = None,
    horizon: options.Horizon = 24,
    samples: options.PresetSamples = None,
    seed: options.Seed = 1,
    preset: options.Preset = "default",
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    lookback: options.Lookback = None,
    calibrate: options.Calibrate = None,
    calibration: options.Calibration = None,
    market: options.CalibrationMarket = None,
    model: options.Model = None,
    tokenizer: options.Tokenizer = None,
    device: options.Device = None,
    precision: options.Precision = None,
    threads: options.Threads = None,
    engine: EngineOption = "local",
    workers: Workers = None,
    format_: options.Format = "wide",
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            help="Column of the candles to summarise: open, high, low, close, volume or amount; repeatable.",
            show_default="close",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ] = None,
    quantile: Annotated[
        list[float] | None,
        typer.Option(
            "--quantile",
            metavar="LEVEL",
            help="Quantile level between 0 and 1; repeatable.",
            show_default="the ends of the 50, 80, 90 and 95 % bands",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ] = None,
    shard_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Forecasts per file: the most that an interruption costs a worker.",
            show_default="256",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ] = None,
    restart: options.Restart = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Forecast many series, or many origins of them, from Parquet files into a folder of Parquet files.

    The series of a row is named by a column (unique_id, symbol), or by the name of its file. Series that cannot be
    used are skipped, listed in skipped.csv, and lead to status 3.

    The same command resumes an interrupted run. Results depend on neither the engine nor the number of workers.
    """
    args = BatchArgs(
        paths=tuple(paths),
        output=output,
        origins=origins,
        stride=stride,
        start=from_,
        end=to,
        interval=interval,
        calendar=calendar,
        strict=strict,
        history=history,
        sampling=SamplingArgs(horizon, samples, seed, preset, temperature, top_p, top_k, lookback),
        calibrate=calibrate,
        calibration=calibration,
        market=market,
        model=ModelArgs(model, tokenizer, device, precision, threads),
        engine=EngineArgs(engine, workers),
        format=format_,
        targets=tuple(target or ()),
        levels=tuple(quantile or ()),
        shard_size=shard_size,
        restart=restart,
        quiet=quiet or json,
    )
    args.check()
    if dry_run:
        _show_plan(args, json=json)
        return
    summary = run(args)
    if json:
        from kronos.cli.console import print_json

        print_json(summary.to_dict())
    elif not quiet:
        _show(summary)
    report_skipped([(one.unique_id, one.reason) for one in summary.skipped])


def run(args: BatchArgs) -> BatchSummary:
    """Plan, load the model, and forecast.

    Raises:
        KronosError: If an option is invalid, or a step fails.
        typer.Exit: With status 130 at Ctrl-C.
    """
    from kronos.cli.evaluation_setup import resumable_progress
    from kronos.cli.model_loading import threads

    plan, settings, predictor = _prepare(args)
    engine = _engine(args, predictor)
    if args.restart:
        from kronos.batch import discard_batch

        discard_batch(args.output)
    from kronos import batch

    bar = resumable_progress(f"{len(plan):,} forecasts", args.output, restarted=args.restart, shown=not args.quiet)
    with threads(_thread_count(args)), bar as progress:
        return batch.run(plan, predictor, args.output, settings, engine=engine, progress=progress)


def _prepare(args: BatchArgs) -> tuple[BatchPlan, BatchSettings, KronosPredictor]:
    """Plan the forecasts, and load the model: candles are checked before a model is downloaded."""
    from kronos.cli.console import spinner, stderr
    from kronos.cli.data.fetch import parse_time
    from kronos.cli.model_loading import choose, load, sampling_params

    shown = not args.quiet
    for option, time in (("--from", args.start), ("--to", args.end)):
        parse_time(time, option)  # names the option; the plan reads times in the timezone of the candles
    choice = choose(args.model)
    with spinner("Reading", enabled=shown):
        from kronos.batch import BatchSettings, make_plan
        from kronos.batch.plan import HISTORY, LEVELS, SHARD

        settings = BatchSettings(
            horizon=args.sampling.horizon,
            sampling=sampling_params(args.sampling),
            lookback=args.sampling.lookback,
            history=args.history or max(HISTORY, args.sampling.lookback or 0),
            interval=args.interval,
            calendar=args.calendar,
            market=args.market,
            kind=args.format,
            targets=args.targets or ("close",),
            levels=args.levels or LEVELS,
            calibration=args.calibrate if args.calibration is None else args.calibration,
            strict=args.strict,
            shard_size=args.shard_size or SHARD,
        )
        plan = make_plan(args.paths, origins=args.origins, stride=args.stride, start=args.start, end=args.end)
    if shown and choice.announcement:
        stderr().print(choice.announcement, style="dim", markup=False)
    return plan, settings, load(choice, show_progress=shown)


def _engine(args: BatchArgs, predictor: KronosPredictor) -> Engine:
    """The engine with its number of workers."""
    from kronos.inference.metadata import model_title

    return args.engine.open({model_title(predictor.model): predictor}, threads=_thread_count(args))


def _thread_count(args: BatchArgs) -> int | None:
    from kronos.settings import get_settings

    return get_settings({"threads": args.model.threads}).threads


def _show(summary: BatchSummary) -> None:
    """Print what was forecast, and where it is."""
    from rich.text import Text

    from kronos.cli.console import page

    state = "calibrated" if summary.calibrated else "raw"
    count = f"{plural(summary.forecasts, 'forecast')} of {summary.series:,} series by {summary.model}, {state}"
    skipped = f"; {len(summary.skipped):,} skipped" if summary.skipped else ""
    found = f", {summary.found:,} of them by earlier runs" if summary.found else ""
    simulated = [Text(f"SIMULATED: the candles of {summary.simulated:,} of them never traded.", style="bold")]
    page(
        Text(f"{count}{skipped}.", style="bold"),
        *(simulated if summary.simulated else []),
        Text(f"{duration(summary.seconds)} with the engine {summary.engine}{found}.", style="dim"),
        Text.assemble(("→ ", "dim"), f"{summary.folder}/forecasts in {plural(summary.shards, 'file')}"),
    )


def _show_plan(args: BatchArgs, *, json: bool) -> None:
    """Print the number of forecasts, and where they go; nothing is forecast or written."""
    from kronos.batch import stored_forecasts
    from kronos.cli.console import print_json

    plan, settings, predictor = _prepare(args)
    engine = _engine(args, predictor)
    stored = 0 if args.restart else stored_forecasts(plan, predictor, args.output, settings)
    cutoffs = plan.table["cutoff"]
    document: dict[str, Any] = {
        "kind": "kronos batch plan",
        "dry_run": True,
        "files": len(plan.files.files),
        "series": plan.series,
        "forecasts": len(plan),
        "stored": stored,
        "pending": len(plan) - stored,
        "first_cutoff": str(cutoffs.min()),
        "last_cutoff": str(cutoffs.max()),
        "shards": -(-len(plan) // settings.shard_size),
        "settings": settings.to_dict(),
        "engine": engine.name,
        "workers": engine.workers,
        "folder": args.output,
    }
    if json:
        print_json(document)
        return
    typer.echo(
        f"{plural(len(plan), 'forecast')} of {plan.series:,} series, cutoffs from {document['first_cutoff']} to "
        f"{document['last_cutoff']}; {stored:,} stored, {len(plan) - stored:,} to make in "
        f"{plural(document['shards'], 'file')} of {args.output}."
    )
    typer.echo("Dry run: nothing was forecast or written.")

"""``kronos calibrate``: from candle files to a calibration, with the measured effect of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from kronos.cli import options
from kronos.cli.completion import complete_baseline
from kronos.cli.console import ConsoleColumn, page, page_width, print_json, table
from kronos.cli.engine_options import EngineArgs, EngineOption, Workers
from kronos.cli.errors import report_skipped
from kronos.cli.evaluation_setup import EvaluationRunArgs, engine_for, evaluation_progress, prepare
from kronos.cli.files import check_no_folder
from kronos.cli.reading_options import ReadingArgs
from kronos.errors import ParameterError

if TYPE_CHECKING:
    from kronos.evaluation import AblationRow, EvaluationSetup
    from kronos.evaluation.calibration import FittedCalibration
    from kronos.metrics import Estimate

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos calibrate candles/ --splits splits.csv --output nano.json\n\n"
    "kronos calibrate btc_1h.csv eth_1h.csv --market crypto --to 2024-06-01 --stride 7\n\n"
    "kronos calibrate candles/ --model kronos-small --from 2024-07-01 --to 2025-01-01 --no-pool\n\n"
    "kronos calibrate candles/ --ablation   [dim](every part alone, and together)[/dim]\n\n"
    "kronos forecast btc_1h.csv --calibration nano.json   [dim](then use it)[/dim]"
)
_PANEL = "Calibration"
_FILE = "calibration.json"
_STRIDE = 11  # shares no divisor with the candles per session of common markets, so that all times of day occur


@dataclass(frozen=True, kw_only=True)
class CalibrateArgs(EvaluationRunArgs):
    """Arguments of `kronos calibrate`.

    Attributes:
        file: The calibration file to write; None for one in the output folder.
        parts: Parts to fit.
        pool_with: Baseline to pool with.
        symmetric: Whether bands move symmetrically around the median.
        ablation: Whether to compare each part alone and together.
    """

    parent: Path = Path("out") / "calibration"
    file: Path | None
    parts: tuple[str, ...]
    pool_with: str
    symmetric: bool
    ablation: bool


@dataclass(frozen=True)
class CalibrateResult:
    """A fitted calibration with its data and file.

    Attributes:
        setup: The data, the dates and the origins.
        fitted: The calibration and its ablation.
        warnings: Sentences that qualify it.
        file: The file it is saved to.
    """

    setup: EvaluationSetup
    fitted: FittedCalibration
    warnings: Sequence[str]
    file: Path


def calibrate(
    paths: options.Paths,
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--part",
            metavar="PART",
            help="Part to fit: anchor, drift, dispersion, pooling or conformal; repeatable.",
            show_default="all",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    pool_with: Annotated[
        str,
        typer.Option(
            metavar="BASELINE",
            help="Baseline to pool with.",
            autocompletion=complete_baseline,
            rich_help_panel=_PANEL,
        ),
    ] = "filtered-historical-simulation",
    no_pool: Annotated[bool, typer.Option("--no-pool", help="Fit all parts but pooling.", rich_help_panel=_PANEL)] = (
        False
    ),
    asymmetric: Annotated[
        bool,
        typer.Option(
            "--asymmetric",
            help="Correct the two ends of each band and the median independently.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Compare each part alone and together.", rich_help_panel=_PANEL)
    ] = False,
    market: options.Market = None,
    interval: options.Interval = None,
    timezone: options.Timezone = None,
    column: options.Columns = None,
    decimal: options.Decimal = None,
    thousands: options.Thousands = None,
    date_format: options.DateFormat = None,
    header: options.Header = None,
    strict: options.Strict = False,
    quality: options.Quality = "paper",
    start: options.From = None,
    end: options.To = None,
    split: options.Split = None,
    splits: options.Splits = None,
    horizon: options.Horizon = 24,
    stride: Annotated[
        int,
        typer.Option(
            help="Candles between origins; choose one that covers all times of day.",
            rich_help_panel=options.ORIGINS_PANEL,
        ),
    ] = _STRIDE,
    lookback: options.Lookback = None,
    max_origins: options.MaxOrigins = None,
    samples: options.Samples = 50,
    seed: options.Seed = 1,
    preset: options.Preset = "default",
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    model: options.Model = None,
    tokenizer: options.Tokenizer = None,
    device: options.Device = None,
    precision: options.Precision = None,
    engine: EngineOption = "local",
    workers: Workers = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the run and its calibration.json, or a .json file for the calibration.",
            show_default="out/calibration/NAME-DIGEST of candles, origins and model",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ] = None,
    restart: options.Restart = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit corrections of a model's forecasts to past ones: level, drift, width, and the weight of a baseline.

    Use dates before those you will evaluate on: the validation split, or --to. The effect of the corrections is
    measured on dates that they were not fitted to.
    """
    if verbose and quiet:
        raise ParameterError("-v and -q contradict each other: leave one out.")
    file = output if output is not None and output.suffix == ".json" else None
    result = run(
        CalibrateArgs(
            paths=tuple(paths),
            market=market,
            interval=interval,
            timezone=timezone,
            reading=ReadingArgs(column or (), decimal, thousands, date_format, header),
            strict=strict,
            quality=quality,
            start=start,
            end=end,
            split=split or (None if start or end else "validation"),
            splits=splits,
            horizon=horizon,
            stride=stride,
            lookback=lookback,
            max_origins=max_origins,
            models=(model,) if model else (),
            tokenizer=tokenizer,
            device=device,
            precision=precision,
            samples=samples,
            seed=seed,
            preset=preset,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            engine=EngineArgs(engine, workers),
            output=output if file is None else None,
            file=file,
            restart=restart,
            quiet=quiet or json,
            parts=_parts(part, no_pool),
            pool_with=pool_with,
            symmetric=not asymmetric,
            ablation=ablation,
        )
    )
    if json:
        print_json(_to_document(result))
    elif not quiet:
        show(result, verbose=verbose)
    report_skipped(result.setup.data.skipped)


def _parts(given: Sequence[str] | None, no_pool: bool) -> tuple[str, ...]:
    from kronos.calibration import PARTS
    from kronos.calibration.transforms import check_parts

    if given and no_pool:
        raise ParameterError("--part and --no-pool both select parts: leave one out.")
    if no_pool:
        return tuple(name for name in PARTS if name != "pooling")
    return check_parts(given) if given else PARTS


def run(args: CalibrateArgs) -> CalibrateResult:
    """Read, forecast, fit, and save the calibration.

    Raises:
        KronosError: If an option is invalid, or a step fails.
        typer.Exit: With status 130 at Ctrl-C.
    """
    args.check()
    if args.file is not None:
        check_no_folder("--output", args.file)
    from kronos.evaluation.calibration import check_pooling_baseline

    if "pooling" in args.parts:
        check_pooling_baseline(args.pool_with)  # before anything is read or discarded
    setup, [model] = prepare(args)
    args = args.with_run_folder(setup.plan, [model])
    file = args.file or args.folder / _FILE
    args.check_outputs("--output", [file], setup.data)
    args.prepare_output()
    from kronos.evaluation import cutoffs, default_ablations
    from kronos.evaluation.calibration import calibrate as fit_calibration
    from kronos.evaluation.dates import training_overlap_warnings
    from kronos.evaluation.origins import left_out_sentences

    settings = default_ablations("pooling" in args.parts) if args.ablation else {}
    title = f"Forecasting at {len(setup.plan):,} origins"
    with evaluation_progress(args, title, next_title="Fitting") as progress:
        fitted = fit_calibration(
            setup.plan,
            model.forecaster,
            args.run_folder,
            args.rolling_settings(),
            parts=args.parts,
            pool_with=args.pool_with,
            symmetric=args.symmetric,
            compare={name: parts for name, parts in settings.items() if parts and parts != args.parts},
            engine=engine_for(args, [model]),
            progress=progress,
        )
    warnings = left_out_sentences(setup.plan.left_out)
    warnings += training_overlap_warnings(model.name, setup.plan, cutoffs(model.predictor, setup.plan))
    fitted.calibration.save(file)
    return CalibrateResult(setup, fitted, warnings, file)


def _to_document(result: CalibrateResult) -> dict[str, Any]:
    return {
        "origins": len(result.setup.plan),
        "dates": result.setup.description,
        "warnings": list(result.warnings),
        "skipped": [{"name": name, "problem": problem} for name, problem in result.setup.data.skipped],
        "calibration": result.fitted.calibration.to_dict(),
        "effects": [asdict(row) for row in result.fitted.ablation],
        "file": str(result.file),
    }


# Output --------------------------------------------------------------------------

_LEGEND = (
    "CRPS of cumulative log returns in units of σ√h, lower is better; gain over the raw forecasts with its 95 % "
    "interval; share of outcomes within the 50, 80 and 95 % bands. Corrected forecasts are measured on dates that "
    "their correction was not fitted to."
)


def show(result: CalibrateResult, *, verbose: bool) -> None:
    """Print the ablation, the calibration and how to use it.

    Args:
        result: The calibration.
        verbose: Whether to show each group.
    """
    from kronos.evaluation import ALL
    from kronos.evaluation.scoring import MIN_ORIGINS, large_groups

    plan, fitted, file = result.setup.plan, result.fitted, result.file
    groups = fitted.calibration_set.counts()
    large = large_groups([name for name, count in groups.items() for _ in range(count)])
    width = page_width()
    lines: list[Text | Table] = [
        Text(f"{len(plan):,} origins of {len(plan.instruments)} series, {result.setup.description}.", style="bold"),
        *(Text(f"! {warning}", style="yellow") for warning in result.warnings),
        Text(_LEGEND, style="dim"),
        Text(),
    ]
    for name in [ALL, *groups] if verbose and len(groups) > 1 else [ALL]:
        title = "All forecasts" if name == ALL else name
        if name == ALL and len(groups) > 1:
            which = f"the {len(large)} groups of at least {MIN_ORIGINS} origins"
            title = f"Mean over {which if len(large) < len(groups) else 'all groups'}"
        rows = [row for row in fitted.ablation if row.group == name]
        lines += [Text(title, style="bold"), _ablation_table(rows, width), Text()]
    for group in [None, *groups] if verbose else [None]:
        lines += [Text(fitted.calibration.describe(group)), Text()]
    if "pooling" in fitted.calibration.parts:
        useless = [group for group in groups if fitted.calibration.adds_nothing(group)]
        if useless:
            lines += [Text(f"In {', '.join(useless)} the model adds nothing: its weight is 0.", style="bold"), Text()]
    lines += [
        Text(f"Saved to {file}. Use it:"),
        Text(f"  kronos forecast FILE --calibration {file}"),
        Text(f"  kronos evaluate PATH --calibration {file}"),
    ]
    page(*lines)


def _ablation_table(rows: Sequence[AblationRow], width: int) -> Table:
    """One line per step and set of parts; the step is shown at its first line."""
    steps = [str(row.step) for row in rows]
    changes = [place == 0 or steps[place - 1] != step for place, step in enumerate(steps)]
    return table(
        ConsoleColumn("steps", [step if new else "" for step, new in zip(steps, changes, strict=True)]),
        ConsoleColumn("forecasts", [row.setting for row in rows]),
        ConsoleColumn("n", [f"{row.n:,}" for row in rows], right=True, priority=3),
        ConsoleColumn("CRPS", [f"{row.crps:.3f}" for row in rows], right=True),
        ConsoleColumn("gain", [_gain(row.gain) for row in rows], right=True),
        ConsoleColumn("", [_interval(row.gain) for row in rows], right=True, priority=2),
        *(
            ConsoleColumn(
                f"{band} %", [f"{row.coverage[band].estimate:.1%}" for row in rows], right=True, priority=priority
            )
            for band, priority in (("50", 1), ("80", 0), ("95", 1))
        ),
        width=width,
    )


def _gain(gain: Estimate) -> str:
    return "" if gain.estimate == 0 else f"{gain.estimate:+.1%}"


def _interval(gain: Estimate) -> str:
    return "" if gain.estimate == 0 else f"{gain.low:+.1%} to {gain.high:+.1%}"

"""``kronos evaluate``: from candle files to verdicts on models, with all baselines as contenders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kronos.cli import options
from kronos.cli.completion import complete_baseline
from kronos.cli.engine_options import EngineArgs, EngineOption, Workers
from kronos.cli.errors import report_skipped
from kronos.cli.evaluation_setup import (
    EvaluationResult,
    EvaluationRunArgs,
    LoadedModel,
    engine_for,
    evaluation_progress,
    prepare,
)
from kronos.cli.files import check_no_folder, check_not_read, check_suffix
from kronos.cli.reading_options import ReadingArgs
from kronos.errors import ParameterError
from kronos.formatting import join_names, to_json

if TYPE_CHECKING:
    from kronos.evaluation import Correction, LoadedInstruments
    from kronos.reports import Language

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos evaluate btc_1h.csv\n\n"
    "kronos evaluate data/candles --model kronos-small --model kronos-base --horizon 24\n\n"
    "kronos evaluate data/candles --calibrate --from 2024-07-01 --report quality.html\n\n"
    "kronos evaluate data/candles --adaptive --max-origins 400\n\n"
    "kronos evaluate data/candles --splits splits.csv --split validation --max-origins 400   [dim](a quick look)[/dim]"
    "\n\n"
    "kronos evaluate data/kronos_datasets/model_a_4h --output out/model_a --json > verdict.json"
)
_DOCUMENT, _SCORES, _REPORT = "evaluation.json", "scores.parquet", "report.html"


@dataclass(frozen=True, kw_only=True)
class EvaluateArgs(EvaluationRunArgs):
    """Arguments of `kronos evaluate`.

    Attributes:
        baselines: Names of the baselines to show; empty for all.
        reference: The baseline that skill is measured against.
        calibrate: Whether to add each model with the calibration that ships with it; None for those that have one for
            this sampling.
        calibrations: Files of further calibrations.
        adaptive: Whether to add each model with adaptive bands.
        report: HTML file; None for one in the output folder.
        language: Language of the report.
    """

    baselines: tuple[str, ...] = ()
    reference: str = "historical-volatility"
    calibrate: bool | None = None
    calibrations: tuple[Path, ...] = ()
    adaptive: bool = False
    report: Path | None = None
    language: Language = "en"

    def check(self) -> None:
        """Check the options that can be checked without reading a file.

        Raises:
            ParameterError: If options contradict each other, or the report is a folder or not an HTML file.
        """
        super().check()
        if self.calibrate and self.calibrations:
            raise ParameterError("--calibrate uses the models' own calibrations, --calibration another: leave one out.")
        if self.report is not None:
            check_suffix("--report", self.report, (".html", ".htm"))
            check_no_folder("--report", self.report)


def evaluate(
    paths: options.Paths,
    model: options.Models = None,
    tokenizer: options.Tokenizer = None,
    device: options.Device = None,
    precision: options.Precision = None,
    engine: EngineOption = "local",
    workers: Workers = None,
    horizon: options.Horizon = 24,
    stride: options.Stride = None,
    lookback: options.Lookback = None,
    max_origins: options.MaxOrigins = None,
    samples: options.Samples = 50,
    seed: options.Seed = 1,
    preset: options.Preset = "default",
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            help="Baseline to include; repeatable.",
            show_default="all",
            autocompletion=complete_baseline,
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            help="Baseline that skill is measured against.",
            autocompletion=complete_baseline,
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = "historical-volatility",
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Also evaluate each model with the calibration that ships with it.",
            show_default="where there is one for this sampling",
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="Also evaluate the model with a calibration saved by 'kronos calibrate'; repeatable.",
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = None,
    adaptive: Annotated[
        bool,
        typer.Option(
            "--adaptive",
            help="Also evaluate each model with bands that follow the outcomes known at each origin.",
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = False,
    market: options.Market = None,
    interval: options.Interval = None,
    timezone: options.Timezone = None,
    column: options.Columns = None,
    decimal: options.Decimal = None,
    thousands: options.Thousands = None,
    date_format: options.DateFormat = None,
    header: options.Header = None,
    from_: options.From = None,
    to: options.To = None,
    split: options.Split = None,
    splits: options.Splits = None,
    strict: options.Strict = False,
    quality: options.Quality = "paper",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for results and forecasts; an interrupted run resumes there.",
            show_default="out/evaluation/NAME-DIGEST of candles, origins and models",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ] = None,
    restart: options.Restart = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="HTML report to write.",
            show_default="report.html in the output folder",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ] = None,
    language: options.Language = "en",
    dry_run: options.DryRun = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Evaluate models at many past origins (rolling-origin evaluation), with scores and verdicts.

    This is a backtest of forecasts; 'kronos backtest' trades them.

    All baselines are contenders in the same table. Skill is measured against one of them, with intervals.

    The same command resumes an interrupted run.

    Dates: [bold]--from[/bold] and [bold]--to[/bold], else the test dates of a split, else candles new to the models.
    """
    if verbose and quiet:
        raise ParameterError("-v and -q contradict each other: leave one out.")
    args = EvaluateArgs(
        paths=tuple(paths),
        market=market,
        interval=interval,
        timezone=timezone,
        reading=ReadingArgs(column or (), decimal, thousands, date_format, header),
        strict=strict,
        quality=quality,
        start=from_,
        end=to,
        split=split,
        splits=splits,
        horizon=horizon,
        stride=stride,
        lookback=lookback,
        max_origins=max_origins,
        models=tuple(model or ()),
        tokenizer=tokenizer,
        device=device,
        precision=precision,
        samples=samples,
        seed=seed,
        preset=preset,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        baselines=tuple(baseline or ()),
        reference=reference,
        calibrate=calibrate,
        calibrations=tuple(calibration or ()),
        adaptive=adaptive,
        engine=EngineArgs(engine, workers),
        output=output,
        restart=restart,
        report=report,
        language=language,
        quiet=quiet,
    )
    if dry_run:
        from kronos.cli.evaluation_plan import show_plan

        show_plan(args, json=json)
        return
    result = run(args)
    if json:
        from kronos.cli.console import print_json

        print_json(to_document(result))
    elif not quiet:
        from kronos.cli.evaluate_view import show

        show(result, verbose=verbose)
    report_skipped(result.setup.data.skipped, listed=not json and not quiet)


def run(args: EvaluateArgs) -> EvaluationResult:
    """Read, forecast, score, and write the results.

    Raises:
        KronosError: If an option is invalid, or a step fails.
        typer.Exit: With status 130 at Ctrl-C.
    """
    args.check()
    from kronos.evaluation import baseline_forecasters, cutoffs
    from kronos.evaluation import evaluate as evaluate_models

    settings = args.rolling_settings()
    baselines = baseline_forecasters(args.baselines or None)
    baseline_forecasters([args.reference])  # check the name before reading anything
    setup, models = prepare(args)
    args = args.with_run_folder(setup.plan, models)
    files = (args.report or args.folder / _REPORT, args.folder / _DOCUMENT, args.folder / _SCORES)
    args.check_outputs("--output", files, setup.data)
    check_not_read("--output", files, args.calibrations)
    corrections = load_corrections(args, models)
    engine = engine_for(args, models)
    args.prepare_output()
    title = f"Forecasting at {len(setup.plan):,} origins"
    with evaluation_progress(args, title, next_title="Scoring") as progress:
        evaluation = evaluate_models(
            setup.plan,
            [model.forecaster for model in models],
            args.run_folder,
            settings,
            baselines=baselines,
            reference=args.reference,
            corrections=corrections,
            adaptive=args.adaptive,
            trained_until={model.name: cutoffs(model.predictor, setup.plan) for model in models},
            engine=engine,
            progress=progress,
        )
        evaluation = replace(evaluation, warnings=[*_simulated_warning(setup.data), *evaluation.warnings])
        result = EvaluationResult(evaluation, setup, files)
        _write(result, args.language)
    return result


def load_corrections(args: EvaluateArgs, models: Sequence[LoadedModel]) -> list[Correction]:
    """The calibrated contenders.

    Raises:
        ParameterError: If no calibration ships with a model, or a file belongs to none of the models.
        DataError: If a file is missing or is not a calibration.
    """
    from kronos.calibration import Calibration
    from kronos.evaluation import Correction, identity_of

    corrections: dict[str, Correction] = {}
    for path in args.calibrations:
        calibration = Calibration.load(path)
        differences = {
            model.name: calibration.identity.difference_from(identity_of(model.forecaster)) for model in models
        }
        name = next((name for name, difference in differences.items() if not difference), None)
        if name is None:
            first = models[0].name
            raise ParameterError(
                f"{path} is not a calibration of {first}: their {differences[first]}. Fit one with 'kronos calibrate', "
                f"or evaluate the model that it belongs to."
            )
        if name in corrections:
            raise ParameterError(f"{path} is a second calibration of {name}: evaluate one at a time.")
        corrections[name] = Correction(f"{name} calibrated", name, calibration)
    for model in models:
        if model.name not in corrections and (own := model.predictor.calibration_for(args.calibrate, model.sampling)):
            corrections[model.name] = Correction(f"{model.name} calibrated", model.name, own)
    return list(corrections.values())


def _simulated_warning(data: LoadedInstruments) -> list[str]:
    names = data.simulated
    if not names:
        return []
    which = "All candles" if len(names) == len(data.instruments) else f"The candles of {join_names(names)}"
    return [f"{which} are SIMULATED: their results show nothing about real markets."]


def to_document(result: EvaluationResult) -> dict[str, Any]:
    """Return the JSON document: the evaluation, its data, and the files written."""
    loaded = result.setup.data
    data = {
        "dates": result.setup.description,
        "series": [
            {
                "name": instrument.name,
                "group": instrument.group,
                "source": instrument.candles.source,
                "simulated": instrument.candles.simulated,
                "candles": len(instrument.candles),
                "first": instrument.candles.start.isoformat(),
                "last": instrument.candles.end.isoformat(),
                "findings": [
                    finding.message for finding in instrument.candles.findings if finding.severity == "warning"
                ],
            }
            for instrument in loaded.instruments
        ],
        "unreadable": [{"path": str(file.path), "problem": file.problem} for file in loaded.unreadable],
        "passed_over": [str(path) for path in loaded.passed_over],
        "copies": [{"path": str(file.path), "problem": file.problem} for file in loaded.copies],
    }
    return {**result.evaluation.to_dict(), "data": data, "files": [str(path) for path in result.files]}


def _write(result: EvaluationResult, language: Language) -> None:
    """Write the report, the document and the scores.

    Raises:
        StorageError: If a file cannot be written.
    """
    from kronos.atomic import atomic_path, write_text
    from kronos.evaluation.report import EvaluationReport
    from kronos.reports import PageOptions

    report, document, scores = result.files
    EvaluationReport(result.evaluation, PageOptions(language=language)).save(report)
    write_text(document, to_json(to_document(result)) + "\n")
    with atomic_path(scores) as temporary:
        result.evaluation.scores.steps.to_parquet(temporary, index=False)

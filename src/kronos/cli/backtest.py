"""``kronos backtest``: from candles and a model to signals, an account, and how much of its return is luck."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kronos.cli import options
from kronos.cli.console import print_json, spinner, stderr
from kronos.cli.engine_options import LOCAL, EngineArgs, EngineOption, SignalWorkers
from kronos.cli.errors import INTERRUPTED, report_skipped
from kronos.cli.evaluation_setup import DIGEST, source_name
from kronos.cli.files import check_folder, check_no_folder, check_suffix
from kronos.cli.model_loading import ModelArgs, choose, load, threads
from kronos.errors import ParameterError
from kronos.formatting import plural, to_json
from kronos.progress import progress_bar

if TYPE_CHECKING:
    from kronos.backtest.config import BacktestConfig
    from kronos.backtest.experiment import Experiment
    from kronos.backtest.signal_store import Signals
    from kronos.backtest.signals import SignalPlan
    from kronos.backtest.tradable import TradableMarket
    from kronos.backtest.trials import TrialsLog
    from kronos.candles import ReadOptions
    from kronos.engines import Engine
    from kronos.inference import KronosPredictor
    from kronos.reports import Language

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos backtest data/candles/us_equity --interval 1d --signal last --signal risk_adjusted\n\n"
    "kronos backtest btc_1h.csv --strategy threshold --signal return --lookback 200 --horizon 24\n\n"
    "kronos backtest backtest_csi300 --model outputs/models/csi300_1d/model\n\n"
    "kronos backtest qlib:~/.qlib/qlib_data/cn_data:csi300 --top 50 --drop 5 --hold 5 --mode both\n\n"
    "kronos backtest mine.yaml --from 2024-07-01 --report page.html --json > backtest.json"
)
_STRATEGY_PANEL, _SIGNAL_PANEL = "Strategy and trading", "Signals"
_PARENT = Path("outputs") / "backtest_results"
_CONFIGURED = "the configuration's"

Source = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Configuration (a name or a YAML file); or candle files, folders, datasets, or qlib:FOLDER:csi300.",
        show_default=False,
    ),
]


def _strategy(help_text: str, *flags: str, default: str | bool = _CONFIGURED, metavar: str | None = None) -> Any:
    return typer.Option(*flags, help=help_text, rich_help_panel=_STRATEGY_PANEL, show_default=default, metavar=metavar)


def _signal(help_text: str, *flags: str, default: str | bool = _CONFIGURED) -> Any:
    return typer.Option(*flags, help=help_text, rich_help_panel=_SIGNAL_PANEL, show_default=default)


@dataclass(frozen=True, eq=False)
class BacktestOutcome:
    """What a backtest command has computed.

    Attributes:
        market: The candles.
        signals: The signals.
        experiment: The backtests; None if only signals were computed.
        files: Files written.
    """

    market: TradableMarket
    signals: Signals
    experiment: Experiment | None
    files: tuple[Path, ...]

    def document(self) -> dict[str, Any]:
        """Return the results as a JSON document."""
        from kronos.backtest.report import study_document

        files = [str(path) for path in self.files]
        if self.experiment is None:
            return {"kind": "kronos signals", **self.signals.provenance, "rows": len(self.signals), "files": files}
        studies = {study.signal.name: study_document(study) for study in self.experiment.studies}
        return {**self.experiment.to_dict(), "studies": studies, "files": files}


def backtest(
    source: Source,
    model: options.Model = None,
    tokenizer: options.Tokenizer = None,
    device: options.Device = None,
    precision: options.Precision = None,
    engine: EngineOption = "local",
    workers: SignalWorkers = None,
    signal: Annotated[
        list[str] | None,
        _signal("Signal to trade: last, mean, max, min, return, risk_adjusted or probability; repeatable.", "--signal"),
    ] = None,
    lookback: Annotated[int | None, _signal("Candles of history per forecast.")] = None,
    horizon: Annotated[int | None, _signal("Candles to forecast.", "--horizon", "-n")] = None,
    samples: Annotated[int | None, _signal("Number of sample paths.")] = None,
    temperature: Annotated[float | None, _signal("Sampling temperature.")] = None,
    top_p: Annotated[float | None, _signal("Total probability of the tokens to sample from.")] = None,
    seed: Annotated[int | None, _signal("Random seed.")] = None,
    seen: Annotated[
        Literal["refuse", "mark"] | None,
        _signal("Days that the model may have been trained on: refuse or mark them.", "--seen"),
    ] = None,
    strategy: Annotated[
        Literal["topk", "deciles", "threshold"] | None,
        _strategy("topk: hold the best; deciles: best long, worst short; threshold: long above a score, else cash."),
    ] = None,
    top: Annotated[int | None, _strategy("Instruments that topk holds.", "--top")] = None,
    drop: Annotated[int | None, _strategy("Most holdings that topk replaces in a day.", "--drop")] = None,
    hold: Annotated[int | None, _strategy("Least number of closes that topk holds an instrument.", "--hold")] = None,
    mode: Annotated[
        Literal["published", "corrected", "both"] | None,
        _strategy("published: as Qlib executes it, look-ahead included; corrected: without.", "--mode"),
    ] = None,
    fill: Annotated[
        Literal["open", "close"] | None, _strategy("Price of trades on the bar after a signal.", "--fill")
    ] = None,
    cash: Annotated[float | None, _strategy("Cash to start with.", "--cash")] = None,
    slippage: Annotated[float | None, _strategy("Slippage in basis points.", "--slippage")] = None,
    universe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Membership of an index by date: CSV with instrument, start, end, or a Qlib instruments file.",
            rich_help_panel=options.DATA_PANEL,
            show_default="unknown",
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Instrument or Qlib code that excess returns are against.",
            rich_help_panel=options.DATA_PANEL,
            show_default="all instruments in equal weights",
        ),
    ] = None,
    market: options.Market = None,
    interval: options.Interval = None,
    timezone: options.Timezone = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", help="First trading day.", rich_help_panel=options.DATA_PANEL),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="DATE", help="Last trading day, inclusive.", rich_help_panel=options.DATA_PANEL),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for signals, trials and results; an interrupted run resumes there.",
            show_default="outputs/backtest_results/NAME",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ] = None,
    resume: options.Resume = True,
    signals_only: Annotated[
        bool,
        typer.Option("--signals-only", help="Compute the signals and exit.", rich_help_panel=options.OUTPUT_PANEL),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="HTML report of the first signal; those of further ones have their names appended.",
            show_default="report.html in the output folder",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ] = None,
    tearsheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="quantstats' tear sheet of the first signal, HTML; those of further ones have their names appended.",
            show_default="none",
            rich_help_panel=options.OUTPUT_PANEL,
        ),
    ] = None,
    language: options.Language = "en",
    dry_run: options.DryRun = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Forecast many instruments over many dates, trade the signals, and say how much of the result is luck.

    Every day's signal uses candles up to its close and is traded on the next bar. The same strategy trades naive and
    random signals. Every run enters the trials log in the output folder, and results are deflated by their number.

    The same command resumes an interrupted one. Without [bold]--from[/bold], trading begins where candles are new to
    the model.
    """
    if verbose and quiet:
        raise ParameterError("-v and -q contradict each other: leave one out.")
    for option, file in (("--report", report), ("--tearsheet", tearsheet)):
        if file is not None:
            check_suffix(option, file, (".html", ".htm"))
            check_no_folder(option, file)
    if tearsheet is not None:
        from kronos.backtest.report.tearsheet import check_quantstats

        check_quantstats()  # before hours of forecasts
    overrides = {
        ("model", "name"): model,
        ("model", "tokenizer"): tokenizer,
        ("model", "device"): device,
        ("model", "precision"): precision,
        ("signals", "names"): signal,
        ("signals", "lookback"): lookback,
        ("signals", "horizon"): horizon,
        ("signals", "samples"): samples,
        ("signals", "temperature"): temperature,
        ("signals", "top_p"): top_p,
        ("signals", "seed"): seed,
        ("signals", "seen"): seen,
        ("strategy", "name"): strategy,
        ("strategy", "top"): top,
        ("strategy", "drop"): drop,
        ("strategy", "hold"): hold,
        ("trading", "mode"): mode,
        ("trading", "fill"): fill,
        ("trading", "cash"): cash,
        ("trading", "slippage"): slippage,
        ("data", "universe"): universe,
        ("data", "benchmark"): benchmark,
        ("data", "market"): market,
        ("data", "interval"): interval,
        ("data", "timezone"): timezone,
        ("", "output"): output,
    }
    config = _load(source, overrides, from_, to)
    if dry_run:
        _show_plan(config, _name(source), json=json)
        return
    outcome = run(
        config,
        _name(source),
        report=report,
        tearsheet=tearsheet,
        language=language,
        restart=not resume,
        signals_only=signals_only,
        engine=EngineArgs(engine, workers),
        quiet=quiet,
    )
    if json:
        print_json(outcome.document())
    elif not quiet:
        show(outcome, verbose=verbose)
    report_skipped(outcome.market.skipped)


def run(
    config: BacktestConfig,
    name: str,
    *,
    report: Path | None = None,
    tearsheet: Path | None = None,
    language: Language = "en",
    restart: bool = False,
    signals_only: bool = False,
    engine: EngineArgs = LOCAL,
    reading: ReadOptions | None = None,
    quiet: bool = False,
) -> BacktestOutcome:
    """Read, forecast, trade, and write the results.

    Args:
        config: The configuration.
        name: Name of the default output folder.
        report: HTML file; None for one in the output folder.
        tearsheet: HTML file for quantstats' tear sheet; None for none.
        language: Language of the report.
        restart: Whether to discard the forecasts of an earlier run.
        signals_only: Whether to stop after the signals.
        engine: Where the forecasts are computed.
        reading: How candle files are written; None infers it.
        quiet: Whether to show no progress.

    Raises:
        KronosError: If an option is invalid, or a step fails.
        typer.Exit: With status 130 at Ctrl-C.
    """
    from kronos.backtest.signal_run import discard_signals
    from kronos.backtest.tradable import load_market, plan_market
    from kronos.backtest.trials import TrialsLog
    from kronos.inference.metadata import model_title
    from kronos.locks import LOCK, exclusive_lock

    folder = config.output or _PARENT / name
    check_folder("--output", folder)
    with progress_bar("Reading", enabled=not quiet) as progress:
        market = load_market(config, reading=reading, progress=progress)
    predictor = _load_model(config, quiet=quiet)
    chosen = engine.open({model_title(predictor.model): predictor}, default=1)
    plan = plan_market(config, market, predictor)
    # The folder is named by the plan: with other candles or settings the signals are others, the trials log is one.
    weights = to_json([predictor.precision, *(repr(one) for one in _weights(predictor))])
    digest = hashlib.sha256((plan.digest() + weights).encode()).hexdigest()[:DIGEST]
    own, log = folder / "signals" / digest, TrialsLog(folder / "signals")
    # Before any work: two runs in one folder would mix their results, and a damaged log would end this one late.
    with exclusive_lock(folder / LOCK, busy=f"{folder} is being written", fix="choose another folder with --output"):
        log.read()
        if restart:
            discard_signals(own)
        try:
            signals = _compute(plan, predictor, own, engine=chosen, quiet=quiet)
            files: tuple[Path, ...] = (own / "signals.parquet", own / "signals.json")
            if signals_only:
                return BacktestOutcome(market, signals, None, files)
            outcome = _trade(config, market, signals, log, folder, report, files, language=language, quiet=quiet)
            return outcome if tearsheet is None else _add_tearsheets(outcome, tearsheet)
        except KeyboardInterrupt:
            typer.echo(f"Stopped. Finished forecasts are in {own}; the same command resumes the run.", err=True)
            raise typer.Exit(INTERRUPTED) from None


def _compute(plan: SignalPlan, predictor: KronosPredictor, folder: Path, *, engine: Engine, quiet: bool) -> Signals:
    """Compute the signals, or go on with those of an interrupted run."""
    from kronos.backtest.signal_run import compute_signals
    from kronos.settings import get_settings

    title = f"Forecasting {len(plan):,} signals"
    with threads(get_settings().threads), progress_bar(title, enabled=not quiet, show_remaining=True) as progress:
        return compute_signals(plan, predictor, folder, engine=engine, progress=progress)


def _trade(
    config: BacktestConfig,
    market: TradableMarket,
    signals: Signals,
    log: TrialsLog,
    folder: Path,
    report: Path | None,
    files: tuple[Path, ...],
    *,
    language: Language,
    quiet: bool,
) -> BacktestOutcome:
    """Trade the signals, and replace the results of an earlier run in the folder."""
    from kronos.backtest.experiment import REPORT, discard_results, report_path, run_experiment
    from kronos.backtest.report import BacktestReport
    from kronos.reports import PageOptions

    with progress_bar("Backtesting", enabled=not quiet) as progress:
        experiment = run_experiment(config, market, signals, log, progress=progress)
    discard_results(folder)
    first, pages = report or folder / REPORT, []
    for number, study in enumerate(experiment.studies):
        pages.append(report_path(first, study.signal.name if number else ""))
        BacktestReport(study, PageOptions(language=language)).save(pages[-1])
    return BacktestOutcome(market, signals, experiment, (*files, *experiment.save(folder), *pages))


def _add_tearsheets(outcome: BacktestOutcome, first: Path) -> BacktestOutcome:
    """Write a tear sheet of every study; the published mode alone has none."""
    from kronos.backtest.experiment import report_path
    from kronos.backtest.report.tearsheet import save_tearsheet

    studies = () if outcome.experiment is None else outcome.experiment.studies
    files = [
        save_tearsheet(study, report_path(first, study.signal.name if number else ""))
        for number, study in enumerate(studies)
    ]
    return replace(outcome, files=(*outcome.files, *files))


def _load(
    source: Sequence[str], overrides: dict[tuple[str, str], Any], start: str | None, end: str | None
) -> BacktestConfig:
    """Load the configuration: options over environment over file.

    Raises:
        ParameterError: If it is invalid, or candles are named beside a configuration.
    """
    from kronos.backtest.config import is_backtest_config, load_backtest_config

    values = {key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()}
    file = source[0] if is_backtest_config(source[0]) else None
    if file is not None and len(source) > 1:
        raise ParameterError(f"{file} is a configuration and names its candles: leave out {source[1]}.")
    if file is None:
        values["data", "paths"] = list(source)
    if start is not None or end is not None:
        given = load_backtest_config(file, overrides=values)
        period = given.periods.backtest or (given.qlib_periods().backtest if given.is_qlib else None)
        first, last = period or ("1900-01-01", "2200-01-01")
        if start is None and period is None:
            raise ParameterError("--to needs --from: without it, trading begins where candles are new to the model.")
        values["periods", "backtest"] = _span(start or first, end or last)
    return load_backtest_config(file, overrides=values)


def _span(first: str, last: str) -> list[str]:
    from kronos.cli.data.fetch import parse_time

    begins, ends = parse_time(first, "--from"), parse_time(last, "--to")
    if begins is not None and ends is not None and begins > ends:
        raise ParameterError(f"--from {first} is after --to {last}: choose an earlier --from or a later --to.")
    return [first, last]


def _name(source: Sequence[str]) -> str:
    """Name of the default output folder."""
    if source[0].lower().startswith("qlib:"):
        return source_name([source[0].replace(":", "-")])
    return source_name(source)


def _load_model(config: BacktestConfig, *, quiet: bool) -> KronosPredictor:
    own = config.model
    choice = choose(ModelArgs(own.name, own.tokenizer, own.device, own.precision, None))
    if not quiet and choice.announcement:
        stderr().print(choice.announcement, style="dim", markup=False)
    with spinner("Loading", enabled=not quiet):
        from kronos import inference  # noqa: F401 (takes seconds)
    return load(choice, show_progress=not quiet)


def _weights(predictor: KronosPredictor) -> list[Any]:
    from kronos.inference.metadata import weights_info

    infos = (weights_info(predictor.model), weights_info(predictor.tokenizer))
    return [info.get("sha256") or info.get("ref") for info in infos]


def _show_plan(config: BacktestConfig, name: str, *, json: bool) -> None:
    """Print the number of forecasts and where results go; nothing is forecast or written."""
    from kronos.backtest.tradable import load_market, plan_market

    market = load_market(config)
    plan = plan_market(config, market, _load_model(config, quiet=True))
    table = plan.table()
    document = {
        "kind": "kronos backtest plan",
        "dry_run": True,
        "instruments": len(market.instruments),
        "forecasts": len(plan),
        "first": str(table["date"].min()),
        "last": str(table["date"].max()),
        "seen_days": int(plan.seen.sum()),
        "output": str(config.output or _PARENT / name),
        "warnings": list(market.warnings),
    }
    if json:
        print_json(document)
        return
    typer.echo(
        f"{len(plan):,} forecasts of {len(market.instruments):,} instruments, {document['first']} to "
        f"{document['last']}, for {', '.join(config.signals.names)}; results in {document['output']}."
    )
    for warning in market.warnings:
        typer.echo(warning, err=True)
    typer.echo("Dry run: nothing was forecast or written.")


def show(outcome: BacktestOutcome, *, verbose: bool) -> None:
    """Print the studies, the runs in the published mode, and the files."""
    from rich.text import Text

    from kronos.backtest.report import study_lines
    from kronos.cli.console import page

    lines: list[Any] = []
    experiment = outcome.experiment
    if experiment is None:
        lines.append(Text(f"{len(outcome.signals):,} signals of {len(outcome.signals.instruments):,} instruments."))
    else:
        for study in experiment.studies:
            lines += [*study_lines(study, verbose=verbose), Text()]
        for one in experiment.runs if not experiment.studies else ():
            figures = ", ".join(f"{key} {value:.3f}" for key, value in one.figures.items() if value is not None)
            lines.append(Text(f"{one.signal}, {one.mode}: {figures}"))
        # A study shows the warnings itself.
        lines += [Text(f"! {warning}", style="#f2b134") for warning in experiment.warnings if not experiment.studies]
        lines.append(Text(f"{plural(experiment.trials, 'variant')} tried on these signals so far.", style="dim"))
    lines.append(Text.assemble(("→ ", "dim"), ", ".join(str(path) for path in outcome.files)))
    page(*lines)

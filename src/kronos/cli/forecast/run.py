"""Run ``kronos forecast``: read candles, load the model, forecast, write files, print."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from kronos.candles import Candles, ReadOptions, read_candles
from kronos.candles.io import load_candles, load_many
from kronos.candles.readers import read_table
from kronos.cli.console import spinner, stderr
from kronos.cli.errors import report_skipped
from kronos.cli.files import check_not_read, files_from_stdin
from kronos.cli.forecast.command import ForecastArgs
from kronos.cli.forecast.output import ForecastRun, SeriesResult, figure_paths, table_paths, write_files
from kronos.cli.forecast.view import show
from kronos.cli.model_loading import ModelChoice, choose, load, model_files, sampling_params, threads
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecasts
from kronos.formatting import file_stem, unique_names
from kronos.progress import progress_bar

if TYPE_CHECKING:
    from kronos.calibration import Calibration

_SAMPLE = "simulated_btc_1h.csv"
_SUFFIXES = (".csv", ".txt", ".tsv", ".gz", ".zip", ".parquet", ".pq", ".feather", ".arrow", ".ftr")


@dataclass(frozen=True)
class SeriesTask:
    """A series to forecast.

    Attributes:
        name: Unique in the run; it is part of the random seed of the series.
        history: The candles to forecast from.
        actual: The candles after the history, in a replay; else None.
    """

    name: str
    history: Candles
    actual: Candles | None = None


def run(args: ForecastArgs) -> None:
    """Run the command.

    Raises:
        KronosError: If candles, model, calibration or options are invalid, or a file cannot be written.
    """
    skipped: list[tuple[str, str]] = []
    tasks = read_series(args, skipped)
    choice = choose(args.model)
    _check_outputs([task.name for task in tasks], choice, args)
    with threads(choice.settings.threads):
        result = _forecast(tasks, choice, args)
    result = replace(result, skipped=(*skipped, *result.skipped))
    files = write_files(result, args)
    if choice.announcement and not args.quiet:
        stderr().print(choice.announcement, style="dim", markup=False)
    if not args.prints_table:
        show(result, args, files)
    report_skipped(result.skipped)


def _check_outputs(names: list[str], choice: ModelChoice, args: ForecastArgs) -> None:
    """Check that no output replaces candles, the calibration or the model.

    Raises:
        ParameterError: If one does.
    """
    read = [*args.files, *filter(None, [args.calibration])]
    read += [*model_files(choice.ref), *model_files(choice.tokenizer)]
    if args.output is not None:
        check_not_read("--output", table_paths(names, args.output), read)
    check_not_read("--plot", figure_paths(names, args), read)


def read_series(args: ForecastArgs, skipped: list[tuple[str, str]]) -> list[SeriesTask]:
    """Read the candles of every series; of several, those that cannot be used are skipped unless --strict is given.

    Args:
        args: The arguments.
        skipped: Gets name and problem of what is skipped.

    Raises:
        DataError: If a file has no usable candles.
        ParameterError: If an option does not fit a file, or a replay has no candles to compare with.
    """
    if args.demo:
        series = [_demo_candles(args)]
    else:
        symbols = args.symbols or (None,) * len(args.files)
        with files_from_stdin(args.files) as files:
            series = []
            for file, symbol in zip(files, symbols, strict=True):
                with _skipping(file.name, len(files) > 1 and not args.strict, skipped):
                    series += _read_file(file, symbol, args)
    _check_any(series, skipped)
    names = unique_names(str(candles.symbol) for candles in series)
    named = [replace(candles, symbol=name) for name, candles in zip(names, series, strict=True)]
    if args.as_of is None:
        return [SeriesTask(name, candles) for name, candles in zip(names, named, strict=True)]
    tasks = []
    for candles in named:
        with _skipping(str(candles.symbol), len(named) > 1 and not args.strict, skipped):
            tasks.append(_replay_task(candles, args.as_of))
    _check_any(tasks, skipped)
    return tasks


@contextmanager
def _skipping(name: str, skip: bool, skipped: list[tuple[str, str]]) -> Iterator[None]:
    """Record the error of a series instead of raising it, if ``skip`` is set."""
    try:
        yield
    except (DataError, ParameterError) as error:
        if not skip:
            raise
        skipped.append((name, str(error)))


def _check_any(found: Sequence[object], skipped: Sequence[tuple[str, str]]) -> None:
    if not found:
        raise DataError(f"None of {len(skipped)} series can be used. The first one: {skipped[0][1]}")


def read_sample() -> Candles:
    """Read the bundled sample of simulated candles."""
    with resources.as_file(resources.files("kronos.samples") / _SAMPLE) as path:
        return read_candles(path, symbol="BTC simulated", timezone="UTC")


def _demo_candles(args: ForecastArgs) -> Candles:
    if args.timezone is not None or args.interval is not None:
        raise ParameterError("--demo has hourly candles in UTC; leave out --interval and --timezone.")
    symbol = args.symbols[0] if args.symbols else "BTC simulated"
    return replace(read_sample(), symbol=symbol, calendar=args.calendar)


def _read_file(file: Path, symbol: str | None, args: ForecastArgs) -> list[Candles]:
    """Read a file of one instrument, or of several."""
    options = replace(
        args.reading.options(), symbol=symbol, interval=args.interval, timezone=args.timezone, calendar=args.calendar
    )
    try:
        series = [load_candles(file, options)]
    except DataError:
        if not _has_several_symbols(file, options):
            raise
        if symbol is not None:
            raise ParameterError(f"{file.name} has several instruments; leave out --symbol.") from None
        series = list(load_many(file, options).values())
    return [replace(candles, symbol=candles.symbol or file_stem(file, _SUFFIXES)) for candles in series]


def _has_several_symbols(file: Path, options: ReadOptions) -> bool:
    table = read_table(file, options)
    label = table.layout.symbol
    return label is not None and table.frame[label].dropna().nunique() > 1


def _replay_task(candles: Candles, as_of: str) -> SeriesTask:
    """Split a series at a time into history and actual candles."""
    history = candles.until(as_of)
    actual = candles.tail(len(candles) - len(history))
    span = f"{candles.symbol} has candles from {candles.start} to {candles.end}"
    if not len(history):
        raise ParameterError(f"--as-of {as_of} is before the first candle: {span}.")
    if not len(actual):
        raise ParameterError(f"--as-of {as_of} leaves no candles to compare with: {span}; choose an earlier time.")
    return SeriesTask(str(candles.symbol), history, actual)


def _forecast(tasks: list[SeriesTask], choice: ModelChoice, args: ForecastArgs) -> ForecastRun:
    """Load the model and forecast all series together."""
    show_progress = not args.quiet
    with spinner(f"Loading {choice.title}", enabled=show_progress):
        from kronos.calibration import Calibration, calibrate_forecast

        # Options are validated before the weights, which may have to be downloaded.
        sampling = sampling_params(args.sampling)
        setting = args.calibrate if args.calibration is None else Calibration.load(args.calibration)
    predictor = load(choice, show_progress=show_progress)
    calibration = predictor.calibration_for(setting, sampling)
    if args.market is not None and calibration is None:
        raise ParameterError(
            f"--market selects the factors of a calibration, and {choice.title} has none for these forecasts: leave it "
            "out, or add --calibration FILE."
        )

    def sample(choice: Calibration | bool | None, adapt: int | None = None, seed: int | None = None) -> Forecasts:
        with progress_bar(f"Forecasting{several}", enabled=show_progress) as progress:
            return predictor.forecast_many(
                {task.name: task.history for task in tasks},
                args.sampling.horizon,
                sampling=sampling,
                seed=seed,
                lookback=args.sampling.lookback,
                calibration=choice,
                market=args.market,
                adapt=adapt,
                strict=args.strict or len(tasks) == 1,
                progress=progress,
            )

    started = time.perf_counter()
    several = f" {len(tasks)} series" if len(tasks) > 1 else ""
    if args.adapt is None:
        raw = sample(setting if calibration is None else False)  # calibrated here: a replay shows both
        forecasts = (
            raw
            if calibration is None
            else {name: calibrate_forecast(own, calibration, market=args.market) for name, own in raw.items()}
        )
        skipped = raw.skipped
    else:
        adapted = sample(setting, args.adapt)
        seed = next(iter(adapted.values())).metadata.details["seed"]
        forecasts, skipped = adapted, adapted.skipped
        raw = sample(False, seed=seed) if args.as_of is not None else Forecasts()
    results = [
        SeriesResult(task.name, own, task.actual, raw.get(task.name) if own.metadata.calibrated else None)
        for task in tasks
        if (own := forecasts.get(task.name)) is not None
    ]
    return ForecastRun(tuple(results), time.perf_counter() - started, tuple(skipped.items()))

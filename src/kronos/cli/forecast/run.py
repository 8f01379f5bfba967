"""Run ``kronos forecast``: read candles, load the model, forecast, write files, print."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from kronos.candles import Candles, read_candles, read_many
from kronos.candles.readers import read_table
from kronos.cli.console import spinner, stderr
from kronos.cli.forecast.command import ForecastArgs
from kronos.cli.forecast.output import ForecastRun, SeriesResult, write_files
from kronos.cli.forecast.view import show
from kronos.cli.model_loading import ModelChoice, choose, load, sampling_params, threads
from kronos.errors import DataError, ParameterError
from kronos.formatting import file_stem, unique_names
from kronos.progress import progress_bar

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
    tasks = read_series(args)
    choice = choose(args.model)
    with threads(choice.settings.threads):
        result = _forecast(tasks, choice, args)
    files = write_files(result, args)
    if choice.announcement and not args.quiet:
        stderr().print(choice.announcement, style="dim", markup=False)
    show(result, args, files)


def read_series(args: ForecastArgs) -> list[SeriesTask]:
    """Read the candles of every series.

    Raises:
        DataError: If a file has no usable candles.
        ParameterError: If an option does not fit a file, or a replay has no candles to compare with.
    """
    if args.demo:
        series = [_demo_candles(args)]
    else:
        symbols = args.symbols or (None,) * len(args.files)
        series = [
            candles
            for file, symbol in zip(args.files, symbols, strict=True)
            for candles in _read_file(file, symbol, args)
        ]
    names = unique_names(str(candles.symbol) for candles in series)
    named = [replace(candles, symbol=name) for name, candles in zip(names, series, strict=True)]
    if args.as_of is None:
        return [SeriesTask(name, candles) for name, candles in zip(names, named, strict=True)]
    return [_replay_task(candles, args.as_of) for candles in named]


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
    interval, timezone, calendar = args.interval, args.timezone, args.calendar
    try:
        series = [read_candles(file, symbol=symbol, interval=interval, timezone=timezone, calendar=calendar)]
    except DataError:
        if not _has_several_symbols(file):
            raise
        if symbol is not None:
            raise ParameterError(f"{file.name} has several instruments; leave out --symbol.") from None
        series = list(read_many(file, interval=interval, timezone=timezone, calendar=calendar).values())
    return [replace(candles, symbol=candles.symbol or file_stem(file, _SUFFIXES)) for candles in series]


def _has_several_symbols(file: Path) -> bool:
    table = read_table(file, None)
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
    started = time.perf_counter()
    several = f" {len(tasks)} series" if len(tasks) > 1 else ""
    with progress_bar(f"Forecasting{several}", enabled=show_progress) as progress:
        raw = predictor.forecast_many(
            {task.name: task.history for task in tasks},
            args.sampling.horizon,
            sampling=sampling,
            lookback=args.sampling.lookback,
            progress=progress,
        )
    results = []
    for task in tasks:
        forecast = raw[task.name]
        if calibration is not None:
            forecast = calibrate_forecast(forecast, calibration, market=args.market)
        before = raw[task.name] if forecast.metadata.calibrated else None
        results.append(SeriesResult(task.name, forecast, task.actual, before))
    return ForecastRun(tuple(results), time.perf_counter() - started)

"""What `kronos forecast` does: read, load, forecast, write, show. The steps are the other rooms' own calls."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from kronos.candles import Candles, read_candles, read_many
from kronos.candles.readers import read_table
from kronos.cli.console import progress_bar, spinner, stderr
from kronos.cli.forecast.arguments import CalibrationArgs, CandleArgs, ForecastArgs
from kronos.cli.forecast.output import ForecastRun, SeriesResult
from kronos.cli.model_loading import ModelChoice, choose, load, sampling_params, threads
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast

if TYPE_CHECKING:
    from kronos.calibration import Calibration

SAMPLE = "simulated_btc_1h.csv"


@dataclass(frozen=True)
class SeriesTask:
    """One series to forecast.

    Attributes:
        name: Unique in this run; it keys the draws.
        history: What is known.
        actual: What came after, in a replay; else None.
    """

    name: str
    history: Candles
    actual: Candles | None = None


def read(reading: CandleArgs) -> list[SeriesTask]:
    """Read everything that was asked for.

    Raises:
        DataError: If candles can't be used.
        ParameterError: If an option is wrong, or a replay would have nothing to reveal.
    """
    if reading.demo:
        series = [_sample(reading)]
    else:
        symbols = reading.symbols or (None,) * len(reading.files)
        pairs = zip(reading.files, symbols, strict=True)
        series = [candles for file, symbol in pairs for candles in _read_file(file, symbol, reading)]
    names = _unique([str(candles.symbol) for candles in series])
    named = [replace(candles, symbol=name) for name, candles in zip(names, series, strict=True)]
    if reading.as_of is None:
        return [SeriesTask(name, candles) for name, candles in zip(names, named, strict=True)]
    return [_cut(candles, reading.as_of) for candles in named]


def sample() -> Candles:
    """The sample that ships: simulated candles, labelled so as its name is."""
    with resources.as_file(resources.files("kronos.samples") / SAMPLE) as path:
        return read_candles(path, symbol="BTC simulated", timezone="UTC")


def _sample(reading: CandleArgs) -> Candles:
    """The sample, with the name and the calendar asked for."""
    if reading.timezone is not None or reading.interval is not None:
        raise ParameterError("The sample has hourly candles in UTC; leave out --interval and --timezone with --demo.")
    symbol = reading.symbols[0] if reading.symbols else "BTC simulated"
    return replace(sample(), symbol=symbol, calendar=reading.calendar)


def _read_file(file: Path, symbol: str | None, reading: CandleArgs) -> list[Candles]:
    """A file's candles: one instrument's, or those of each instrument in it."""
    interval, timezone, calendar = reading.interval, reading.timezone, reading.calendar
    try:
        found = [read_candles(file, symbol=symbol, interval=interval, timezone=timezone, calendar=calendar)]
    except DataError:
        if not _holds_several(file):
            raise
        if symbol is not None:
            raise ParameterError(f"{file.name} names several instruments itself; leave out --symbol.") from None
        found = list(read_many(file, interval=interval, timezone=timezone, calendar=calendar).values())
    return [replace(c, symbol=c.symbol or _stem(file)) for c in found]


def _holds_several(file: Path) -> bool:
    """Whether a file that can't be read as one instrument's holds several."""
    table = read_table(file, None)
    label = table.layout.symbol
    return label is not None and table.frame[label].dropna().nunique() > 1


def _stem(file: Path) -> str:
    """A file's name without its endings, ``btc_1h`` for ``btc_1h.csv.gz``."""
    name = file.name
    while (suffix := Path(name).suffix.lower()) and suffix in _ENDINGS:
        name = Path(name).stem
    return name


_ENDINGS = (".csv", ".txt", ".tsv", ".gz", ".zip", ".parquet", ".pq", ".feather", ".arrow", ".ftr")


def _unique(names: list[str]) -> list[str]:
    """The names, later ones numbered where they are taken."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name}-{number}"
        taken.add(candidate)
        result.append(candidate)
    return result


def _cut(candles: Candles, as_of: str) -> SeriesTask:
    """Hide what came after a time."""
    history = candles.until(as_of)
    actual = candles.tail(len(candles) - len(history))
    span = f"{candles.symbol} has candles from {candles.start} to {candles.end}"
    if not len(history):
        raise ParameterError(f"--as-of {as_of} leaves no history: {span}.")
    if not len(actual):
        raise ParameterError(f"--as-of {as_of} hides nothing: {span}; take an earlier time.")
    return SeriesTask(str(candles.symbol), history, actual)


def run(request: ForecastArgs) -> None:
    """Forecast what was asked for, write it, show it.

    Raises:
        KronosError: One sentence on whatever is wrong, which stands alone: everything else is said afterwards.
    """
    showing = request.showing
    tasks = read(request.reading)
    chosen = choose(request.machine)
    with threads(chosen.settings.threads):
        finished = _forecast(request, tasks, chosen)
    from kronos.cli.forecast.output import write
    from kronos.cli.forecast.view import show

    written = write(finished, showing)
    if showing.chatty and chosen.announcement:
        stderr().print(chosen.announcement, style="dim", markup=False)
    show(finished, showing, written)


def _forecast(request: ForecastArgs, tasks: list[SeriesTask], chosen: ModelChoice) -> ForecastRun:
    """Load the model and forecast all series together."""
    asked, wanted = request.sampling, request.showing.chatty
    with spinner(f"Loading {chosen.title}", wanted=wanted):
        sampling = sampling_params(asked)  # before the weights: a wrong option needs no download
        choice = _calibration(request.correcting)
    predictor = load(chosen, wanted=wanted)
    calibration = predictor.calibration_for(choice, sampling)
    started = time.perf_counter()
    many = f" {len(tasks)} series" if len(tasks) > 1 else ""
    with progress_bar(f"Forecasting{many}", wanted=wanted) as progress:
        raw = predictor.forecast_many(
            {task.name: task.history for task in tasks},
            asked.horizon,
            sampling=sampling,
            lookback=asked.lookback,
            progress=progress,
        )
    results = [_result(task, raw[task.name], calibration, request.correcting.market) for task in tasks]
    return ForecastRun(tuple(results), time.perf_counter() - started)


def _calibration(asked: CalibrationArgs) -> Calibration | bool:
    """The calibration in the file asked for, or whether the model's own is."""
    if asked.file is None:
        return asked.own
    from kronos.calibration import Calibration

    return Calibration.load(asked.file)


def _result(task: SeriesTask, raw: Forecast, calibration: Calibration | None, market: str | None) -> SeriesResult:
    """One series' forecast, corrected if that was asked for."""
    if calibration is None:
        return SeriesResult(task.name, raw, task.actual)
    from kronos.calibration import calibrate_forecast

    forecast = calibrate_forecast(raw, calibration, market=market)
    return SeriesResult(task.name, forecast, task.actual, raw if forecast.metadata.calibrated else None)

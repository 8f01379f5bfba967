"""What `kronos forecast` does: read, load, forecast, write, show. The steps are the other rooms' own calls."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kronos.cli.console import progress_bar, spinner, stderr
from kronos.cli.loading import Chosen, choose, load, threads
from kronos.cli.reading import Task, read
from kronos.cli.requests import Correcting, Request, Sampling
from kronos.forecasts import Forecast

if TYPE_CHECKING:
    from kronos.calibration import Calibration
    from kronos.candles import Candles
    from kronos.inference import SamplingParams


@dataclass(frozen=True)
class Result:
    """One series' forecast.

    Attributes:
        name: Of the series, unique in this run.
        forecast: What may come.
        actual: What came, in a replay; else None.
        raw: The forecast as it was before a calibration; None if it is raw itself.
    """

    name: str
    forecast: Forecast
    actual: Candles | None
    raw: Forecast | None = None


@dataclass(frozen=True)
class Run:
    """All results, and what a reader wants to know about the run.

    Attributes:
        results: One a series.
        seconds: That forecasting took, without loading and drawing.
    """

    results: tuple[Result, ...]
    seconds: float


def run(request: Request) -> None:
    """Forecast what was asked for, write it, show it.

    Raises:
        KronosError: One sentence on whatever is wrong, which stands alone: everything else is said afterwards.
    """
    showing = request.showing
    tasks = read(request.reading)
    chosen = choose(request.machine)
    with threads(chosen.settings.threads):
        finished = _forecast(request, tasks, chosen)
    from kronos.cli.showing import show
    from kronos.cli.writing import write

    written = write(finished, showing)
    if showing.chatty and chosen.announcement:
        stderr().print(chosen.announcement, style="dim", markup=False)
    show(finished, showing, written)


def sampling_params(asked: Sampling) -> SamplingParams:
    """The preset with what was asked for instead.

    Raises:
        ParameterError: If there is no such preset, or a value is out of its range.
    """
    from kronos.inference import SamplingParams

    preset = SamplingParams.of(asked.preset, asked.samples, asked.seed)
    return replace(
        preset,
        temperature=preset.temperature if asked.temperature is None else asked.temperature,
        top_p=preset.top_p if asked.top_p is None else asked.top_p,
        top_k=preset.top_k if asked.top_k is None else asked.top_k,
    )


def _forecast(request: Request, tasks: list[Task], chosen: Chosen) -> Run:
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
    return Run(tuple(results), time.perf_counter() - started)


def _calibration(asked: Correcting) -> Calibration | bool:
    """The calibration in the file asked for, or whether the model's own is."""
    if asked.file is None:
        return asked.own
    from kronos.calibration import Calibration

    return Calibration.load(asked.file)


def _result(task: Task, raw: Forecast, calibration: Calibration | None, market: str | None) -> Result:
    """One series' forecast, corrected if that was asked for."""
    if calibration is None:
        return Result(task.name, raw, task.actual)
    from kronos.calibration import calibrated

    forecast = calibrated(raw, calibration, market=market)
    return Result(task.name, forecast, task.actual, raw if forecast.made.calibrated else None)

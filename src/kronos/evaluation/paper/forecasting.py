"""Where the forecasts of a task stand: origins of each interval, and what came after them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.baselines import BASELINES
from kronos.candles import PRICES
from kronos.errors import DataError, KronosError
from kronos.evaluation.forecasters import BaselineForecaster, Forecaster
from kronos.evaluation.paper.settings import PRICES_ONLY, PaperSettings, Windows
from kronos.evaluation.plan import LEAST_HISTORY, Dates, Instrument, Plan, WalkForward, make_plan
from kronos.forecasts import Forecast
from kronos.metrics import realised_volatility
from kronos.progress import ProgressCallback
from kronos.typing import FloatArray

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class OriginSet:
    """The origins of one interval.

    Attributes:
        interval: Such as ``1h``.
        windows: History that the model sees, and candles to forecast.
        plan: The origins; its histories are whole, because baselines need more than the model sees.
    """

    interval: str
    windows: Windows
    plan: Plan

    def groups(self) -> list[tuple[str, Rows]]:
        """Each market at this interval, and its origins."""
        labels = self.plan.table()["group"]
        return [(str(group), np.flatnonzero(labels == group)) for group in sorted(labels.unique())]

    def some(self, rows: Rows) -> OriginSet:
        """Some of the origins."""
        plan = self.plan
        return replace(self, plan=replace(plan, series=plan.series[rows], known=plan.known[rows]))


def make_walks(
    instruments: Sequence[Instrument], settings: PaperSettings, dates: Dates
) -> tuple[list[OriginSet], list[str]]:
    """Choose the origins, interval by interval.

    Args:
        instruments: What to forecast.
        settings: Of the task.
        dates: Between which times all forecast candles lie.

    Returns:
        The origins, and a sentence on each interval that has none.

    Raises:
        DataError: If none has any.
        ParameterError: If the paper has no such intervals.
    """
    found: list[OriginSet] = []
    problems: list[KronosError] = []
    for interval in dict.fromkeys(str(one.candles.interval) for one in instruments):
        own = [_as_published(one) for one in instruments if str(one.candles.interval) == interval]
        try:
            found.append(_walk(interval, own, settings, dates))
        except KronosError as error:
            problems.append(error)
    if not found:
        raise problems[0]
    return found, [str(problem) for problem in problems]


def _walk(interval: str, instruments: Sequence[Instrument], settings: PaperSettings, dates: Dates) -> OriginSet:
    windows = settings.windows(interval)
    walk = WalkForward(
        horizon=windows.horizon,
        stride=settings.stride,
        least_history=max(LEAST_HISTORY, windows.lookback),
        most=settings.origins,
    )
    try:
        return OriginSet(interval, windows, make_plan(instruments, walk, dates))
    except DataError as error:
        least = walk.least_history
        start = "" if dates.start is None else f" from {dates.start:%Y-%m-%d} on"
        last = max(one.candles.end.tz_localize(None) for one in instruments)
        raise DataError(
            f"No {interval} series has {windows.horizon} candles to forecast{start} after {least} of history (the last "
            f"candle is of {last:%Y-%m-%d}); give later candles, or other dates with --from and --to."
        ) from error


def _as_published(one: Instrument) -> Instrument:
    """The instrument as the paper shows it to its models: of some markets the prices alone."""
    if one.market.lower() not in PRICES_ONLY:
        return one
    frame = one.candles.frame.assign(volume=0.0, amount=0.0)
    return replace(one, candles=replace(one.candles, frame=frame, has_volume=False, has_amount=False))


def actual(plan: Plan) -> FloatArray:
    """The candles that came, ``[N, H, 6]``."""
    values = [one.candles.frame.to_numpy(dtype=np.float64) for one in plan.instruments]
    steps = np.arange(plan.walk.horizon)
    return np.stack([values[i][k + steps] for i, k in zip(plan.series, plan.known, strict=True)])


def actual_prices(plan: Plan) -> FloatArray:
    """Their open, high, low and close, ``[N, H, 4]``."""
    return actual(plan)[..., : len(PRICES)]


def closes_before(plan: Plan, back: int = 0) -> FloatArray:
    """The close ``back`` candles before the last known one (or the first there is), ``[N]``."""
    closes = [one.candles.frame["close"].to_numpy(dtype=np.float64) for one in plan.instruments]
    pairs = zip(plan.series.tolist(), plan.known.tolist(), strict=True)
    return np.array([closes[i][max(0, k - 1 - back)] for i, k in pairs])


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """When forecasts were made and when they had all come.

    Attributes:
        origins: Of the last known candle, naive. [N]
        ends: Of the last forecast candle, naive. [N]
    """

    origins: pd.DatetimeIndex
    ends: pd.DatetimeIndex

    @classmethod
    def of(cls, plan: Plan) -> Times:
        """Read them off the candles."""
        ends = [plan.times(origin)[-1] for origin in range(len(plan))]
        naive = [time if time.tz is None else time.tz_convert("UTC").tz_localize(None) for time in ends]
        return cls(pd.DatetimeIndex(plan.table()["date"]), pd.DatetimeIndex(naive))

    def some(self, rows: Rows) -> Times:
        """Of some origins."""
        return Times(self.origins[rows], self.ends[rows])

    @property
    def overlap(self) -> int:
        """How many successive dates share part of their outcome, on average: series need not be in step."""
        dates = self.origins.unique().sort_values()
        last = pd.Series(self.ends).groupby(self.origins).max().sort_index().to_numpy()
        reached = dates.searchsorted(last) - np.arange(len(dates))
        return max(1, int(np.ceil(reached.mean())))


Summary = Callable[[Forecast], FloatArray]

BATCH = 512  # origins asked about together
_NOTHING = 1.001e-4  # of a path's highest price; what is sampled below a ten-thousandth of it is mended to that


@dataclass
class Aggregator:
    """How much of the work is done; tells whoever wants to know."""

    total: int
    progress: ProgressCallback | None = None
    done: int = field(default=0, init=False)

    def add(self, amount: int) -> None:
        """Some more is done."""
        self.done += amount
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)

    def finish(self) -> None:
        """All is done, also what turned out to be less."""
        self.add(self.total - self.done)


@dataclass(frozen=True, slots=True)
class Question:
    """How a forecaster is asked.

    Attributes:
        summary: What is kept of a forecast; of the same shape for all.
        samples: Paths of each.
        seed: Of the draws.
        lookback: Candles of history to show, at most; None for all.
    """

    summary: Summary
    samples: int
    seed: int
    lookback: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a forecaster said.

    Attributes:
        values: A summary for each origin; NaN where it made no forecast. [N, …]
        history: The fewest candles that one of its forecasts used, if it says so.
    """

    values: FloatArray
    history: int | None


def forecast_origins(walk: OriginSet, who: Forecaster, question: Question, tally: Aggregator) -> Answers:
    """Ask about every origin; each forecast sees its own past only."""
    plan = walk.plan
    values: FloatArray | None = None
    used: list[int] = []
    for first in range(0, len(plan), BATCH):
        rows = range(first, min(first + BATCH, len(plan)))
        histories = {plan.name(origin): plan.history(origin) for origin in rows}
        if question.lookback is not None:
            histories = {name: history.tail(question.lookback) for name, history in histories.items()}
        times = {plan.name(origin): plan.times(origin) for origin in rows}
        made = who.forecast(histories, times, samples=question.samples, seed=question.seed)
        for origin, name in zip(rows, histories, strict=True):
            if name in made:
                summary = question.summary(made[name])
                values = np.full((len(plan), *summary.shape), np.nan) if values is None else values
                values[origin] = summary
                used += (
                    [int(made[name].metadata.details["lookback"])] if "lookback" in made[name].metadata.details else []
                )
        tally.add(len(rows))
    return Answers(np.full(len(plan), np.nan) if values is None else values, min(used, default=None))


def mean_prices(forecast: Forecast) -> FloatArray:
    """Mean open, high, low and close over the paths, as the published `predict` gives them, ``[H, 4]``."""
    mean: FloatArray = forecast.paths[..., : len(PRICES)].mean(axis=0)
    return mean


def realised_variance(forecast: Forecast) -> FloatArray:
    """Mean over the paths of the sum of squared log returns between the forecast closes.

    Infinite where a path fell to nothing: its price was sampled at 0 or below, and its logarithm is none.
    """
    closes, highest = forecast.paths[..., PRICES.index("close")], forecast.paths[..., : len(PRICES)].max(axis=(1, 2))
    if (closes.min(axis=1) <= _NOTHING * highest).any():
        return np.asarray(np.inf)
    return np.asarray(variance_of(closes).mean())


def variance_of(closes: FloatArray) -> FloatArray:
    """Sum of squared log returns between successive closes along the last axis: H - 1 of them, as published."""
    return realised_volatility(np.diff(np.log(closes), axis=-1))


def whole_paths(forecast: Forecast) -> FloatArray:
    """Every path with all its channels, ``[S, H, 6]``."""
    return forecast.paths


LAST_VALUE, RANDOM_WALK = "last-value", "historical-volatility"
DRIFT, MOMENTUM, REVERSAL = "drift", "momentum", "reversal"
DIRECTED = (DRIFT, MOMENTUM, REVERSAL)
VOLATILITIES = (RANDOM_WALK, "garch-t", "har-volatility")
GENERATORS = (RANDOM_WALK, "block-bootstrap")

_LONG = 512  # candles of history, as other baselines see at most

RULES: Mapping[str, str] = MappingProxyType(
    {
        LAST_VALUE: "every price stays the last close; it orders nothing, so it has no coefficients",
        DRIFT: f"the mean log return of the last {_LONG} candles (or of as many as there are) goes on",
        MOMENTUM: "the mean log return of the last H candles goes on, H being the horizon",
        REVERSAL: "the same return with its sign turned",
    }
)


def rules(walk: OriginSet) -> dict[str, FloatArray]:
    """What the naive rules say of every origin: open, high, low and close alike, ``[N, H, 4]`` by name."""
    last, horizon = closes_before(walk.plan), walk.windows.horizon
    recent = _slope(walk, horizon)
    slopes = {LAST_VALUE: 0 * recent, DRIFT: _slope(walk, _LONG), MOMENTUM: recent, REVERSAL: -recent}
    steps = np.arange(1, horizon + 1)
    return {name: _prices(last[:, None] * np.exp(slope[:, None] * steps)) for name, slope in slopes.items()}


def _slope(walk: OriginSet, back: int) -> FloatArray:
    """Mean log return of the last candles of each origin, ``[N]``."""
    plan = walk.plan
    slope: FloatArray = np.log(closes_before(plan) / closes_before(plan, back)) / np.minimum(back, plan.known - 1)
    return slope


def _prices(closes: FloatArray) -> FloatArray:
    prices: FloatArray = np.repeat(closes[..., None], len(PRICES), axis=-1)
    return prices


def available(names: Sequence[str]) -> list[BaselineForecaster]:
    """Those of the baselines whose libraries are installed."""
    return [BaselineForecaster(BASELINES[name]) for name in names if BASELINES[name].available]

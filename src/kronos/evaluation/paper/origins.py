"""Where the forecasts of a task stand: origins of each interval, and what came after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles import PRICES
from kronos.errors import DataError, KronosError
from kronos.evaluation.paper.settings import PRICES_ONLY, PaperSettings, Windows
from kronos.evaluation.plan import LEAST_HISTORY, Dates, Instrument, Plan, WalkForward, make_plan

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
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

    def some(self, rows: Rows) -> Walk:
        """Some of the origins."""
        plan = self.plan
        return replace(self, plan=replace(plan, series=plan.series[rows], known=plan.known[rows]))


def make_walks(
    instruments: Sequence[Instrument], settings: PaperSettings, dates: Dates
) -> tuple[list[Walk], list[str]]:
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
    found: list[Walk] = []
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


def _walk(interval: str, instruments: Sequence[Instrument], settings: PaperSettings, dates: Dates) -> Walk:
    windows = settings.windows(interval)
    walk = WalkForward(
        horizon=windows.horizon,
        stride=settings.stride,
        least_history=max(LEAST_HISTORY, windows.lookback),
        most=settings.origins,
    )
    try:
        return Walk(interval, windows, make_plan(instruments, walk, dates))
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


def actual(plan: Plan) -> Array:
    """The candles that came, ``[N, H, 6]``."""
    values = [one.candles.frame.to_numpy(dtype=np.float64) for one in plan.instruments]
    steps = np.arange(plan.walk.horizon)
    return np.stack([values[i][k + steps] for i, k in zip(plan.series, plan.known, strict=True)])


def actual_prices(plan: Plan) -> Array:
    """Their open, high, low and close, ``[N, H, 4]``."""
    return actual(plan)[..., : len(PRICES)]


def closes_before(plan: Plan, back: int = 0) -> Array:
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

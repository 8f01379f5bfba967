"""Where a walk-forward evaluation stands: instruments, the dates it may use, and the origins in between.

An origin is the moment at which a forecast would have been made: everything up to its last closed candle is known, the
``horizon`` candles after it are what came. By default origins lie a horizon apart, so that no two forecasts of a series
share a step: overlapping forecasts look like more evidence than they are.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.provenance import frame_digest

LEAST_HISTORY = 65  # candles: the unit of the scores takes 64 returns


@dataclass(frozen=True, slots=True)
class Instrument:
    """A series to forecast, and what it is reported under.

    Attributes:
        name: Unique in an evaluation; it keys the draws.
        market: Such as ``crypto`` or ``us_equity``; with the interval it makes the group that scores are averaged over.
        candles: All of them, past and future of every origin.
    """

    name: str
    market: str
    candles: Candles

    @property
    def group(self) -> str:
        """``us_equity 1d``: the market at its interval."""
        return f"{self.market} {self.candles.interval}"


@dataclass(frozen=True, slots=True)
class Dates:
    """Between which times candles are forecast: from ``start`` on, before ``end``; None leaves a side open."""

    start: pd.Timestamp | None = None
    end: pd.Timestamp | None = None


@dataclass(frozen=True, slots=True)
class WalkForward:
    """How origins are chosen.

    Attributes:
        horizon: Candles to forecast.
        stride: Candles from one origin to the next; None for the horizon.
        lookback: Candles of history that a forecast sees, at most; None for as many as the model takes.
        least_history: Candles of history that an origin needs.
        most: Origins of a group, at most, spread evenly over its dates and instruments; None for all.
    """

    horizon: int = 24
    stride: int | None = None
    lookback: int | None = None
    least_history: int = LEAST_HISTORY
    most: int | None = None

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ParameterError(f"The horizon is at least 1 candle, not {self.horizon}.")
        if self.stride is not None and self.stride < 1:
            raise ParameterError(f"The stride is at least 1 candle, not {self.stride}.")
        if self.least_history < LEAST_HISTORY:
            raise ParameterError(f"At least {LEAST_HISTORY} candles of history are needed, not {self.least_history}.")
        if self.most is not None and self.most < 1:
            raise ParameterError(f"At least 1 origin of a group is needed, not {self.most}.")

    @property
    def step(self) -> int:
        """Candles from one origin to the next."""
        return self.horizon if self.stride is None else self.stride

    @property
    def overlapping(self) -> bool:
        """Whether forecasts of a series share steps."""
        return self.step < self.horizon

    def overlap(self, step: int) -> int:
        """How many successive forecasts of a series share candles, of those that reach ``step`` ahead."""
        return max(1, math.ceil(step / self.step))


@dataclass(frozen=True, slots=True)
class Plan:
    """An evaluation before it is run.

    Attributes:
        walk: How origins were chosen.
        instruments: What is forecast.
        series: For each origin its instrument's position in ``instruments``. [N]
        known: For each origin how many candles are known. [N]
    """

    walk: WalkForward
    instruments: tuple[Instrument, ...]
    series: npt.NDArray[np.int64] = field(repr=False)
    known: npt.NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.series)

    def history(self, origin: int) -> Candles:
        """What is known at an origin."""
        candles = self.instruments[int(self.series[origin])].candles.head(int(self.known[origin]))
        return candles if self.walk.lookback is None else candles.tail(self.walk.lookback)

    def times(self, origin: int) -> pd.DatetimeIndex:
        """When the forecast candles come, an index of H times."""
        start = int(self.known[origin])
        return self.instruments[int(self.series[origin])].candles.index[start : start + self.walk.horizon]

    def name(self, origin: int) -> str:
        """What keys an origin's draws: its instrument and its last known candle."""
        instrument = self.instruments[int(self.series[origin])]
        return f"{instrument.name}@{instrument.candles.index[int(self.known[origin]) - 1].isoformat()}"

    def table(self) -> pd.DataFrame:
        """One row an origin: series, group, date (of its last known candle) and first (of the forecast ones), naive."""
        pairs = list(zip(self.series.tolist(), self.known.tolist(), strict=True))
        indexes = [one.candles.index for one in self.instruments]
        return pd.DataFrame(
            {
                "series": [self.instruments[i].name for i in self.series],
                "group": [self.instruments[i].group for i in self.series],
                "date": pd.DatetimeIndex([_naive(indexes[i][k - 1]) for i, k in pairs]),
                "first": pd.DatetimeIndex([_naive(indexes[i][k]) for i, k in pairs]),
            }
        )

    def returns(self) -> npt.NDArray[np.float64]:
        """What came, ``[N, H]``: log returns of the close since the last known one."""
        logs = [np.log(one.candles.frame["close"].to_numpy()) for one in self.instruments]
        steps = np.arange(self.walk.horizon)
        pairs = zip(self.series, self.known, strict=True)
        return np.array([logs[i][k + steps] - logs[i][k - 1] for i, k in pairs]).reshape(len(self), -1)

    def digest(self) -> str:
        """What is evaluated, in one hash: two runs with the same one ask for the same forecasts."""
        digest = hashlib.sha256(json.dumps(asdict(self.walk), sort_keys=True).encode())
        for one in self.instruments:
            digest.update(f"{one.name}|{one.group}|{frame_digest(one.candles.frame)}\n".encode())
        digest.update(self.series.tobytes() + self.known.tobytes())
        return digest.hexdigest()


def make_plan(
    instruments: Sequence[Instrument],
    walk: WalkForward,
    dates: Dates | Mapping[str, Dates] = Dates(),
) -> Plan:
    """Choose the origins.

    Args:
        instruments: What to forecast.
        walk: How origins are chosen.
        dates: Between which times; by market, or by an instrument's name, if they differ. All forecast candles lie
            between them.

    Raises:
        ParameterError: If there is no instrument, two share a name, or a market has no dates.
        DataError: If no origin is left.
    """
    if not instruments:
        raise ParameterError("There is no instrument to forecast; give at least one.")
    twice, count = Counter(one.name for one in instruments).most_common(1)[0]
    if count > 1:
        raise ParameterError(f"Two instruments are called '{twice}'; give them different names.")
    series: list[npt.NDArray[np.int64]] = []
    known: list[npt.NDArray[np.int64]] = []
    for position, one in enumerate(instruments):
        at = _known(one, walk, _dates_of(one, dates))
        series.append(np.full(len(at), position, dtype=np.int64))
        known.append(at)
    plan = Plan(walk, tuple(instruments), np.concatenate(series), np.concatenate(known))
    if walk.most is not None:
        plan = _thinned(plan, walk.most)
    if not len(plan):
        raise DataError(
            f"No origin has {walk.least_history} candles before it and {walk.horizon} after it in the dates asked for; "
            f"take other dates, a shorter horizon or longer histories."
        )
    return plan


def _dates_of(one: Instrument, dates: Dates | Mapping[str, Dates]) -> Dates:
    if isinstance(dates, Dates):
        return dates
    if one.name in dates:
        return dates[one.name]
    if one.market not in dates:
        raise ParameterError(f"The split has no dates for the market '{one.market}' of {one.name}; add them.")
    return dates[one.market]


def _known(one: Instrument, walk: WalkForward, dates: Dates) -> npt.NDArray[np.int64]:
    """The numbers of candles known at an instrument's origins."""
    index = one.candles.index
    first = 0 if dates.start is None else int(index.searchsorted(_like(dates.start, index)))
    stop = len(index) if dates.end is None else int(index.searchsorted(_like(dates.end, index)))
    return np.arange(max(first, walk.least_history), stop - walk.horizon + 1, walk.step, dtype=np.int64)


def _like(time: pd.Timestamp, index: pd.DatetimeIndex) -> pd.Timestamp:
    """A time in an index's own terms: its wall clock where one of them has no timezone."""
    if index.tz is None:
        return time.tz_localize(None)
    return time.tz_localize(index.tz) if time.tz is None else time.tz_convert(index.tz)


def _naive(time: pd.Timestamp) -> pd.Timestamp:
    """A time in UTC without a timezone; a naive one as it is written."""
    return time if time.tz is None else time.tz_convert("UTC").tz_localize(None)


def _thinned(plan: Plan, most: int) -> Plan:
    """At most so many origins of a group, evenly over its dates."""
    table = plan.table()
    kept: list[int] = []
    for _, group in table.groupby("group", sort=False):
        ranked = group.sort_values(["date", "series"], kind="stable").index.to_numpy()
        picks = np.unique(np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int))
        kept += ranked[picks].tolist()
    chosen = np.sort(np.array(kept, dtype=np.int64))
    return Plan(plan.walk, plan.instruments, plan.series[chosen], plan.known[chosen])

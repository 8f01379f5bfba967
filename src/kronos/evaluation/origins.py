"""The plan of a rolling-origin (walk-forward) evaluation: instruments, the dates it may use, and the origins.

An origin is a moment at which a forecast could have been made: all candles up to the last closed one are known, and the
``horizon`` candles after it are forecast. By default origins lie one horizon apart, so that no two forecasts of a
series share a candle; overlapping forecasts carry less evidence than their number suggests.

Origins whose history or horizon has a price jump, a wrong price, a repeated session or a flat stretch are left out, by
the limits of `kronos.candles.anomalies`, and counted: one unadjusted split would decide the verdict.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from kronos.candles import Candles
from kronos.candles.anomalies import Anomaly, AnomalyKind, describe_anomalies, find_anomalies, overlapping
from kronos.errors import DataError, ParameterError
from kronos.formatting import join_names, plural
from kronos.provenance import frame_digest
from kronos.typing import FloatArray, IntArray

MIN_HISTORY = 65  # candles: the unit σ of the scores takes 64 returns
CONTEXT = 512  # candles of history that a forecast depends on, without a lookback

QualityFilter = Literal["paper", "none"]
_REASONS: dict[AnomalyKind, str] = {
    "jump": "a price jump",
    "spike": "a wrong price",
    "repeated": "a repeated session",
    "flat": "flat prices",
}


@dataclass(frozen=True, slots=True)
class Instrument:
    """A series to forecast, with the market it is reported under.

    Attributes:
        name: Unique within an evaluation; random numbers are keyed by it.
        market: Such as ``crypto`` or ``us_equity``; market and interval together are the group that scores are
            averaged over.
        candles: The whole series, before and after every origin.
    """

    name: str
    market: str
    candles: Candles

    @property
    def group(self) -> str:
        """The market at its interval, such as ``us_equity 1d``."""
        return f"{self.market} {self.candles.interval}"


@dataclass(frozen=True, slots=True)
class Dates:
    """The times between which candles are forecast: from ``start`` to before ``end``; None leaves a side open."""

    start: pd.Timestamp | None = None
    end: pd.Timestamp | None = None


@dataclass(frozen=True, slots=True)
class RollingOrigins:
    """How the origins of a rolling-origin evaluation are selected.

    Attributes:
        horizon: Candles to forecast.
        stride: Candles between successive origins of a series; None for the horizon.
        lookback: Candles of history that a forecaster may use; None for all.
        least_history: Candles of history that an origin needs.
        max_origins: Largest number of origins of a group, spread evenly over its dates and instruments; None for all.

    Raises:
        ParameterError: If a value is out of its range.
    """

    horizon: int = 24
    stride: int | None = None
    lookback: int | None = None
    least_history: int = MIN_HISTORY
    max_origins: int | None = None

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ParameterError(f"Invalid horizon {self.horizon}: choose at least 1 candle.")
        if self.stride is not None and self.stride < 1:
            raise ParameterError(f"Invalid stride {self.stride}: choose at least 1 candle.")
        if self.lookback is not None and self.lookback < 1:
            raise ParameterError(f"Invalid lookback {self.lookback}: choose at least 1 candle.")
        if self.least_history < MIN_HISTORY:
            raise ParameterError(f"Invalid least_history {self.least_history}: choose at least {MIN_HISTORY} candles.")
        if self.max_origins is not None and self.max_origins < 1:
            raise ParameterError(f"Invalid number of origins {self.max_origins}: choose at least 1.")

    @property
    def step(self) -> int:
        """Candles between successive origins of a series."""
        return self.horizon if self.stride is None else self.stride

    @property
    def overlapping(self) -> bool:
        """Whether successive forecasts of a series share candles."""
        return self.step < self.horizon

    def overlap(self, step: int) -> int:
        """Count the successive forecasts of a series that share candles, at ``step`` steps ahead."""
        return max(1, math.ceil(step / self.step))

    def to_dict(self) -> dict[str, int | None]:
        """Return the settings under the keys of result files, which `Plan.digest` hashes too."""
        return {
            "horizon": self.horizon,
            "stride": self.stride,
            "lookback": self.lookback,
            "least_history": self.least_history,
            "most": self.max_origins,
        }


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Origins of one series that are left out for one reason.

    Attributes:
        series: Name of the instrument.
        reason: ``jump``, ``spike``, ``repeated`` or ``flat``, see `kronos.candles.anomalies`; the first that applies.
        origins: Number of origins.
        details: The anomalies, as a sentence.
    """

    series: str
    reason: AnomalyKind
    origins: int
    details: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The origins of an evaluation, before any forecast.

    Attributes:
        rolling: How the origins were selected.
        instruments: The series to forecast.
        series: Position in ``instruments`` of each origin's instrument. [N]
        known: Number of candles known at each origin. [N]
        left_out: Origins that were left out for the quality of their candles.
    """

    rolling: RollingOrigins
    instruments: tuple[Instrument, ...]
    series: IntArray = field(repr=False)
    known: IntArray = field(repr=False)
    left_out: tuple[LeftOut, ...] = ()

    def __len__(self) -> int:
        return len(self.series)

    def select(self, rows: IntArray) -> Plan:
        """Return the plan with only some of its origins."""
        return replace(self, series=self.series[rows], known=self.known[rows])

    def history(self, origin: int) -> Candles:
        """Return the candles known at an origin, at most ``lookback`` of them."""
        candles = self.instruments[int(self.series[origin])].candles.head(int(self.known[origin]))
        return candles if self.rolling.lookback is None else candles.tail(self.rolling.lookback)

    def times(self, origin: int) -> pd.DatetimeIndex:
        """Return the H times of the candles to forecast at an origin."""
        start = int(self.known[origin])
        return self.instruments[int(self.series[origin])].candles.index[start : start + self.rolling.horizon]

    def actual(self, origin: int) -> FloatArray:
        """Return the H candles after an origin, channels in the order of `kronos.candles.COLUMNS`, ``[H, 6]``."""
        start = int(self.known[origin])
        frame = self.instruments[int(self.series[origin])].candles.frame
        return frame.iloc[start : start + self.rolling.horizon].to_numpy(dtype=np.float64)

    def name(self, origin: int) -> str:
        """Return the unique name of an origin: its instrument and its last known candle. It keys random numbers."""
        instrument = self.instruments[int(self.series[origin])]
        return f"{instrument.name}@{instrument.candles.index[int(self.known[origin]) - 1].isoformat()}"

    def table(self) -> pd.DataFrame:
        """Return one row per origin: series, group, date of the last known candle, and first forecast time (naive)."""
        pairs = list(zip(self.series.tolist(), self.known.tolist(), strict=True))
        indexes = [instrument.candles.index for instrument in self.instruments]
        return pd.DataFrame(
            {
                "series": [self.instruments[i].name for i in self.series],
                "group": [self.instruments[i].group for i in self.series],
                "date": pd.DatetimeIndex([to_naive_utc(indexes[i][k - 1]) for i, k in pairs]),
                "first": pd.DatetimeIndex([to_naive_utc(indexes[i][k]) for i, k in pairs]),
            }
        )

    def ends(self) -> pd.DatetimeIndex:
        """Return the time of each origin's last forecast candle, naive, ``[N]``."""
        return pd.DatetimeIndex([to_naive_utc(self.times(origin)[-1]) for origin in range(len(self))])

    def returns(self) -> FloatArray:
        """Return the actual log returns of the close since the last known one, ``[N, H]``."""
        logs = [np.log(instrument.candles.frame["close"].to_numpy()) for instrument in self.instruments]
        steps = np.arange(self.rolling.horizon)
        pairs = zip(self.series, self.known, strict=True)
        return np.array([logs[i][k + steps] - logs[i][k - 1] for i, k in pairs]).reshape(len(self), -1)

    def digest(self) -> str:
        """Hash candles, settings and origins: equal digests mean that the same forecasts are needed."""
        digest = hashlib.sha256(json.dumps(self.rolling.to_dict(), sort_keys=True).encode())
        for instrument in self.instruments:
            frame = frame_digest(instrument.candles.frame)
            digest.update(f"{instrument.name}|{instrument.group}|{frame}\n".encode())
        digest.update(self.series.tobytes() + self.known.tobytes())
        return digest.hexdigest()


def make_plan(
    instruments: Sequence[Instrument],
    rolling: RollingOrigins,
    dates: Dates | Mapping[str, Dates] = Dates(),
    *,
    quality: QualityFilter = "paper",
) -> Plan:
    """Select the origins.

    Args:
        instruments: Series to forecast.
        rolling: How to select origins.
        dates: Times between which all forecast candles lie; a mapping gives them by instrument name or by market.
        quality: ``paper`` leaves out origins whose candles exceed the paper's limits: a price jump, a wrong price or a
            repeated session in the history (at most `CONTEXT` candles) or the horizon, or a flat stretch in the horizon
            or the 64 candles before it. ``none`` keeps all origins.

    Raises:
        ParameterError: If there is no instrument, two share a name, or a market has no dates.
        DataError: If no origin is left.
    """
    if not instruments:
        raise ParameterError("There is no instrument to forecast: give at least one.")
    if quality not in ("paper", "none"):
        raise ParameterError(f"Invalid quality '{quality}': choose 'paper' or 'none'.")
    name, count = Counter(instrument.name for instrument in instruments).most_common(1)[0]
    if count > 1:
        raise ParameterError(f"Two instruments are named '{name}': give them different names.")
    series: list[IntArray] = []
    known: list[IntArray] = []
    left_out: list[LeftOut] = []
    for position, instrument in enumerate(instruments):
        counts = _known_candles(instrument, rolling, _dates_of(instrument, dates))
        if quality == "paper" and len(counts):
            counts, own = _without_anomalies(instrument, rolling, counts)
            left_out += own
        series.append(np.full(len(counts), position, dtype=np.int64))
        known.append(counts)
    plan = Plan(rolling, tuple(instruments), np.concatenate(series), np.concatenate(known), tuple(left_out))
    if rolling.max_origins is not None:
        plan = _thin(plan, rolling.max_origins)
    if not len(plan):
        raise _no_origin(rolling, left_out)
    return plan


def _without_anomalies(
    instrument: Instrument, rolling: RollingOrigins, known: IntArray
) -> tuple[IntArray, list[LeftOut]]:
    """The origins of one instrument without those whose candles have anomalies, and the latter by reason."""
    anomalies = find_anomalies(instrument.candles)
    kept = np.ones(len(known), dtype=np.bool_)
    left_out = []
    for reason in _REASONS:
        own = [anomaly for anomaly in anomalies if anomaly.kind == reason]
        history = MIN_HISTORY if reason == "flat" else rolling.lookback or CONTEXT
        first = np.maximum(known - max(history, MIN_HISTORY), 0)
        affected = kept & overlapping(own, first, known + rolling.horizon)
        if affected.any():
            left_out.append(_left_out(instrument, reason, own, first[affected], known[affected] + rolling.horizon))
            kept &= ~affected
    return known[kept], left_out


def _left_out(
    instrument: Instrument, reason: AnomalyKind, anomalies: Sequence[Anomaly], first: IntArray, stop: IntArray
) -> LeftOut:
    responsible = [anomaly for anomaly in anomalies if overlapping([anomaly], first, stop).any()]
    [details] = describe_anomalies(instrument.candles, responsible)
    return LeftOut(instrument.name, reason, len(first), details)


def left_out_sentences(left_out: Sequence[LeftOut], limit: int | None = 8) -> list[str]:
    """Describe the origins that were left out, one sentence for each reason.

    Args:
        left_out: The origins by series and reason.
        limit: Number of series to name; None for all.
    """
    sentences = []
    for reason, words in _REASONS.items():
        own = [item for item in left_out if item.reason == reason]
        if own:
            count = plural(sum(item.origins for item in own), "origin")
            names = join_names([f"{item.series} ({item.origins:,})" for item in own], limit)
            were = "was" if sum(item.origins for item in own) == 1 else "were"
            sentences.append(f"{count} {were} left out for {words} in their candles: {names}. {own[0].details}")
    return sentences


def _no_origin(rolling: RollingOrigins, left_out: Sequence[LeftOut]) -> DataError:
    if left_out:
        return DataError(
            f"No origin is left. {' '.join(left_out_sentences(left_out))} Correct the candles, choose other dates or a "
            f"shorter lookback, or keep such origins with --quality none (quality='none' in Python)."
        )
    return DataError(
        f"No origin has {rolling.least_history} candles before it and {rolling.horizon} candles after it within "
        f"the selected dates: choose other dates, a shorter horizon or longer histories."
    )


def _dates_of(instrument: Instrument, dates: Dates | Mapping[str, Dates]) -> Dates:
    if isinstance(dates, Dates):
        return dates
    found = dates.get(instrument.name) or find_dates(dates, instrument)
    if found is None:
        raise ParameterError(f"The split has no dates for the market '{instrument.market}' of {instrument.name}.")
    return found


def find_dates(dates: Mapping[str, Dates], instrument: Instrument) -> Dates | None:
    """The dates of an instrument's market and interval, else of its market; None if there are none."""
    return dates.get(instrument.group) or dates.get(instrument.market)


def _known_candles(instrument: Instrument, rolling: RollingOrigins, dates: Dates) -> IntArray:
    """The number of known candles at each origin of one instrument."""
    index = instrument.candles.index
    first = 0 if dates.start is None else int(index.searchsorted(_in_zone_of(dates.start, index)))
    stop = len(index) if dates.end is None else int(index.searchsorted(_in_zone_of(dates.end, index)))
    return np.arange(max(first, rolling.least_history), stop - rolling.horizon + 1, rolling.step, dtype=np.int64)


def _in_zone_of(time: pd.Timestamp, index: pd.DatetimeIndex) -> pd.Timestamp:
    """A time comparable with an index; where only one of them has a timezone, the wall clock counts."""
    if index.tz is None:
        return time.tz_localize(None)
    return time.tz_localize(index.tz) if time.tz is None else time.tz_convert(index.tz)


def to_naive_utc(time: pd.Timestamp) -> pd.Timestamp:
    """Convert a time to UTC without a timezone; a naive time is returned unchanged."""
    return time if time.tz is None else time.tz_convert("UTC").tz_localize(None)


def _thin(plan: Plan, max_origins: int) -> Plan:
    """Keep at most ``max_origins`` origins of each group, evenly over its dates."""
    selected: list[int] = []
    for _, group in plan.table().groupby("group", sort=False):
        ranked = group.sort_values(["date", "series"], kind="stable").index.to_numpy()
        picks = np.unique(np.linspace(0, len(ranked) - 1, min(max_origins, len(ranked))).round().astype(int))
        selected += ranked[picks].tolist()
    return plan.select(np.sort(np.array(selected, dtype=np.int64)))

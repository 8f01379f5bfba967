"""Anomalies that make forecasts and evaluations meaningless: jumps, spikes, flat stretches, repeated sessions.

The limits are those of the paper's filters for training data, by interval (`kronos.candles.quality_filters`): a history
that the model would not have been trained on is forecast with a warning, and not evaluated on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from kronos.candles.candles import Candles
from kronos.candles.gaps import wall_clock
from kronos.candles.quality_filters import QualityRules, find_runs, price_changes, rules_for
from kronos.formatting import plural
from kronos.typing import BoolArray, FloatArray, IntArray

AnomalyKind = Literal["jump", "spike", "flat", "repeated"]

_DAY = 86_400 * 10**9
_MIN_SESSION = 4  # candles of a session that cannot be equal by chance
_LISTED = 3  # places named in a sentence


@dataclass(frozen=True, slots=True)
class Anomaly:
    """An anomaly of a series.

    Attributes:
        kind: ``jump``: the open is far from the previous close; ``spike``: the close is far from its neighbours, which
            agree; ``flat``: the close does not change; ``repeated``: a session's candles equal those of the one before.
        start: Position of its first candle; of a jump, of the one before it.
        stop: Position after its last candle.
        change: Relative change at a jump or spike, else 0.
    """

    kind: AnomalyKind
    start: int
    stop: int
    change: float = 0.0

    def __len__(self) -> int:
        return self.stop - self.start


def find_anomalies(candles: Candles, rules: QualityRules | None = None) -> tuple[Anomaly, ...]:
    """Find the anomalies of a series, in order of time.

    Args:
        candles: Candles of one instrument.
        rules: Limits; None for the paper's limits for the interval.
    """
    rules = rules or rules_for(candles.interval)
    change, close_moves = price_changes(candles)
    jump = np.abs(change) > rules.price_jump
    found = [Anomaly("jump", i - 1, i + 1, float(change[i])) for i in np.flatnonzero(jump).tolist()]
    found += [
        Anomaly("spike", i, i + 1, move)
        for i, move in _spikes(candles.frame["close"].to_numpy(), rules.price_jump)
        if not jump[i : i + 2].any()
    ]
    flat = find_runs(~close_moves & ~jump, jump, longer_than=rules.stagnant_run)
    found += [Anomaly("flat", start - 1, stop) for start, stop in flat.tolist()]  # with the first of the equal closes
    if candles.interval.intraday:
        found += [Anomaly("repeated", start, stop) for start, stop in _repeated_sessions(candles, close_moves)]
    return tuple(sorted(found, key=lambda anomaly: (anomaly.start, anomaly.stop)))


def _spikes(close: FloatArray, limit: float) -> list[tuple[int, float]]:
    """Positions of closes that differ by more than a limit from both neighbours, which agree, and the change."""
    if len(close) < 3:
        return []
    with np.errstate(over="ignore"):
        before, after, across = close[1:-1] / close[:-2] - 1, close[1:-1] / close[2:] - 1, close[2:] / close[:-2] - 1
    far = (np.abs(before) > limit) & (np.abs(after) > limit) & (before * after > 0)
    found = np.flatnonzero(far & (np.abs(across) <= limit / 2))
    return [(int(i) + 1, float(before[i])) for i in found]


def _repeated_sessions(candles: Candles, close_moves: BoolArray) -> list[tuple[int, int]]:
    """First position and the one after the last of days whose candles equal those of the day before."""
    stamps = wall_clock(candles.index).asi8
    values = candles.frame[["open", "high", "low", "close", "volume"]].to_numpy()
    first = np.flatnonzero(np.append(True, np.diff(stamps // _DAY) != 0))
    bounds = np.append(first, len(stamps))
    lengths = np.diff(bounds)
    found = []
    for day in np.flatnonzero((lengths[1:] == lengths[:-1]) & (lengths[1:] >= _MIN_SESSION)).tolist():
        before, start, stop = bounds[day : day + 3].tolist()
        same_clock = bool((stamps[before:start] % _DAY == stamps[start:stop] % _DAY).all())
        if (
            same_clock
            and close_moves[start + 1 : stop].any()
            and np.array_equal(values[before:start], values[start:stop])
        ):
            found.append((start, stop))
    return found


def describe_anomalies(candles: Candles, anomalies: Iterable[Anomaly]) -> tuple[str, ...]:
    """Describe the anomalies of a series, one sentence for each kind."""
    by_kind: dict[AnomalyKind, list[Anomaly]] = {"jump": [], "spike": [], "flat": [], "repeated": []}
    for anomaly in anomalies:
        by_kind[anomaly.kind].append(anomaly)
    index, rules = candles.index, rules_for(candles.interval)
    sentences = []
    if jumps := by_kind["jump"]:
        listed = _listed(f"{a.change:+.0%} before {_time(index[a.stop - 1])}" for a in jumps)
        sentences.append(
            f"{plural(len(jumps), 'price jump')} of more than {rules.price_jump:.0%} from a close to the next open "
            f"({listed}): an unadjusted split or a wrong price distorts the forecast."
        )
    if spikes := by_kind["spike"]:
        listed = _listed(f"{a.change:+.0%} at {_time(index[a.start])}" for a in spikes)
        sentences.append(
            f"{plural(len(spikes), 'close')} more than {rules.price_jump:.0%} away from both neighbours ({listed}): a "
            f"wrong price distorts the forecast."
        )
    if flat := by_kind["flat"]:
        longest = max(flat, key=len)
        span = f"{len(longest):,} candles from {_time(index[longest.start])} to {_time(index[longest.stop - 1])}"
        count = "A flat stretch" if len(flat) == 1 else f"{len(flat)} flat stretches, the longest"
        sentences.append(f"{count} of {span}: the close does not change, so the forecast is too sure of itself.")
    if repeated := by_kind["repeated"]:
        listed = _listed(f"{index[a.start]:%Y-%m-%d}" for a in repeated)
        sentences.append(f"{plural(len(repeated), 'session')} with the same candles as the one before: {listed}.")
    return tuple(sentences)


def _listed(texts: Iterable[str]) -> str:
    every = list(texts)
    return ", ".join(every[:_LISTED]) + (" …" if len(every) > _LISTED else "")


def _time(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%d}" if time == time.normalize() else f"{time:%Y-%m-%d %H:%M}"


def overlapping(anomalies: Sequence[Anomaly], first: IntArray, stop: IntArray) -> BoolArray:
    """Whether each stretch of candles contains an anomaly, or for a flat stretch or session a part of it.

    Args:
        anomalies: Anomalies of the series.
        first: Position of the first candle of each stretch. [n]
        stop: Position after its last candle. [n]
    """
    result = np.zeros(len(first), dtype=np.bool_)
    for anomaly in anomalies:
        if anomaly.kind == "jump":  # both sides of it
            result |= (first <= anomaly.start) & (anomaly.stop <= stop)
        else:
            result |= (first < anomaly.stop) & (anomaly.start < stop)
    return result

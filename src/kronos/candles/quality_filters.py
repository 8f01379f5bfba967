"""Quality filters for training data, as in the Kronos paper (arXiv 2508.02739, Table 4).

- A series is split at missing prices and at candles that open far from the previous close.
- Runs of candles without volume, and runs with a constant close, are left out and split the series.
- Segments that are too short for the interval are dropped. No candle is added or changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from kronos.candles.candles import Candles
from kronos.candles.gaps import find_weekday_gaps
from kronos.errors import ParameterError
from kronos.formatting import plural
from kronos.intervals import Interval
from kronos.typing import BoolArray, FloatArray, IntArray

ReasonCode = Literal["gap", "jump", "illiquid", "stagnant", "short"]

ILLIQUID_VOLUME = 1e-8  # volumes up to this count as 0: the smallest unit of a coin on exchanges

# By interval: min_length, price_jump, illiquid_run, stagnant_run.
_TABLE: dict[str, tuple[int, float, int, int]] = {
    "1m": (2048, 0.10, 15, 45),
    "5m": (1024, 0.15, 3, 10),
    "10m": (512, 0.15, 3, 6),
    "15m": (512, 0.15, 2, 5),
    "20m": (512, 0.15, 2, 5),
    "30m": (512, 0.20, 2, 3),
    "40m": (256, 0.20, 1, 3),
    "1h": (256, 0.20, 1, 3),
    "2h": (128, 0.25, 1, 3),
    "4h": (128, 0.25, 1, 3),
    "1d": (128, 0.30, 1, 3),
    "1w": (16, 0.50, 0, 2),
}
_LEFT_OUT: tuple[ReasonCode, ...] = ("illiquid", "stagnant", "short")
_DESCRIPTIONS = {"illiquid": "no volume", "stagnant": "constant close", "short": "segment too short"}


@dataclass(frozen=True, slots=True)
class QualityRules:
    """Requirements on a segment of candles.

    Attributes:
        min_length: Minimum number of candles of a segment.
        price_jump: Share of the previous close by which an open may differ from it before a new segment begins.
        illiquid_run: Maximum number of consecutive candles without volume; longer runs are left out.
        stagnant_run: Maximum number of consecutive candles with an unchanged close; longer runs are left out.
        row: Row of the paper's table; None for custom rules.
    """

    min_length: int
    price_jump: float
    illiquid_run: int
    stagnant_run: int
    row: Interval | None = None

    def __post_init__(self) -> None:
        if self.min_length < 1:
            raise ParameterError(f"Invalid min_length {self.min_length}: choose at least 1 candle.")
        if not self.price_jump > 0:
            raise ParameterError(f"Invalid price_jump {self.price_jump}: choose a share above 0, such as 0.2.")
        for name, run in (("illiquid_run", self.illiquid_run), ("stagnant_run", self.stagnant_run)):
            if run < 0:
                raise ParameterError(f"Invalid {name} {run}: choose at least 0 candles.")


def rules_for(interval: str | Interval) -> QualityRules:
    """The paper's rules for an interval, or for the nearest one (by ratio) in its table.

    Raises:
        ParameterError: If the text is not an interval.
    """
    seconds = Interval.parse(interval).seconds
    row = min(map(Interval.parse, _TABLE), key=lambda listed: abs(math.log(listed.seconds / seconds)))
    return QualityRules(*_TABLE[str(row)], row=row)


@dataclass(frozen=True, slots=True)
class QualitySegment:
    """Candles at positions ``start`` (inclusive) to ``stop`` (exclusive) of a frame."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Reason:
    """Reason for a split or for leaving out candles.

    Attributes:
        why: ``gap`` or ``jump`` (a split), ``illiquid``, ``stagnant`` or ``short`` (candles left out).
        start: Time of the first candle left out, or of the last one before a split.
        end: Time of the last candle left out, or of the first one after a split.
        candles: Number of candles left out; 0 for a split.
        change: Relative change from close to open at a jump, else None.
    """

    why: ReasonCode
    start: pd.Timestamp
    end: pd.Timestamp
    candles: int = 0
    change: float | None = None

    def __str__(self) -> str:
        if self.why == "gap":
            return f"prices are missing between {self.start} and {self.end}"
        if self.why == "jump":
            return f"the open of {self.end} is {self.change:+.1%} from the close of {self.start}"
        where = f"at {self.start}" if self.candles == 1 else f"from {self.start} to {self.end}"
        return f"{plural(self.candles, 'candle')} {where}: {_DESCRIPTIONS[self.why]}"


@dataclass(frozen=True, slots=True)
class Quality:
    """Segments that satisfy the rules, and the reasons for leaving out the rest.

    Attributes:
        rules: The rules.
        candles: Number of candles examined.
        segments: Segments to keep, in order.
        gaps: Number of splits at missing prices.
        jumps: Number of splits at price jumps.
        illiquid: Number of candles left out for missing volume.
        stagnant: Number of candles left out for a constant close alone.
        short: Number of candles left out in short segments.
        reasons: Splits and runs left out, in order of time.
        notes: Remarks on how the rules were applied, as sentences.
    """

    rules: QualityRules
    candles: int
    segments: tuple[QualitySegment, ...]
    gaps: int
    jumps: int
    illiquid: int
    stagnant: int
    short: int
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> int:
        """Number of candles in the segments."""
        return sum(map(len, self.segments))

    @property
    def kept_share(self) -> float:
        """Share of the candles that are in the segments, 0 to 1."""
        return self.kept / self.candles if self.candles else 0.0


def assess(candles: Candles, rules: QualityRules | None = None) -> Quality:
    """Find the segments of candles that satisfy quality rules.

    Prices are missing where cleaning dropped a row for its prices (``candles.dropped``), and at gaps in time that are
    not closings of the market. Holidays and half days are closings and do not split a series.

    Args:
        candles: Candles of one instrument.
        rules: Quality rules; None for the paper's rules for the interval.

    Returns:
        The segments, as positions in ``candles.frame``, and the reasons for leaving out the rest.
    """
    rules = rules or rules_for(candles.interval)
    change, close_moves = price_changes(candles)
    gap, jump = _missing_before(candles), np.abs(change) > rules.price_jump
    split = gap | jump
    idle = candles.frame["volume"].to_numpy() <= ILLIQUID_VOLUME if candles.has_volume else np.zeros_like(split)
    illiquid = find_runs(idle, split, longer_than=rules.illiquid_run)
    stagnant = find_runs(~close_moves & ~split, split, longer_than=rules.stagnant_run)
    idle, still = _in_runs(illiquid, len(candles)), _in_runs(stagnant, len(candles))
    pieces = find_runs(~(idle | still), split)
    long = np.diff(pieces, axis=1).ravel() >= rules.min_length
    short = pieces[~long]
    return Quality(
        rules=rules,
        candles=len(candles),
        segments=tuple(QualitySegment(start, stop) for start, stop in pieces[long].tolist()),
        gaps=int(gap.sum()),
        jumps=int(jump.sum()),
        illiquid=int(idle.sum()),
        stagnant=int((still & ~idle).sum()),
        short=int(np.diff(short, axis=1).sum()),
        reasons=_reasons(candles.index, gap, np.where(jump, change, 0.0), illiquid, stagnant, short),
        notes=_notes(candles, rules),
    )


def price_changes(candles: Candles) -> tuple[FloatArray, BoolArray]:
    """Change from the previous close to each open, and whether each close differs from the previous one. [n] each."""
    opened, close = (candles.frame[name].to_numpy() for name in ("open", "close"))
    change, moves = np.zeros(len(close)), np.ones(len(close), dtype=np.bool_)
    with np.errstate(over="ignore"):
        change[1:] = opened[1:] / close[:-1] - 1
    moves[1:] = close[1:] != close[:-1]
    return change, moves


def _missing_before(candles: Candles) -> BoolArray:
    """Whether prices are missing before each candle. [n]."""
    index = candles.index
    missing = np.zeros(len(index), dtype=np.bool_)
    missing[find_weekday_gaps(index, candles.interval)] = True
    passed = index.as_unit("ns").asi8.searchsorted(candles.dropped.as_unit("ns").asi8)
    missing[passed[(passed > 0) & (passed < len(index))]] = True
    return missing


def find_runs(flag: BoolArray, split: BoolArray, longer_than: int = 0) -> IntArray:
    """Start and stop of the runs in which the flag is set, interrupted before each split. [runs, 2]."""
    turns = np.ones(len(flag) + 1, dtype=np.bool_)
    turns[1:-1] = (flag[1:] != flag[:-1]) | split[1:]
    edges = np.flatnonzero(turns)
    runs = np.column_stack((edges[:-1], edges[1:]))[flag[edges[:-1]]].astype(np.int64)
    return runs[np.diff(runs, axis=1).ravel() > longer_than]


def _in_runs(runs: IntArray, length: int) -> BoolArray:
    """Whether each position lies in one of the runs. [length]."""
    turns = np.zeros(length + 1, dtype=np.int64)
    turns[runs[:, 0]] += 1
    turns[runs[:, 1]] -= 1
    return np.asarray(np.cumsum(turns)[:-1] > 0, dtype=np.bool_)


def _reasons(index: pd.DatetimeIndex, gap: BoolArray, jumps: FloatArray, *left_out: IntArray) -> tuple[Reason, ...]:
    """Splits and runs left out, in order of time; ``jumps`` is 0 at candles without one."""
    found = [(i, Reason("gap", index[i - 1], index[i])) for i in np.flatnonzero(gap).tolist()]
    places = np.flatnonzero(jumps).tolist()
    found += [(i, Reason("jump", index[i - 1], index[i], change=float(jumps[i]))) for i in places]
    for why, runs in zip(_LEFT_OUT, left_out, strict=True):
        found += [(a, Reason(why, index[a], index[b - 1], b - a)) for a, b in runs.tolist()]
    return tuple(reason for _, reason in sorted(found, key=lambda pair: pair[0]))


def _notes(candles: Candles, rules: QualityRules) -> tuple[str, ...]:
    notes = []
    if rules.row is not None and rules.row.seconds != candles.interval.seconds:
        notes.append(f"The paper has no rules for {candles.interval} candles; those for {rules.row} were used.")
    if not candles.has_volume:
        notes.append("The source has no volume, so the rule against illiquid candles does not apply.")
    return tuple(notes)

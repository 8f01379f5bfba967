"""Which stretches of candles are fit to learn from: the filters of the Kronos paper (arXiv 2508.02739, Table 4).

- A series splits where prices are missing and where a candle opens far from the close before it.
- Runs of candles without trading, and runs whose close does not move, are left out, and split.
- What is left in pieces too short for the interval is dropped. Nothing is filled in or changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles.candles import Candles
from kronos.candles.gaps import find_weekday_gaps
from kronos.errors import ParameterError
from kronos.intervals import Interval
from kronos.typing import BoolArray

Why = Literal["gap", "jump", "illiquid", "stagnant", "short"]
Positions = npt.NDArray[np.int64]

ILLIQUID_VOLUME = 1e-8  # volume up to this counts as none: the smallest part of a coin that exchanges book

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
_LEFT_OUT: tuple[Why, ...] = ("illiquid", "stagnant", "short")
_TOLD = {"illiquid": "no volume", "stagnant": "the close does not move", "short": "too few by themselves"}


@dataclass(frozen=True, slots=True)
class QualityRules:
    """What a stretch of candles has to keep to.

    Attributes:
        min_length: Candles that a segment has at least.
        price_jump: A candle whose open differs from the close before it by more than this share begins a new segment.
        illiquid_run: So many candles in a row without volume are borne; of a longer run all are left out.
        stagnant_run: So many candles in a row whose close equals the one before are borne; of more all are left out.
        row: The row of the paper's table that these are; None for rules of your own.
    """

    min_length: int
    price_jump: float
    illiquid_run: int
    stagnant_run: int
    row: Interval | None = None

    def __post_init__(self) -> None:
        if self.min_length < 1:
            raise ParameterError(f"min_length counts the candles of a segment, at least 1, not {self.min_length}.")
        if not self.price_jump > 0:
            raise ParameterError(f"price_jump is a share of the price above 0, such as 0.2, not {self.price_jump}.")
        for name, run in (("illiquid_run", self.illiquid_run), ("stagnant_run", self.stagnant_run)):
            if run < 0:
                raise ParameterError(f"{name} counts candles in a row, at least 0, not {run}.")


def rules_for(interval: str | Interval) -> QualityRules:
    """The paper's rules for an interval; one that its table leaves out gets those of the nearest in ratio.

    Raises:
        ParameterError: If the text names no interval.
    """
    wanted = Interval.parse(interval)
    rows = [Interval.parse(name) for name in _TABLE]
    row = min(rows, key=lambda one: abs(math.log(one.seconds / wanted.seconds)))
    return QualityRules(*_TABLE[str(row)], row=row)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of candles: positions ``start`` up to, not including, ``stop`` of a frame."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Reason:
    """Why candles were split or left out.

    Attributes:
        why: ``gap`` or ``jump`` (a split), ``illiquid``, ``stagnant`` or ``short`` (candles left out).
        start: The first candle concerned; of a split the last one before it.
        end: The last candle concerned; of a split the first one after it.
        candles: How many are concerned; 0 for a split.
        change: Of a jump, the open after it over the close before it, minus 1; else None.
    """

    why: Why
    start: pd.Timestamp
    end: pd.Timestamp
    candles: int = 0
    change: float | None = None

    def __str__(self) -> str:
        if self.why == "gap":
            return f"prices are missing between {self.start} and {self.end}"
        if self.why == "jump":
            return f"the open of {self.end} is {self.change:+.1%} from the close of {self.start}"
        told = f"1 candle at {self.start}"
        if self.candles > 1:
            told = f"{self.candles:,} candles from {self.start} to {self.end}"
        return f"{told}: {_TOLD[self.why]}"


@dataclass(frozen=True, slots=True)
class Quality:
    """What is fit to learn from, and why the rest is not.

    Attributes:
        rules: What was asked for.
        candles: How many candles there are.
        segments: The stretches to keep, in order.
        gaps: Places where prices are missing.
        jumps: Places where the price jumps.
        illiquid: Candles left out for want of volume.
        stagnant: Candles left out, and not for want of volume, because the close does not move.
        short: Candles left out because too few of them hang together.
        reasons: Each split and each run left out, in the order of time.
        notes: What is particular about these rules, in sentences.
    """

    rules: QualityRules
    candles: int
    segments: tuple[Segment, ...]
    gaps: int
    jumps: int
    illiquid: int
    stagnant: int
    short: int
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> int:
        """Candles in the segments."""
        return sum(map(len, self.segments))

    @property
    def kept_share(self) -> float:
        """Share of the candles that the segments hold, 0 … 1."""
        return self.kept / self.candles if self.candles else 0.0


def assess(candles: Candles, rules: QualityRules | None = None) -> Quality:
    """Find the segments that keep the rules.

    Prices are missing where cleaning dropped a row for its prices (``candles.dropped``), and where the times leave a
    hole that is no closing of the market. Holidays and half days are closings, and don't split.

    Args:
        candles: Any series.
        rules: What to keep to; None for the paper's, by the candles' interval.

    Returns:
        The segments, as positions in ``candles.frame``, and what was left out for which reason.
    """
    rules = rules or rules_for(candles.interval)
    change, close_moves = _moves(candles)
    gap, jump = _missing_before(candles), np.abs(change) > rules.price_jump
    fresh = gap | jump
    idle = candles.frame["volume"].to_numpy() <= ILLIQUID_VOLUME if candles.has_volume else np.zeros_like(fresh)
    illiquid = _runs(idle, fresh, longer_than=rules.illiquid_run)
    stagnant = _runs(~close_moves & ~fresh, fresh, longer_than=rules.stagnant_run)
    idle, still = _filled(illiquid, len(candles)), _filled(stagnant, len(candles))
    pieces = _runs(~(idle | still), fresh)
    long = np.diff(pieces, axis=1).ravel() >= rules.min_length
    short = pieces[~long]
    return Quality(
        rules=rules,
        candles=len(candles),
        segments=tuple(Segment(start, stop) for start, stop in pieces[long].tolist()),
        gaps=int(gap.sum()),
        jumps=int(jump.sum()),
        illiquid=int(idle.sum()),
        stagnant=int((still & ~idle).sum()),
        short=int(np.diff(short, axis=1).sum()),
        reasons=_reasons(candles.index, gap, np.where(jump, change, 0.0), illiquid, stagnant, short),
        notes=_notes(candles, rules),
    )


def _moves(candles: Candles) -> tuple[npt.NDArray[np.float64], BoolArray]:
    """Of each candle the open over the close before it, minus 1, and whether its close differs from that one."""
    opened, close = (candles.frame[name].to_numpy() for name in ("open", "close"))
    change, moves = np.zeros(len(close)), np.ones(len(close), dtype=np.bool_)
    with np.errstate(over="ignore"):
        change[1:] = opened[1:] / close[:-1] - 1
    moves[1:] = close[1:] != close[:-1]
    return change, moves


def _missing_before(candles: Candles) -> BoolArray:
    """Whether prices are missing between each candle and the one before it."""
    index = candles.index
    missing = np.zeros(len(index), dtype=np.bool_)
    missing[find_weekday_gaps(index, candles.interval)] = True
    passed = index.as_unit("ns").asi8.searchsorted(candles.dropped.as_unit("ns").asi8)
    missing[passed[(passed > 0) & (passed < len(index))]] = True
    return missing


def _runs(flag: BoolArray, fresh: BoolArray, longer_than: int = 0) -> Positions:
    """Start and stop of the runs where a flag holds; a fresh start ends the run before it.

    Returns:
        [runs, 2]
    """
    turns = np.ones(len(flag) + 1, dtype=np.bool_)
    turns[1:-1] = (flag[1:] != flag[:-1]) | fresh[1:]
    edges = np.flatnonzero(turns)
    runs = np.column_stack((edges[:-1], edges[1:]))[flag[edges[:-1]]].astype(np.int64)
    return runs[np.diff(runs, axis=1).ravel() > longer_than]


def _filled(runs: Positions, length: int) -> BoolArray:
    """Whether each of so many positions lies in one of the runs."""
    turns = np.zeros(length + 1, dtype=np.int64)
    turns[runs[:, 0]] += 1
    turns[runs[:, 1]] -= 1
    return np.asarray(np.cumsum(turns)[:-1] > 0, dtype=np.bool_)


def _reasons(
    index: pd.DatetimeIndex, gap: BoolArray, jumps: npt.NDArray[np.float64], *left_out: Positions
) -> tuple[Reason, ...]:
    """Each split and each run left out, in the order of time; jumps are 0 where there is none."""
    found = [(i, Reason("gap", index[i - 1], index[i])) for i in np.flatnonzero(gap).tolist()]
    places = np.flatnonzero(jumps).tolist()
    found += [(i, Reason("jump", index[i - 1], index[i], change=float(jumps[i]))) for i in places]
    for why, runs in zip(_LEFT_OUT, left_out, strict=True):
        found += [(a, Reason(why, index[a], index[b - 1], b - a)) for a, b in runs.tolist()]
    return tuple(reason for _, reason in sorted(found, key=lambda pair: pair[0]))


def _notes(candles: Candles, rules: QualityRules) -> tuple[str, ...]:
    notes = []
    if rules.row is not None and rules.row.seconds != candles.interval.seconds:
        notes.append(f"The paper has no rules for {candles.interval} candles; those for {rules.row} were taken.")
    if not candles.has_volume:
        notes.append("The source tells no volume, so the rule against illiquid candles does not apply.")
    return tuple(notes)

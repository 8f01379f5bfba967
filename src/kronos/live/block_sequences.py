"""Confidence sequences over the blocks of a record, valid although outcomes overlap and somebody looks every hour.

The outcome of a forecast spans H steps, so that those of neighbouring origins share candles, and nothing that treats
them as independent is right. Blocks of H consecutive origins (a day of hourly forecasts of 24 steps) are reduced to one
number each. The outcomes of block b are known when block b + 1 ends, before block b + 2 begins: the even blocks form a
sequence in which each value is known before the next block's first forecast is made, and so do the odd ones. In each of
both streams the confidence sequences of `kronos.metrics.confidence_sequences` hold for the conditional mean of a
block given everything that was known at its start, however the candles depend on each other.

Each stream gets half of α. By the union bound both sequences are right at all times with probability 1 - α, whatever
the dependence between the streams, and at every hour, because nothing changes between two blocks. Hence

- an average of both streams' bounds contains the average of what they estimate (`average_bounds`);
- a hypothesis about all blocks may be rejected by either stream (`coverage_test`).

Blocks follow the record's origins, each of which has exactly one row: one that was missed, late or cannot be settled
leaves its block with fewer forecasts and does not shift later blocks. Blocks without any are left out, and what is
estimated is that of the others. A block enters when all its origins are settled, and not before an earlier one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kronos.metrics import betting_interval, betting_test, empirical_bernstein_sequence
from kronos.typing import FloatArray

ALPHA = 0.05  # of each verdict
GAIN_LIMIT = 0.25  # of a block's gain: a CRPS of 3/5, or 5/3, of the baseline's
OPTIMAL_VARIANCE = 2.0  # in squared ranges; bounds of gains are narrow from the second month to the second year


@dataclass(frozen=True)
class Bounds:
    """An estimate from completed blocks with bounds that hold at all times.

    Attributes:
        estimate: Mean over the blocks; NaN without any.
        lower: Lower bound.
        upper: Upper bound.
        blocks: Number of blocks.
    """

    estimate: float
    lower: float
    upper: float
    blocks: int


@dataclass(frozen=True, eq=False)
class BoundsPath:
    """Bounds after each completed block. `[blocks]` each."""

    estimate: FloatArray
    lower: FloatArray
    upper: FloatArray
    blocks: int

    @property
    def last(self) -> Bounds:
        """The bounds so far; without a block there are none."""
        if not len(self.estimate):
            return Bounds(math.nan, math.nan, math.nan, 0)
        return Bounds(float(self.estimate[-1]), float(self.lower[-1]), float(self.upper[-1]), self.blocks)


@dataclass(frozen=True)
class CoverageTest:
    """Coverage of a band against its target.

    Attributes:
        bounds: Bounds of a constant coverage.
        too_narrow: Whether coverage below the target has been found at level α.
        too_wide: Whether coverage above the target has been found.
    """

    bounds: Bounds
    too_narrow: bool
    too_wide: bool


def block_gains(model: FloatArray, baseline: FloatArray) -> FloatArray:
    """Compute the gain of each block, (B - M) / (B + M), within ±`GAIN_LIMIT`; NaN where there is no score.

    Args:
        model: Sums M of the model's scores by block. `[blocks]`
        baseline: Sums B of the baseline's scores of the same forecasts. `[blocks]`
    """
    total = baseline + model
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = np.where(total > 0, (baseline - model) / total, 0.0)
    gains = np.where(np.isnan(total), np.nan, gains)
    return np.clip(gains, -GAIN_LIMIT, GAIN_LIMIT)


def gain_to_skill(gain: FloatArray) -> FloatArray:
    """Convert gains g to skills 1 - M / B = 2g / (1 + g)."""
    return np.asarray(2 * gain / (1 + gain), dtype=np.float64)


def average_bounds(values: FloatArray, low: float, high: float) -> BoundsPath:
    """Bound the average conditional mean of the blocks' values after each block, at level `ALPHA`.

    The streams count equally, however many blocks each has.

    Args:
        values: Values of the completed blocks in order, NaN for blocks to leave out. `[blocks]`
        low: Smallest possible value.
        high: Largest possible value.
    """
    # Before its first value a stream has no estimate and the bounds of the range.
    estimates, lowers, uppers = (np.full((2, len(values)), start) for start in (np.nan, low, high))
    for phase in (0, 1):
        known = np.flatnonzero(~np.isnan(values[phase::2])) * 2 + phase
        sequence = empirical_bernstein_sequence(
            values[known], low=low, high=high, alpha=ALPHA / 2, optimal_variance=OPTIMAL_VARIANCE
        )
        number = np.searchsorted(known, np.arange(len(values)), side="right") - 1  # of the last value by each block
        begun = number >= 0
        for target, part in ((estimates, sequence.estimate), (lowers, sequence.lower), (uppers, sequence.upper)):
            target[phase, begun] = part[number[begun]]
    first = np.where(np.isnan(estimates[0]), estimates[1], estimates[0])
    second = np.where(np.isnan(estimates[1]), estimates[0], estimates[1])
    blocks = int((~np.isnan(values)).sum())
    return BoundsPath((first + second) / 2, lowers.mean(axis=0), uppers.mean(axis=0), blocks)


def coverage_test(shares: FloatArray, target: float) -> CoverageTest:
    """Test whether a band covers its target, at level `ALPHA`.

    Of a calibrated forecaster every forecast's chance to be inside is the target, given what was known at its origin;
    so the conditional mean of each block's share is. The bounds of both streams are intersected, since a constant
    coverage is the same for both, unless nothing is left: then coverage has changed, and they are averaged.

    Args:
        shares: Share of the closes inside by completed block, NaN for blocks to leave out. `[blocks]`
        target: Coverage that is expected of calibrated paths.
    """
    narrow, wide, lowers, uppers = False, False, [], []
    for phase in (0, 1):
        stream = shares[phase::2]
        stream = stream[~np.isnan(stream)]
        above, below = betting_test(stream, target, ALPHA / 2).rejects(ALPHA / 2)
        narrow, wide = narrow or below, wide or above
        lower, upper = betting_interval(stream, ALPHA / 2)
        lowers.append(lower)
        uppers.append(upper)
    low, high = max(lowers), min(uppers)
    if low > high:
        low, high = sum(lowers) / 2, sum(uppers) / 2
    known = shares[~np.isnan(shares)]
    estimate = float(known.mean()) if len(known) else math.nan
    return CoverageTest(Bounds(estimate, low, high, len(known)), narrow, wide)

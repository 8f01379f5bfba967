"""Real and generated sequences, as those who judge them see them, and their split by time.

Notable here:
- a sequence is shown in units of the context before it: mean and spread of each channel come from candles known at its
  origin, for real ones and generated ones alike;
- judges learn from contexts whose sequences had ended when the first one that they are tested on began.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kronos.candles import PRICES
from kronos.evaluation.paper.origins import Array, Rows, Times, Walk
from kronos.inference.normalising import normalise

CLIP = 5.0  # standard deviations, as the model sees them
LEAST = 20  # sequences of each kind, on each side of the split


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """The units that sequences are shown in, one for each origin.

    Attributes:
        mean: Of each channel of the context. [N, 1, C]
        scale: What is divided by. [N, 1, C]
    """

    mean: Array
    scale: Array

    @classmethod
    def of(cls, walk: Walk) -> Frames:
        """Read them off the contexts."""
        lookback = walk.windows.lookback
        values = [one.candles.frame.to_numpy(dtype=np.float64) for one in walk.plan.instruments]
        pairs = zip(walk.plan.series.tolist(), walk.plan.known.tolist(), strict=True)
        found = [normalise(values[i][k - lookback : k], CLIP)[1:] for i, k in pairs]
        mean, scale = (np.array([one[part] for one in found], dtype=np.float64)[:, None] for part in (0, 1))
        return cls(mean, scale)

    def shown(self, candles: Array, rows: Rows) -> Array:
        """Candles of some origins, ``[n, T, 6]``, in these units; channels that no context ever had are left out."""
        shown: Array = np.clip((candles - self.mean[rows]) / self.scale[rows], -CLIP, CLIP)
        return shown[..., self.channels]

    @property
    def channels(self) -> Rows:
        """The prices, and volume and amount where some context has them."""
        known = (self.mean != 0).any(axis=(0, 1))
        known[: len(PRICES)] = True
        return np.flatnonzero(known)


def split(times: Times) -> tuple[Rows, Rows]:
    """Earlier origins to learn from and later ones to be tested on, about half each.

    What straddles the cut is left out.

    Returns:
        Positions of the earlier and of the later origins; either may be empty.
    """
    cut = times.origins.sort_values()[len(times.origins) // 2]
    return np.flatnonzero(times.ends <= cut), np.flatnonzero(times.origins >= cut)


def in_own_units(sequences: Array, seen: int) -> Array:
    """Sequences ``[n, T, C]``, each by mean and spread of its own first ``seen`` candles."""
    found = np.empty_like(sequences)
    for row, sequence in enumerate(sequences):
        _, mean, scale = normalise(sequence[:seen], CLIP)
        found[row] = np.clip((sequence - mean) / scale, -CLIP, CLIP)
    return found

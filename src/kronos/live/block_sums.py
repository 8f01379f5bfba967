"""The rows of a series as compact arrays: one row per origin, and sums per block of H consecutive origins.

They are extended by new rows, so that an hour of a record of years costs no more than that of a new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kronos.live.entries import LEVELS, ORIGIN_KINDS, Entry, ForecastEntry, ScoreEntry, UnresolvedEntry
from kronos.live.scoring import INCREMENTS
from kronos.typing import BoolArray, FloatArray, IntArray

EVENTS = ("upside", "amplification")
_ROOM = 64  # rows of a new array


@dataclass(frozen=True)
class _Pending:
    """What is needed of a forecast when its outcome comes."""

    index: int
    sigma: float


class BlockSums:
    """Sums of the scores of a series.

    A forecast that lacks one of the contenders counts for the bands and probabilities that it has, but not where
    contenders are compared; nor does one whose history never moved, which has no unit. Once as many forecasts as the
    protocol says are scored, the figures are final: later ones are counted, and change nothing else.

    Attributes:
        horizon: Steps of a forecast, and origins of a block, H.
        contenders: Names of the contenders.
        samples: Number of paths of a forecast.
        stop_after: Number of scored forecasts at which the figures are final; None for a record without end.
        origins: Origins in their order.
        counts: Number of entries by kind.
    """

    def __init__(self, protocol: Mapping[str, Any]) -> None:
        self.horizon = horizon = int(protocol["horizon"])
        own = ("raw",) if protocol["model"]["calibration_sha256"] is None else ("calibrated", "raw")
        self.contenders: tuple[str, ...] = (*own, *protocol["baselines"])
        self.samples = int(protocol["sampling"]["paths"])
        self.stop_after: int | None = protocol["stop_after"]
        self.origins: list[str] = []
        self.counts: Counter[str] = Counter()
        self.steps = tuple(k for k in INCREMENTS if k <= horizon)
        self._pending: dict[str, _Pending] = {}
        self._allocate()

    def _allocate(self) -> None:
        contenders, horizon = len(self.contenders), self.horizon
        self._crps = np.zeros((_ROOM, contenders, horizon))
        self._inside = np.zeros((_ROOM, contenders, len(LEVELS), horizon))
        self._with_paths = np.zeros((_ROOM, contenders))
        self._compared, self._open = np.zeros(_ROOM, dtype=np.int64), np.zeros(_ROOM, dtype=np.int64)
        self._increments, self._with_increments = np.zeros((contenders, len(self.steps))), 0
        self._chances = np.full((_ROOM, len(EVENTS), contenders), np.nan)
        self._happened = np.full((_ROOM, len(EVENTS)), np.nan)

    def extend(self, entries: Iterable[Entry]) -> None:
        """Add new entries of the series in the order of the record.

        Raises:
            ValueError: If an outcome has no forecast.
        """
        for entry in entries:
            self.counts[entry.kind] += 1
            if entry.kind in ORIGIN_KINDS:
                self._add_origin(entry)
            elif isinstance(entry, ScoreEntry | UnresolvedEntry):
                pending = self._pending.pop(entry.origin, None)
                if pending is None:
                    raise ValueError(f"the {entry.kind} entry of {entry.origin} has no forecast")
                self._open[pending.index // self.horizon] -= 1
                if isinstance(entry, ScoreEntry) and (not self.final or self.counts["score"] == self.stop_after):
                    self._add_score(entry, pending)

    @property
    def final(self) -> bool:
        """Whether as many forecasts are scored as the protocol announced."""
        return self.stop_after is not None and self.counts["score"] >= self.stop_after

    @property
    def blocks(self) -> int:
        """Number of blocks begun."""
        return -(-len(self.origins) // self.horizon)

    @property
    def completed(self) -> int:
        """Number of blocks whose origins are all settled, before the first that is not."""
        whole = len(self.origins) // self.horizon
        waiting = np.flatnonzero(self._open[:whole])
        return int(waiting[0]) if len(waiting) else whole

    @property
    def pending(self) -> int:
        """Number of forecasts without an outcome."""
        return len(self._pending)

    @property
    def crps(self) -> FloatArray:
        """Sums of the CRPS in units of σ√h, of the compared forecasts. `[blocks, contenders, H]`."""
        return self._crps[: self.blocks]

    @property
    def compared(self) -> IntArray:
        """Number of compared forecasts. `[blocks]`."""
        return self._compared[: self.blocks]

    @property
    def inside(self) -> FloatArray:
        """Number of closes inside each band. `[blocks, contenders, levels, H]`."""
        return self._inside[: self.blocks]

    @property
    def scored(self) -> FloatArray:
        """Number of scored forecasts of each contender. `[blocks, contenders]`."""
        return self._with_paths[: self.blocks]

    @property
    def chances(self) -> FloatArray:
        """Probabilities by event and contender; NaN where unknown. `[origins, events, contenders]`."""
        return self._chances[: len(self.origins)]

    @property
    def happened(self) -> FloatArray:
        """Outcomes by event, 0 or 1; NaN where unknown. `[origins, events]`."""
        return self._happened[: len(self.origins)]

    @property
    def increments(self) -> FloatArray:
        """Mean scores of price changes of the compared forecasts. `[contenders, steps]`; NaN without any."""
        if not self._with_increments:
            return np.full(self._increments.shape, np.nan)
        return self._increments / self._with_increments

    def _add_origin(self, entry: Entry) -> None:
        index = len(self.origins)
        self.origins.append(entry.origin)
        self._reserve(index + 1)
        if not isinstance(entry, ForecastEntry) or entry.kind != "forecast":
            return
        self._pending[entry.origin] = _Pending(index, entry.sigma)
        self._open[index // self.horizon] += 1
        for e, event in enumerate(EVENTS):
            given = entry.probabilities.get(event, {})
            self._chances[index, e] = [given[name][0] if name in given else np.nan for name in self.contenders]

    def _add_score(self, entry: ScoreEntry, pending: _Pending) -> None:
        block = pending.index // self.horizon
        self._happened[pending.index] = [entry.outcome[event] for event in EVENTS]
        present = [(c, entry.scores[name]) for c, name in enumerate(self.contenders) if name in entry.scores]
        for c, scores in present:
            self._with_paths[block, c] += 1
            self._inside[block, c] += [_flags(scores["inside"][str(level)]) for level in LEVELS]
        if len(present) == len(self.contenders) and pending.sigma > 0:
            self._compared[block] += 1
            self._with_increments += 1
            unit = pending.sigma * np.sqrt(np.arange(1, self.horizon + 1))
            self._crps[block] += np.array([scores["crps"] for _, scores in present]) / unit
            self._increments += [[scores["increments"][str(k)] for k in self.steps] for _, scores in present]

    def _reserve(self, origins: int) -> None:
        """Make room for a number of origins."""
        blocks = -(-origins // self.horizon)
        for name in ("_crps", "_inside", "_with_paths", "_compared", "_open"):
            setattr(self, name, _grown(getattr(self, name), blocks, 0))
        for name in ("_chances", "_happened"):
            setattr(self, name, _grown(getattr(self, name), origins, np.nan))


def _flags(text: str) -> BoolArray:
    return np.asarray(np.frombuffer(text.encode("ascii"), dtype=np.uint8) == ord("1"), dtype=np.bool_)


def _grown(array: NDArray[Any], rows: int, fill: float) -> NDArray[Any]:
    """The array with room for so many rows, twice as much as before if it is full."""
    if rows <= len(array):
        return array
    more = np.full((max(rows - len(array), len(array)), *array.shape[1:]), fill, dtype=array.dtype)
    return np.concatenate([array, more])

"""Training samples: windows of many instruments, each determined by its number alone.

- A window lies within one segment of one instrument; instruments are never concatenated.
- Training sample i is a function of (seed, epoch, i), with a counter-based generator of its own: workers, processes,
  batch sizes and resuming change nothing.
- Windows of validation and test are fixed and spread evenly over all segments. What they predict lies in their part;
  their history may begin before it.
- Statistics for normalisation come from the history only. `check_leakage` verifies that, also for subclasses.
- `batches` makes batches of samples; so does a `DataLoader` with ``collate_fn=collate``.

Subclass `WindowDataset` to vary samples: override `transform` to change the candles, `normalise` to scale them in
another way. Both get copies, and must not look beyond their arguments:

    class Noisy(WindowDataset):
        def transform(self, candles, rng):
            return candles * np.exp(rng.normal(0, 1e-4, (len(candles), 1)))

    assert not check_leakage(Noisy(data, "train", settings))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch.utils.data import Dataset

from kronos.candles import PRICES
from kronos.datasets.batching import Sample
from kronos.datasets.segments import Part
from kronos.datasets.splits import PART_TITLES
from kronos.datasets.training_data import TrainingData, WindowSettings
from kronos.errors import DataError, ParameterError
from kronos.normalisation import CLOSE, HIGH, LOW, OPEN, fit_scaler, mirror_prices
from kronos.rng import window_generator
from kronos.typing import FloatArray, IntArray

MOST_AGGREGATED = 4  # candles of one aggregated candle

_EXPONENTS = {"sqrt": 0.5, "size": 1.0, "equal": 0.0}  # weight of a group: its size to this power


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Position of a sample and how it is varied.

    Attributes:
        first: First row in the store.
        known: Candles of history.
        without_volume: Whether volume and amount are set to zero.
        mirrored: Whether prices are upside down.
        factor: Consecutive candles of the store that make one candle of the sample.
        rng: Generator for `WindowDataset.transform`; None in validation and test, which are not varied.
    """

    first: int
    known: int
    without_volume: bool = False
    mirrored: bool = False
    factor: int = 1
    rng: np.random.Generator | None = None


class WindowDataset(Dataset[Sample]):
    """Windows of one part of the training data.

    Args:
        data: From `open_training_data`.
        part: ``train``, ``val`` or ``test``; only training windows are random and varied.
        settings: Length of the windows, and how they are drawn and varied.
        samples: In training, samples per epoch (default: number of windows); else the maximum number of windows.
        seed: Random seed, at least 0.

    Attributes:
        available: Number of different windows.

    Raises:
        DataError: If the part has no window; the message explains why.
        ParameterError: If there is no such part, or a number is out of range.
    """

    def __init__(
        self,
        data: TrainingData,
        part: Literal["train", "val", "test"],
        settings: WindowSettings,
        *,
        samples: int | None = None,
        seed: int = 100,
    ) -> None:
        if samples is not None and samples < 1:
            raise ParameterError(f"Invalid samples {samples}: choose at least 1 window.")
        if not 0 <= seed < 1 << 63:
            raise ParameterError(f"Invalid seed {seed}: choose a whole number from 0 on.")
        self.data, self.part, self.settings, self.seed = data, part, settings, seed
        self._epoch = 0
        self._index = _WindowIndex.build(data, part, settings)
        self.available = self._index.windows
        if not self.available:
            raise DataError(explain_empty_part(data, part, settings))
        fixed = self.available if samples is None else min(samples, self.available)
        self._length = fixed if part != "train" or samples is None else samples

    @property
    def epoch(self) -> int:
        """Number of the pass over the training samples, from 0."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the pass: training samples differ between passes, others do not.

        A `DataLoader` copies the dataset to its workers when an iteration begins: call it before, and do not use
        ``persistent_workers``.
        """
        if not 0 <= epoch < 1 << 31:
            raise ParameterError(f"Invalid epoch {epoch}: choose a whole number from 0 on.")
        self._epoch = epoch

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        """The sample of a number, from 0.

        Raises:
            IndexError: If there is no such sample.
        """
        if not 0 <= index < self._length:
            raise IndexError(f"Sample {index} is out of range: there are {self._length}.")
        window = self.window(index)
        return self._sample(window, self._epoch * self._length + index if self.part == "train" else index)

    def window(self, index: int) -> Window:
        """Position of a sample, and how it is varied."""
        settings = self.settings
        if self.part != "train":
            number = (2 * index + 1) * self.available // (2 * self._length)
            return Window(self._index.row(number), settings.lookback)
        rng = window_generator(self.seed, self._epoch, index)
        group, position, length, volume, mirror = rng.random(5).tolist()
        shortest = settings.lookback if settings.shortest is None else settings.shortest
        first, follow = self._index.sample(group, position)
        factor = 1
        if settings.aggregated and rng.random() < settings.aggregated:
            factor = min(int(rng.integers(2, MOST_AGGREGATED + 1)), 1 + follow // settings.total)
        return Window(
            first=first,
            known=shortest + int(length * (settings.lookback - shortest + 1)),
            without_volume=volume < settings.without_volume,
            mirrored=mirror < settings.mirrored,
            factor=factor,
            rng=rng,
        )

    def candles(self, window: Window) -> FloatArray:
        """The candles of a window before they are varied: open, high, low, close, volume, amount; a copy ``[L, 6]``."""
        return _aggregate(np.array(self.data.store.candles[self._rows(window)]), window.factor)

    def transform(self, candles: FloatArray, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002 (for subclasses)
        """Vary the candles of a training window before everything else; override it, the default changes nothing.

        A candle of the result may depend on candles before it, but not on candles after it.

        Args:
            candles: Open, high, low, close, volume, amount, not normalised; a copy. [L, 6]
            rng: The sample's own generator; the same for the same sample.

        Returns:
            As many candles. [L, 6]
        """
        return candles

    def normalise(self, candles: FloatArray, known: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Normalise a window by the statistics of its history; override it for another scale.

        Args:
            candles: The whole window. [L, 6]
            known: Candles of history; later ones must not change the statistics or earlier rows.

        Returns:
            Normalised candles before clipping ``[L, 6]``, their location ``[6]`` and their scale ``[6]``.
        """
        scaler = fit_scaler(candles[:known], self.settings.normalisation)
        location, scale = np.asarray(scaler.location, np.float64), np.asarray(scaler.scale, np.float64)
        return np.asarray(scaler.transform(candles), np.float64), location, scale

    def _sample(self, window: Window, row: int) -> Sample:
        settings, candles = self.settings, self.candles(window)
        if window.rng is not None:
            shape = candles.shape
            candles = np.array(self.transform(candles, window.rng), dtype=np.float64)
            if candles.shape != shape:
                raise ParameterError(
                    f"{type(self).__name__}.transform returned candles {list(candles.shape)} for {list(shape)}: return "
                    "as many."
                )
        if window.without_volume:
            candles[:, len(PRICES) :] = 0.0
        values, _, scale = self.normalise(candles, window.known)
        x = np.clip(values, -settings.clip, settings.clip).astype(np.float32)
        if window.mirrored:
            x = mirror_prices(x, settings.normalisation)
        step = float(np.diff(candles[: window.known, CLOSE]).std() / scale[CLOSE])
        stamps = self.data.store.stamps[self._rows(window)][:: window.factor].astype(np.int64)
        return Sample(x, stamps, window.known, step, row)

    def _rows(self, window: Window) -> slice:
        return slice(window.first, window.first + self.settings.total * window.factor)


def _aggregate(candles: FloatArray, factor: int) -> FloatArray:
    """Candles ``[L, 6]`` that are each made of ``factor`` consecutive ones ``[L · factor, 6]``."""
    if factor == 1:
        return candles
    groups = candles.reshape(-1, factor, candles.shape[1])
    aggregated = groups[:, -1].copy()  # the last close
    aggregated[:, OPEN] = groups[:, 0, OPEN]
    aggregated[:, HIGH] = groups[..., HIGH].max(axis=1)
    aggregated[:, LOW] = groups[..., LOW].min(axis=1)
    aggregated[:, len(PRICES) :] = groups[..., len(PRICES) :].sum(axis=1)
    return aggregated


@dataclass(frozen=True, slots=True, eq=False)
class _WindowIndex:
    """The windows of a part, numbered group by group and segment by segment.

    Attributes:
        begins: First row of each segment's first window. [n]
        ends: Number of windows up to and including each segment. [n]
        groups: Number of windows up to and including each group. [G]
        shares: Cumulative probability of the groups; the last is 1. [G]
    """

    begins: IntArray
    ends: IntArray
    groups: IntArray
    shares: FloatArray

    @classmethod
    def build(cls, data: TrainingData, part: Part, settings: WindowSettings) -> _WindowIndex:
        rows = data.span_rows(part)
        begins = np.maximum(rows[:, 1], rows[:, 3] - settings.lookback)
        counts = np.maximum(rows[:, 2] - settings.total + 1 - begins, 0)
        _, group = np.unique(np.array(data.groups)[rows[:, 0]], return_inverse=True)
        order = np.argsort(group, kind="stable")
        order = order[counts[order] > 0]
        sizes = np.bincount(group[order], weights=counts[order])
        sizes = sizes[sizes > 0]
        shares = np.cumsum(sizes ** _EXPONENTS[settings.weighting])
        return cls(
            begins[order],
            np.cumsum(counts[order]),
            np.cumsum(sizes).astype(np.int64),
            shares / shares[-1:],
        )

    @property
    def windows(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def row(self, number: int) -> int:
        """First row of a window, by its number."""
        return self._locate(number)[0]

    def sample(self, group: float, position: float) -> tuple[int, int]:
        """The window that two uniform numbers select: its group, and its position in the group.

        Returns:
            Its first row, and how many windows of the same segment begin after it.
        """
        selected = int(self.shares.searchsorted(group, side="right"))
        before = int(self.groups[selected - 1]) if selected else 0
        return self._locate(before + int(position * (int(self.groups[selected]) - before)))

    def _locate(self, number: int) -> tuple[int, int]:
        """First row of a window, by its number, and how many windows of its segment begin after it."""
        segment = int(self.ends.searchsorted(number, side="right"))
        before = int(self.ends[segment - 1]) if segment else 0
        return int(self.begins[segment]) + number - before, int(self.ends[segment]) - number - 1


def explain_empty_part(data: TrainingData, part: Part, settings: WindowSettings) -> str:
    """Explain why a part has no window: its candles, the candles of a window, and what to change."""
    subject = f"The {PART_TITLES[part]} part of {data.name}"
    needed = f"a window needs {settings.total} ({settings.lookback} of history, {settings.predict} to predict)"
    candles, rows = data.parts.candles[part], data.span_rows(part)
    if not candles:
        return (
            f"{subject} is empty: none of the {len(data.store):,} candles lie {_dates_of(data, part)}, and {needed}. "
            "Change the dates, or add candles."
        )
    if not len(rows):
        return (
            f"{subject} is empty: the quality filters drop all of its {candles:,} candles, and {needed}. Use longer "
            "histories without gaps, or --quality none (quality: none)."
        )
    longest = int((rows[:, 2] - rows[:, 1]).max())
    kept = int((rows[:, 2] - rows[:, 3]).sum())
    if longest >= settings.total:
        predictable = int((rows[:, 2] - rows[:, 3]).max())
        return (
            f"{subject} has no window: at most {predictable:,} candles of one stretch may be predicted, and {needed}. "
            "Predict fewer candles, or give the part more time."
        )
    return (
        f"{subject} has no window: of its {candles:,} candles {kept:,} are usable, the longest unbroken stretch has "
        f"{longest:,}, and {needed}. Use longer histories, a shorter window, or a larger share for the part."
    )


def _dates_of(data: TrainingData, part: Part) -> str:
    """The dates of a part, for the middle of a sentence."""
    points = list(data.cuts.values())
    if len(set(points)) != 1:
        return "in its dates"
    if part == "train":
        return f"before {points[0].validation:%Y-%m-%d}"
    later = f"{data.embargo} candles or more " if data.embargo else ""
    if part == "val":
        return f"{later}after {points[0].validation:%Y-%m-%d} and before {points[0].test:%Y-%m-%d}"
    return f"{later}after {points[0].test:%Y-%m-%d}"

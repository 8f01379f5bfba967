"""Training samples: windows of many instruments, drawn so that a sample depends on nothing but its number.

- A window lies in one unbroken stretch of one instrument; instruments of unequal length are never joined end to end.
- Training sample i is a function of (seed, epoch, i): a counter-based generator belongs to each, so that workers,
  processes, batch sizes and a resume change nothing.
- Windows of validation and test are fixed and spread evenly over all stretches. What they predict lies in their part;
  what they know may lie before it.
- Everything is normalised with what is known. `leaks` checks that, for subclasses too.
- `batches` hands samples out; a `DataLoader` does too, with ``collate_fn=collate``.

To vary samples, subclass `WindowDataset`: override `transform` for what happens to the candles, `normalise` for how
they are scaled. Both get copies, and both must look at nothing but what they are given:

    class Noisy(WindowDataset):
        def transform(self, candles, rng):
            return candles * np.exp(rng.normal(0, 1e-4, (len(candles), 1)))

    assert not leaks(Noisy(data, "train", settings))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from kronos.candles import PRICES
from kronos.datasets.batching import Batch, Sample, batches, collate
from kronos.datasets.leakage import check_leakage
from kronos.datasets.segments import Part
from kronos.datasets.splits import TITLES
from kronos.datasets.training_data import TrainingData, WindowSettings
from kronos.errors import DataError, ParameterError
from kronos.preprocessing import CLOSE, normalisation_statistics
from kronos.typing import FloatArray


def explain_empty_part(data: TrainingData, part: Part, settings: WindowSettings) -> str:
    """Say why a part has no window, how many candles there are, how many one takes, and what mends it."""
    subject = f"The {TITLES[part]} part of {data.name}"
    needed = f"a window takes {settings.total} ({settings.lookback} known, {settings.predict} to predict)"
    candles, rows = data.parts.candles[part], data.span_rows(part)
    if not candles:
        return (
            f"{subject} is empty: none of its {len(data.store):,} candles lie {_dates(data, part)}, and {needed}; move "
            f"the dates, or give candles of that time."
        )
    if not len(rows):
        return (
            f"{subject} is empty: the quality filters leave none of its {candles:,} candles, and {needed}; give longer "
            f"unbroken histories, or set quality to none."
        )
    longest = int((rows[:, 2] - rows[:, 1]).max())
    kept = int((rows[:, 2] - rows[:, 3]).sum())
    if longest >= settings.total:
        most = int((rows[:, 2] - rows[:, 3]).max())
        return (
            f"{subject} has no window: at most {most:,} candles of one stretch may be predicted, and {needed}; predict "
            f"fewer, or give the part more time."
        )
    return (
        f"{subject} has no window: of its {candles:,} candles {kept:,} are fit to use, the longest unbroken stretch "
        f"has {longest:,}, and {needed}; give longer histories, a shorter window or the part a larger share."
    )


def _dates(data: TrainingData, part: Part) -> str:
    """When a part is, for the middle of a sentence."""
    cuts = list(data.cuts.values())
    if len(set(cuts)) != 1:
        return "in its dates"
    if part == "train":
        return f"before {cuts[0].validation:%Y-%m-%d}"
    later = f"{data.embargo} candles or more " if data.embargo else ""
    if part == "val":
        return f"{later}after {cuts[0].validation:%Y-%m-%d} and before {cuts[0].test:%Y-%m-%d}"
    return f"{later}after {cuts[0].test:%Y-%m-%d}"


__all__ = ["Batch", "Sample", "Window", "WindowDataset", "WindowSettings", "batches", "check_leakage", "collate"]

_STREAM = 0x77696E646F7773  # sets these draws apart from others of the same seed
_UPSIDE_DOWN = [0, 2, 1, 3]  # of open, high, low, close
_POWERS = {"sqrt": 0.5, "size": 1.0, "equal": 0.0}  # of a group's size: its share


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Where a sample lies, and how it is varied.

    Attributes:
        first: Its first row in the store.
        known: Candles of its lookback part.
        without_volume: Whether volume and amount are zeroed.
        mirrored: Whether prices are upside down.
        rng: For `WindowDataset.transform`; None in validation and test, where nothing is varied.
    """

    first: int
    known: int
    without_volume: bool = False
    mirrored: bool = False
    rng: np.random.Generator | None = None


class WindowDataset(Dataset[Sample]):
    """Windows of a part of training data.

    Attributes:
        data: The candles and their parts.
        part: ``train``, ``val`` or ``test``.
        settings: What a window is.
        seed: Of the draws.
        available: How many different windows there are.
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
        """Find a part's windows.

        Args:
            data: What `open_training_data` gave.
            part: Which part; only training is drawn at random and varied.
            settings: What a window is.
            samples: In training, samples of an epoch (as many as there are windows, if None); else windows at most.
            seed: Of the draws, at least 0.

        Raises:
            DataError: If the part has no window, saying why.
            ParameterError: If there is no such part, or a number is out of its range.
        """
        if samples is not None and samples < 1:
            raise ParameterError(f"samples counts windows, at least 1, not {samples}.")
        if not 0 <= seed < 1 << 63:
            raise ParameterError(f"The seed is a whole number from 0 on, not {seed}.")
        self.data, self.part, self.settings, self.seed = data, part, settings, seed
        self._epoch = 0
        self._index = _Index.of(data, part, settings)
        self.available = self._index.windows
        if not self.available:
            raise DataError(explain_empty_part(data, part, settings))
        fixed = self.available if samples is None else min(samples, self.available)
        self._length = fixed if part != "train" or samples is None else samples

    @property
    def epoch(self) -> int:
        """Which pass through the training samples this is, from 0."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Say which pass begins: training samples are drawn anew in each; others stay.

        A `DataLoader` copies the dataset into its workers when an iteration begins, so say it before, and do without
        ``persistent_workers``.
        """
        if not 0 <= epoch < 1 << 31:
            raise ParameterError(f"Epochs are numbered from 0; there is no epoch {epoch}.")
        self._epoch = epoch

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        """The sample of a number, from 0.

        Raises:
            IndexError: If there is none of that number.
        """
        if not 0 <= index < self._length:
            raise IndexError(f"There are {self._length} samples, numbered from 0; there is no number {index}.")
        window = self.window(index)
        return self._sample(window, self._epoch * self._length + index if self.part == "train" else index)

    def window(self, index: int) -> Window:
        """Where the sample of a number lies, and how it is varied."""
        if self.part != "train":
            return Window(
                self._index.row((2 * index + 1) * self.available // (2 * self._length)), self.settings.lookback
            )
        settings = self.settings
        counter = np.array([0, 0, index, self._epoch], dtype=np.uint64)
        key = np.array([self.seed, _STREAM], dtype=np.uint64)
        rng = np.random.Generator(np.random.Philox(counter=counter, key=key))
        group, place, length, volume, mirror = rng.random(5).tolist()
        shortest = settings.lookback if settings.shortest is None else settings.shortest
        return Window(
            first=self._index.draw(group, place),
            known=shortest + int(length * (settings.lookback - shortest + 1)),
            without_volume=volume < settings.without_volume,
            mirrored=mirror < settings.mirrored,
            rng=rng,
        )

    def transform(self, candles: FloatArray, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002 (for subclasses)
        """Vary a training window's candles, before anything else is done with them; as they are, unless overridden.

        A candle of the result may depend on candles before it, never on those after it.

        Args:
            candles: Open, high, low, close, volume, amount, as the data have them; a copy. [L, 6]
            rng: The sample's own draws: with the same number it is the same.

        Returns:
            As many candles. [L, 6]
        """
        return candles

    def normalise(self, candles: FloatArray, known: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Normalise a window with the statistics of what is known; override it for another scale.

        Args:
            candles: The whole window. [L, 6]
            known: How many of them are known; the others must change neither the statistics nor earlier rows.

        Returns:
            The normalised candles ``[L, 6]``, not clipped yet; what was subtracted ``[6]``; what that was divided by
            ``[6]``.
        """
        mean, scale = normalisation_statistics(candles[:known], self.settings.normalisation)
        return (candles - mean) / scale, np.asarray(mean, np.float64), np.asarray(scale, np.float64)

    def _sample(self, window: Window, row: int) -> Sample:
        settings, store = self.settings, self.data.store
        rows = slice(window.first, window.first + settings.total)
        candles = np.array(store.candles[rows])
        if window.rng is not None:
            candles = self._transformed(candles, window.rng)
        if window.without_volume:
            candles[:, len(PRICES) :] = 0.0
        values, _, scale = self.normalise(candles, window.known)
        x = np.clip(values, -settings.clip, settings.clip).astype(np.float32)
        if window.mirrored:
            x[:, : len(PRICES)] = -x[:, _UPSIDE_DOWN]
        step = float(np.diff(candles[: window.known, CLOSE]).std() / scale[CLOSE])
        return Sample(x, store.stamps[rows].astype(np.int64), window.known, step, row)

    def _transformed(self, candles: FloatArray, rng: np.random.Generator) -> FloatArray:
        given = candles.shape
        made = np.array(self.transform(candles, rng), dtype=np.float64)
        if made.shape != given:
            raise ParameterError(
                f"{type(self).__name__}.transform made candles {list(made.shape)} of {list(given)}; return as many."
            )
        return made


@dataclass(frozen=True, slots=True, eq=False)
class _Index:
    """A part's windows, numbered group by group and stretch by stretch.

    Attributes:
        begins: The first row of each stretch's first window. [n]
        ends: How many windows there are up to and with each stretch. [n]
        groups: How many windows there are up to and with each group. [G]
        shares: Up to which uniform draw each group is taken; the last is 1. [G]
    """

    begins: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    shares: FloatArray

    @classmethod
    def of(cls, data: TrainingData, part: Part, settings: WindowSettings) -> _Index:
        rows = data.span_rows(part)
        begins = np.maximum(rows[:, 1], rows[:, 3] - settings.lookback)
        counts = np.maximum(rows[:, 2] - settings.total + 1 - begins, 0)
        _, group = np.unique(np.array(data.groups)[rows[:, 0]], return_inverse=True)
        order = np.argsort(group, kind="stable")
        order = order[counts[order] > 0]
        sizes = np.bincount(group[order], weights=counts[order])
        sizes = sizes[sizes > 0]
        shares = np.cumsum(sizes ** _POWERS[settings.weighting])
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
        """The first row of the window of a number."""
        stretch = int(self.ends.searchsorted(number, side="right"))
        before = int(self.ends[stretch - 1]) if stretch else 0
        return int(self.begins[stretch]) + number - before

    def draw(self, group: float, place: float) -> int:
        """The first row of the window that two uniform draws choose: its group, then its place there."""
        chosen = int(self.shares.searchsorted(group, side="right"))
        before = int(self.groups[chosen - 1]) if chosen else 0
        return self.row(before + int(place * (int(self.groups[chosen]) - before)))

"""Training data: candles of many instruments, and where training, validation and test lie in them.

`open_training_data` reads files, folders, prepared datasets and Qlib folders into a memory-mapped store and splits them
by date. `kronos.datasets.WindowDataset` makes samples of the result.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import pandas as pd

from kronos.atomic import atomic_path
from kronos.candles import ReadOptions
from kronos.datasets.config import Split, WindowsSection
from kronos.datasets.memmap_store import MemmapCandles, build_store
from kronos.datasets.segments import (
    PRICE_JUMP,
    Part,
    QualityFilter,
    Segment,
    SegmentsByPart,
    Spans,
    find_segments,
    split_points,
)
from kronos.datasets.splits import PARTS, SplitDates, SplitPoints, read_split_dates
from kronos.errors import ParameterError
from kronos.provenance import versions
from kronos.zoo import Normalisation

CACHE = Path("data") / "training_cache"
_FORMAT = 1
_DAY = 86_400_000_000

MIN_LOOKBACK = 2  # candles: a single one has no spread
Weighting = Literal["sqrt", "size", "equal"]


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """Length of a training sample, and how samples are drawn and varied.

    Attributes:
        lookback: Candles of history.
        predict: Candles to predict.
        shortest: If set, each training sample has a random history of ``shortest`` to ``lookback`` candles and predicts
            the rest; windows of validation and test always have ``lookback``.
        clip: Bound of the normalised candles.
        normalisation: ``spread`` as published, ``steps`` or ``changes``; see `kronos.normalisation`.
        without_volume: Share of training samples with volume and amount set to zero.
        mirrored: Share of training samples with prices upside down.
        aggregated: Share of training samples whose candles are each made of 2 to 4 consecutive ones, where the
            instrument's unbroken candles are enough; an interval that the files do not have.
        weighting: How training samples are shared among groups (markets and intervals): in proportion to the square
            root of the number of windows (``sqrt``), to their number (``size``), or equally (``equal``). Within a group
            all windows are equally likely.

    Raises:
        ParameterError: If a value is out of range.
    """

    lookback: int = 90
    predict: int = 10
    shortest: int | None = None
    clip: float = 5.0
    normalisation: Normalisation = "spread"
    without_volume: float = 0.05
    mirrored: float = 0.0
    aggregated: float = 0.0
    weighting: Weighting = "sqrt"

    def __post_init__(self) -> None:
        if self.lookback < MIN_LOOKBACK:
            raise ParameterError(f"Invalid lookback {self.lookback}: choose at least {MIN_LOOKBACK} candles.")
        if self.predict < 1:
            raise ParameterError(f"Invalid predict {self.predict}: choose at least 1 candle.")
        if self.shortest is not None and not MIN_LOOKBACK <= self.shortest <= self.lookback:
            raise ParameterError(f"Invalid shortest {self.shortest}: choose {MIN_LOOKBACK}–{self.lookback} (lookback).")
        if not self.clip > 0:
            raise ParameterError(f"Invalid clip {self.clip}: choose a number above 0, such as 5.")
        for name in ("without_volume", "mirrored", "aggregated"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ParameterError(f"Invalid {name} {share}: choose a share of the samples from 0 to 1.")
        for name, value, choices in (
            ("normalisation", self.normalisation, get_args(Normalisation)),
            ("weighting", self.weighting, ("sqrt", "size", "equal")),
        ):
            if value not in choices:
                raise ParameterError(f"Invalid {name} '{value}': choose {', '.join(choices)}.")

    @property
    def total(self) -> int:
        """Candles of one sample."""
        return self.lookback + self.predict


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Candles, and where training, validation and test lie in them.

    Attributes:
        name: The path or name it was opened by.
        store: The candles.
        parts: The segments of each part.
        cuts: By group, when validation and test begin, UTC.
        split: The shares or dates; None if all candles are from a prepared dataset, which has its own parts.
        embargo: Candles after each split point that are not predicted.
        quality: The quality filter.
    """

    name: str
    store: MemmapCandles
    parts: SegmentsByPart
    cuts: Mapping[str, SplitPoints]
    split: Split | SplitDates | None
    embargo: int
    quality: QualityFilter

    @property
    def groups(self) -> tuple[str, ...]:
        """Market and interval of each instrument: ``us_equity 1d``."""
        return tuple(info.group for info in self.store.series)

    @property
    def simulated(self) -> bool:
        """Whether any of the candles are simulated."""
        return any(info.simulated for info in self.store.series)

    @property
    def digest(self) -> str:
        """Digest of the candles and the parts: equal digests mean equal windows."""
        digest = hashlib.sha256(self.store.digest.encode())
        for part in PARTS:
            digest.update(part.encode() + self.parts.spans[part].astype("<i8").tobytes())
        return digest.hexdigest()

    def spans(self, part: Part) -> list[Segment]:
        """The segments of a part.

        Raises:
            ParameterError: If there is no such part.
        """
        return [Segment(*row) for row in self.span_rows(part).tolist()]

    def span_rows(self, part: Part) -> Spans:
        """The segments as numbers ``[n, 4]``: series, first row, row after the last, first row to predict."""
        if part not in PARTS:
            raise ParameterError(f"Unknown part '{part}': choose {', '.join(PARTS)}.")
        return self.parts.spans[part]

    def end_dates(self, part: Part) -> dict[str, str]:
        """The first day without candles of a part, by market; ``kronos.json`` records it as the training cutoff.

        Intervals of a market whose candles of the part end earlier have dates of their own, such as ``us_equity 1d``.

        Args:
            part: ``train`` for the candles that weights were fitted to, ``val`` for those they were selected on.
        """
        last: dict[str, int] = {}
        markets: dict[str, str] = {}
        for number, _, stop, _ in self.span_rows(part).tolist():
            info = self.store.series[number]
            length = 0 if info.stamped_close else info.length.seconds * 1_000_000
            closed = int(self.store.times[stop - 1]) + length
            for key in (info.market, info.group):
                markets[key] = info.market
                last[key] = max(closed, last.get(key, closed))
        days = {key: str(np.datetime64(-(-closed // _DAY), "D")) for key, closed in sorted(last.items())}
        return {key: day for key, day in days.items() if key == markets[key] or day != days[markets[key]]}

    def describe(self) -> dict[str, Any]:
        """Describe the data for the record of a run, as JSON values: files with digests, dates, counts, omissions."""
        store = self.store
        return {
            "data": self.name,
            "digest": self.digest,
            "simulated": self.simulated,
            "candles": len(store),
            "store": {"folder": str(store.folder), "digest": store.digest},
            "split": self._describe_split(),
            "quality": {"rules": self.quality, "price_jump": PRICE_JUMP},
            "parts": {part: self._describe_part(cast("Part", part)) for part in PARTS},
            "groups": self._count_by_group(),
            "files": [dict(file) for file in store.files],
            "unreadable": [{"path": path, "problem": why} for path, why in store.unreadable],
        }

    def _describe_split(self) -> dict[str, Any]:
        cuts = {
            group: {"validation_from": points.validation.isoformat(), "test_from": points.test.isoformat()}
            for group, points in sorted(self.cuts.items())
        }
        if self.split is None:
            return {"by": "the prepared dataset", "cuts": cuts}
        if isinstance(self.split, SplitDates):
            return {"by": self.split.name, "embargo": self.embargo, "cuts": cuts}
        shares = self.split.model_dump(include={"train", "validation", "test", "dates"})
        return {"by": "shares", **shares, "embargo": self.embargo, "cuts": cuts}

    def _describe_part(self, part: Part) -> dict[str, Any]:
        """Size of a part, and first and last time of what may be predicted."""
        rows = self.span_rows(part)
        kept = int((rows[:, 2] - rows[:, 3]).sum())
        counts = {"candles": self.parts.candles[part], "kept": kept, "stretches": len(rows)}
        if not len(rows):
            return counts | {"first": None, "last": None}
        first, last = int(self.store.times[rows[:, 3]].min()), int(self.store.times[rows[:, 2] - 1].max())
        return counts | {"first": _iso(first), "last": _iso(last)}

    def _count_by_group(self) -> dict[str, dict[str, int]]:
        """Instruments of each group, and its candles that may be predicted in each part."""
        counts = {group: dict.fromkeys(("series", *PARTS), 0) for group in sorted(set(self.groups))}
        for group in self.groups:
            counts[group]["series"] += 1
        for part in PARTS:
            for number, _, stop, future in self.parts.spans[part].tolist():
                counts[self.groups[number]][part] += stop - future
        return counts


def open_training_data(
    data: str | Path,
    *,
    split: Split | SplitDates | Path | str | None = None,
    windows: WindowsSection | WindowSettings | None = None,
    cache: str | Path = CACHE,
    quality: QualityFilter = "paper",
    reading: ReadOptions | None = None,
) -> TrainingData:
    """Open the data to train a model on.

    Args:
        data: A CSV, Feather or Parquet file; a folder of them, whose ``MANIFEST.csv`` (path, market, symbol, freq) or
            sub-folders name the markets; the name or folder of a prepared dataset, which keeps its own parts; or
            ``qlib:FOLDER``, ``qlib:FOLDER:csi300``.
        split: Shares by common dates; or dates by market, as a `SplitDates` or the path of a ``splits.csv``. None for
            70, 15 and 15 %.
        windows: A training sample; the embargo is as long as it predicts, unless the split sets one.
        cache: Folder in which candles are cached for the next run.
        quality: ``paper`` for candles that pass the paper's filters; ``none`` for all, which only splits at missing
            prices and at jumps of more than 30 %.
        reading: How files are written; None infers it.

    Returns:
        The candles and their parts. `WindowDataset` reports parts without windows.

    Raises:
        ParameterError: If there is no such data, or the split has no dates for one of its markets.
        DataError: If nothing can be read, or there are too few candles for three parts.
        StorageError: If the cache cannot be written.
    """
    if quality not in ("paper", "none"):
        raise ParameterError(f"Invalid quality '{quality}': choose 'paper' or 'none'.")
    split = read_split_dates(split) if isinstance(split, str | Path) else split or Split()
    store = build_store(data, cache, reading)
    embargo = split.embargo if split.embargo is not None else (windows or WindowsSection()).predict
    if embargo < 0:
        raise ParameterError(f"Invalid embargo {embargo}: choose 0 candles or more.")
    points = split_points(store, split)
    parts = _cached_segments(store, points, embargo, quality, Path(cache))
    return TrainingData(
        name=str(data),
        store=store,
        parts=parts,
        cuts=_points_by_group(store, points, parts),
        split=split if points else None,
        embargo=embargo,
        quality=quality,
    )


def _points_by_group(
    store: MemmapCandles, points: Mapping[int, SplitPoints], parts: SegmentsByPart
) -> dict[str, SplitPoints]:
    """Split points of each group; for prepared datasets, the first candles of validation and test."""
    by_group = {store.series[number].group: own for number, own in points.items()}
    first: dict[str, dict[str, int]] = {}
    for part in ("val", "test"):
        for number, start, _, _ in parts.spans[part].tolist():
            info = store.series[number]
            if info.prepared and info.group not in by_group:
                times = first.setdefault(info.group, {})
                opened = int(store.opens[start])
                times[part] = min(opened, times.get(part, opened))
    for group, times in first.items():
        if len(times) == 2:
            by_group[group] = SplitPoints(*(pd.Timestamp(times[part], unit="us", tz="UTC") for part in ("val", "test")))
    return by_group


def _cached_segments(
    store: MemmapCandles, points: Mapping[int, SplitPoints], embargo: int, quality: QualityFilter, cache: Path
) -> SegmentsByPart:
    """The segments, from the cache if possible: finding those of thousands of instruments takes minutes."""
    times = [(number, str(own.validation), str(own.test)) for number, own in sorted(points.items())]
    key = [store.digest, times, embargo, quality, PRICE_JUMP, _FORMAT, versions().get("kronos")]
    path = cache / f"parts-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:20]}.npz"
    try:
        with np.load(path, allow_pickle=False) as cached:
            candles = dict(zip(PARTS, cached["candles"].tolist(), strict=True))
            return SegmentsByPart({part: cached[part] for part in PARTS}, candles)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        parts = find_segments(store, points, embargo, quality)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        counts, spans = [parts.candles[part] for part in PARTS], parts.spans
        np.savez(file, candles=np.array(counts), train=spans["train"], val=spans["val"], test=spans["test"])
    return parts


def _iso(micros: int) -> str:
    return pd.Timestamp(micros, unit="us").isoformat()

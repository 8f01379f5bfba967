"""What a model is trained on: candles of many instruments, and where training, validation and test lie in them.

`open_training_data` takes files, folders, prepared datasets and Qlib folders, keeps their candles in a memory-mapped
store, and splits them by date. `kronos.datasets.WindowDataset` makes samples of it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd

from kronos.atomic import atomic_path
from kronos.datasets.config import Split, WindowsSection
from kronos.datasets.memmap_store import MemmapCandles, build_store
from kronos.datasets.segments import JUMP, Part, Quality, Segment, SegmentsByPart, Spans, parts_of_store, split_points
from kronos.datasets.splits import PARTS, SplitDates, SplitPoints, read_split_dates
from kronos.errors import ParameterError
from kronos.provenance import versions

if TYPE_CHECKING:
    from kronos.zoo import Normalisation

CACHE = Path("data") / "training_cache"
_FORMAT = 1
_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Candles, and where training, validation and test lie in them.

    Attributes:
        name: What errors and records call it: the path or name it was opened by.
        store: The candles.
        parts: Where windows may lie.
        cuts: By group, when its validation and its test begin, UTC.
        split: The shares or dates asked for; None where all candles are a prepared dataset's, which has its own parts.
        embargo: Candles after each cut that are not predicted.
        quality: Which filters decided on what is fit to learn from.
    """

    name: str
    store: MemmapCandles
    parts: SegmentsByPart
    cuts: Mapping[str, SplitPoints]
    split: Split | SplitDates | None
    embargo: int
    quality: Quality

    @property
    def groups(self) -> tuple[str, ...]:
        """For each instrument its market and interval, ``us_equity 1d``."""
        return tuple(one.group for one in self.store.series)

    @property
    def simulated(self) -> bool:
        """Whether any of the candles never traded."""
        return any(one.simulated for one in self.store.series)

    @property
    def digest(self) -> str:
        """Of the candles and of where each part lies: with the same one, the same windows can be drawn."""
        digest = hashlib.sha256(self.store.digest.encode())
        for part in PARTS:
            digest.update(part.encode() + self.parts.spans[part].astype("<i8").tobytes())
        return digest.hexdigest()

    def spans(self, part: Part) -> list[Segment]:
        """The unbroken stretches of a part, which windows stay within.

        Raises:
            ParameterError: If there is no such part.
        """
        return [Segment(*row) for row in self.span_rows(part).tolist()]

    def span_rows(self, part: Part) -> Spans:
        """The same as numbers ``[n, 4]``: series, first row, row after the last, first row that may be predicted."""
        if part not in PARTS:
            raise ParameterError(f"There is no part '{part}'; there are {', '.join(PARTS)}.")
        return self.parts.spans[part]

    def seen_until(self, part: Part) -> dict[str, str]:
        """By market the first day of which a part has no candle any more, as ``kronos.json`` tells what was seen.

        Args:
            part: ``train`` for what weights were fitted to, ``val`` for what they were chosen by.
        """
        last: dict[str, int] = {}
        for number, _, stop, _ in self.span_rows(part).tolist():
            one = self.store.series[number]
            closed = int(self.store.times[stop - 1]) + (0 if one.stamped_close else one.length.seconds * 1_000_000)
            last[one.market] = max(closed, last.get(one.market, closed))
        days = {market: -(-closed // _DAY) for market, closed in sorted(last.items())}
        return {market: str(np.datetime64(day, "D")) for market, day in days.items()}

    def describe(self) -> dict[str, Any]:
        """What a run was trained on, ready for JSON: files with digests, dates, counts, and what was left out."""
        store = self.store
        return {
            "data": self.name,
            "digest": self.digest,
            "simulated": self.simulated,
            "candles": len(store),
            "store": {"folder": str(store.folder), "digest": store.digest},
            "split": self._split(),
            "quality": {"rules": self.quality, "price_jump": JUMP},
            "parts": {part: self._part(cast("Part", part)) for part in PARTS},
            "groups": self._groups(),
            "files": [dict(file) for file in store.files],
            "unreadable": [{"path": path, "problem": why} for path, why in store.unreadable],
        }

    def _split(self) -> dict[str, Any]:
        cuts = {
            group: {"validation_from": one.validation.isoformat(), "test_from": one.test.isoformat()}
            for group, one in sorted(self.cuts.items())
        }
        if self.split is None:
            return {"by": "the prepared dataset", "cuts": cuts}
        if isinstance(self.split, SplitDates):
            return {"by": self.split.name, "embargo": self.embargo, "cuts": cuts}
        shares = self.split.model_dump(include={"train", "validation", "test", "dates"})
        return {"by": "shares", **shares, "embargo": self.embargo, "cuts": cuts}

    def _part(self, part: Part) -> dict[str, Any]:
        """How much of a part there is, and from when to when what may be predicted lies."""
        rows = self.span_rows(part)
        kept = int((rows[:, 2] - rows[:, 3]).sum())
        told = {"candles": self.parts.candles[part], "kept": kept, "stretches": len(rows)}
        if not len(rows):
            return told | {"first": None, "last": None}
        first, last = (
            int(pick) for pick in (self.store.times[rows[:, 3]].min(), self.store.times[rows[:, 2] - 1].max())
        )
        return told | {"first": _iso(first), "last": _iso(last)}

    def _groups(self) -> dict[str, dict[str, int]]:
        """By group its instruments, and the candles that each part may predict of it."""
        found = {group: dict.fromkeys(("series", *PARTS), 0) for group in sorted(set(self.groups))}
        for group in self.groups:
            found[group]["series"] += 1
        for part in PARTS:
            for number, _, stop, future in self.parts.spans[part].tolist():
                found[self.groups[number]][part] += stop - future
        return found


def open_training_data(
    data: str | Path,
    *,
    split: Split | SplitDates | Path | str | None = None,
    windows: WindowsSection | WindowSettings | None = None,
    cache: str | Path = CACHE,
    quality: Quality = "paper",
) -> TrainingData:
    """Open what a model is to be trained on.

    Args:
        data: A CSV, Feather or Parquet file; a folder of them, whose ``MANIFEST.csv`` (path, market, symbol, freq) or
            sub-folders name the markets; the name or folder of a prepared dataset, which keeps its own parts; or
            ``qlib:FOLDER``, ``qlib:FOLDER:csi300``.
        split: Shares by common dates; or the dates of each market, as a ``splits.csv`` has them or from a program. None
            for 70, 15 and 15 %.
        windows: A training sample; unless the split says otherwise, as many candles after each cut as it predicts are
            not predicted.
        cache: Where candles are kept, so that the next run finds them.
        quality: ``paper`` keeps what passes the paper's filters; ``none`` keeps everything, and only splits where
            prices are missing or jump by more than 30 %.

    Returns:
        The candles and their parts. Whether a part has windows of a length, `WindowDataset` finds.

    Raises:
        ParameterError: If there are no such data, or the split has no dates for one of their markets.
        DataError: If nothing can be read, or there is too little for three parts.
        StorageError: If the cache cannot be written.
    """
    if quality not in ("paper", "none"):
        raise ParameterError(f"quality is 'paper' or 'none', not '{quality}'.")
    wanted = read_split_dates(split) if isinstance(split, str | Path) else split or Split()
    store = build_store(data, cache)
    embargo = wanted.embargo if wanted.embargo is not None else (windows or WindowsSection()).predict
    if embargo < 0:
        raise ParameterError(f"The embargo counts candles, at least 0, not {embargo}.")
    cuts = split_points(store, wanted)
    parts = _kept_parts(store, cuts, embargo, quality, Path(cache))
    return TrainingData(
        name=str(data),
        store=store,
        parts=parts,
        cuts=_by_group(store, cuts, parts),
        split=wanted if cuts else None,
        embargo=embargo,
        quality=quality,
    )


def _by_group(store: MemmapCandles, cuts: Mapping[int, SplitPoints], parts: SegmentsByPart) -> dict[str, SplitPoints]:
    """When validation and test begin in each group; in prepared datasets, with their first candles."""
    found = {store.series[number].group: one for number, one in cuts.items()}
    begun: dict[str, list[dict[str, int]]] = {}
    for index, part in enumerate(("val", "test")):
        for number, start, _, _ in parts.spans[part].tolist():
            one = store.series[number]
            if one.prepared and one.group not in found:
                first = begun.setdefault(one.group, [{}, {}])[index]
                opened = int(store.opens[start])
                first["from"] = min(opened, first.get("from", opened))
    for group, times in begun.items():
        if all(times):
            found[group] = SplitPoints(*(pd.Timestamp(one["from"], unit="us", tz="UTC") for one in times))
    return found


def _kept_parts(
    store: MemmapCandles, cuts: Mapping[int, SplitPoints], embargo: int, quality: Quality, cache: Path
) -> SegmentsByPart:
    """The parts, from the cache where they have been found before: thousands of instruments take minutes."""
    told = [(number, str(one.validation), str(one.test)) for number, one in sorted(cuts.items())]
    asked = [store.digest, told, embargo, quality, JUMP, _FORMAT, versions().get("kronos")]
    place = cache / f"parts-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:20]}.npz"
    try:
        with np.load(place, allow_pickle=False) as kept:
            candles = dict(zip(PARTS, kept["candles"].tolist(), strict=True))
            return SegmentsByPart({part: kept[part] for part in PARTS}, candles)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        parts = parts_of_store(store, cuts, embargo, quality)
    with atomic_path(place) as temporary, temporary.open("wb") as file:
        counts, spans = [parts.candles[part] for part in PARTS], parts.spans
        np.savez(file, candles=np.array(counts), train=spans["train"], val=spans["val"], test=spans["test"])
    return parts


def _iso(micros: int) -> str:
    return pd.Timestamp(micros, unit="us").isoformat()


__all__ = ["CACHE", "Part", "Quality", "Segment", "TrainingData", "open_training_data"]


LEAST = 2  # candles of a lookback part: one has no spread

Weighting = Literal["sqrt", "size", "equal"]


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """A training sample.

    Attributes:
        lookback: Candles of history.
        predict: Candles to predict.
        shortest: Where set, each training sample knows only its first ``shortest`` to ``lookback`` candles, and
            predicts the others too; windows of validation and test know ``lookback``.
        clip: Bound of the normalised candles.
        normalisation: ``spread`` as published, or ``steps``; see `kronos.preprocessing.normalisation_statistics`.
        without_volume: Share of training samples whose volume and amount are zeroed.
        mirrored: Share of training samples with prices upside down.
        weighting: How markets and intervals share the training samples: by the square root of how many windows they
            have (``sqrt``), by how many (``size``), or each the same (``equal``). Within a group every window is as
            likely as any other.
    """

    lookback: int = 90
    predict: int = 10
    shortest: int | None = None
    clip: float = 5.0
    normalisation: Normalisation = "spread"
    without_volume: float = 0.05
    mirrored: float = 0.0
    weighting: Weighting = "sqrt"

    def __post_init__(self) -> None:
        if self.lookback < LEAST:
            raise ParameterError(f"lookback counts candles of history, at least {LEAST}, not {self.lookback}.")
        if self.predict < 1:
            raise ParameterError(f"predict counts candles to predict, at least 1, not {self.predict}.")
        if self.shortest is not None and not LEAST <= self.shortest <= self.lookback:
            raise ParameterError(f"shortest lies between {LEAST} and lookback = {self.lookback}, not {self.shortest}.")
        if not self.clip > 0:
            raise ParameterError(f"clip is a bound above 0, such as 5, not {self.clip}.")
        for name, share in (("without_volume", self.without_volume), ("mirrored", self.mirrored)):
            if not 0 <= share <= 1:
                raise ParameterError(f"{name} is a share of the samples between 0 and 1, not {share}.")
        for name, value, known in (
            ("normalisation", self.normalisation, ("spread", "steps")),
            ("weighting", self.weighting, ("sqrt", "size", "equal")),
        ):
            if value not in known:
                raise ParameterError(f"{name} is one of {', '.join(known)}, not '{value}'.")

    @property
    def total(self) -> int:
        """Candles of one sample."""
        return self.lookback + self.predict

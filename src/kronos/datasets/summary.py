"""``data_summary.json``: what a dataset is, what it was made of, and what was left out, for people and programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles import Candles
from kronos.candles.quality import Quality
from kronos.datasets.config import DatasetConfig
from kronos.datasets.splits import PARTS, TITLES, SplitPoints, count_windows
from kronos.intervals import Interval
from kronos.provenance import frame_digest, now_utc, sha256_file, versions
from kronos.sources import CandleSource

SUMMARY = "data_summary.json"
_FORMAT = 1
_REASONS = 20  # splits and left-out runs that are listed


def describe(
    config: DatasetConfig,
    source: CandleSource,
    series: Sequence[DatasetSeries],
    parts: DatasetSplits,
    frames: Mapping[str, pd.DataFrame],
    *,
    building: Path,
    place: Path,
) -> dict[str, Any]:
    """Say everything about a dataset, ready for JSON.

    Args:
        config: What it was to be.
        source: Where its candles came from.
        series: What was gathered.
        parts: How it was split.
        frames: The parts.
        building: The folder that holds its files now.
        place: The folder that will.
    """
    splits = {name: _split(name, number, series, parts, frames, config) for number, name in enumerate(PARTS)}
    entries = [_series(one, number, parts, config) for number, one in enumerate(series)]
    return {
        "format": _FORMAT,
        "model_name": config.model_name,
        "description": config.description,
        "timeframes": list(config.timeframes),
        "records_per_timeframe": config.records_per_timeframe,
        "output_directory": str(place),
        "created_at": now_utc(),
        "files": [_file(path) for path in sorted(building.iterdir())],
        "source": source.name,
        "simulated": any(one.candles.simulated for one in series),
        "as_of": _iso(source.now()),
        "splits": splits,
        "warnings": [*_clashes(entries), *_shortages(splits, entries, config), *_findings(entries)],
        "series": entries,
        "config": config.model_dump(mode="json"),
        "versions": versions(),
    }


def _file(path: Path) -> dict[str, Any]:
    stat = path.stat()
    modified = datetime.fromtimestamp(stat.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    size = round(stat.st_size / 1e6, 3)
    return {"filename": path.name, "size_mb": size, "modified": modified, "sha256": sha256_file(path)}


def _split(
    name: str,
    number: int,
    series: Sequence[DatasetSeries],
    parts: DatasetSplits,
    frames: Mapping[str, pd.DataFrame],
    config: DatasetConfig,
) -> dict[str, Any]:
    """Rows, span, windows and hash of one part; for validation and test when they begin."""
    frame = frames[name]
    total = config.windows.total
    windows = {
        one.name: count_windows(one.segments[part == number], total)
        for one, part in zip(series, parts.part, strict=True)
    }
    begins = {}
    if number:
        field = "validation" if number == 1 else "test"
        begins = {"begins": {frame_: _iso(getattr(cuts, field)) for frame_, cuts in parts.cuts.items()}}
    return {
        "rows": len(frame),
        "first": _iso(frame["timestamps"].min()),
        "last": _iso(frame["timestamps"].max()),
        **begins,
        "windows": windows,
        "sha256": frame_digest(frame),
    }


def _series(one: DatasetSeries, number: int, parts: DatasetSplits, config: DatasetConfig) -> dict[str, Any]:
    """What one series is, and where its candles went."""
    candles, quality = one.candles, one.quality
    part = parts.part[number]
    return {
        "unique_id": one.name,
        "symbol": one.symbol,
        "timeframe": one.timeframe,
        "source": candles.source,
        "resampled_from": None if one.resampled_from is None else str(one.resampled_from),
        "simulated": candles.simulated,
        "timezone": candles.timezone,
        "candles": len(candles),
        "asked": config.records_per_timeframe,
        "first": _iso(candles.start),
        "last": _iso(candles.end),
        "sha256": frame_digest(candles.frame),
        "has_volume": candles.has_volume,
        "has_amount": candles.has_amount,
        "segments": len(quality.segments) if quality is not None else 1,
        "quality": None if quality is None else _quality(quality),
        "rows": {name: int((part == i).sum()) for i, name in enumerate(PARTS)},
        "left_out": {
            "filters": int((one.segments < 0).sum()),
            "embargo": int(((part < 0) & (one.segments >= 0)).sum()),
        },
        "findings": [
            {"severity": f.severity, "code": f.code, "count": f.count, "message": f.message} for f in candles.findings
        ],
    }


def quality_counts(quality: Quality) -> dict[str, Any]:
    """What the filters asked for, and how much they split and left out."""
    rules = quality.rules
    return {
        "rules": {
            "row": None if rules.row is None else str(rules.row),
            "min_length": rules.min_length,
            "price_jump": rules.price_jump,
            "illiquid_run": rules.illiquid_run,
            "stagnant_run": rules.stagnant_run,
        },
        "splits": {"gaps": quality.gaps, "jumps": quality.jumps},
        "left_out": {"illiquid": quality.illiquid, "stagnant": quality.stagnant, "short": quality.short},
    }


def _quality(quality: Quality) -> dict[str, Any]:
    reasons = [str(reason) for reason in quality.reasons[:_REASONS]]
    return quality_counts(quality) | {"reasons": reasons, "notes": list(quality.notes)}


def _clashes(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong between series: one instrument twice, and times that cannot be compared."""
    seen: dict[tuple[str, str], str] = {}
    for entry in entries:
        first = seen.setdefault((entry["timeframe"], entry["sha256"]), entry["unique_id"])
        if first != entry["unique_id"]:
            yield f"{entry['unique_id']} holds the same candles as {first}; drop one of them."
    naive = [entry["unique_id"] for entry in entries if entry["timezone"] is None]
    if naive and len(naive) < len(entries):
        yield (
            f"{naive[0]} has times without a timezone, which count as UTC beside the others': its parts may overlap "
            f"theirs by some hours; give its times a timezone."
        )


def _shortages(
    splits: Mapping[str, Mapping[str, Any]], entries: Sequence[Mapping[str, Any]], config: DatasetConfig
) -> Iterator[str]:
    """Of which series the filters leave nothing, and which have parts without a single window."""
    total = config.windows.total
    mend = "ask for more records or a shorter window"
    if config.split.dates == "common" and len(config.timeframes) > 1:
        mend = "ask for more records, a shorter window, or split: {dates: timeframe}"
    for entry in entries:
        name = entry["unique_id"]
        if entry["left_out"]["filters"] == entry["candles"]:
            yield (
                f"The quality filters left nothing of {name}, which has {entry['candles']:,} candles; ask for more "
                f"records, or set quality to none."
            )
            continue
        short = [TITLES[part] for part, split in splits.items() if not split["windows"][name]]
        if short:
            parts = f"part of {name} is" if len(short) == 1 else f"parts of {name} are"
            yield f"The {_listed(short)} {parts} too short for one window of {total} candles; {mend}."


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _findings(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for entry in entries:
        warnings = (finding for finding in entry["findings"] if finding["severity"] == "warning")
        yield from (f"{entry['unique_id']}: {finding['message']}" for finding in warnings)


def _iso(time: Any) -> str | None:
    if time is None or pd.isna(time):
        return None
    return pd.Timestamp(time).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, eq=False)
class DatasetSeries:
    """One symbol at one timeframe.

    Attributes:
        symbol: As the configuration writes it.
        candles: What the source gave, oldest first.
        quality: What the quality filters say of it; None if they were not asked.
        stamps: The candles' times as the source writes them, in UTC; those without a timezone are taken for it. [N]
        opens: When each candle opens, UTC. [N]
        segments: For each candle the number of its unbroken stretch, from 0, or -1 if the filters dropped it. [N]
        resampled_from: The interval of the source's candles it was made of; None if it has the right one itself.
    """

    symbol: str
    candles: Candles
    quality: Quality | None
    stamps: pd.DatetimeIndex
    opens: pd.DatetimeIndex
    segments: npt.NDArray[np.int32]
    resampled_from: Interval | None

    @property
    def interval(self) -> Interval:
        """The candles' length."""
        return self.candles.interval

    @property
    def timeframe(self) -> str:
        """The interval as datasets write it."""
        return self.interval.timeframe

    @property
    def name(self) -> str:
        """``BTC-USDT-SWAP_4H``."""
        return f"{self.symbol}_{self.timeframe}"


@dataclass(frozen=True, slots=True, eq=False)
class DatasetSplits:
    """How series were split.

    Attributes:
        cuts: By timeframe.
        part: For each series its candles' parts: 0, 1, 2, or -1 for none.
    """

    cuts: Mapping[str, SplitPoints]
    part: tuple[npt.NDArray[np.int8], ...]

"""``data_summary.json``: contents, origin and omissions of a prepared dataset."""

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
from kronos.candles.quality_filters import Quality
from kronos.datasets.config import DatasetConfig
from kronos.datasets.splits import PART_TITLES, PARTS, SplitPoints, count_windows
from kronos.formatting import join_names
from kronos.intervals import Interval
from kronos.provenance import frame_digest, now_utc, sha256_file, versions
from kronos.sources import CandleSource

SUMMARY = "data_summary.json"
_FORMAT = 1
_MAX_REASONS = 20  # splits and dropped runs that are listed


@dataclass(frozen=True, slots=True, eq=False)
class DatasetSeries:
    """One symbol at one timeframe.

    Attributes:
        symbol: The instrument, as in the configuration.
        candles: The source's candles, oldest first.
        quality: Assessment by the quality filters; None if they are off.
        stamps: The source's timestamps in UTC; naive ones count as UTC. [N]
        opens: Opening times, UTC. [N]
        segments: Number of each candle's unbroken segment, from 0; -1 if the filters dropped it. [N]
        resampled_from: Interval of the source's candles if they were resampled.
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
        """Length of a candle."""
        return self.candles.interval

    @property
    def timeframe(self) -> str:
        """The interval as written in datasets."""
        return self.interval.timeframe

    @property
    def name(self) -> str:
        """Its name: ``BTC-USDT-SWAP_4H``."""
        return f"{self.symbol}_{self.timeframe}"


@dataclass(frozen=True, slots=True, eq=False)
class DatasetSplits:
    """The split of a dataset.

    Attributes:
        cuts: Split points by timeframe.
        part: Part of each candle, for each series: 0, 1, 2, or -1 for none.
    """

    cuts: Mapping[str, SplitPoints]
    part: tuple[npt.NDArray[np.int8], ...]


def build_summary(
    config: DatasetConfig,
    source: CandleSource,
    series: Sequence[DatasetSeries],
    parts: DatasetSplits,
    frames: Mapping[str, pd.DataFrame],
    *,
    building: Path,
    folder: Path,
) -> dict[str, Any]:
    """Build the summary of a dataset as JSON values.

    Args:
        config: Its configuration.
        source: Source of its candles.
        series: Its series.
        parts: Its split.
        frames: Its contents by part.
        building: Folder that holds its files now.
        folder: Its final folder.
    """
    splits = {name: _describe_part(name, number, series, parts, frames, config) for number, name in enumerate(PARTS)}
    entries = [_describe_series(one, number, parts, config) for number, one in enumerate(series)]
    return {
        "format": _FORMAT,
        "model_name": config.model_name,
        "description": config.description,
        "timeframes": list(config.timeframes),
        "records_per_timeframe": config.records_per_timeframe,
        "output_directory": str(folder),
        "created_at": now_utc(),
        "files": [_describe_file(path) for path in sorted(building.iterdir())],
        "source": source.name,
        "simulated": any(one.candles.simulated for one in series),
        "as_of": _iso(source.now()),
        "splits": splits,
        "warnings": [*_conflicts(entries), *_shortages(splits, entries, config), *_warnings(entries)],
        "series": entries,
        "config": config.model_dump(mode="json"),
        "versions": versions(),
    }


def _describe_file(path: Path) -> dict[str, Any]:
    stat = path.stat()
    modified = datetime.fromtimestamp(stat.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    size = round(stat.st_size / 1e6, 3)
    return {"filename": path.name, "size_mb": size, "modified": modified, "sha256": sha256_file(path)}


def _describe_part(
    name: str,
    number: int,
    series: Sequence[DatasetSeries],
    parts: DatasetSplits,
    frames: Mapping[str, pd.DataFrame],
    config: DatasetConfig,
) -> dict[str, Any]:
    """Rows, time span, windows and hash of one part; for validation and test also when they begin."""
    frame = frames[name]
    total = config.windows.total
    windows = {
        one.name: count_windows(one.segments[part == number], total)
        for one, part in zip(series, parts.part, strict=True)
    }
    begins = {}
    if number:
        field = "validation" if number == 1 else "test"
        begins = {"begins": {timeframe: _iso(getattr(points, field)) for timeframe, points in parts.cuts.items()}}
    return {
        "rows": len(frame),
        "first": _iso(frame["timestamps"].min()),
        "last": _iso(frame["timestamps"].max()),
        **begins,
        "windows": windows,
        "sha256": frame_digest(frame),
    }


def _describe_series(one: DatasetSeries, number: int, parts: DatasetSplits, config: DatasetConfig) -> dict[str, Any]:
    """Origin of one series, and the parts of its candles."""
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
        "quality": None if quality is None else _describe_quality(quality),
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
    """Rules of the quality filters, and how much they split and dropped."""
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


def _describe_quality(quality: Quality) -> dict[str, Any]:
    reasons = [str(reason) for reason in quality.reasons[:_MAX_REASONS]]
    return quality_counts(quality) | {"reasons": reasons, "notes": list(quality.notes)}


def _conflicts(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Conflicts between series: duplicates, and timestamps that cannot be compared."""
    seen: dict[tuple[str, str], str] = {}
    for entry in entries:
        first = seen.setdefault((entry["timeframe"], entry["sha256"]), entry["unique_id"])
        if first != entry["unique_id"]:
            yield f"{entry['unique_id']} has the same candles as {first}: drop one of them."
    naive = [entry["unique_id"] for entry in entries if entry["timezone"] is None]
    if naive and len(naive) < len(entries):
        yield (
            f"{naive[0]} has timestamps without a timezone, unlike other series. They count as UTC, so its parts may "
            f"overlap the others' by some hours: give its timestamps a timezone."
        )


def _shortages(
    splits: Mapping[str, Mapping[str, Any]], entries: Sequence[Mapping[str, Any]], config: DatasetConfig
) -> Iterator[str]:
    """Series that the filters dropped completely, and parts without a single window."""
    total = config.windows.total
    hint = "increase records_per_timeframe or shorten the window"
    if config.split.dates == "common" and len(config.timeframes) > 1:
        hint = "increase records_per_timeframe, shorten the window, or set split: {dates: timeframe}"
    for entry in entries:
        name = entry["unique_id"]
        if entry["left_out"]["filters"] == entry["candles"]:
            yield (
                f"The quality filters dropped all {entry['candles']:,} candles of {name}: increase "
                f"records_per_timeframe, or set quality: none in the configuration."
            )
            continue
        short = [PART_TITLES[part] for part, split in splits.items() if not split["windows"][name]]
        if short:
            parts = f"part of {name} is" if len(short) == 1 else f"parts of {name} are"
            yield f"The {join_names(short)} {parts} too short for one window of {total} candles: {hint}."


def _warnings(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for entry in entries:
        found = (finding for finding in entry["findings"] if finding["severity"] == "warning")
        yield from (f"{entry['unique_id']}: {finding['message']}" for finding in found)


def _iso(time: Any) -> str | None:
    if time is None or pd.isna(time):
        return None
    return pd.Timestamp(time).isoformat().replace("+00:00", "Z")

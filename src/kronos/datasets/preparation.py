"""Preparation of datasets: from a configuration to a folder with training, validation and test files.

The folder is built next to its final path and renamed when complete, so it exists completely or not at all. An existing
one is only replaced on request, and only then; if the process is killed meanwhile, the next one restores it. Downloads
stay in the cache, so that another attempt is quick.
"""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.atomic import atomic_folder, recover_folder, write_text
from kronos.calendars.detection import detect_stamp_side
from kronos.candles import COLUMNS, Candles, Finding
from kronos.candles.io import write_table
from kronos.candles.quality_filters import Quality, assess
from kronos.candles.resampling import Stamped, can_resample, resample
from kronos.datasets.config import DatasetConfig
from kronos.datasets.discovery import PreparedDataset, is_dataset, lock_dataset
from kronos.datasets.splits import (
    PART_TITLES,
    PARTS,
    ClosingTimes,
    SplitPoints,
    assign_parts,
    choose_split_points,
    group_by_dates,
)
from kronos.datasets.summary import SUMMARY, DatasetSeries, DatasetSplits, build_summary
from kronos.errors import DataError, ParameterError
from kronos.formatting import Message, join_names
from kronos.intervals import Interval
from kronos.sources import CandleSource

FORMATS = ("parquet", "pkl")
_EXTRA_CANDLES = 2  # resampled candles to request in addition: the first and the last may be incomplete
_PICKLE_NAMES = {"volume": "vol", "amount": "amt"}
_DATASET_FILES = {SUMMARY, *(f"{part}_data.{ending}" for part in PARTS for ending in ("parquet", "pkl"))}
_IGNORED_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}  # left by file managers

log = logging.getLogger("kronos.datasets")


def prepare(
    config: DatasetConfig,
    source: CandleSource,
    *,
    folder: Path | None = None,
    force: bool = False,
    formats: Sequence[str] = ("parquet",),
) -> PreparedDataset:
    """Prepare a dataset.

    Args:
        config: Its configuration.
        source: Source of the candles.
        folder: Its folder; None for the configuration's own.
        force: Replace an existing folder when the new one is complete.
        formats: ``parquet`` is always written; ``pkl`` adds pickles for the published training scripts.

    Raises:
        ParameterError: If the folder exists, or a symbol or timeframe does not.
        SourceError: If the source cannot be reached.
        DataError: If too few candles are left for training.
        StorageError: If the folder cannot be written, or another process is preparing it.
    """
    path = config.folder() if folder is None else folder
    check_formats(formats)
    with lock_dataset(path):
        recover_folder(path)
        check_output_folder(path, force=force)
        return _prepare(config, source, path, formats, force=force)


def _prepare(
    config: DatasetConfig, source: CandleSource, path: Path, formats: Sequence[str], *, force: bool
) -> PreparedDataset:
    series = []
    for symbol, interval in config.series:
        log.info("%s: %d candles (%s) of %s.", config.model_name, config.records_per_timeframe, interval, symbol)
        series.append(load_series(source, symbol, interval, config))
    splits = _split(series, config)
    frames = {part: _to_frame(series, splits, number) for number, part in enumerate(PARTS)}
    for part, frame in frames.items():
        if frame.empty:
            raise DataError(
                f"The {PART_TITLES[part]} part is empty after an embargo of {config.embargo} candles: increase "
                "records_per_timeframe."
            )
    simulated = any(one.candles.simulated for one in series)
    check_output_folder(path, force=force)  # again, because a download takes time
    with atomic_folder(path, replace=force) as building:
        for part, frame in frames.items():
            write_table(frame, building / f"{part}_data.parquet", simulated=simulated)
            if "pkl" in formats:
                write_pickle(frame, building / f"{part}_data.pkl", simulated=simulated)
        summary = build_summary(config, source, series, splits, frames, building=building, folder=path)
        write_text(building / SUMMARY, json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return PreparedDataset(path, summary)


# Loading ----------------------------------------------------------------


def load_series(source: CandleSource, symbol: str, interval: Interval, config: DatasetConfig) -> DatasetSeries:
    """Load one series, resampled if the source only has shorter candles, and assess its quality.

    Args:
        source: Source of the candles.
        symbol: The instrument.
        interval: Length of a candle.
        config: Number of candles, and quality filter.

    Raises:
        ParameterError: If the source lacks the instrument, or an interval to resample.
        SourceError: If it cannot be reached.
        DataError: If there are no candles.
    """
    base = base_interval(source, symbol, interval)
    records = config.records_per_timeframe
    if base == interval:
        candles, resampled = source.candles(symbol, interval, records=records), None
        stamped: Stamped = detect_stamp_side(candles.index, interval)
    else:
        (candles, stamped), resampled = _load_resampled(source, symbol, base, interval, records), base
    quality = assess(candles) if config.quality == "paper" else None
    stamps = _to_utc(candles.index)
    opens = stamps - interval.delta if stamped == "close" else stamps
    return DatasetSeries(symbol, candles, quality, stamps, opens, _segment_numbers(candles, quality), resampled)


def base_interval(source: CandleSource, symbol: str, interval: Interval) -> Interval:
    """The interval to load: the target interval if the source has it, else the longest that can be resampled to it.

    Raises:
        ParameterError: If there is none.
    """
    available = source.intervals(symbol)
    if available is None or interval in available:
        return interval
    candidates = [shorter for shorter in available if can_resample(shorter, interval)]
    if not candidates:
        names = join_names([str(one) for one in available], None)
        raise ParameterError(
            f"{source.name} has neither {interval} candles of {symbol} nor shorter ones to resample: it has {names}."
        )
    return max(candidates, key=lambda one: one.seconds)


def _load_resampled(
    source: CandleSource, symbol: str, base: Interval, interval: Interval, records: int
) -> tuple[Candles, Stamped]:
    """Load shorter candles, more of them while some results are incomplete, and resample; also how they are stamped."""
    ratio = math.ceil(interval.seconds / base.seconds)
    requested = (records + _EXTRA_CANDLES) * ratio
    while True:
        shorter = source.candles(symbol, base, records=requested)
        stamped = detect_stamp_side(shorter.index, base)
        resampled = resample(shorter, interval, stamped=stamped)
        missing = records - len(resampled)
        if missing <= 0 or len(shorter) < requested:
            return _latest(resampled, records), stamped if interval.intraday else "open"
        requested += (missing + _EXTRA_CANDLES) * ratio


def _latest(candles: Candles, records: int) -> Candles:
    """The latest candles; a shortage of shorter candles is replaced by that of resampled ones."""
    findings = [finding for finding in candles.findings if finding.code != "short-history"]
    missing = records - len(candles)
    if missing > 0:
        message = Message(
            "resampled-short",
            "Only {count} of {records} {interval} candles could be resampled.",
            count=f"{len(candles):,}",
            records=f"{records:,}",
            interval=f"{candles.interval}",
        )
        findings.insert(0, Finding("short-history", "warning", message, (), missing))
    return replace(candles.tail(records), findings=tuple(findings))


def _to_utc(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return (index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")).as_unit("us")


def _segment_numbers(candles: Candles, quality: Quality | None) -> npt.NDArray[np.int32]:
    numbers = np.full(len(candles), 0 if quality is None else -1, dtype=np.int32)
    for number, segment in enumerate(() if quality is None else quality.segments):
        numbers[segment.start : segment.stop] = number
    return numbers


# Splitting --------------------------------------------------------------


def _split(series: Sequence[DatasetSeries], config: DatasetConfig) -> DatasetSplits:
    """Split all series at the same dates, or per timeframe; filtered candles belong to no part."""
    cuts: dict[str, SplitPoints] = {}
    for group in group_by_dates([one.timeframe for one in series], config.split):
        members = [series[i] for i in group]
        kept = [(_micros(one.opens)[one.segments >= 0], one.interval) for one in members]
        closes = [ClosingTimes.of(opens, interval) for opens, interval in kept if len(opens)]
        if not closes:
            raise DataError(_nothing_left(members))
        points = choose_split_points(closes, config.split)
        cuts |= {one.timeframe: points for one in members}
    parts = []
    for one in series:
        part = assign_parts(_micros(one.opens), one.interval, cuts[one.timeframe], config.embargo)
        part[one.segments < 0] = -1
        parts.append(part)
    return DatasetSplits(cuts, tuple(parts))


def _micros(index: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
    return index.as_unit("us").asi8


def _nothing_left(series: Sequence[DatasetSeries]) -> str:
    """Why the filters dropped everything, shown for the longest series."""
    longest = max(series, key=lambda one: len(one.candles))
    rules = longest.quality.rules if longest.quality is not None else None
    needed = f" (at least {rules.min_length} unbroken candles are needed at {longest.timeframe})" if rules else ""
    return (
        f"The quality filters dropped all {len(longest.candles):,} candles of {longest.name}{needed}: increase "
        "records_per_timeframe, or set quality: none in the configuration."
    )


def _to_frame(series: Sequence[DatasetSeries], splits: DatasetSplits, number: int) -> pd.DataFrame:
    """One part as a long table: identifiers, timestamps, six columns, and the number of the unbroken segment."""
    tables = []
    for one, part in zip(series, splits.part, strict=True):
        selected = part == number
        table = one.candles.frame[selected].reset_index(drop=True)
        table.insert(0, "timestamps", one.stamps[selected])
        table.insert(0, "timeframe", one.timeframe)
        table.insert(0, "symbol", one.symbol)
        table.insert(0, "unique_id", one.name)
        table["segment"] = one.segments[selected]
        tables.append(table)
    joined: pd.DataFrame = pd.concat(tables, ignore_index=True)
    return joined


def write_pickle(frame: pd.DataFrame, path: Path, *, simulated: bool) -> None:
    """Write a part of a dataset in the format of the published training scripts.

    Args:
        frame: The contents of ``train_data.parquet``, or of another part.
        path: The file: a dictionary that maps ``symbol_timeframe`` to a frame of open, high, low, close, vol, amt with
            a naive index ``datetime``.
        simulated: Whether the candles are simulated; stored in each frame's ``attrs``.
    """
    tables = {}
    for name, part in frame.groupby("unique_id", sort=False):
        table = part[list(COLUMNS)].rename(columns=_PICKLE_NAMES)
        table = table.set_index(pd.DatetimeIndex(part["timestamps"]).tz_localize(None).rename("datetime"))
        table.attrs["simulated"] = simulated
        tables[str(name)] = table
    with path.open("wb") as handle:
        pickle.dump(tables, handle, protocol=4)


# Validation -------------------------------------------------------------


def check_formats(formats: Sequence[str]) -> None:
    """Validate file formats.

    Raises:
        ParameterError: If one is unknown.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ParameterError(f"Unknown format '{unknown[0]}': choose {' or '.join(FORMATS)}.")


def check_output_folder(path: Path, *, force: bool) -> None:
    """Validate that a dataset can be written to a folder without replacing anything else.

    Raises:
        ParameterError: If it is a file, not empty, or inside another dataset. With ``force`` a folder that holds a
            dataset and nothing else is accepted.
    """
    if is_dataset(_real(path).parent):
        raise ParameterError(f"{path} is inside the dataset {path.parent}: choose another folder.")
    if not path.exists():
        return
    if not path.is_dir():
        raise ParameterError(f"{path} is a file: choose another folder.")
    names = {entry.name for entry in path.iterdir()}
    if not names:
        return
    if not force:
        raise ParameterError(f"{path} exists: --force replaces it when the new dataset is complete.")
    names -= _IGNORED_FILES
    if names and SUMMARY not in names:
        raise ParameterError(f"{path} holds no dataset and is not replaced: choose another folder.")
    if foreign := sorted(names - _DATASET_FILES):
        raise ParameterError(
            f"{path} also holds {foreign[0]}, which is not part of a dataset, and is not replaced: move that file, or "
            "choose another folder."
        )


def check_distinct_folders(folders: Sequence[tuple[str, Path]]) -> None:
    """Validate that no dataset's folder is, or contains, another's.

    Args:
        folders: Name and folder of each dataset.

    Raises:
        ParameterError: If two share a folder, or one is inside another.
    """
    for (name, folder), (other, parent) in permutations(folders, 2):
        if _real(folder) == _real(parent):
            raise ParameterError(
                f"{name} and {other} would share the folder {folder}: change a model_name or dataset_path."
            )
        if _real(folder).is_relative_to(_real(parent)):
            raise ParameterError(f"{name} would be inside the folder {parent} of {other}: change a dataset_path.")


def _real(path: Path) -> Path:
    """A path without links; `Path.resolve` raises if they form a loop."""
    return Path(os.path.realpath(path))

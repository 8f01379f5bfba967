"""From a configuration to a dataset's folder: gather, filter, split, write, all or nothing.

The folder appears only when it is whole: it is built beside its place and renamed. One that exists is replaced only
when that is asked for, and only then; the downloads themselves are kept in the store, so that trying again is quick.
"""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.atomic import atomic_folder, write_text
from kronos.calendars.detection import detect_stamp_side
from kronos.candles import Candles, Finding
from kronos.candles.io import write_table
from kronos.candles.quality import Quality, assess
from kronos.candles.resampling import Stamped, divides, resample
from kronos.datasets.config import DatasetConfig
from kronos.datasets.discovery import is_dataset
from kronos.datasets.splits import PARTS, TITLES, SplitPoints, choose_cuts, closing_times, parts_of
from kronos.datasets.summary import SUMMARY, DatasetSeries, DatasetSplits, describe
from kronos.errors import DataError, ParameterError
from kronos.intervals import Interval
from kronos.sources import CandleSource

_SPARE = 2  # longer candles more than asked for: the first and the last may be incomplete


def gather(source: CandleSource, symbol: str, interval: Interval, config: DatasetConfig) -> DatasetSeries:
    """Fetch one series, and see which of its stretches are fit for training.

    Args:
        source: Where candles come from.
        symbol: The instrument.
        interval: The candles' length.
        config: How many candles, and which filters.

    Raises:
        ParameterError: If the source has neither the instrument nor an interval to make this one of.
        SourceError: If it cannot be reached.
        DataError: If there are no candles.
    """
    base = base_interval(source, symbol, interval)
    records = config.records_per_timeframe
    if base == interval:
        candles, resampled = source.candles(symbol, interval, records=records), None
        stamped: Stamped = detect_stamp_side(candles.index, interval)
    else:
        (candles, stamped), resampled = _longer(source, symbol, base, interval, records), base
    quality = assess(candles) if config.quality == "paper" else None
    stamps = _utc(candles.index)
    opens = stamps - interval.delta if stamped == "close" else stamps
    return DatasetSeries(symbol, candles, quality, stamps, opens, _segments(candles, quality), resampled)


def base_interval(source: CandleSource, symbol: str, interval: Interval) -> Interval:
    """The interval to ask a source for: the one wanted, else the longest that it can be made of.

    Raises:
        ParameterError: If there is none.
    """
    served = source.intervals(symbol)
    if served is None or interval in served:
        return interval
    whole = [one for one in served if divides(one, interval)]
    if not whole:
        listed = ", ".join(str(one) for one in served)
        raise ParameterError(
            f"{source.name} has no {interval} candles of {symbol}, nor shorter ones to make them of: it has {listed}."
        )
    return max(whole, key=lambda one: one.seconds)


def _longer(
    source: CandleSource, symbol: str, base: Interval, interval: Interval, records: int
) -> tuple[Candles, Stamped]:
    """So many longer candles made of shorter ones, from further back where some are incomplete, and how stamped."""
    ratio = math.ceil(interval.seconds / base.seconds)
    wanted = (records + _SPARE) * ratio
    while True:
        shorter = source.candles(symbol, base, records=wanted)
        stamped = detect_stamp_side(shorter.index, base)
        whole = resample(shorter, interval, stamped=stamped)
        lacking = records - len(whole)
        if lacking <= 0 or len(shorter) < wanted:
            return _latest(whole, records), stamped if interval.intraday else "open"
        wanted += (lacking + _SPARE) * ratio


def _latest(candles: Candles, records: int) -> Candles:
    """The latest candles; fewer than asked for is a finding, and one about shorter candles is none any more."""
    findings = [finding for finding in candles.findings if finding.code != "short-history"]
    lacking = records - len(candles)
    if lacking > 0:
        message = f"{len(candles):,} of the {records:,} {candles.interval} candles asked for could be made."
        findings.insert(0, Finding("short-history", "warning", message, (), lacking))
    return replace(candles.tail(records), findings=tuple(findings))


def _utc(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return (index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")).as_unit("us")


def _segments(candles: Candles, quality: Quality | None) -> npt.NDArray[np.int32]:
    numbers = np.full(len(candles), 0 if quality is None else -1, dtype=np.int32)
    for number, segment in enumerate(() if quality is None else quality.segments):
        numbers[segment.start : segment.stop] = number
    return numbers


_NAMES = {"volume": "vol", "amount": "amt"}


def write_pickle(frame: pd.DataFrame, path: Path, *, simulated: bool) -> None:
    """Write a part of a dataset as the published training scripts expect it.

    Args:
        frame: As in ``train_data.parquet``.
        path: The file; its dictionary maps ``symbol_timeframe`` to a frame of open, high, low, close, vol, amt under a
            naive index ``datetime``, each labelled in its ``attrs`` if simulated.
        simulated: Whether the candles are invented.
    """
    columns = ["open", "high", "low", "close", "volume", "amount"]
    data = {}
    for name, part in frame.groupby("unique_id", sort=False):
        table = part[columns].rename(columns=_NAMES)
        table = table.set_index(pd.DatetimeIndex(part["timestamps"]).tz_localize(None).rename("datetime"))
        table.attrs["simulated"] = simulated
        data[str(name)] = table
    with path.open("wb") as handle:
        pickle.dump(data, handle, protocol=4)


_OURS = {SUMMARY, *(f"{part}_data.{ending}" for part in PARTS for ending in ("parquet", "pkl"))}
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}  # what file managers leave behind


def check_output_folder(place: Path, *, force: bool) -> None:
    """Refuse to replace what is there, unless that is asked for and what is there is a dataset and nothing else.

    Raises:
        ParameterError: If a file, a folder with something in it, or a dataset around it is in the way.
    """
    if is_dataset(_real(place).parent):
        raise ParameterError(f"{place} would lie inside the dataset {place.parent}; choose another folder.")
    if not place.exists():
        return
    if not place.is_dir():
        raise ParameterError(f"{place} is a file; choose another folder.")
    there = {path.name for path in place.iterdir()}
    if not there:
        return
    if not force:
        raise ParameterError(f"{place} exists; --force replaces it once the new dataset is whole.")
    names = there - _LITTER
    if names and SUMMARY not in names:
        raise ParameterError(f"{place} holds no dataset and is not replaced; choose another folder.")
    if strange := sorted(names - _OURS):
        raise ParameterError(
            f"{place} holds {strange[0]} besides its dataset, and is not replaced; move that away, or choose another "
            f"folder."
        )


def check_apart(places: Sequence[tuple[str, Path]]) -> None:
    """Refuse datasets of which one would lie in another's folder.

    Args:
        places: What each dataset is called, and its folder.

    Raises:
        ParameterError: If two share a folder, or one lies in another's.
    """
    for (name, place), (other, around) in permutations(places, 2):
        if _real(place) == _real(around):
            raise ParameterError(
                f"{name} and {other} would share the folder {place}; give one another model_name or dataset_path."
            )
        if _real(place).is_relative_to(_real(around)):
            raise ParameterError(f"{name} would lie in the folder {around} of {other}; give one another dataset_path.")


def _real(path: Path) -> Path:
    """Where a path leads through its links; `Path.resolve` raises where they go in a circle."""
    return Path(os.path.realpath(path))


FORMATS = ("parquet", "pkl")

log = logging.getLogger("kronos.datasets")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What preparing a dataset came to.

    Attributes:
        folder: Where it lies.
        summary: What ``data_summary.json`` holds.
    """

    folder: Path
    summary: Mapping[str, Any]


def prepare(
    config: DatasetConfig,
    source: CandleSource,
    *,
    folder: Path | None = None,
    force: bool = False,
    formats: Sequence[str] = ("parquet",),
) -> Prepared:
    """Make a dataset.

    Args:
        config: What it is made of.
        source: Where its candles come from.
        folder: Its folder; None for the configuration's own.
        force: Replace a folder that exists, once the new one is whole.
        formats: ``parquet`` always; ``pkl`` also writes the published system's pickles.

    Raises:
        ParameterError: If the folder exists, or a symbol or timeframe does not.
        SourceError: If the source cannot be reached.
        DataError: If too little is left to train on.
        StorageError: If the folder cannot be written.
    """
    place = config.folder() if folder is None else folder
    check_output_folder(place, force=force)
    check_formats(formats)
    series = []
    for symbol, interval in config.series:
        log.info("%s: %d candles (%s) of %s.", config.model_name, config.records_per_timeframe, interval, symbol)
        series.append(gather(source, symbol, interval, config))
    parts = _split(series, config)
    frames = {name: _frame(series, parts, number) for number, name in enumerate(PARTS)}
    _check_parts(frames, config)
    simulated = any(one.candles.simulated for one in series)
    check_output_folder(
        place, force=force
    )  # again: a download takes its time, and something may have come there meanwhile
    with atomic_folder(place, replace=force) as building:
        for name, frame in frames.items():
            write_table(frame, building / f"{name}_data.parquet", simulated=simulated)
            if "pkl" in formats:
                write_pickle(frame, building / f"{name}_data.pkl", simulated=simulated)
        summary = describe(config, source, series, parts, frames, building=building, place=place)
        write_text(building / SUMMARY, json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return Prepared(place, summary)


def check_formats(formats: Sequence[str]) -> None:
    """Refuse formats that do not exist.

    Raises:
        ParameterError: If one doesn't.
    """
    unknown = [one for one in formats if one not in FORMATS]
    if unknown:
        raise ParameterError(f"There is no format '{unknown[0]}'; there are {' and '.join(FORMATS)}.")


def _split(series: Sequence[DatasetSeries], config: DatasetConfig) -> DatasetSplits:
    """Cut all series at the same dates, or those of each timeframe; what the filters dropped belongs to no part."""
    groups: dict[str, list[DatasetSeries]] = {}
    for one in series:
        groups.setdefault(one.timeframe if config.split.dates == "timeframe" else "", []).append(one)
    cuts: dict[str, SplitPoints] = {}
    for members in groups.values():
        kept = [closing_times(one.opens[one.segments >= 0], one.interval) for one in members]
        if not any(len(closes) for closes in kept):
            raise DataError(_nothing_left(members))
        chosen = choose_cuts(kept, config.split)
        cuts |= {one.timeframe: chosen for one in members}
    part = []
    for one in series:
        own = parts_of(one.opens, one.interval, cuts[one.timeframe], config.embargo)
        own[one.segments < 0] = -1
        part.append(own)
    return DatasetSplits(cuts, tuple(part))


def _nothing_left(series: Sequence[DatasetSeries]) -> str:
    """Why the filters left nothing, by the example of the longest series."""
    longest = max(series, key=lambda one: len(one.candles))
    rules = longest.quality.rules if longest.quality is not None else None
    least = f" (at least {rules.min_length} unbroken candles are needed at {longest.timeframe})" if rules else ""
    return (
        f"The quality filters left nothing of {longest.name}, which has {len(longest.candles):,} candles{least}; "
        f"ask for more records, or set quality to none."
    )


def _frame(series: Sequence[DatasetSeries], parts: DatasetSplits, number: int) -> pd.DataFrame:
    """One part as a long table: who, when, six columns, and the unbroken stretch that windows stay in."""
    tables = []
    for one, part in zip(series, parts.part, strict=True):
        where = part == number
        table = one.candles.frame[where].reset_index(drop=True)
        table.insert(0, "timestamps", one.stamps[where])
        table.insert(0, "timeframe", one.timeframe)
        table.insert(0, "symbol", one.symbol)
        table.insert(0, "unique_id", one.name)
        table["segment"] = one.segments[where]
        tables.append(table)
    joined: pd.DataFrame = pd.concat(tables, ignore_index=True)
    return joined


def _check_parts(frames: Mapping[str, pd.DataFrame], config: DatasetConfig) -> None:
    for name, frame in frames.items():
        if frame.empty:
            raise DataError(
                f"The {TITLES[name]} part is empty after its embargo of {config.embargo} candles; ask for more records."
            )

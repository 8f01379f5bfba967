"""From a configuration to a dataset's folder: gather, filter, split, write, all or nothing.

The folder appears only when it is whole: it is built beside its place and renamed. One that exists is replaced only
when that is asked for, and only then; the downloads themselves are kept in the store, so that trying again is quick.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles.writing import write_table
from kronos.datasets.config import DatasetConfig
from kronos.datasets.gathering import Series, gather
from kronos.datasets.pickles import write_pickle
from kronos.datasets.places import check_place
from kronos.datasets.splitting import PARTS, TITLES, Cuts, choose_cuts, closing_times, parts_of
from kronos.datasets.summary import SUMMARY, describe
from kronos.errors import DataError, ParameterError
from kronos.sources import CandleSource
from kronos.storage import atomic_folder, write_text

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
    check_place(place, force=force)
    check_formats(formats)
    series = []
    for symbol, interval in config.series:
        log.info("%s: %d candles (%s) of %s.", config.model_name, config.records_per_timeframe, interval, symbol)
        series.append(gather(source, symbol, interval, config))
    parts = _split(series, config)
    frames = {name: _frame(series, parts, number) for number, name in enumerate(PARTS)}
    _check_parts(frames, config)
    simulated = any(one.candles.simulated for one in series)
    check_place(place, force=force)  # again: a download takes its time, and something may have come there meanwhile
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


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """How series were split.

    Attributes:
        cuts: By timeframe.
        part: For each series its candles' parts: 0, 1, 2, or -1 for none.
    """

    cuts: Mapping[str, Cuts]
    part: tuple[npt.NDArray[np.int8], ...]


def _split(series: Sequence[Series], config: DatasetConfig) -> Parts:
    """Cut all series at the same dates, or those of each timeframe; what the filters dropped belongs to no part."""
    groups: dict[str, list[Series]] = {}
    for one in series:
        groups.setdefault(one.timeframe if config.split.dates == "timeframe" else "", []).append(one)
    cuts: dict[str, Cuts] = {}
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
    return Parts(cuts, tuple(part))


def _nothing_left(series: Sequence[Series]) -> str:
    """Why the filters left nothing, by the example of the longest series."""
    longest = max(series, key=lambda one: len(one.candles))
    rules = longest.quality.rules if longest.quality is not None else None
    least = f" (at least {rules.min_length} unbroken candles are needed at {longest.timeframe})" if rules else ""
    return (
        f"The quality filters left nothing of {longest.name}, which has {len(longest.candles):,} candles{least}; "
        f"ask for more records, or set quality to none."
    )


def _frame(series: Sequence[Series], parts: Parts, number: int) -> pd.DataFrame:
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

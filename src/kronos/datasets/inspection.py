"""Inspection of candle files before they are used: findings of cleaning, and what the quality filters keep.

An unreadable file is reported and does not stop the others. Folders are searched recursively; tables in them that hold
something other than candles are skipped, and reported too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from kronos.candles import Candles, Finding, Quality, ReadOptions, assess
from kronos.candles.columns import NoCandlesError
from kronos.candles.io import load_candles, load_many
from kronos.candles.readers import read_table
from kronos.candles.timezone_names import check_timezone
from kronos.errors import DataError, ParameterError
from kronos.formatting import file_stem
from kronos.intervals import Interval
from kronos.progress import ProgressCallback

Verdict = Literal["good", "fair", "poor", "unfit", "too short"]

VERDICTS: tuple[Verdict, ...] = ("good", "fair", "poor", "unfit", "too short")
ENDINGS = (".csv", ".tsv", ".parquet", ".pq", ".feather", ".arrow", ".ftr")
_COMPRESSED = (".gz", ".zip")
_GOOD_SHARE, _FAIR_SHARE = 0.95, 0.5  # minimum share of candles kept


@dataclass(frozen=True, slots=True)
class InspectedSeries:
    """Findings about one series.

    Attributes:
        path: Its file.
        name: The instrument if the file names it, else the file's name without endings; simulated candles are always
            named after their file, which marks them as simulated.
        interval: Length of a candle.
        candles: Number of candles.
        start: First timestamp.
        end: Last timestamp.
        timezone: Timezone of the timestamps; None if they are naive.
        simulated: Whether the candles are simulated.
        has_volume: Whether the file has volume.
        has_amount: Whether the file has amount.
        findings: What cleaning found and corrected.
        quality: What the paper's filters keep.
        spans: First and last timestamp of each segment they keep.
    """

    path: Path
    name: str
    interval: Interval
    candles: int
    start: pd.Timestamp
    end: pd.Timestamp
    timezone: str | None
    simulated: bool
    has_volume: bool
    has_amount: bool
    findings: tuple[Finding, ...]
    quality: Quality
    spans: tuple[tuple[pd.Timestamp, pd.Timestamp], ...]

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that may need action."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Findings that need no action."""
        return tuple(finding for finding in self.findings if finding.severity == "info")

    @property
    def verdict(self) -> Verdict:
        """Quality in a word.

        ``good``: at least 95 % kept and no warning; ``fair``: at least half kept; ``poor``: less; ``unfit``: nothing
        kept; ``too short``: fewer candles than one segment needs.
        """
        share = self.quality.kept_share
        if share == 0:
            return "too short" if self.candles < self.quality.rules.min_length else "unfit"
        if share < _FAIR_SHARE:
            return "poor"
        return "fair" if share < _GOOD_SHARE or self.warnings else "good"


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file or folder that could not be read, and why."""

    path: Path
    problem: str


@dataclass(frozen=True, slots=True)
class InspectionReport:
    """Findings about several files.

    Attributes:
        series: Each series; a file may hold several.
        unreadable: Files that should hold candles but could not be read.
        passed_over: Tables in folders that hold something other than candles.
    """

    series: tuple[InspectedSeries, ...]
    unreadable: tuple[UnreadableFile, ...] = ()
    passed_over: tuple[Path, ...] = ()

    @property
    def candles(self) -> int:
        """Number of candles."""
        return sum(one.candles for one in self.series)

    @property
    def kept(self) -> int:
        """Number of candles that the filters keep."""
        return sum(one.quality.kept for one in self.series)

    @property
    def segments(self) -> int:
        """Number of segments that the filters keep."""
        return sum(len(one.quality.segments) for one in self.series)

    @property
    def warnings(self) -> int:
        """Number of findings that may need action."""
        return sum(len(one.warnings) for one in self.series)

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """Number of series per verdict; zeros are omitted."""
        counts = {verdict: sum(one.verdict == verdict for one in self.series) for verdict in VERDICTS}
        return {verdict: count for verdict, count in counts.items() if count}

    @property
    def flawless(self) -> bool:
        """Whether there are no warnings, and the filters keep candles of every series."""
        return not self.warnings and all(one.quality.kept for one in self.series)


def check_file(
    path: str | Path,
    *,
    interval: str | None = None,
    timezone: str | None = None,
    reading: ReadOptions | None = None,
) -> tuple[InspectedSeries, ...]:
    """Read, clean and assess each series of a file.

    Args:
        path: A CSV, Feather or Parquet file, of one or several instruments.
        interval: Such as ``"1h"``; inferred by default.
        timezone: IANA name, as for `read_candles`.
        reading: How the file is written; None infers it.

    Raises:
        DataError: If the candles cannot be used.
        ParameterError: If an argument is invalid.
    """
    path = Path(path)
    return tuple(_inspect(path, candles) for candles in read_series(path, interval, timezone, reading))


def check_paths(
    paths: Iterable[str | Path],
    *,
    interval: str | None = None,
    timezone: str | None = None,
    reading: ReadOptions | None = None,
    progress: ProgressCallback | None = None,
) -> InspectionReport:
    """Inspect files, and all tables in folders.

    Folders are searched recursively for CSV, Feather and Parquet files, compressed or not; hidden ones are skipped, and
    each file is inspected once.

    Args:
        paths: Files and folders.
        interval: Length of a candle, for all files.
        timezone: Timezone of the timestamps, for all files.
        reading: How all files are written; None infers it.
        progress: Called with the number of finished files and their total.

    Returns:
        The findings, unreadable files included.

    Raises:
        ParameterError: If the interval or the timezone is invalid.
    """
    if interval is not None:
        Interval.parse(interval)
    if timezone is not None:
        check_timezone(timezone)
    series: list[InspectedSeries] = []
    unreadable: list[UnreadableFile] = []
    passed_over: list[Path] = []
    files = _list_files(paths, unreadable)
    for done, (path, named) in enumerate(files.items()):
        if progress is not None:
            progress(done, len(files))
        try:
            series += check_file(path, interval=interval, timezone=timezone, reading=reading)
        except NoCandlesError as error:
            if named:
                unreadable.append(UnreadableFile(path, str(error)))
            else:
                passed_over.append(path)
        except (DataError, ParameterError) as error:
            unreadable.append(UnreadableFile(path, str(error)))
    if progress is not None:
        progress(len(files), len(files))
    return InspectionReport(tuple(series), tuple(unreadable), tuple(passed_over))


def _list_files(paths: Iterable[str | Path], unreadable: list[UnreadableFile]) -> dict[Path, bool]:
    """The files to inspect, each once, and whether the user named it."""
    named: dict[Path, bool] = {}
    seen: dict[Path, Path] = {}
    for path in map(Path, paths):
        files = list(_search(path, unreadable)) if path.is_dir() else [path]
        if not files:
            problem = f"{path} holds no candle files: their names end in {', '.join(ENDINGS)}, or one of these and .gz."
            unreadable.append(UnreadableFile(path, problem))
        for file in files:
            first = seen.setdefault(Path(os.path.realpath(file)), file)
            named[first] = named.get(first, False) or file is path
    return named


def _search(folder: Path, unreadable: list[UnreadableFile]) -> Iterator[Path]:
    def report(error: OSError) -> None:
        reason = (error.strerror or type(error).__name__).lower()
        problem = f"Cannot list {error.filename} ({reason}): check its permissions."
        unreadable.append(UnreadableFile(Path(str(error.filename)), problem))

    for root, folders, files in os.walk(folder, onerror=report):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in sorted(files) if is_table(name))


def is_table(name: str) -> bool:
    """Whether a file of that name may hold candles, compressed or not; hidden files do not count."""
    uncompressed = name.lower()
    for ending in _COMPRESSED:
        uncompressed = uncompressed.removesuffix(ending)
    return not name.startswith(".") and (uncompressed.endswith(ENDINGS) or name.lower().endswith(".zip"))


def read_series(
    path: Path, interval: str | None, timezone: str | None, reading: ReadOptions | None = None
) -> list[Candles]:
    """Read a file's candles: of its only instrument, or of each one.

    Raises:
        DataError: If the candles cannot be used; `NoCandlesError` if the table holds something else.
        ParameterError: If an argument is invalid.
    """
    options = replace(reading or ReadOptions(), interval=interval, timezone=timezone)
    try:
        return [load_candles(path, options)]
    except NoCandlesError:
        raise
    except DataError:
        table = read_table(path, options)
        label = table.layout.symbol
        if label is None or table.frame[label].dropna().nunique() < 2:
            raise
        return list(load_many(path, options).values())


def _inspect(path: Path, candles: Candles) -> InspectedSeries:
    quality = assess(candles)
    return InspectedSeries(
        path=path,
        name=_name(path, candles),
        interval=candles.interval,
        candles=len(candles),
        start=candles.start,
        end=candles.end,
        timezone=candles.timezone,
        simulated=candles.simulated,
        has_volume=candles.has_volume,
        has_amount=candles.has_amount,
        findings=candles.findings,
        quality=quality,
        spans=tuple((candles.index[s.start], candles.index[s.stop - 1]) for s in quality.segments),
    )


def _name(path: Path, candles: Candles) -> str:
    if candles.symbol is None:
        return stem(path)
    return f"{stem(path)} {candles.symbol}" if candles.simulated else candles.symbol


def stem(path: Path) -> str:
    """A file's name without its endings: ``btc_1h`` for ``btc_1h.csv.gz``."""
    return file_stem(path, (*ENDINGS, *_COMPRESSED, ".txt"))

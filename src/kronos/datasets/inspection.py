"""Looking at files of candles before they are used: what cleaning found, and what the quality filters leave.

A file that cannot be read is told with its sentence, and does not stop the others. Folders are walked; tables in them
that hold something else than candles are passed over, and told too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from kronos.candles import Candles, Finding, Quality, assess, read_candles, read_many
from kronos.candles.readers import read_table
from kronos.candles.schema import NoCandlesError
from kronos.candles.timestamps import check_timezone
from kronos.errors import DataError, ParameterError
from kronos.intervals import Interval
from kronos.progress import ProgressCallback

Verdict = Literal["good", "fair", "poor", "unfit", "too short"]

VERDICTS: tuple[Verdict, ...] = ("good", "fair", "poor", "unfit", "too short")
ENDINGS = (".csv", ".tsv", ".parquet", ".pq", ".feather", ".arrow", ".ftr")
_PACKED = (".gz", ".zip")
_GOOD, _FAIR = 0.95, 0.5  # share of candles kept, from which on a series is that


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of one series.

    Attributes:
        path: Its file.
        name: The instrument if the file says it, else the file's name without its ending; that stays in front where
            the candles are simulated, because it says so.
        interval: Length of a candle.
        candles: How many there are.
        start: The first time.
        end: The last time.
        timezone: Of the times; None if they are naive.
        simulated: Whether the candles never traded.
        has_volume: Whether the file tells volume.
        has_amount: Whether the file tells amount.
        findings: What cleaning noticed and mended.
        quality: What the paper's filters leave.
        spans: The first and the last time of each segment they leave.
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
        """The findings that deserve a look."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """The findings that need no action."""
        return tuple(finding for finding in self.findings if finding.severity == "info")

    @property
    def verdict(self) -> Verdict:
        """One word: ``good`` is 95 % kept and no warning, ``fair`` half kept, ``poor`` less, ``unfit`` nothing.

        ``too short`` has fewer candles than one segment needs.
        """
        share = self.quality.kept_share
        if share == 0:
            return "too short" if self.candles < self.quality.rules.min_length else "unfit"
        if share < _FAIR:
            return "poor"
        return "fair" if share < _GOOD or self.warnings else "good"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file or a folder that could not be read, and why in one sentence."""

    path: Path
    problem: str


@dataclass(frozen=True, slots=True)
class InspectionReport:
    """What a look at several files gave.

    Attributes:
        series: One entry a series; a file may hold several.
        unreadable: Files that ought to hold candles and could not be read.
        passed_over: Tables met in folders that hold something else than candles.
    """

    series: tuple[Checked, ...]
    unreadable: tuple[Unreadable, ...] = ()
    passed_over: tuple[Path, ...] = ()

    @property
    def candles(self) -> int:
        """All candles."""
        return sum(one.candles for one in self.series)

    @property
    def kept(self) -> int:
        """Candles that the filters leave."""
        return sum(one.quality.kept for one in self.series)

    @property
    def segments(self) -> int:
        """Segments that the filters leave."""
        return sum(len(one.quality.segments) for one in self.series)

    @property
    def warnings(self) -> int:
        """Findings that deserve a look."""
        return sum(len(one.warnings) for one in self.series)

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """How many series got which verdict; those that none got are left out."""
        counts = {verdict: sum(one.verdict == verdict for one in self.series) for verdict in VERDICTS}
        return {verdict: count for verdict, count in counts.items() if count}

    @property
    def flawless(self) -> bool:
        """Whether there is nothing to warn of, and something left of every series."""
        return not self.warnings and all(one.quality.kept for one in self.series)


def check_file(path: str | Path, *, interval: str | None = None, timezone: str | None = None) -> tuple[Checked, ...]:
    """Read, clean and assess the series of one file.

    Args:
        path: A CSV, Feather or Parquet file, of one instrument or of several.
        interval: Such as ``"1h"``; else inferred.
        timezone: IANA name, as for `read_candles`.

    Returns:
        One entry a series.

    Raises:
        DataError: If the candles cannot be used.
        ParameterError: If an argument is wrong.
    """
    path = Path(path)
    return tuple(_checked(path, candles) for candles in read_series(path, interval, timezone))


def check_paths(
    paths: Iterable[str | Path],
    *,
    interval: str | None = None,
    timezone: str | None = None,
    progress: ProgressCallback | None = None,
) -> InspectionReport:
    """Check files, and every table in folders and theirs.

    Folders are looked through for CSV, Feather and Parquet files, packed or not; names that begin with a dot are left
    alone, and each file is checked once.

    Args:
        paths: Files and folders.
        interval: For all files.
        timezone: For all files.
        progress: Told how many files are done, and of how many.

    Returns:
        What was found; files that cannot be read are part of it.

    Raises:
        ParameterError: If the interval or the timezone is none.
    """
    if interval is not None:
        Interval.parse(interval)
    if timezone is not None:
        check_timezone(timezone)
    series: list[Checked] = []
    unreadable: list[Unreadable] = []
    passed_over: list[Path] = []
    found = _gather(paths, unreadable)
    for done, (path, named) in enumerate(found.items()):
        if progress is not None:
            progress(done, len(found))
        try:
            series += check_file(path, interval=interval, timezone=timezone)
        except NoCandlesError as error:
            if named:
                unreadable.append(Unreadable(path, str(error)))
            else:
                passed_over.append(path)
        except (DataError, ParameterError) as error:
            unreadable.append(Unreadable(path, str(error)))
    if progress is not None:
        progress(len(found), len(found))
    return InspectionReport(tuple(series), tuple(unreadable), tuple(passed_over))


def _gather(paths: Iterable[str | Path], unreadable: list[Unreadable]) -> dict[Path, bool]:
    """The files to check, each once, and whether it was named itself."""
    found: dict[Path, bool] = {}
    seen: dict[Path, Path] = {}
    for path in map(Path, paths):
        inside = list(_walk(path, unreadable)) if path.is_dir() else [path]
        if not inside:
            problem = f"{path} holds no files to check; their names end in {', '.join(ENDINGS)}, or those and .gz."
            unreadable.append(Unreadable(path, problem))
        for file in inside:
            first = seen.setdefault(file.resolve(), file)
            found[first] = found.get(first, False) or file is path
    return found


def _walk(folder: Path, unreadable: list[Unreadable]) -> Iterator[Path]:
    def refused(error: OSError) -> None:
        why = (error.strerror or type(error).__name__).lower()
        problem = f"{error.filename} cannot be listed ({why}); check its rights."
        unreadable.append(Unreadable(Path(str(error.filename)), problem))

    for root, folders, files in os.walk(folder, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in sorted(files) if is_table(name))


def is_table(name: str) -> bool:
    """Whether a file of that name may hold candles, packed or not; hidden ones don't count."""
    plain = name.lower()
    for packed in _PACKED:
        plain = plain.removesuffix(packed)
    return not name.startswith(".") and (plain.endswith(ENDINGS) or name.lower().endswith(".zip"))


def read_series(path: Path, interval: str | None, timezone: str | None) -> list[Candles]:
    """Read a file's candles: one instrument's, or those of each instrument in it.

    Raises:
        DataError: If the candles cannot be used; `NoCandlesError` if the table holds something else.
        ParameterError: If an argument is wrong.
    """
    try:
        return [read_candles(path, interval=interval, timezone=timezone)]
    except NoCandlesError:
        raise
    except DataError:
        table = read_table(path, None)
        label = table.layout.symbol
        if label is None or table.frame[label].dropna().nunique() < 2:
            raise
        return list(read_many(path, interval=interval, timezone=timezone).values())


def _checked(path: Path, candles: Candles) -> Checked:
    quality = assess(candles)
    return Checked(
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
    """A file's name without its endings: ``btc_1h`` of ``btc_1h.csv.gz``."""
    name = path.name
    while Path(name).suffix.lower() in (*ENDINGS, *_PACKED, ".txt"):
        name = Path(name).stem
    return name

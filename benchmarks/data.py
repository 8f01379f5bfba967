"""``python -m benchmarks.data``: how fast candles are stored and read back; writes docs/performance-data.md.

The store hashes every row, flushes every file to the disk and renames it into place; pandas' own writer and reader, on
the same frames in the same run, are what that is held against.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.machine import processor_name
from benchmarks.report import table
from benchmarks.timing import Times, say
from kronos.atomic import write_text
from kronos.candles import COLUMNS
from kronos.intervals import Interval
from kronos.provenance import frame_digest
from kronos.sources.cache import CachedSeries, CandleCache, SeriesKey

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance-data.md"
HOUR = Interval(1, "h")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to keep candles: how it writes and reads everything, and what it takes on the disk."""

    name: str
    write: Times
    read: Times
    size: int


def candles(number: int, rows: int) -> pd.DataFrame:
    """A random walk of hourly candles with prices to the cent, so that files compress as real ones do."""
    rng = np.random.default_rng(number)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.005, rows))), 2)
    opened = np.concatenate([[100.0], close[:-1]])
    high = np.round(np.maximum(opened, close) * (1 + rng.exponential(0.002, rows)), 2)
    low = np.round(np.minimum(opened, close) * (1 - rng.exponential(0.002, rows)), 2)
    volume = np.round(rng.lognormal(5, 1, rows), 3)
    index = pd.date_range("2022-01-01", periods=rows, freq="h", tz="UTC", unit="us", name="timestamps")
    columns = [opened, high, low, close, volume, np.round(volume * close, 2)]
    return pd.DataFrame(np.column_stack(columns), columns=list(COLUMNS), index=index)


def measure(series: int, rows: int, repeats: int) -> list[Way]:
    """Time every way on the same frames, in turn, so that a disturbance meets all of them."""
    frames = [candles(number, rows) for number in range(series)]
    with tempfile.TemporaryDirectory() as folder:
        store, plain, zstd = (Path(folder) / name for name in ("store", "pandas", "zstd"))
        ways = {
            "the store": (store, lambda: _store(store, frames), lambda: _load(store, series)),
            "pandas": (plain, lambda: _pandas(plain, frames, "snappy"), lambda: _pandas_read(plain, series)),
            "pandas, zstd": (zstd, lambda: _pandas(zstd, frames, "zstd"), lambda: _pandas_read(zstd, series)),
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for number in range(repeats + 1):  # the first fills the caches and isn't counted
            for name, (path, write, read) in ways.items():
                shutil.rmtree(path, ignore_errors=True)
                taken = (_once(write), _once(read))
                if number:
                    seconds[name].append(taken)
        return [
            Way(name, *(Times(tuple(one)) for one in zip(*seconds[name], strict=True)), _size(path))
            for name, (path, _, _) in ways.items()
        ]


def _key(number: int) -> SeriesKey:
    return SeriesKey("bench", f"COIN{number}/USDT", HOUR)


def _store(folder: Path, frames: list[pd.DataFrame]) -> None:
    store = CandleCache(folder)
    for number, frame in enumerate(frames):
        with store.lock(_key(number)):
            store.write(_key(number), CachedSeries(frame))


def _load(folder: Path, series: int) -> list[pd.DataFrame]:
    store = CandleCache(folder)
    return [store.read(_key(number)).frame for number in range(series)]


def _pandas(folder: Path, frames: list[pd.DataFrame], compression: str) -> None:
    folder.mkdir()
    for number, frame in enumerate(frames):
        frame.to_parquet(folder / f"{number}.parquet", compression=compression)


def _pandas_read(folder: Path, series: int) -> list[pd.DataFrame]:
    return [pd.read_parquet(folder / f"{number}.parquet") for number in range(series)]


def _once(call: Callable[[], object]) -> float:
    started = perf_counter()
    call()
    return perf_counter() - started


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


def _digests(series: int, rows: int) -> float:
    """Seconds that hashing all frames takes: part of both writing to and reading from the store."""
    frames = [candles(number, rows) for number in range(series)]
    return _once(lambda: [frame_digest(frame) for frame in frames])


def render(ways: list[Way], series: int, rows: int, repeats: int, digests: float) -> str:
    """The page."""
    total = series * rows
    head = ("", "write, s (best)", "rows/s", "read, s (best)", "rows/s", "size, MB")
    body = [
        (
            *(w.name, f"{w.write.median:.2f} ({w.write.best:.2f})", f"{total / w.write.median / 1e6:.1f} M"),
            *(
                f"{w.read.median:.2f} ({w.read.best:.2f})",
                f"{total / w.read.median / 1e6:.1f} M",
                f"{w.size / 1e6:.0f}",
            ),
        )
        for w in ways
    ]
    ours, pandas = ways[0], ways[1]
    write, read = ours.write.median / pandas.write.median, ours.read.median / pandas.read.median
    versions = f"pandas {pd.__version__}, pyarrow {pa.__version__}, Python {platform.python_version()}"
    return f"""\
# Storing candles

Generated by `python -m benchmarks.data` on {datetime.now(UTC):%Y-%m-%d}: {processor_name()}, {os.cpu_count()} cores,
{versions}. Do not edit this page; run the benchmark again.
Absolute times are specific to this machine. Ratios within one run are comparable.

{series} series of {rows:,} hourly candles ({total / 1e6:.1f} million rows), one file per series, written and read one
after the other. The writers take turns. Times are medians of {repeats} rounds after one warm-up round, with the best in
brackets.

{table(head, body)}

The store takes {write:.2f}× the time of pandas to write and {read:.2f}× to read. It does more than pandas:

- Writing acquires a lock, hashes every row (all hashes together: {digests:.2f} s), flushes the file and its folder to
  disk, and renames the file into place.
- Reading verifies the hash and the order of times.
- The pandas writer leaves the bytes in the system's page cache.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="print a smoke test with few rows")
    arguments = parser.parse_args()
    series, rows, repeats = (3, 500, 1) if arguments.quick else (100, 20_000, 5)
    say(f"{series} series of {rows} rows")
    page = render(measure(series, rows, repeats), series, rows, repeats, _digests(series, rows))
    if arguments.quick:
        print(page)
    else:
        write_text(_PAGE, page)
        say(f"wrote {_PAGE.name}")


if __name__ == "__main__":
    main()

"""Writing a store of candles: one instrument behind the other into a few files, whatever they are read from."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles import COLUMNS
from kronos.candles.schema import NoCandlesError
from kronos.datasets.feeds import Fed, Feed
from kronos.errors import DataError, ParameterError
from kronos.intervals import Interval
from kronos.storage import write_text

FORMAT = 1
META = "store.json"
ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {  # type and shape of one candle's entry
    "candles": ("<f8", (len(COLUMNS),)),
    "times": ("<i8", ()),
    "opens": ("<i8", ()),
    "stamps": ("|i1", (5,)),
}
_TOLD = 5  # files that could not be read, in the log

log = logging.getLogger("kronos.datasets")


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """One instrument at one interval.

    Attributes:
        unique_id: Its name, unlike all others of the store.
        symbol: The instrument.
        market: Such as ``us_equity``.
        interval: The candles' length, as text.
        start: Its first row in the store.
        rows: How many candles it has.
        timezone: Of its wall clock; None if nobody says.
        stamped_close: Whether its times name when candles close.
        simulated: Whether the candles never traded.
        has_volume: Whether the source tells volume.
        first: Its first time, ISO 8601 without an offset, on its own wall clock.
        last: Its last time.
        prepared: Whether it is a prepared dataset's, whose parts are told.
    """

    unique_id: str
    symbol: str
    market: str
    interval: str
    start: int
    rows: int
    timezone: str | None
    stamped_close: bool
    simulated: bool
    has_volume: bool
    first: str
    last: str
    prepared: bool

    @property
    def stop(self) -> int:
        """The row after its last."""
        return self.start + self.rows

    @property
    def group(self) -> str:
        """``us_equity 1d``: the market at its interval."""
        return f"{self.market} {self.interval}"

    @property
    def length(self) -> Interval:
        """The candles' length."""
        return Interval.parse(self.interval)


def write_store(feeds: Sequence[Feed], files: Sequence[dict[str, Any]], building: Path) -> None:
    """Write a store into an empty folder.

    Args:
        feeds: What to read, one after the other.
        files: Their identities.
        building: The folder.

    Raises:
        DataError: If nothing could be read.
    """
    with ExitStack() as stack:
        writer = _Writer({name: stack.enter_context((building / f"{name}.bin").open("wb")) for name in ARRAYS})
        for feed in feeds:
            writer.read(feed)
        meta = writer.finished() | {"files": list(files)}
    for name, array in (("pieces", writer.pieces), ("missing", writer.missing)):
        np.save(building / f"{name}.npy", array, allow_pickle=False)
    write_text(building / META, json.dumps(meta, ensure_ascii=False))


class _Writer:
    """Appends one instrument after another to the files of a store."""

    def __init__(self, files: dict[str, IO[bytes]]) -> None:
        self._files = files
        self._series: dict[str, SeriesInfo] = {}
        self._pieces: list[npt.NDArray[np.int64]] = []
        self._missing: list[npt.NDArray[np.int64]] = []
        self._unreadable: list[tuple[str, str]] = []
        self._rows = 0
        self._digest = hashlib.sha256()

    def read(self, feed: Feed) -> None:
        """Append a feed's instruments, or note why it cannot be read."""
        try:
            fed = list(feed.read())
        except NoCandlesError as error:
            if feed.named:
                self._refuse(feed, error)
            return
        except (DataError, ParameterError) as error:
            self._refuse(feed, error)
            return
        for one in fed:
            self._append(one)

    def _refuse(self, feed: Feed, error: Exception) -> None:
        self._unreadable.append((feed.name, str(error)))
        if len(self._unreadable) <= _TOLD:
            log.warning("Left out of training: %s", error)

    def _append(self, fed: Fed) -> None:
        from kronos.inference.normalising import stamp_features

        candles, index = fed.candles, fed.candles.index
        if not len(candles):
            return
        utc = (index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")).as_unit("us")
        opens = utc - candles.interval.delta if fed.stamped_close else utc
        wall = (index if index.tz is None else index.tz_localize(None)).as_unit("us")
        arrays = {
            "candles": candles.frame.to_numpy(np.float64),
            "times": wall.asi8,
            "opens": opens.asi8,
            "stamps": stamp_features(index),
        }
        info = self._info(fed, wall)
        for name, (kind, _) in ARRAYS.items():
            content = np.ascontiguousarray(arrays[name]).astype(kind, copy=False).tobytes()
            self._files[name].write(content)
            self._digest.update(content)
        self._digest.update(json.dumps(asdict(info)).encode())
        if fed.pieces is not None:
            shifted = fed.pieces + np.array([self._rows, self._rows, 0])
            self._pieces.append(np.column_stack((np.full(len(shifted), len(self._series)), shifted)))
        passed = index.as_unit("ns").asi8.searchsorted(candles.dropped.as_unit("ns").asi8)
        self._missing.append(np.unique(passed[(passed > 0) & (passed < len(index))]) + self._rows)
        self._series[info.unique_id] = info
        self._rows += len(candles)

    def _info(self, fed: Fed, wall: pd.DatetimeIndex) -> SeriesInfo:
        candles = fed.candles
        name = self._free(fed.name, fed.market)
        return SeriesInfo(
            unique_id=name,
            symbol=candles.symbol or name,
            market=fed.market,
            interval=str(candles.interval),
            start=self._rows,
            rows=len(candles),
            timezone=candles.timezone,
            stamped_close=fed.stamped_close,
            simulated=candles.simulated,
            has_volume=candles.has_volume,
            first=wall[0].isoformat(),
            last=wall[-1].isoformat(),
            prepared=fed.pieces is not None,
        )

    def _free(self, name: str, market: str) -> str:
        """A name that nobody has: with the market before it, and a number after it, where it is taken."""
        if name not in self._series:
            return name
        candidate, number = f"{market}/{name}", 1
        while candidate in self._series:
            number += 1
            candidate = f"{market}/{name}-{number}"
        return candidate

    @property
    def pieces(self) -> npt.NDArray[np.int64]:
        """Stretches of prepared datasets. [n, 4]."""
        return np.concatenate([np.empty((0, 4), dtype=np.int64), *self._pieces]).astype(np.int64)

    @property
    def missing(self) -> npt.NDArray[np.int64]:
        """Rows before which others were dropped. [n]."""
        return np.concatenate([np.empty(0, dtype=np.int64), *self._missing]).astype(np.int64)

    def finished(self) -> dict[str, Any]:
        """What there is, ready for JSON.

        Raises:
            DataError: If that is nothing.
        """
        if not self._series:
            count = len(self._unreadable)
            if count:
                first = self._unreadable[0][1]
                raise DataError(first if count == 1 else f"None of {count} files could be read; the first: {first}")
            raise DataError("There are no candles in what was given; give files with open, high, low, close and times.")
        self._digest.update(self.pieces.tobytes() + self.missing.tobytes())
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        return {
            "format": FORMAT,
            "digest": self._digest.hexdigest(),
            "series": [asdict(one) for one in self._series.values()],
            "unreadable": self._unreadable,
        }

"""Files as a source of candles: one file, or a folder of CSV, Feather and Parquet files.

- A file's name says what it holds: ``BTC-USDT-SWAP_1h.csv``; a vendor in lower case may stand between
  (``AAPL_lean_1d.parquet`` is asked for as ``AAPL``, or as ``AAPL_lean`` where several vendors tell of AAPL), and
  ``simulated_`` before. ``BTCUSDT.csv`` says the symbol alone; its times tell the interval.
- Or a column says it: ``symbol``, ``unique_id`` and the like, also of several instruments in one file. Such files are
  looked into when no name fits.
- Symbols are compared without case and separators. Only files that are there are ever opened: a symbol is no path.
- Candles keep their own times: without a timezone they stay their own wall clock, which counts as UTC where it is
  compared with a time asked for. Everything in a file counts as closed.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import pandas as pd

from kronos.atomic import expand_user
from kronos.candles import Candles, read_candles, read_many
from kronos.candles.candles import SIMULATED
from kronos.candles.schema import find_layout
from kronos.candles.timestamps import check_timezone
from kronos.errors import DataError, ParameterError
from kronos.formatting import truncate
from kronos.intervals import Interval
from kronos.sources.base import closing_time, no_interval, plain, slice_request, unknown_symbol

_GLANCE = 1 << 16  # bytes of text among which the header is


@dataclass(frozen=True, slots=True)
class HeaderInfo:
    """What a file's header tells.

    Attributes:
        candles: Whether it can be a table of candles; false if it names columns, but not those of candles.
        symbols: Whether a column names the instrument.
    """

    candles: bool
    symbols: bool


@lru_cache(maxsize=4096)
def glance(path: Path, _changed: int, _size: int) -> HeaderInfo:
    """Look at a file's header; what cannot be read may be candles, and reading it says why.

    Args:
        path: The file.
        _changed: When it was changed, which keeps the answer fresh, as does
        _size: its size.
    """
    try:
        labels = _labels(path)
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        labels = None
    if labels is None or not any(cell.isalpha() for label in labels for cell in label):
        return HeaderInfo(candles=True, symbols=False)
    try:
        return HeaderInfo(candles=True, symbols=find_layout(list(labels), None, path.name).symbol is not None)
    except DataError:
        return HeaderInfo(candles=False, symbols=False)


def _labels(path: Path) -> list[str] | None:
    with path.open("rb") as handle:
        head = handle.read(_GLANCE)
    if head.startswith((b"PAR1", b"ARROW1", b"FEA1")):
        return _columns(path, parquet=head.startswith(b"PAR1"))
    if head.startswith(b"\x1f\x8b"):
        with gzip.open(path) as stream:
            head = stream.read(_GLANCE)
    elif head.startswith(b"PK\x03\x04"):
        head = _first_member(path)
    return _header(head)


def _columns(path: Path, parquet: bool) -> list[str] | None:
    import pyarrow as pa
    from pyarrow import feather
    from pyarrow import parquet as pq

    try:
        if parquet:
            return list(pq.read_schema(path).names)
        return list(feather.read_table(path, memory_map=True).column_names)
    except (pa.ArrowException, OSError):
        return None


def _first_member(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        name = next((n for n in archive.namelist() if not n.startswith("__MACOSX") and not n.endswith("/")), None)
        if name is None:
            return b""
        with archive.open(name) as stream:
            return stream.read(_GLANCE)


def _header(head: bytes) -> list[str]:
    """The cells of the first line of text; an address above the header, as some downloads have, doesn't count."""
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = head[: len(head) // 2 * 2].decode("utf-16", "replace") if wide else _narrow(head)
    lines = io.StringIO(text.lstrip("\r\n \ufeff")).read().splitlines()
    if lines and lines[0].startswith(("http://", "https://")):
        lines = lines[1:]
    header = lines[0] if lines else ""
    delimiter = max(",;\t|", key=header.count)
    return [cell.strip().strip('"') for cell in header.split(delimiter)]


def _narrow(head: bytes) -> str:
    lines = b"\n".join(head.lstrip(b"\r\n \xef\xbb\xbf").split(b"\n", 2)[:2])
    try:
        return lines.decode("utf-8")
    except UnicodeDecodeError:
        return lines.decode("gb18030", "replace")


T = TypeVar("T")

_PACKED = (".gz", ".zip")
_ENDINGS = (".csv", ".tsv", ".parquet", ".pq", ".feather", ".arrow", ".ftr")
_NAMED = re.compile(r"(?P<symbol>.+?)[_\- ](?P<interval>\d+[a-z]+|hourly|daily|weekly|monthly)", re.IGNORECASE)
_INVENTED = re.compile(rf"{SIMULATED}[_\- ]+", re.IGNORECASE)
_VENDOR = re.compile(r"(?P<symbol>.*[A-Z0-9].*)_[a-z]+")


@dataclass(frozen=True, slots=True)
class Named:
    """What a file's name says.

    Attributes:
        path: The file.
        full: Its name without interval and ending: ``AAPL_lean``, ``simulated_BTC-USDT``.
        symbol: The instrument alone: ``AAPL``, ``BTC-USDT``.
        interval: The candles' length; None if the name does not say.
        simulated: Whether it says that the candles are invented.
    """

    path: Path
    full: str
    symbol: str
    interval: Interval | None
    simulated: bool

    @classmethod
    def of(cls, path: Path) -> Named:
        """Read a file's name."""
        stem = path.name
        for ending in (*_PACKED, *_ENDINGS, ".txt"):
            stem = stem[: -len(ending)] if stem.lower().endswith(ending) and len(stem) > len(ending) else stem
        interval, full = None, stem
        if (match := _NAMED.fullmatch(stem)) and (interval := _interval(match["interval"])) is not None:
            full = match["symbol"]
        simulated = path.name.lower().startswith(SIMULATED)
        symbol = _INVENTED.sub("", full, count=1) if simulated else full
        vendor = _VENDOR.fullmatch(symbol)
        return cls(path, full, vendor["symbol"] if vendor else symbol, interval, simulated)


class FileSource:
    """A file or a folder of files as a `CandleSource`. A folder's names are read at every call, so that new files show.

    Attributes:
        path: The file or folder.
    """

    def __init__(self, path: str | Path, *, timezone: str | None = None) -> None:
        """Name a file or a folder.

        Args:
            path: One file of candles, or a folder with some in it; folders within are not looked into.
            timezone: IANA name: naive stamps are its wall clock, others are converted to it; None keeps them.

        Raises:
            DataError: If there is no such file or folder.
            ParameterError: If there is no such timezone.
        """
        self.path = expand_user(path)
        self._timezone = None if timezone is None else check_timezone(timezone)
        if not self.path.exists():
            raise DataError(f"There is no file or folder {self.path}; check the path.")

    @property
    def name(self) -> str:
        """``files``."""
        return "files"

    @property
    def simulated(self) -> bool:
        """Whether any file's name says that its candles are invented; the `Candles` say it one by one."""
        return any(one.simulated for one in self._listing())

    def symbols(self) -> tuple[str, ...]:
        """What can be asked for: symbols as names say them, with the vendor where that is needed, and those in columns.

        Raises:
            DataError: If the folder holds no candle files.
        """
        listing = [one for one in self._listing() if _glance(one).candles]
        full: dict[str, set[str]] = {}
        for one in listing:
            full.setdefault(plain(one.symbol), set()).add(one.full)
        found: list[str] = []
        for one in listing:
            by_name = one.symbol if len(full[plain(one.symbol)]) == 1 else one.full
            found.extend(self._inside(one) or (by_name,))
        return tuple(dict.fromkeys(found))

    def now(self) -> pd.Timestamp:
        """When the newest candle of all files closes; UTC, or its wall clock taken for it.

        Raises:
            DataError: If no file can be read.
        """
        ends, problem = [], None
        for one in self._listing():
            try:
                ends.append(_closes(one.path, *_state(one.path), one.interval, self._timezone))
            except DataError as error:
                problem = problem or error
        if not ends:
            raise problem or DataError(f"{self.path} holds no candles.")
        return max(ends)

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """The intervals there are of an instrument, ascending.

        Raises:
            ParameterError: If there is no such instrument, naming the nearest.
            DataError: If the folder holds no candle files, or the one that tells the interval cannot be used.
        """
        found = {self._interval(one, symbol) for one in self._about(symbol)}
        return tuple(sorted(found, key=lambda one: one.seconds))

    def candles(
        self,
        symbol: str,
        interval: Interval,
        *,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        records: int | None = None,
    ) -> Candles:
        """Candles as the file holds them, read by `read_candles`; see `CandleSource`.

        Raises:
            ParameterError: If there is no such instrument or interval, or several files have it.
            DataError: If the file cannot be used, or has no candles in that span.
        """
        about = self._about(symbol)
        found = [one for one in about if self._interval(one, symbol) == interval.normalized()]
        if not found:
            raise no_interval(symbol, interval, self.intervals(symbol), self.path.name)
        if len(found) > 1:
            raise _several(symbol, interval, found)
        return slice_request(self._read(found[0], symbol), start, end, records, self.path.name)

    def _listing(self) -> list[Named]:
        """The candle files there are, by name; a single file is taken whatever its ending."""
        if not self.path.is_dir():
            return [Named.of(self.path)]
        try:
            paths = sorted(path for path in self.path.iterdir() if _is_candles(path))
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise DataError(f"The folder {self.path} cannot be read ({reason}); check its permissions.") from None
        if not paths:
            raise DataError(f"{self.path} holds no CSV, Feather or Parquet files; name the folder that does.")
        return [Named.of(path) for path in paths]

    def _about(self, symbol: str) -> list[Named]:
        """The files that hold an instrument: by full name, else by the symbol in it, else by a column."""
        listing = self._listing()
        for named in ([(one.full, one) for one in listing], [(one.symbol, one) for one in listing]):
            inside = [(one, self._inside(one)) for one in _alike(symbol, named)]
            found = [one for one, symbols in inside if not symbols or _picked(symbols, symbol) is not None]
            if found:
                return found
        found = _alike(symbol, [(inner, one) for one in listing for inner in self._inside(one)])
        if not found:
            for one in listing:  # if one that may hold it cannot be read, that is what has to be said
                if _glance(one).symbols:
                    self._contents(one)
            known = [*(one.symbol for one in listing if _glance(one).candles), *self.symbols()]
            raise unknown_symbol(symbol, known, self.path.name)
        return list(dict.fromkeys(found))

    def _inside(self, one: Named) -> tuple[str, ...]:
        """The instruments that a column of a file names; none if there is no such column, or they cannot be read."""
        if not _glance(one).symbols:
            return ()
        try:
            return tuple(self._contents(one))
        except DataError:
            return ()

    def _read(self, one: Named, symbol: str) -> Candles:
        contents = self._contents(one)
        if "" in contents:
            return replace(contents[""], symbol=one.symbol)
        picked = _picked(tuple(contents), symbol)
        if picked is None:
            raise ParameterError(
                f"'{truncate(symbol)}' can be several instruments of {one.path.name}; write it as it is there."
            )
        return contents[picked]

    def _contents(self, one: Named) -> dict[str, Candles]:
        return _contents(one.path, *_state(one.path), one.interval, self._timezone)

    def _interval(self, one: Named, symbol: str) -> Interval:
        return self._read(one, symbol).interval if one.interval is None else one.interval


def _glance(one: Named) -> HeaderInfo:
    return glance(one.path, *_state(one.path))


def _picked(inside: tuple[str, ...], symbol: str) -> str | None:
    """Which of the instruments in a file is meant; the only one there is, where the file's name was asked for."""
    if len(inside) == 1:
        return inside[0]
    found = _alike(symbol, [(inner, inner) for inner in inside])
    return found[0] if len(found) == 1 else None


def _interval(text: str) -> Interval | None:
    try:
        return Interval.parse(text).normalized()
    except ParameterError:
        return None


def _is_candles(path: Path) -> bool:
    name = path.name.lower()
    plain_name = next((name.removesuffix(end) for end in _PACKED if name.endswith(end)), name)
    return plain_name.endswith(_ENDINGS) and not name.startswith(".") and path.is_file()


def _alike(symbol: str, said: Iterable[tuple[str, T]]) -> list[T]:
    """What is called by a symbol: in these very letters, or else without case and separators."""
    alike = [(text, one) for text, one in said if plain(text) == plain(symbol)]
    exact = [one for text, one in alike if text == symbol]
    return exact or [one for _, one in alike]


def _several(symbol: str, interval: Interval, found: list[Named]) -> ParameterError:
    names = [one.path.name for one in found[:2]]
    full = sorted({one.full for one in found})
    mend = f"ask for {full[0]} or {full[1]}" if len(full) > 1 else "name one of the files instead"
    return ParameterError(f"{truncate(symbol)} at {interval} is in {names[0]} and in {names[1]}; {mend}.")


def _state(path: Path) -> tuple[int, int]:
    """When a file was last changed, and its size: what is kept in memory counts for this state only."""
    try:
        status = path.stat()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise DataError(f"{path} cannot be read ({reason}); check its path and permissions.") from None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=8)
def _contents(
    path: Path, changed: int, size: int, interval: Interval | None, timezone: str | None
) -> dict[str, Candles]:
    """A file's candles by what its symbol column says; by an empty name without one."""
    try:
        if glance(path, changed, size).symbols:
            return read_many(path, interval=interval, timezone=timezone)
        return {"": read_candles(path, interval=interval, timezone=timezone)}
    except ParameterError as error:
        # The timezone was checked before, so it is the interval in the file's name.
        raise DataError(f"{path.name} is named {interval}, but its times say otherwise; rename it.") from error


@lru_cache(maxsize=4096)
def _closes(path: Path, changed: int, size: int, interval: Interval | None, timezone: str | None) -> pd.Timestamp:
    """When a file's newest candle closes."""
    every = _contents(path, changed, size, interval, timezone).values()
    return max(closing_time(candles.end, candles.interval) for candles in every)

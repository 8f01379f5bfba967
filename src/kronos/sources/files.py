"""Files as a source of candles: one file, or a folder of CSV, Feather and Parquet files.

- A file's name holds the symbol and the interval: ``BTC-USDT-SWAP_1h.csv``. A vendor in lower case may stand between
  them (``AAPL_lean_1d.parquet`` is found as ``AAPL``, or as ``AAPL_lean`` if several vendors have AAPL), and
  ``simulated_`` before them. Without an interval (``BTCUSDT.csv``) it is inferred from the times.
- Alternatively a column names the instrument (``symbol``, ``unique_id`` …), also several instruments per file. Such
  files are searched if no name matches.
- Symbols are compared without case and separators. They are never used as paths: only listed files are opened.
- Candles keep their own times. Times without a timezone count as UTC when they are compared with a requested range.
  All candles of a file count as closed.
"""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import pandas as pd

from kronos.candles import Candles, ReadOptions
from kronos.candles.candles import SIMULATED_PREFIX
from kronos.candles.charset import decode
from kronos.candles.columns import find_layout
from kronos.candles.dialect import find_dialect, split_line
from kronos.candles.io import load_candles, load_many
from kronos.candles.timezone_names import check_timezone
from kronos.errors import DataError, ParameterError
from kronos.formatting import expand_user, os_error_reason, truncate, unicode_name
from kronos.intervals import Interval
from kronos.sources.base import (
    CandleRange,
    LocalSource,
    closing_time,
    normalize_symbol,
    slice_request,
    unknown_symbol,
    unsupported_interval,
)

T = TypeVar("T")

_HEADER_BYTES = 1 << 16  # bytes of text that contain the header
_COMPRESSED = (".gz", ".zip")
_EXTENSIONS = (".csv", ".tsv", ".parquet", ".pq", ".feather", ".arrow", ".ftr")
_NAME = re.compile(r"(?P<symbol>.+?)[_\- ](?P<interval>\d+[a-z]+|hourly|daily|weekly|monthly)", re.IGNORECASE)
_SIMULATED_LABEL = re.compile(rf"{SIMULATED_PREFIX}[_\- ]+", re.IGNORECASE)
_WITH_VENDOR = re.compile(r"(?P<symbol>.*[A-Z0-9].*)_[a-z]+")


@dataclass(frozen=True, slots=True)
class HeaderInfo:
    """Columns of a file, as far as they matter here.

    Attributes:
        is_candles: Whether it may be a table of candles; false if it has column names, but not those of candles.
        has_symbols: Whether a column names the instrument.
    """

    is_candles: bool
    has_symbols: bool


@lru_cache(maxsize=4096)
def read_header(path: Path, _modified: int, _size: int) -> HeaderInfo:
    """Read a file's header. A file that cannot be read may hold candles: reading it reports what is wrong.

    Args:
        path: The file.
        _modified: Its modification time, part of the cache key, as is
        _size: its size.
    """
    try:
        columns = _column_names(path)
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        columns = None
    if columns is None or not any(character.isalpha() for column in columns for character in column):
        return HeaderInfo(is_candles=True, has_symbols=False)
    try:
        has_symbols = find_layout(list(columns), None, path.name).symbol is not None
        return HeaderInfo(is_candles=True, has_symbols=has_symbols)
    except DataError:
        return HeaderInfo(is_candles=False, has_symbols=False)


def _column_names(path: Path) -> list[str] | None:
    with path.open("rb") as handle:
        head = handle.read(_HEADER_BYTES)
    if head.startswith((b"PAR1", b"ARROW1", b"FEA1")):
        return _schema_names(path, parquet=head.startswith(b"PAR1"))
    if head.startswith(b"\x1f\x8b"):
        with gzip.open(path) as stream:
            head = stream.read(_HEADER_BYTES)
    elif head.startswith(b"PK\x03\x04"):
        head = _first_member(path)
    return _first_line(head)


def _schema_names(path: Path, parquet: bool) -> list[str] | None:
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
            return stream.read(_HEADER_BYTES)


def _first_line(head: bytes) -> list[str]:
    """Names of the columns, or the cells of the first row if they have none."""
    whole = head if len(head) < _HEADER_BYTES else head[: (head.rfind(b"\n") + 1) or len(head)]
    if len(whole) % 2 and b"\x00" in whole[:100]:
        whole += b"\x00"  # the other half of the last line's end
    text, _ = decode(whole, "The file")
    dialect = find_dialect(text, "The file")
    first = text.split("\n", dialect.first + 1)[dialect.first : dialect.first + 1]
    return list(dialect.labels) or [cell for line in first for cell in split_line(line, dialect.delimiter)]


@dataclass(frozen=True, slots=True)
class FileName:
    """A file and the parts of its name.

    Attributes:
        path: The file.
        full: Name without interval and extension: ``AAPL_lean``, ``simulated_BTC-USDT``.
        symbol: The instrument alone: ``AAPL``, ``BTC-USDT``.
        interval: Length of the candles; None if it is not part of the name.
        simulated: Whether the name labels the candles as simulated.
    """

    path: Path
    full: str
    symbol: str
    interval: Interval | None
    simulated: bool

    @classmethod
    def parse(cls, path: Path) -> FileName:
        """Split a file's name into its parts."""
        stem = unicode_name(path.name)
        for extension in (*_COMPRESSED, *_EXTENSIONS, ".txt"):
            if stem.lower().endswith(extension) and len(stem) > len(extension):
                stem = stem[: -len(extension)]
        interval, full = None, stem
        if (match := _NAME.fullmatch(stem)) and (interval := _parse_interval(match["interval"])) is not None:
            full = match["symbol"]
        simulated = path.name.lower().startswith(SIMULATED_PREFIX)
        symbol = _SIMULATED_LABEL.sub("", full, count=1) if simulated else full
        with_vendor = _WITH_VENDOR.fullmatch(symbol)
        return cls(path, full, with_vendor["symbol"] if with_vendor else symbol, interval, simulated)


class FileSource(LocalSource):
    """A file or a folder of files as a `CandleSource`. A folder is listed at every call, so that new files are found.

    Attributes:
        path: The file or folder.
    """

    name = "files"

    def __init__(self, path: str | Path, *, timezone: str | None = None, reading: ReadOptions | None = None) -> None:
        """Use a file or a folder.

        Args:
            path: A file of candles, or a folder of them, not searched recursively.
            timezone: IANA name of the timezone of naive times; other times are converted to it. None keeps all times.
            reading: How files are written; None infers it. The interval is that of a file's name, if it has one.

        Raises:
            DataError: If there is no such file or folder.
            ParameterError: If there is no such timezone.
        """
        self.path = expand_user(path)
        reading = reading or ReadOptions()
        timezone = timezone or reading.timezone
        self._reading = replace(reading, timezone=None if timezone is None else check_timezone(timezone))
        if not self.path.exists():
            raise DataError(f"There is no file or folder {self.path}: check the path.")

    @property
    def simulated(self) -> bool:
        """Whether any file's name labels its candles as simulated."""
        return any(file.simulated for file in self._files())

    def symbols(self) -> tuple[str, ...]:
        """All symbols, from names (with the vendor if several have the same symbol) and from columns.

        Raises:
            DataError: If the folder holds no candle files.
        """
        files = [file for file in self._files() if self._header(file).is_candles]
        full_names: dict[str, set[str]] = {}
        for file in files:
            full_names.setdefault(normalize_symbol(file.symbol), set()).add(file.full)
        symbols: list[str] = []
        for file in files:
            by_name = file.symbol if len(full_names[normalize_symbol(file.symbol)]) == 1 else file.full
            symbols.extend(self._column_symbols(file) or (by_name,))
        return tuple(dict.fromkeys(symbols))

    def now(self) -> pd.Timestamp:
        """Closing time of the newest candle of all files; UTC, or its naive time taken as UTC.

        Raises:
            DataError: If no file can be read.
        """
        ends, problem = [], None
        for file in self._files():
            try:
                ends.append(_last_close(file.path, *_file_state(file.path), self._options(file)))
            except DataError as error:
                problem = problem or error
        if not ends:
            raise problem or DataError(f"{self.path} holds no candles.")
        return max(ends)

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """Available intervals of an instrument, ascending.

        Raises:
            ParameterError: If there is no such instrument; suggests the nearest.
            DataError: If the folder holds no candle files, or the interval has to be inferred from an unusable file.
        """
        found = {self._interval(file, symbol) for file in self._files_of(symbol)}
        return tuple(sorted(found, key=lambda interval: interval.seconds))

    def _select(self, symbol: str, interval: Interval, requested: CandleRange) -> Candles:
        files = self._files_of(symbol)
        matches = [file for file in files if self._interval(file, symbol) == interval.normalized()]
        if not matches:
            raise unsupported_interval(symbol, interval, self.intervals(symbol), self.path.name)
        if len(matches) > 1:
            raise _ambiguous(symbol, interval, matches)
        return slice_request(self._read(matches[0], symbol), requested, self.path.name)

    def _files(self) -> list[FileName]:
        """The candle files of the folder, by name; a single file may have any extension."""
        if not self.path.is_dir():
            return [FileName.parse(self.path)]
        try:
            paths = sorted(path for path in self.path.iterdir() if _has_candle_extension(path))
        except OSError as error:
            raise DataError(
                f"The folder {self.path} cannot be read ({os_error_reason(error)}): check its permissions."
            ) from None
        if not paths:
            raise DataError(f"{self.path} holds no CSV, Feather or Parquet files: name the folder that does.")
        return [FileName.parse(path) for path in paths]

    def _files_of(self, symbol: str) -> list[FileName]:
        """The files of an instrument: by full name, else by the symbol in the name, else by a column."""
        files = self._files()
        for named in ([(file.full, file) for file in files], [(file.symbol, file) for file in files]):
            matches = [(file, self._column_symbols(file)) for file in _match_symbol(symbol, named)]
            found = [file for file, symbols in matches if not symbols or _choose(symbols, symbol) is not None]
            if found:
                return found
        found = _match_symbol(symbol, [(inner, file) for file in files for inner in self._column_symbols(file)])
        if not found:
            for file in files:  # raises if a file that may hold the instrument cannot be read
                if self._header(file).has_symbols:
                    self._contents(file)
            known = [*(file.symbol for file in files if self._header(file).is_candles), *self.symbols()]
            raise unknown_symbol(symbol, known, self.path.name)
        return list(dict.fromkeys(found))

    def _column_symbols(self, file: FileName) -> tuple[str, ...]:
        """The instruments that a column names; empty if there is no such column, or the file cannot be read."""
        if not self._header(file).has_symbols:
            return ()
        try:
            return tuple(self._contents(file))
        except DataError:
            return ()

    def _read(self, file: FileName, symbol: str) -> Candles:
        contents = self._contents(file)
        if "" in contents:
            return replace(contents[""], symbol=file.symbol)
        chosen = _choose(tuple(contents), symbol)
        if chosen is None:
            raise ParameterError(
                f"'{truncate(symbol)}' matches several instruments of {file.path.name}: write it as in the file."
            )
        return contents[chosen]

    def _contents(self, file: FileName) -> dict[str, Candles]:
        return _read_contents(file.path, *_file_state(file.path), self._options(file))

    def _options(self, file: FileName) -> ReadOptions:
        return replace(self._reading, interval=file.interval or self._reading.interval)

    def _header(self, file: FileName) -> HeaderInfo:
        if self._reading.columns or self._reading.header is not None:  # as the caller says, whatever it looks like
            return HeaderInfo(is_candles=True, has_symbols="symbol" in self._reading.column_names)
        return read_header(file.path, *_file_state(file.path))

    def _interval(self, file: FileName, symbol: str) -> Interval:
        return self._read(file, symbol).interval if file.interval is None else file.interval


def _choose(symbols: tuple[str, ...], symbol: str) -> str | None:
    """The instrument of a file that a symbol matches; the only one if there is one, since the file's name matched."""
    if len(symbols) == 1:
        return symbols[0]
    found = _match_symbol(symbol, [(inner, inner) for inner in symbols])
    return found[0] if len(found) == 1 else None


def _parse_interval(text: str) -> Interval | None:
    try:
        return Interval.parse(text).normalized()
    except ParameterError:
        return None


def _has_candle_extension(path: Path) -> bool:
    name = path.name.lower()
    unpacked = next((name.removesuffix(suffix) for suffix in _COMPRESSED if name.endswith(suffix)), name)
    return unpacked.endswith(_EXTENSIONS) and not name.startswith(".") and path.is_file()


def _match_symbol(symbol: str, named: Iterable[tuple[str, T]]) -> list[T]:
    """The items with this name, exactly as written or else without case and separators; in composed form (NFC)."""
    symbol = unicode_name(symbol)
    alike = [(name, item) for name, item in named if normalize_symbol(name) == normalize_symbol(symbol)]
    exact = [item for name, item in alike if name == symbol]
    return exact or [item for _, item in alike]


def _ambiguous(symbol: str, interval: Interval, files: list[FileName]) -> ParameterError:
    first, second = (file.path.name for file in files[:2])
    full = sorted({file.full for file in files})
    hint = f"use {full[0]} or {full[1]}" if len(full) > 1 else "name one of the files instead"
    return ParameterError(f"{truncate(symbol)} at {interval} is in {first} and in {second}: {hint}.")


def _file_state(path: Path) -> tuple[int, int]:
    """Modification time and size of a file, which decide whether cached content is current."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({os_error_reason(error)}): check its path and permissions.") from None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=8)
def _read_contents(path: Path, modified: int, size: int, options: ReadOptions) -> dict[str, Candles]:
    """A file's candles by the value of its symbol column, or under an empty name without one."""
    has_symbols = read_header(path, modified, size).has_symbols and not options.columns
    try:
        if has_symbols or "symbol" in options.column_names:
            return load_many(path, options)
        return {"": load_candles(path, options)}
    except ParameterError as error:
        if not str(error).startswith("interval="):
            raise
        # The interval in the file's name must be wrong.
        raise DataError(
            f"{path.name} has {options.interval} in its name, but its times have another interval: rename it."
        ) from error


@lru_cache(maxsize=4096)
def _last_close(path: Path, modified: int, size: int, options: ReadOptions) -> pd.Timestamp:
    """Closing time of a file's newest candle."""
    contents = _read_contents(path, modified, size, options).values()
    return max(closing_time(candles.end, candles.interval) for candles in contents)

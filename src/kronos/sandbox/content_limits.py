"""Options of a client's file, and the limits of reading it.

Both are frozen and hashable, as parts of cache keys. Options are short, since messages and cache keys repeat them.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from dataclasses import dataclass, fields
from typing import Any

from kronos.errors import DataError, ParameterError
from kronos.formatting import truncate

_MAX_TEXT = 200  # characters of an option
_MAX_MAPPED_COLUMNS = 32
_MAX_LINE = 1 << 20  # bytes
_ARCHIVE_ERRORS = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    RuntimeError,
    ValueError,
    KeyError,
    NotImplementedError,
)


@dataclass(frozen=True, slots=True)
class FileOptions:
    """A client's information about a file; see `kronos.candles.read_candles`.

    Attributes:
        symbol: Name of the instrument.
        interval: Length of the candles, such as ``"1h"``.
        timezone: IANA name.
        calendar: Trading calendar of future candles.
        columns: Names of columns, as pairs such as ``("close", "Last Price")``.
        decimal: Decimal sign of the numbers.
        thousands: Thousands sign of the numbers; empty for none.
        date_format: Notation of the times for ``strptime``.
        header: Number of the line with the names of the columns, from 1; 0 if there is none.
    """

    symbol: str | None = None
    interval: str | None = None
    timezone: str | None = None
    calendar: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    decimal: str | None = None
    thousands: str | None = None
    date_format: str | None = None
    header: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) and (len(value) > _MAX_TEXT or not value.isprintable()):
                raise ParameterError(f"Invalid {field.name}: write at most {_MAX_TEXT} printable characters.")
        texts = [text for pair in self.columns for text in pair]
        if len(self.columns) > _MAX_MAPPED_COLUMNS or any(len(text) > _MAX_TEXT for text in texts):
            raise ParameterError(
                f"Invalid columns: name at most {_MAX_MAPPED_COLUMNS}, with at most {_MAX_TEXT} characters each."
            )


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Limits of reading one file.

    Attributes:
        bytes: Size of the file as stored.
        rows: Number of candles.
        memory_mb: Memory of the process that reads it, in MiB; about 110 of them are the process itself.
        seconds: Seconds of CPU time, and of elapsed time.
        columns: Number of columns, used or not.
    """

    bytes: int = 64 << 20
    rows: int = 1_000_000
    memory_mb: int = 2048
    seconds: float = 30.0
    columns: int = 512

    @property
    def expanded(self) -> int:
        """Bytes that the file may unpack to; good archives compress candles as text to a quarter."""
        return 4 * self.bytes


DEFAULT_OPTIONS = FileOptions()
DEFAULT_LIMITS = ReadLimits()


def check_limits(data: bytes, name: str, limits: ReadLimits) -> None:
    """Reject content that exceeds the limits once it is unpacked.

    Damaged content passes, since reading it reports what is wrong.

    Args:
        data: The content.
        name: Name of the file in messages.
        limits: The limits.

    Raises:
        DataError: If it has too many rows or columns, unpacks to too many bytes, or has columns of unsupported types.
    """
    if data.startswith(b"PAR1"):
        _check_parquet(data, name, limits)
    elif data.startswith(b"FEA1"):
        raise DataError(f"{name} is a Feather file of version 1, which does not hold its size: write it as version 2.")
    elif data.startswith(b"ARROW1"):
        _check_feather(data, name, limits)
    elif data.startswith((b"\x1f\x8b", b"PK\x03\x04")):
        _check_text(_unpack(data, name, limits), name, limits)
    else:
        _check_text(data, name, limits)


def _check_parquet(data: bytes, name: str, limits: ReadLimits) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        footer = parquet.read_metadata(pa.BufferReader(data))
    except (pa.ArrowException, OSError, ValueError):
        return
    _check_columns(footer.num_columns, name, limits)
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    _check_rows(max(footer.num_rows, sum(group.num_rows for group in groups)), name, limits)
    size = sum(group.column(i).total_uncompressed_size for group in groups for i in range(group.num_columns))
    if size > limits.expanded:
        raise _too_large(name, limits)


def _check_feather(data: bytes, name: str, limits: ReadLimits) -> None:
    import pyarrow as pa
    from pyarrow import ipc

    try:
        reader = ipc.open_file(pa.BufferReader(data))
        schema, rows = reader.schema, reader.count_rows()
    except (pa.ArrowException, OSError, ValueError):
        return
    _check_columns(len(schema), name, limits)
    _check_rows(rows, name, limits)
    unsupported = next((field.type for field in schema if not _is_scalar(field.type)), None)
    if unsupported is not None:
        raise DataError(f"{name} has a column of type {truncate(unsupported, 40)}, unsupported for candles: remove it.")


def _is_scalar(kind: Any) -> bool:
    """Whether a column's values are numbers, times or text, of a few bytes each if their width is fixed."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    texts = (types.is_string, types.is_large_string, types.is_string_view, types.is_binary, types.is_null)
    return types.is_primitive(kind) or types.is_decimal(kind) or any(is_text(kind) for is_text in texts)


def _unpack(data: bytes, name: str, limits: ReadLimits) -> bytes:
    """The text in an archive; empty if there is none, or the archive is damaged."""
    limit = limits.expanded + 1
    try:
        if data.startswith(b"PK"):
            text = _unzip(data, limit)
        else:
            with gzip.open(io.BytesIO(data)) as stream:
                text = stream.read(limit)
    except _ARCHIVE_ERRORS:
        return b""
    if len(text) == limit:
        raise _too_large(name, limits)
    return text


def _unzip(data: bytes, limit: int) -> bytes:
    """The only member of an archive; if there are several, none is unpacked, here or by the reader."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
        if len(names) != 1:
            return b""
        with archive.open(names[0]) as stream:
            return stream.read(limit)


def _check_text(data: bytes, name: str, limits: ReadLimits) -> None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16", errors="replace").encode("utf-8", errors="replace")
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"[", b"{")):  # JSON; each candle is an object or a list
        _check_rows(max(data.count(b"}"), data.count(b"]")) - 1, name, limits)
        return
    line_ends = data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
    _check_rows(line_ends - 1, name, limits)  # one of them ends the header
    lines = data.replace(b"\r", b"\n").split(b"\n")
    if max(map(len, lines)) > _MAX_LINE:
        raise DataError(f"{name} has a line of more than {_MAX_LINE:,} bytes, too long for a candle: correct it.")
    delimiters = max(max(line.count(delimiter) for line in lines[:4]) for delimiter in (b",", b";", b"\t", b"|"))
    _check_columns(delimiters + 1, name, limits)


def _check_rows(rows: int, name: str, limits: ReadLimits) -> None:
    if rows > limits.rows:
        raise DataError(f"{name} has {rows:,} rows, more than the limit of {limits.rows:,} per file: split it.")


def _check_columns(columns: int, name: str, limits: ReadLimits) -> None:
    if columns > limits.columns:
        raise DataError(
            f"{name} has {columns:,} columns, more than the limit of {limits.columns:,} per file: remove unused ones."
        )


def _too_large(name: str, limits: ReadLimits) -> DataError:
    return DataError(f"{name} unpacks to more than the limit of {limits.expanded / 2**20:g} MiB per file: split it.")

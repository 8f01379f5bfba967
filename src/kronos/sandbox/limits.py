"""What a client may say about a file, and what reading one may take.

- Both are frozen and hashable: results are kept under the options they were read with.
- Options are short by construction, because sentences and keys repeat them.
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

_LONGEST = 200
_MOST_COLUMNS = 32


@dataclass(frozen=True, slots=True)
class FileOptions:
    """What a client knows better than the file; see `kronos.candles.read_candles`.

    Attributes:
        symbol: The instrument's name.
        interval: Such as ``"1h"``.
        timezone: IANA name.
        calendar: Trading calendar for what comes after.
        columns: Which column is which, as pairs ``("close", "Last Price")``.
    """

    symbol: str | None = None
    interval: str | None = None
    timezone: str | None = None
    calendar: str | None = None
    columns: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self)[:4]:
            value = getattr(self, field.name)
            if value is not None and (len(value) > _LONGEST or not value.isprintable()):
                raise ParameterError(f"{field.name} has to be at most {_LONGEST} printable characters; shorten it.")
        texts = [text for pair in self.columns for text in pair]
        if len(self.columns) > _MOST_COLUMNS or any(len(text) > _LONGEST for text in texts):
            raise ParameterError(
                f"columns may name {_MOST_COLUMNS} columns of at most {_LONGEST} characters; name fewer or rename them."
            )


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What one file may cost.

    Attributes:
        bytes: Size of the file as it is stored.
        rows: Candles in it.
        memory_mb: Memory of the process that reads it, in MiB; some 110 of them are the process itself.
        seconds: How long reading may take, by the processor's clock and by the wall's.
        columns: Columns in it, used or not.
    """

    bytes: int = 64 << 20
    rows: int = 1_000_000
    memory_mb: int = 2048
    seconds: float = 30.0
    columns: int = 512

    @property
    def expanded(self) -> int:
        """How many bytes the file may unpack to: candles as text shrink to a quarter in a good archive."""
        return 4 * self.bytes


AS_THEY_ARE = FileOptions()
USUAL = ReadLimits()


_LONGEST_LINE = 1 << 20
_BROKEN = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, ValueError, KeyError, NotImplementedError)


def check_bounds(data: bytes, name: str, limits: ReadLimits) -> None:
    """Refuse content that expands to more than one file may.

    What is broken passes, because reading it names what is wrong.

    Args:
        data: The content.
        name: What the file is called.
        limits: What it may expand to.

    Raises:
        DataError: If it has too many rows or columns, unpacks to too much, or holds columns no candles have.
    """
    if data.startswith(b"PAR1"):
        _check_parquet(data, name, limits)
    elif data.startswith(b"FEA1"):
        raise DataError(f"{name} is a Feather file of version 1, which does not tell its size; write it as version 2.")
    elif data.startswith(b"ARROW1"):
        _check_feather(data, name, limits)
    elif data.startswith((b"\x1f\x8b", b"PK\x03\x04")):
        _check_text(_unpacked(data, name, limits), name, limits)
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
    sizes = sum(group.column(i).total_uncompressed_size for group in groups for i in range(group.num_columns))
    if sizes > limits.expanded:
        raise _too_much(name, limits)


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
    odd = next((field for field in schema if not _plain(field.type)), None)
    if odd is not None:
        raise DataError(f"{name} has a column of type {truncate(odd.type, 40)}, which no candles have; leave it out.")


def _plain(kind: Any) -> bool:
    """Whether a column's values are numbers, times or text, each of a few bytes where their width is fixed."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    texts = (types.is_string, types.is_large_string, types.is_string_view, types.is_binary, types.is_null)
    return types.is_primitive(kind) or types.is_decimal(kind) or any(is_text(kind) for is_text in texts)


def _unpacked(data: bytes, name: str, limits: ReadLimits) -> bytes:
    """The text in an archive, empty where there is none or it cannot be told."""
    most = limits.expanded + 1
    try:
        if data.startswith(b"PK"):
            text = _unzipped(data, most)
        else:
            with gzip.open(io.BytesIO(data)) as stream:
                text = stream.read(most)
    except _BROKEN:
        return b""
    if len(text) == most:
        raise _too_much(name, limits)
    return text


def _unzipped(data: bytes, most: int) -> bytes:
    """The only member; of several none is unpacked, here or in reading."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
        if len(names) != 1:
            return b""
        with archive.open(names[0]) as stream:
            return stream.read(most)


def _check_text(data: bytes, name: str, limits: ReadLimits) -> None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16", errors="replace").encode("utf-8", errors="replace")
    ends = data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
    _check_rows(ends - 1, name, limits)  # one of them ends the header
    lines = data.replace(b"\r", b"\n").split(b"\n")
    if max(map(len, lines)) > _LONGEST_LINE:
        raise DataError(f"{name} has a line of more than {_LONGEST_LINE:,} bytes, which is no row of candles; mend it.")
    widest = max(max(line.count(delimiter) for line in lines[:4]) for delimiter in (b",", b";", b"\t", b"|"))
    _check_columns(widest + 1, name, limits)


def _check_rows(rows: int, name: str, limits: ReadLimits) -> None:
    if rows > limits.rows:
        raise DataError(f"{name} has {rows:,} rows, more than the {limits.rows:,} that one file may have; split it.")


def _check_columns(columns: int, name: str, limits: ReadLimits) -> None:
    if columns > limits.columns:
        most = f"{limits.columns:,} that one file may have"
        raise DataError(f"{name} has {columns:,} columns, more than the {most}; keep those of the candles.")


def _too_much(name: str, limits: ReadLimits) -> DataError:
    most = f"{limits.expanded / 2**20:g} MiB"
    return DataError(f"{name} unpacks to more than the {most} that one file may have; split it.")

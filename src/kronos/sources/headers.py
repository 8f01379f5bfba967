"""A glance at a file's columns, without reading its rows: whether one of them names the instrument."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kronos.candles.schema import find_layout
from kronos.errors import DataError

_GLANCE = 1 << 16  # bytes of text among which the header is


@dataclass(frozen=True, slots=True)
class Glance:
    """What a file's header tells.

    Attributes:
        candles: Whether it can be a table of candles; false if it names columns, but not those of candles.
        symbols: Whether a column names the instrument.
    """

    candles: bool
    symbols: bool


@lru_cache(maxsize=4096)
def glance(path: Path, _changed: int, _size: int) -> Glance:
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
        return Glance(candles=True, symbols=False)
    try:
        return Glance(candles=True, symbols=find_layout(list(labels), None, path.name).symbol is not None)
    except DataError:
        return Glance(candles=False, symbols=False)


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

"""Contents of files: loaded with a limit, their format detected, archives unpacked.

The format is detected from the first bytes and must agree with the suffix; pickles are never opened.
"""

from __future__ import annotations

import gzip
import io
import re
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from kronos.candles.charset import decode
from kronos.candles.json_tables import is_json
from kronos.errors import DataError
from kronos.formatting import Message, truncate

MAX_BYTES = 1 << 30
_CHUNK = 1 << 24
_OPEN_ALREADY = re.compile(r"/dev/(stdin|fd/\d+)$|/proc/(self|\d+)/fd/\d+$")  # pipes that never wait for a writer
SPLIT = "split it, or read a part with pandas and pass the DataFrame"

_UNSUPPORTED = {
    b"\x80": "a pickle, which can run code and is never opened; save the table as Parquet or CSV",
    b"\x89HDF": "an HDF5 file; save the table as Parquet or CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as CSV",
    b"%PDF": "a PDF; export the table as CSV",
    b"SQLite": "an SQLite database; export the table as CSV",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"BZh": "a bzip2 file; unpack it first",
    b"\xfd7zXZ": "an xz file; unpack it first",
    b"(\xb5/\xfd": "a Zstandard file; unpack it first",
    b"PK\x05\x06": "an empty zip archive; put one CSV into it",
}
_SUFFIXES = {
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".feather": "Feather",
    ".arrow": "Feather",
    ".ftr": "Feather",
}
_TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class FileContent:
    """The content of a file, unpacked.

    Attributes:
        name: Name of the file in messages.
        kind: ``Parquet``, ``Feather``, ``JSON``, or ``CSV`` for other text.
        data: Its bytes.
    """

    name: str
    kind: str
    data: bytes


def load_content(path: Path) -> FileContent:
    """Load a file, and detect its format.

    Raises:
        DataError: If the file is missing, empty, too large, or of another format.
    """
    name = truncate(path.name, 80)
    data = _bytes(path, name)
    for magic, what in _UNSUPPORTED.items():
        if data.startswith(magic):
            raise DataError(Message("unsupported-format", "{name} is {what}.", name=name, what=what))
    actual, suffix = _detect_format(data), path.suffix.lower()
    expected = _SUFFIXES.get(suffix, "CSV" if suffix in (*_TEXT_SUFFIXES, *_JSON_SUFFIXES) else actual)
    if actual in ("gzip", "zip"):
        if expected in ("Parquet", "Feather"):
            raise DataError(f"{name} has the suffix of {expected} but is a {actual} archive; unpack or rename it.")
        data, actual = _unpack(data, actual, name), "CSV"
        expected = "CSV"
    if actual != expected:
        content = "text such as CSV" if actual == "CSV" else f"a {actual} file"
        raise DataError(
            Message(
                "wrong-suffix",
                "{name} has the suffix of {suffix} but is {content}; correct the suffix.",
                name=name,
                suffix=expected,
                content=content,
            )
        )
    if actual == "CSV" and _is_json_file(data, suffix, name):
        actual = "JSON"
    return FileContent(name, actual, data)


def _is_json_file(data: bytes, suffix: str, name: str) -> bool:
    if suffix in _JSON_SUFFIXES:
        return True
    if data[:64].lstrip(b"\xef\xbb\xbf \r\n\t")[:1] not in (b"{", b"[") or not is_json(decode(data, name)[0]):
        return False
    if suffix in _TEXT_SUFFIXES:
        raise DataError(f"{name} has the suffix of CSV but is JSON; correct the suffix.")
    return True


def _bytes(path: Path, name: str) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DataError(f"{name} is a folder; pass a file.")
        if not stat.S_ISREG(mode) and not _OPEN_ALREADY.match(str(path)):
            raise DataError(f"{name} is a pipe or a device, not a file; save its content to a file.")
        size = path.stat().st_size
        data = b"" if size > MAX_BYTES else _read_bounded(path)
    except FileNotFoundError:
        raise DataError(f"There is no file {truncate(path, 200)}; check the path.") from None
    except DataError:
        raise
    except (OSError, ValueError) as error:
        reason = truncate(getattr(error, "strerror", None) or error, 80)
        raise DataError(f"{name} cannot be read ({reason}); check its path and permissions.") from None
    size = max(size, len(data))
    if size > MAX_BYTES:
        limit = f"{MAX_BYTES / 2**30:g} GiB"
        raise DataError(f"{name} has {size / 2**30:.1f} GiB or more, above the limit of {limit}; {SPLIT}.")
    if not data.strip():
        raise DataError(Message("empty-file", "{name} is empty; it needs a header and rows of candles.", name=name))
    return data


def _read_bounded(path: Path) -> bytes:
    """Read a file to its end or beyond the limit, whatever size it claims to have."""
    parts, size = [], 0
    with path.open("rb") as file:
        while size <= MAX_BYTES and (part := file.read(_CHUNK)):
            parts.append(part)
            size += len(part)
    return b"".join(parts)


def _detect_format(data: bytes) -> str:
    if data.startswith(b"PAR1"):
        return "Parquet"
    if data.startswith((b"ARROW1", b"FEA1")):
        return "Feather"
    if data.startswith(b"\x1f\x8b"):
        return "gzip"
    return "zip" if data.startswith(b"PK\x03\x04") else "CSV"


def _unpack(data: bytes, kind: str, name: str) -> bytes:
    try:
        if kind == "gzip":
            with gzip.open(io.BytesIO(data)) as stream:
                unpacked = stream.read(MAX_BYTES + 1)
        else:
            unpacked = _unzip(data, name)
    except (
        OSError,
        EOFError,
        zlib.error,
        zipfile.BadZipFile,
        RuntimeError,
        NotImplementedError,
        ValueError,
        KeyError,
    ) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name} is a corrupt or encrypted {kind} archive; download or compress it again.") from None
    if len(unpacked) > MAX_BYTES:
        raise DataError(f"{name} unpacks to more than {MAX_BYTES / 2**30:g} GiB; {SPLIT}.")
    if not unpacked.strip():
        raise DataError(f"{name} contains an empty file; it needs a header and rows of candles.")
    return unpacked


def _unzip(data: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [
            m for m in archive.infolist() if not m.filename.endswith("/") and not m.filename.startswith("__MACOSX")
        ]
        if any(m.filename.startswith("[Content_Types]") for m in members):
            raise DataError(f"{name} is an Excel workbook; save the sheet as CSV.")
        if len(members) != 1:
            raise DataError(f"{name} contains {len(members)} files instead of one CSV; unpack it and pass one of them.")
        with archive.open(members[0]) as stream:
            return stream.read(MAX_BYTES + 1)

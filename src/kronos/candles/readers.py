"""Readers of file formats: CSV, Parquet, Feather and DataFrames → `RawTable`.

The format is detected from the first bytes of a file and must agree with its suffix; pickles are never opened. Text may
be UTF-8 (with or without byte-order mark), UTF-16 or GB18030, delimited by comma, semicolon, tab or bar, and compressed
with gzip or zip. Cells stay text here and are parsed by `cleaning` and `timestamps`, so that messages can quote them.
"""

from __future__ import annotations

import gzip
import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kronos.candles.findings import RowNumbering
from kronos.candles.schema import MAX_COLUMNS, ColumnLayout, find_layout
from kronos.errors import DataError
from kronos.formatting import truncate

MAX_BYTES = 1 << 30
SIMULATED_KEY = b"kronos:simulated"  # metadata key of Parquet and Feather files with simulated candles
MAX_ROWS = 5_000_000
_SPLIT = "split it, or read a part with pandas and pass the DataFrame"

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
_HEADERLESS = {
    6: ("timestamps", "open", "high", "low", "close", "volume"),
    7: ("timestamps", "open", "high", "low", "close", "volume", "amount"),
    # Monthly and daily dumps of Binance, and the rows of its klines endpoint.
    12: (
        "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
        "taker_buy_volume", "taker_buy_quote_volume", "ignore",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RawTable:
    """A source before cleaning.

    Attributes:
        frame: The columns in use; cells of CSV files are text.
        layout: Meaning of the columns.
        rows: How rows are numbered in messages.
        headerless: Whether the file has no header line.
        decimal_comma: Whether numbers are written with a decimal comma.
        simulated: Whether the file's metadata mark the candles as simulated.
    """

    frame: pd.DataFrame
    layout: ColumnLayout
    rows: RowNumbering
    headerless: bool = False
    decimal_comma: bool = False
    simulated: bool = False


def read_table(path: Path, columns: Mapping[str, str] | None) -> RawTable:
    """Read a CSV, Feather or Parquet file.

    Raises:
        DataError: If the file is missing, empty, too large, corrupt, or of another format.
    """
    name = truncate(path.name, 80)
    data = _bytes(path, name)
    for magic, what in _UNSUPPORTED.items():
        if data.startswith(magic):
            raise DataError(f"{name} is {what}.")
    actual, suffix = _detect_format(data), path.suffix.lower()
    expected = _SUFFIXES.get(suffix, "CSV" if suffix in (".csv", ".tsv", ".txt") else actual)
    if actual in ("gzip", "zip"):
        if expected in ("Parquet", "Feather"):
            raise DataError(f"{name} has the suffix of {expected} but is a {actual} archive; unpack or rename it.")
        data, actual = _unpack(data, actual, name), "CSV"
        expected = "CSV"
    if actual != expected:
        content = "text such as CSV" if actual == "CSV" else f"a {actual} file"
        raise DataError(f"{name} has the suffix of {expected} but is {content}; correct the suffix.")
    return _read_arrow(data, actual, name, columns) if actual != "CSV" else _read_csv(data, name, columns)


def _bytes(path: Path, name: str) -> bytes:
    try:
        is_folder = path.is_dir()
        size = 0 if is_folder else path.stat().st_size
        data = b"" if is_folder or size > MAX_BYTES else path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"There is no file {truncate(path, 200)}; check the path.") from None
    except (OSError, ValueError) as error:
        reason = truncate(getattr(error, "strerror", None) or error, 80)
        raise DataError(f"{name} cannot be read ({reason}); check its path and permissions.") from None
    if is_folder:
        raise DataError(f"{name} is a folder; pass a file.")
    if size > MAX_BYTES:
        limit = f"{MAX_BYTES / 2**30:g} GiB"
        raise DataError(f"{name} has {size / 2**30:.1f} GiB, above the limit of {limit}; {_SPLIT}.")
    if not data.strip():
        raise DataError(f"{name} is empty; it needs a header and rows of candles.")
    return data


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
        raise DataError(f"{name} unpacks to more than {MAX_BYTES / 2**30:g} GiB; {_SPLIT}.")
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


def _read_arrow(data: bytes, kind: str, name: str, columns: Mapping[str, str] | None) -> RawTable:
    import pyarrow as pa
    from pyarrow import feather, parquet

    try:
        buffer = pa.BufferReader(data)
        if kind == "Parquet":
            file = parquet.ParquetFile(buffer)
            _check_rows(file.metadata.num_rows, name)
            layout = find_layout(_check_unique(file.schema_arrow.names, name), columns, name)
            table = file.read(columns=[str(label) for label in layout.used_labels])
        else:
            table = feather.read_table(buffer)
            _check_rows(table.num_rows, name)
            layout = find_layout(_check_unique(table.column_names, name), columns, name)
            table = table.select([str(label) for label in layout.used_labels])
        simulated = (table.schema.metadata or {}).get(SIMULATED_KEY) is not None
        table.validate(full=True)
        frame = table.to_pandas(ignore_metadata=True)
    except DataError:
        raise
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        OverflowError,
        NotImplementedError,
    ) as error:
        reason = truncate(error, 120).rstrip(". ")
        raise DataError(f"{name} is a corrupt {kind} file ({reason}); write or download it again.") from None
    return RawTable(frame, layout, RowNumbering(name, "row", 1), simulated=simulated)


def _check_unique(labels: list[str], name: str) -> list[str]:
    repeated = next((n for n in labels if labels.count(n) > 1), None) if len(labels) < MAX_COLUMNS else None
    if repeated is not None:
        raise DataError(f"{name} has two columns named '{truncate(repeated)}'; rename one.")
    return labels


def _check_rows(rows: int, name: str) -> None:
    if rows > MAX_ROWS:
        raise DataError(f"{name} has {rows:,} rows, above the limit of {MAX_ROWS:,}; {_SPLIT}.")


def _decode(data: bytes, name: str) -> str:
    for codec in ("utf-16",) if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "gb18030"):
        try:
            text = data.decode(codec)
        except UnicodeError:
            continue
        if "\x00" in text:
            break
        return text
    raise DataError(f"{name} is neither text nor a Parquet or Feather file; save the candles as CSV in UTF-8.")


def _read_csv(data: bytes, name: str, columns: Mapping[str, str] | None) -> RawTable:
    text = _decode(data, name)
    lines = text.count("\n") + 1
    _check_rows(lines - 1, name)
    skipped = len(text) - len(text.lstrip("\r\n \ufeff"))
    first = 1 + text[:skipped].count("\n")
    text, removed = _single_header(text[skipped:], name)
    first += removed
    header = text.split("\n", 1)[0].strip("\r")
    if header.lstrip()[:1] in ("{", "[") and "," in text[:2000]:
        raise DataError(f"{name} is JSON, not CSV; convert it to a table.")
    if header.lower().startswith("sep=") or "<html" in header.lower():
        raise DataError(f"{name} starts with '{truncate(header)}' instead of a header of columns; remove that line.")
    delimiter = max(",;\t|", key=header.count)
    cells = [cell.strip().strip('"') for cell in header.split(delimiter)]
    headerless = not any(re.search(r"[^\W\d_]", c) for c in cells) and bool(re.fullmatch(r"[\d.:/\- ]{8,}", cells[0]))
    frame = _parse(text, delimiter, _default_labels(cells, name) if headerless else None, first - 1, name)
    if headerless:
        frame = _rename_trade_counts(frame)
    if frame.empty:
        raise DataError(f"{name} has a header but no rows; it needs at least 2 candles.")
    layout = find_layout(list(frame.columns), columns, name)
    rows = RowNumbering(name, "line", first + (0 if headerless else 1))
    return RawTable(frame[[*layout.used_labels]], layout, rows, headerless, delimiter == ";")


def _single_header(text: str, name: str) -> tuple[str, int]:
    """The text with one header line, and the number of lines removed.

    CryptoDataDownload writes its address above the header; yfinance writes three header lines: Price, Ticker and Date.
    """
    if re.match(r"https?://\S+\s*\n", text):
        return text.split("\n", 1)[1], 1
    top = text.split("\n", 3)
    if len(top) < 4 or not (top[0].startswith("Price,") and top[1].startswith("Ticker,")):
        return text, 0
    tickers = sorted({cell.strip() for cell in top[1].split(",")[1:]})
    if len(tickers) > 1:
        several = f"{len(tickers)} instruments ({truncate(tickers[0])}, {truncate(tickers[1])} …)"
        raise DataError(f"{name} has the columns of {several}; save one instrument per file.")
    time = top[2].split(",")[0].strip()
    return f"{time},{top[0].removeprefix('Price,')}\n{top[3]}", 2


def _default_labels(cells: list[str], name: str) -> list[str] | None:
    """Labels of a table without header, by its number of columns."""
    width = len(cells)
    if width >= 6 and re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", cells[1]):
        return ["date", "time", *_HEADERLESS[7][1 : width - 1]] if width <= 8 else None
    if width not in _HEADERLESS:
        raise DataError(f"{name} has no header line, and the meaning of its {width} columns is unknown; add a header.")
    return list(_HEADERLESS[width])


def _rename_trade_counts(frame: pd.DataFrame) -> pd.DataFrame:
    """Rename an amount that is really a number of trades, as in Kraken's dumps without header."""
    if "amount" not in frame.columns:
        return frame
    close, volume, amount = (pd.to_numeric(frame[c], errors="coerce") for c in ("close", "volume", "amount"))
    # An amount is volume × price, or a hundred times as much if volume is in lots.
    ratio = (amount / (close * volume).where(volume > 0)).median()
    return frame if 0.05 < ratio < 200 or pd.isna(ratio) else frame.rename(columns={"amount": "trades"})


def _parse(text: str, delimiter: str, labels: list[str] | None, skipped: int, name: str) -> pd.DataFrame:
    options: dict[str, Any] = {"header": None, "names": labels} if labels else {"header": 0}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.StringIO(text), sep=delimiter, dtype=str, keep_default_na=False, skip_blank_lines=False,
                index_col=False, low_memory=False, **options,
            )  # fmt: skip
    except (
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        pd.errors.ParserWarning,
        ValueError,
        OverflowError,
    ) as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if found:
            line = int(found[2]) + skipped
            raise DataError(
                f"Line {line} of {name} has {found[3]} cells, but the header has {found[1]}; correct that line."
            ) from None
        reason = truncate(error, 120).rstrip(". ")
        raise DataError(f"{name} cannot be parsed as CSV ({reason}); check its delimiter and quotes.") from None
    trailing = [c for c in frame.columns if str(c).startswith("Unnamed:") and frame[c].isin(["", None]).all()]
    result: pd.DataFrame = frame.drop(columns=trailing)
    return result


def frame_table(frame: pd.DataFrame, columns: Mapping[str, str] | None) -> RawTable:
    """A DataFrame as a `RawTable`; its index holds the times unless a column does.

    Raises:
        DataError: If columns are missing or repeated, or hold several instruments.
    """
    _check_rows(len(frame), "DataFrame")
    flat = _flatten_columns(frame)
    layout = find_layout(_frame_labels(flat), columns, "DataFrame")
    return RawTable(flat, layout, RowNumbering("DataFrame", "row", 0))


def _frame_labels(frame: pd.DataFrame) -> list[Hashable]:
    if not frame.columns.is_unique:
        repeated = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"The frame has two columns named '{truncate(repeated)}'; rename or drop one.")
    return list(frame.columns)


def _flatten_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop column levels with a single value, such as the ticker that download libraries add."""
    while isinstance(frame.columns, pd.MultiIndex):
        single = [i for i in range(frame.columns.nlevels) if frame.columns.get_level_values(i).nunique() <= 1]
        if not single:
            raise DataError(
                "The frame's columns hold several instruments; pass one of them, or a long frame to split_long."
            )
        frame = frame.droplevel(single[-1], axis=1)
    return frame

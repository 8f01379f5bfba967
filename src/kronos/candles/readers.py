"""Files into frames: the format is told from the first bytes, never from the name alone, and nothing is unpickled.

Text may be UTF-8 (with or without byte-order mark), UTF-16 or GB18030, delimited by comma, semicolon, tab
or bar, packed in gzip or zip. Values stay text here; `numbers` and `times` read them, so that unreadable
cells can be named.
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
from kronos.candles.schema import ColumnLayout, find_layout
from kronos.errors import DataError
from kronos.formatting import truncate

MAX_BYTES = 1 << 30
LABEL = b"kronos:simulated"  # the key in a Parquet or Feather file's metadata that says that its candles never traded
MAX_ROWS = 5_000_000
_SMALLER = "split it, or read the part you need with pandas and hand over the DataFrame"

_NOT_OURS = {
    b"\x80": "a pickle, which can run code and is never opened; save it as Parquet or CSV",
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
_HEADLESS = {
    6: ("timestamps", "open", "high", "low", "close", "volume"),
    7: ("timestamps", "open", "high", "low", "close", "volume", "amount"),
    # The monthly and daily dumps of Binance, and what its klines endpoint returns.
    12: (
        "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
        "taker_buy_volume", "taker_buy_quote_volume", "ignore",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RawTable:
    """What a source holds before cleaning: the frame, which column is which, how its rows are counted, its label."""

    frame: pd.DataFrame
    layout: ColumnLayout
    rows: RowNumbering
    headless: bool = False
    decimal_comma: bool = False
    simulated: bool = False


def read_table(path: Path, columns: Mapping[str, str] | None) -> RawTable:
    """Read a CSV, Feather or Parquet file.

    Raises:
        DataError: If the file is missing, empty, too large, of another format, or broken.
    """
    name = truncate(path.name, 80)
    data = _bytes(path, name)
    for magic, what in _NOT_OURS.items():
        if data.startswith(magic):
            raise DataError(f"{name} is {what}.")
    kind = _kind(data)
    promised = _SUFFIXES.get(path.suffix.lower(), "CSV" if path.suffix.lower() in (".csv", ".tsv", ".txt") else kind)
    if kind in ("gzip", "zip"):
        if promised in ("Parquet", "Feather"):
            raise DataError(f"{name} is named like {promised} but is a {kind} archive; unpack it or rename it.")
        data, kind = _unpack(data, kind, name), "CSV"
        promised = "CSV"
    if kind != promised:
        looks = "text such as CSV" if kind == "CSV" else f"a {kind} file"
        raise DataError(f"{name} is named like {promised} but holds {looks}; give it the right ending.")
    return _read_arrow(data, kind, name, columns) if kind != "CSV" else _read_csv(data, name, columns)


def _bytes(path: Path, name: str) -> bytes:
    try:
        folder = path.is_dir()
        size = 0 if folder else path.stat().st_size
        data = b"" if folder or size > MAX_BYTES else path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"There is no file {truncate(path, 200)}; check the path.") from None
    except (OSError, ValueError) as error:
        why = truncate(getattr(error, "strerror", None) or error, 80)
        raise DataError(f"{name} cannot be read ({why}); check its path and permissions.") from None
    if folder:
        raise DataError(f"{name} is a folder; name one file in it.")
    if size > MAX_BYTES:
        limit = f"{MAX_BYTES / 2**30:g} GiB"
        raise DataError(f"{name} has {size / 2**30:.1f} GiB, more than the {limit} read at once; {_SMALLER}.")
    if not data.strip():
        raise DataError(f"{name} is empty; it needs a header and rows of candles.")
    return data


def _kind(data: bytes) -> str:
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
        raise DataError(f"{name} is a broken or encrypted {kind} archive; fetch or pack it again.") from None
    if len(unpacked) > MAX_BYTES:
        raise DataError(f"{name} unpacks to more than {MAX_BYTES / 2**30:g} GiB; {_SMALLER}.")
    if not unpacked.strip():
        raise DataError(f"{name} holds an empty file; it needs a header and rows of candles.")
    return unpacked


def _unzip(data: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [
            m for m in archive.infolist() if not m.filename.endswith("/") and not m.filename.startswith("__MACOSX")
        ]
        if any(m.filename.startswith("[Content_Types]") for m in members):
            raise DataError(f"{name} is an Excel workbook; save the sheet as CSV.")
        if len(members) != 1:
            raise DataError(f"{name} holds {len(members)} files, but one CSV is expected; unpack the one you mean.")
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
            layout = find_layout(_unique(file.schema_arrow.names, name), columns, name)
            table = file.read(columns=[str(label) for label in layout.wanted])
        else:
            table = feather.read_table(buffer)
            _check_rows(table.num_rows, name)
            layout = find_layout(_unique(table.column_names, name), columns, name)
            table = table.select([str(label) for label in layout.wanted])
        simulated = (table.schema.metadata or {}).get(LABEL) is not None
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
        why = truncate(error, 120).rstrip(". ")
        raise DataError(f"{name} is a broken {kind} file ({why}); write or download it again.") from None
    return RawTable(frame, layout, RowNumbering(name, "row", 1), simulated=simulated)


def _unique(names: list[str], name: str) -> list[str]:
    twice = next((n for n in names if names.count(n) > 1), None) if len(names) < 2_000 else None
    if twice is not None:
        raise DataError(f"{name} has two columns named '{truncate(twice)}'; rename one.")
    return names


def _check_rows(rows: int, name: str) -> None:
    if rows > MAX_ROWS:
        raise DataError(f"{name} has {rows:,} rows, more than the {MAX_ROWS:,} read at once; {_SMALLER}.")


def _decode(data: bytes, name: str) -> str:
    for codec in ("utf-16",) if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "gb18030"):
        try:
            text = data.decode(codec)
        except UnicodeError:
            continue
        if "\x00" in text:
            break
        return text
    raise DataError(f"{name} is neither text nor a Parquet or Feather file; save the candles as UTF-8 CSV.")


def _read_csv(data: bytes, name: str, columns: Mapping[str, str] | None) -> RawTable:
    text = _decode(data, name)
    lines = text.count("\n") + 1
    _check_rows(lines - 1, name)
    skipped = len(text) - len(text.lstrip("\r\n \ufeff"))
    first = 1 + text[:skipped].count("\n")
    text, above = _one_header(text[skipped:], name)
    first += above
    header = text.split("\n", 1)[0].strip("\r")
    if header.lstrip()[:1] in ("{", "[") and "," in text[:2000]:
        raise DataError(f"{name} is JSON, not CSV; turn it into a table first.")
    if header.lower().startswith("sep=") or "<html" in header.lower():
        raise DataError(f"{name} starts with '{truncate(header)}', not with a header of columns; remove that line.")
    delimiter = max(",;\t|", key=header.count)
    cells = [cell.strip().strip('"') for cell in header.split(delimiter)]
    headless = not any(re.search(r"[^\W\d_]", c) for c in cells) and bool(re.fullmatch(r"[\d.:/\- ]{8,}", cells[0]))
    frame = _parse(text, delimiter, _labels(cells, headless, name), first - 1, name)
    if headless:
        frame = _without_trade_counts(frame)
    if frame.empty:
        raise DataError(f"{name} has a header but no rows; it needs at least 2 candles.")
    layout = find_layout(list(frame.columns), columns, name)
    rows = RowNumbering(name, "line", first + (0 if headless else 1))
    return RawTable(frame[[*layout.wanted]], layout, rows, headless, delimiter == ";")


def _one_header(text: str, name: str) -> tuple[str, int]:
    """The text with one header line, and how many lines were taken off.

    CryptoDataDownload writes its address above the header; yfinance writes three headers, Price, Ticker and Date.
    """
    if re.match(r"https?://\S+\s*\n", text):
        return text.split("\n", 1)[1], 1
    top = text.split("\n", 3)
    if len(top) < 4 or not (top[0].startswith("Price,") and top[1].startswith("Ticker,")):
        return text, 0
    tickers = sorted({cell.strip() for cell in top[1].split(",")[1:]})
    if len(tickers) > 1:
        several = f"{len(tickers)} instruments ({truncate(tickers[0])}, {truncate(tickers[1])} …)"
        raise DataError(f"{name} holds {several} side by side; download one at a time.")
    time = top[2].split(",")[0].strip()
    return f"{time},{top[0].removeprefix('Price,')}\n{top[3]}", 2


def _labels(cells: list[str], headless: bool, name: str) -> list[str] | None:
    if not headless:
        return None
    width = len(cells)
    if width >= 6 and re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", cells[1]):
        return ["date", "time", *_HEADLESS[7][1 : width - 1]] if width <= 8 else None
    if width not in _HEADLESS:
        raise DataError(f"{name} has no header line, and {width} columns don't say which is which; add a header.")
    return list(_HEADLESS[width])


def _without_trade_counts(frame: pd.DataFrame) -> pd.DataFrame:
    """A table without header whose last column counts trades, as Kraken's dumps do, has no amount."""
    if "amount" not in frame.columns:
        return frame
    close, volume, amount = (pd.to_numeric(frame[c], errors="coerce") for c in ("close", "volume", "amount"))
    # An amount is volume × price, or a hundred times that where volume is in lots.
    share = (amount / (close * volume).where(volume > 0)).median()
    return frame if 0.05 < share < 200 or pd.isna(share) else frame.rename(columns={"amount": "trades"})


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
        where = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if where:
            line = int(where[2]) + skipped
            raise DataError(
                f"Line {line} of {name} has {where[3]} cells, but the header has {where[1]}; mend that line."
            ) from None
        why = truncate(error, 120).rstrip(". ")
        raise DataError(f"{name} cannot be read as CSV ({why}); check its delimiter and quotes.") from None
    trailing = [c for c in frame.columns if str(c).startswith("Unnamed:") and frame[c].isin(["", None]).all()]
    kept: pd.DataFrame = frame.drop(columns=trailing)
    return kept


def frame_table(frame: pd.DataFrame, columns: Mapping[str, str] | None) -> RawTable:
    """A DataFrame as a `Table`; the index is the time where no column is.

    Raises:
        DataError: If columns are missing, doubled or nested beyond one instrument.
    """
    _check_rows(len(frame), "DataFrame")
    flat = _flatten(frame)
    layout = find_layout(_frame_labels(flat), columns, "DataFrame")
    return RawTable(flat, layout, RowNumbering("DataFrame", "row", 0))


def _frame_labels(frame: pd.DataFrame) -> list[Hashable]:
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"The frame has two columns named '{truncate(twice)}'; rename or drop one.")
    return list(frame.columns)


def _flatten(frame: pd.DataFrame) -> pd.DataFrame:
    """Column levels that hold one instrument's name only (as download libraries add) are taken off."""
    while isinstance(frame.columns, pd.MultiIndex):
        single = [i for i in range(frame.columns.nlevels) if frame.columns.get_level_values(i).nunique() <= 1]
        if not single:
            raise DataError(
                "The frame's columns hold several instruments; hand over one, or a long frame to split_long."
            )
        frame = frame.droplevel(single[-1], axis=1)
    return frame

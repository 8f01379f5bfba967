"""Readers of file formats: CSV, JSON, Parquet, Feather and DataFrames → `RawTable`.

Files are loaded and their format is detected by `content`. Text may be in any usual character set (`charset`),
delimited (`dialect`) or JSON (`json_tables`), with or without a header (`column_order`). Cells stay text here and are
parsed by `cleaning` and `timestamps`, so that messages can quote them.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from kronos.candles.aliases import LABELS
from kronos.candles.charset import decode
from kronos.candles.column_order import infer_labels
from kronos.candles.columns import (
    MAX_COLUMNS,
    PRICES,
    ColumnLayout,
    column_position,
    confirm_symbol,
    find_layout,
    normalize_label,
)
from kronos.candles.content import SPLIT, load_content
from kronos.candles.date_formats import current_time
from kronos.candles.dialect import (
    WHITESPACE,
    Dialect,
    find_dialect,
    find_short_rows,
    join_quoted_lines,
    join_split_numbers,
    label_print,
)
from kronos.candles.findings import Note, RowNumbering
from kronos.candles.json_tables import read_json
from kronos.candles.read_options import ReadOptions
from kronos.candles.time_of_day import join_date_columns
from kronos.errors import DataError
from kronos.formatting import Message, truncate
from kronos.typing import BoolArray, IntArray

_HEAD_LINES = 50  # in which the number of columns is counted
SIMULATED_KEY = b"kronos:simulated"  # metadata key of Parquet and Feather files with simulated candles
MAX_ROWS = 5_000_000


@dataclass(frozen=True, slots=True)
class RawTable:
    """A source before cleaning.

    Attributes:
        frame: The columns in use; cells of CSV files are text.
        layout: Meaning of the columns.
        rows: How rows are numbered in messages.
        notes: What was inferred or left out, for the findings.
        from_text: Whether the cells are text, whose notation of numbers and times is inferred.
        simulated: Whether the file's metadata mark the candles as simulated.
        short: Which rows lack cells, None if none can; what their cells mean is unknown. [n]
        delimiter: What separates the cells of a text file.
    """

    frame: pd.DataFrame
    layout: ColumnLayout
    rows: RowNumbering
    notes: tuple[Note, ...] = ()
    from_text: bool = False
    simulated: bool = False
    short: BoolArray | None = None
    delimiter: str = ","

    def take(self, positions: IntArray, rows: RowNumbering) -> RawTable:
        """The rows at these positions, numbered as in ``rows``."""
        short = None if self.short is None else self.short[positions]
        return replace(self, frame=self.frame.iloc[positions], rows=rows, short=short)


def read_table(path: Path, options: ReadOptions) -> RawTable:
    """Read a CSV, JSON, Feather or Parquet file.

    Raises:
        DataError: If the file is missing, empty, too large, corrupt, or of another format.
    """
    content = load_content(path)
    if content.kind in ("Parquet", "Feather"):
        return _read_arrow(content.data, content.kind, content.name, options.column_names)
    if content.kind == "JSON":
        return _read_json(decode(content.data, content.name)[0], content.name, options)
    return _read_text(content.data, content.name, options)


def _read_arrow(data: bytes, kind: str, name: str, columns: Mapping[str, Hashable] | None) -> RawTable:
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
        raise corrupt_error(name, kind, error) from None
    return RawTable(frame, confirm_symbol(layout, frame), RowNumbering(name, "row", 1), simulated=simulated)


def corrupt_error(name: str, kind: str, error: BaseException) -> DataError:
    """Error for a Parquet or Feather file that Arrow cannot read."""
    reason = truncate(error, 120).rstrip(". ")
    return DataError(f"{name} is a corrupt {kind} file ({reason}); write or download it again.")


def _check_unique(labels: list[str], name: str) -> list[str]:
    repeated = next((n for n in labels if labels.count(n) > 1), None) if len(labels) < MAX_COLUMNS else None
    if repeated is not None:
        raise DataError(f"{name} has two columns named '{truncate(repeated)}'; rename one.")
    return labels


def _check_rows(rows: int, name: str) -> None:
    if rows > MAX_ROWS:
        raise DataError(f"{name} has {rows:,} rows, above the limit of {MAX_ROWS:,}; {SPLIT}.")


def _read_text(data: bytes, name: str, options: ReadOptions) -> RawTable:
    text, charset = decode(data, name)
    _check_rows(text.count("\n"), name)
    guess = charset not in ("utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030")
    notes = (
        [Note("charset", "info", Message("charset", "{name} was decoded as {charset}.", name=name, charset=charset))]
        if guess
        else []
    )
    _check_columns(text, name)
    text, joined = join_quoted_lines(text)
    dialect = find_dialect(text, name, options.header)
    body = row_lines(text, dialect)
    frame = parse_rows(body, dialect, name)
    if frame.empty:
        raise DataError(Message("no-rows", "{name} has a header but no rows; it needs at least 2 candles.", name=name))
    notes += _dialect_notes(dialect, name)
    short = find_short_rows(frame, body, dialect)
    columns: Mapping[str, Hashable] = options.column_names
    if dialect.labels:
        labels = _default_labels(dialect.labels)
        if frame.shape[1] == len(labels) + 1 and bool((frame.iloc[:, -1].str.strip() == "").all()):
            frame = frame.iloc[:, :-1]  # each row ends with a delimiter
        if len(labels) < frame.shape[1]:
            printed = label_print(labels, frame) if dialect.delimiter == WHITESPACE else None
            if printed is None:
                frame, note = join_split_numbers(frame, labels, name)
                notes.append(note)
            labels = printed or labels
    else:
        now = options.now or current_time()
        given = given_positions(columns)
        labels, more = infer_labels(frame, name, now, lacks="has no header line", given=given)
        notes += more
    columns, labels = _name_positions(columns, labels, name)
    frame = join_date_columns(_drop_empty(frame.set_axis(labels, axis=1)))
    layout = find_layout(list(frame.columns), columns, name)
    rows = RowNumbering(name, "line", dialect.first + 1 + joined)
    used = layout.used_labels
    selected = frame if len(used) == frame.shape[1] else frame[used]
    layout = confirm_symbol(layout, selected)
    return RawTable(selected, layout, rows, tuple(notes), True, short=short, delimiter=dialect.delimiter)


def given_positions(columns: Mapping[str, Hashable]) -> dict[str, Hashable]:
    """The columns that are given by their position, of a table without names."""
    return {ours: place for ours, place in columns.items() if re.fullmatch(r"\d{1,6}", str(place).strip())}


def _name_positions(
    columns: Mapping[str, Hashable], labels: Sequence[str], name: str
) -> tuple[dict[str, Hashable], list[str]]:
    """The columns that are given by their position by their labels, and the labels, those of the former unique."""
    unique, named = list(labels), dict(columns)
    for ours, theirs in columns.items():
        position = column_position(theirs, labels, name)
        if position is not None:
            if labels.count(labels[position]) > 1:
                unique[position] = f"{labels[position]}, column {position + 1}"
            named[ours] = unique[position]
    return named, unique


def _check_columns(text: str, name: str) -> None:
    """Check the number of columns of the first lines, before each cell is looked at."""
    columns = 1 + max(line.count(sign) for line in text.split("\n", _HEAD_LINES)[:_HEAD_LINES] for sign in ",;\t|")
    if columns > MAX_COLUMNS:
        raise DataError(f"{name} has {columns:,} columns, too many for candles; select at most {MAX_COLUMNS:,}.")


def _dialect_notes(dialect: Dialect, name: str) -> list[Note]:
    """What was left out above the header and below the rows."""
    notes = []
    titles = [line for line in dialect.skipped if not line.startswith(("http://", "https://"))]
    if titles:
        message = Message(
            "title-line",
            "{lines} line(s) above the rows of {name} are not candles and were skipped: '{text}'.",
            lines=len(titles),
            name=name,
            text=truncate(titles[0]),
        )
        notes.append(Note("title-line", "info", message))
    if dialect.footer:
        message = Message(
            "footer",
            "{lines} line(s) at the end of {name} are not candles and were skipped.",
            lines=dialect.footer,
            name=name,
        )
        notes.append(Note("footer", "info", message))
    return notes


def _default_labels(labels: Sequence[str]) -> list[str]:
    """Labels of the columns of the header; unnamed ones are numbered as pandas does it."""
    return [label or f"Unnamed: {i}" for i, label in enumerate(labels)]


def _drop_empty(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop unnamed columns without values."""
    unnamed = [str(label).startswith("Unnamed:") for label in frame.columns]
    if not any(unnamed):
        return frame
    keep = [not bare or not frame.iloc[:, i].isin(["", None]).all() for i, bare in enumerate(unnamed)]
    result: pd.DataFrame = frame.loc[:, keep]
    return result


def parse_rows(body: str, dialect: Dialect, name: str) -> pd.DataFrame:
    """The cells of the rows, under the labels 0, 1, 2 and so on."""
    width = max(len(dialect.labels), dialect.width)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                io.StringIO(body), sep=dialect.delimiter, dtype=str, keep_default_na=False, skip_blank_lines=False,
                index_col=False, low_memory=False, header=None, names=range(width),
            )  # fmt: skip
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError, OverflowError) as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if found:
            line = int(found[2]) + dialect.first
            raise DataError(
                Message(
                    "cells-of-line",
                    "Line {line} of {name} has {cells} cells, but the header has {labels}; correct that line.",
                    line=line,
                    name=name,
                    cells=found[3],
                    labels=found[1],
                )
            ) from None
        reason = truncate(error, 120).rstrip(". ")
        raise DataError(f"{name} cannot be parsed as CSV ({reason}); check its delimiter and quotes.") from None


def row_lines(text: str, dialect: Dialect) -> str:
    """The lines of the rows."""
    start = 0
    for _ in range(dialect.first):
        start = text.find("\n", start) + 1
        if not start:
            return ""
    end = len(text)
    if dialect.footer:
        end = len(text.rstrip("\n "))
        for _ in range(dialect.footer):
            end = text.rfind("\n", start, end)
        end = max(start, end)
    return text[start:end] if start or end < len(text) else text


def _read_json(text: str, name: str, options: ReadOptions) -> RawTable:
    """A table of JSON."""
    frame = read_json(text, name)
    _check_rows(len(frame), name)
    table = frame_table(frame, options.column_names, name=name, from_rows=True)
    return replace(table, rows=RowNumbering(name, "row", 1))


def frame_table(
    frame: pd.DataFrame, columns: Mapping[str, Hashable] | None, *, name: str = "DataFrame", from_rows: bool = False
) -> RawTable:
    """A DataFrame as a `RawTable`; its index holds the times unless a column does.

    Args:
        frame: The frame: also with times and instruments as levels of its index, or rows [time, open, high …] under
            the labels 0, 1, 2 …
        columns: Names of columns, which take precedence.
        name: Name of the source in messages.
        from_rows: Whether labels such as 0, 1, 2 are not the caller's, so that numbers in ``columns`` are positions.

    Raises:
        DataError: If columns are missing or repeated, or hold several instruments.
    """
    _check_rows(len(frame), name)
    flat = _flatten_columns(frame)
    if isinstance(flat.index, pd.MultiIndex):
        flat = _flatten_index(flat)
    numbered = [str(label) for label in flat.columns] == [str(i) for i in range(flat.shape[1])]
    notes: list[Note] = []
    given = dict(columns or {})
    named = not from_rows and {str(label) for label in given.values()} & {str(label) for label in flat.columns}
    if numbered and flat.shape[1] > len(PRICES) and not named and not isinstance(flat.index, pd.DatetimeIndex):
        plain = flat.set_axis(range(flat.shape[1]), axis=1)
        places = given_positions(given)
        labels, notes = infer_labels(plain, name, current_time(), lacks="lacks names of columns", given=places)
        flat = flat.set_axis(labels, axis=1)
    flat = join_date_columns(flat)
    layout = find_layout(_frame_labels(flat), given, name)
    notes = [note for note in notes if note.severity == "warning"]  # rows of exchanges have no names
    return RawTable(flat, confirm_symbol(layout, flat), RowNumbering(name, "row", 0), tuple(notes))


def _frame_labels(frame: pd.DataFrame) -> list[Hashable]:
    if not frame.columns.is_unique:
        repeated = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"The frame has two columns named '{truncate(repeated)}'; rename or drop one.")
    return list(frame.columns)


def _flatten_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop column levels with a single value, such as the ticker that download libraries add."""
    while isinstance(frame.columns, pd.MultiIndex):
        single = [
            i
            for i in range(frame.columns.nlevels)
            # reset_index leaves the levels below the name of the index empty
            if len(set(frame.columns.get_level_values(i)) - {""}) <= 1
        ]
        if not single:
            raise DataError(
                "The frame's columns hold several instruments; pass one of them, or a long frame to split_long."
            )
        frame = frame.droplevel(single[-1], axis=1)
    return frame


def _flatten_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn the levels of an index into columns: the times, and the instrument."""
    names: list[str] = []
    for i, given in enumerate(frame.index.names):
        times = isinstance(frame.index.get_level_values(i), pd.DatetimeIndex)
        known = given is not None and normalize_label(given) in LABELS
        names.append(
            str(given) if known else "timestamps" if times else "symbol" if "symbol" not in names else f"level {i}"
        )
    frame = frame.drop(columns=[label for label in frame.columns if label in names])
    return frame.rename_axis(index=names).reset_index()

"""The first rows of a file as they are written, with what each column was read as, for a person who maps the columns.

A preview never judges: a file that cannot be read as candles has one too, as long as its content can be divided into
rows. Where even the columns are unclear, its first lines are the rows.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kronos.candles.charset import decode
from kronos.candles.column_order import infer_labels
from kronos.candles.columns import guess_roles
from kronos.candles.content import load_content
from kronos.candles.date_formats import current_time
from kronos.candles.dialect import find_dialect, join_quoted_lines
from kronos.candles.json_tables import read_json
from kronos.candles.read_options import ReadOptions
from kronos.candles.readers import corrupt_error, given_positions, parse_rows, row_lines
from kronos.errors import DataError, KronosError
from kronos.formatting import truncate

MAX_CELL = 40  # characters
MAX_LINE = 160  # characters of a line that is not divided into cells
MAX_PREVIEW_COLUMNS = 40
_ROWS = 5
_MIN_COLUMNS = 2  # a single one has not been divided
_LINES = 8  # shown where there are no columns
_SAMPLE = 400  # rows from which the order of unnamed columns is inferred
_MAX_REFERENCE = 200  # characters of a label that an option can name


@dataclass(frozen=True, slots=True)
class TablePreview:
    """The first rows of a table.

    Attributes:
        labels: Names of the columns in the file; empty where they have none.
        references: What names each column in the option ``columns``: its label, or its position from 1.
        roles: What each column was read as: ``timestamps``, ``clock``, ``symbol``, ``open`` …; empty if unused.
        rows: Cells as text, shortened.
        first: Number of the first row, as messages count: lines of a text file, rows of others.
        columns: Number of columns of the file; the preview has at most forty.
    """

    labels: tuple[str, ...]
    references: tuple[str, ...]
    roles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    first: int
    columns: int

    @property
    def is_bounded(self) -> bool:
        """Whether all parts have the same width, and are as small as a preview is."""
        width = len(self.labels)
        parts = (self.references, self.roles, *self.rows)
        return width <= MAX_PREVIEW_COLUMNS and len(self.rows) <= _LINES and all(len(part) == width for part in parts)


def preview_table(path: Path, options: ReadOptions) -> TablePreview:
    """Return the first rows of a CSV, JSON, Feather or Parquet file.

    Args:
        path: The file.
        options: What is known about it, as for reading.

    Raises:
        DataError: If the file is empty, damaged, or in no supported format.
    """
    content = load_content(path)
    if content.kind in ("Parquet", "Feather"):
        return _from_frame(_arrow_head(content.data, content.kind, content.name), options, content.name)
    text, _ = decode(content.data, content.name)
    if content.kind == "JSON":
        return _from_frame(read_json(text, content.name).head(_SAMPLE), options, content.name)
    return _from_text(text, options, content.name)


def _arrow_head(data: bytes, kind: str, name: str) -> pd.DataFrame:
    """The first rows of a Parquet or Feather file."""
    import pyarrow as pa
    from pyarrow import ipc, parquet

    try:
        buffer = pa.BufferReader(data)
        if kind == "Parquet":
            batch = next(parquet.ParquetFile(buffer).iter_batches(batch_size=_ROWS))
        else:
            batch = ipc.open_file(buffer).get_batch(0).slice(0, _ROWS)
        frame: pd.DataFrame = batch.to_pandas()
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError, StopIteration) as error:
        raise corrupt_error(name, kind, error) from None
    return frame


def _from_frame(frame: pd.DataFrame, options: ReadOptions, name: str) -> TablePreview:
    labels = [str(label) for label in frame.columns]
    numbered = labels == [str(i) for i in range(len(labels))]
    plain = frame.set_axis(range(len(labels)), axis=1)
    return _preview(plain, [""] * len(labels) if numbered else labels, options, name, 1)


def _from_text(text: str, options: ReadOptions, name: str) -> TablePreview:
    text, joined = join_quoted_lines(text)
    try:
        dialect = find_dialect(text, name, options.header)
        body = "".join(row_lines(text, dialect).splitlines(keepends=True)[:_SAMPLE])
        frame = parse_rows(body, dialect, name)
    except KronosError:
        return _from_lines(text)
    if frame.shape[1] < _MIN_COLUMNS:
        return _from_lines(text)
    labels = [*dialect.labels, *[""] * (frame.shape[1] - len(dialect.labels))]
    return _preview(frame, labels, options, name, dialect.first + 1 + joined)


def _from_lines(text: str) -> TablePreview:
    """The first lines, undivided."""
    lines = [line.rstrip("\n") for line in io.StringIO(text[: _LINES * 10_000])][:_LINES]
    return TablePreview(("",), ("1",), ("",), tuple((truncate(line, MAX_LINE),) for line in lines), 1, 1)


def _preview(frame: pd.DataFrame, labels: Sequence[str], options: ReadOptions, name: str, first: int) -> TablePreview:
    """The preview of a table with the columns 0, 1, 2 …, and their labels in the file."""
    columns = options.column_names
    roles = _roles(frame, labels, columns, name)
    shown = range(min(len(labels), MAX_PREVIEW_COLUMNS))
    return TablePreview(
        labels=tuple(truncate(labels[i], MAX_CELL) for i in shown),
        references=tuple(_reference(labels, i) for i in shown),
        roles=tuple(roles[i] for i in shown),
        rows=tuple(
            tuple("" if cell is None or cell is pd.NaT or cell != cell else truncate(cell, MAX_CELL) for cell in row)
            for row in frame.iloc[:_ROWS, list(shown)].astype(object).to_numpy().tolist()
        ),
        first=first,
        columns=len(labels),
    )


def _reference(labels: Sequence[str], i: int) -> str:
    """What names a column in the option ``columns``."""
    label = labels[i]
    # A number would be taken for a position.
    plain = 0 < len(label) <= _MAX_REFERENCE and label.isprintable() and label == label.strip() and not label.isdigit()
    return label if plain and list(labels).count(label) == 1 else str(i + 1)


def _roles(frame: pd.DataFrame, labels: Sequence[str], columns: Mapping[str, str | int], name: str) -> list[str]:
    """What each column is read as; empty where that is not known."""
    if not any(labels):
        try:
            places = given_positions(columns)
            labels, _ = infer_labels(frame, name, current_time(), lacks="has no header line", given=places)
        except DataError:
            labels = [f"column {i + 1}" for i in range(len(labels))]
    return guess_roles(labels, columns, name)

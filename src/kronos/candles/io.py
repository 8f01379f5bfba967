"""Reading candles from files and frames, and writing them to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kronos.atomic import atomic_path
from kronos.candles.candles import SIMULATED_PREFIX, Candles, from_table
from kronos.candles.columns import PRICES
from kronos.candles.json_tables import rows_table
from kronos.candles.read_options import ReadOptions
from kronos.candles.readers import SIMULATED_KEY, RawTable, frame_table, read_table
from kronos.candles.usable_rows import cell_text
from kronos.errors import DataError, ParameterError
from kronos.formatting import expand_user, join_names, truncate
from kronos.intervals import Interval

WRITABLE_SUFFIXES = (".csv", ".parquet", ".feather")


Source = str | Path | pd.DataFrame | Sequence[Sequence[float]] | Sequence[Mapping[str, object]]


def read_candles(
    source: Source,
    *,
    symbol: str | None = None,
    interval: str | Interval | None = None,
    timezone: str | None = None,
    calendar: str | None = None,
    columns: Mapping[str, str | int] | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    date_format: str | None = None,
    header: int | None = None,
) -> Candles:
    """Read and clean one instrument's candles.

    What a file does not state (its delimiter, header, order of columns, notation of numbers and dates) is inferred from
    all its cells and reported as findings, or the file is refused with the argument that decides it.

    Args:
        source: A CSV or JSON (either optionally compressed with gzip or zip), Feather or Parquet file, detected by
            content; a DataFrame; or rows ``[time, open, high, low, close, volume]`` as exchanges return them. Candles
            of a file whose name begins with ``simulated`` are marked as simulated.
        symbol: Name of the instrument; None takes it from a symbol column with one value.
        interval: Interval such as ``"1h"``; None infers it.
        timezone: IANA timezone. Naive times are its wall clock; epoch numbers and times with an offset are converted to
            it. Without it, naive times stay naive and epoch numbers are UTC.
        calendar: Trading calendar for future times; None detects it.
        columns: Mapping such as ``{"close": "Last Price"}``, or to the position of a column, from 1:
            ``{"close": 5}``; takes precedence over the usual names.
        decimal: Decimal sign of numbers in text, ``"."`` or ``","``; None infers it.
        thousands: Thousands sign of numbers in text, ``""`` for none; None infers it.
        date_format: Notation of times in text for ``strptime``, such as ``"%d.%m.%Y %H:%M"``; None infers it.
        header: Number of the line with the names of the columns, from 1; 0 if there is none; None infers it.

    Returns:
        The candles; their ``findings`` list what was inferred, and the rows that were dropped or changed.

    Raises:
        DataError: If the source cannot be used. The message names the file, the row or column, and the fix.
        ParameterError: If an argument is invalid.
    """
    options = ReadOptions(
        symbol,
        interval,
        timezone,
        calendar,
        columns=_column_pairs(columns),
        decimal=decimal,
        thousands=thousands,
        date_format=date_format,
        header=header,
    )
    return load_candles(source, options)


def read_many(
    source: Source,
    *,
    interval: str | Interval | None = None,
    timezone: str | None = None,
    calendar: str | None = None,
    columns: Mapping[str, str | int] | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    date_format: str | None = None,
    header: int | None = None,
) -> dict[str, Candles]:
    """Read a long table of several instruments, identified by a column such as ``unique_id`` or ``symbol``.

    Args:
        source: A file or a DataFrame as for `read_candles`, with a column that names the instrument.
        interval: Interval such as ``"1h"``; None infers it for each instrument.
        timezone: As for `read_candles`.
        calendar: As for `read_candles`.
        columns: As for `read_candles`.
        decimal: As for `read_candles`.
        thousands: As for `read_candles`.
        date_format: As for `read_candles`.
        header: As for `read_candles`.

    Returns:
        Candles by symbol, in order of appearance; findings number the rows of the whole table.

    Raises:
        DataError: If there is no such column, or the candles of an instrument cannot be used.
        ParameterError: If an argument is invalid.
    """
    options = ReadOptions(
        None,
        interval,
        timezone,
        calendar,
        columns=_column_pairs(columns),
        decimal=decimal,
        thousands=thousands,
        date_format=date_format,
        header=header,
    )
    return load_many(source, options)


def load_candles(source: Source, options: ReadOptions) -> Candles:
    """Read one instrument's candles; `read_candles` with its arguments as `ReadOptions`."""
    table, name = _open(source, options)
    return from_table(table, options, name)


def load_many(source: Source, options: ReadOptions) -> dict[str, Candles]:
    """Read a table of several instruments; `read_many` with its arguments as `ReadOptions`."""
    table, name = _open(source, options)
    label = table.layout.symbol
    if label is None:
        raise DataError(f"{table.rows.name} has no column with the instrument; call it unique_id or symbol.")
    names = table.frame[label].map(cell_text)
    if bool((names == "").all()):
        raise DataError(f"Column '{truncate(label)}' of {table.rows.name} is empty; fill in the instruments.")
    found: dict[str, Candles] = {}
    for symbol in names[names != ""].unique():
        where = np.flatnonzero(names == symbol).astype(np.int64)
        rows = replace(table.rows, name=f"{table.rows.name} [{symbol}]", whole=where)
        part = table.take(where, rows)
        found[str(symbol)] = from_table(part, replace(options, symbol=str(symbol)), name)
    return found


def _column_pairs(columns: Mapping[str, str | int] | None) -> tuple[tuple[str, str | int], ...]:
    if not isinstance(columns, Mapping | None):
        raise ParameterError(f"Invalid columns={truncate(columns)}: pass a mapping such as {{'close': 'Last Price'}}.")
    return tuple((columns or {}).items())


def split_long(frame: pd.DataFrame) -> dict[str, Candles]:
    """Split a long frame (``unique_id``, ``ds``, open … amount) into candles by instrument; see `read_many`."""
    return read_many(frame)


def _open(source: Source, options: ReadOptions) -> tuple[RawTable, str]:
    if isinstance(source, pd.DataFrame):
        return frame_table(source, options.column_names), "a DataFrame"
    if isinstance(source, list | tuple) and (rows := rows_table(source)) is not None:
        return frame_table(rows, options.column_names, name="The list of rows", from_rows=True), "rows"
    if not isinstance(source, str | Path) or not str(source).strip():
        raise ParameterError(
            f"Invalid source {type(source).__name__} '{truncate(source)}': pass a path, a DataFrame, or rows."
        )
    path = Path(source)
    return read_table(path, options), path.name


def write_candles(candles: Candles, path: str | Path) -> Path:
    """Write candles to a file, atomically.

    The columns are ``timestamps``, open, high, low, close, and volume and amount if the source had them. Values are
    restored bit for bit when the file is read.

    Args:
        candles: The candles.
        path: A ``.csv``, ``.parquet`` or ``.feather`` file. Names of files with simulated candles have to begin with
            ``simulated``, which marks the candles as simulated when they are read.

    Returns:
        The path.

    Raises:
        ParameterError: If the suffix is none of these, or the name would not mark simulated candles.
        StorageError: If the file cannot be written.
    """
    target = expand_user(path)
    check_output_path(target, simulated=candles.simulated)
    columns = [*PRICES, *["volume"] * candles.has_volume, *["amount"] * (candles.has_volume and candles.has_amount)]
    table = candles.frame[columns].reset_index()
    with atomic_path(target) as temporary:
        if target.suffix.lower() == ".csv":
            table.to_csv(temporary, index=False, lineterminator="\n")
        else:
            write_table(table, temporary, simulated=candles.simulated)
    return target


def write_table(table: pd.DataFrame, path: Path, *, simulated: bool) -> None:
    """Write a table of candles as Feather if the suffix is ``.feather``, else as Parquet.

    Args:
        table: Columns of the file.
        path: The file.
        simulated: Whether to mark the candles as simulated in the file's metadata.
    """
    import pyarrow as pa
    from pyarrow import feather, parquet

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    if simulated:
        arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), SIMULATED_KEY: b"true"})
    if path.suffix.lower() == ".feather":
        feather.write_feather(arrow, str(path))
    else:
        parquet.write_table(arrow, path, compression="zstd")


def check_output_path(path: Path, *, simulated: bool) -> None:
    """Check that candles may be written to a file of this name; see `write_candles`.

    Raises:
        ParameterError: If the suffix or the name is invalid.
    """
    if path.suffix.lower() not in WRITABLE_SUFFIXES:
        suffixes = join_names(WRITABLE_SUFFIXES, conjunction="or")
        raise ParameterError(f"Cannot write candles to '{path.name}': use the suffix {suffixes}.")
    if simulated and not path.name.lower().startswith(SIMULATED_PREFIX):
        raise ParameterError(
            f"Cannot write simulated candles to '{path.name}': call the file {SIMULATED_PREFIX}_{path.name}."
        )

"""Reading candles from files and frames: the functions most people start with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kronos.atomic import atomic_path, expand_user
from kronos.candles.candles import SIMULATED, Candles, ReadOptions, from_table
from kronos.candles.cleaning import cell_text
from kronos.candles.readers import LABEL, RawTable, frame_table, read_table
from kronos.candles.schema import COLUMNS
from kronos.errors import DataError, ParameterError
from kronos.formatting import truncate
from kronos.intervals import Interval


def read_candles(
    source: str | Path | pd.DataFrame,
    *,
    symbol: str | None = None,
    interval: str | Interval | None = None,
    timezone: str | None = None,
    calendar: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Candles:
    """Read and clean one instrument's candles.

    Args:
        source: A CSV (also in gzip or zip), Feather or Parquet file, told by its content; or a DataFrame. Candles of a
            file whose name begins with ``simulated`` are labelled as simulated.
        symbol: The instrument's name; else a symbol column's only value.
        interval: Such as ``"1h"``; else inferred.
        timezone: IANA name. Naive stamps are its wall clock; epoch numbers and stamps with an offset are converted
            to it. Without it naive stamps stay naive and epoch numbers are UTC.
        calendar: Trading calendar for what comes after; None leaves it to be guessed.
        columns: Which column is which, ``{"close": "Last Price"}``; wins over the usual names.

    Returns:
        The candles, whose ``findings`` say what was noticed, dropped or mended.

    Raises:
        DataError: If the source cannot be used: the message names file, row or column, and the mend.
        ParameterError: If an argument is wrong.
    """
    options = ReadOptions(symbol, interval, timezone, calendar)
    table, name = _open(source, columns)
    return from_table(table, options, name)


def read_many(
    source: str | Path | pd.DataFrame,
    *,
    interval: str | Interval | None = None,
    timezone: str | None = None,
    calendar: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> dict[str, Candles]:
    """Read a long table of several instruments, told apart by a column such as ``unique_id`` or ``symbol``.

    Args:
        source: A file or a DataFrame as for `read_candles`, with the column that names the instrument.
        interval: Such as ``"1h"``; else inferred for each instrument.
        timezone: As for `read_candles`.
        calendar: As for `read_candles`.
        columns: As for `read_candles`.

    Returns:
        Candles by symbol, in order of appearance; row numbers in findings are those of the whole table.

    Raises:
        DataError: If there is no such column, or an instrument's candles cannot be used.
        ParameterError: If an argument is wrong.
    """
    table, name = _open(source, columns)
    label = table.layout.symbol
    if label is None:
        raise DataError(f"{table.rows.name} has no column that names the instrument; call it unique_id or symbol.")
    names = table.frame[label].map(cell_text)
    if bool((names == "").all()):
        raise DataError(f"Column '{truncate(label)}' of {table.rows.name} is empty; it has to name the instruments.")
    found: dict[str, Candles] = {}
    for one in names[names != ""].unique():
        where = np.flatnonzero(names == one).astype(np.int64)
        rows = replace(table.rows, name=f"{table.rows.name} [{one}]", whole=where)
        part_table = replace(table, frame=table.frame.iloc[where], rows=rows)
        found[str(one)] = from_table(part_table, ReadOptions(str(one), interval, timezone, calendar), name)
    return found


def split_long(frame: pd.DataFrame) -> dict[str, Candles]:
    """Split a long frame (``unique_id``, ``ds``, open … amount) into candles by instrument; see `read_many`."""
    return read_many(frame)


def _open(source: str | Path | pd.DataFrame, columns: Mapping[str, str] | None) -> tuple[RawTable, str]:
    if isinstance(source, pd.DataFrame):
        return frame_table(source, columns), "a DataFrame"
    if not isinstance(source, str | Path) or not str(source).strip():
        raise ParameterError(
            f"Candles are read from a path or a DataFrame, not from {type(source).__name__} '{truncate(source)}'."
        )
    path = Path(source)
    return read_table(path, columns), path.name


ENDINGS = (".csv", ".parquet", ".feather")


def write_candles(candles: Candles, path: str | Path) -> Path:
    """Write candles, whole or not at all.

    The columns are ``timestamps``, open, high, low, close, and volume and amount where the source told them. Values
    come back bit for bit.

    Args:
        candles: What to write.
        path: ``.csv``, ``.parquet`` or ``.feather``. Simulated candles go only to files whose names begin with
            ``simulated``, because that is what labels them wherever they are read.

    Returns:
        The path.

    Raises:
        ParameterError: If the ending is none of these, or simulated candles would lose their label.
        StorageError: If the file system refuses.
    """
    target = expand_user(path)
    check_target(target, simulated=candles.simulated)
    told = [*COLUMNS[:4], *(c for c, there in zip(COLUMNS[4:], _told(candles), strict=True) if there)]
    table = candles.frame[told].reset_index()
    with atomic_path(target) as temporary:
        if target.suffix.lower() == ".csv":
            table.to_csv(temporary, index=False, lineterminator="\n")
        else:
            write_table(table, temporary, simulated=candles.simulated)
    return target


def write_table(table: pd.DataFrame, path: Path, *, simulated: bool) -> None:
    """Write a table of candles as Parquet, or as Feather where the ending says so, with its label inside.

    Args:
        table: Its columns.
        path: The file.
        simulated: Whether the candles are invented, which the file's metadata then say.
    """
    import pyarrow as pa
    from pyarrow import feather, parquet

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    if simulated:
        arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), LABEL: b"true"})
    if path.suffix.lower() == ".feather":
        feather.write_feather(arrow, str(path))
    else:
        parquet.write_table(arrow, path, compression="zstd")


def check_target(path: Path, *, simulated: bool) -> None:
    """Refuse a file that candles cannot be written to; see `write_candles`.

    Raises:
        ParameterError: If the ending or the name is wrong.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ParameterError(
            f"Candles are written to {', '.join(ENDINGS)}, not to '{path.name}'; give it such an ending."
        )
    if simulated and not path.name.lower().startswith(SIMULATED):
        raise ParameterError(
            f"Simulated candles are labelled by their file's name; call it {SIMULATED}_{path.name} instead."
        )


def _told(candles: Candles) -> tuple[bool, bool]:
    """Whether the source told volume, and amount."""
    return candles.has_volume, candles.has_volume and candles.has_amount

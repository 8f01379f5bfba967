"""Writing candles to a file that `read_candles` reads back the same."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kronos.candles.files import LABEL
from kronos.candles.schema import COLUMNS
from kronos.candles.table import SIMULATED, Candles
from kronos.errors import ParameterError
from kronos.storage import atomic_path, expanded

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
    target = expanded(path)
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

"""`Signals`: a table of signals with its provenance, in a folder of two files beside the trials log.

- ``signals.parquet``: one row per day and instrument: date, instrument, market, last_close, spread, seen, and one
  column per signal. ``seen`` marks days that the model may have seen in training.
- ``signals.json``: the provenance: hashes of model, tokenizer and candles, sampling, seed, dates, versions.
- ``trials.jsonl``: the backtests that were run on them, see `kronos.backtest.trials`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.atomic import atomic_path, write_text
from kronos.backtest.market import MarketPanel
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.formatting import expand_user, join_names, plural, to_json
from kronos.provenance import frame_digest
from kronos.typing import FloatArray

TABLE, PROVENANCE = "signals.parquet", "signals.json"
KEYS = ("date", "instrument", "market", "last_close", "spread", "seen")
_FORMAT = 1
_SAME_PRICE = 1e-9  # relative: prices are stored as they were read


@dataclass(frozen=True, eq=False)
class Signals:
    """Signals of many instruments on many days.

    Attributes:
        table: Columns of `KEYS`, then one per signal; sorted by date and instrument.
        provenance: What the signals were made from, as JSON values.
    """

    table: pd.DataFrame
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        missing = [name for name in KEYS if name not in self.table.columns]
        if missing:
            raise DataError(f"The signals have no column '{missing[0]}': compute them again.")
        if self.table.duplicated(["date", "instrument"]).any():
            raise DataError("The signals have an instrument twice on one day: compute them again.")

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        dates = self.dates
        return (
            f"<Signals {', '.join(self.names)}: {len(dates):,} days {dates[0]} … {dates[-1]}, "
            f"{plural(len(self.instruments), 'instrument')}>"
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the signals."""
        return tuple(name for name in self.table.columns if name not in KEYS)

    @property
    def dates(self) -> pd.DatetimeIndex:
        """The days with a signal, in order."""
        return pd.DatetimeIndex(self.table["date"].unique()).sort_values()

    @property
    def instruments(self) -> tuple[str, ...]:
        """The instruments, sorted."""
        return tuple(sorted(self.table["instrument"].unique()))

    @property
    def digest(self) -> str:
        """SHA-256 of the table."""
        return frame_digest(self.table)

    @property
    def seen_days(self) -> int:
        """Number of rows that the model may have seen in training."""
        return int(self.table["seen"].sum())

    def scores(self, name: str, panel: MarketPanel) -> FloatArray:
        """One signal on the days and instruments of a panel [T, N]; NaN where there is none.

        Raises:
            ParameterError: If there is no such signal, or the panel lacks an instrument or a day of the signals.
        """
        if name not in self.names:
            raise ParameterError(f"There is no signal '{name}': choose {join_names(self.names, None, 'or')}.")
        unknown = [one for one in self.instruments if one not in set(panel.instruments)]
        if unknown:
            raise ParameterError(
                f"The panel has no candles of {join_names(unknown)}, for which there are signals: add them, or compute "
                f"the signals for its instruments only."
            )
        rows = panel.dates.get_indexer(pd.DatetimeIndex(self.table["date"]))
        if (rows < 0).any():
            day = self.table["date"].to_numpy()[rows < 0][0]
            raise ParameterError(f"The panel has no bars on {pd.Timestamp(day)}, for which there are signals.")
        columns = pd.Index(panel.instruments).get_indexer(pd.Index(self.table["instrument"]))
        scores = np.full(panel.close.shape, np.nan)
        scores[rows, columns] = self.table[name].to_numpy(np.float64)
        return scores

    def check_last_closes(self, candles: Mapping[str, Candles]) -> None:
        """Check that the last close of every row is the close of its day: later candles were not used as history.

        Raises:
            DataError: If a row has the close of another day, as a table that was shifted by a bar has.
        """
        for name, rows in self.table.groupby("instrument", sort=False):
            if name not in candles:
                raise DataError(f"There are no candles of {name} to check its signals against.")
            close = candles[str(name)].frame["close"].reindex(pd.DatetimeIndex(rows["date"])).to_numpy()
            wrong = ~(np.abs(rows["last_close"].to_numpy() / close - 1) <= _SAME_PRICE)
            if wrong.any():
                row = rows[wrong].iloc[0]
                raise DataError(
                    f"The signal of {name} at {row['date']} starts from the close {row['last_close']:g}, which is not "
                    f"that of its day ({close[wrong][0]:g}): the signals are shifted, or the candles have changed."
                )

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Write table and provenance to a folder; existing files are replaced.

        Raises:
            StorageError: If they cannot be written.
        """
        table, provenance = expand_user(folder) / TABLE, expand_user(folder) / PROVENANCE
        with atomic_path(table) as temporary:
            self.table.to_parquet(temporary, index=False)
        document = {"format": _FORMAT, **self.provenance, "sha256": self.digest}
        write_text(provenance, to_json(document) + "\n")
        return table, provenance

    @classmethod
    def load(cls, folder: str | Path) -> Signals:
        """Read signals, and check that the table is the one that the provenance describes.

        Raises:
            DataError: If a file is missing or damaged, or the table was changed.
        """
        path = expand_user(folder)
        try:
            table = pd.read_parquet(path / TABLE)
            document = json.loads((path / PROVENANCE).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} has no readable signals: compute them again.") from error
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise DataError(f"{path / PROVENANCE} is not the provenance of signals: compute them again.")
        recorded = document.pop("sha256", None)
        signals = cls(table, {key: value for key, value in document.items() if key != "format"})
        if recorded != signals.digest:
            raise DataError(f"{path / TABLE} is not the table that {PROVENANCE} describes: compute the signals again.")
        return signals


def assemble(table: pd.DataFrame, values: Mapping[str, FloatArray], provenance: Mapping[str, Any]) -> Signals:
    """Join the rows of a plan with their signals; rows without a forecast are left out.

    Args:
        table: Rows of the plan with the columns of `KEYS`.
        values: Signals by name, NaN where there is no forecast. [rows]
        provenance: As for `Signals`.

    Raises:
        DataError: If no row has a forecast.
    """
    joined = table[list(KEYS)].assign(**values)
    names: Sequence[str] = list(values)
    joined = joined[joined[names].notna().all(axis=1)]
    if joined.empty:
        raise DataError("No instrument could be forecast on any day.")
    joined = joined.sort_values(["date", "instrument"], kind="stable", ignore_index=True)
    return Signals(joined, provenance)


__all__ = ["KEYS", "PROVENANCE", "TABLE", "Signals", "assemble"]

"""The published system's pickles, written for its scripts. Nothing here ever reads one: a pickle can run code."""

from __future__ import annotations

import pickle
from pathlib import Path

import pandas as pd

_NAMES = {"volume": "vol", "amount": "amt"}


def write_pickle(frame: pd.DataFrame, path: Path, *, simulated: bool) -> None:
    """Write a part of a dataset as the published training scripts expect it.

    Args:
        frame: As in ``train_data.parquet``.
        path: The file; its dictionary maps ``symbol_timeframe`` to a frame of open, high, low, close, vol, amt under a
            naive index ``datetime``, each labelled in its ``attrs`` if simulated.
        simulated: Whether the candles are invented.
    """
    columns = ["open", "high", "low", "close", "volume", "amount"]
    data = {}
    for name, part in frame.groupby("unique_id", sort=False):
        table = part[columns].rename(columns=_NAMES)
        table = table.set_index(pd.DatetimeIndex(part["timestamps"]).tz_localize(None).rename("datetime"))
        table.attrs["simulated"] = simulated
        data[str(name)] = table
    with path.open("wb") as handle:
        pickle.dump(data, handle, protocol=4)

"""Read or write a folder with Qlib itself; runs in a Python with pyqlib and without Kronos.

``python qlib_oracle.py read FOLDER FREQ MARKET OUT.npz`` writes what its data layer reads; ``write FOLDER FREQ IN.npz``
writes a folder with its storage classes, from the arrays ``<code>/times`` (seconds) and ``<code>/<field>``.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import qlib
from qlib.data import D
from qlib.data.storage.file_storage import FileCalendarStorage, FileFeatureStorage

FIELDS = ("open", "high", "low", "close", "volume", "amount")


def seconds(times: object) -> np.ndarray:
    return pd.DatetimeIndex(times).as_unit("s").asi8  # type: ignore[arg-type]


def read(folder: str, freq: str, market: str, out: str) -> None:
    qlib.init(provider_uri=folder, kernels=1, logging_level=40)
    result = {"calendar": seconds(D.calendar(freq=freq))}
    spans = D.list_instruments(D.instruments(market), freq=freq)
    table = D.features(D.instruments(market), [f"${field}" for field in FIELDS], freq=freq)
    for code, ranges in spans.items():
        result[f"{code}/spans"] = seconds([time for span in ranges for time in span])
        rows = table.loc[code]
        result[f"{code}/times"] = seconds(rows.index)
        for field in FIELDS:
            result[f"{code}/{field}"] = rows[f"${field}"].to_numpy()
    np.savez(out, **result)


def write(folder: str, freq: str, given: str) -> None:
    for part in ("calendars", "instruments", "features"):
        (Path(folder) / part).mkdir(parents=True)
    qlib.init(provider_uri=folder, kernels=1, logging_level=40)
    with np.load(given) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    codes = sorted({name.split("/")[0] for name in data})
    calendar = np.unique(np.concatenate([data[f"{code}/times"] for code in codes]))
    shape = "%Y-%m-%d" if freq == "day" else "%Y-%m-%d %H:%M:%S"
    texts = pd.DatetimeIndex(calendar.astype("datetime64[s]")).strftime(shape)
    where = {"__DEFAULT_FREQ": folder}
    (Path(folder) / "calendars" / f"{freq}.txt").touch()
    FileCalendarStorage(freq=freq, future=False, provider_uri=where).extend(texts)
    lines = []
    for code in codes:
        positions = np.searchsorted(calendar, data[f"{code}/times"])
        lines.append(f"{code.upper()}\t{texts[positions[0]]}\t{texts[positions[-1]]}")
        (Path(folder) / "features" / code.lower()).mkdir()
        for field in FIELDS:
            values = np.full(positions[-1] - positions[0] + 1, np.nan)
            values[positions - positions[0]] = data[f"{code}/{field}"]
            storage = FileFeatureStorage(instrument=code, field=field, freq=freq, provider_uri=where)
            storage.write(values, index=int(positions[0]))
    # Like its script dump_bin.py: the storage class writes columns in an order that it cannot read.
    np.savetxt(Path(folder) / "instruments" / "all.txt", lines, fmt="%s", encoding="utf-8")


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](*sys.argv[2:])

"""Write a Qlib folder atomically, with a label for what Qlib's files cannot hold.

- Prices, volumes and amounts are rounded to float32: seven significant digits, so that volumes above 16,777,216 are no
  longer exact.
- Times are written as local times; the label holds the timezone.
- Everything is written into a new folder next to the target, which is renamed once it is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.atomic import atomic_folder
from kronos.candles import COLUMNS, PRICES, Candles
from kronos.errors import DataError, ParameterError
from kronos.formatting import expand_user, truncate
from kronos.intervals import Interval
from kronos.sources.qlib.layout import (
    LABEL,
    MAX_CALENDAR_LENGTH,
    build_label,
    code_folder,
    frequency_name,
    invalid_code_reason,
    market_file,
)

# What pandas, which Qlib uses to read the instruments, takes for a missing cell.
_MISSING = frozenset({
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
})  # fmt: skip


def write_qlib(
    folder: str | Path, candles: Mapping[str, Candles], *, market: str = "all", replace: bool = False
) -> Path:
    """Write candles as a folder that Qlib reads: ``qlib.init(provider_uri=folder)``.

    Fields are open, high, low, close, volume and amount in float32; the calendar is the union of all times. In addition
    to Qlib's files, ``kronos.json`` holds the timezone, the simulated instruments and the source of each.

    Args:
        folder: The folder; it must not exist, or be empty, unless ``replace`` is true.
        candles: Candles by code, such as ``SH600000``: one interval and timezone, at least 2 candles each.
        market: Market that lists the codes; ``instruments/all.txt`` is written too.
        replace: Replace a folder that was written by this function; nothing in it is kept.

    Returns:
        The folder.

    Raises:
        ParameterError: If a code or the market cannot be a file name, intervals or timezones differ, Qlib has no name
            for the interval, or the folder exists.
        DataError: If the candles cannot be represented in Qlib's layout.
        StorageError: If the file system refuses.
    """
    target = expand_user(folder)
    market_file(target, market)
    tables = _build_tables(candles)
    with atomic_folder(target, replace=replace) as building:
        _check_target(target, replace)
        _write_tables(building, tables, market)
        for code, series in candles.items():
            _write_features(building, tables, code, series)
    return target


@dataclass(frozen=True, slots=True, eq=False)
class _Tables:
    """What all instruments share, and the calendar positions of each."""

    interval: Interval
    frequency: str
    calendar: pd.DatetimeIndex
    positions: Mapping[str, npt.NDArray[np.intp]]
    label: Mapping[str, Any]

    def times(self, positions: npt.NDArray[np.intp] | slice = slice(None)) -> list[str]:
        """Times of the calendar in Qlib's format: dates for daily and longer candles, else to the second."""
        midnight = bool((self.calendar == self.calendar.normalize()).all())
        dates = midnight and not self.interval.intraday
        return self.calendar[positions].strftime("%Y-%m-%d" if dates else "%Y-%m-%d %H:%M:%S").tolist()


def _build_tables(candles: Mapping[str, Candles]) -> _Tables:
    if not candles:
        raise ParameterError("There are no candles to write: give at least one instrument.")
    _check_codes(list(candles))
    first, *others = candles
    interval, timezone = candles[first].interval.normalized(), candles[first].timezone
    for code in others:
        if candles[code].interval.normalized() != interval:
            raise ParameterError(
                f"{first} has {interval} candles but {code} has {candles[code].interval}: write one interval per "
                f"folder."
            )
        if candles[code].timezone != timezone:
            zones = f"{timezone or 'no timezone'} but {code} has {candles[code].timezone or 'none'}"
            raise ParameterError(f"{first} has {zones}: a Qlib folder has one timezone, so convert them to one.")
    local = {code: _local_times(code, series) for code, series in candles.items()}
    calendar = pd.DatetimeIndex(np.unique(np.concatenate([times.asi8 for times in local.values()])).view("M8[s]"))
    if len(calendar) > MAX_CALENDAR_LENGTH:
        raise DataError(
            f"The candles have {len(calendar):,} different times, more than the {MAX_CALENDAR_LENGTH:,} that Qlib's "
            f"format can hold: write fewer candles."
        )
    positions = {code: calendar.searchsorted(times) for code, times in local.items()}
    return _Tables(interval, frequency_name(interval), calendar, positions, build_label(candles, interval, timezone))


def _check_codes(codes: list[str]) -> None:
    folders: dict[str, str] = {}
    for code in codes:
        problem = "is read by Qlib as a missing value" if code in _MISSING else invalid_code_reason(code)
        if problem:
            raise ParameterError(f"The code '{truncate(code)}' {problem}; rename it, for example to BTC-USDT.")
        other = folders.setdefault(code.lower(), code)
        if other != code:
            raise ParameterError(
                f"The codes '{other}' and '{code}' differ only in case, which Qlib ignores: rename one."
            )


def _local_times(code: str, candles: Candles) -> pd.DatetimeIndex:
    """The candles' local times in whole seconds, which must identify the times."""
    index = candles.index
    local = index.tz_localize(None).as_unit("ns")
    if len(local) < 2:
        raise DataError(f"{code} has {len(local)} candles, but at least 2 are needed.")
    if bool((local.asi8 % 10**9 != 0).any()):
        raise DataError(f"{code} has candles at fractions of a second, which Qlib cannot store: round their times.")
    if index.tz is not None:
        restored = local.tz_localize(index.tz, ambiguous="NaT", nonexistent="NaT")
        if bool((restored.isna() | (restored != index)).any()):
            raise DataError(
                f"{code} has candles during a clock change of {index.tz}, which local times cannot represent: "
                "convert the candles to UTC."
            )
    return local.as_unit("s")


def _check_target(target: Path, replace: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise ParameterError(f"{target} is a file: name a folder.")
    if not any(target.iterdir()):
        return
    if not replace:
        raise ParameterError(f"{target} exists already: choose another folder, or replace it with replace=True.")
    if not (target / LABEL).is_file():
        raise ParameterError(
            f"{target} was not written by Kronos, so that it is not replaced: remove it, or choose another folder."
        )


def _write_tables(folder: Path, tables: _Tables, market: str) -> None:
    """Write the calendar, the instruments and the label."""
    for part in ("calendars", "instruments", "features"):
        (folder / part).mkdir()
    _write_text(folder / "calendars" / f"{tables.frequency}.txt", "".join(f"{time}\n" for time in tables.times()))
    lines = []
    for code, positions in tables.positions.items():
        start, end = tables.times(positions[[0, -1]])
        lines.append(f"{code}\t{start}\t{end}\n")
    for name in {"all", market.lower()}:
        _write_text(market_file(folder, name), "".join(lines))
    _write_text(folder / LABEL, json.dumps(tables.label, indent=1, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8"))


def _write_features(folder: Path, tables: _Tables, code: str, candles: Candles) -> None:
    """Write one instrument's fields, NaN at calendar times without a candle."""
    features = code_folder(folder, code)
    features.mkdir()
    positions = tables.positions[code]
    first = int(positions[0])
    values = _to_float32(code, candles)
    for column, name in enumerate(COLUMNS):
        field = np.full(int(positions[-1]) - first + 2, np.nan, dtype="<f4")
        field[0] = first
        field[positions - first + 1] = values[:, column]
        (features / f"{name}.{tables.frequency}.bin").write_bytes(field.tobytes())


def _to_float32(code: str, candles: Candles) -> npt.NDArray[np.float32]:
    """The six columns in float32; an error if they are out of its range."""
    with np.errstate(over="ignore", under="ignore"):
        values = candles.frame.to_numpy(dtype=np.float64).astype(np.float32)
    prices = values[:, : len(PRICES)]
    if np.isinf(values).any() or not (prices > 0).all():
        raise DataError(f"{code} has numbers beyond the range of float32, Qlib's format: scale them first.")
    return values

"""Writing a Qlib folder: whole and at once, with a label beside it that says what Qlib's files cannot.

- Prices, volumes and amounts are rounded to float32: seven significant digits, so that volumes above 16,777,216 are no
  longer exact.
- Times are written as the candles' wall clock; the label keeps the timezone.
- Everything is written into a new folder beside the target, which is renamed once it is whole: nobody sees half of one.
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

from kronos.atomic import atomic_folder, expand_user
from kronos.candles import COLUMNS, PRICES, Candles
from kronos.errors import DataError, ParameterError
from kronos.formatting import truncate
from kronos.intervals import Interval
from kronos.sources.qlib.layout import LABEL, LONGEST, code_folder, code_problem, frequency_name, label_of, market_file

# What pandas, with which Qlib reads the instruments, takes for a missing cell.
_MISSING = frozenset({
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
})  # fmt: skip


def write_qlib(
    folder: str | Path, candles: Mapping[str, Candles], *, market: str = "all", replace: bool = False
) -> Path:
    """Write candles as a folder that Qlib reads: ``qlib.init(provider_uri=folder)``.

    Fields are open, high, low, close, volume and amount in float32; the calendar is the union of all times. Beside
    Qlib's files, ``kronos.json`` keeps the timezone, which instruments are simulated, and where each comes from.

    Args:
        folder: Where to write; it must not exist, or be empty, unless ``replace`` is true.
        candles: By code, such as ``SH600000``; all of one interval and timezone, at least 2 candles each.
        market: The market that lists them; ``instruments/all.txt`` is written too.
        replace: Replace a folder that was written by this function; nothing in it is merged or kept.

    Returns:
        The folder.

    Raises:
        ParameterError: If a code or the market can be no file, intervals or timezones differ, Qlib has no name for the
            interval, or the folder exists.
        DataError: If candles cannot be told in Qlib's layout.
        StorageError: If the file system refuses.
    """
    target = expand_user(folder)
    market_file(target, market)
    plan = _plan(candles)
    with atomic_folder(target, replace=replace) as building:
        _check_target(target, replace)
        _write_tables(building, plan, market)
        for code, one in candles.items():
            _write_features(building, plan, code, one)
    return target


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is common to all instruments, and where each lies in the calendar."""

    interval: Interval
    frequency: str
    timezone: str | None
    calendar: pd.DatetimeIndex
    positions: Mapping[str, npt.NDArray[np.intp]]
    label: Mapping[str, Any]

    def text(self, positions: npt.NDArray[np.intp] | slice = slice(None)) -> list[str]:
        """Times of the calendar as Qlib writes them: days of daily and longer candles, else to the second."""
        midnight = bool((self.calendar == self.calendar.normalize()).all())
        bare = midnight and not self.interval.intraday
        return self.calendar[positions].strftime("%Y-%m-%d" if bare else "%Y-%m-%d %H:%M:%S").tolist()


def _plan(candles: Mapping[str, Candles]) -> _Plan:
    if not candles:
        raise ParameterError("There are no candles to write; give at least one instrument.")
    _check_codes(list(candles))
    first, *others = candles
    interval, timezone = candles[first].interval.normalized(), candles[first].timezone
    for code in others:
        if candles[code].interval.normalized() != interval:
            raise ParameterError(
                f"{first} has {interval} candles but {code} has {candles[code].interval}; write one interval a folder."
            )
        if candles[code].timezone != timezone:
            zones = f"{timezone or 'no timezone'} but {code} has {candles[code].timezone or 'none'}"
            raise ParameterError(f"{first} has {zones}; a Qlib folder has one clock, so convert them to one.")
    clocks = {code: _wall(code, one) for code, one in candles.items()}
    calendar = pd.DatetimeIndex(np.unique(np.concatenate([clock.asi8 for clock in clocks.values()])).view("M8[s]"))
    if len(calendar) > LONGEST:
        raise DataError(
            f"The candles have {len(calendar):,} different times, more than the {LONGEST:,} Qlib can count."
        )
    positions = {code: calendar.searchsorted(clock) for code, clock in clocks.items()}
    label = label_of(candles, interval, timezone)
    return _Plan(interval, frequency_name(interval), timezone, calendar, positions, label)


def _check_codes(codes: list[str]) -> None:
    folders: dict[str, str] = {}
    for code in codes:
        problem = "is read by Qlib as a missing value" if code in _MISSING else code_problem(code)
        if problem:
            raise ParameterError(f"The code '{truncate(code)}' {problem}; rename it, for example to BTC-USDT.")
        other = folders.setdefault(code.lower(), code)
        if other != code:
            raise ParameterError(f"{other} and {code} would be one folder, as Qlib ignores case; rename one.")


def _wall(code: str, candles: Candles) -> pd.DatetimeIndex:
    """The candles' wall clock in whole seconds, from which their times can be told again."""
    index = candles.index
    wall = index.tz_localize(None).as_unit("ns")
    if len(wall) < 2:
        raise DataError(f"{code} has {len(wall)} candles, but at least 2 are needed.")
    if bool((wall.asi8 % 10**9 != 0).any()):
        raise DataError(f"{code} has candles at fractions of a second, which Qlib cannot tell; round their times.")
    if index.tz is not None:
        again = wall.tz_localize(index.tz, ambiguous="NaT", nonexistent="NaT")
        if bool((again.isna() | (again != index)).any()):
            raise DataError(
                f"{code} has candles while the clocks of {index.tz} are changed, which its wall clock cannot tell; "
                "convert the candles to UTC."
            )
    return wall.as_unit("s")


def _check_target(target: Path, replace: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise ParameterError(f"{target} is a file; name a folder.")
    if not any(target.iterdir()):
        return
    if not replace:
        raise ParameterError(f"{target} exists already; choose another folder, or replace it with replace=True.")
    if not (target / LABEL).is_file():
        raise ParameterError(
            f"{target} was not written by Kronos, so it is not replaced; remove it, or choose another."
        )


def _write_tables(folder: Path, plan: _Plan, market: str) -> None:
    """The calendar, the instruments and the label."""
    for part in ("calendars", "instruments", "features"):
        (folder / part).mkdir()
    _write_text(folder / "calendars" / f"{plan.frequency}.txt", "".join(f"{time}\n" for time in plan.text()))
    lines = []
    for code, positions in plan.positions.items():
        start, end = plan.text(positions[[0, -1]])
        lines.append(f"{code}\t{start}\t{end}\n")
    for name in {"all", market.lower()}:
        _write_text(market_file(folder, name), "".join(lines))
    _write_text(folder / LABEL, json.dumps(plan.label, indent=1, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8"))


def _write_features(folder: Path, plan: _Plan, code: str, candles: Candles) -> None:
    """One instrument's fields, NaN where the calendar has a time without a candle of it."""
    place = code_folder(folder, code)
    place.mkdir()
    positions = plan.positions[code]
    first = int(positions[0])
    values = _rounded(code, candles)
    for column, name in enumerate(COLUMNS):
        out = np.full(int(positions[-1]) - first + 2, np.nan, dtype="<f4")
        out[0] = first
        out[positions - first + 1] = values[:, column]
        (place / f"{name}.{plan.frequency}.bin").write_bytes(out.tobytes())


def _rounded(code: str, candles: Candles) -> npt.NDArray[np.float32]:
    """The six columns in float32, whose range must hold them."""
    with np.errstate(over="ignore", under="ignore"):
        values = candles.frame.to_numpy(dtype=np.float64).astype(np.float32)
    prices = values[:, : len(PRICES)]
    if np.isinf(values).any() or not (prices > 0).all():
        raise DataError(f"{code} has numbers beyond what float32, Qlib's format, can hold; scale them first.")
    return values

"""Cleaning of a raw table: each dropped row and each changed value is reported as a finding.

Steps: parse numbers and times, drop unusable rows (more than `MAX_UNUSABLE` of them is an error), sort, merge repeated
times, repair highs and lows, fill volume and amount. Rows keep their original position until the end, for the messages.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pandas as pd

from kronos.candles.findings import Finding, FindingCollector
from kronos.candles.readers import RawTable
from kronos.candles.schema import COLUMNS, PRICES, TIME
from kronos.candles.timestamps import ParsedTimes, join_clock, parse_timestamps
from kronos.errors import DataError
from kronos.formatting import truncate
from kronos.typing import BoolArray, FloatArray, IntArray

MAX_UNUSABLE = 0.05  # share of the rows
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$"
_MULTIPLES = {"K": "e3", "M": "e6", "B": "e9", "万": "e4", "亿": "e8"}
_INEXACT_PARSER = int(pd.__version__.split(".", 1)[0]) < 3  # pandas 2 may miss the last of 16 or more digits
_MISSING = ("", "-", "--", "nan", "na", "n/a", "null", "none", "nat", "<na>")


def clean(table: RawTable, timezone: str | None) -> tuple[pd.DataFrame, list[Finding], pd.DatetimeIndex]:
    """Clean a table.

    Args:
        table: The source.
        timezone: IANA timezone of naive times; other times are converted to it.

    Returns:
        The frame of six float64 columns under a strictly increasing DatetimeIndex, the findings, and the times whose
        rows were all dropped.

    Raises:
        DataError: If times or numbers cannot be parsed, or too many rows are unusable.
    """
    findings = FindingCollector(table.rows)
    if table.headerless:
        message = f"{table.rows.name} has no header line; its columns were read in the usual order."
        findings.add("no-header", "info", message)
    values = _parse_numbers(table, findings)
    times = _parse_times(table, timezone)
    for code, message in times.notes:
        findings.add(code, "warning" if code == "several-offsets" else "info", message)
    keep = _usable_rows(table, times.index, values, findings)
    dropped = times.index[~keep & np.asarray(times.index.notna())].unique().sort_values()
    frame = pd.DataFrame(values[keep], columns=list(COLUMNS), index=times.index[keep].rename(TIME))
    frame, positions = _sort_and_merge(frame, np.flatnonzero(keep), findings)
    _repair_prices(frame, positions, findings)
    _fill_volume(frame, positions, table, findings)
    assert isinstance(frame.index, pd.DatetimeIndex)
    return frame, findings.findings, dropped[~dropped.isin(frame.index)]


def _parse_numbers(table: RawTable, findings: FindingCollector) -> FloatArray:
    """The six columns as floats, NaN if missing. [rows, 6]."""
    out = np.full((len(table.frame), 6), np.nan)
    for i, column in enumerate(COLUMNS):
        if column not in table.layout.prices:
            continue
        raw = table.frame[table.layout.prices[column]]
        out[:, i], unreadable = _to_floats(raw, table.decimal_comma)
        if len(unreadable):
            cell = truncate(raw.iloc[unreadable[0]])
            if len(unreadable) > max(1, MAX_UNUSABLE * len(raw)):
                row = f"{table.rows.name}, {table.rows.word} {table.rows.number(unreadable[0])}"
                raise DataError(
                    f"{row}: {column} '{cell}' is not a number; correct the {len(unreadable)} such cell(s)."
                )
            message = (
                f"{{count}} {column} value(s) are not numbers, such as '{cell}' ({{where}}), and count as missing."
            )
            findings.add("unreadable-number", "warning", message, unreadable)
    ticks = table.layout.ticks
    if ticks is not None and not (out[:, 4] > 0).any():
        # MetaTrader exports both, and markets without an exchange have no traded volume.
        out[:, 4], _ = _to_floats(table.frame[ticks], table.decimal_comma)
        message = f"Column {truncate(table.layout.prices['volume'])} of {table.rows.name} is 0 throughout; "
        findings.add("tick-volume", "info", f"{message}the volume was read from {truncate(ticks)}.")
    return out


def _to_floats(raw: pd.Series, decimal_comma: bool) -> tuple[FloatArray, IntArray]:
    """Values as floats, NaN if missing, and the positions of cells that are neither numbers nor empty."""
    if pd.api.types.is_numeric_dtype(raw.dtype) and not pd.api.types.is_complex_dtype(raw.dtype):
        return _float_array(raw.astype("Float64")), np.empty(0, np.int64)
    text = raw.astype("string").str.strip() if _all_text(raw) else raw.map(cell_text).astype("string")
    floats = _parse_floats(text)
    left = np.flatnonzero(np.isnan(floats)).astype(np.int64)
    odd = text.iloc[left].fillna("")
    filled = ~np.asarray(odd.str.lower().isin(_MISSING), dtype=np.bool_)
    left, odd = left[filled], odd[filled]
    if len(left):
        floats[left] = _float_array(pd.to_numeric(_undecorate(odd, decimal_comma), errors="coerce").astype("Float64"))
    return floats, left[np.isnan(floats[left])]


def _parse_floats(text: pd.Series) -> FloatArray:
    floats = _float_array(pd.to_numeric(text, errors="coerce").astype("Float64")).copy()
    if _INEXACT_PARSER and (known := np.isfinite(floats)).any():
        with suppress(ValueError):  # numbers that pandas accepts and Python does not stay as pandas parsed them
            floats[known] = np.array(text[known].to_list(), dtype=object).astype(np.float64)
    return floats


def _all_text(raw: pd.Series) -> bool:
    return pd.api.types.infer_dtype(raw, skipna=True) == "string"


def _undecorate(text: pd.Series, decimal_comma: bool) -> pd.Series:
    """Remove currency signs, spaces and thousands separators, and write 1.2M as 1.2e6."""
    plain = text.str.replace(r"[\s_$€£¥￥]|USDT?$|元$", "", regex=True)
    for sign, power in _MULTIPLES.items():
        plain = plain.str.replace(rf"(?<=[\d.]){sign}$", power, regex=True)
    if decimal_comma:
        return plain.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    grouped = plain.str.fullmatch(_THOUSANDS).fillna(False)
    return plain.where(~grouped, plain.str.replace(",", "", regex=False))


def _float_array(values: pd.Series) -> FloatArray:
    return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def cell_text(value: object) -> str:
    """Text of a cell without surrounding spaces; empty if the cell is missing."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return ""
    return str(value).strip()[:64]


def _parse_times(table: RawTable, timezone: str | None) -> ParsedTimes:
    layout, name = table.layout, table.rows.name
    if layout.time is None:
        index = table.frame.index
        if isinstance(index, pd.RangeIndex | pd.MultiIndex) or not len(index) or table.rows.first != 0:
            raise DataError(
                f"{name} has no time column; call it timestamps, or map it with columns={{'timestamps': '…'}}."
            )
        return parse_timestamps(index.to_series().reset_index(drop=True), timezone, name)
    column = table.frame[layout.time].reset_index(drop=True)
    if layout.clock is not None:
        column = join_clock(column, table.frame[layout.clock].reset_index(drop=True))
    return parse_timestamps(column, timezone, name)


def _usable_rows(table: RawTable, index: pd.DatetimeIndex, values: FloatArray, findings: FindingCollector) -> BoolArray:
    """Whether each row has a time and four finite positive prices; too many unusable rows are an error. [rows]."""
    prices = values[:, :4]
    no_time = np.asarray(index.isna())
    blank = no_time & np.isnan(values).all(axis=1)
    missing = ~blank & ~no_time & np.isnan(prices).any(axis=1)
    infinite = ~blank & ~no_time & np.isinf(prices).any(axis=1)
    negative = ~blank & ~no_time & ~missing & ~infinite & (prices <= 0).any(axis=1)
    bad = missing | infinite | negative | (no_time & ~blank)
    kinds = (
        ("unreadable-time", "an unreadable time", no_time & ~blank),
        ("missing-price", "a missing price (NaN)", missing),
        ("infinite-price", "an infinite price", infinite & ~missing),
        ("nonpositive-price", "a zero or negative price", negative),
    )
    present = int((~blank).sum())
    if present and bad.sum() > max(1, MAX_UNUSABLE * present):
        raise DataError(_describe_unusable(table, bad, kinds, present))
    if blank.any():
        findings.add("blank-row", "info", "{count} blank row(s) were skipped ({where}).", np.flatnonzero(blank))
    for code, fault, where in kinds:
        if where.any():
            message = f"{{count}} row(s) with {fault} were dropped ({{where}})."
            findings.add(code, "warning", message, np.flatnonzero(where))
    keep = ~bad & ~blank
    if keep.sum() < 2:
        raise DataError(f"{table.rows.name} has {int(keep.sum())} usable row(s); at least 2 candles are needed.")
    return np.asarray(keep, dtype=np.bool_)


def _describe_unusable(
    table: RawTable, bad: BoolArray, kinds: tuple[tuple[str, str, BoolArray], ...], present: int
) -> str:
    first = int(bad.argmax())
    code, fault = next((code, fault) for code, fault, where in kinds if where[first])
    cell = ""
    if code == "unreadable-time" and table.layout.time is not None:
        cell = f" ('{truncate(table.frame[table.layout.time].iloc[first])}')"
    return (
        f"{int(bad.sum())} of {present} rows of {table.rows.name} are unusable, above the limit of {MAX_UNUSABLE:.0%}; "
        f"the first is {table.rows.word} {table.rows.number(first)} with {fault}{cell}. Correct the source."
    )


def _sort_and_merge(
    frame: pd.DataFrame, positions: IntArray, findings: FindingCollector
) -> tuple[pd.DataFrame, IntArray]:
    """Sort by time; of rows with the same time, keep the last one in the source."""
    name = findings.rows.name
    stamps = frame.index.as_unit("ns").asi8  # type: ignore[attr-defined]
    back = np.flatnonzero(np.diff(stamps) < 0)
    if len(back) and len(back) == np.count_nonzero(np.diff(stamps)):
        findings.add("newest-first", "info", f"{name} was sorted from new to old and has been reversed.")
    elif len(back):
        message = "Times go backwards {count} time(s) ({where}); the rows were sorted."
        findings.add("unsorted-times", "warning", message, positions[back + 1])
    order = np.argsort(stamps, kind="stable")
    frame, positions, stamps = frame.iloc[order], positions[order], stamps[order]
    last = np.append(np.diff(stamps) != 0, True)
    repeated = np.flatnonzero(~last)
    if len(repeated):
        cells = np.nan_to_num(frame.to_numpy(), nan=-1.0)
        same = np.all(cells[repeated] == cells[repeated + 1], axis=1)
        if same.any():
            message = "{count} row(s) that repeat another were merged ({where})."
            findings.add("duplicate-row", "info", message, positions[repeated[same]])
        if not same.all():
            message = "{count} row(s) with the time of a later row but other values were dropped ({where})."
            findings.add("duplicate-time", "warning", message, positions[repeated[~same]])
    if last.sum() < 2:
        raise DataError(f"{name} has {int(last.sum())} distinct time(s); at least 2 candles are needed.")
    return frame[last].copy(), positions[last]


def _repair_prices(frame: pd.DataFrame, positions: IntArray, findings: FindingCollector) -> None:
    """Swap high and low if high is below low; widen the range to include open and close."""
    prices = frame[list(PRICES)].to_numpy(copy=True)
    swapped = prices[:, 1] < prices[:, 2]
    prices[swapped, 1], prices[swapped, 2] = prices[swapped, 2], prices[swapped, 1]
    high, low = prices.max(axis=1), prices.min(axis=1)
    widened = (high > prices[:, 1]) | (low < prices[:, 2])
    prices[:, 1], prices[:, 2] = high, low
    if swapped.any():
        message = "{count} row(s) had high below low; the two were swapped ({where})."
        findings.add("high-below-low", "warning", message, positions[swapped])
    if widened.any():
        message = "{count} row(s) had open or close outside the range from low to high, which was widened ({where})."
        findings.add("range-too-narrow", "warning", message, positions[widened])
    if swapped.any() or widened.any():
        frame[list(PRICES)] = prices
    if np.ptp(prices) == 0:
        message = f"All prices of {findings.rows.name} are equal, so forecasts of it have no meaning."
        findings.add("constant-prices", "warning", message)


def _fill_volume(frame: pd.DataFrame, positions: IntArray, table: RawTable, findings: FindingCollector) -> None:
    """Fill missing volume and amount; without volume both are 0, as in the models' training data."""
    name, labels = findings.rows.name, table.layout.prices
    if "volume" not in labels:
        ignored = " (the amount is ignored)" if "amount" in labels else ""
        findings.add("no-volume", "info", f"{name} has no volume; volume and amount are 0{ignored}.")
        frame[["volume", "amount"]] = 0.0
        return
    _fill(frame, "volume", positions, findings)
    if "amount" in labels:
        _fill(frame, "amount", positions, findings)
    else:
        # Volume is valued at the mean price of the candle, as in the models' training data.
        frame["amount"] = np.clip(frame["volume"] * frame[list(PRICES)].mean(axis=1), 0.0, np.finfo(np.float64).max)
        findings.add("no-amount", "info", f"{name} has no amount; it was set to volume × mean price.")
    idle = np.asarray(frame["volume"] == 0)
    if idle.all():
        findings.add("zero-volume", "warning", f"The volume of {name} is 0 throughout.")
    elif idle.any():
        edges = np.flatnonzero(np.diff(np.concatenate([[0], idle.astype(np.int8), [0]])))
        longest = int((edges[1::2] - edges[::2]).max())
        message = f"{{count}} row(s) have zero volume, at most {longest} in a row ({{where}})."
        findings.add("zero-volume", "info", message, positions[idle])


def _fill(frame: pd.DataFrame, column: str, positions: IntArray, findings: FindingCollector) -> None:
    values = frame[column].to_numpy(copy=True)
    missing, negative = ~np.isfinite(values), values < 0
    if missing.any():
        message = f"{{count}} missing {column} value(s) were set to 0 ({{where}})."
        findings.add(f"missing-{column}", "warning", message, positions[missing])
    if (negative & ~missing).any():
        message = f"{{count}} negative {column} value(s) were set to 0 ({{where}})."
        findings.add(f"negative-{column}", "warning", message, positions[negative & ~missing])
    frame[column] = np.where(missing | negative, 0.0, values)

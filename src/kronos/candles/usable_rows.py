"""Rows that are candles: each has a time and four positive prices; the others are reported, or refused if many."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.candles.findings import FindingCollector
from kronos.candles.readers import RawTable
from kronos.errors import DataError
from kronos.formatting import Message, truncate
from kronos.typing import BoolArray, FloatArray, IntArray

MAX_UNUSABLE = 0.05  # share of the rows
_MIN_LOST = 3  # rows lost at one time of day that are a pattern


def cell_text(value: object) -> str:
    """Text of a cell without surrounding spaces; empty if the cell is missing."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return ""
    return str(value).strip()[:64]


def find_usable_rows(
    table: RawTable, index: pd.DatetimeIndex, values: FloatArray, findings: FindingCollector
) -> tuple[BoolArray, BoolArray]:
    """Whether each row has a time and four finite positive prices, and whether it has a time but no price. [rows] each.

    Raises:
        DataError: If too many rows are unusable, or all those of one time of day.
    """
    prices = values[:, :4]
    short = np.zeros(len(values), dtype=np.bool_) if table.short is None else table.short
    no_time = np.asarray(index.isna()) & ~short
    blank = no_time & np.isnan(values).all(axis=1)
    # A minute without trades is no candle; exchanges' dumps write it without prices.
    idle = ~short & ~no_time & np.isnan(prices).all(axis=1) & ~(values[:, 4] > 0)
    missing = ~short & ~blank & ~no_time & ~idle & np.isnan(prices).any(axis=1)
    infinite = ~short & ~blank & ~no_time & np.isinf(prices).any(axis=1)
    negative = ~short & ~blank & ~no_time & ~missing & ~infinite & (prices <= 0).any(axis=1)
    bad = short | missing | infinite | negative | (no_time & ~blank)
    kinds = (
        ("short-row", "fewer cells than the others", short),
        ("unreadable-time", "an unreadable time", no_time & ~blank),
        ("missing-price", "a missing price (NaN)", missing),
        ("infinite-price", "an infinite price", infinite & ~missing),
        ("nonpositive-price", "a zero or negative price", negative),
    )
    present = int((~blank & ~idle).sum())
    if present and bad.sum() > max(1, MAX_UNUSABLE * present):
        raise DataError(_describe_unusable(table, bad, kinds, present, values))
    _check_pattern(index, bad, table)
    if blank.any():
        findings.add(
            "blank-row",
            "info",
            Message("blank-row", "{count} blank row(s) were skipped ({where})."),
            np.flatnonzero(blank),
        )
    if idle.any():
        message = Message("idle-row", "{count} row(s) without any price are not candles and were skipped ({where}).")
        findings.add("idle-row", "info", message, np.flatnonzero(idle))
    for code, fault, where in kinds:
        if where.any():
            message = Message("dropped-rows", "{count} row(s) with {fault} were dropped ({where}).", fault=fault)
            findings.add(code, "warning", message, np.flatnonzero(where))
    keep = ~bad & ~blank & ~idle
    if keep.sum() < 2:
        raise DataError(
            Message(
                "too-few-rows",
                "{name} has {count} usable row(s); at least 2 candles are needed.",
                name=table.rows.name,
                count=int(keep.sum()),
            )
        )
    return np.asarray(keep, dtype=np.bool_), np.asarray(idle, dtype=np.bool_)


def find_forming_rows(
    table: RawTable, index: pd.DatetimeIndex, keep: BoolArray, findings: FindingCollector
) -> BoolArray:
    """Whether each row is marked as a candle that is still forming, after all those that are complete. [rows]."""
    none = np.zeros(len(index), dtype=np.bool_)
    label = table.layout.flag
    if label is None:
        return none
    cells = table.frame[label].map(cell_text).str.lower().str.removesuffix(".0").to_numpy(dtype=object)
    complete, forming = np.isin(cells, ("1", "true")), np.isin(cells, ("0", "false"))
    if not forming.any() or not complete[keep].any() or not (complete | forming)[keep].all():
        return none  # no marks of that kind
    last = index[complete & keep].max()
    rows = forming & keep & np.asarray(index > last)
    if rows.any():
        message = Message(
            "forming-rows",
            "{count} row(s) are still forming, as column '{label}' says, and were left out ({where}).",
            label=truncate(label),
        )
        findings.add("forming-candle", "info", message, np.flatnonzero(rows))
    return np.asarray(rows, dtype=np.bool_)


def _check_pattern(index: pd.DatetimeIndex, bad: BoolArray, table: RawTable) -> None:
    """Refuse to drop every row of one time of day: that is a misunderstanding, not a fault of single rows.

    Raises:
        DataError: If all rows of a time of day are unusable, while others are not.
    """
    lost = np.flatnonzero(bad)
    if len(lost) < _MIN_LOST:
        return
    known = np.asarray(index.notna())
    clock = np.where(
        known, index.tz_localize(None).as_unit("s").asi8 % 86_400 if index.tz else index.as_unit("s").asi8 % 86_400, -1
    )
    if len(np.unique(clock[known & ~bad])) < 2:
        return
    distances = np.diff(lost)
    if not known[lost].any() and len(lost) >= 4 and (distances == distances[0]).all() and distances[0] > 1:
        raise DataError(_describe_pattern(table, lost, f"every {int(distances[0])}th row"))
    at = clock[lost[known[lost]]]
    if len(at) >= _MIN_LOST and (at == at[0]).all() and not (clock[~bad] == at[0]).any():
        time = str(pd.Timestamp(int(at[0]), unit="s").time())[:5]
        raise DataError(_describe_pattern(table, lost, f"every row of {time}"))


def _describe_pattern(table: RawTable, lost: IntArray, which: str) -> str:
    return Message(
        "unusable-pattern",
        "The unusable rows of {name} follow a pattern, {which}: the first is {word} {row}. "
        "Correct the source, or give date_format= if its times are misread.",
        name=table.rows.name,
        which=which,
        word=table.rows.word,
        row=table.rows.number(int(lost[0])),
    )


def _describe_unusable(
    table: RawTable, bad: BoolArray, kinds: tuple[tuple[str, str, BoolArray], ...], present: int, values: FloatArray
) -> str:
    first = int(bad.argmax())
    code, fault = next((code, fault) for code, fault, where in kinds if where[first])
    cell, advice = "", "Correct the source."
    if code == "unreadable-time" and table.layout.time is not None:
        parts = (table.layout.time, *([] if table.layout.clock is None else [table.layout.clock]))
        cell = f" ('{truncate(' '.join(str(table.frame[label].iloc[first]) for label in parts))}')"
        advice = "Correct the source, or give the notation of its times as date_format=."
    if code == "short-row":
        cell = f" ('{truncate(table.frame.iloc[first, 0])}')"
        advice = "Correct the source: each row needs as many cells as the header, separated by the same delimiter."
    if code == "nonpositive-price" and float(np.mean((values[bad, :4] < 0).any(axis=1))) > 0.5:
        advice = (
            "Negative prices come from forward adjustment for dividends (前复权): use unadjusted or back-adjusted "
            "prices, or ratio adjustment. The models need prices above 0."
        )
    return Message(
        "unusable-rows",
        "{count} of {total} rows of {name} are unusable, above the limit of {limit}; the first is "
        "{word} {row} with {fault}{cell}. {advice}",
        count=int(bad.sum()),
        total=present,
        name=table.rows.name,
        limit=f"{MAX_UNUSABLE:.0%}",
        word=table.rows.word,
        row=table.rows.number(first),
        fault=fault,
        cell=cell,
        advice=advice,
    )

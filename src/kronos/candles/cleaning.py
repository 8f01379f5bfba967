"""From a table as read to a clean frame: every row dropped and every value changed is a finding.

Order: read numbers and times, drop rows that say nothing (at most `BAD_SHARE` of them, else refuse), sort,
merge duplicate times, mend highs and lows, fill volume and amount. Rows keep their original position until
the end, for the messages.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles.findings import Finding, FindingCollector
from kronos.candles.readers import RawTable
from kronos.candles.schema import COLUMNS, PRICES, TIME
from kronos.candles.timestamps import ParsedTimes, join_clock, parse_timestamps
from kronos.errors import DataError
from kronos.formatting import truncate

BAD_SHARE = 0.05
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$"
_MULTIPLES = {"K": "e3", "M": "e6", "B": "e9", "万": "e4", "亿": "e8"}
_ROUNDS = int(pd.__version__.split(".", 1)[0]) < 3  # pandas 2 may miss the last digit of numbers that have 16 or more
_MISSING = ("", "-", "--", "nan", "na", "n/a", "null", "none", "nat", "<na>")


def clean(table: RawTable, timezone: str | None) -> tuple[pd.DataFrame, list[Finding], pd.DatetimeIndex]:
    """Read, mend and order a table.

    Args:
        table: What a source holds.
        timezone: IANA name for naive stamps, or to convert to.

    Returns:
        The frame of six float64 columns under a strictly increasing DatetimeIndex, what was found, and the times at
        which rows were dropped and none is left.

    Raises:
        DataError: If times or numbers cannot be read, or too many rows would have to be dropped.
    """
    book = FindingCollector(table.rows)
    if table.headless:
        book.note(
            "no-header",
            "info",
            f"{table.rows.name} has no header line; its columns were taken in their usual order.",
        )
    values = _numbers(table, book)
    times = _times(table, timezone)
    for code, message in times.notes:
        book.note(code, "warning" if code == "several-offsets" else "info", message)
    keep = _usable(table, times.index, values, book)
    dropped = times.index[~keep & np.asarray(times.index.notna())].unique().sort_values()
    frame = pd.DataFrame(values[keep], columns=list(COLUMNS), index=times.index[keep].rename(TIME))
    frame, positions = _order(frame, np.flatnonzero(keep), book)
    _mend_prices(frame, positions, book)
    _fill_volume(frame, positions, table, book)
    assert isinstance(frame.index, pd.DatetimeIndex)
    return frame, book.findings, dropped[~dropped.isin(frame.index)]


def _numbers(table: RawTable, book: FindingCollector) -> npt.NDArray[np.float64]:
    """The six columns as floats, NaN where missing; unreadable cells raise unless few."""
    out = np.full((len(table.frame), 6), np.nan)
    for i, column in enumerate(COLUMNS):
        if column not in table.layout.prices:
            continue
        raw = table.frame[table.layout.prices[column]]
        out[:, i], unreadable = _floats(raw, table.decimal_comma)
        if len(unreadable):
            cell = truncate(raw.iloc[unreadable[0]])
            message = f"{{count}} unreadable {column} value(s), such as '{cell}' ({{where}}), count as missing."
            if len(unreadable) > max(1, BAD_SHARE * len(raw)):
                raise DataError(
                    f"Column {column} holds '{cell}' in {table.rows.at(unreadable[0])}, which is no number; "
                    f"mend it and the {len(unreadable) - 1} like it."
                )
            book.note("unreadable-number", "warning", message, unreadable)
    ticks = table.layout.ticks
    if ticks is not None and not (out[:, 4] > 0).any():
        # MetaTrader exports both, and markets without an exchange have no traded volume.
        out[:, 4], _ = _floats(table.frame[ticks], table.decimal_comma)
        message = f"Column {truncate(table.layout.prices['volume'])} of {table.rows.name} is 0 throughout; "
        book.note("tick-volume", "info", f"{message}the volume is that of {truncate(ticks)}.")
    return out


def _floats(raw: pd.Series, decimal_comma: bool) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Values as floats, and the positions of cells that hold something else than a number or nothing."""
    if pd.api.types.is_numeric_dtype(raw.dtype) and not pd.api.types.is_complex_dtype(raw.dtype):
        return _plain(raw.astype("Float64")), np.empty(0, np.int64)
    text = raw.astype("string").str.strip() if _all_text(raw) else raw.map(cell_text).astype("string")
    floats = _parsed(text)
    left = np.flatnonzero(np.isnan(floats)).astype(np.int64)
    odd = text.iloc[left].fillna("")
    filled = ~np.asarray(odd.str.lower().isin(_MISSING), dtype=np.bool_)
    left, odd = left[filled], odd[filled]
    if len(left):
        floats[left] = _plain(pd.to_numeric(_decorated(odd, decimal_comma), errors="coerce").astype("Float64"))
    return floats, left[np.isnan(floats[left])]


def _parsed(text: pd.Series) -> npt.NDArray[np.float64]:
    """Texts as floats, NaN where they are none."""
    floats = _plain(pd.to_numeric(text, errors="coerce").astype("Float64")).copy()
    if _ROUNDS and (known := np.isfinite(floats)).any():
        with suppress(ValueError):  # what pandas takes for a number and Python doesn't keeps pandas' last digit
            floats[known] = np.array(text[known].to_list(), dtype=object).astype(np.float64)
    return floats


def _all_text(raw: pd.Series) -> bool:
    return pd.api.types.infer_dtype(raw, skipna=True) == "string"


def _decorated(text: pd.Series, decimal_comma: bool) -> pd.Series:
    """Numbers as people write them, without currency signs, spaces and thousands separators; 1.2M as 1.2e6."""
    plain = text.str.replace(r"[\s_$€£¥￥]|USDT?$|元$", "", regex=True)
    for sign, power in _MULTIPLES.items():
        plain = plain.str.replace(rf"(?<=[\d.]){sign}$", power, regex=True)
    if decimal_comma:
        return plain.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    grouped = plain.str.fullmatch(_THOUSANDS).fillna(False)
    return plain.where(~grouped, plain.str.replace(",", "", regex=False))


def _plain(values: pd.Series) -> npt.NDArray[np.float64]:
    return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def cell_text(value: object) -> str:
    """A cell's text, without the spaces around it; empty if it is missing."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return ""
    return str(value).strip()[:64]


def _times(table: RawTable, timezone: str | None) -> ParsedTimes:
    layout, name = table.layout, table.rows.name
    if layout.time is None:
        index = table.frame.index
        if isinstance(index, pd.RangeIndex | pd.MultiIndex) or not len(index) or table.rows.first != 0:
            raise DataError(
                f"{name} has no time column; name it timestamps, or say which it is with columns={{'timestamps': '…'}}."
            )
        return parse_timestamps(index.to_series().reset_index(drop=True), timezone, name)
    column = table.frame[layout.time].reset_index(drop=True)
    if layout.clock is not None:
        column = join_clock(column, table.frame[layout.clock].reset_index(drop=True))
    return parse_timestamps(column, timezone, name)


def _usable(
    table: RawTable, index: pd.DatetimeIndex, values: npt.NDArray[np.float64], book: FindingCollector
) -> npt.NDArray[np.bool_]:
    """Rows with a time and four finite positive prices; the rest is reported, or refused when there is much of it."""
    prices = values[:, :4]
    untimed = np.asarray(index.isna())
    blank = untimed & np.isnan(values).all(axis=1)
    missing = ~blank & ~untimed & np.isnan(prices).any(axis=1)
    infinite = ~blank & ~untimed & np.isinf(prices).any(axis=1)
    negative = ~blank & ~untimed & ~missing & ~infinite & (prices <= 0).any(axis=1)
    bad = missing | infinite | negative | (untimed & ~blank)
    kinds = (
        ("unreadable-time", "no readable time", untimed & ~blank),
        ("missing-price", "a missing price (NaN)", missing),
        ("infinite-price", "an infinite price", infinite & ~missing),
        ("nonpositive-price", "a zero or negative price", negative),
    )
    present = int((~blank).sum())
    if present and bad.sum() > max(1, BAD_SHARE * present):
        raise DataError(_refusal(table, bad, kinds, present))
    if blank.any():
        book.note("blank-row", "info", "{count} blank row(s) were skipped ({where}).", np.flatnonzero(blank))
    for code, what, where in kinds:
        if where.any():
            book.note(
                code,
                "warning",
                f"{{count}} row(s) with {what} were dropped ({{where}}).",
                np.flatnonzero(where),
            )
    keep = ~bad & ~blank
    if keep.sum() < 2:
        raise DataError(f"{table.rows.name} has {int(keep.sum())} usable row(s), but at least 2 candles are needed.")
    return np.asarray(keep, dtype=np.bool_)


def _refusal(
    table: RawTable,
    bad: npt.NDArray[np.bool_],
    kinds: tuple[tuple[str, str, npt.NDArray[np.bool_]], ...],
    present: int,
) -> str:
    first = int(bad.argmax())
    what = next(text for _, text, where in kinds if where[first])
    cell = ""
    if what == "no readable time" and table.layout.time is not None:
        cell = f" ('{truncate(table.frame[table.layout.time].iloc[first])}')"
    return (
        f"{int(bad.sum())} of {present} rows of {table.rows.name} are unusable, the first being {table.rows.word} "
        f"{table.rows.number(first)} with {what}{cell}; more than {BAD_SHARE:.0%} is not mended "
        f"silently, so mend the source."
    )


def _order(
    frame: pd.DataFrame, positions: npt.NDArray[np.int64], book: FindingCollector
) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """Sort by time; merge rows with one time, of which the last in the source is kept."""
    stamps = frame.index.as_unit("ns").asi8  # type: ignore[attr-defined]
    back = np.flatnonzero(np.diff(stamps) < 0)
    if len(back) and len(back) == np.count_nonzero(np.diff(stamps)):
        book.note("newest-first", "info", f"{book.rows.name} runs from new to old; it was turned round.")
    elif len(back):
        book.note(
            "unsorted-times",
            "warning",
            "Times go backwards {count} time(s) ({where}); the rows were sorted.",
            positions[back + 1],
        )
    order = np.argsort(stamps, kind="stable")
    frame, positions, stamps = frame.iloc[order], positions[order], stamps[order]
    last = np.append(np.diff(stamps) != 0, True)
    doubled = np.flatnonzero(~last)
    if len(doubled):
        cells = np.nan_to_num(frame.to_numpy(), nan=-1.0)
        same = np.all(cells[doubled] == cells[doubled + 1], axis=1)
        if same.any():
            book.note(
                "duplicate-row",
                "info",
                "{count} row(s) that repeat another were merged ({where}).",
                positions[doubled[same]],
            )
        if not same.all():
            message = "{count} row(s) have the time of a later row but other values and were dropped ({where})."
            book.note("duplicate-time", "warning", message, positions[doubled[~same]])
    kept, left = frame[last].copy(), positions[last]
    if len(kept) < 2:
        raise DataError(f"{book.rows.name} has {len(kept)} distinct time(s), but at least 2 candles are needed.")
    return kept, left


def _mend_prices(frame: pd.DataFrame, positions: npt.NDArray[np.int64], book: FindingCollector) -> None:
    """Swap highs and lows that changed places; widen the range to hold open and close."""
    prices = frame[list(PRICES)].to_numpy(copy=True)
    swapped = prices[:, 1] < prices[:, 2]
    prices[swapped, 1], prices[swapped, 2] = prices[swapped, 2], prices[swapped, 1]
    high, low = prices.max(axis=1), prices.min(axis=1)
    widened = (high > prices[:, 1]) | (low < prices[:, 2])
    prices[:, 1], prices[:, 2] = high, low
    if swapped.any():
        book.note(
            "high-below-low",
            "warning",
            "{count} row(s) had high below low and were swapped ({where}).",
            positions[swapped],
        )
    if widened.any():
        message = "{count} row(s) had open or close outside low … high, which was widened ({where})."
        book.note("range-too-narrow", "warning", message, positions[widened])
    if swapped.any() or widened.any():
        frame[list(PRICES)] = prices
    if np.ptp(prices) == 0:
        book.note(
            "constant-prices",
            "warning",
            f"All prices of {book.rows.name} are the same; there is nothing to forecast from.",
        )


def _fill_volume(
    frame: pd.DataFrame, positions: npt.NDArray[np.int64], table: RawTable, book: FindingCollector
) -> None:
    """Volume and amount: negative, missing and absent values; without volume both are 0, as the models were trained."""
    given = table.layout.prices
    if "volume" not in given:
        also = " (its amount is not used)" if "amount" in given else ""
        book.note("no-volume", "info", f"{book.rows.name} has no volume; volume and amount are 0{also}.")
        frame[["volume", "amount"]] = 0.0
        return
    _fill(frame, "volume", positions, book)
    if "amount" in given:
        _fill(frame, "amount", positions, book)
    else:
        # The mean price of the bar values its volume, as in the models' training data.
        frame["amount"] = np.clip(frame["volume"] * frame[list(PRICES)].mean(axis=1), 0.0, np.finfo(np.float64).max)
        book.note("no-amount", "info", f"{book.rows.name} has no amount; it was set to volume × mean price.")
    idle = np.asarray(frame["volume"] == 0)
    if idle.all():
        book.note("zero-volume", "warning", f"The volume of {book.rows.name} is 0 throughout.")
    elif idle.any():
        edges = np.flatnonzero(np.diff(np.concatenate([[0], idle.astype(np.int8), [0]])))
        longest = int((edges[1::2] - edges[::2]).max())
        book.note(
            "zero-volume",
            "info",
            f"{{count}} row(s) have zero volume, at most {longest} in a row ({{where}}).",
            positions[idle],
        )


def _fill(frame: pd.DataFrame, column: str, positions: npt.NDArray[np.int64], book: FindingCollector) -> None:
    values = frame[column].to_numpy(copy=True)
    missing, negative = ~np.isfinite(values), values < 0
    if missing.any():
        book.note(
            f"missing-{column}",
            "warning",
            f"{{count}} missing {column} value(s) were set to 0 ({{where}}).",
            positions[missing],
        )
    if (negative & ~missing).any():
        message = f"{{count}} negative {column} value(s) were set to 0 ({{where}})."
        book.note(f"negative-{column}", "warning", message, positions[negative & ~missing])
    frame[column] = np.where(missing | negative, 0.0, values)

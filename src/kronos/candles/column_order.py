"""Order of the columns of a table without header: which hold times, the four prices, volume and amount.

Times are recognised by their form. Of the numbers, high and low are the columns that bound the others in nearly every
row; open and close are told apart by continuity, since a candle opens near the previous close. The usual order needs no
more than not to be contradicted; any other one must be clearly better, or the table is refused.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd

from kronos.candles.columns import PRICES, column_position
from kronos.candles.date_formats import is_short_date, resolve_dates, split_date
from kronos.candles.findings import Note
from kronos.candles.number_format import bare_numbers, likely_format, parse_numbers, to_float_array
from kronos.candles.time_of_day import WallTimes, join_clock, time_text
from kronos.errors import DataError
from kronos.formatting import Message, join_names
from kronos.typing import FloatArray

_FITS = 0.95  # share of rows in which high and low bound open and close
_CLEAR = 0.5  # of the usual order's discontinuity, below which open and close are exchanged
_DOUBTFUL = 0.9  # below which it is doubtful whether they are
_MIN_ROWS = 20  # that continuity is judged by
_NEAR = 0.05  # median distance of another price from the close, as a logarithm
_AMOUNT = 0.05  # median distance of an amount from volume × price, as a logarithm
_SAMPLE = 2_000  # rows that the order of columns is inferred from
_MAX_PRICES = 7  # price-like columns that are tried in every order
_TIMES = (("timestamps", "date"), ("time",))
_FLAGS = ({"0", "1"}, {"1"}, {"true", "false"}, {"true"})
_MIN_FLAGS = 5
_STAMP = re.compile(r"\d{8}|\d{9,10}(?:\.\d+)?|\d{12,19}(?:\.0)?")
_COLON_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?")
_KLINES = (
    "timestamps", "open", "high", "low", "close", "volume", "close_time", "amount", "count", "taker_buy_volume",
    "taker_buy_quote_volume", "ignore",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ColumnOrder:
    """The meaning of the columns of a table without header.

    Attributes:
        labels: A label for each column; canonical where it has a meaning.
        usual: Whether the prices are in the order open, high, low, close.
    """

    labels: tuple[str, ...]
    usual: bool = True


def infer_order(rows: pd.DataFrame, numbers: Mapping[int, FloatArray], name: str, now: pd.Timestamp) -> ColumnOrder:
    """Infer the meaning of each column.

    Args:
        rows: The cells as text, with columns 0, 1, 2 … [n, width]
        numbers: The columns that hold numbers, as such. [n] each
        name: Begin of messages: the name of the table, and that it has no names of columns.
        now: The current time, which dates cannot exceed.

    Raises:
        DataError: If the order is not clear.
    """
    width = rows.shape[1]
    head = [[str(cell) for cell in rows[i].head(200)] for i in range(width)]
    # MetaStock writes the ticker, and the period of the candles, before the date.
    first = range(min(3, width - len(PRICES)))
    start = next((i for i in first if _time_share(head[i]) > _FITS), None)
    if start is None:
        start = next((i for i in first if is_short_date([str(cell) for cell in rows[i]], now)), None)
    if start is None:
        raise _unknown(name, width)
    labels = dict(enumerate(("symbol", "period")[:start]))
    if start and _is_count(head[0]):
        labels[0] = "row number"
    labels[start] = "timestamps"
    if start + 1 < width and _is_clock(head[start + 1], repeated=len(set(head[start])) < len(head[start])):
        labels[start], labels[start + 1] = "date", "time"
        start += 1
    flags = {i: "confirm" for i in (width - 1,) if i > start + len(PRICES) and _is_flag(rows[i])}
    rest = [i for i in range(start + 1, width) if i in numbers and i not in flags]
    if len(rest) < len(PRICES):
        raise _unknown(name, width)
    if width - start == len(_KLINES) and _time_share(head[start + 6]) > _FITS:
        found = {start + 1 + i: label for i, label in enumerate(_KLINES[1:])}
        labels |= found
        prices = [start + 1 + i for i in range(4)]
    else:
        prices = _find_prices(rest, numbers, _is_ascending(rows, labels, now), name)
        labels |= dict(zip(prices, PRICES, strict=True))
        labels |= _find_volumes([i for i in rest if i not in prices], numbers, prices[3], name)
    labels |= flags
    texts = [i for i in range(start + 1, width) if i not in numbers and i not in labels and any(head[i])]
    if texts and "symbol" not in labels.values():
        labels[texts[0]] = "name"
    usual = prices == sorted(prices)
    return ColumnOrder(tuple(labels.get(i, f"column {i + 1}") for i in range(width)), usual)


def _unknown(name: str, width: int) -> DataError:
    return DataError(
        Message(
            "unknown-columns",
            "{name}, and the meaning of its {count} columns is unknown: no column of dates is "
            "followed by four prices. Add the names of the columns, give their positions with "
            "columns={'open': 2}, or the line of the names with header=.",
            name=name,
            count=width,
        )
    )


def _is_flag(cells: pd.Series) -> bool:
    """Whether cells say if a candle is complete: all 1 or true, or all but that of the newest candle."""
    filled = [str(cell).strip().lower() for cell in cells]
    if len(filled) < _MIN_FLAGS or set(filled) not in _FLAGS:
        return False
    unlike = [i for i, cell in enumerate(filled) if cell in ("0", "false")]
    return unlike in ([], [0], [len(filled) - 1])


def _is_count(cells: Sequence[str]) -> bool:
    """Whether cells are whole numbers that grow by one: numbers of rows."""
    if not all(re.fullmatch(r"\d{1,9}", cell) for cell in cells):
        return False
    return len(cells) > 1 and set(np.diff([int(cell) for cell in cells])) == {1}


def _share(pattern: re.Pattern[str], cells: Sequence[str]) -> float:
    filled = [cell.strip() for cell in cells if cell.strip()]
    return sum(bool(pattern.fullmatch(cell)) for cell in filled) / len(filled) if filled else 0.0


def _time_share(cells: Sequence[str]) -> float:
    """Share of cells that are dates, or numbers of the size of times."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    times = sum(bool(_STAMP.fullmatch(cell)) or split_date(cell) is not None for cell in filled)
    return times / len(filled) if filled else 0.0


def _is_clock(cells: Sequence[str], *, repeated: bool) -> bool:
    """Whether cells are times of day: with colons, or HHMM or HHMMSS beside dates that repeat.

    Args:
        cells: The cells of the column.
        repeated: Whether the dates beside them repeat.
    """
    if _share(_COLON_CLOCK, cells) > _FITS:
        return True
    filled = [cell.strip() for cell in cells if cell.strip()]
    if not filled or not all(re.fullmatch(r"\d{1,6}", cell) for cell in filled):
        return False
    values = [int(cell) for cell in filled]
    if max(map(len, filled)) > 4:
        possible = all(v <= 240_000 and v // 100 % 100 < 60 and v % 100 < 60 for v in values)
    else:
        possible = all(v <= 2400 and v % 100 < 60 for v in values)
    return possible and (repeated or any(len(cell) > 3 and cell.startswith("0") for cell in filled))


def _is_ascending(rows: pd.DataFrame, labels: Mapping[int, str], now: pd.Timestamp) -> bool | None:
    """Whether rows go from old to new; None if their dates do not show it."""
    date, clock = (next((i for i, label in labels.items() if label in names), None) for names in _TIMES)
    column = rows[date] if clock is None else join_clock(rows[date], rows[clock])
    cells = [str(cell).strip() for cell in column]
    if _share(_STAMP, cells) > _FITS or is_short_date(cells, now):
        stamps = pd.to_numeric(pd.Series(cells), errors="coerce").to_numpy(dtype=np.float64)
    else:
        dates, wall = [split_date(cell) for cell in cells], WallTimes()
        for written in dates:
            wall.add("" if written is None else written.rest)
        seconds = np.nan_to_num(np.array(wall.seconds))
        try:
            days = resolve_dates(dates, seconds, now, "").days
        except DataError:
            return None
        stamps = np.where(np.isnat(days), np.nan, days.astype(np.int64) * 86_400.0 + seconds)
    return bool(np.nansum(np.sign(np.diff(stamps))) > 0)


def _find_prices(
    rest: Sequence[int], numbers: Mapping[int, FloatArray], ascending: bool | None, name: str
) -> list[int]:
    """The columns of open, high, low and close."""
    values = {i: numbers[i][::-1] if ascending is False else numbers[i] for i in rest}
    usual = list(rest[:4])
    fits = _fit(values, usual)
    if fits >= _FITS:
        exchanged = [usual[3], usual[1], usual[2], usual[0]]
        one, other = _discontinuity(values, usual), _discontinuity(values, exchanged)
        if ascending is None or len(values[usual[0]]) <= _MIN_ROWS or other >= _DOUBTFUL * one:
            return usual
        if other < _CLEAR * one:
            return exchanged
        raise DataError(
            Message(
                "open-or-close",
                "{name}, and its columns {first} and {last} may be open and close or close and open; add "
                "the names of the columns, or give columns={'open': {first}} and so on.",
                name=name,
                first=usual[0] + 1,
                last=usual[3] + 1,
            )
        )
    like = _price_like(rest, values)
    scores = {}
    for order in permutations(like, 4):
        share = _fit(values, order)
        if share >= _FITS:
            scores[order] = (round(share, 2), -_discontinuity(values, order) if ascending is not None else 0.0)
    if scores:
        best = max(scores, key=lambda order: scores[order])
        rivals = [order for order in scores if order != best and not _is_clear(scores[best], scores[order])]
        if not rivals:
            return list(best)
    raise DataError(
        Message(
            "no-prices-in-order",
            "{name}, and its columns {positions} are not open, high, low and close ({share} of rows "
            "contradict it); add the names of the columns, or give their positions with "
            "columns={'open': {first}} and so on.",
            name=name,
            positions=join_names([str(i + 1) for i in usual]),
            share=f"{1 - fits:.0%}",
            first=usual[0] + 1,
        )
    )


def _fit(values: Mapping[int, FloatArray], order: Sequence[int]) -> float:
    """Share of rows in which high and low bound open and close."""
    o, h, lo, c = (values[i] for i in order)
    with np.errstate(invalid="ignore"):
        fit = (h >= np.maximum(o, c)) & (lo <= np.minimum(o, c)) & (lo > 0)
    known = np.isfinite(o) & np.isfinite(h) & np.isfinite(lo) & np.isfinite(c)
    return float(np.mean(fit[known])) if known.any() else 1.0


def _discontinuity(values: Mapping[int, FloatArray], order: Sequence[int]) -> float:
    """Median relative distance of an open from the previous close."""
    opens, closes = values[order[0]], values[order[3]]
    with np.errstate(all="ignore"):
        distance = np.abs(opens[1:] / closes[:-1] - 1)
    distance = distance[np.isfinite(distance)]
    return float(np.median(distance)) if len(distance) else 0.0


def _is_clear(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] - other[0] >= 0.05 or -one[1] < _CLEAR * -other[1]


def _price_like(rest: Sequence[int], values: Mapping[int, FloatArray]) -> list[int]:
    """The columns with values near those of the first number."""
    typical = {i: float(np.nanmedian(values[i])) if np.isfinite(values[i]).any() else 0.0 for i in rest}
    near = [i for i in rest if typical[rest[0]] and 0.3 < typical[i] / typical[rest[0]] < 3]
    return near[:_MAX_PRICES]


def _find_volumes(rest: Sequence[int], numbers: Mapping[int, FloatArray], close: int, where: str) -> dict[int, str]:
    """Volume and amount among the other numbers; adjusted closes, mean prices and changes are neither.

    Raises:
        DataError: If it is not clear which is the volume.
    """
    prices = numbers[close]
    alone = len(rest) == 1 and len(prices) < _MIN_ROWS  # too few rows to show that a volume is a price
    others = [i for i in rest if alone or not _follows(numbers[i], prices)]
    labels = {i: f"adjusted or mean price {i + 1}" for i in rest if i not in others}
    others = [i for i in others if not _is_epoch(numbers[i])]
    others = [i for i in others if not np.nanmin(numbers[i], initial=0.0) < 0] or others[:1]
    if not others:
        return labels
    pairs = {
        (volume, amount): spread
        for volume, amount in permutations(others, 2)
        if (spread := _amount_spread(numbers[amount], numbers[volume], prices, reverse=amount < volume)) < _AMOUNT
    }
    if pairs:
        volume, amount = min(pairs, key=lambda pair: pairs[pair])
        return labels | {volume: "volume", amount: "amount"}
    volume = others[0]
    if not _is_first_volume([numbers[i] for i in others]):
        raise DataError(
            Message(
                "which-volume",
                "{name}, and which of its columns {positions} is the volume is not clear; add the names "
                "of the columns, or give columns={'volume': {first}}.",
                name=where,
                positions=join_names([str(i + 1) for i in others]),
                first=others[0] + 1,
            )
        )
    return labels | {volume: "volume"}


def _is_epoch(column: FloatArray) -> bool:
    """Whether numbers are times, such as those of the close of each candle: large and in order."""
    steps = np.diff(column)
    return len(steps) > 1 and bool(np.nanmin(column) > 1e8) and bool((steps > 0).all() or (steps < 0).all())


def _is_first_volume(columns: Sequence[FloatArray]) -> bool:
    """Whether the first of several numbers, none of them an amount, is a volume: the largest, or the only fraction."""
    first, others = columns[0], [c for c in columns[1:] if len(np.unique(c[np.isfinite(c)])) > 1]
    if not others or len(first) < _MIN_ROWS:
        return True
    if len(np.unique(first[np.isfinite(first)])) < 2:
        return False
    # 151,925 that was divided at its comma leaves a column of up to three digits
    grouped = bool(
        np.nanmax(others[0]) < 1000 and np.nanmax(first) < 1000 and _is_whole(first) and _is_whole(others[0])
    )
    fraction = not _is_whole(first) and all(map(_is_whole, others))
    return not grouped and (fraction or all(float(np.nanmedian(first)) > float(np.nanmedian(c)) for c in others))


def _is_whole(column: FloatArray) -> bool:
    known = column[np.isfinite(column)]
    return bool((known == np.floor(known)).all())


def _follows(column: FloatArray, prices: FloatArray) -> bool:
    """Whether a column is another price: it stays near the close, and moves with it."""
    with np.errstate(all="ignore"):
        ratio = np.log(column / prices)
        moves = np.log(prices[1:] / prices[:-1])
    ratio, moves = ratio[np.isfinite(ratio)], moves[np.isfinite(moves)]
    if len(ratio) < 3 or not len(moves) or not np.any(moves) or abs(float(np.median(ratio))) > 3:
        return bool(len(ratio)) and abs(float(np.median(ratio))) < 0.2
    if len(ratio) >= _MIN_ROWS and float(np.median(np.abs(ratio))) < _NEAR:
        return True
    return float(np.median(np.abs(np.diff(ratio)))) < float(np.median(np.abs(moves))) + 1e-12


def _amount_spread(amount: FloatArray, volume: FloatArray, prices: FloatArray, *, reverse: bool) -> float:
    """How far an amount is from volume × price times a constant, row by row; infinite if the constant is no unit.

    Args:
        amount: The column that may be the amount.
        volume: The column that may be the volume.
        prices: The close.
        reverse: Whether the amount stands before the volume, so that the constant must be 1 or 100 (lots).
    """
    with np.errstate(all="ignore"):
        ratio = amount / (volume * prices)
    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    if not len(ratio):
        return np.inf
    unit = float(np.median(ratio))
    # A volume of 226,921 may have been read as 226.921, since the notation is decided later.
    known = any(0.5 < unit / lot < 2 for lot in (1, 100)) if reverse else 0.05 < unit < 200_000
    return float(np.median(np.abs(np.log(ratio / unit)))) + (0.01 if reverse else 0.0) if known else np.inf


def infer_labels(
    frame: pd.DataFrame, name: str, now: pd.Timestamp, *, lacks: str, given: Mapping[str, Hashable]
) -> tuple[list[str], list[Note]]:
    """Labels of a table without them, and what is to be said about them.

    Args:
        frame: The cells under the labels 0, 1, 2 and so on.
        name: Name of the source in messages.
        now: The current time, which dates cannot exceed.
        lacks: What the table lacks, such as ``has no header line``.
        given: Positions of columns from 1, by canonical name.

    Raises:
        DataError: If the meaning of the columns is not clear.
    """
    unnamed = [f"column {i + 1}" for i in range(frame.shape[1])]
    found = {column_position(place, unnamed, name): canonical for canonical, place in given.items()}
    if {*PRICES, "timestamps"} <= set(found.values()):
        return [found.get(i, label) for i, label in enumerate(unnamed)], []
    sample = frame.head(_SAMPLE)
    numbers = {}
    for column in frame.columns:
        if pd.api.types.is_numeric_dtype(sample[column].dtype) and not pd.api.types.is_complex_dtype(
            sample[column].dtype
        ):
            values = to_float_array(sample[column].astype("Float64"))
        else:
            bare = bare_numbers(sample[column])
            values = parse_numbers(bare, likely_format(bare))
        if np.isfinite(values).mean() > 0.5:
            numbers[int(column)] = values
    order = infer_order(sample.map(_label_text), numbers, f"{name} {lacks}", now)
    notes = []
    if order.usual:
        notes.append(
            Note(
                "no-header",
                "info",
                Message(
                    "no-header-usual",
                    "{name} {lacks}; its columns were read in the usual order.",
                    name=name,
                    lacks=lacks,
                ),
            )
        )
    else:
        named = ", ".join(label for label in order.labels if not label.startswith("column"))
        message = Message(
            "no-header-order",
            "{name} {lacks}; its values are in the order {columns}. Add the names of the columns if this is wrong.",
            name=name,
            lacks=lacks,
            columns=named,
        )
        notes.append(Note("no-header", "warning", message))
    prices = [i + 1 for i, label in enumerate(order.labels) if label.startswith("adjusted")]
    if prices and "volume" not in order.labels:
        message = Message(
            "fifth-price",
            "Column {position} of {name} follows the prices and was not read as volume.",
            position=prices[0],
            name=name,
        )
        notes.append(Note("no-header", "warning", message))
    taken = {label: unnamed[i] for i, label in enumerate(order.labels) if label in found.values()}
    return [found.get(i, taken.get(label, label)) for i, label in enumerate(order.labels)], notes


def _label_text(value: object) -> str:
    return time_text(value) or ""

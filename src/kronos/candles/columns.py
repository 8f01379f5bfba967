"""Column names: the canonical ones, their aliases, and how a source's columns are matched to them.

A mapping given by the caller takes precedence. Otherwise labels are compared with `kronos.candles.aliases`, ignoring
case, spaces, punctuation and byte-order marks; the earlier alias wins, and two labels of the same alias are an error.
Labels that are unknown as they stand are compared without a unit in brackets: ``Volume (BTC)``.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pandas as pd

from kronos.candles.aliases import (
    CLOCK_ALIASES,
    COLUMN_ALIASES,
    DATE_ALIASES,
    FLAG_ALIASES,
    NAME_ALIASES,
    NEAR_AMOUNT,
    NEAR_VOLUME,
    QUOTE_UNITS,
    SYMBOL_ALIASES,
    TICK_ALIASES,
    TIME_ALIASES,
)
from kronos.errors import DataError, ParameterError
from kronos.formatting import Message, join_names, truncate

COLUMNS = ("open", "high", "low", "close", "volume", "amount")
PRICES = COLUMNS[:4]
TIME = "timestamps"
MAX_COLUMNS = 2_000
_REPEATED = 0.05  # share of rows with the time of another, from which on several instruments are looked for

SYMBOL = "symbol"
_UNIT = re.compile(r"[_\s]*[(\[（【]([^()\[\]（）【】]*)[)\]）】]\s*$")
_NUMBERED = re.compile(r"^\d+[a-z]?\.\s+")  # Alpha Vantage writes "1. open" and "1a. open (USD)"


class NoCandlesError(DataError):
    """A table with at most one of the four price columns: it does not hold candles."""


def normalize_label(name: object) -> str:
    """A label in the form that is compared: lower case, without number, spaces, byte-order mark, ``_ < > . / -``."""
    text = _NUMBERED.sub("", str(name).replace("\ufeff", "").strip().lower())
    return re.sub(r"[\s_<>./\-]+", "", text)


def split_unit(name: object) -> tuple[str, str]:
    """A label without its unit in brackets, and the unit: ``成交量(手)`` → ``成交量`` and ``手``; empty if none."""
    text = str(name).strip()
    match = _UNIT.search(text)
    return (text[: match.start()], match[1].strip()) if match and match.start() else (text, "")


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The columns of a source: canonical name → the source's own label.

    Attributes:
        prices: Labels of the numeric columns, at least the four prices.
        time: Label of the time column; None if the index holds the times.
        clock: Label of the time of day if ``time`` holds only dates.
        symbol: Label of the column that names the instrument, if there is one.
        doubtful_symbol: Label of a column that names the instrument if its values tell rows of the same time apart.
        ticks: Label of a tick count in addition to the traded volume; it replaces a volume that is all zero.
        labels: All labels of the source.
        units: Units in brackets of the labels in use, by canonical name.
        near: Labels that resemble an optional column that was not found, by its canonical name.
        given: Canonical names that the caller mapped.
        flag: Label of a column that is 0 or false while a candle is still forming.
    """

    prices: Mapping[str, Hashable]
    time: Hashable | None
    clock: Hashable | None = None
    symbol: Hashable | None = None
    ticks: Hashable | None = None
    doubtful_symbol: Hashable | None = None
    labels: tuple[Hashable, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    near: Mapping[str, Hashable] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    flag: Hashable | None = None

    @property
    def used_labels(self) -> list[Hashable]:
        """Labels of the columns to read."""
        extra = (self.time, self.clock, self.symbol, self.doubtful_symbol, self.ticks, self.flag)
        return list(dict.fromkeys([*(label for label in extra if label is not None), *self.prices.values()]))


def count_prices(labels: Sequence[Hashable]) -> int:
    """How many of the four price columns have a label, with or without a unit."""
    found = {normalize_label(form) for label in labels for form in (label, split_unit(label)[0])}
    return sum(not found.isdisjoint(COLUMN_ALIASES[price]) for price in PRICES)


def find_layout(labels: Sequence[Hashable], columns: Mapping[str, Hashable] | None, name: str) -> ColumnLayout:
    """Match the column labels of a source to the canonical names.

    Args:
        labels: The source's column labels.
        columns: ``{"close": "Last Price", "timestamps": "When"}`` or the reverse; takes precedence over aliases. A
            number that is no label is the position of a column, from 1.
        name: Name of the source in messages.

    Raises:
        DataError: If a price column is missing or two columns have the same meaning.
        ParameterError: If ``columns`` contains an unknown name.
    """
    if len(labels) > MAX_COLUMNS:
        raise DataError(f"{name} has {len(labels)} columns, too many for candles; select at most {MAX_COLUMNS}.")
    given = _given_columns(columns or {}, labels, name)
    matcher = _Matcher([label for label in labels if label not in given.values()], name)
    found: dict[str, Hashable] = {}
    for canonical in COLUMNS:
        label = given[canonical] if canonical in given else matcher.match(COLUMN_ALIASES[canonical])
        if label is not None:
            found[canonical] = label
            matcher.take(label)  # Volumen is an amount beside Stück, and a volume without it
    _check_prices(found, labels, name)
    if "volume" not in found:
        found |= matcher.volumes()
    symbol = given.get(SYMBOL, matcher.match(SYMBOL_ALIASES))
    doubtful = None if symbol is not None else matcher.first(NAME_ALIASES)
    ticks = None if "volume" in given else matcher.match(TICK_ALIASES)
    time, clock = (given[TIME], None) if TIME in given else matcher.times()
    layout = ColumnLayout(
        prices=found,
        time=time,
        clock=clock,
        symbol=symbol,
        ticks=None if ticks == found.get("volume") else ticks,
        labels=tuple(labels),
        doubtful_symbol=doubtful,
        near=matcher.near(found),
        given=frozenset(given),
        flag=matcher.first(FLAG_ALIASES),
    )
    used = {**found, TIME: time}
    units = {canonical: split_unit(label)[1] for canonical, label in used.items() if label is not None}
    return replace(layout, units={canonical: unit for canonical, unit in units.items() if unit})


def guess_roles(labels: Sequence[Hashable], columns: Mapping[str, Hashable], name: str) -> list[str]:
    """What each column would be read as, also of a table that `find_layout` refuses; empty where it is not used.

    Args:
        labels: The source's column labels.
        columns: As for `find_layout`; left out if it contradicts the labels.
        name: Name of the source.
    """
    try:
        layout = find_layout(labels, columns, name)
        found = {**layout.prices, TIME: layout.time, "clock": layout.clock, SYMBOL: layout.symbol}
    except (DataError, ParameterError):
        try:
            found = dict(_given_columns(columns, labels, name))
        except (DataError, ParameterError):
            found = {}
        matcher = _Matcher([label for label in labels if label not in found.values()], name)
        aliases = {TIME: TIME_ALIASES, **COLUMN_ALIASES, SYMBOL: SYMBOL_ALIASES}
        for role in [role for role in aliases if role not in found]:
            with suppress(DataError):  # two columns may have this role
                label = found[role] = matcher.match(aliases[role])
                matcher.take(label)
    roles = {label: role for role, label in found.items() if label is not None}
    return ["" if label in labels[:i] else roles.get(label, "") for i, label in enumerate(labels)]


class _Matcher:
    """Matches the labels of a source that the caller did not map."""

    def __init__(self, labels: Sequence[Hashable], name: str) -> None:
        self._name = name
        self._exact: dict[str, list[Hashable]] = {}
        self._bare: dict[str, list[Hashable]] = {}  # without their units
        for label in labels:
            self._exact.setdefault(normalize_label(label), []).append(label)
            stem, unit = split_unit(label)
            if unit:
                self._bare.setdefault(normalize_label(stem), []).append(label)

    def take(self, label: Hashable) -> None:
        """Leave a label out of later matches."""
        for labels in (self._exact, self._bare):
            for same in labels.values():
                if label in same:
                    same.remove(label)

    def match(self, aliases: Sequence[str]) -> Hashable | None:
        """The label of the first alias that a column has."""
        for labels in (self._exact, self._bare):
            for alias in aliases:
                matching = labels.get(alias, [])
                if len(matching) > 1:
                    if labels is self._bare and alias in COLUMN_ALIASES["volume"]:
                        return None  # volumes in two units
                    both = _quote(matching[:2])
                    raise DataError(
                        Message(
                            "two-columns",
                            "{name} has two columns with the same meaning, {columns}; drop one or pass columns=.",
                            name=self._name,
                            columns=both,
                        )
                    )
                if matching:
                    return matching[0]
        return None

    def first(self, aliases: Sequence[str]) -> Hashable | None:
        """The first label of the first alias that a column has."""
        return next((self._exact[alias][0] for alias in aliases if self._exact.get(alias)), None)

    def times(self) -> tuple[Hashable | None, Hashable | None]:
        """The labels of the times, and of the times of day if the former are only dates."""
        date, clock, time = map(self.match, (DATE_ALIASES, CLOCK_ALIASES, TIME_ALIASES))
        if date is None or clock is None or date == clock:
            return time, None
        stem = {normalize_label(time), normalize_label(split_unit(time)[0])}
        return (date, clock) if not stem.isdisjoint({*DATE_ALIASES, *CLOCK_ALIASES}) else (time, None)

    def volumes(self) -> dict[str, Hashable]:
        """Volume and amount if both are called volume with their unit: ``Volume BTC`` and ``Volume USDT``."""
        in_units = [label for alias in COLUMN_ALIASES["volume"] for label in self._bare.get(alias, [])]
        pair = in_units or [
            label for k, same in self._exact.items() if re.fullmatch("volume[a-z]{3,5}", k) for label in same
        ]
        if len(pair) != 2:
            return {}
        if in_units and split_unit(pair[0])[1].lower() in QUOTE_UNITS:
            pair.reverse()
        return {"volume": pair[0], "amount": pair[1]}

    def near(self, found: Mapping[str, Hashable]) -> dict[str, Hashable]:
        """Labels that resemble those of a missing optional column."""
        unused = [label for same in self._exact.values() for label in same if label not in found.values()]
        near: dict[str, Hashable] = {}
        for canonical, pattern in (("volume", NEAR_VOLUME), ("amount", NEAR_AMOUNT)):
            resembling = [label for label in unused if pattern.search(str(label))]
            if canonical not in found and resembling:
                near[canonical] = resembling[0]
        return near


def _given_columns(columns: Mapping[str, Hashable], labels: Sequence[Hashable], name: str) -> dict[str, Hashable]:
    canonical = (*COLUMNS, TIME, SYMBOL)
    pairs: list[tuple[Hashable, Hashable]] = list(columns.items())
    if pairs and not any(ours in canonical for ours, _ in pairs):
        pairs = [(ours, theirs) for theirs, ours in pairs]
    given: dict[str, Hashable] = {}
    for ours, theirs in pairs:
        if ours not in canonical:
            raise ParameterError(f"Unknown name '{ours}' in columns=: choose from {', '.join(canonical)}.")
        position = column_position(theirs, labels, name)
        stripped = {label.strip(): label for label in labels if isinstance(label, str)}
        if position is None and theirs not in labels and theirs not in stripped:
            raise DataError(
                Message(
                    "unknown-column",
                    "{name} has no column '{label}', given in columns= as {column}; it has {labels}.",
                    name=name,
                    label=f"{theirs}",
                    column=f"{ours}",
                    labels=_quote(labels),
                )
            )
        given[str(ours)] = (
            labels[position] if position is not None else theirs if theirs in labels else stripped[str(theirs)]
        )
    return given


def column_position(column: Hashable, labels: Sequence[Hashable], name: str) -> int | None:
    """The index of a column that is given by its position, from 1; None if it is given by its label.

    Raises:
        DataError: If there is no such position.
    """
    digits = str(column).strip()
    if column in labels or digits in labels or isinstance(column, bool) or not re.fullmatch(r"[+-]?\d{1,6}", digits):
        return None
    if not 1 <= int(digits) <= len(labels):
        raise DataError(
            Message(
                "unknown-position",
                "{name} has no column {position}, given in columns=: its columns are 1 to {count}.",
                name=name,
                position=digits,
                count=len(labels),
            )
        )
    return int(digits) - 1


def _check_prices(found: Mapping[str, Hashable], labels: Sequence[Hashable], name: str) -> None:
    missing = [p for p in PRICES if p not in found]
    if missing:
        word = "column" if len(missing) == 1 else "columns"
        error = NoCandlesError if len(missing) >= len(PRICES) - 1 else DataError
        raise error(
            Message(
                "missing-columns",
                "{name} has no {word} for {columns}; it has {labels}: rename them, or map them with "
                "columns={'{first}': '…'}.",
                name=name,
                word=word,
                columns=", ".join(missing),
                labels=_quote(labels),
                first=missing[0],
            )
        )


def _quote(labels: Sequence[Hashable]) -> str:
    return join_names([f"'{truncate(label)}'" for label in labels], 8) or "none"


def confirm_symbol(layout: ColumnLayout, frame: pd.DataFrame) -> ColumnLayout:
    """The layout, with a column such as ``Name`` as symbol if its few values tell rows of the same time apart."""
    if layout.doubtful_symbol is None:
        return layout
    times = [frame.index if layout.time is None else frame[layout.time]]
    if layout.clock is not None:
        times.append(frame[layout.clock])
    keys = pd.DataFrame({i: [str(value) for value in column] for i, column in enumerate(times)})
    repeated = int(keys.duplicated().sum())
    if repeated <= _REPEATED * len(keys):
        return layout
    names = [str(value).strip() for value in frame[layout.doubtful_symbol]]
    apart = int(keys.assign(name=names).duplicated().sum()) < repeated / 10
    few = len(set(names)) <= len(names) / 2 and not all(re.fullmatch(r"[\d.,]*", name) for name in set(names))
    return replace(layout, symbol=layout.doubtful_symbol) if apart and few else layout

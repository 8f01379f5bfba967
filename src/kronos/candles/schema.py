"""Column names: the canonical ones, their aliases, and how a source's columns are matched to them.

A mapping given by the caller takes precedence. Otherwise labels are compared with a list of aliases, ignoring case,
spaces, punctuation and byte-order marks; the earlier alias wins, and two labels of the same alias are an error.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from kronos.errors import DataError, ParameterError
from kronos.formatting import join_names, truncate

COLUMNS = ("open", "high", "low", "close", "volume", "amount")
PRICES = COLUMNS[:4]
TIME = "timestamps"
MAX_COLUMNS = 2_000

_ALIASES: dict[str, tuple[str, ...]] = {
    TIME: (
        "timestamps", "timestamp", "datetime", "opentime", "ds", "tradetime", "candlebegintime", "bartime", "gmttime",
        "localtime", "unixtime", "unix", "epoch", "ts", "dateandtime", "时间", "日期时间", "交易时间", "date",
        "tradedate", "tradingday", "day", "日期", "交易日期", "time", "unnamed:0", "indexlevel0", "index",
    ),
    "open": ("open", "o", "openprice", "priceopen", "开盘", "开盘价", "今开"),
    "high": ("high", "h", "highprice", "pricehigh", "max", "最高", "最高价"),
    "low": ("low", "l", "lowprice", "pricelow", "min", "最低", "最低价"),
    "close": ("close", "c", "closeprice", "priceclose", "closelast", "last", "收盘", "收盘价", "price"),
    "volume": ("volume", "vol", "v", "volumetraded", "basevolume", "tickvolume", "tickvol", "成交量", "总手"),
    "amount": (
        "amount", "amt", "turnover", "quotevolume", "quoteassetvolume", "money", "value", "totalturnover",
        "成交额", "成交金额",
    ),
}  # fmt: skip
_DATES = ("date", "tradedate", "tradingday", "day", "日期", "交易日期")
_CLOCKS = ("time", "tradetime", "clock", "hour", "时间", "交易时间")
_TICKS = ("tickvolume", "tickvol")
_SYMBOLS = ("uniqueid", "symbol", "ticker", "code", "tscode", "instrument", "代码", "股票代码", "证券代码")


class NoCandlesError(DataError):
    """A table with at most one of the four price columns: it does not hold candles."""


def normalize_label(name: object) -> str:
    """A column label in the form that is compared: lower case, without spaces, byte-order mark and ``_ < > . / -``."""
    text = str(name).replace("\ufeff", "").strip().lower()
    return re.sub(r"[\s_<>./\-]+", "", text)


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The columns of a source: canonical name → the source's own label.

    Attributes:
        prices: Labels of the numeric columns, at least the four prices.
        time: Label of the time column; None if the index holds the times.
        clock: Label of the time of day if ``time`` holds only dates.
        symbol: Label of the column that names the instrument, if there is one.
        ticks: Label of a tick count in addition to the traded volume; it replaces a volume that is all zero.
        labels: All labels of the source.
    """

    prices: Mapping[str, Hashable]
    time: Hashable | None
    clock: Hashable | None = None
    symbol: Hashable | None = None
    ticks: Hashable | None = None
    labels: tuple[Hashable, ...] = ()

    @property
    def used_labels(self) -> list[Hashable]:
        """Labels of the columns to read."""
        extra = [label for label in (self.time, self.clock, self.symbol, self.ticks) if label is not None]
        return list(dict.fromkeys([*extra, *self.prices.values()]))


def find_layout(labels: Sequence[Hashable], columns: Mapping[str, str] | None, name: str) -> ColumnLayout:
    """Match the column labels of a source to the canonical names.

    Args:
        labels: The source's column labels.
        columns: ``{"close": "Last Price", "timestamps": "When"}`` or the reverse; takes precedence over aliases.
        name: Name of the source in messages.

    Raises:
        DataError: If a price column is missing or two columns have the same meaning.
        ParameterError: If ``columns`` contains an unknown name.
    """
    if len(labels) > MAX_COLUMNS:
        raise DataError(f"{name} has {len(labels)} columns, too many for candles; select at most {MAX_COLUMNS}.")
    given = _given_columns(columns or {}, labels, name)
    unassigned: dict[str, list[Hashable]] = {}
    for label in labels:
        if label not in given.values():
            unassigned.setdefault(normalize_label(label), []).append(label)
    found: dict[str, Hashable] = {}
    for canonical in COLUMNS:
        label = given.get(canonical, _match(_ALIASES[canonical], unassigned, name))
        if label is not None:
            found[canonical] = label
    _check_prices(found, labels, name)
    if "volume" not in found:
        # CryptoDataDownload names both by currency: Volume BTC, Volume USDT.
        pair = [label for k, same in unassigned.items() if re.fullmatch("volume[a-z]{3,5}", k) for label in same]
        if len(pair) == 2:
            found["volume"], found["amount"] = pair
    symbol = _match(_SYMBOLS, unassigned, name)
    ticks = None if "volume" in given else _match(_TICKS, unassigned, name)
    ticks = None if ticks == found.get("volume") else ticks
    if TIME in given:
        return ColumnLayout(found, given[TIME], symbol=symbol, ticks=ticks, labels=tuple(labels))
    date, clock = _match(_DATES, unassigned, name), _match(_CLOCKS, unassigned, name)
    time = _match(_ALIASES[TIME], unassigned, name)
    if date is None or clock is None or normalize_label(time) not in (*_DATES, *_CLOCKS):
        return ColumnLayout(found, time, symbol=symbol, ticks=ticks, labels=tuple(labels))
    return ColumnLayout(found, date, clock, symbol, ticks, tuple(labels))


def _match(aliases: Sequence[str], unassigned: Mapping[str, list[Hashable]], name: str) -> Hashable | None:
    for alias in aliases:
        matching = unassigned.get(alias, [])
        if len(matching) > 1:
            both = _quote(matching[:2])
            raise DataError(f"{name} has two columns with the same meaning, {both}; drop one or pass columns=.")
        if matching:
            return matching[0]
    return None


def _given_columns(columns: Mapping[str, str], labels: Sequence[Hashable], name: str) -> dict[str, Hashable]:
    canonical = (*COLUMNS, TIME)
    pairs = dict(columns)
    if pairs and not any(k in canonical for k in pairs):
        pairs = {v: k for k, v in pairs.items()}
    for ours, theirs in pairs.items():
        if ours not in canonical:
            raise ParameterError(f"Unknown name '{ours}' in columns=: choose from {', '.join(canonical)}.")
        if theirs not in labels:
            raise DataError(f"{name} has no column '{theirs}', given in columns= as {ours}; it has {_quote(labels)}.")
    return dict(pairs)


def _check_prices(found: Mapping[str, Hashable], labels: Sequence[Hashable], name: str) -> None:
    missing = [p for p in PRICES if p not in found]
    if missing:
        word = "column" if len(missing) == 1 else "columns"
        error = NoCandlesError if len(missing) >= len(PRICES) - 1 else DataError
        raise error(
            f"{name} has no {word} for {', '.join(missing)}; it has {_quote(labels)}: rename them, "
            f"or map them with columns={{'{missing[0]}': '…'}}."
        )


def _quote(labels: Sequence[Hashable]) -> str:
    return join_names([f"'{truncate(label)}'" for label in labels], 8) or "none"

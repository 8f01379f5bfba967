"""Which column is which: canonical names, what the world calls them, and how a file's names are matched.

A mapping given by the caller always wins. Otherwise names are compared without case, spaces, punctuation or byte-order
marks against a list of aliases; where several match, the earlier alias wins, and a true tie is an error.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from kronos.errors import DataError, ParameterError
from kronos.formatting import truncate

COLUMNS = ("open", "high", "low", "close", "volume", "amount")
PRICES = COLUMNS[:4]
TIME = "timestamps"
LIMIT_COLUMNS = 2_000

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
    """A table that has at most one of the four price columns: it holds something else than candles."""


def key(name: object) -> str:
    """A column's name as it is compared: lower case, without spaces, byte-order mark and the signs ``_ < > . / -``."""
    text = str(name).replace("\ufeff", "").strip().lower()
    return re.sub(r"[\s_<>./\-]+", "", text)


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """Where a source keeps what: canonical name → the source's own column label.

    Attributes:
        prices: Labels of the numeric columns found, at least the four prices.
        time: Label of the time column; None if the index holds the time.
        clock: Label of a column holding the time of day when ``time`` holds only the date.
        symbol: Label of a column that names the instrument, if there is one.
        ticks: Label of a column that counts ticks, beside one of traded volume; it serves if the latter is all zero.
    """

    prices: Mapping[str, Hashable]
    time: Hashable | None
    clock: Hashable | None = None
    symbol: Hashable | None = None
    ticks: Hashable | None = None
    labels: tuple[Hashable, ...] = field(default=())

    @property
    def wanted(self) -> list[Hashable]:
        """Every label that has to be read."""
        extra = [label for label in (self.time, self.clock, self.symbol, self.ticks) if label is not None]
        return list(dict.fromkeys([*extra, *self.prices.values()]))


def find_layout(labels: Sequence[Hashable], columns: Mapping[str, str] | None, name: str) -> ColumnLayout:
    """Match a source's column labels with the canonical names.

    Args:
        labels: The source's column labels.
        columns: ``{"close": "Last Price", "timestamps": "When"}`` (or the other way round); wins over aliases.
        name: What the source is called in messages.

    Raises:
        DataError: If a price column is missing or two columns claim the same meaning.
        ParameterError: If ``columns`` names something unknown.
    """
    if len(labels) > LIMIT_COLUMNS:
        raise DataError(
            f"{name} has {len(labels)} columns, which is no table of candles; select at most {LIMIT_COLUMNS}."
        )
    given = _explicit(columns or {}, labels, name)
    free: dict[str, list[Hashable]] = {}
    for label in labels:
        if label not in given.values():
            free.setdefault(key(label), []).append(label)
    found: dict[str, Hashable] = {}
    for canonical in COLUMNS:
        label = given.get(canonical, _first(_ALIASES[canonical], free, name))
        if label is not None:
            found[canonical] = label
    _require_prices(found, labels, name)
    if "volume" not in found:
        # CryptoDataDownload says both by currency: Volume BTC, Volume USDT.
        pair = [label for k, same in free.items() if re.fullmatch("volume[a-z]{3,5}", k) for label in same]
        if len(pair) == 2:
            found["volume"], found["amount"] = pair
    symbol = _first(_SYMBOLS, free, name)
    ticks = None if "volume" in given else _first(_TICKS, free, name)
    ticks = None if ticks == found.get("volume") else ticks
    if TIME in given:
        return ColumnLayout(found, given[TIME], symbol=symbol, ticks=ticks, labels=tuple(labels))
    date, clock = _first(_DATES, free, name), _first(_CLOCKS, free, name)
    time = _first(_ALIASES[TIME], free, name)
    if date is None or clock is None or key(time) not in (*_DATES, *_CLOCKS):
        return ColumnLayout(found, time, symbol=symbol, ticks=ticks, labels=tuple(labels))
    return ColumnLayout(found, date, clock, symbol, ticks, tuple(labels))


def _first(aliases: Sequence[str], free: Mapping[str, list[Hashable]], name: str) -> Hashable | None:
    for alias in aliases:
        matching = free.get(alias, [])
        if len(matching) > 1:
            both = " and ".join(f"'{truncate(label)}'" for label in matching[:2])
            raise DataError(f"{name} has two columns that mean the same, {both}; drop one or say columns=.")
        if matching:
            return matching[0]
    return None


def _explicit(columns: Mapping[str, str], labels: Sequence[Hashable], name: str) -> dict[str, Hashable]:
    canonical = (*COLUMNS, TIME)
    pairs = dict(columns)
    if pairs and not any(k in canonical for k in pairs):
        pairs = {v: k for k, v in pairs.items()}
    for ours, theirs in pairs.items():
        if ours not in canonical:
            raise ParameterError(f"columns= names '{ours}', but the names are {', '.join(canonical)}.")
        if theirs not in labels:
            raise DataError(f"{name} has no column '{theirs}' (asked for as {ours}); it has {_listed(labels)}.")
    return dict(pairs)


def _require_prices(found: Mapping[str, Hashable], labels: Sequence[Hashable], name: str) -> None:
    missing = [p for p in PRICES if p not in found]
    if missing:
        word = "column" if len(missing) == 1 else "columns"
        error = NoCandlesError if len(missing) >= len(PRICES) - 1 else DataError
        raise error(
            f"{name} has no {word} for {', '.join(missing)}; it has {_listed(labels)}: rename them, "
            f"or say which is which with columns={{'{missing[0]}': '…'}}."
        )


def _listed(labels: Sequence[Hashable]) -> str:
    quoted = ", ".join(f"'{truncate(label)}'" for label in labels[:8]) or "none"
    return quoted + (f" and {len(labels) - 8} more" if len(labels) > 8 else "")

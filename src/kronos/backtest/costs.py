"""`TradingCosts` and `TradingRules`: what a trade costs, and which trades a market allows.

Both may name other values for some markets, so that instruments of several markets are traded by their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from kronos.errors import ParameterError
from kronos.typing import FloatArray

DealPrice = Literal["open", "close"]
BASIS_POINT = 1e-4


@dataclass(frozen=True, slots=True)
class TradingCosts:
    """Costs of an order, by side.

    The defaults are those of the published backtest: 0.10 % of a purchase, 0.15 % of a sale, at least 5 per order.

    Attributes:
        open_rate: Fee of a purchase as a share of its value.
        close_rate: Fee of a sale as a share of its value; taxes included.
        minimum: Least fee of an order, in the currency of the account.
        slippage: Distance of the price paid from the deal price, against the trader, in basis points.
        borrow_rate: Fee a year of borrowing shares for short positions, as a share of their value.
        markets: Costs of instruments of some markets instead of these; slippage and borrow rate are these everywhere.
    """

    open_rate: float = 0.0010
    close_rate: float = 0.0015
    minimum: float = 5.0
    slippage: float = 0.0
    borrow_rate: float = 0.0
    markets: Mapping[str, TradingCosts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("open_rate", "close_rate"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ParameterError(f"Invalid {name} {value}: choose a share from 0 to below 1, such as 0.001.")
        if not (self.minimum >= 0 and math.isfinite(self.minimum)):
            raise ParameterError(f"Invalid minimum {self.minimum}: choose a fee of 0 or more.")
        if not 0 <= self.slippage < 10_000:
            raise ParameterError(f"Invalid slippage {self.slippage}: choose basis points from 0 to below 10,000.")
        if not 0 <= self.borrow_rate < 10:
            raise ParameterError(f"Invalid borrow_rate {self.borrow_rate}: choose a rate a year, such as 0.03.")

    @classmethod
    def free(cls) -> TradingCosts:
        """Trading without costs."""
        return cls(open_rate=0.0, close_rate=0.0, minimum=0.0)

    def of(self, market: str) -> TradingCosts:
        """The costs of an instrument of a market."""
        return self.markets.get(market, self)

    def fees(self, values: FloatArray, *, buy: bool) -> FloatArray:
        """Fee of each order of these values: ``max(value · rate, minimum)``, and 0 for an order of value 0."""
        charged = np.maximum(values * (self.open_rate if buy else self.close_rate), self.minimum)
        return np.where(values > 0, charged, 0.0)

    def affordable(self, cash: float, price: float) -> float:
        """Number of shares that cash pays for, fee included; not rounded."""
        # The fee is proportional above the value at which value · rate = minimum, and the minimum below it.
        proportional = cash / (1 + self.open_rate)
        value = min(proportional, cash - self.minimum)
        return max(value, 0.0) / price


@dataclass(frozen=True, slots=True)
class MarketRules:
    """Rules of one market among several; the defaults are those of single shares without limits.

    Attributes:
        lot_size: Shares of a lot, as in `TradingRules`.
        share_size: What one share is of the quoted unit.
        price_limit: Daily price limit as a share of the previous close; None where there is none.
        t_plus: 1 where shares that were bought today cannot be sold today (T+1), else 0.
    """

    lot_size: int = 1
    share_size: float = 1.0
    price_limit: float | None = None
    t_plus: Literal[0, 1] = 0

    def __post_init__(self) -> None:
        if self.lot_size < 1:
            raise ParameterError(f"Invalid lot_size {self.lot_size}: choose 1 or more shares.")
        if not (self.share_size > 0 and math.isfinite(self.share_size)):
            raise ParameterError(f"Invalid share_size {self.share_size}: choose a size above 0.")
        if self.price_limit is not None and not 0 < self.price_limit < 1:
            raise ParameterError(f"Invalid price_limit {self.price_limit}: choose a share such as 0.095, or None.")
        if self.t_plus not in (0, 1):
            raise ParameterError(f"Invalid t_plus {self.t_plus}: choose 0 or 1.")


@dataclass(frozen=True, slots=True)
class TradingRules:
    """Rules of a market and of the execution in it.

    Attributes:
        lot_size: Shares of a lot; purchases are whole lots. A whole holding may be sold with its odd shares.
        share_size: What one share is of the quoted unit: 1, or such as 1e-6 for coins that trade in millionths.
        price_limit: Daily price limit as a share of the previous close, such as 0.095; None where there is none. At the
            upper limit nothing can be bought, at the lower limit nothing can be sold. Bars longer than a day have none.
        limit_price: Price by which the limit is judged: ``deal`` for the price of the trade itself; ``close`` for the
            close of the day, which a trade at the open cannot know: it is there to measure what the look-ahead is
            worth.
        t_plus: 1 where shares that were bought today cannot be sold today (T+1), else 0.
        deal_price: Price of trades: the open or the close of the bar.
        lag: Bars from a signal to its trades, at least 1.
        short_sales: Whether more shares can be sold than are held.
        delisting_days: Bars of the panel without one of the instrument after which a position is settled as delisted;
            None keeps it at its latest close for ever, which hides what delistings cost. Choose more than the longest
            suspension.
        delisting_value: Price of a settlement as a share of the latest close; 0 for a total loss.
        markets: Lots, share size, price limit and T+1 of instruments of some markets instead of these.
    """

    lot_size: int = 100
    share_size: float = 1.0
    price_limit: float | None = 0.095
    limit_price: Literal["deal", "close"] = "deal"
    t_plus: Literal[0, 1] = 1
    deal_price: DealPrice = "open"
    lag: int = 1
    short_sales: bool = False
    delisting_days: int | None = None
    delisting_value: float = 1.0
    markets: Mapping[str, MarketRules] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.of("")  # checks lots, sizes, limit and T+1
        if self.lag < 1:
            raise ParameterError(f"Invalid lag {self.lag}: a signal can be traded from the next bar on, so choose ≥ 1.")
        if self.delisting_days is not None and self.delisting_days < 1:
            raise ParameterError(f"Invalid delisting_days {self.delisting_days}: choose 1 or more bars, or None.")
        if not 0 <= self.delisting_value <= 1:
            raise ParameterError(f"Invalid delisting_value {self.delisting_value}: choose a share from 0 to 1.")
        choices = {"limit_price": ("deal", "close"), "deal_price": ("open", "close")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ParameterError(f"Invalid {name} {getattr(self, name)}: choose {allowed[0]} or {allowed[1]}.")

    def of(self, market: str) -> MarketRules:
        """Lots, share size, price limit and T+1 of an instrument of a market."""
        own = self.markets.get(market)
        return own or MarketRules(self.lot_size, self.share_size, self.price_limit, self.t_plus)

    @classmethod
    def unrestricted(cls, *, deal_price: DealPrice = "open", share_size: float = 1.0) -> TradingRules:
        """A market of single shares without price limits or T+1, such as US equities or, with small shares, coins."""
        return cls(lot_size=1, share_size=share_size, price_limit=None, t_plus=0, deal_price=deal_price)


__all__ = ["DealPrice", "MarketRules", "TradingCosts", "TradingRules"]

"""`Account`: cash and whole shares of a backtest, and the ledger of their changes. Used by the day loop only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.backtest.costs import BASIS_POINT, TradingCosts
from kronos.backtest.results import refusal_table, trade_table
from kronos.typing import BoolArray, FloatArray, IntArray

_SAME_SHARES = 1e-6  # relative distance from a whole number that is the rounding of a factor, as of float32


@dataclass(eq=False, slots=True)
class Orders:
    """Orders of one side on one day, the most important first."""

    columns: IntArray
    shares: IntArray
    prices: FloatArray


class Ledger:
    """Rows of trades and refusals, collected as arrays and joined once at the end."""

    def __init__(self) -> None:
        self._trades: list[tuple[int, bool, IntArray, IntArray, FloatArray, FloatArray, FloatArray]] = []
        self._refused: list[tuple[int, bool, IntArray, str]] = []

    def trade(
        self, row: int, *, buy: bool, orders: Orders, prices: FloatArray, fees: FloatArray, slippage: FloatArray
    ) -> None:
        """Note trades at these prices."""
        self._trades.append((row, buy, orders.columns, orders.shares, prices, fees, slippage))

    def refuse(self, row: int, columns: IntArray, reason: str, *, buy: bool) -> None:
        """Note orders that were not carried out."""
        if len(columns):
            self._refused.append((row, buy, columns, reason))

    def trades(self, dates: pd.DatetimeIndex, instruments: tuple[str, ...]) -> pd.DataFrame:
        """The table of trades in the order in which they happened."""
        rows, buys, columns, shares, prices, fees, slippage = (
            zip(*self._trades, strict=True) if self._trades else [()] * 7
        )
        counts = [len(one) for one in columns]
        price, count = _joined(prices, np.float64), _joined(shares, np.int64)
        sides, names = _sides(buys, counts), _names(instruments, columns)
        values = (names, sides, count, price, price * count, _joined(fees, np.float64), _joined(slippage, np.float64))
        return trade_table(dates, np.repeat(np.array(rows, np.int64), counts), values)

    def refused(self, dates: pd.DatetimeIndex, instruments: tuple[str, ...]) -> pd.DataFrame:
        """The table of refused orders in the order in which they were given."""
        rows, buys, columns, reasons = zip(*self._refused, strict=True) if self._refused else [()] * 4
        counts = [len(one) for one in columns]
        why = np.repeat(np.array(reasons, dtype=object), counts)
        values = (_names(instruments, columns), _sides(buys, counts), why)
        return refusal_table(dates, np.repeat(np.array(rows, np.int64), counts), values)


def _joined(parts: tuple[npt.NDArray[Any], ...], dtype: type) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype)


def _names(instruments: tuple[str, ...], columns: tuple[IntArray, ...]) -> npt.NDArray[np.object_]:
    names: npt.NDArray[np.object_] = np.array(instruments, dtype=object)[_joined(columns, np.int64)]
    return names


def _sides(buys: tuple[bool, ...], counts: list[int]) -> npt.NDArray[np.object_]:
    return np.repeat(np.array(["buy" if buy else "sell" for buy in buys], dtype=object), counts)


class Account:
    """Cash and whole shares; every order is carried out as far as the cash goes, so that it is never negative.

    Args:
        cash: Cash to start with.
        costs: Costs of orders, by instrument [N].
        lots: Shares of a lot [N].
        slippage: Slippage in basis points.
        ledger: Where trades and refusals are noted.
    """

    def __init__(
        self, cash: float, costs: Sequence[TradingCosts], lots: IntArray, slippage: float, ledger: Ledger
    ) -> None:
        instruments = len(costs)
        self.cash = cash
        self.shares = np.zeros(instruments, np.int64)
        self.bought_today = np.zeros(instruments, np.int64)
        self.days_held = np.zeros(instruments, np.int64)
        self._costs, self._lots, self._ledger = costs, lots, ledger
        self._slippage = slippage * BASIS_POINT
        self._rates = {
            buy: np.array([one.open_rate if buy else one.close_rate for one in costs]) for buy in (True, False)
        }
        self._minimum = np.array([one.minimum for one in costs])

    def fees(self, columns: IntArray, values: FloatArray, *, buy: bool) -> FloatArray:
        """Fee of each order of these values, as `TradingCosts.fees`."""
        charged = np.maximum(values * self._rates[buy][columns], self._minimum[columns])
        return np.where(values > 0, charged, 0.0)

    def filled_price(self, prices: FloatArray, *, buy: bool) -> FloatArray:
        """Price paid or received: the deal price moved against the trader by the slippage."""
        return prices * (1 + self._slippage if buy else 1 - self._slippage)

    def affordable(self, column: int, cash: float, price: float) -> float:
        """Number of shares that cash pays for, fee included; not rounded."""
        return self._costs[column].affordable(cash, price)

    def convert(self, ratios: FloatArray, prices: FloatArray) -> None:
        """Convert shares on a change of the adjustment factor, such as a split; fractions of a share become cash.

        Args:
            ratios: New shares for one old share [N].
            prices: Latest close prices of one new share [N]: the value of the fractions.
        """
        changed = np.flatnonzero((self.shares != 0) & (ratios != 1))
        if not len(changed):
            return
        exact = self.shares[changed] * ratios[changed]
        nearest = np.rint(exact)
        is_whole = np.abs(exact - nearest) <= _SAME_SHARES * np.abs(exact)
        whole = np.where(is_whole, nearest, np.trunc(exact))
        fractions = np.where(is_whole, 0.0, exact - whole)
        self.shares[changed] = whole.astype(np.int64)
        # The fractions of a short position are owed: they may take more cash than there is only if the account is lost.
        self.cash += float(fractions @ prices[changed])

    def settle(self, row: int, columns: IntArray, prices: FloatArray) -> None:
        """Close positions at given prices without fees or slippage, as on a delisting."""
        shares, free = self.shares[columns], np.zeros(len(columns))
        self.cash += float(shares @ prices)
        for long in (True, False):
            side = (shares > 0) == long
            if side.any():
                orders = Orders(columns[side], np.abs(shares[side]), prices[side])
                self._ledger.trade(
                    row, buy=not long, orders=orders, prices=prices[side], fees=free[side], slippage=free[side]
                )
        self.shares[columns] = self.days_held[columns] = 0

    def sell(self, row: int, orders: Orders) -> None:
        """Sell; an order whose minimum fee exceeds its value and the cash is refused."""
        prices = self.filled_price(orders.prices, buy=False)
        values = prices * orders.shares
        fees = self.fees(orders.columns, values, buy=False)
        proceeds = values - fees
        if self.cash + np.minimum.accumulate(np.cumsum(proceeds)).min(initial=0.0) < 0:
            kept = self._payable(proceeds)
            self._ledger.refuse(row, orders.columns[~kept], "not enough cash", buy=False)
            orders = Orders(orders.columns[kept], orders.shares[kept], orders.prices[kept])
            prices, fees, proceeds = prices[kept], fees[kept], proceeds[kept]
        self.cash += float(proceeds.sum())
        self.shares[orders.columns] -= orders.shares
        self.days_held[orders.columns[self.shares[orders.columns] <= 0]] = 0
        self._note(row, orders, prices, fees, buy=False)

    def buy(self, row: int, orders: Orders) -> None:
        """Buy in order; what the cash does not pay for is cut to whole lots, and the rest refused."""
        prices = self.filled_price(orders.prices, buy=True)
        fees = self.fees(orders.columns, prices * orders.shares, buy=True)
        total = float((prices * orders.shares + fees).sum())
        if total > self.cash:
            orders = self._cut(row, orders, prices)
            prices = self.filled_price(orders.prices, buy=True)
            fees = self.fees(orders.columns, prices * orders.shares, buy=True)
            total = float((prices * orders.shares + fees).sum())
        # Orders that were cut to the cash one by one may exceed it together, by the rounding of floats.
        self.cash = max(self.cash - total, min(self.cash, 0.0))
        self.days_held[orders.columns[self.shares[orders.columns] <= 0]] = 0
        self.shares[orders.columns] += orders.shares
        self.bought_today[orders.columns] += orders.shares
        self._note(row, orders, prices, fees, buy=True)

    def close_day(self) -> None:
        """Count the close of the day for what is held."""
        self.days_held = np.where(self.shares != 0, self.days_held + 1, 0)

    def _payable(self, proceeds: FloatArray) -> BoolArray:
        kept, cash = np.ones(len(proceeds), dtype=np.bool_), self.cash
        for number, proceed in enumerate(proceeds.tolist()):
            kept[number] = cash + proceed >= 0
            cash += proceed if kept[number] else 0.0
        return kept

    def _cut(self, row: int, orders: Orders, prices: FloatArray) -> Orders:
        shares, cash = orders.shares.copy(), self.cash
        for number, (column, price) in enumerate(zip(orders.columns.tolist(), prices.tolist(), strict=True)):
            most = int(self.affordable(column, cash, price) * (1 + 1e-12))
            if shares[number] > most:
                lot = int(self._lots[column])
                shares[number] = most // lot * lot
            value = price * int(shares[number])
            cash -= value + float(self._costs[column].fees(np.array([value]), buy=True)[0])
        self._ledger.refuse(row, orders.columns[shares < orders.shares], "not enough cash", buy=True)
        kept = shares > 0
        return Orders(orders.columns[kept], shares[kept], orders.prices[kept])

    def _note(self, row: int, orders: Orders, prices: FloatArray, fees: FloatArray, *, buy: bool) -> None:
        if len(orders.columns):
            slippage = orders.prices * orders.shares * self._slippage
            self._ledger.trade(row, buy=buy, orders=orders, prices=prices, fees=fees, slippage=slippage)


__all__ = ["Account", "Ledger", "Orders"]

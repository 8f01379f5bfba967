"""`BacktestResult`: the account of a backtest day by day, its trades and the orders that were refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kronos.errors import DataError
from kronos.typing import FloatArray, IntArray

_TRADE_TYPES = {"instrument": "str", "side": "str", "shares": "int64"} | dict.fromkeys(
    ("price", "value", "fee", "slippage"), "float64"
)
_REFUSAL_TYPES = dict.fromkeys(("instrument", "side", "reason"), "str")
TRADE_COLUMNS = ("date", *_TRADE_TYPES)
REFUSAL_COLUMNS = ("date", *_REFUSAL_TYPES)
DAILY = ("net_asset_value", "cash", "returns", "returns_before_costs", "turnover", "fees", "slippage")


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """Account of a backtest over T days and N instruments.

    Attributes:
        dates: The T days.
        instruments: The N names.
        start_cash: Cash before the first day.
        net_asset_value: Cash and holdings at the close prices, after costs [T]. A holding without a bar is worth its
            latest close.
        cash: Cash at the end of the day [T].
        positions: Shares held at the end of the day [T, N]; negative if sold short.
        returns: Change of the net asset value as a share of that of the day before, after costs [T].
        returns_before_costs: The same with the day's fees and slippage added back [T].
        turnover: Value of the day's purchases and sales as a share of the net asset value of the day before [T].
        fees: Fees of the day, those of borrowed shares included [T].
        slippage: Slippage of the day [T].
        trades: One row per trade: date, instrument, side (``buy`` or ``sell``), shares (above 0), price (paid or
            received), value, fee, slippage.
        refused: One row per order or part of one that was not carried out: date, instrument, side, reason.
    """

    dates: pd.DatetimeIndex
    instruments: tuple[str, ...]
    start_cash: float
    net_asset_value: FloatArray
    cash: FloatArray
    positions: IntArray
    returns: FloatArray
    returns_before_costs: FloatArray
    turnover: FloatArray
    fees: FloatArray
    slippage: FloatArray
    trades: pd.DataFrame
    refused: pd.DataFrame

    def __post_init__(self) -> None:
        days = len(self.dates)
        for name in DAILY:
            if getattr(self, name).shape != (days,):
                raise DataError(f"{name} has the shape {getattr(self, name).shape}; {days} days need ({days},).")
        if self.positions.shape != (days, len(self.instruments)):
            raise DataError(f"positions has the shape {self.positions.shape}; one row a day is needed.")
        if tuple(self.trades.columns) != TRADE_COLUMNS or tuple(self.refused.columns) != REFUSAL_COLUMNS:
            raise DataError(
                "The tables need the columns " + ", ".join(TRADE_COLUMNS) + "; " + ", ".join(REFUSAL_COLUMNS)
            )

    @classmethod
    def from_account(
        cls,
        dates: pd.DatetimeIndex,
        instruments: tuple[str, ...],
        start_cash: float,
        *,
        net_asset_value: FloatArray,
        cash: FloatArray,
        positions: IntArray,
        trades: pd.DataFrame,
        refused: pd.DataFrame,
        borrowing: FloatArray | None = None,
    ) -> BacktestResult:
        """Derive returns, turnover and costs of every day from the values of the account and its trades.

        ``borrowing`` is what borrowed shares cost each day [T]; None for nothing.
        """
        days = dates.get_indexer(pd.DatetimeIndex(trades["date"]))
        fees, slippage, traded = (
            np.bincount(days, weights=trades[column].to_numpy(np.float64), minlength=len(dates)).astype(np.float64)
            for column in ("fee", "slippage", "value")
        )
        if borrowing is not None:
            fees = fees + borrowing
        before = np.concatenate([[start_cash], net_asset_value[:-1]])
        # A lost account has no returns any more: its net asset value of 0 or less is no base of a share.
        base = np.where(before > 0, before, np.nan)
        earned = net_asset_value - before
        return cls(
            dates=dates,
            instruments=instruments,
            start_cash=start_cash,
            net_asset_value=net_asset_value,
            cash=cash,
            positions=positions,
            returns=np.nan_to_num(earned / base),
            returns_before_costs=np.nan_to_num((earned + fees + slippage) / base),
            turnover=np.nan_to_num(traded / base),
            fees=fees,
            slippage=slippage,
            trades=trades,
            refused=refused,
        )

    def __len__(self) -> int:
        return len(self.dates)

    def __repr__(self) -> str:
        span = f"{self.dates[0]} … {self.dates[-1]}"
        return (
            f"<BacktestResult {span}: {len(self):,} days, {len(self.instruments)} instruments, {len(self.trades):,} "
            f"trades, {self.start_cash:,.2f} → {self.net_asset_value[-1]:,.2f}>"
        )

    @property
    def holdings(self) -> IntArray:
        """Number of instruments held at the end of each day [T]."""
        held: IntArray = np.sum(self.positions != 0, axis=1, dtype=np.int64)
        return held

    def to_frame(self) -> pd.DataFrame:
        """One row a day: net asset value, cash, returns, turnover, fees, slippage and the number of holdings."""
        columns = {name: getattr(self, name) for name in DAILY} | {"holdings": self.holdings}
        return pd.DataFrame(columns, index=self.dates.rename("date"))

    def positions_frame(self) -> pd.DataFrame:
        """Shares held, one row a day and one column an instrument."""
        return pd.DataFrame(self.positions, index=self.dates.rename("date"), columns=list(self.instruments))


def trade_table(dates: pd.DatetimeIndex, rows: Sequence[int] | IntArray, columns: Sequence[Any]) -> pd.DataFrame:
    """The table of trades from the rows of their dates and the columns after the date; the same types if empty."""
    return _table(dates, rows, columns, _TRADE_TYPES)


def refusal_table(dates: pd.DatetimeIndex, rows: Sequence[int] | IntArray, columns: Sequence[Any]) -> pd.DataFrame:
    """The table of refused orders from the rows of their dates and the columns after the date."""
    return _table(dates, rows, columns, _REFUSAL_TYPES)


def _table(
    dates: pd.DatetimeIndex, rows: Sequence[int] | IntArray, columns: Sequence[Any], types: Mapping[str, str]
) -> pd.DataFrame:
    # Typed from the start: a conversion of the finished table takes four times as long, and a study makes hundreds.
    values = {name: pd.Series(one, dtype=kind) for (name, kind), one in zip(types.items(), columns, strict=True)}
    when = dates[np.asarray(rows, dtype=np.int64)]
    return pd.DataFrame({"date": when} | values)


__all__ = ["REFUSAL_COLUMNS", "TRADE_COLUMNS", "BacktestResult", "refusal_table", "trade_table"]

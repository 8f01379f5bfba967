"""`run_published`: the backtest of the published results as Qlib executes it, look-ahead included.

The published figures come from Qlib's ``TopkDropoutStrategy``, traded by its ``SimulatorExecutor``. This module repeats
its rules to the share, so that they can be compared with `run_backtest` and `TopkDropout`, the corrected form, on the
same scores. Equality with Qlib 0.9.7 is tested. The rules, and what the corrected form does instead:

1. Limits (look-ahead): an instrument is at its limit if its *close* is, although trades happen at the open. What opens
   free and closes at the limit is left out with hindsight. Corrected: the price of the trade itself is compared.
2. Limits (both sides): at either limit nothing is bought and nothing sold. Corrected: only purchases at the upper and
   sales at the lower limit are refused, as on the exchange.
3. Missing open price (look-ahead): the trade is made at the close of the same day. Corrected: it is refused.
4. Volume 0: a bar is traded whatever its volume. Corrected: no volume is a suspension.
5. Cash: 95 % of it is divided by the number of *all* purchases, so the part of those that cannot be traded stays idle.
   Corrected: it is divided among those that can be traded. The fee comes on top; corrected: it is part of the budget.
6. Refused sales: purchases are not reduced by sales that the limit, a suspension or the days held refuse, so there come
   to be up to k + drop holdings. Corrected: purchases stop at k.
7. No drops: with ``drop=0`` every holding counts as one of "the last 0", so all are sold whenever they may be.
   Corrected: none is.
8. Shares are fractions of adjusted shares, whole lots only on the day of the purchase. A dividend makes a holding an
   odd number, and a sale sells it with its fraction. Corrected: shares are whole, and fractions are paid out in cash.
9. T+1: not checked; ``hold_days`` of 1 or more implies it. Corrected: checked by the account.
10. Missing scores: where more than ``drop`` holdings have no score and there is nothing to buy, Qlib sells the ones
    that a set of names happens to end with, so that its result differs from run to run; here they go by name, as they
    do in Qlib on every other day. Corrected: by the order of the panel, and a holding without a bar on the day of the
    signal stays.
11. Few instruments: the worst ``drop`` holdings are sold even if there is nothing else to buy, and bought again a day
    later. Corrected: a holding is sold for a better one, to get down to k, or because it has no score.
12. Figures: daily excess returns are averaged and multiplied by 238, not compounded; see `published_figures`.

Equal in both: signals of day t are traded on t + 1; fees are ``max(value · rate, minimum)`` per order; sales come
before purchases; a holding without a bar keeps its latest close as its price.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from kronos.backtest.costs import DealPrice, TradingCosts
from kronos.backtest.engine import check_scores
from kronos.backtest.market import MarketPanel
from kronos.backtest.results import REFUSAL_COLUMNS, TRADE_COLUMNS, BacktestResult, refusal_table, trade_table
from kronos.backtest.strategies import check_share
from kronos.errors import ParameterError
from kronos.typing import BoolArray, FloatArray, IntArray

PUBLISHED_DAYS = 238  # trading days by which Qlib annualises
_NO_PRICE = 1e-8  # a deal price up to this counts as missing
_NO_VALUE = 1e-5  # a trade of up to this value does not happen
_WHOLE_SHARE = 0.1  # added before rounding down to lots


@dataclass(frozen=True, slots=True)
class PublishedSettings:
    """Settings of the published backtest; the defaults are the published ones.

    Attributes:
        k: Instruments to hold.
        drop: Most holdings to replace in a day.
        hold_days: Least number of closes between purchase and sale.
        costs: Fees by side; without slippage.
        price_limit: Change from close to close from which an instrument is at its limit; None for no limits.
        limit_both_sides: Whether an instrument at either limit is neither bought nor sold (Qlib's
            ``forbid_all_trade_at_limit``).
        lot_size: Shares of a lot.
        deal_price: Price of trades.
        cash_share: Share of the cash that is spent on purchases.
        cash: Cash to start with.
    """

    k: int = 50
    drop: int = 5
    hold_days: int = 5
    costs: TradingCosts = field(default_factory=TradingCosts)
    price_limit: float | None = 0.095
    limit_both_sides: bool = True
    lot_size: int = 100
    deal_price: DealPrice = "open"
    cash_share: float = 0.95
    cash: float = 1e8

    def __post_init__(self) -> None:
        if self.k < 1 or self.drop < 0:
            raise ParameterError(f"Invalid k={self.k}, drop={self.drop}: choose k ≥ 1 and drop ≥ 0.")
        if self.costs.slippage:
            raise ParameterError("The published backtest has no slippage; leave it at 0.")
        check_share("cash_share", self.cash_share)


def run_published(
    panel: MarketPanel,
    scores: FloatArray,
    settings: PublishedSettings | None = None,
    *,
    change: FloatArray | None = None,
    start: str | pd.Timestamp | None = None,
    end: str | pd.Timestamp | None = None,
) -> BacktestResult:
    """Trade scores as Qlib does.

    Args:
        panel: The bars. If a factor is missing where there is a close, Qlib ignores lots, and so does this.
        scores: Scores [T, N]; NaN where there is none.
        settings: Settings; None for the published ones.
        change: Change of the close [T, N] by which limits are judged, the field ``change`` of a Qlib folder; None for
            that from the latest close before.
        start: First trading day; the scores of the day before are traded on it. None for the first of the panel.
        end: Last trading day, inclusive; None for the last of the panel.

    Returns:
        The account. Positions are adjusted shares × factor, rounded to whole shares.

    Raises:
        ParameterError: If the scores or changes do not fit the panel.
    """
    check_scores(panel, scores)
    if change is not None and change.shape != scores.shape:
        raise ParameterError(f"change has the shape {change.shape}; this panel needs {scores.shape}.")
    span = panel.rows(start, end)
    return _PublishedLoop(panel, scores, settings or PublishedSettings(), change, span).run()


class _PublishedLoop:
    """State of one published backtest. Columns are walked by name: Qlib breaks ties, and orders NaN, by name."""

    def __init__(
        self,
        panel: MarketPanel,
        scores: FloatArray,
        settings: PublishedSettings,
        change: FloatArray | None,
        span: slice,
    ) -> None:
        self._panel, self._settings, self._span = panel, settings, span
        self._scores = scores if panel.membership is None else np.where(panel.membership, scores, np.nan)
        self._names = np.argsort(np.array(panel.instruments, dtype=object), kind="stable")
        self._no_bar = np.isnan(panel.close)
        self._price = _deal_prices(panel, settings.deal_price)
        if change is None:
            change = panel.close / panel.previous_close - 1
        self._at_upper, self._at_lower = _at_limits(change, settings.price_limit)
        bars = ~self._no_bar[span]
        self._in_lots = not np.isnan(panel.factor[span][bars]).any()
        count = len(panel.instruments)
        self._cash = settings.cash
        self._amounts = np.zeros(count)  # adjusted shares
        self._closes = np.zeros(count)  # latest prices of the holdings
        self._days_held = np.zeros(count, np.int64)
        self._trades: list[tuple[Any, ...]] = []
        self._refused: list[tuple[Any, ...]] = []

    def run(self) -> BacktestResult:
        days = self._span.stop - self._span.start
        values, cash = np.empty(days), np.empty(days)
        positions = np.empty((days, len(self._panel.instruments)), np.int64)
        for day, row in enumerate(range(self._span.start, self._span.stop)):
            if row and not np.isnan(self._scores[row - 1]).all():
                self._trade(row)
            bars = ~self._no_bar[row]
            self._closes[bars] = self._panel.close[row, bars]
            self._days_held = np.where(self._amounts > 0, self._days_held + 1, 0)
            values[day] = self._cash + float(self._amounts @ self._closes)
            cash[day] = self._cash
            factor = self._panel.last_factor[row] if self._in_lots else 1.0
            positions[day] = np.rint(self._amounts * factor).astype(np.int64)
        dates, names = self._panel.dates[self._span], self._panel.instruments
        return BacktestResult.from_account(
            dates,
            names,
            self._settings.cash,
            net_asset_value=values,
            cash=cash,
            positions=positions,
            trades=_table(trade_table, self._panel.dates, self._trades, len(TRADE_COLUMNS)),
            refused=_table(refusal_table, self._panel.dates, self._refused, len(REFUSAL_COLUMNS)),
        )

    def _trade(self, row: int) -> None:
        sales, purchases = self._select(self._scores[row - 1])
        for column in sales.tolist():
            self._sell(row, column)
        if not len(purchases):
            return
        # All purchases count here, also those that cannot be traded: their part of the cash stays idle (rule 5).
        budget = self._cash * self._settings.cash_share / len(purchases)
        for column in purchases.tolist():
            if self._tradable(row, column, buy=True):
                self._buy(row, column, self._round(row, column, budget / float(self._price[row, column])))

    def _select(self, scores: FloatArray) -> tuple[IntArray, IntArray]:
        """Instruments to sell and to buy. The last 0 of the ranking are all of it (rule 7)."""
        settings = self._settings
        is_held = self._amounts[self._names] > 0
        held, others = self._names[is_held], self._names[~is_held & ~np.isnan(scores[self._names])]
        others = others[np.argsort(-scores[others], kind="stable")]
        candidates = others[: settings.drop + settings.k - len(held)]
        ranking = self._names[np.isin(self._names, np.concatenate([held, candidates]))]
        ranking = ranking[np.argsort(-scores[ranking], kind="stable")]
        sales = held[np.isin(held, ranking[-settings.drop :])]
        return sales, candidates[: len(sales) + settings.k - len(held)]

    def _tradable(self, row: int, column: int, *, buy: bool) -> bool:
        """Whether the market lets a side trade; notes a refusal."""
        upper, lower = bool(self._at_upper[row, column]), bool(self._at_lower[row, column])
        limited = (upper or lower) if self._settings.limit_both_sides else (upper if buy else lower)
        if not (self._no_bar[row, column] or limited):
            return True
        self._refuse(row, column, "no bar" if self._no_bar[row, column] else "price limit", buy=buy)
        return False

    def _sell(self, row: int, column: int) -> None:
        """Sell a whole holding."""
        if not self._tradable(row, column, buy=False):
            return
        if self._days_held[column] < self._settings.hold_days:
            self._refuse(row, column, "held too briefly", buy=False)
            return
        amount, costs = float(self._amounts[column]), self._settings.costs
        value = amount * float(self._price[row, column])
        if value <= _NO_VALUE or self._cash + value < max(value * costs.close_rate, costs.minimum):
            self._refuse(row, column, "not enough cash", buy=False)
            return
        fee = max(value * costs.close_rate, costs.minimum)
        self._cash += value - fee
        self._amounts[column] = 0.0
        self._days_held[column] = 0
        self._note(row, column, amount, value, fee, buy=False)

    def _buy(self, row: int, column: int, amount: float) -> None:
        """Buy an amount, or the lots that the cash pays for."""
        price, costs = float(self._price[row, column]), self._settings.costs
        value = amount * price
        fee = max(value * costs.open_rate, costs.minimum)
        if self._cash < value + fee:
            # Nothing at all if the cash does not even cover the fee of the whole order.
            most = costs.affordable(self._cash, price) if self._cash >= fee else 0.0
            amount = self._round(row, column, min(most, amount))
            value = amount * price
            fee = max(value * costs.open_rate, costs.minimum)
            self._refuse(row, column, "not enough cash", buy=True)
        elif value <= _NO_VALUE:
            self._refuse(row, column, "less than a lot", buy=True)
        if value <= _NO_VALUE:
            return
        self._cash -= value + fee
        self._amounts[column] += amount
        self._closes[column] = price
        self._note(row, column, amount, value, fee, buy=True)

    def _round(self, row: int, column: int, amount: float) -> float:
        """Round adjusted shares down to whole lots of shares."""
        if not self._in_lots:
            return amount
        factor, lot = float(self._panel.factor[row, column]), self._settings.lot_size
        return (amount * factor + _WHOLE_SHARE) // lot * lot / factor

    def _note(self, row: int, column: int, amount: float, value: float, fee: float, *, buy: bool) -> None:
        factor = float(self._panel.factor[row, column]) if self._in_lots else 1.0
        price = float(self._price[row, column]) / factor
        side = "buy" if buy else "sell"
        shares = round(amount * factor)
        name = self._panel.instruments[column]
        self._trades.append((row, name, side, shares, price, value, fee, 0.0))

    def _refuse(self, row: int, column: int, reason: str, *, buy: bool) -> None:
        side = "buy" if buy else "sell"
        self._refused.append((row, self._panel.instruments[column], side, reason))


def _table(
    make: Callable[[pd.DatetimeIndex, Sequence[int], Sequence[Any]], pd.DataFrame],
    dates: pd.DatetimeIndex,
    rows: list[tuple[Any, ...]],
    width: int,
) -> pd.DataFrame:
    first, *others = zip(*rows, strict=True) if rows else [()] * width
    return make(dates, first, others)


def _deal_prices(panel: MarketPanel, deal_price: DealPrice) -> FloatArray:
    """Prices of trades [T, N]; the close where the open is missing (rule 3)."""
    if deal_price == "close":
        return panel.close
    missing = np.isnan(panel.open) | (panel.open <= _NO_PRICE)
    return np.where(missing, panel.close, panel.open)


def _at_limits(change: FloatArray, limit: float | None) -> tuple[BoolArray, BoolArray]:
    """Whether the change of the close is at the upper and lower limit [T, N] (rule 1), in float32 as Qlib's fields."""
    if limit is None:
        nowhere = np.zeros(change.shape, dtype=np.bool_)
        return nowhere, nowhere
    single = change.astype(np.float32)
    return single >= np.float32(limit), single <= np.float32(-limit)


@dataclass(frozen=True, slots=True)
class PublishedFigures:
    """Figures of daily excess returns as Qlib's ``risk_analysis`` defines them.

    Attributes:
        annualised_return: Mean daily excess return × 238. Compounding is ignored.
        information_ratio: Mean / standard deviation (n − 1) × √238.
        max_drawdown: Largest fall of the *sum* of excess returns from its maximum, as a number ≤ 0.
    """

    annualised_return: float
    information_ratio: float
    max_drawdown: float


def published_figures(
    result: BacktestResult, benchmark: FloatArray | None = None, *, before_costs: bool = False
) -> PublishedFigures:
    """Figures of the returns in excess of a benchmark.

    Args:
        result: Account of a backtest.
        benchmark: Daily returns of the benchmark, such as SH000300, on the days of the result [T]; None for 0.
        before_costs: Whether costs are left out: the curve that Qlib's report calls ``return``.

    Raises:
        ParameterError: If the benchmark has another length.
    """
    excess = result.returns_before_costs if before_costs else result.returns
    if benchmark is not None:
        if benchmark.shape != excess.shape:
            raise ParameterError(f"The benchmark has {len(benchmark)} returns; the result has {len(excess)} days.")
        excess = excess - np.nan_to_num(benchmark)
    spread = float(np.std(excess, ddof=1)) if len(excess) > 1 else 0.0
    total = np.cumsum(excess)
    return PublishedFigures(
        annualised_return=float(np.mean(excess)) * PUBLISHED_DAYS,
        information_ratio=float(np.mean(excess)) / spread * PUBLISHED_DAYS**0.5 if spread > 0 else float("nan"),
        max_drawdown=float((total - np.maximum.accumulate(total)).min()),
    )


__all__ = ["PUBLISHED_DAYS", "PublishedFigures", "PublishedSettings", "published_figures", "run_published"]

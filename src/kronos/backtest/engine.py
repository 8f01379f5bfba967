"""`run_backtest`: the day loop, from scores and a strategy to an account."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.backtest.account import Account, Ledger, Orders
from kronos.backtest.costs import MarketRules, TradingCosts, TradingRules
from kronos.backtest.market import MarketPanel
from kronos.backtest.results import BacktestResult
from kronos.backtest.strategies import Decision, MarketDay, Strategy
from kronos.errors import ParameterError
from kronos.typing import BoolArray, FloatArray, IntArray

_FREE = ""
_REASONS = (_FREE, "no bar", "no volume", "no price", "price limit")
_YEAR = 365  # days, of the rate of borrowing
_WHOLE = 1e-9  # relative: 2.9999999999 lots are 3


def run_backtest(
    panel: MarketPanel,
    scores: FloatArray,
    strategy: Strategy,
    *,
    costs: TradingCosts | None = None,
    rules: TradingRules | None = None,
    cash: float = 1e8,
    start: str | pd.Timestamp | None = None,
    end: str | pd.Timestamp | None = None,
) -> BacktestResult:
    """Trade the decisions of a strategy.

    The strategy decides after the close of day t, from the scores of day t and the holdings at its close; the decision
    is traded on day t + lag at the open or the close. Every trading day runs in this order: shares are converted by a
    change of the adjustment factor; borrowed shares are paid for; positions in delisted instruments are settled; sales;
    purchases; valuation at the close; the next decision.

    Args:
        panel: The bars.
        scores: Scores [T, N]; NaN where there is none.
        strategy: The strategy.
        costs: Costs of orders; None for those of the published backtest.
        rules: Rules of the market; None for those of Chinese A-shares.
        cash: Cash to start with.
        start: First trading day; the scores of the days before it are traded on it. None for the first of the panel.
        end: Last trading day, inclusive; None for the last of the panel.

    Raises:
        ParameterError: If the scores do not fit the panel, or a decision is not allowed by the rules.
    """
    check_scores(panel, scores)
    if not (cash > 0 and np.isfinite(cash)):
        raise ParameterError(f"Invalid cash {cash}: choose an amount above 0.")
    span = panel.rows(start, end)
    return _DayLoop(panel, scores, strategy, costs or TradingCosts(), rules or TradingRules(), cash).run(span)


def check_scores(panel: MarketPanel, scores: FloatArray) -> None:
    """Refuse scores of another shape than the panel, and infinite ones.

    Raises:
        ParameterError: If the scores do not fit.
    """
    shape = panel.close.shape
    if scores.shape != shape:
        raise ParameterError(f"The scores have the shape {scores.shape}; this panel needs {shape}, a row per time.")
    if np.isinf(scores).any():
        row, column = np.argwhere(np.isinf(scores))[0]
        raise ParameterError(
            f"The score of {panel.instruments[column]} at {panel.dates[row]} is infinite; use NaN for a missing score."
        )


@dataclass(frozen=True, eq=False, slots=True)
class _Quotes:
    """What every day offers, at prices per share of the exchange [T, N].

    Attributes:
        deal: Price of trades; NaN where nothing can be traded.
        close: Latest close price.
        before: Latest close price before the day, per share of the day: the value of what cannot be traded.
        ratios: Shares of the day for one share of the day before.
        buying: Index in `_REASONS` of why nothing can be bought.
        selling: The same for sales.
    """

    deal: FloatArray
    close: FloatArray
    before: FloatArray
    ratios: FloatArray
    buying: IntArray
    selling: IntArray

    @classmethod
    def of(cls, panel: MarketPanel, rules: TradingRules) -> _Quotes:
        price = panel.open if rules.deal_price == "open" else panel.close
        factor, size = panel.last_factor, np.array([own.share_size for own in _market_rules(panel, rules)])
        # Later conditions replace earlier ones, so the most fundamental reason comes last.
        up, down = _at_limit(panel, rules, price)
        obstacles = ((np.isnan(price), "no price"), (panel.volume == 0, "no volume"), (np.isnan(panel.close), "no bar"))
        buying, selling = (np.where(limited, _REASONS.index("price limit"), 0) for limited in (up, down))
        for found, reason in obstacles:
            buying[found] = selling[found] = _REASONS.index(reason)
        ratios = np.ones_like(factor)
        ratios[1:] = factor[1:] / factor[:-1]
        per_share = size / factor
        return cls(
            deal=price * per_share,
            close=np.nan_to_num(panel.last_close * per_share),
            before=np.nan_to_num(panel.previous_close * per_share),
            ratios=ratios,
            buying=buying,
            selling=selling,
        )


def _at_limit(panel: MarketPanel, rules: TradingRules, price: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Whether the upper and the lower price limit is reached [T, N]."""
    limits = [own.price_limit for own in _market_rules(panel, rules)]
    if panel.is_longer_than_daily or not any(limits):
        nowhere = np.zeros(price.shape, dtype=np.bool_)
        return nowhere, nowhere
    limit = np.array([np.inf if own is None else own for own in limits])
    judged = price if rules.limit_price == "deal" else panel.close
    # Both prices are adjusted, so that an ex-dividend day is compared with the adjusted close, as exchanges do.
    # The limits of a day are those of all its bars.
    change = judged / panel.previous_session_close - 1
    return change >= limit, change <= -limit


def _market_rules(panel: MarketPanel, rules: TradingRules) -> list[MarketRules]:
    """The rules of each instrument's market [N]."""
    return [rules.of(market) for market in panel.markets or ("",) * len(panel.instruments)]


class _DayLoop:
    """State of one backtest."""

    def __init__(
        self,
        panel: MarketPanel,
        scores: FloatArray,
        strategy: Strategy,
        costs: TradingCosts,
        rules: TradingRules,
        cash: float,
    ) -> None:
        self._panel, self._strategy, self._costs, self._rules = panel, strategy, costs, rules
        self._start_cash = cash
        self._ledger = Ledger()
        own = _market_rules(panel, rules)
        self._lots = np.array([one.lot_size for one in own], dtype=np.int64)
        self._t_plus = np.array([one.t_plus for one in own], dtype=np.int64)
        charged = [costs.of(market) for market in panel.markets or ("",) * len(own)]
        self._account = Account(cash, charged, self._lots, costs.slippage, self._ledger)
        self._quotes = _Quotes.of(panel, rules)
        self._listed = ~np.isnan(panel.close)
        if panel.membership is not None:
            scores = np.where(panel.membership, scores, np.nan)
            self._listed &= panel.membership
        self._scores = scores
        self._missing = panel.bars_missed
        sessions = panel.dates.normalize()
        self._begins_session = np.append(False, sessions[1:] != sessions[:-1])

    def run(self, span: slice) -> BacktestResult:
        days = span.stop - span.start
        values, cash = np.empty(days), np.empty(days)
        borrowing = np.zeros(days)
        positions = np.empty((days, len(self._panel.instruments)), np.int64)
        # Decisions wait here until their bar; those of the days before the first trading day are made without holdings.
        pending: deque[Decision | None] = deque([None] * self._rules.lag, maxlen=self._rules.lag)
        first = max(0, span.start - self._rules.lag)
        value = self._start_cash
        for row in range(first, span.stop):
            if row >= span.start:
                day = row - span.start
                value, borrowing[day] = self._trade(row, pending[0])
                values[day], cash[day], positions[day] = value, self._account.cash, self._account.shares
            pending.append(self._decide(row, row - first, value))
        dates, names = self._panel.dates, self._panel.instruments
        return BacktestResult.from_account(
            dates[span],
            names,
            self._start_cash,
            net_asset_value=values,
            cash=cash,
            positions=positions,
            borrowing=borrowing,
            trades=self._ledger.trades(dates, names),
            refused=self._ledger.refused(dates, names),
        )

    def _decide(self, row: int, number: int, value: float) -> Decision | None:
        if value <= 0:  # the short positions have taken the whole account
            return None
        held = self._account.shares
        decision = self._strategy.decide(
            MarketDay(
                number=number,
                scores=self._scores[row].copy(),
                listed=self._listed[row].copy(),
                has_bar=~np.isnan(self._panel.close[row]),
                shares=held.copy(),
                days_held=self._account.days_held.copy(),
                weights=held * self._quotes.close[row] / value,
            )
        )
        if decision is not None:
            self._check(decision)
        return decision

    def _check(self, decision: Decision) -> None:
        targets = decision.targets
        if targets.shape != self._account.shares.shape or np.isinf(targets).any():
            raise ParameterError("A decision needs a finite weight, or NaN, for each instrument of the panel.")
        if not self._rules.short_sales and (targets < 0).any():
            raise ParameterError("The strategy sells short; allow it with TradingRules(short_sales=True).")

    def _trade(self, row: int, decision: Decision | None) -> tuple[float, float]:
        """Trade a day.

        Returns:
            The value of the account at its close, and what borrowed shares have cost since the close before.
        """
        account, quotes = self._account, self._quotes
        if self._begins_session[row]:
            account.bought_today[:] = 0
        account.convert(quotes.ratios[row], quotes.before[row])
        borrowing = self._borrow(row)
        if self._rules.delisting_days is not None:
            gone = np.flatnonzero((account.shares != 0) & (self._missing[row] >= self._rules.delisting_days))
            if len(gone):
                account.settle(row, gone, quotes.before[row, gone] * self._rules.delisting_value)
        if decision is not None:
            columns, wanted, change = self._changes(row, decision.targets)
            self._sell(row, columns[change < 0], -change[change < 0])
            self._buy(row, columns, wanted, change, decision.targets[columns])
            self._purchase(row, decision)
        account.close_day()
        return account.cash + float(account.shares @ quotes.close[row]), borrowing

    def _borrow(self, row: int) -> float:
        """Pay for the shares that were borrowed since the bar before, by calendar days."""
        account, dates = self._account, self._panel.dates
        if not self._costs.borrow_rate or not (account.shares < 0).any():
            return 0.0
        value = -float(np.minimum(account.shares, 0) @ self._quotes.before[row])
        years = (dates[row] - dates[row - 1]) / pd.Timedelta(days=_YEAR)
        fee = value * self._costs.borrow_rate * years
        account.cash -= fee
        return fee

    def _changes(self, row: int, targets: FloatArray) -> tuple[IntArray, IntArray, IntArray]:
        """Columns with a target, shares to hold of each, and the change to them in whole lots or to nothing."""
        account, quotes = self._account, self._quotes
        columns = np.flatnonzero(~np.isnan(targets) & ((targets != 0) | (account.shares != 0)))
        weights, held, lot = targets[columns], account.shares[columns], self._lots[columns]
        wanted = np.zeros(len(columns), np.int64)
        if weights.any():
            # What cannot be traded is worth its close before: the close of the day is not known at its open.
            prices = np.where(np.isnan(quotes.deal[row]), quotes.before[row], quotes.deal[row])
            value = max(0.0, account.cash + float(account.shares @ prices))
            priced = prices[columns] > 0
            with np.errstate(divide="ignore", invalid="ignore"):
                lots = np.floor(np.abs(weights) * value / prices[columns] / lot * (1 + _WHOLE))
            wanted = np.where(priced, np.sign(weights) * np.where(priced, lots, 0) * lot, held).astype(np.int64)
        change = wanted - held
        change = np.where(wanted == 0, change, np.sign(change) * (np.abs(change) // lot * lot))
        return columns, wanted, change

    def _sell(self, row: int, columns: IntArray, shares: IntArray) -> None:
        free = self._allowed(row, columns, self._quotes.selling[row], buy=False)
        if not len(free):
            return
        if len(free) < len(columns):
            shares = shares[np.isin(columns, free)]
        bought = self._account.bought_today[free] * self._t_plus[free]
        if bought.any():
            most = np.maximum(self._account.shares[free] - bought, 0)
            locked = (bought > 0) & (shares > most)
            self._ledger.refuse(row, free[locked], "bought today", buy=False)
            shares = np.where(locked, most, shares)
        sold = shares > 0
        self._account.sell(row, Orders(free[sold], shares[sold], self._quotes.deal[row, free[sold]]))

    def _buy(self, row: int, columns: IntArray, wanted: IntArray, change: IntArray, weights: FloatArray) -> None:
        if not weights.any() and not (change > 0).any():
            return
        tiny = columns[(weights > 0) & (wanted == 0) & (change == 0)]
        self._ledger.refuse(row, tiny[self._quotes.buying[row, tiny] == 0], "less than a lot", buy=True)
        # Short positions are covered first, then the largest weights are bought.
        order = np.argsort(-np.where(wanted > 0, weights, np.inf), kind="stable")
        order = order[change[order] > 0]
        free = self._allowed(row, columns[order], self._quotes.buying[row], buy=True)
        if len(free):
            shares = change[order][np.isin(columns[order], free)]
            self._account.buy(row, Orders(free, shares, self._quotes.deal[row, free]))

    def _purchase(self, row: int, decision: Decision) -> None:
        """Divide cash among the purchases that the market allows and there is room for."""
        account = self._account
        columns = self._allowed(row, decision.purchases, self._quotes.buying[row], buy=True)
        if decision.most_holdings is not None:
            room = max(0, decision.most_holdings - int(np.count_nonzero(account.shares)))
            self._ledger.refuse(row, columns[room:], "no room", buy=True)
            columns = columns[:room]
        if not len(columns):
            return
        budget = account.cash * decision.cash_share / len(columns)
        deal, lots = self._quotes.deal[row, columns], self._lots[columns]
        paid = account.filled_price(deal, buy=True)
        shares = np.array(
            [
                int(account.affordable(column, budget, price) / lot * (1 + _WHOLE)) * lot
                for column, price, lot in zip(columns.tolist(), paid.tolist(), lots.tolist(), strict=True)
            ]
        )
        self._ledger.refuse(row, columns[shares == 0], "less than a lot", buy=True)
        bought = shares > 0
        account.buy(row, Orders(columns[bought], shares[bought], deal[bought]))

    def _allowed(self, row: int, columns: IntArray, obstacles: IntArray, *, buy: bool) -> IntArray:
        """The columns that the market lets trade; the others are noted with their reasons."""
        found = obstacles[columns]
        if not found.any():
            return columns
        for reason in range(1, len(_REASONS)):
            self._ledger.refuse(row, columns[found == reason], _REASONS[reason], buy=buy)
        allowed: IntArray = columns[found == 0]
        return allowed


__all__ = ["check_scores", "run_backtest"]

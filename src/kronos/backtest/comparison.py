"""`run_study`: a signal's backtest beside everything that it has to be compared with.

The same strategy, costs and rules trade the signal, naive signals and random ones; the signal is also filled at the
other price of the bar and one bar later; benchmarks hold everything. Where the published mode of the same signal is
given, the gap between both is part of the study.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from kronos.backtest.costs import DealPrice, TradingCosts, TradingRules
from kronos.backtest.engine import run_backtest
from kronos.backtest.factors import SignalQuality, SignalQuestion, signal_quality
from kronos.backtest.market import MarketPanel
from kronos.backtest.performance import Performance, PerformanceSettings, measure_performance
from kronos.backtest.reference_signals import NaiveWindows, RandomSignals, naive_signals
from kronos.backtest.results import BacktestResult
from kronos.backtest.sharpe import sharpe_moments
from kronos.backtest.strategies import BuyAndHold, EqualWeight, Strategy
from kronos.backtest.verdicts import BacktestVerdict, StudyFigures, derive_backtest_verdicts
from kronos.errors import DataError
from kronos.formatting import join_names, plural
from kronos.provenance import now_utc, versions
from kronos.typing import BoolArray, FloatArray

PortfolioKind = Literal["signal", "naive", "benchmark", "published"]
EQUAL_WEIGHT, BUY_AND_HOLD = "equal weight", "buy and hold"
STALE_BARS = 20  # without a bar, after which a suspension looks like an end


@dataclass(frozen=True, eq=False)
class ScoredSignal:
    """A signal on a panel.

    Attributes:
        name: Its name.
        scores: Scores; the row of a day uses nothing later than its close. NaN where there is none. [T, N]
        metadata: Where it comes from: model, settings, digests.
        warnings: What qualifies it, such as days that the model may have seen in training.
    """

    name: str
    scores: FloatArray
    metadata: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Returns to compare with, such as those of an index.

    Attributes:
        name: Its name.
        returns: Daily returns by date; days without one count as 0.
    """

    name: str
    returns: pd.Series

    def on(self, dates: pd.DatetimeIndex) -> FloatArray:
        """The returns on some dates [T].

        Raises:
            DataError: If it has a return on none of them, or begins after the second or ends before the last.
        """
        known = self.returns.dropna().index
        if not known.isin(dates).any():
            raise DataError(f"{self.name} has no return on the dates of the backtest; check dates and timezone.")
        if known[0] > dates[min(1, len(dates) - 1)] or known[-1] < dates[-1]:
            # Days without a return count as 0, which would make excess returns of the account's own.
            raise DataError(
                f"{self.name}, the benchmark, has returns from {known[0]:%Y-%m-%d} to {known[-1]:%Y-%m-%d} but the "
                f"backtest runs from {dates[0]:%Y-%m-%d} to {dates[-1]:%Y-%m-%d}: choose dates within."
            )
        return self.returns.reindex(dates).fillna(0.0).to_numpy(np.float64)


@dataclass(frozen=True, eq=False)
class BacktestSetup:
    """Everything of a backtest but the scores.

    Attributes:
        panel: The bars.
        strategy: The strategy.
        costs: Costs of orders.
        rules: Rules of the market.
        cash: Cash to start with.
        start: First trading day; None for the first of the panel.
        end: Last trading day, inclusive; None for the last of the panel.
    """

    panel: MarketPanel
    strategy: Strategy
    costs: TradingCosts = field(default_factory=TradingCosts)
    rules: TradingRules = field(default_factory=TradingRules)
    cash: float = 1e8
    start: str | pd.Timestamp | None = None
    end: str | pd.Timestamp | None = None

    def run(
        self, scores: FloatArray, *, strategy: Strategy | None = None, rules: TradingRules | None = None
    ) -> BacktestResult:
        """Trade scores [T, N], with another strategy or other rules where given."""
        return run_backtest(
            self.panel,
            scores,
            strategy or self.strategy,
            costs=self.costs,
            rules=rules or self.rules,
            cash=self.cash,
            start=self.start,
            end=self.end,
        )

    @property
    def score_rows(self) -> slice:
        """Rows of the panel whose scores are traded."""
        rows = self.panel.rows(self.start, self.end)
        return slice(max(0, rows.start - self.rules.lag), max(0, rows.stop - self.rules.lag))


@dataclass(frozen=True, slots=True)
class StudySettings:
    """What a study compares with, and how it measures.

    Attributes:
        performance: How performance is measured, and how many variants were tried.
        horizon: Bars of the returns that the signal is compared with.
        quantiles: Groups of instruments by score.
        naive: Lengths of the naive signals.
        random_signals: Number of random signals; 0 for none.
        seed: Random seed of the random signals.
    """

    performance: PerformanceSettings = field(default_factory=PerformanceSettings)
    horizon: int = 1
    quantiles: int = 5
    naive: NaiveWindows = field(default_factory=NaiveWindows)
    random_signals: int = 100
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Portfolio:
    """One row of the comparison.

    Attributes:
        name: Its name.
        kind: ``signal``, ``naive`` (the same strategy on a naive signal), ``benchmark``, or ``published`` (the signal
            in the published mode).
        result: Its account; None for an index.
        returns: Daily returns. [T]
        performance: Its figures; None for an index.
    """

    name: str
    kind: PortfolioKind
    result: BacktestResult | None
    returns: FloatArray
    performance: Performance | None


@dataclass(frozen=True, eq=False)
class ChanceComparison:
    """The Sharpe ratio among those of random signals.

    Attributes:
        sharpes: Annual Sharpe ratio of each random signal, after costs. [R]
        persistence: Rank correlation of successive days that they share with the signal.
        across_instruments: Whether scores were dealt out across instruments; else the signal was moved in time.
        p_value: Share of random signals with at least the ratio of the signal, the signal counted among them.
    """

    sharpes: FloatArray
    persistence: float
    across_instruments: bool
    p_value: float


@dataclass(frozen=True, eq=False)
class BacktestStudy:
    """A backtest and its comparisons.

    Attributes:
        signal: The signal.
        setup: Strategy, costs, rules and dates.
        settings: How it was measured.
        dates: Trading days. [T]
        benchmark: Name of the benchmark that excess returns are against.
        benchmark_returns: Its returns. [T]
        portfolios: The signal first, then naive signals, then benchmarks.
        fills: Figures of the signal by the price at which it is filled.
        delayed: Figures of the signal when it is traded one bar later.
        published: Account and figures of the same signal in the published mode; None if it was not run.
        chance: The signal among random ones; None without them.
        quality: Information coefficients.
        verdicts: Conclusions by fixed rules.
        warnings: What qualifies the figures.
        provenance: Versions and time.
    """

    signal: ScoredSignal
    setup: BacktestSetup
    settings: StudySettings
    dates: pd.DatetimeIndex
    benchmark: str
    benchmark_returns: FloatArray
    portfolios: tuple[Portfolio, ...]
    fills: Mapping[DealPrice, Performance]
    delayed: Performance
    published: Portfolio | None
    chance: ChanceComparison | None
    quality: SignalQuality
    verdicts: tuple[BacktestVerdict, ...]
    warnings: tuple[str, ...]
    provenance: Mapping[str, Any]

    @property
    def days(self) -> int:
        """Number of trading days; several bars a day are one."""
        return int(self.dates.normalize().nunique())

    @property
    def portfolio(self) -> Portfolio:
        """The signal's own portfolio."""
        return self.portfolios[0]

    @property
    def result(self) -> BacktestResult:
        """The signal's own account."""
        result = self.portfolios[0].result
        assert result is not None
        return result

    @property
    def performance(self) -> Performance:
        """The signal's own figures."""
        performance = self.portfolios[0].performance
        assert performance is not None
        return performance

    def named(self, name: str) -> Portfolio:
        """A portfolio by its name."""
        return next(portfolio for portfolio in self.portfolios if portfolio.name == name)


def run_study(
    setup: BacktestSetup,
    signal: ScoredSignal,
    settings: StudySettings | None = None,
    *,
    benchmark: Benchmark | None = None,
    published: BacktestResult | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BacktestStudy:
    """Backtest a signal and everything that it has to be compared with.

    Args:
        setup: Strategy, costs, rules and dates.
        signal: The signal.
        settings: What to compare with; None for the defaults.
        benchmark: What excess returns are against; None for all instruments in equal weights, after costs.
        published: The same signal in the published mode, from `run_published`, on the same dates.
        progress: Called with the number of finished backtests and of all.

    Raises:
        DataError: If there are too few days or scores, or the published mode has other dates.
        ParameterError: If scores do not fit the panel.
    """
    settings = settings or StudySettings()
    study = _StudyRun(setup, signal, settings, benchmark, progress)
    if published is not None and not published.dates.equals(study.own.dates):
        raise DataError("The published mode has other dates than the backtest; run both over the same span.")
    fills, delayed = study.fills(), study.delayed()
    portfolios, chance = study.portfolios(), study.chance()
    mode = None if published is None else study.portfolio("published", "published", published)
    quality = study.quality()
    figures = StudyFigures(
        performance=study.performance,
        delayed=delayed,
        fills=fills,
        published=None if mode is None else mode.performance,
        quality=quality,
        random_signals=settings.random_signals if chance is not None else 0,
        p_value=math.nan if chance is None else chance.p_value,
    )
    return BacktestStudy(
        signal=signal,
        setup=setup,
        settings=settings,
        dates=study.own.dates,
        benchmark=study.benchmark_name,
        benchmark_returns=study.reference,
        portfolios=portfolios,
        fills=fills,
        delayed=delayed,
        published=mode,
        chance=chance,
        quality=quality,
        verdicts=tuple(derive_backtest_verdicts(figures)),
        warnings=(
            *signal.warnings,
            *(sentence for sentence in limits_off(setup) if sentence not in signal.warnings),
            *free_borrowing(setup.costs, study.own),
            *doubtful_holdings(setup.panel, study.own),
            *study.problems,
        ),
        provenance={"created": now_utc(), "versions": versions()},
    )


def limits_off(setup: BacktestSetup) -> list[str]:
    """Warn of price limits that are not applied, as bars are longer than the day whose change they limit."""
    panel = setup.panel
    limits = [setup.rules.of(market).price_limit for market in set(panel.markets or ("",))]
    if not panel.is_longer_than_daily or not any(limits):
        return []
    length = f"candles of {panel.interval}" if panel.interval is not None else "candles longer than a day"
    return [
        f"Price limits are off: they limit the change of a day, which {length} do not show. Trades count that may have "
        f"been impossible at a limit; use daily candles to judge them."
    ]


def free_borrowing(costs: TradingCosts, result: BacktestResult) -> list[str]:
    """Warn of short positions that borrow shares for nothing."""
    if costs.borrow_rate or not (result.positions < 0).any():
        return []
    return [
        "Short positions borrow shares for free here, and any share can be borrowed: set borrow_rate (section trading) "
        "to the fee a year."
    ]


def doubtful_holdings(panel: MarketPanel, result: BacktestResult) -> list[str]:
    """Warn of an account without a trade, and of holdings whose bars ended.

    The latter cannot be sold, take up room, and hide a loss at their latest close.
    """
    if result.trades.empty:
        reasons = join_names([str(reason) for reason in result.refused["reason"].unique()])
        why = f"every order was refused ({reasons})" if reasons else "the strategy placed no order"
        return [f"Nothing was traded: {why}. Figures are those of cash: check strategy, cash and instruments."]
    span = panel.dates.get_indexer(result.dates)
    stale = (result.positions != 0) & (panel.bars_missed[span] > STALE_BARS)
    held = stale.sum(axis=1)
    if not held.any():
        return []
    return [
        f"On {np.count_nonzero(held):,} of {plural(len(result), 'day')} the account held instruments without a bar for "
        f"more than {STALE_BARS} bars, up to {held.max()} at once ({join_names(_names(panel, stale))}). They cannot be "
        f"sold and count at their latest close: check whether they left the market, and end the backtest before or set "
        f"delisting_days (section trading)."
    ]


def _names(panel: MarketPanel, stale: BoolArray) -> list[str]:
    return [panel.instruments[column] for column in np.flatnonzero(stale.any(axis=0))]


class _StudyRun:
    """The backtests of a study, counted for a progress bar."""

    def __init__(
        self,
        setup: BacktestSetup,
        signal: ScoredSignal,
        settings: StudySettings,
        benchmark: Benchmark | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._setup, self._signal, self._settings, self._progress = setup, signal, settings, progress
        self.problems: list[str] = []
        self._naive = naive_signals(setup.panel, settings.naive)
        self._done, self._all = 0, 5 + len(self._naive) + settings.random_signals
        self.own = self._run(signal.scores)
        # All of the account, as strategies invest nearly all of theirs: cash here would turn into excess returns.
        self._everything = self._run(signal.scores, strategy=EqualWeight(weight=1.0))
        self._index = benchmark
        self.benchmark_name = EQUAL_WEIGHT if benchmark is None else benchmark.name
        self.reference = self._everything.returns if benchmark is None else benchmark.on(self.own.dates)
        self.performance = self._measure(self.own)

    def portfolios(self) -> tuple[Portfolio, ...]:
        """The signal, naive signals and benchmarks."""
        rows = [Portfolio(self._signal.name, "signal", self.own, self.own.returns, self.performance)]
        rows += [self.portfolio(name, "naive", self._run(scores)) for name, scores in self._naive.items()]
        rows.append(self.portfolio(EQUAL_WEIGHT, "benchmark", self._everything))
        held = self._run(self._signal.scores, strategy=BuyAndHold(weight=1.0))
        rows.append(self.portfolio(BUY_AND_HOLD, "benchmark", held))
        if self._index is not None:
            rows.append(Portfolio(self.benchmark_name, "benchmark", None, self.reference, None))
        return tuple(rows)

    def portfolio(self, name: str, kind: PortfolioKind, result: BacktestResult) -> Portfolio:
        """A row of the comparison."""
        # Only the signal was selected among trials: the ratios of the others are not deflated.
        single = replace(self._settings.performance, trials=1, trial_ratios=())
        return Portfolio(name, kind, result, result.returns, measure_performance(result, self.reference, single))

    def fills(self) -> dict[DealPrice, Performance]:
        """The signal filled at the open and at the close."""
        rules = self._setup.rules
        other: DealPrice = "close" if rules.deal_price == "open" else "open"
        filled = self._measure(self._run(self._signal.scores, rules=replace(rules, deal_price=other)))
        both = {rules.deal_price: self.performance, other: filled}
        return {price: both[price] for price in get_args(DealPrice)}

    def delayed(self) -> Performance:
        """The signal traded one bar later."""
        rules = self._setup.rules
        return self._measure(self._run(self._signal.scores, rules=replace(rules, lag=rules.lag + 1)))

    def chance(self) -> ChanceComparison | None:
        """The signal among random ones."""
        count = self._settings.random_signals
        if not count:
            return None
        scale = math.sqrt(self.performance.annualization.periods)
        scores = np.full_like(self._signal.scores, np.nan)
        rows = self._setup.score_rows
        scores[rows] = self._signal.scores[rows]
        try:
            signals = RandomSignals.like(scores)
        except DataError as error:  # too short a record to compare with chance is no reason to show nothing
            self.problems.append(str(error))
            return None
        sharpes = np.array(
            [sharpe_moments(self._run(one).returns).sharpe * scale for one in signals.draw(count, self._settings.seed)]
        )
        # A random signal that never trades has no ratio, which is neither above nor below that of the signal.
        known = sharpes[~np.isnan(sharpes)]
        own = sharpe_moments(self.own.returns).sharpe * scale
        p_value = (1 + int((known >= own).sum())) / (1 + len(known)) if not math.isnan(own) else math.nan
        return ChanceComparison(known, signals.persistence, signals.across_instruments, p_value)

    def quality(self) -> SignalQuality:
        """Information coefficients of the traded scores."""
        rules, settings = self._setup.rules, self._settings
        question = SignalQuestion(settings.horizon, rules.lag, rules.deal_price, settings.quantiles)
        return signal_quality(self._setup.panel, self._signal.scores, question, rows=self._setup.score_rows)

    def _measure(self, result: BacktestResult) -> Performance:
        return measure_performance(result, self.reference, self._settings.performance)

    def _run(
        self, scores: FloatArray, *, strategy: Strategy | None = None, rules: TradingRules | None = None
    ) -> BacktestResult:
        result = self._setup.run(scores, strategy=strategy, rules=rules)
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._all)
        return result


__all__ = [
    "BUY_AND_HOLD",
    "EQUAL_WEIGHT",
    "BacktestSetup",
    "BacktestStudy",
    "Benchmark",
    "ChanceComparison",
    "Portfolio",
    "ScoredSignal",
    "StudySettings",
    "doubtful_holdings",
    "free_borrowing",
    "limits_off",
    "run_study",
]

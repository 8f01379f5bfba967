"""Backtests: from scores of instruments to an account, its trades and its costs.

- `MarketPanel` holds the bars, `TradingCosts` and `TradingRules` say what a trade costs and which are allowed.
- `run_backtest` trades the decisions of a `Strategy` on later bars, and gives a `BacktestResult`.
- `run_published` repeats Qlib's backtest of the published results, look-ahead included, to compare with.
- `measure_performance` gives the `Performance` of a result: returns, risk, costs, and how much may be luck.
- `signal_quality` compares scores with later returns before any strategy.
- `run_study` puts a signal beside naive and random ones, other fills and benchmarks, with verdicts; the
  package ``report`` renders the `BacktestStudy` as a page, JSON and tables.
- `plan_signals` and `compute_signals` make `Signals` from the forecasts of a model; `check_point_in_time` verifies
  them. `Universe` is the membership of an index by date, `TrialsLog` counts the variants tried.
- `load_backtest_config`, `load_market`, `plan_market` and `run_experiment` are what ``kronos backtest`` does;
  `read_qlib_dataset` prepares a Qlib folder as published.

Scores are arrays [T, N] on the panel: the row of a day may use what was known at its close, and is traded on the next.
"""

from kronos.backtest.comparison import (
    BacktestSetup,
    BacktestStudy,
    Benchmark,
    ScoredSignal,
    StudySettings,
    run_study,
)
from kronos.backtest.config import BacktestConfig, load_backtest_config
from kronos.backtest.costs import DealPrice, MarketRules, TradingCosts, TradingRules
from kronos.backtest.engine import run_backtest
from kronos.backtest.experiment import Experiment, ExperimentRun, run_experiment
from kronos.backtest.factors import SignalQuality, SignalQuestion, signal_quality
from kronos.backtest.market import MarketPanel
from kronos.backtest.performance import Performance, PerformanceSettings, measure_performance
from kronos.backtest.published import PublishedFigures, PublishedSettings, published_figures, run_published
from kronos.backtest.qlib_dataset import QlibDataset, QlibPeriods, read_qlib_dataset
from kronos.backtest.results import BacktestResult
from kronos.backtest.signal_run import check_point_in_time, compute_signals
from kronos.backtest.signal_store import Signals
from kronos.backtest.signals import SIGNALS, SignalPlan, SignalSettings, plan_signals, signal_values
from kronos.backtest.strategies import (
    BuyAndHold,
    Decision,
    EqualWeight,
    LongShortDeciles,
    MarketDay,
    Strategy,
    ThresholdLongFlat,
    TopkDropout,
)
from kronos.backtest.tradable import TradableMarket, load_market, market_of_instruments, plan_market
from kronos.backtest.trials import Trial, TrialsLog
from kronos.backtest.universe import Universe
from kronos.backtest.verdicts import BacktestVerdict

__all__ = [
    "SIGNALS",
    "BacktestConfig",
    "BacktestResult",
    "BacktestSetup",
    "BacktestStudy",
    "BacktestVerdict",
    "Benchmark",
    "BuyAndHold",
    "DealPrice",
    "Decision",
    "EqualWeight",
    "Experiment",
    "ExperimentRun",
    "LongShortDeciles",
    "MarketDay",
    "MarketPanel",
    "MarketRules",
    "Performance",
    "PerformanceSettings",
    "PublishedFigures",
    "PublishedSettings",
    "QlibDataset",
    "QlibPeriods",
    "ScoredSignal",
    "SignalPlan",
    "SignalQuality",
    "SignalQuestion",
    "SignalSettings",
    "Signals",
    "Strategy",
    "StudySettings",
    "ThresholdLongFlat",
    "TopkDropout",
    "TradableMarket",
    "TradingCosts",
    "TradingRules",
    "Trial",
    "TrialsLog",
    "Universe",
    "check_point_in_time",
    "compute_signals",
    "load_backtest_config",
    "load_market",
    "market_of_instruments",
    "measure_performance",
    "plan_market",
    "plan_signals",
    "published_figures",
    "read_qlib_dataset",
    "run_backtest",
    "run_experiment",
    "run_published",
    "run_study",
    "signal_quality",
    "signal_values",
]

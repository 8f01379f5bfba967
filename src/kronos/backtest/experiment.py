"""`run_experiment`: the backtests of a configuration, each logged as a trial, and their studies.

Every signal is traded in every mode that is asked for. The runs enter the trials log before anything is concluded from
them, so that the deflated Sharpe ratio of each knows how many variants were tried on these signals, in this run and in
all before it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from kronos.atomic import atomic_path, write_text
from kronos.backtest.comparison import (
    BacktestSetup,
    BacktestStudy,
    ScoredSignal,
    StudySettings,
    limits_off,
    run_study,
)
from kronos.backtest.config import BacktestConfig
from kronos.backtest.costs import TradingCosts
from kronos.backtest.performance import Annualization, PerformanceSettings
from kronos.backtest.published import PublishedSettings, published_figures, run_published
from kronos.backtest.results import BacktestResult
from kronos.backtest.sharpe import sharpe_moments
from kronos.backtest.signal_store import Signals
from kronos.backtest.signals import SIGNALS
from kronos.backtest.strategies import LongShortDeciles, TopkDropout
from kronos.backtest.tradable import TradableMarket, split_like_steps
from kronos.backtest.trials import Trial, TrialsLog
from kronos.errors import DataError, ParameterError, StorageError
from kronos.formatting import join_names, os_error_reason, plural, to_json
from kronos.progress import ProgressCallback
from kronos.typing import FloatArray

DOCUMENT, DAILY, TRADES, REPORT = "backtest.json", "daily.parquet", "trades.parquet", "report.html"
_NO_STUDY = "The published mode alone has no comparisons and no report page: choose the mode both for them."
RunMode = Literal["published", "corrected"]


@dataclass(frozen=True, eq=False)
class ExperimentRun:
    """One signal traded in one mode.

    Attributes:
        signal: Name of the signal.
        mode: ``corrected``, or ``published`` as Qlib executes it.
        result: The account.
        figures: Annual Sharpe ratio and return; of the published mode also Qlib's figures of excess returns.
        settings: What the trial is identified by.
    """

    signal: str
    mode: RunMode
    result: BacktestResult
    figures: Mapping[str, float | None]
    settings: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Experiment:
    """The backtests of a configuration.

    Attributes:
        config: The configuration.
        market: The candles.
        signals: The signals.
        runs: One for each signal and mode.
        studies: One for each signal in the corrected mode.
        trials: Number of different variants tried so far.
        warnings: What qualifies the results.
    """

    config: BacktestConfig
    market: TradableMarket
    signals: Signals
    runs: tuple[ExperimentRun, ...]
    studies: tuple[BacktestStudy, ...]
    trials: int
    warnings: tuple[str, ...] = field(default=())

    def run(self, signal: str, mode: RunMode) -> ExperimentRun:
        """The run of a signal in a mode."""
        return next(run for run in self.runs if (run.signal, run.mode) == (signal, mode))

    def to_dict(self) -> dict[str, Any]:
        """Return the results as JSON values."""
        return {
            "kind": "kronos backtest",
            "config": self.config.model_dump(mode="json"),
            "data": {
                "instruments": list(self.market.panel.instruments),
                "first": str(self.market.panel.dates[0]),
                "last": str(self.market.panel.dates[-1]),
                "simulated": self.market.simulated,
                "universe": None if self.market.universe is None else self.market.universe.name,
                "skipped": [{"path": name, "problem": problem} for name, problem in self.market.skipped],
            },
            "signals": {**self.signals.provenance, "sha256": self.signals.digest},
            "trials": self.trials,
            "runs": [
                {
                    "signal": run.signal,
                    "mode": run.mode,
                    "first": str(run.result.dates[0]),
                    "last": str(run.result.dates[-1]),
                    "days": len(run.result),
                    "start_cash": run.result.start_cash,
                    "net_asset_value": float(run.result.net_asset_value[-1]),
                    "trades": len(run.result.trades),
                    "refused": len(run.result.refused),
                    "figures": dict(run.figures),
                    "settings": dict(run.settings),
                }
                for run in self.runs
            ],
            "verdicts": {study.signal.name: [_plain(verdict) for verdict in study.verdicts] for study in self.studies},
            "warnings": list(self.warnings),
        }

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write ``backtest.json``, and the days and trades of all runs as Parquet.

        Raises:
            StorageError: If a file cannot be written.
        """
        document = folder / DOCUMENT
        tables = {
            DAILY: [self._labelled(run, run.result.to_frame().reset_index()) for run in self.runs],
            TRADES: [self._labelled(run, run.result.trades) for run in self.runs],
        }
        for name, parts in tables.items():
            with atomic_path(folder / name) as temporary:
                pd.concat(parts, ignore_index=True).to_parquet(temporary, index=False)
        write_text(document, to_json(self.to_dict()) + "\n")  # last: where it is, the others are complete
        return (document, *(folder / name for name in tables))

    @staticmethod
    def _labelled(run: ExperimentRun, table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(signal=run.signal, mode=run.mode)


def discard_results(folder: Path) -> None:
    """Remove the results of an earlier run from a folder, so that they do not mix with new ones; signals stay.

    Raises:
        StorageError: If a file cannot be removed.
    """
    reports = [report_path(folder / REPORT, name) for name in ("", *SIGNALS)]
    for path in (folder / DOCUMENT, folder / DAILY, folder / TRADES, *reports):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"Cannot remove {path} ({os_error_reason(error)}): check its permissions.") from error


def report_path(first: Path, signal: str) -> Path:
    """The report of a further signal beside that of the first one; the first one without a name."""
    return first.with_name(f"{first.stem}-{signal}{first.suffix}") if signal else first


def run_experiment(
    config: BacktestConfig,
    market: TradableMarket,
    signals: Signals,
    log: TrialsLog,
    *,
    progress: ProgressCallback | None = None,
) -> Experiment:
    """Trade the signals of a configuration, log the trials, and study the corrected runs.

    Args:
        config: The configuration.
        market: The candles.
        signals: The signals.
        log: The trials log.
        progress: Called with the number of finished studies' backtests and their total.

    Raises:
        DataError: If no day is left to trade.
        ParameterError: If settings contradict each other, or a signal is missing.
    """
    setup = make_setup(config, market, signals)
    modes = _modes(config, market, setup)
    runs = []
    for name in config.signals.names:
        scores = signals.scores(name, market.panel)
        runs += [_run(mode, name, scores, setup, config, market, signals) for mode in modes]
    log.append([Trial(run.settings, run.figures) for run in runs])
    tried = log.distinct()
    ratios = [ratio for trial in tried if (ratio := trial.figures.get("sharpe")) is not None]
    settings = StudySettings(
        PerformanceSettings(
            risk_free=config.study.risk_free,
            trials=len(tried),
            trial_ratios=tuple(ratios),
            repetitions=config.study.repetitions,
        ),
        horizon=config.signals.horizon,
        random_signals=config.study.random_signals,
    )
    warnings = (*_warnings(market, signals, config.signals.lookback), *limits_off(setup))
    names = config.signals.names if "corrected" in modes else ()
    if not names:
        warnings += (_NO_STUDY,)
    studies = []
    for number, name in enumerate(names):
        published = [run.result for run in runs if (run.signal, run.mode) == (name, "published")]
        signal = ScoredSignal(name, signals.scores(name, market.panel), signals.provenance, warnings)
        studies.append(
            run_study(
                setup,
                signal,
                settings,
                benchmark=market.benchmark,
                published=published[0] if published else None,
                progress=_part(progress, number, len(names)),
            )
        )
    return Experiment(config, market, signals, tuple(runs), tuple(studies), len(tried), warnings)


def make_setup(config: BacktestConfig, market: TradableMarket, signals: Signals) -> BacktestSetup:
    """Strategy, costs, rules and dates of a configuration.

    Trading begins on the configured day, else a bar after the first signal: days before it would only dilute figures.

    Raises:
        DataError: If no bar follows the first signal.
    """
    strategy = config.strategy.strategy(len(market.instruments))
    rules = config.trading.trading_rules(market.markets, short_sales=isinstance(strategy, LongShortDeciles))
    dates = market.panel.dates
    first = int(dates.get_indexer(signals.dates[:1])[0]) + rules.lag
    if first >= len(dates):
        raise DataError("No bar follows the first signal: give longer histories or an earlier start.")
    start: str | pd.Timestamp = dates[first]
    end: str | pd.Timestamp | None = None
    if config.periods.backtest is not None or config.is_qlib:
        start, end = config.periods.backtest or config.qlib_periods().backtest
    return BacktestSetup(
        panel=market.panel,
        strategy=strategy,
        costs=config.trading.trading_costs(market.markets),
        rules=rules,
        cash=config.trading.cash,
        start=start,
        end=end,
    )


def _modes(config: BacktestConfig, market: TradableMarket, setup: BacktestSetup) -> tuple[RunMode, ...]:
    mode = config.trading.mode or ("both" if market.dataset is not None else "corrected")
    if mode != "corrected" and not isinstance(setup.strategy, TopkDropout):
        raise ParameterError("The published mode has the strategy topk only: choose mode corrected.")
    if mode != "corrected" and (setup.rules.markets or setup.costs.markets):
        raise ParameterError(
            f"The published mode has the rules of one market but the instruments are of "
            f"{join_names(market.markets, None)}: choose mode corrected, or set rules in the section trading."
        )
    if mode != "corrected" and setup.rules.lag != 1:
        raise ParameterError(f"The published mode trades on the next bar, not {setup.rules.lag} later: choose lag 1.")
    return ("corrected", "published") if mode == "both" else (mode,)


def _run(
    mode: RunMode,
    name: str,
    scores: FloatArray,
    setup: BacktestSetup,
    config: BacktestConfig,
    market: TradableMarket,
    signals: Signals,
) -> ExperimentRun:
    """Trade one signal in one mode."""
    if mode == "corrected":
        result = setup.run(scores)
        figures = _figures(result)
    else:
        settings = _published_settings(setup)
        result = run_published(market.panel, scores, settings, change=market.change, start=setup.start, end=setup.end)
        benchmark = None if market.benchmark is None else market.benchmark.on(result.dates)
        qlib = published_figures(result, benchmark)
        figures = {**_figures(result), **{f"qlib_{key}": value for key, value in asdict(qlib).items()}}
    provenance = signals.provenance
    trial = {
        "signal": name,
        "mode": mode,
        "model": (provenance.get("model") or {}).get("sha256") or (provenance.get("model") or {}).get("ref"),
        "forecasts": provenance.get("settings"),
        "calibrated": provenance.get("calibrated"),
        "history": config.data.history if config.is_qlib else None,
        "strategy": _plain(setup.strategy),
        "costs": _plain(setup.costs),
        "rules": _plain(setup.rules),
        "cash": setup.cash,
        "start": str(setup.start),
        "end": None if setup.end is None else str(setup.end),
        "universe": None if market.universe is None else market.universe.name,
        "interval": provenance.get("interval"),
        # Other instruments are another variant, however many there are; more days of the same ones are not.
        "instruments": len(market.panel.instruments),
        "names_sha256": hashlib.sha256("\n".join(sorted(market.panel.instruments)).encode()).hexdigest(),
    }
    return ExperimentRun(name, mode, result, figures, trial)


def _published_settings(setup: BacktestSetup) -> PublishedSettings:
    """The settings of the published mode that match a setup; Qlib's backtest has no slippage."""
    strategy, costs, rules = setup.strategy, setup.costs, setup.rules
    assert isinstance(strategy, TopkDropout)
    return PublishedSettings(
        k=strategy.k,
        drop=strategy.drop,
        hold_days=strategy.hold_days,
        costs=TradingCosts(costs.open_rate, costs.close_rate, costs.minimum),
        price_limit=None if setup.panel.is_longer_than_daily else rules.price_limit,
        lot_size=rules.lot_size,
        deal_price=rules.deal_price,
        cash_share=strategy.cash_share,
        cash=setup.cash,
    )


def _figures(result: BacktestResult) -> dict[str, float | None]:
    """Annual Sharpe ratio and growth of an account; None where it is undefined."""
    periods = Annualization.infer(result.dates).periods if len(result) > 1 else 1.0
    sharpe = sharpe_moments(result.returns).sharpe * math.sqrt(periods)
    return {
        "sharpe": sharpe if math.isfinite(sharpe) else None,
        "total_return": float(result.net_asset_value[-1] / result.start_cash - 1),
        "turnover": float(np.mean(result.turnover)),
    }


def _warnings(market: TradableMarket, signals: Signals, lookback: int) -> tuple[str, ...]:
    """What qualifies the results of these signals."""
    read = int(market.panel.dates.get_indexer(signals.dates[:1])[0]) - lookback
    warnings = [*market.warnings, *split_like_steps(market.panel, max(read, 0))]
    if signals.provenance.get("new_from", {}) is None:
        warnings.append("The training dates of the model are unknown: it may have been trained on these days.")
    if signals.seen_days:
        warnings.append(
            f"The model may have been trained on {plural(signals.seen_days, 'signal')} of {len(signals):,} "
            f"(marked as seen): results are better there than on new days."
        )
    return tuple(warnings)


def _plain(value: Any) -> dict[str, Any]:
    """A dataclass as JSON values, with its name."""
    assert is_dataclass(value)
    assert not isinstance(value, type)
    return {"name": type(value).__name__, **asdict(value)}


def _part(progress: ProgressCallback | None, number: int, count: int) -> ProgressCallback | None:
    """The progress of one study as part of all."""
    if progress is None:
        return None

    def report(done: int, total: int) -> None:
        progress(number * total + done, count * total)

    return report


__all__ = ["Experiment", "ExperimentRun", "discard_results", "report_path", "run_experiment"]

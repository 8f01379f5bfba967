"""Simulated markets and signals with a known content, for the tests of studies and their report."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.backtest import MarketPanel, TopkDropout, TradingCosts, TradingRules
from kronos.backtest.comparison import BacktestSetup, BacktestStudy, ScoredSignal, StudySettings, run_study
from kronos.backtest.performance import PerformanceSettings


def random_market(days: int = 260, count: int = 30, seed: int = 1, deviation: float = 0.02) -> MarketPanel:
    """Independent random walks: nothing about a return is known before it happens."""
    rng = np.random.default_rng(seed)
    close = 20 * np.exp(np.cumsum(rng.normal(0, deviation, (days, count)), axis=0))
    previous = np.vstack([np.full((1, count), 20.0), close[:-1]])
    opened = previous * np.exp(rng.normal(0, deviation / 4, (days, count)))
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    volume = 1e6 * np.exp(rng.normal(0, 0.3, (days, count)) + rng.normal(0, 1, count))
    return MarketPanel(
        dates=pd.bdate_range("2024-01-02", periods=days),
        instruments=tuple(f"S{i:03d}" for i in range(count)),
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        factor=np.ones_like(close),
    )


def noise(panel: MarketPanel, seed: int = 2) -> np.ndarray:
    """Scores without content."""
    return np.random.default_rng(seed).standard_normal(panel.close.shape)


def foresight(panel: MarketPanel, strength: float = 1.0, seed: int = 3, ahead: int = 1) -> np.ndarray:
    """Scores that contain the return from the open of the next bar to the open after it, in noise."""
    gains = np.full(panel.close.shape, np.nan)
    gains[: -ahead - 1] = panel.open[ahead + 1 :] / panel.open[ahead:-1] - 1
    scale = np.nanstd(gains)
    return strength * np.nan_to_num(gains) / scale + np.random.default_rng(seed).standard_normal(gains.shape)


def setup_of(panel: MarketPanel, k: int = 5, **options: object) -> BacktestSetup:
    """A small top-k strategy in a market of single shares, with the published costs."""
    values: dict = {
        "costs": TradingCosts(slippage=2.0),
        "rules": TradingRules.unrestricted(),
        "start": panel.dates[20],
    } | options
    return BacktestSetup(panel, TopkDropout(k, drop=1, hold_days=1), cash=1e7, **values)


def study_of(
    panel: MarketPanel, scores: np.ndarray, *, trials: int = 4, random_signals: int = 20, **options: object
) -> BacktestStudy:
    """A study with few repetitions, so that tests are fast."""
    settings = StudySettings(PerformanceSettings(trials=trials, repetitions=300), random_signals=random_signals)
    signal = ScoredSignal("mean", scores, {"model": "kronos-test", "seed": 7})
    return run_study(setup_of(panel), signal, settings, **options)

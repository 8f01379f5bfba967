"""A simulated A-share market with everything that trading rules are about, as a panel and as a folder of Qlib."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kronos.backtest import MarketPanel
from kronos.candles import Candles
from kronos.sources.qlib import write_qlib

DAYS, INSTRUMENTS = 600, 30


def single(values: np.ndarray) -> np.ndarray:
    """Rounded to float32, the format of Qlib's folders."""
    return values.astype(np.float32).astype(np.float64)


def simulated_market(seed: int = 7, days: int = DAYS, count: int = INSTRUMENTS) -> MarketPanel:
    """Random walks with suspensions, days at the price limit, splits, dividends, missing opens, listings, delistings.

    Simulated: no instrument of it exists.
    """
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.02, (days, count))
    locked = rng.random((days, count))
    returns = np.where(locked < 0.02, 0.1, np.where(locked > 0.98, -0.1, np.clip(returns, -0.094, 0.094)))
    close = 20 * rng.lognormal(0, 0.5, count) * np.exp(np.cumsum(np.log1p(returns), axis=0))
    before = np.vstack([close[:1], close[:-1]])
    # Half of the days that close at the limit open there too; the others open free, where the look-ahead is.
    gap = np.where(
        (np.abs(returns) > 0.095) & (rng.random((days, count)) < 0.5), returns, rng.normal(0, 0.01, (days, count))
    )
    opened = before * (1 + gap)
    high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
    volume = np.round(rng.lognormal(12, 1, (days, count)))
    factor = np.ones((days, count))
    for column in range(count):
        for row in rng.integers(20, days, 3):  # two dividends and a split
            factor[row:, column] *= rng.choice([1.0173, 1.0311, 2.0, 1.3])
    bars = ~(rng.random((days, count)) < 0.01)
    for column in range(count):
        for row in rng.integers(0, days, 2):
            bars[row : row + rng.integers(5, 25), column] = False  # suspensions
    bars[:150, 3], bars[:300, 4], bars[400:, 5], bars[250:, 6] = False, False, False, False
    opened[rng.random((days, count)) < 0.004] = np.nan
    arrays = {
        name: np.where(bars, single(values), np.nan)
        for name, values in {
            **{"open": opened, "high": high, "low": low, "close": close},
            **{"volume": volume, "factor": factor},
        }.items()
    }
    names = tuple(
        f"{'SH6' if rng.random() < 0.5 else 'SZ0'}{rng.integers(10_000):04d}{column:02d}" for column in range(count)
    )
    return MarketPanel(pd.bdate_range("2022-01-03", periods=days, name="timestamps"), names, **arrays)


def momentum_scores(panel: MarketPanel, seed: int = 11) -> np.ndarray:
    """Noisy scores of everything that is listed; none of the delisted."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=panel.close.shape) + np.nan_to_num(panel.close / panel.previous_close - 1) * 20
    bars = ~np.isnan(panel.close)
    listed = np.logical_or.accumulate(bars) & np.logical_or.accumulate(bars[::-1])[::-1]
    return np.where(listed, scores, np.nan)


def sparse_scores(panel: MarketPanel, seed: int = 13) -> np.ndarray:
    """The same without many of the suspended, without others at random, and none at all on three days."""
    rng = np.random.default_rng(seed)
    scores = momentum_scores(panel)
    scores[np.isnan(panel.close) & (rng.random(scores.shape) < 0.5)] = np.nan
    scores[rng.random(scores.shape) < 0.05] = np.nan
    scores[100:103] = np.nan
    return scores


def close_change(panel: MarketPanel) -> np.ndarray:
    """The field ``change`` of Qlib's folders."""
    return single(panel.close / panel.previous_close - 1)


def write_market(folder: Path, panel: MarketPanel, *, with_factor: bool = True) -> Path:
    """Write a panel with `write_qlib`, then the fields and missing opens that candles do not have."""
    candles = {}
    for column, name in enumerate(panel.instruments):
        bars = ~np.isnan(panel.close[:, column])
        table = pd.DataFrame(
            {field: getattr(panel, field)[bars, column] for field in ("open", "high", "low", "close", "volume")},
            index=panel.dates[bars],
        )
        table["open"] = table["open"].fillna(table["close"])
        candles[name] = replace(Candles.from_frame(table, symbol=name, interval="1d"), simulated=True)
    written = write_qlib(folder, candles)
    extra = {"open": panel.open, "change": close_change(panel)} | ({"factor": panel.factor} if with_factor else {})
    for column, name in enumerate(panel.instruments):
        rows = np.flatnonzero(~np.isnan(panel.close[:, column]))
        for field, values in extra.items():
            part = np.concatenate([[rows[0]], values[rows[0] : rows[-1] + 1, column]]).astype("<f4")
            (written / "features" / name.lower() / f"{field}.day.bin").write_bytes(part.tobytes())
    return written

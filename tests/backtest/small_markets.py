"""Small markets for tests, written down or drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from kronos.backtest import MarketPanel

NAN = float("nan")


def market(
    close: Sequence[Sequence[float]],
    *,
    open: Sequence[Sequence[float]] | None = None,
    volume: Sequence[Sequence[float]] | None = None,
    factor: Sequence[Sequence[float]] | None = None,
    membership: Sequence[Sequence[bool]] | None = None,
    dates: pd.DatetimeIndex | None = None,
) -> MarketPanel:
    """A panel from one row of prices a day; the open is the close where it is not given."""
    closes = np.array(close, float)
    opens = closes if open is None else np.where(np.isnan(closes), NAN, np.array(open, float))
    volumes = np.where(np.isnan(closes), NAN, 1e6) if volume is None else np.array(volume, float)
    return MarketPanel(
        dates=pd.bdate_range("2024-01-01", periods=len(closes)) if dates is None else dates,
        instruments=tuple("ABCDEFGHIJ"[: closes.shape[1]]),
        open=opens,
        high=np.fmax(opens, closes),
        low=np.fmin(opens, closes),
        close=closes,
        volume=volumes,
        factor=np.ones_like(closes) if factor is None else np.array(factor, float),
        membership=None if membership is None else np.array(membership),
    )


@st.composite
def markets(draw: st.DrawFn, *, splits: bool = True) -> MarketPanel:
    """Random walks with missing bars and opens, days without volume and at the price limit, and splits."""
    days, count = draw(st.integers(6, 24)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (days, count)
    moves = np.where(rng.random(shape) < 0.1, rng.choice([-0.1, 0.1], shape), rng.normal(0, 0.03, shape))
    close = rng.uniform(2, 200, count) * np.cumprod(1 + moves, axis=0)
    before = np.vstack([close[:1], close[:-1]])
    opens = before * (1 + np.where(rng.random(shape) < 0.1, rng.choice([-0.1, 0.1], shape), rng.normal(0, 0.01, shape)))
    opens[rng.random(shape) < 0.03] = NAN
    factor = np.cumprod(np.where(rng.random(shape) < 0.04, rng.choice([2.0, 1.017, 0.5], shape), 1.0), axis=0)
    volume = np.where(rng.random(shape) < 0.05, 0.0, rng.integers(1, 10**6, shape))
    gone = rng.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.4]))
    close[gone] = volume[gone] = NAN
    return market(close, open=opens, volume=volume, factor=factor if splits else None)


def scores_of(panel: MarketPanel, seed: int, missing: float = 0.1) -> np.ndarray:
    """Random scores with gaps."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=panel.close.shape)
    scores[rng.random(scores.shape) < missing] = NAN
    return scores

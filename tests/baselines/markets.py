"""Simulated markets of known distribution, and odd histories."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from kronos.candles import Candles


def make(rows=200, seed=1, sigma=0.01, volume=True):
    """Candles of a random walk with opening gaps, wicks and volume."""
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, sigma, rows)))
    opens = np.r_[closes[0], closes[:-1]] * np.exp(rng.normal(0, sigma / 4, rows))
    frame = pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes) * np.exp(rng.exponential(sigma / 2, rows)),
            "low": np.minimum(opens, closes) * np.exp(-rng.exponential(sigma / 2, rows)),
            "close": closes,
            "volume": rng.gamma(2, 100, rows) if volume else 0.0,
        },
        index=pd.date_range("2024-01-01", periods=rows, freq="1h", tz="UTC"),
    )
    return Candles.from_frame(frame, symbol="WALK", interval="1h")


def market(returns, interval="1h", freq="1h", seed=5, start="2020-01-01"):
    """Candles whose closes have these log returns; with small wicks."""
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(returns))
    opens = np.r_[100.0, closes[:-1]]
    wicks = np.exp(np.abs(rng.normal(0, np.std(returns) / 3, (2, len(closes)))))
    frame = pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes) * wicks[0],
            "low": np.minimum(opens, closes) / wicks[1],
            "close": closes,
            "volume": 1.0,
        },
        index=pd.date_range(start, periods=len(closes), freq=freq, tz="UTC", name="timestamps"),
    )
    return Candles.from_frame(frame, symbol="KNOWN", interval=interval, calendar="24/7")


def garch_returns(count, alpha=0.15, beta=0.82, nu=6.0, sigma=0.01, seed=3):
    """Log returns of GARCH(1,1) with Student's t; ``sigma`` is their standard deviation."""
    rng = np.random.default_rng(seed)
    shocks = rng.standard_t(nu, count + 500) * np.sqrt((nu - 2) / nu)
    variance, returns = sigma**2, np.empty(len(shocks))
    for step, shock in enumerate(shocks):
        returns[step] = np.sqrt(variance) * shock
        variance = sigma**2 * (1 - alpha - beta) + alpha * returns[step] ** 2 + beta * variance
    return returns[500:]


@st.composite
def histories(draw):
    """Candles of odd markets: few rows, standstills, jumps, tiny or huge prices, no volume."""
    rows = draw(st.sampled_from([3, 4, 20, 52, 70, 140]))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    returns = rng.normal(0, draw(st.sampled_from([0.0, 1e-9, 1e-3, 0.5])), rows)
    returns[rng.random(rows) < draw(st.sampled_from([0.0, 0.5, 0.98]))] = 0.0  # no trades
    jumps = rng.integers(rows, size=draw(st.integers(0, 3)))
    returns[jumps] += draw(st.sampled_from([-1.0, 3.0, -20.0, 300.0]))
    level = draw(st.sampled_from([1e-8, 1.0, 1e9]))
    closes = level * np.exp(np.clip(np.cumsum(returns), -300, 300))
    opens = np.r_[closes[0], closes[:-1]] if draw(st.booleans()) else closes
    wick = draw(st.sampled_from([0.0, 0.01, 5.0]))
    volume = draw(st.sampled_from([0.0, 1e-12, 1e12]))
    frame = pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes) * np.exp(wick * rng.random(rows)),
            "low": np.minimum(opens, closes) * np.exp(-wick * rng.random(rows)),
            "close": closes,
            "volume": volume * (rng.random(rows) < 0.7),
        },
        index=pd.date_range("2024-01-01", periods=rows, freq="1h", tz="UTC"),
    )
    return Candles.from_frame(frame, symbol="ODD", interval="1h")

"""Whatever the history: valid candles, or one sentence on why not."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.baselines import BASELINES
from kronos.candles import Candles
from kronos.errors import DataError


@st.composite
def histories(draw):
    """Candles of odd markets: few rows, standstills, jumps, tiny or huge prices, no volume."""
    rows = draw(st.sampled_from([3, 4, 20, 52, 70, 140]))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    returns = rng.normal(0, draw(st.sampled_from([0.0, 1e-9, 1e-3, 0.5])), rows)
    returns[rng.random(rows) < draw(st.sampled_from([0.0, 0.5, 0.98]))] = 0.0  # it doesn't trade
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


@pytest.mark.parametrize("name", BASELINES)
@settings(max_examples=40, deadline=None)
@given(past=histories())
def test_odd_histories_give_valid_candles_or_a_sentence(name, past):
    times = pd.date_range(past.end, periods=7, freq="1h")[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            made = BASELINES[name](past, 6, samples=4, timestamps=times)  # refuses invalid candles
        except DataError as error:
            assert str(error).endswith(".")  # noqa: PT017
            return
    assert made.paths.shape == (4, 6, 6)


@pytest.mark.parametrize("name", BASELINES)
def test_ordinary_markets_at_tiny_prices_are_not_refused(name):
    rng = np.random.default_rng(4)
    closes = 1e-8 * np.exp(np.cumsum(rng.normal(0, 0.02, 200)))
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), closes))
    frame.index = pd.date_range("2024-01-01", periods=200, freq="1h", tz="UTC")
    made = BASELINES[name](Candles.from_frame(frame, interval="1h"), 6, samples=20)
    assert made.channel("close") == pytest.approx(np.full((20, 6), closes[-1]), rel=0.8)

"""Baselines on odd histories: valid candles or an error."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from baselines.markets import histories
from kronos.baselines import BASELINES
from kronos.candles import Candles
from kronos.errors import DataError


@pytest.mark.slow
@pytest.mark.parametrize("name", BASELINES)
@settings(max_examples=40, deadline=None)
@given(past=histories())
def test_odd_histories_give_valid_candles_or_an_error(name, past):
    times = pd.date_range(past.end, periods=7, freq="1h")[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            forecast = BASELINES[name](past, 6, samples=4, timestamps=times)  # invalid candles are refused
        except DataError as error:
            assert str(error).endswith(".")  # noqa: PT017
            return
    assert forecast.paths.shape == (4, 6, 6)


@pytest.mark.parametrize("name", BASELINES)
def test_tiny_prices_are_accepted(name):
    rng = np.random.default_rng(4)
    closes = 1e-8 * np.exp(np.cumsum(rng.normal(0, 0.02, 200)))
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), closes))
    frame.index = pd.date_range("2024-01-01", periods=200, freq="1h", tz="UTC")
    forecast = BASELINES[name](Candles.from_frame(frame, interval="1h"), 6, samples=20)
    assert forecast.channel("close") == pytest.approx(np.full((20, 6), closes[-1]), rel=0.8)

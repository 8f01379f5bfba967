"""Series of numbers as candles, and the search for real ones."""

import sys
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.adapters import flat_candles
from kronos.adapters.flat_series import find_candle_columns
from kronos.candles import COLUMNS, PRICES
from kronos.errors import DataError, ParameterError

NUMBERS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30)


def hours(count):
    return pd.date_range("2024-01-01", periods=count, freq="h")


@pytest.mark.slow
@given(NUMBERS)
def test_prices_are_positive_and_the_series_comes_back(values):
    flat = flat_candles(values, hours(len(values)), "load")
    frame = flat.candles.frame
    assert (frame[list(PRICES)] > 0).all(axis=None)
    assert (frame[list(PRICES)].nunique(axis=1) == 1).all()
    assert not frame[["volume", "amount"]].any(axis=None)
    np.testing.assert_allclose(frame["close"] - flat.offset, values, atol=1e-9 * max(1, np.ptp(values), flat.offset))
    assert (flat.offset == 0) == (min(values) > 0)
    assert (flat.candles.symbol, str(flat.candles.interval), flat.dropped) == ("load", "1h", 0)


def test_a_series_is_raised_by_its_spread():
    np.testing.assert_array_equal(flat_candles([-3, 0, 1], hours(3), "x").candles.frame["close"], [4, 7, 8])
    np.testing.assert_array_equal(flat_candles([0, 0], hours(2), "x").candles.frame["close"], [1, 1])


def test_missing_values_are_left_out_with_their_times():
    flat = flat_candles([1, np.nan, 3, np.inf, 5], hours(5), "x")
    assert list(flat.candles.index) == list(hours(5)[[0, 2, 4]])
    assert (flat.dropped, str(flat.candles.interval)) == (2, "1h")


def test_unusable_series_are_named():
    with pytest.raises(DataError, match=r"load has no finite value among 2"):
        flat_candles([np.nan, np.nan], hours(2), "load")
    with pytest.raises(DataError, match=r"load has values of shape \(3,\) for 2 times"):
        flat_candles([1, 2, 3], hours(2), "load")
    with pytest.raises(DataError, match=r"^load: "):
        flat_candles([1], hours(1), "load")


def test_columns_of_candles():
    assert find_candle_columns(["Open", "High", "Low", "Close", "Vol"], "y") == {
        "open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Vol"}  # fmt: skip
    assert set(find_candle_columns(COLUMNS, "y")) == set(COLUMNS)
    for labels in (["close"], [0], ["sales", "temperature"]):
        assert not find_candle_columns(labels, "y")
    with pytest.raises(DataError, match=r"^y has no column for low; it has 'open', 'high' and 'close': rename them\.$"):
        find_candle_columns(["open", "high", "close"], "y")


@pytest.mark.parametrize(("extra", "name"), [("sktime", "KronosForecaster"), ("fev", "KronosModel")])
def test_the_libraries_are_extras(monkeypatch, extra, name):
    for module in ("fev", "sktime.forecasting.base"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"kronos.adapters.{extra}", raising=False)
    with pytest.raises(ParameterError, match=rf"{name} needs {extra}: install it with .*kronos-forecast\[{extra}\]"):
        import_module(f"kronos.adapters.{extra}")


def test_exported_names_are_no_modules():
    import kronos.adapters.flat_series

    assert kronos.adapters.flat_candles is kronos.adapters.flat_series.flat_candles
    assert set(kronos.adapters.__all__) == {"FlatSeries", "KronosForecaster", "KronosModel", "flat_candles"}

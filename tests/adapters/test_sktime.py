"""The forecaster of sktime: its own checks, and the numbers of the predictor."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronos import adapters
from kronos.adapters import flat_candles
from kronos.candles import COLUMNS, Candles
from kronos.errors import DataError, ParameterError
from kronos.inference import KronosPredictor
from networks import random_model, random_tokenizer

base = pytest.importorskip(
    "sktime.forecasting.base", reason="needs sktime, of the extra sktime, which make test does not install"
)
KronosForecaster = adapters.KronosForecaster
ROWS, MOST = 40, 12


@pytest.fixture(autouse=True, scope="module")
def predictor():
    """A small model in place of the bundled one."""
    small = KronosPredictor(random_model(0, layers=1), random_tokenizer(0), device="cpu", max_context=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kronos.adapters.sktime._load", lambda model: small)
        yield small


def market(index=None, seed=0):
    """Candles of a random walk, with volume and amount."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2024-01-01", periods=ROWS, freq="h") if index is None else index
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(index))))
    opens = np.r_[100, close[:-1]]
    high, low = np.maximum(opens, close) * 1.002, np.minimum(opens, close) * 0.998
    volume = rng.uniform(1, 2, len(index))
    table = {"open": opens, "high": high, "low": low, "close": close, "volume": volume, "amount": volume * close}
    return pd.DataFrame(table, index=index)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_checks_of_sktime():
    from sktime.utils.estimator_checks import check_estimator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(KronosForecaster, raise_exceptions=False, verbose=False)
    assert len(results) > 200
    assert {name: result for name, result in results.items() if result != "PASSED"} == {}


STEPS = st.lists(st.integers(1, MOST), min_size=1, max_size=5, unique=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=10)
@given(steps=STEPS, seed=st.integers(0, 2**31), columns=st.sets(st.sampled_from(COLUMNS), min_size=1))
def test_the_numbers_of_the_predictor(predictor, steps, seed, columns):
    table = market()
    asked = [name for name in COLUMNS if name in columns]
    others = table.drop(columns=asked)
    forecaster = KronosForecaster(samples=6, seed=seed).fit(table[asked], None if others.empty else others)
    expected = predictor.forecast(table, max(steps), samples=6, seed=seed)
    rows = [step - 1 for step in sorted(steps)]
    frame = expected.median().iloc[rows]
    predicted = forecaster.predict(fh=steps)
    assert list(predicted.columns) == asked
    assert list(predicted.index) == list(frame.index)
    np.testing.assert_array_equal(predicted, frame[asked])
    levels = [0.9, 0.1]
    quantiles = forecaster.predict_quantiles(fh=steps, alpha=levels)
    for name in asked:
        np.testing.assert_array_equal(quantiles[name], expected.quantiles(levels, name).iloc[rows])
    variance = forecaster.predict_var(fh=steps)
    np.testing.assert_allclose(
        variance, np.stack([expected.channel(name)[:, rows].var(axis=0, ddof=1) for name in asked], axis=1)
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=6)
@given(steps=STEPS, shift=st.floats(-200, 0))
def test_flat_candles_have_the_numbers_of_the_predictor(predictor, steps, shift):
    table = market()[["close", "open"]] + shift
    forecaster = KronosForecaster(samples=5, seed=3, flat=True).fit(table)
    for name in table:
        flat = flat_candles(table[name], table.index, name)
        expected = predictor.forecast(flat.candles, max(steps), samples=5, seed=3).median()["close"] - flat.offset
        rows = [step - 1 for step in sorted(steps)]
        np.testing.assert_allclose(forecaster.predict(fh=steps)[name], expected.iloc[rows], rtol=1e-12, atol=1e-9)


def test_intervals_contain_quantiles_and_are_repeatable():
    forecaster = KronosForecaster(samples=20).fit(market())
    first = forecaster.predict_interval(fh=[1, 5], coverage=0.8)
    quantiles = forecaster.predict_quantiles(fh=[1, 5], alpha=[0.1, 0.9])
    np.testing.assert_array_equal(first["close"], quantiles["close"])
    again = (
        copy.deepcopy(forecaster),
        KronosForecaster.load_from_serial(forecaster.save()[1]),
        KronosForecaster(samples=20, seed=forecaster.seed_).fit(market()),
    )
    for other in again:
        pd.testing.assert_frame_equal(first, other.predict_interval(fh=[1, 5], coverage=0.8))
    assert KronosForecaster().fit(market()).seed_ != forecaster.seed_


def test_a_predictor_can_be_passed(predictor):
    forecaster = KronosForecaster(predictor, samples=5, seed=1)
    clone = forecaster.clone().fit(market())
    pd.testing.assert_frame_equal(forecaster.fit(market()).predict(fh=3), clone.predict(fh=3))
    assert forecaster.get_params()["model"] is predictor


@pytest.mark.parametrize("freq", ["M", "D", "h", "W"])
def test_periods(predictor, freq):
    table = market(pd.period_range("2024-01-01", periods=ROWS, freq=freq))
    predicted = KronosForecaster(samples=4, seed=2).fit(table).predict(fh=[2, 4])
    assert list(predicted.index) == [table.index[-1] + 2, table.index[-1] + 4]
    times = pd.period_range(table.index[-1] + 1, periods=4, freq=freq).to_timestamp()
    expected = predictor.forecast(table.set_axis(table.index.to_timestamp()), 4, samples=4, seed=2, timestamps=times)
    np.testing.assert_array_equal(predicted, expected.median().iloc[[1, 3]])


def test_times_of_an_exchange_follow_its_calendar(predictor):
    days = pd.bdate_range("2024-01-02", "2024-03-28").difference(pd.to_datetime(["2024-01-15", "2024-02-19"]))
    table = market(days)  # closed on Martin Luther King's and Presidents' Day
    predicted = KronosForecaster(samples=4, seed=2).fit(table).predict(fh=[1, 2])
    assert list(predicted.index) == list(pd.to_datetime(["2024-04-01", "2024-04-02"]))  # after Good Friday
    np.testing.assert_array_equal(predicted, predictor.forecast(table, 2, samples=4, seed=2).median())


def test_timezones_and_absolute_horizons():
    table = market(pd.date_range("2024-01-01", periods=ROWS, freq="h", tz="Europe/Berlin"))
    forecaster = KronosForecaster(samples=4, seed=2).fit(table)
    absolute = base.ForecastingHorizon(pd.date_range(table.index[-1], periods=4, freq="h")[[1, 3]], is_relative=False)
    pd.testing.assert_frame_equal(forecaster.predict(absolute), forecaster.predict([1, 3]), check_freq=False)


def test_numbers_as_index_need_an_interval(predictor):
    table = market(pd.RangeIndex(5, 5 + ROWS))
    with pytest.raises(DataError, match=r"index of y holds numbers.*index_interval"):
        KronosForecaster().fit(table)
    predicted = KronosForecaster(samples=4, seed=2, index_interval="1d").fit(table).predict(fh=[1, 3])
    assert list(predicted.index) == [ROWS + 5, ROWS + 7]
    times = pd.date_range("2000-01-06", periods=ROWS + 3, freq="D")
    expected = predictor.forecast(table.set_axis(times[:ROWS]), 3, samples=4, seed=2, timestamps=times[ROWS:])
    np.testing.assert_array_equal(predicted, expected.median().iloc[[0, 2]])


def test_an_update_is_a_fit_to_more_rows():
    table, options = market(), {"samples": 4, "seed": 5}
    close, others = table[["close"]], table.drop(columns="close")
    whole = KronosForecaster(**options).fit(close, others)
    for update_params in (True, False):
        updated = KronosForecaster(**options).fit(close.iloc[:30], others.iloc[:30])
        updated.update(close.iloc[25:], others.iloc[25:], update_params=update_params)
        assert updated.cutoff == table.index[[-1]]
        pd.testing.assert_frame_equal(updated.predict(fh=[1, 2]), whole.predict(fh=[1, 2]))


def test_only_the_past_of_x_is_read():
    from sktime.forecasting.model_evaluation import evaluate
    from sktime.split import SlidingWindowSplitter

    table = market()
    close, others = table["close"], table.drop(columns="close")
    split = SlidingWindowSplitter(fh=[1, 2], window_length=30, step_length=4)
    scores = evaluate(KronosForecaster(samples=4, seed=5), split, close, others, return_data=True)
    for _, window in scores.iterrows():
        history = table.loc[window["y_train"].index]
        alone = KronosForecaster(samples=4, seed=5).fit(history[["close"]], history.drop(columns="close"))
        np.testing.assert_array_equal(window["y_pred"], alone.predict(fh=[1, 2])["close"])


def test_panels_are_forecast_series_by_series():
    parts = {name: market(seed=seed) for seed, name in enumerate("ab")}
    panel = pd.concat(parts, names=["symbol", "time"])
    predicted = KronosForecaster(samples=4, seed=5).fit(panel).predict(fh=[1, 3])
    for name, table in parts.items():
        alone = KronosForecaster(samples=4, seed=5).fit(table).predict(fh=[1, 3])
        np.testing.assert_array_equal(predicted.loc[name], alone)


def without_price(table, row):
    changed = table.copy()
    changed.iloc[row, 3] = 0.0
    return changed


def test_nothing_is_guessed():
    table = market()
    with pytest.raises(DataError, match=r"y has no columns open, high, low and close, but 'close': .*flat=True"):
        KronosForecaster().fit(table[["close"]])
    with pytest.raises(DataError, match=r"y has no column for open; .*: rename them"):
        KronosForecaster().fit(table.drop(columns="open"))
    with pytest.raises(DataError, match=r"'vwap' of y is no column of candles: drop it, or pass it as X"):
        KronosForecaster().fit(table.assign(vwap=1.0))
    with pytest.warns(UserWarning, match=r"no candle consists of are not used: 'vwap'"):
        KronosForecaster().fit(table[["close"]], table.drop(columns="close").assign(vwap=1.0))
    with pytest.warns(UserWarning, match=r"y: 1 row\(s\) with a zero or negative price were dropped"):
        KronosForecaster().fit(without_price(table, 3))
    with pytest.raises(DataError, match=r"The last candle of y, of .*, cannot be used\. 1 row\(s\) with a zero"):
        KronosForecaster().fit(without_price(table, -1))
    with pytest.raises(DataError, match=r"1 usable row\(s\); at least 2 candles are needed"):
        KronosForecaster(index_interval="1d").fit(market(pd.RangeIndex(1))).predict(fh=1)
    with pytest.raises(NotImplementedError, match="in-sample"):
        KronosForecaster().fit(table).predict(fh=[-1, 1])
    with pytest.raises(ParameterError, match="pass cov=False"):
        KronosForecaster().fit(table).predict_var(fh=1, cov=True)


def test_names_of_columns_and_missing_volume(predictor):
    table = market()[["open", "high", "low", "close"]]
    named = table.rename(columns=str.title)
    predicted = KronosForecaster(samples=4, seed=5).fit(named).predict(fh=[1])
    assert list(predicted.columns) == ["Open", "High", "Low", "Close"]
    expected = predictor.forecast(Candles.from_frame(table), 1, samples=4, seed=5).median()
    np.testing.assert_array_equal(predicted, expected[list(table.columns)])

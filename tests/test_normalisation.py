"""Normalisation of candles: every one is undone exactly, and reads the history alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import DataError
from kronos.normalisation import NO_VOLUME, STEPS, fit_scaler, mirror_prices, normalise

ALL = ["spread", "steps", "changes"]
PRICES = slice(0, 4)


def walk(rows: int, seed: int = 0, price: float = 100.0, gap: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.normal(size=rows)) * 0.01)
    opens = np.concatenate(([price], close[:-1])) * np.exp(rng.normal(size=rows) * gap)
    spread = close * rng.uniform(0, 0.01, rows)
    volume = rng.lognormal(2, 1, rows)
    high, low = np.maximum(opens, close) + spread, np.minimum(opens, close) - spread
    return np.column_stack((opens, high, low, close, volume, 3 * volume * (opens + high + low + close) / 4))


def mirrored(candles: np.ndarray) -> np.ndarray:
    """Candles whose log prices are upside down."""
    turned = candles.copy()
    turned[:, PRICES] = 1 / candles[:, [0, 2, 1, 3]]
    return turned


def test_steps_last_close_is_zero_and_a_step_an_eighth():
    x, _ = normalise(walk(300), 5, normalisation="steps")
    assert x[-1, 3] == 0
    assert np.sqrt(np.square(np.diff(x[:, 3])).mean()) == pytest.approx(1 / STEPS, rel=1e-3)


def test_steps_keep_the_shape_of_candles():
    candles = walk(300)
    x, scaler = normalise(candles, 50, normalisation="steps")
    assert len(set(scaler.scale[:4])) == 1
    np.testing.assert_allclose((x[:, 1] - x[:, 2]) * scaler.scale[0], candles[:, 1] - candles[:, 2], rtol=1e-4)


def test_volume_has_the_same_scale_for_spread_and_steps():
    spread, steps = fit_scaler(walk(64)), fit_scaler(walk(64), "steps")
    np.testing.assert_array_equal(spread.scale[4:], steps.scale[4:])
    np.testing.assert_array_equal(spread.location[4:], steps.location[4:])


@given(st.sampled_from(ALL), st.integers(2, 40), st.floats(1e-6, 1e6), st.integers(0, 99), st.sampled_from([0, 0.003]))
def test_candles_after_a_history_are_restored_at_any_price(normalisation, rows, price, seed, gap):
    candles = walk(rows + 24, seed, price, gap)
    scaler = fit_scaler(candles[:rows], normalisation)
    x = scaler.transform(candles)
    restored, usual = scaler.inverse_transform(x[rows:]), x[rows:, 4] > 0.75 * NO_VOLUME  # tiny volumes are raised
    np.testing.assert_allclose(restored[:, PRICES], candles[rows:, PRICES], rtol=1e-6)
    np.testing.assert_allclose(restored[usual, 4:], candles[rows:][usual, 4:], rtol=1e-6)
    np.testing.assert_allclose(scaler.inverse_transform_last(x[rows - 1])[3], candles[rows - 1, 3], rtol=1e-6)


@given(st.sampled_from(ALL), st.integers(3, 60), st.integers(0, 99))
def test_the_future_changes_nothing_before_it(normalisation, known, seed):
    candles = walk(80, seed, gap=0.002)
    other = candles.copy()
    other[known:] = candles[known:] * np.array([2, 2, 2, 2, 9, 18])
    scaler = fit_scaler(candles[:known], normalisation)
    np.testing.assert_array_equal(scaler.transform(candles)[:known], scaler.transform(other)[:known])


@given(st.floats(1e-9, 1e9), st.floats(1e-6, 1e9), st.integers(0, 99))
def test_changes_do_not_depend_on_the_units_of_price_and_volume(price, unit, seed):
    candles = walk(60, seed, gap=0.002)
    scaled = candles * np.array([price] * 4 + [unit, unit * price])
    x, other = (normalise(values, 5, normalisation="changes")[0] for values in (candles, scaled))
    np.testing.assert_allclose(x, other, atol=1e-4)


@given(st.integers(2, 60), st.integers(0, 99))
def test_mirrored_prices_are_the_prices_upside_down(rows, seed):
    candles = walk(rows, seed, gap=0.002)
    x, turned = (normalise(values, 5, normalisation="changes")[0] for values in (candles, mirrored(candles)))
    np.testing.assert_allclose(mirror_prices(x, "changes"), turned, atol=1e-4)
    x, _ = normalise(candles, 5, normalisation="steps")
    np.testing.assert_array_equal(mirror_prices(mirror_prices(x, "steps"), "steps"), x)


@pytest.mark.parametrize("normalisation", ALL)
def test_constant_prices_are_finite(normalisation):
    x, scaler = normalise(np.full((20, 6), 3.0), 5, normalisation=normalisation)
    assert np.isfinite(x).all()
    assert (scaler.scale > 0).all()
    assert np.isfinite(scaler.inverse_transform(np.full((24, 6), 4.9))).all()


def test_volume_follows_the_range_of_a_candle():
    rng = np.random.default_rng(1)
    candles = walk(400, 1)
    ranges = np.log(candles[:, 1] / candles[:, 2])
    candles[:, 4] = 50 * ranges**0.9 * np.exp(rng.normal(size=400) * 0.2)
    scaler = fit_scaler(candles, "changes")
    assert scaler.slope == pytest.approx(0.9, abs=0.25)
    x = np.zeros((1, 2, 6))
    x[0, 1, 1:3] = 3.0  # long wicks, and the usual volume for them
    calm, wild = scaler.inverse_transform(x)[0, :, 4]
    assert wild > 2 * calm


def test_candles_without_trades_have_no_volume():
    candles = walk(50)
    candles[[3, 7, 49], 4:] = 0
    scaler = fit_scaler(candles, "changes")
    x = scaler.transform(candles)
    assert set(np.flatnonzero(x[:, 4] == NO_VOLUME)) == {3, 7, 49}
    assert (scaler.inverse_transform(x)[[3, 7, 49], 4:] == 0).all()
    candles[:, 4:] = 0
    scaler = fit_scaler(candles, "changes")
    assert (scaler.transform(candles)[:, 4] == NO_VOLUME).all()
    assert (scaler.inverse_transform(np.ones((5, 6)))[:, 4:] == 0).all()


def test_amount_is_that_of_volume_and_prices():
    candles = walk(50)
    scaler = fit_scaler(candles, "changes")
    assert scaler.multiple == pytest.approx(3)
    restored = scaler.inverse_transform(scaler.transform(candles))
    np.testing.assert_allclose(restored[:, 5], 3 * restored[:, 4] * restored[:, :4].mean(1))


def test_few_candles_have_a_usable_volatility():
    """Returns of 7 candles have a standard deviation of a quarter of the volatility; ranges know it better."""
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        ticks = np.exp(np.cumsum(rng.normal(size=(8, 100)) * 0.001).reshape(8, 100))
        candles = np.column_stack((ticks[:, 0], ticks.max(1), ticks.min(1), ticks[:, -1], *np.ones((2, 8))))
        found.append(fit_scaler(candles, "changes").volatility)
    assert np.mean(found) == pytest.approx(0.01, rel=0.1)
    assert np.std(found) < 0.2 * np.mean(found)


def test_prices_must_be_positive_for_logarithms():
    candles = walk(20)
    candles[4, 2] = -1.0
    with pytest.raises(DataError, match="not above 0"):
        normalise(candles, 5, normalisation="changes")

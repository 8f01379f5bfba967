import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kronos.errors import DataError, ParameterError
from kronos.forecasts import repair_candles
from kronos.forecasts.repair import valid_candles

GOOD = [10.0, 12.0, 9.0, 11.0, 5.0, 50.0]
numbers = st.floats(-1e12, 1e12) | st.sampled_from([0.0, -0.0, 5e-324, np.inf, -np.inf, np.nan])
shapes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.just(6))


@given(hnp.arrays(np.float64, shapes, elements=numbers))
def test_result_is_valid_and_repair_is_idempotent(raw):
    if not np.isfinite(raw[..., :4]).any(axis=(1, 2)).all():
        with pytest.raises(DataError, match="no finite price"):
            repair_candles(raw)
        return
    before = raw.copy()
    repaired, share = repair_candles(raw)
    assert valid_candles(repaired).all()
    assert np.array_equal(raw, before, equal_nan=True)
    assert share >= 1 - valid_candles(raw).mean() - 1e-12
    again, none = repair_candles(repaired)
    assert np.array_equal(again, repaired)
    assert none == 0.0


@given(hnp.arrays(np.float64, (3, 4, 6), elements=st.floats(1, 1e3)))
def test_valid_candles_are_unchanged(raw):
    raw[..., 1] = raw[..., :4].max(-1)
    raw[..., 2] = raw[..., :4].min(-1)
    repaired, share = repair_candles(raw)
    assert np.array_equal(repaired, raw)
    assert share == 0.0


def test_high_and_low_include_open_and_close():
    repaired, share = repair_candles([[[10, 9, 11, 12, 5, 1], GOOD]])
    assert repaired[0, 0, :4].tolist() == [10, 12, 9, 12]
    assert repaired[0, 1].tolist() == GOOD
    assert share == 0.5


def test_negative_and_missing_turnover_becomes_zero():
    repaired, share = repair_candles([[[*GOOD[:4], -3, np.nan]]])
    assert repaired[0, 0].tolist() == [*GOOD[:4], 0, 0]
    assert share == 1.0


def test_prices_are_raised_to_a_ten_thousandth_of_the_highest():
    repaired, _ = repair_candles([[[10, 20, -5, 0, 0, 0]], [[-1, -1, -1, -1, 0, 0]]])
    assert repaired[0, 0, :4] == pytest.approx([10, 20, 0.002, 0.002])
    assert repaired[1, 0, :4] == pytest.approx([1e-8] * 4)


def test_missing_prices_become_the_previous_close():
    repaired, share = repair_candles([[GOOD, [np.nan, np.inf, np.nan, 13, 1, 1]]])
    assert repaired[0, 1, :4].tolist() == [11, 13, 11, 13]
    assert share == 0.5


@pytest.mark.parametrize("shape", [(3, 6), (0, 4, 6), (2, 3, 5)])
def test_invalid_shapes_are_refused(shape):
    with pytest.raises(ParameterError, match="shape"):
        repair_candles(np.ones(shape))

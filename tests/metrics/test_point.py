import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kronos.errors import ParameterError
from kronos.metrics import crps, mae, mase, naive_scale, rmse, scaled_quantile_loss, weighted_quantile_loss

values = st.floats(-1e3, 1e3)
LEVELS = [0.1, 0.5, 0.9]


def test_mae_and_rmse_by_hand():
    assert mae([1, 2, 3], [2, 2, 5]) == pytest.approx(1.0)
    assert rmse([1, 2, 3], [2, 2, 5]) == pytest.approx(math.sqrt(5 / 3))
    assert mae([1, math.nan, 3], [2, 2, math.nan]) == pytest.approx(1.0)
    assert math.isnan(mae([math.nan], [1]))
    assert math.isnan(rmse([], []))


@given(hnp.arrays(np.float64, 9, elements=values), hnp.arrays(np.float64, 9, elements=values))
def test_rmse_is_at_least_mae(predicted, observed):
    assert rmse(predicted, observed) >= mae(predicted, observed) - 1e-9


def test_naive_scale_by_hand():
    assert naive_scale([1, 3, 2, 6]) == pytest.approx(7 / 3)
    assert naive_scale([1, 3, 2, 6], season=2) == pytest.approx(2.0)
    assert naive_scale([1, math.nan, 2, 6]) == pytest.approx(4.0)
    assert naive_scale([[1, 2], [3, 7]], axis=0) == pytest.approx([2.0, 5.0])
    assert math.isnan(naive_scale([1.0]))
    with pytest.raises(ParameterError):
        naive_scale([1, 2], season=0)


def test_mase_of_the_naive_forecast_is_one_in_sample():
    walk = np.random.default_rng(0).normal(size=300).cumsum()
    assert mase(walk[:-1], walk[1:], naive_scale(walk)) == pytest.approx(1.0)


def test_mase_leaves_out_what_has_no_scale():
    assert mase([1, 1, 1], [2, 2, 2], [0.5, 0.0, math.nan]) == pytest.approx(2.0)


def test_weighted_quantile_loss_by_hand():
    """One level: 2 Σ pinball / Σ |y|; several: their mean. The median's is Σ |error| / Σ |y|."""
    assert weighted_quantile_loss([[1, 1]], [3, -2], [0.5]) == pytest.approx(5 / 5)
    low = 2 * (0.1 * 2 + 0.9 * 3) / 5
    assert weighted_quantile_loss([[1, 1]], [3, -2], [0.1]) == pytest.approx(low)
    assert weighted_quantile_loss([[1, 1], [1, 1]], [3, -2], [0.1, 0.5]) == pytest.approx((low + 1) / 2)
    assert weighted_quantile_loss([[1, 1]], [3, math.nan], [0.5]) == pytest.approx(2 / 3)
    assert math.isnan(weighted_quantile_loss([[1.0]], [0.0], [0.5]))


def test_scaled_quantile_loss_of_the_median_is_mase():
    rng = np.random.default_rng(1)
    median, observed, scale = rng.normal(size=(3, 20))
    scale = np.abs(scale)
    assert scaled_quantile_loss(median[None], observed, [0.5], scale) == pytest.approx(mase(median, observed, scale))


def test_quantile_losses_at_many_levels_tend_to_the_crps():
    """CRPS is twice the pinball loss, averaged over all levels (Gneiting & Ranjan 2011)."""
    samples = np.random.default_rng(2).normal(size=5000)
    levels = (np.arange(500) + 0.5) / 500
    loss = scaled_quantile_loss(np.quantile(samples, levels)[:, None], [0.3], levels, 1.0)
    assert loss == pytest.approx(float(crps(samples, 0.3)), rel=0.01)


def test_quantile_losses_refuse_what_does_not_fit():
    with pytest.raises(ParameterError, match="shape"):
        weighted_quantile_loss([[1, 1]], [1, 1], LEVELS)
    with pytest.raises(ParameterError, match="level"):
        scaled_quantile_loss([[1, 1]], [1, 1], [1.0], 1.0)

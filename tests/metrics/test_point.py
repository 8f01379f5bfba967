import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kronos.errors import ParameterError
from kronos.metrics import (
    crps,
    mae,
    mase,
    naive_scale,
    qlike,
    realised_volatility,
    rmse,
    scaled_quantile_loss,
    volatility_scores,
    weighted_quantile_loss,
)

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


def test_mase_ignores_pairs_without_scale():
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


def test_quantile_losses_at_many_levels_converge_to_the_crps():
    """CRPS is twice the pinball loss, averaged over all levels (Gneiting & Ranjan 2011)."""
    samples = np.random.default_rng(2).normal(size=5000)
    levels = (np.arange(500) + 0.5) / 500
    loss = scaled_quantile_loss(np.quantile(samples, levels)[:, None], [0.3], levels, 1.0)
    assert loss == pytest.approx(float(crps(samples, 0.3)), rel=0.01)


def test_quantile_losses_refuse_mismatched_shapes():
    with pytest.raises(ParameterError, match="shape"):
        weighted_quantile_loss([[1, 1]], [1, 1], LEVELS)
    with pytest.raises(ParameterError, match="level"):
        scaled_quantile_loss([[1, 1]], [1, 1], [1.0], 1.0)


positive = st.floats(1e-6, 1e3)


def test_realised_volatility_is_the_sum_of_squares():
    assert realised_volatility([0.1, -0.2, 0.2]) == pytest.approx(0.09)
    assert realised_volatility([[1, 2], [3, 4]], axis=0) == pytest.approx([10, 20])
    assert math.isnan(realised_volatility([0.1, math.nan]))
    with pytest.raises(ParameterError):
        realised_volatility([])


@given(positive, positive, st.floats(0.1, 10))
def test_qlike_is_minimal_at_the_outcome_and_independent_of_unit(predicted, observed, unit):
    assert qlike(predicted, observed) >= -1e-12
    assert qlike(observed, observed) == pytest.approx(0.0)
    loss = float(qlike(predicted, observed))
    assert qlike(unit * predicted, unit * observed) == pytest.approx(loss, rel=1e-9, abs=1e-9)


def test_qlike_at_zero():
    assert qlike([2.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]) == pytest.approx(
        [0.5 - math.log(0.5) - 1, math.inf, math.nan, math.nan], nan_ok=True
    )
    with pytest.raises(ParameterError, match="negative"):
        qlike(-1.0, 1.0)


def test_volatility_scores_by_hand():
    result = volatility_scores([1, 2, 3, math.nan], [1, 3, 5, 1])
    assert result.n == 3
    assert result.mae == pytest.approx(1.0)
    assert result.r2 == pytest.approx(1 - 5 / 8)
    assert result.r2_regression == pytest.approx(1.0)
    assert result.qlike == pytest.approx(np.mean([r - math.log(r) - 1 for r in (1, 1.5, 5 / 3)]))


def test_r2_equals_independent_computations():
    rng = np.random.default_rng(0)
    observed = rng.exponential(size=100)
    predicted = observed * rng.uniform(0.5, 1.5, 100) + 0.1
    result = volatility_scores(predicted, observed)
    assert result.r2_regression == pytest.approx(np.corrcoef(predicted, observed)[0, 1] ** 2)
    assert volatility_scores(np.full(100, observed.mean()), observed).r2 == pytest.approx(0.0)
    assert math.isnan(volatility_scores(np.full(100, 1.0), observed).r2_regression)
    assert math.isnan(volatility_scores([1, 2], [3, 3]).r2)


def test_volatility_scores_without_known_pairs_are_nan():
    result = volatility_scores([math.nan], [1.0])
    assert result.n == 0
    assert math.isnan(result.mae)
    assert math.isnan(result.qlike)
    assert math.isnan(volatility_scores([1.0], [0.0]).qlike)


def test_qlike_is_proper_where_squared_error_is_not_robust():
    """The true variance has the least mean QLIKE, though only a noisy proxy of it is seen."""
    rng = np.random.default_rng(1)
    variance = rng.lognormal(size=20_000)
    proxy = variance * rng.chisquare(5, 20_000) / 5
    losses = [qlike(factor * variance, proxy).mean() for factor in (0.7, 1.0, 1.4)]
    assert losses[1] == min(losses)

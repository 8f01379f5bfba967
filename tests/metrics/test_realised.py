import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import ParameterError
from kronos.metrics import qlike, realised_volatility, volatility_scores

positive = st.floats(1e-6, 1e3)


def test_realised_volatility_is_the_sum_of_squares():
    assert realised_volatility([0.1, -0.2, 0.2]) == pytest.approx(0.09)
    assert realised_volatility([[1, 2], [3, 4]], axis=0) == pytest.approx([10, 20])
    assert math.isnan(realised_volatility([0.1, math.nan]))
    with pytest.raises(ParameterError):
        realised_volatility([])


@given(positive, positive, st.floats(0.1, 10))
def test_qlike_is_least_at_the_truth_and_minds_no_unit(predicted, observed, unit):
    assert qlike(predicted, observed) >= -1e-12
    assert qlike(observed, observed) == pytest.approx(0.0)
    loss = float(qlike(predicted, observed))
    assert qlike(unit * predicted, unit * observed) == pytest.approx(loss, rel=1e-9, abs=1e-9)


def test_qlike_at_its_edges():
    assert qlike([2.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]) == pytest.approx(
        [0.5 - math.log(0.5) - 1, math.inf, math.nan, math.nan], nan_ok=True
    )
    with pytest.raises(ParameterError, match="negative"):
        qlike(-1.0, 1.0)


def test_scores_by_hand():
    done = volatility_scores([1, 2, 3, math.nan], [1, 3, 5, 1])
    assert done.n == 3
    assert done.mae == pytest.approx(1.0)
    assert done.r2 == pytest.approx(1 - 5 / 8)
    assert done.r2_regression == pytest.approx(1.0)
    assert done.qlike == pytest.approx(np.mean([r - math.log(r) - 1 for r in (1, 1.5, 5 / 3)]))


def test_r2_equals_independent_computations():
    rng = np.random.default_rng(0)
    observed = rng.exponential(size=100)
    predicted = observed * rng.uniform(0.5, 1.5, 100) + 0.1
    done = volatility_scores(predicted, observed)
    assert done.r2_regression == pytest.approx(np.corrcoef(predicted, observed)[0, 1] ** 2)
    assert volatility_scores(np.full(100, observed.mean()), observed).r2 == pytest.approx(0.0)
    assert math.isnan(volatility_scores(np.full(100, 1.0), observed).r2_regression)
    assert math.isnan(volatility_scores([1, 2], [3, 3]).r2)


def test_nothing_known_is_unknown():
    done = volatility_scores([math.nan], [1.0])
    assert done.n == 0
    assert math.isnan(done.mae)
    assert math.isnan(done.qlike)
    assert math.isnan(volatility_scores([1.0], [0.0]).qlike)


def test_qlike_is_proper_where_squared_error_is_not_robust():
    """The true variance has the least mean QLIKE, though only a noisy proxy of it is seen."""
    rng = np.random.default_rng(1)
    variance = rng.lognormal(size=20_000)
    proxy = variance * rng.chisquare(5, 20_000) / 5
    losses = [qlike(factor * variance, proxy).mean() for factor in (0.7, 1.0, 1.4)]
    assert losses[1] == min(losses)

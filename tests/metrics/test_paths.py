import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kronos.errors import ParameterError
from kronos.metrics import crps, energy_score

values = st.floats(-1e3, 1e3)
ensembles = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(1, 4)), elements=values
)  # [origins, S, H]


@given(ensembles, st.data())
def test_it_is_its_definition(samples, data):
    """mean ‖x - y‖ - ΣΣ ‖xᵢ - xⱼ‖ / (2 S (S - 1)), pair by pair."""
    origins, size, steps = samples.shape
    observed = data.draw(hnp.arrays(np.float64, (origins, steps), elements=values))
    distance = np.linalg.norm(samples - observed[:, None], axis=2).mean(axis=1)
    pairs = np.linalg.norm(samples[:, :, None] - samples[:, None], axis=3).sum(axis=(1, 2))
    spread = pairs / (2 * size * (size - 1)) if size > 1 else 0.0
    assert energy_score(samples, observed) == pytest.approx(distance - spread, abs=1e-9)


@given(ensembles, st.data())
def test_it_ignores_the_order_of_paths_and_scales_with_them(samples, data):
    observed = data.draw(hnp.arrays(np.float64, samples.shape[::2], elements=values))
    order = data.draw(st.permutations(range(samples.shape[1])))
    expected = energy_score(samples, observed)
    assert energy_score(samples[:, order], observed) == pytest.approx(expected, abs=1e-9)
    assert energy_score(3 * samples + 5, 3 * observed + 5) == pytest.approx(3 * expected, abs=1e-9)
    assert energy_score(np.moveaxis(samples, 1, 0), observed, axis=0) == pytest.approx(expected, abs=1e-9)


def test_it_equals_scoringrules():
    scoringrules = pytest.importorskip("scoringrules", reason="needs the evaluation extra")
    rng = np.random.default_rng(0)
    samples, observed = rng.normal(size=(7, 20, 5)), rng.normal(size=(7, 5))
    theirs = scoringrules.es_ensemble(observed, samples, estimator="fair")
    assert energy_score(samples, observed) == pytest.approx(theirs, abs=1e-12)


def test_of_one_step_it_is_the_crps():
    rng = np.random.default_rng(1)
    samples, observed = rng.normal(size=(30, 9)), rng.normal(size=9)
    assert energy_score(samples.T[:, :, None], observed[:, None]) == pytest.approx(crps(samples, observed), abs=1e-12)


def test_many_origins_score_as_each_alone():
    """Parts bound the memory and change nothing."""
    rng = np.random.default_rng(2)
    samples, observed = rng.normal(size=(500, 50, 24)), rng.normal(size=(500, 24))
    whole = energy_score(samples, observed)
    for i in (0, 54, 55, 499):
        assert whole[i] == energy_score(samples[i], observed[i])


def test_unknown_steps_make_an_unknown_score():
    samples, observed = np.zeros((2, 3, 2)), np.array([[0.0, math.nan], [3.0, 4.0]])
    assert energy_score(samples, observed) == pytest.approx([math.nan, 5.0], nan_ok=True)
    assert energy_score(np.empty((0, 3, 2)), np.empty((0, 2))).shape == (0,)


def test_it_is_proper_and_unbiased():
    """On average the true distribution scores best, with 5 paths as with 40."""
    rng = np.random.default_rng(3)
    observed = rng.normal(size=(4000, 6)).cumsum(axis=1)

    def mean(size, scale=1.0, drift=0.0, steps=None):
        walks = rng.normal(drift, scale, size=(4000, size, 6)).cumsum(axis=2)
        return energy_score(walks if steps is None else walks[:, :, steps], observed).mean()

    true = mean(40)
    assert mean(5) == pytest.approx(true, rel=0.02)
    assert true < min(mean(40, 0.6), mean(40, 1.6), mean(40, drift=0.4))
    assert true < mean(40, steps=[5, 4, 3, 2, 1, 0])  # wrong dependence between steps


def test_it_refuses_what_are_no_paths():
    with pytest.raises(ParameterError, match="axis"):
        energy_score(np.zeros((3, 4)), np.zeros(3), axis=1)
    with pytest.raises(ParameterError, match="at least one path"):
        energy_score(np.zeros((0, 4)), np.zeros(4))
    with pytest.raises(ParameterError, match="shape"):
        energy_score(np.zeros((3, 4)), np.zeros(3))

import copy
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import ParameterError
from kronos.forecasts import Probability, log_returns

counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_probability_is_never_certain_and_lies_in_its_interval(pair):
    probability = Probability(*pair)
    assert 0 < probability < 1
    assert 0 <= probability.low <= probability <= probability.high <= 1
    assert probability.low < probability.high
    shown = re.findall(r"(?:[<>] )?\d+", str(probability).split(" %, ")[0])  # value, low, high
    assert len(shown) == 3
    assert not {"0", "100"} & set(shown)


@given(counts)
def test_probability_and_complement_add_up_to_one(pair):
    count, paths = pair
    assert Probability(count, paths) + Probability(paths - count, paths) == pytest.approx(1.0)


def test_probability_known_values():
    """Jeffreys' mean 7.5 / 11; Wilson's interval of 7 of 10, worked by hand."""
    probability = Probability.of(np.arange(10) < 7)
    assert probability.value == pytest.approx(7.5 / 11)
    assert (probability.low, probability.high) == pytest.approx((0.3968, 0.8922), abs=5e-5)
    assert str(probability) == "68 % (40–89 %, 10 paths)"
    assert str(Probability(0, 500)) == "< 1 % (< 1 – < 1 %, 500 paths)"
    assert str(Probability(500, 500)).startswith("> 99 %")


def test_probability_can_be_copied_and_converted():
    probability = Probability(3, 30)
    assert copy.deepcopy(probability).to_dict() == probability.to_dict()
    assert probability.to_dict()["paths"] == 30


@pytest.mark.parametrize(("count", "paths"), [(0, 0), (-1, 5), (6, 5)])
def test_probability_refuses_impossible_counts(count, paths):
    with pytest.raises(ParameterError):
        Probability(count, paths)


def test_log_returns_along_the_last_axis():
    prices = np.array([[1.0, np.e, np.e], [4.0, 2.0, 4.0]])
    assert log_returns(prices) == pytest.approx(np.array([[1.0, 0.0], [-np.log(2), np.log(2)]]))

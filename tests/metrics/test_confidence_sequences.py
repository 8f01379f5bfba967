import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom

from kronos.errors import ParameterError
from kronos.metrics import betting_interval, betting_sequence, betting_test, empirical_bernstein_sequence
from kronos.metrics.confidence_sequences import gamma_exponential_bound

ALPHA = 0.05


def allowance(records, alpha=ALPHA):
    """Number of false alarms that a valid method exceeds once in a thousand tests."""
    return binom.ppf(0.999, records, alpha)


def test_bound_equals_confseq():
    # uniform_boundaries_unittest.cpp of confseq: bound(100, log(1 / 0.05)) of GammaExponentialMixture(100, 0.05, 2)
    assert 2 * gamma_exponential_bound(100 / 4, 0.05, 100 / 4) == pytest.approx(33.02017, abs=1e-5)


@pytest.mark.parametrize("variance", [0.0, 0.3, 7.0, 4000.0])
def test_bound_solves_the_mixture(variance):
    alpha, optimal = 0.0125, 2.0
    evidence = -2 * math.log(2 * alpha)
    rho = optimal / (evidence + math.log1p(evidence))
    bound = float(gamma_exponential_bound(variance, alpha, optimal))

    def mixture(total, time, peak):  # ∫ (1 - λ)^(V + ρ - 1) exp(λ (S + V + ρ)) dλ by quadrature, over its value at 0
        def log_density(x):
            return (time + rho - 1) * math.log1p(-x) + x * (total + time + rho)

        whole, _ = quad(lambda x: math.exp(log_density(x) - log_density(peak)), 0, 1, points=[peak], limit=500)
        return math.log(whole) + log_density(peak)

    peak = min(max(1 - max(variance + rho - 1, 1e-3) / (bound + variance + rho), 0.0), 0.999)
    start, _ = quad(lambda x: (1 - x) ** (rho - 1) * math.exp(rho * x), 0, 1)
    assert mixture(bound, variance, peak) - math.log(start) == pytest.approx(math.log(1 / alpha), rel=1e-6)


def test_bound_is_monotone_in_variance_and_level():
    variance = np.linspace(0, 500, 2000)
    bound = gamma_exponential_bound(variance, 0.025)
    assert (np.diff(bound) > 0).all()
    assert (gamma_exponential_bound(variance, 0.001) > bound).all()
    tiny = gamma_exponential_bound(variance, 0.6)  # a level that nobody asks for is still a bound
    assert np.isfinite(tiny).all()


def bounded(kind, records, size, seed=0):
    """Values in -1 to 2 of several records, and their conditional means."""
    rng = np.random.default_rng(seed)
    shape = (records, size)
    if kind == "uniform":
        return rng.uniform(-1, 2, shape), np.full(shape, 0.5)
    if kind == "bernoulli":
        return np.where(rng.random(shape) < 0.1, 2.0, -1.0), np.full(shape, -0.7)
    if kind == "heteroscedastic":
        width = np.where(np.arange(size) % 40 < 20, 0.02, 1.5)
        return 0.5 + width * rng.choice([-1.0, 1.0], shape), np.full(shape, 0.5)
    # The mean drifts and follows the last value: a record whose values depend on each other.
    chance = np.empty(shape)
    values = np.empty(shape)
    for i in range(size):
        last = values[:, i - 1] if i else np.zeros(records)
        chance[:, i] = 0.5 + 0.3 * np.sin(i / 30) + 0.1 * np.sign(last - 0.5)
        values[:, i] = np.where(rng.random(records) < chance[:, i], 2.0, -1.0)
    return values, 3 * chance - 1


@pytest.mark.parametrize("kind", ["uniform", "bernoulli", "heteroscedastic", "drifting"])
def test_empirical_bernstein_sequences_hold_at_every_look(kind):
    records, size = 1000, 150
    values, means = bounded(kind, records, size)
    truth = np.cumsum(means, axis=1) / np.arange(1, size + 1)
    alarms = 0
    for row, mean in zip(values, truth, strict=True):
        found = empirical_bernstein_sequence(row, low=-1, high=2, alpha=ALPHA)
        alarms += bool(((mean < found.lower) | (mean > found.upper)).any())
    assert alarms <= allowance(records)


@pytest.mark.parametrize("kind", ["uniform", "bernoulli", "heteroscedastic"])
def test_betting_tests_hold_at_every_look(kind):
    records, size = 3000, 300
    values, means = bounded(kind, records, size, seed=1)
    mean = (means[0, 0] + 1) / 3
    smallest = np.array([betting_test((row + 1) / 3, mean, ALPHA).p_values[-1] for row in values])
    for alpha in (0.2, 0.05, 0.01):
        assert (smallest <= alpha).sum() <= allowance(records, alpha)


def test_fixed_intervals_do_not_hold_at_every_look():
    values = np.random.default_rng(0).normal(0, 1, (1000, 150))
    count = np.arange(1, 151)
    means = np.cumsum(values, axis=1) / count
    alarms = (np.abs(means[:, 9:]) > 1.96 / np.sqrt(count[9:])).any(axis=1).mean()
    assert alarms > 3 * ALPHA  # what these sequences are for


def test_betting_test_sequence_and_interval_agree():
    x = np.random.default_rng(3).beta(2, 5, 200)
    sequence = betting_sequence(x)
    for size in (1, 2, 20, 200):
        lower, upper = betting_interval(x[:size])
        assert sequence.lower[size - 1] == pytest.approx(lower, abs=1e-3)
        assert sequence.lower[size - 1] <= lower
        assert sequence.upper[size - 1] == pytest.approx(upper, abs=1e-3)
        assert sequence.upper[size - 1] >= upper
    lower, upper = betting_interval(x)
    assert (
        betting_test(x, lower - 1e-6).log_above[-1] > math.log(2 / ALPHA) > betting_test(x, lower + 1e-6).log_above[-1]
    )
    assert (
        betting_test(x, upper + 1e-6).log_below[-1] > math.log(2 / ALPHA) > betting_test(x, upper - 1e-6).log_below[-1]
    )
    assert betting_test(x, 0.5).rejects(ALPHA) == (False, True)
    assert betting_test(x, 0.1).rejects(ALPHA) == (True, False)


def test_capital_is_that_of_the_published_algorithm():
    x, mean = np.random.default_rng(8).random(40), 0.37
    total, squares, above, below, found = 0.5, 0.25, 1.0, 1.0, []
    variance = 0.25
    for i, value in enumerate(x, 1):  # Waudby-Smith & Ramdas 2023, equations 25 and 26, one value at a time
        bet = math.sqrt(2 * math.log(2 / ALPHA) / (variance * i * math.log(i + 1)))
        above *= 1 + min(bet, 0.5 / mean) * (value - mean)
        below *= 1 - min(bet, 0.5 / (1 - mean)) * (value - mean)
        total += value
        squares += (value - total / (i + 1)) ** 2
        variance = squares / (i + 1)
        found.append(min(1, 2 / max(1e-300, above + below)))
    test = betting_test(x, mean, ALPHA)
    assert (test.log_above[-1], test.log_below[-1]) == pytest.approx((math.log(above), math.log(below)))
    assert test.p_values == pytest.approx(np.minimum.accumulate(found))


def test_widths_shrink_with_the_variance():
    rng = np.random.default_rng(5)
    calm, wild = rng.uniform(0.45, 0.55, 500), rng.choice([0.0, 1.0], 500)
    for method in (lambda x: empirical_bernstein_sequence(x, low=0, high=1), betting_sequence):
        narrow, wide = method(calm), method(wild)
        assert narrow.upper[-1] - narrow.lower[-1] < (wide.upper[-1] - wide.lower[-1]) / 3


def test_sequences_move_with_the_range():
    x = np.random.default_rng(2).random(50)
    unit = empirical_bernstein_sequence(x, low=0, high=1)
    moved = empirical_bernstein_sequence(4 * x - 3, low=-3, high=1)
    for name in ("estimate", "lower", "upper"):
        assert getattr(moved, name) == pytest.approx(4 * getattr(unit, name) - 3)
    mirrored = empirical_bernstein_sequence(1 - x, low=0, high=1)
    assert mirrored.lower == pytest.approx(1 - unit.upper)
    flipped, straight = betting_sequence(1 - x), betting_sequence(x)
    assert flipped.lower == pytest.approx(1 - straight.upper)


def test_values_depend_on_earlier_ones_only():
    x = np.random.default_rng(4).random(80)
    for method in (lambda x: empirical_bernstein_sequence(x, low=0, high=1), betting_sequence):
        part, whole = method(x[:33]), method(x)
        assert part.lower == pytest.approx(whole.lower[:33], abs=1e-12)
        assert part.upper == pytest.approx(whole.upper[:33], abs=1e-12)


def test_without_values_there_are_no_bounds():
    assert len(empirical_bernstein_sequence([], low=0, high=1).lower) == 0
    assert len(betting_sequence([]).upper) == 0
    assert betting_interval([]) == (0.0, 1.0)
    assert betting_test([], 0.5).rejects(0.05) == (False, False)


def test_constant_values():
    ones = np.ones(100)
    lower, upper = betting_interval(ones)
    assert 0.9 < lower < 1
    assert upper == 1.0
    assert betting_interval(1 - ones) == pytest.approx((0.0, 1 - lower))
    found = empirical_bernstein_sequence(ones, low=0, high=1)
    assert found.upper[-1] == 1.0
    assert 0.9 < found.lower[-1] < 1


def test_arguments_are_checked():
    with pytest.raises(ParameterError, match="alpha"):
        empirical_bernstein_sequence([0.5], low=0, high=1, alpha=1.0)
    with pytest.raises(ParameterError, match="range"):
        empirical_bernstein_sequence([0.5], low=1, high=1)
    with pytest.raises(ParameterError, match="optimal variance"):
        empirical_bernstein_sequence([0.5], low=0, high=1, optimal_variance=0)
    with pytest.raises(ParameterError, match="all must be between"):
        empirical_bernstein_sequence([0.5], low=0, high=0.4)
    with pytest.raises(ParameterError, match="values"):
        betting_sequence([0.5, math.nan])
    with pytest.raises(ParameterError, match="mean"):
        betting_test([0.5], 1.0)

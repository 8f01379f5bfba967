import math
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from kronos.errors import ParameterError
from kronos.metrics import diebold_mariano, model_confidence_set, superior_predictive_ability


def by_hand(difference, lags, overlap):
    """Diebold & Mariano's statistic with Bartlett's weights and Harvey, Leybourne & Newbold's correction."""
    count = len(difference)
    around = difference - difference.mean()
    variance = sum(around**2) / count
    for lag in range(1, lags + 1):
        covariance = sum(around[i] * around[i - lag] for i in range(lag, count)) / count
        variance += 2 * (1 - lag / (lags + 1)) * covariance
    correction = math.sqrt((count + 1 - 2 * overlap + overlap * (overlap - 1) / count) / count)
    return correction * difference.mean() / math.sqrt(variance / count)


def losses(seed=0, size=120):
    rng = np.random.default_rng(seed)
    return rng.exponential(size=size), rng.exponential(1.3, size=size)


@pytest.mark.parametrize(("overlap", "lags"), [(1, None), (1, 0), (4, None), (6, 5), (3, 20)])
def test_diebold_mariano_equals_its_definition(overlap, lags):
    ours, theirs = losses()
    result = diebold_mariano(ours, theirs, overlap=overlap, lags=lags)
    chosen = {(1, None): 5, (4, None): 6}.get((overlap, lags), lags)
    expected = by_hand(ours - theirs, chosen, overlap)
    assert result.lags == chosen
    assert result.estimate == pytest.approx((ours - theirs).mean())
    assert result.statistic == pytest.approx(expected)
    degrees = min(119, 120 / (chosen + 1))
    assert result.p_value == pytest.approx(2 * student.sf(abs(expected), degrees))
    swapped = diebold_mariano(theirs, ours, overlap=overlap, lags=lags)
    assert (swapped.statistic, swapped.p_value) == pytest.approx((-result.statistic, result.p_value))


@pytest.mark.parametrize(("overlap", "lags"), [(1, 0), (1, 5), (4, 3)])
def test_diebold_mariano_equals_that_of_statsmodels(overlap, lags):
    stattools = pytest.importorskip("statsmodels.tsa.stattools", reason="needs the evaluation extra")
    rng = np.random.default_rng(1)
    truth, one, other = rng.normal(size=(3, 90))
    theirs = stattools.diebold_mariano_test(truth, one, other, lags=lags, harvey_adj=True, horizon=overlap)
    ours = diebold_mariano((truth - one) ** 2, (truth - other) ** 2, overlap=overlap, lags=lags)
    assert ours.statistic == pytest.approx(theirs.statistic)
    if lags == 0:
        assert ours.p_value == pytest.approx(theirs.pvalue)
    else:
        assert ours.p_value > theirs.pvalue  # the variance is itself uncertain


def test_dates_are_sorted_and_instruments_summed():
    rng = np.random.default_rng(2)
    ours, theirs = losses(2, 400)
    dates = np.repeat(pd.date_range("2024-01-01", periods=100, tz="UTC"), 4)
    result = diebold_mariano(ours, theirs, dates)
    order = rng.permutation(400)
    assert diebold_mariano(ours[order], theirs[order], dates[order]).statistic == pytest.approx(result.statistic)
    means = (ours - theirs).reshape(100, 4).mean(axis=1)
    assert result.statistic == pytest.approx(diebold_mariano(means, np.zeros(100)).statistic)
    assert (result.n, result.dates) == (400, 100)
    copies = diebold_mariano(np.repeat(ours, 5), np.repeat(theirs, 5), np.repeat(np.arange(400), 5))
    assert copies.statistic == pytest.approx(diebold_mariano(ours, theirs).statistic)


def test_unknown_pairs_are_ignored_and_too_few_dates_give_nan():
    ours, theirs = losses()
    holes = np.append(ours, math.nan), np.append(theirs, 1.0)
    assert diebold_mariano(*holes).statistic == diebold_mariano(ours, theirs).statistic
    for result in (
        diebold_mariano([], []),
        diebold_mariano([1.0], [2.0]),
        diebold_mariano(ours[:6], theirs[:6], overlap=6),
    ):
        assert math.isnan(result.statistic)
        assert math.isnan(result.p_value)


def test_equal_losses_have_no_difference():
    ours, _ = losses()
    result = diebold_mariano(ours, ours)
    assert (result.estimate, result.statistic, result.p_value) == (0, 0, 1)
    always = diebold_mariano(np.zeros(9), np.ones(9))
    assert (always.statistic, always.p_value) == (-math.inf, 0)
    with pytest.raises(ParameterError, match="overlap"):
        diebold_mariano(ours, ours, overlap=0)


@pytest.mark.parametrize("overlap", [1, 12])
def test_diebold_mariano_has_its_nominal_size(overlap):
    """p-values of 300 histories of two equally good forecasts: about uniform, however outcomes overlap."""
    chances = []
    for seed in range(300):
        shocks = np.random.default_rng(seed).normal(size=(3, 200 + overlap))
        windows = np.lib.stride_tricks.sliding_window_view(shocks, overlap, axis=1)[:, :200].sum(axis=-1)
        truth, one, other = windows / math.sqrt(overlap)
        chances.append(diebold_mariano(np.abs(truth - one), np.abs(truth - other), overlap=overlap).p_value)
    assert 0.01 <= np.mean(np.array(chances) < 0.05) <= 0.1
    assert np.mean(chances) == pytest.approx(0.5, abs=0.07)


def test_the_better_forecast_is_found():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=300)
    good, bad = np.abs(truth - 0.5 * truth), np.abs(truth - rng.normal(size=300))
    result = diebold_mariano(good, bad)
    assert result.statistic < -5
    assert result.p_value < 1e-4


# Many models ------------------------------------------------------------


@pytest.fixture
def contest():
    """Losses of a benchmark, two as good, a worse and a copy, 150 dates of 3 instruments."""
    pytest.importorskip("arch", reason="needs the evaluation extra")
    rng = np.random.default_rng(4)
    shared = rng.exponential(size=450)
    frame = pd.DataFrame({name: shared + 0.3 * rng.normal(size=450) for name in ("walk", "one", "two")})
    frame["worse"] = frame["one"] + 0.5 + 0.1 * rng.normal(size=450)
    frame["copy"] = frame["walk"]
    return frame, np.repeat(np.arange(150), 3)


def test_equal_models_do_not_beat_the_benchmark(contest):
    frame, dates = contest
    result = superior_predictive_ability(frame, "walk", dates)
    assert result.p_value > 0.05
    assert result.lower <= result.p_value <= result.upper
    assert result.better == ()
    assert (result.n, result.dates) == (450, 150)
    copies = superior_predictive_ability(frame[["walk", "copy"]], "walk", dates)
    assert (copies.statistic, copies.p_value, copies.better) == (0, 1, ())


def test_better_model_is_found_in_any_unit(contest):
    frame, dates = contest
    frame["best"] = frame["walk"] - 0.2 + 0.1 * np.random.default_rng(5).normal(size=450)
    result = superior_predictive_ability(frame, "walk", dates, seed=1)
    assert result.p_value < 0.01
    assert result.better == ("best",)
    scaled = superior_predictive_ability(1e-4 * frame, "walk", dates, seed=1)
    assert scaled.p_value == result.p_value
    assert scaled.statistic == pytest.approx(result.statistic)
    assert superior_predictive_ability(frame, "walk", dates, seed=1) == result


def test_noisy_models_do_not_mask_a_better_one(contest):
    """Without standardisation, as in arch, the noise of a wild model would mask the largest gain."""
    frame, dates = contest
    rng = np.random.default_rng(6)
    frame["best"] = frame["walk"] - 0.1 + 0.1 * rng.normal(size=450)
    frame["wild"] = frame["walk"] + 30 * rng.normal(size=450)
    assert superior_predictive_ability(frame, "walk", dates).p_value < 0.05


def test_spa_of_one_model_equals_that_of_arch(contest):
    bootstrap = pytest.importorskip("arch.bootstrap")
    frame, _ = contest
    result = superior_predictive_ability(frame[["walk", "one"]], "walk", seed=7)
    test = bootstrap.SPA(frame["walk"], frame["one"], block_size=result.block, reps=1000, seed=7)
    test.compute()
    # The scale of a single model does not matter.
    assert result.p_value == pytest.approx(test.pvalues["consistent"], abs=0.005)


def test_confidence_set_includes_equal_and_excludes_worse_models(contest):
    frame, dates = contest
    result = model_confidence_set(frame, dates)
    assert set(result.included) >= {"walk", "one", "two", "copy"}
    assert result.excluded == ("worse",)
    assert result.p_values["copy"] == result.p_values["walk"]
    assert max(result.p_values.values()) == 1
    assert model_confidence_set(frame, dates) == result
    alike = model_confidence_set(frame[["walk", "copy"]], dates)
    assert alike.included == ("walk", "copy")


def test_confidence_set_equals_that_of_arch(contest):
    bootstrap = pytest.importorskip("arch.bootstrap")
    frame, _ = contest
    frame = frame.drop(columns="copy")
    result = model_confidence_set(frame, seed=3)
    ordered = np.unique(frame.to_numpy(), axis=1)  # the order in which the models are resampled
    test = bootstrap.MCS(ordered, size=0.1, block_size=result.block, reps=1000, seed=3)
    test.compute()
    assert sorted(result.p_values.values()) == pytest.approx(sorted(test.pvalues["Pvalue"]))


def test_rows_with_unknown_losses_are_ignored(contest):
    frame, dates = contest
    holes = frame.copy()
    holes.loc[:29, "one"] = math.nan
    assert model_confidence_set(holes, dates) == model_confidence_set(frame[30:], dates[30:])


def test_invalid_comparisons_are_refused(contest):
    frame, dates = contest
    with pytest.raises(ParameterError, match="'coin'"):
        superior_predictive_ability(frame, "coin", dates)
    with pytest.raises(ParameterError, match="two models"):
        model_confidence_set(frame[["walk"]], dates)
    with pytest.raises(ParameterError, match="8 dates"):
        model_confidence_set(frame[:12], dates[:12])
    with pytest.raises(ParameterError, match="size"):
        model_confidence_set(frame, dates, size=5)


def test_missing_arch_names_the_extra(contest, monkeypatch):
    frame, dates = contest
    monkeypatch.setitem(sys.modules, "arch.bootstrap", None)
    for run in (lambda: superior_predictive_ability(frame, "walk", dates), lambda: model_confidence_set(frame, dates)):
        with pytest.raises(ParameterError, match=r"\[evaluation\]"):
            run()

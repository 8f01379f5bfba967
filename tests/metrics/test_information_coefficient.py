import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import pearsonr, spearmanr

from kronos.errors import ParameterError
from kronos.metrics import information_coefficient, rank_ic

DAYS = pd.date_range("2024-01-01", periods=60, tz="UTC")


def table(seed=0, signal=0.0, days=60, instruments=12):
    """Predictions and outcomes of a panel, in a random order."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "date": np.repeat(pd.date_range("2024-01-01", periods=days, tz="UTC"), instruments),
            "name": np.tile([f"I{i:02d}" for i in range(instruments)], days),
            "seen": rng.normal(size=days * instruments),
        }
    )
    frame["said"] = (signal * frame["seen"] + rng.normal(size=len(frame))).round(1)  # ties
    return frame.sample(frac=1, random_state=seed)


@pytest.mark.parametrize(("ours", "theirs"), [(information_coefficient, pearsonr), (rank_ic, spearmanr)])
def test_each_coefficient_is_scipys(ours, theirs):
    frame = table(signal=0.3)
    for over, key in (("instruments", "date"), ("time", "name")):
        done = ours(frame["said"], frame["seen"], frame["date"], frame["name"], over=over)
        expected = {k: theirs(part["said"], part["seen"]).statistic for k, part in frame.groupby(key)}
        assert list(done.keys) == list(expected)
        assert done.values == pytest.approx(list(expected.values()))
        assert done.mean == pytest.approx(np.mean(list(expected.values())))
        assert done.deviation == pytest.approx(np.std(list(expected.values()), ddof=1))
        assert done.icir == pytest.approx(done.mean / done.deviation)
        assert done.low < done.mean < done.high
        assert done.dates == 60
        assert done.skipped == 0


def test_the_t_statistic_is_statsmodels_hac():
    statsmodels = pytest.importorskip("statsmodels.api", reason="needs the evaluation extra")
    frame = table(signal=0.2)
    for lags in (0, 3, 7):
        done = information_coefficient(frame["said"], frame["seen"], frame["date"], lags=lags)
        fit = statsmodels.OLS(done.values, np.ones(60)).fit(cov_type="HAC", cov_kwds={"maxlags": lags})
        assert done.t_statistic == pytest.approx(fit.tvalues[0])
        assert done.lags == lags


def test_over_time_the_error_is_that_of_one_correlation():
    """One instrument, no dependence: the standard error is (1 - ρ²) / √n."""
    rng = np.random.default_rng(1)
    seen = rng.normal(size=5000)
    said = 0.5 * seen + math.sqrt(0.75) * rng.normal(size=5000)
    done = information_coefficient(said, seen, np.arange(5000), np.zeros(5000), over="time", lags=0)
    assert done.mean / done.t_statistic == pytest.approx((1 - done.mean**2) / math.sqrt(5000), rel=0.05)
    copies = information_coefficient(
        np.tile(said, 8),
        np.tile(seen, 8),
        np.tile(np.arange(5000), 8),
        np.repeat(np.arange(8), 5000),
        over="time",
        lags=0,
    )
    assert copies.t_statistic == pytest.approx(done.t_statistic)


@given(hnp.arrays(np.float64, (2, 20), elements=st.integers(-50, 50).map(float)), st.integers(0, 99))
def test_ranks_mind_no_monotone_change_and_order_does_not_matter(values, seed):
    dates = np.repeat([0, 1], 10)
    order = np.random.default_rng(seed).permutation(20)
    said, seen = values
    expected = rank_ic(said, seen, dates)
    for changed in (rank_ic(said**3, np.exp(seen / 50), dates), rank_ic(said[order], seen[order], dates[order])):
        assert changed.keys.tolist() == expected.keys.tolist()
        assert changed.values == pytest.approx(expected.values, abs=1e-12)


def test_a_clairvoyant_has_one_and_its_opposite_minus_one():
    frame = table()
    for sign in (1, -1):
        done = rank_ic(sign * frame["seen"], frame["seen"], frame["date"])
        assert done.values == pytest.approx([sign] * 60)
        assert done.mean == pytest.approx(sign)


def test_dates_that_tell_nothing_are_skipped():
    frame = table().reset_index(drop=True)
    frame.loc[frame["date"] == DAYS[0], "said"] = 0.1  # constant, though not exactly so after averaging
    frame.loc[frame["date"] == DAYS[1], "seen"] = math.nan
    done = information_coefficient(frame["said"], frame["seen"], frame["date"])
    assert done.skipped == 1  # unknown pairs leave no date behind
    assert DAYS[0] not in done.keys
    assert len(done.values) == done.dates == 58
    assert information_coefficient(frame["said"], frame["seen"], frame["date"], least=13).skipped == 59


def test_nothing_known_is_unknown():
    for over in ("instruments", "time"):
        done = information_coefficient([1.0], [math.nan], [DAYS[0]], ["A"], over=over)
        assert done.values.shape == (0,)
        assert math.isnan(done.mean)
        assert math.isnan(done.t_statistic)
    constant = rank_ic(np.zeros(60), np.arange(60.0), np.repeat(DAYS[:6], 10))
    assert math.isnan(constant.mean)
    assert constant.skipped == 6


def test_it_rejects_chance_about_as_often_as_it_says():
    """Over time, instruments that move together don't count as independent: 5 % of 200 histories."""
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        said, seen = (2 * rng.normal(size=(80, 1)) + rng.normal(size=(80, 8)) for _ in range(2))
        dates, names = np.repeat(np.arange(80), 8), np.tile(np.arange(8), 80)
        done = information_coefficient(said.ravel(), seen.ravel(), dates, names, over="time")
        across = rank_ic(said.ravel(), seen.ravel(), dates)
        found.append((done.p_value < 0.05, across.p_value < 0.05))
    assert (np.mean(found, axis=0) <= 0.1).all()


def test_refuses_what_does_not_fit():
    with pytest.raises(ParameterError, match="instrument"):
        information_coefficient([1, 2], [1, 2], [1, 2], over="time")
    with pytest.raises(ParameterError, match="instrument"):
        information_coefficient([1, 2], [1, 2], [1, 2], ["A"], over="time")
    with pytest.raises(ParameterError, match="'dates'"):
        information_coefficient([1, 2], [1, 2], [1, 2], over="dates")
    with pytest.raises(ParameterError, match="2 pairs"):
        rank_ic([1, 2], [1, 2], [1, 2], least=1)
    with pytest.raises(ParameterError, match="lags"):
        rank_ic([1, 2], [1, 2], [1, 2], lags=-1)
    with pytest.raises(ParameterError, match="confidence"):
        rank_ic([1, 2], [1, 2], [1, 2], confidence=2)

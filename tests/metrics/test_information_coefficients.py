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
    """Predictions and outcomes of a panel, in random order."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "date": np.repeat(pd.date_range("2024-01-01", periods=days, tz="UTC"), instruments),
            "name": np.tile([f"I{i:02d}" for i in range(instruments)], days),
            "observed": rng.normal(size=days * instruments),
        }
    )
    frame["predicted"] = (signal * frame["observed"] + rng.normal(size=len(frame))).round(1)  # ties
    return frame.sample(frac=1, random_state=seed)


@pytest.mark.parametrize(("ours", "theirs"), [(information_coefficient, pearsonr), (rank_ic, spearmanr)])
def test_coefficients_equal_those_of_scipy(ours, theirs):
    frame = table(signal=0.3)
    for over, key in (("instruments", "date"), ("time", "name")):
        result = ours(frame["predicted"], frame["observed"], frame["date"], frame["name"], over=over)
        expected = {k: theirs(part["predicted"], part["observed"]).statistic for k, part in frame.groupby(key)}
        assert list(result.keys) == list(expected)
        assert result.values == pytest.approx(list(expected.values()))
        assert result.mean == pytest.approx(np.mean(list(expected.values())))
        assert result.deviation == pytest.approx(np.std(list(expected.values()), ddof=1))
        assert result.icir == pytest.approx(result.mean / result.deviation)
        assert result.low < result.mean < result.high
        assert result.dates == 60
        assert result.skipped == 0


def test_t_statistic_equals_statsmodels_hac():
    statsmodels = pytest.importorskip("statsmodels.api", reason="needs the evaluation extra")
    frame = table(signal=0.2)
    for lags in (0, 3, 7):
        result = information_coefficient(frame["predicted"], frame["observed"], frame["date"], lags=lags)
        fit = statsmodels.OLS(result.values, np.ones(60)).fit(cov_type="HAC", cov_kwds={"maxlags": lags})
        assert result.t_statistic == pytest.approx(fit.tvalues[0])
        assert result.lags == lags


def test_error_over_time_is_that_of_a_correlation():
    """One instrument, no dependence: the standard error is (1 - ρ²) / √n."""
    rng = np.random.default_rng(1)
    seen = rng.normal(size=5000)
    said = 0.5 * seen + math.sqrt(0.75) * rng.normal(size=5000)
    result = information_coefficient(said, seen, np.arange(5000), np.zeros(5000), over="time", lags=0)
    assert result.mean / result.t_statistic == pytest.approx((1 - result.mean**2) / math.sqrt(5000), rel=0.05)
    copies = information_coefficient(
        np.tile(said, 8),
        np.tile(seen, 8),
        np.tile(np.arange(5000), 8),
        np.repeat(np.arange(8), 5000),
        over="time",
        lags=0,
    )
    assert copies.t_statistic == pytest.approx(result.t_statistic)


@given(hnp.arrays(np.float64, (2, 20), elements=st.integers(-50, 50).map(float)), st.integers(0, 99))
def test_rank_ic_is_invariant_to_monotone_maps_and_order(values, seed):
    dates = np.repeat([0, 1], 10)
    order = np.random.default_rng(seed).permutation(20)
    said, seen = values
    expected = rank_ic(said, seen, dates)
    for changed in (rank_ic(said**3, np.exp(seen / 50), dates), rank_ic(said[order], seen[order], dates[order])):
        assert changed.keys.tolist() == expected.keys.tolist()
        assert changed.values == pytest.approx(expected.values, abs=1e-12)


def test_perfect_forecast_has_ic_one():
    frame = table()
    for sign in (1, -1):
        result = rank_ic(sign * frame["observed"], frame["observed"], frame["date"])
        assert result.values == pytest.approx([sign] * 60)
        assert result.mean == pytest.approx(sign)


def test_uninformative_dates_are_skipped():
    frame = table().reset_index(drop=True)
    frame.loc[frame["date"] == DAYS[0], "predicted"] = 0.1  # constant, though not exactly so after averaging
    frame.loc[frame["date"] == DAYS[1], "observed"] = math.nan
    result = information_coefficient(frame["predicted"], frame["observed"], frame["date"])
    assert result.skipped == 1  # the date of unknown pairs is not counted
    assert DAYS[0] not in result.keys
    assert len(result.values) == result.dates == 58
    assert information_coefficient(frame["predicted"], frame["observed"], frame["date"], min_pairs=13).skipped == 59


def test_coefficients_without_known_pairs_are_nan():
    for over in ("instruments", "time"):
        result = information_coefficient([1.0], [math.nan], [DAYS[0]], ["A"], over=over)
        assert result.values.shape == (0,)
        assert math.isnan(result.mean)
        assert math.isnan(result.t_statistic)
    constant = rank_ic(np.zeros(60), np.arange(60.0), np.repeat(DAYS[:6], 10))
    assert math.isnan(constant.mean)
    assert constant.skipped == 6


def test_ic_test_has_its_nominal_size():
    """Over time, instruments that move together don't count as independent: 5 % of 200 histories."""
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        said, seen = (2 * rng.normal(size=(80, 1)) + rng.normal(size=(80, 8)) for _ in range(2))
        dates, names = np.repeat(np.arange(80), 8), np.tile(np.arange(8), 80)
        result = information_coefficient(said.ravel(), seen.ravel(), dates, names, over="time")
        across = rank_ic(said.ravel(), seen.ravel(), dates)
        found.append((result.p_value < 0.05, across.p_value < 0.05))
    assert (np.mean(found, axis=0) <= 0.1).all()


def test_invalid_arguments_are_refused():
    with pytest.raises(ParameterError, match="instrument"):
        information_coefficient([1, 2], [1, 2], [1, 2], over="time")
    with pytest.raises(ParameterError, match="instrument"):
        information_coefficient([1, 2], [1, 2], [1, 2], ["A"], over="time")
    with pytest.raises(ParameterError, match="'dates'"):
        information_coefficient([1, 2], [1, 2], [1, 2], over="dates")
    with pytest.raises(ParameterError, match="2 pairs"):
        rank_ic([1, 2], [1, 2], [1, 2], min_pairs=1)
    with pytest.raises(ParameterError, match="lags"):
        rank_ic([1, 2], [1, 2], [1, 2], lags=-1)
    with pytest.raises(ParameterError, match="confidence"):
        rank_ic([1, 2], [1, 2], [1, 2], confidence=2)

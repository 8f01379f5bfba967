import numpy as np
import pytest

from baselines.markets import garch_returns, make, market
from kronos.baselines import ewma_volatility, har_volatility
from kronos.errors import DataError, ParameterError


def last_returns(candles, count):
    return np.diff(np.log(candles.frame["close"].to_numpy()[-count - 1 :]))


def test_ewma_equals_the_recursion_of_riskmetrics():
    past = make(900)
    forecast = ewma_volatility(past, 4, decay=0.9)
    expected = 0.0  # earlier returns have no weight
    for value in last_returns(past, 512):
        expected = 0.9 * expected + 0.1 * value**2
    assert forecast.metadata.details["sigma"] == pytest.approx(np.sqrt(expected), rel=1e-9)
    steps = ewma_volatility(past, 16, samples=4000).returns()
    sigma = ewma_volatility(past, 1).metadata.details["sigma"]
    assert steps.std(axis=0) == pytest.approx(np.full(16, sigma), rel=0.06)  # the same at every step


def test_ewma_equals_that_of_arch():
    from arch.univariate import EWMAVariance, ZeroMean

    past = make(300)
    fitted = ZeroMean(last_returns(past, 299), volatility=EWMAVariance(0.94), rescale=False).fit(disp="off")
    expected = np.sqrt(fitted.forecast(horizon=1, reindex=False).variance.to_numpy().item())
    assert ewma_volatility(past, 1, window=299).metadata.details["sigma"] == pytest.approx(expected, rel=1e-9)


def test_ewma_has_a_floor_after_a_standstill():
    """After 200 candles without a move the next σ is a tenth of the window's, not nearly nothing."""
    rng = np.random.default_rng(1)
    returns = np.r_[rng.normal(0, 0.01, 312), np.zeros(200)]
    sigma = ewma_volatility(market(np.r_[0.0, returns]), 3).metadata.details["sigma"]
    assert sigma == pytest.approx(0.1 * np.sqrt(np.mean(returns**2)))


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0, float("nan")])
def test_invalid_decays_are_refused(decay):
    with pytest.raises(ParameterError, match="decay"):
        ewma_volatility(make(), 3, decay=decay)


def test_wicks_scale_with_volatility():
    """Volatility has doubled within the window: sampled ranges are those of the new market."""
    rng = np.random.default_rng(2)
    past = market(np.r_[rng.normal(0, 0.01, 480), rng.normal(0, 0.03, 33)])
    frame = ewma_volatility(past, 12, samples=300)
    opens, highs, _, closes = np.log(np.moveaxis(frame.paths[..., :4], -1, 0))
    wick = np.median(highs - np.maximum(opens, closes))
    calm = np.log(past.frame["high"] / past.frame[["open", "close"]].max(axis=1)).median()
    assert 1.3 * calm < wick < 3 * calm  # the fixture's wicks are of one size; sampled ones follow σ


def volatilities(candles):
    """Garman & Klass with the opening gap, from the prices themselves."""
    opens, highs, lows, closes = np.log(candles.frame.to_numpy()[:, :4].T)
    inside = 0.5 * (highs - lows) ** 2 - (2 * np.log(2) - 1) * (closes - opens) ** 2
    return np.sqrt((opens[1:] - closes[:-1]) ** 2 + inside[1:])


def test_har_equals_the_regression_of_corsi():
    import statsmodels.api as sm

    past = make(400)
    seen = volatilities(past)
    rows = [[seen[t - 1], seen[t - 5 : t].mean(), seen[t - 22 : t].mean()] for t in range(22, len(seen))]
    fit = sm.OLS(seen[22:], sm.add_constant(np.array(rows))).fit()
    details = har_volatility(past, 30).metadata.details
    assert details["coefficients"] == pytest.approx(fit.params, rel=1e-6)
    expected, known = [], list(seen)
    for _ in range(30):
        row = [1.0, known[-1], np.mean(known[-5:]), np.mean(known[-22:])]
        known.append(fit.params @ row)
        expected.append(known[-1])
    level = np.sqrt(np.mean(last_returns(past, 377) ** 2) / np.mean(fit.fittedvalues**2))
    assert details["level"] == pytest.approx(level)
    assert [details["sigma"], details["sigma_last"]] == pytest.approx([level * expected[0], level * expected[-1]])


def test_har_reverts_to_the_mean_along_the_paths():
    returns = garch_returns(1000, sigma=0.01)
    returns[-10:] *= 5
    forecast = har_volatility(market(returns), 40, samples=3000)
    first, last = forecast.metadata.details["sigma"], forecast.metadata.details["sigma_last"]
    assert first > 1.5 * last
    steps = forecast.returns().std(axis=0)
    assert steps[[0, -1]] == pytest.approx([first, last], rel=0.05)


def test_har_accepts_other_lags_and_refuses_invalid_ones():
    past = make(120)
    assert len(har_volatility(past, 3, lags=(1, 24)).metadata.details["coefficients"]) == 3
    for lags in ((), (5, 1), (0, 2), (1, 1)):
        with pytest.raises(ParameterError, match="lags"):
            har_volatility(past, 3, lags=lags)
    with pytest.raises(ParameterError, match="window"):
        har_volatility(past, 3, window=30)
    with pytest.raises(DataError, match="at least 43"):
        har_volatility(past.head(42), 3)

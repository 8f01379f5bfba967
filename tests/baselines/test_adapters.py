import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from baselines.markets import make
from kronos.baselines import closes_of_quantiles, from_closes
from kronos.errors import DataError, ParameterError
from kronos.forecasts import repair_candles

LEVELS = [0.1, 0.3, 0.5, 0.7, 0.9]


def walk(past, samples=50, horizon=12, seed=1):
    steps = np.random.default_rng(seed).normal(0, 0.01, (samples, horizon))
    return past.frame["close"].iloc[-1] * np.exp(np.cumsum(steps, axis=1))


def test_candles_are_built_around_the_closes():
    past = make(600)
    closes = walk(past)
    forecast = from_closes(closes, past, "oracle-9", seed=4, details={"version": "1.2"}, notes=("It peeks.",))
    assert forecast.channel("close") == pytest.approx(closes, rel=1e-12)
    assert repair_candles(forecast.paths)[1] == 0.0
    assert (forecast.metadata.model, forecast.metadata.kind) == ("oracle-9", "baseline")
    assert (
        forecast.metadata.details["version"],
        forecast.metadata.details["seed"],
        forecast.metadata.details["samples"],
    ) == (
        "1.2",
        4,
        50,
    )
    assert "It peeks." in forecast.notes
    body = np.abs(np.log(forecast.channel("close") / forecast.channel("open")))
    assert np.median(body) == pytest.approx(
        np.median(np.abs(np.log(past.frame["close"] / past.frame["open"]))), rel=0.2
    )
    assert np.isin(forecast.channel("volume"), past.frame["volume"].to_numpy()[-64:]).all()


def test_wrapped_model_is_a_baseline():
    def foreign(candles, horizon, *, samples=100, seed=0, timestamps=None):
        return from_closes(walk(candles, samples, horizon, seed), candles, "mine", seed=seed, timestamps=timestamps)

    times = pd.date_range("2030-01-01", periods=5, freq="1h", tz="UTC")
    forecast = foreign(make(), 5, samples=7, timestamps=times)
    assert (forecast.samples, forecast.horizon, forecast.timestamps.tolist()) == (7, 5, times.tolist())


@pytest.mark.parametrize("closes", [np.ones(3), np.ones((2, 3, 1)), np.ones((0, 3))])
def test_closes_of_wrong_shape_are_refused(closes):
    with pytest.raises(ParameterError):
        from_closes(closes, make(), "mine")


@pytest.mark.parametrize("worst", [0.0, -1.0, np.nan, np.inf])
def test_invalid_prices_are_refused(worst):
    closes = walk(make())
    closes[3, 2] = worst
    with pytest.raises(DataError, match="mine must be finite and above 0"):
        from_closes(closes, make(), "mine")
    with pytest.raises(DataError, match="above 0"):
        closes_of_quantiles([0.4, 0.5], [[worst], [2.0]])


def test_short_history_and_invalid_arguments_are_refused():
    past = make()
    with pytest.raises(DataError):
        from_closes(walk(past), past.head(2), "mine")
    for wrong in ({"seed": -1}, {"window": 1}):
        with pytest.raises(ParameterError):
            from_closes(walk(past), past, "mine", **wrong)


def test_closes_have_the_given_quantiles():
    spread = 0.01 * np.sqrt(np.arange(1, 13))
    quantiles = 100 * np.exp(np.multiply.outer(ndtri(LEVELS), spread) + 0.001 * np.arange(12))
    closes = closes_of_quantiles(LEVELS, quantiles, samples=20_000, seed=2)
    assert np.quantile(closes, LEVELS, axis=0) == pytest.approx(quantiles, rel=2e-3)
    logs = np.log(closes)
    assert logs.std(axis=0) == pytest.approx(spread, rel=0.03)  # a normal's quantiles give its tails too
    steps = np.diff(logs, axis=1)
    assert abs(np.corrcoef(steps[:, 3], steps[:, 8])[0, 1]) < 0.03  # a random walk's steps


def test_quantiles_are_interpolated_extrapolated_and_sorted():
    quantiles = [[90.0], [110.0], [100.0]]
    closes = closes_of_quantiles([0.25, 0.5, 0.75], quantiles, samples=20_000)
    assert np.quantile(closes, [0.25, 0.5, 0.75]) == pytest.approx([90, 100, 110], rel=5e-3)
    assert closes.min() < 70
    first = closes_of_quantiles([0.25, 0.5, 0.75], np.repeat(quantiles, 3, axis=1), samples=20)
    assert np.array_equal(first[:, :1], closes[:20])


@pytest.mark.parametrize(
    ("levels", "quantiles"),
    [
        ([0.5], [[1.0]]),
        ([0.0, 0.5], [[1.0], [2.0]]),
        ([0.5, 0.4], [[1.0], [2.0]]),
        ([0.4, 0.5], [[1.0, 2.0]]),
        ([0.4, 0.5], [1.0, 2.0]),
        ([0.4, float("nan")], [[1.0], [2.0]]),
    ],
)
def test_invalid_quantiles_are_refused(levels, quantiles):
    with pytest.raises(ParameterError):
        closes_of_quantiles(levels, quantiles)


def test_invalid_samples_and_seed_are_refused():
    for wrong in ({"samples": 0}, {"seed": -1}):
        with pytest.raises(ParameterError):
            closes_of_quantiles(LEVELS, np.ones((5, 2)), **wrong)

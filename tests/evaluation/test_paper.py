"""The paper's tasks on prices, returns and volatility: settings, definitions, and forecasters of known quality."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from evaluation.random_walks import SIGMA, GaussianForecaster, candles, instruments
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.evaluation import Dates, Instrument, ModelForecaster
from kronos.evaluation.paper import TASKS, TEST_FROM, PaperSettings, Windows, run_paper
from kronos.evaluation.paper.forecasting import OriginTimes, make_origin_sets
from kronos.evaluation.paper.results import MEAN, pooled_correlations, within_windows
from kronos.evaluation.paper.settings import FORECAST, GENERATION, PRESETS, tstr_windows
from kronos.evaluation.verdicts import MIN_DATES
from kronos.inference import KronosPredictor
from networks import random_model, random_tokenizer

ALL_DATES = Dates()
SERIES = instruments(3, 600)


FEW = instruments(3, 250)  # for volatility, because GARCH is slow
MANY = instruments(6, 500)


def clairvoyant(series, settings):
    """A forecaster of the actual returns."""
    futures = {}
    for origins in make_origin_sets(series, settings, ALL_DATES)[0]:
        returns = origins.plan.returns()
        futures |= {origins.plan.name(origin): returns[origin] for origin in range(len(origins.plan))}
    return GaussianForecaster("clairvoyant", futures=futures)


def run(task, model=None, series=SERIES, dates=ALL_DATES, **settings):
    return run_paper(series, model or GaussianForecaster(), PaperSettings(task, **settings), dates=dates)


@cache
def result_on_random_walks(task):
    """The result of a calibrated forecaster."""
    return run(task, series=MANY)


# Settings --------------------------------------------------------------------


def test_default_settings_are_the_papers():
    table = {
        "5m": (480, 96), "10m": (240, 48), "15m": (160, 32), "20m": (120, 24), "40m": (90, 24),
        "1h": (80, 12), "2h": (60, 12), "4h": (90, 18), "1d": (40, 12),
    }  # fmt: skip
    for task in ("price", "return", "volatility"):
        settings = PaperSettings(task)
        assert {interval: settings.windows(interval) for interval in FORECAST} == {
            interval: Windows(*windows) for interval, windows in table.items()
        }
    generation = PaperSettings("synthetic")
    assert (generation.windows("15m"), generation.windows("1d")) == (Windows(120, 96), Windows(96, 35))
    assert set(GENERATION) == {"15m", "1d"}
    assert tstr_windows("15m", 96) == Windows(80, 16)
    assert tstr_windows("1d", 35) == Windows(30, 5)
    sampling = {task: PaperSettings(task).sampling for task in TASKS}
    assert {task: (own.temperature, own.top_p, own.samples, own.top_k) for task, own in sampling.items()} == {
        "price": (0.6, 0.9, 10, 0),
        "return": (0.6, 0.9, 10, 0),
        "volatility": (0.9, 0.9, 1, 0),
        "synthetic": (1.0, 0.95, 1, 0),
    }
    assert set(PRESETS) == set(TASKS)
    assert (TEST_FROM, PaperSettings("synthetic").origin_limit) == ("2024-07-01", 6000)
    assert not PaperSettings("price").changed


def test_given_settings_replace_the_papers():
    settings = PaperSettings("price", temperature=1.0, top_p=1.0, samples=3, lookback=20, horizon=5, max_origins=7)
    assert (settings.sampling.temperature, settings.sampling.top_p, settings.sampling.samples) == (1.0, 1.0, 3)
    assert settings.windows("1h") == settings.windows("30m") == Windows(20, 5)
    assert settings.changed == ["temperature", "top_p", "samples", "lookback", "horizon", "max_origins"]
    assert PaperSettings("price", temperature=0.6, top_p=0.9, samples=10).changed == []
    assert PaperSettings("synthetic", sequences=600).changed == ["sequences"]
    assert settings.origin_limit == 7
    assert PaperSettings("price", lookback=33).windows("1d") == Windows(33, 12)
    assert tstr_windows("1h", 24) == Windows(20, 4)


@pytest.mark.parametrize(
    ("task", "settings", "words"),
    [
        ("prices", {}, "task 'prices'"),
        ("price", {"temperature": 0.0}, "temperature 0"),
        ("price", {"horizon": 2}, "horizon 2 .* at least 3"),
        ("volatility", {"horizon": 1}, "horizon 1 .* at least 2"),
        ("return", {"lookback": 1}, "lookback 1"),
        ("synthetic", {"samples": 4}, "number of sequences"),
        ("synthetic", {"sequences": 1}, "sequences 1"),
        ("price", {"seed": -1}, "seed -1"),
    ],
)
def test_invalid_settings_are_refused(task, settings, words):
    with pytest.raises(ParameterError, match=words):
        PaperSettings(task, **settings)


# Definitions -----------------------------------------------------------------


@pytest.mark.slow
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(3, 12), coarse=st.booleans())
def test_window_coefficients_are_scipys_averaged_over_channels(seed, steps, coarse):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(100, 1, (2, 4, steps, 4)).round(0 if coarse else 6)  # rounded ones have ties
    ic, rank_ic = within_windows(x, y)
    for found, correlation in ((ic, pearsonr), (rank_ic, spearmanr)):
        for window in range(4):
            values = [
                correlation(x[window, :, c], y[window, :, c]).statistic
                for c in range(4)
                if np.ptp(x[window, :, c]) > 0 and np.ptp(y[window, :, c]) > 0
            ]
            expected = np.mean(values) if values else np.nan
            np.testing.assert_allclose(found[window], expected, atol=1e-9)


def test_a_constant_window_has_no_coefficient():
    moving = np.cumsum(np.ones((2, 5, 4)), axis=1)
    still = moving.copy()
    still[0] = 7.0
    for predicted, actual in ((still, moving), (moving, still)):
        ic, rank_ic = within_windows(predicted, actual)
        assert np.isnan(ic[0])
        assert np.isnan(rank_ic[0])
        np.testing.assert_allclose((ic[1], rank_ic[1]), 1.0)


def test_return_coefficients_are_over_all_forecasts_at_once():
    rng = np.random.default_rng(5)
    actual = rng.normal(size=90)
    predicted = 0.5 * actual + rng.normal(size=90)
    dates = pd.DatetimeIndex(np.repeat(pd.date_range("2024-07-01", periods=30), 3))
    ic, rank_ic = pooled_correlations(predicted, actual, OriginTimes(dates, dates + pd.Timedelta("12h")))
    np.testing.assert_allclose(ic.value, pearsonr(predicted, actual).statistic)
    np.testing.assert_allclose(rank_ic.value, spearmanr(predicted, actual).statistic)
    assert ic.t > 2
    assert ic.low < ic.value < ic.high


@pytest.mark.slow
def test_the_realised_variance_is_between_forecast_closes():
    forecaster = clairvoyant(FEW, PaperSettings("volatility"))
    forecaster.futures = {name: returns * 2 for name, returns in forecaster.futures.items()}
    found = run("volatility", forecaster, FEW)
    origins = make_origin_sets(FEW, PaperSettings("volatility"), ALL_DATES)[0][0]
    actual = (np.diff(origins.plan.returns(), axis=1) ** 2).sum(axis=1)  # H - 1 returns
    row = found.row("walks 1h", "clairvoyant")
    np.testing.assert_allclose(row.figures["mae"].value, 3 * actual.mean(), rtol=1e-6)  # (2 r)² - r²
    np.testing.assert_allclose(row.figures["r2_regression"].value, 1.0)


def test_windows_overlap_only_with_a_shorter_stride_or_different_dates():
    def times(series, **settings):
        return OriginTimes.of(make_origin_sets(series, PaperSettings("price", **settings), ALL_DATES)[0][0].plan)

    assert times(SERIES).overlap == 1
    assert times(SERIES, stride=6).overlap == 2
    later = Instrument("late", "walks", candles(9, 500, start="2024-01-01 05:00"))
    assert times([*SERIES, later]).overlap == 2  # windows of different series overlap in time


# Known answers ---------------------------------------------------------------


@pytest.mark.slow
def test_a_clairvoyant_forecaster_is_perfect():
    for task, names in (("price", ("ic", "rank_ic")), ("return", ("ic", "rank_ic")), ("volatility", ("r2",))):
        series = FEW if task == "volatility" else SERIES
        row = run(task, clairvoyant(series, PaperSettings(task)), series).row("walks 1h", "clairvoyant")
        for name in names:
            np.testing.assert_allclose(row.figures[name].value, 1.0, atol=1e-6)
        if task == "price":
            assert row.figures["skill"].value > 0.95


@pytest.mark.slow
def test_coefficients_on_random_walks_are_around_zero():
    for task in ("price", "return"):
        result = result_on_random_walks(task)
        for name in ("gaussian", "drift", "momentum", "reversal", "historical-volatility"):
            for figure in ("ic", "rank_ic"):
                found = result.row("walks 1h", name).figures[figure]
                assert found.low < 0 < found.high
                assert np.sign(found.t) == np.sign(found.value)
        assert "no evidence that gaussian orders" in result.sentences[0]
    by_date = result_on_random_walks("return").row("walks 1h", "gaussian").figures["rank_ic_by_date"]
    assert by_date.low < 0 < by_date.high


@pytest.mark.slow
def test_the_last_value_has_no_coefficients():
    for task in ("price", "return"):
        row = result_on_random_walks(task).row("walks 1h", "last-value")
        assert np.isnan([row.figures["ic"].value, row.figures["rank_ic"].value]).all()
    assert result_on_random_walks("price").row("walks 1h", "last-value").figures["skill"].value == 0
    assert "no coefficients" in result_on_random_walks("price").notes["last-value"]


def test_reversal_is_the_opposite_of_momentum():
    result = result_on_random_walks("price")
    momentum, reversal = (result.row("walks 1h", name).figures["rank_ic"].value for name in ("momentum", "reversal"))
    assert momentum == pytest.approx(-reversal)


def test_trend_followers_are_right_in_trends():
    trending = []
    for number in range(3):
        slope = 0.002 * (-1) ** number
        close = 100 * np.exp(slope * np.arange(400))
        frame = pd.DataFrame(
            {"open": close, "high": close * 1.001, "low": close * 0.999, "close": close, "volume": 1.0}
        )
        frame.index = pd.date_range("2024-01-01", periods=400, freq="h", name="timestamps")
        trending.append(Instrument(f"trend-{number}", "trends", Candles.from_frame(frame, interval="1h")))
    results = [run(task, series=trending) for task in ("price", "return")]
    for name in ("momentum", "drift"):
        prices, returns = (result.row("trends 1h", name).figures for result in results)
        assert prices["ic"].value > 0.99
        assert prices["rank_ic"].value > 0.99
        assert returns["ic"].value > 0.99


@pytest.mark.slow
def test_an_overestimated_volatility_is_worse_than_history():
    result = run("volatility", GaussianForecaster(width=3.0), instruments(2, 400))
    row = result.row("walks 1h", "gaussian")
    assert row.figures["skill"].high < 0
    assert row.figures["r2"].value < 0
    assert "gaussian forecasts volatility worse than historical-volatility" in result.sentences[0]
    reference = result.row("walks 1h", "historical-volatility")
    assert reference.figures["mae"].value == pytest.approx(0, abs=SIGMA)
    assert {"garch-t", "har-volatility"} <= {own.forecaster for own in result.rows}


def test_a_price_of_zero_has_no_variance_and_gives_a_warning():
    forecaster = clairvoyant(FEW, PaperSettings("volatility"))
    first = next(iter(forecaster.futures))
    forecaster.futures[first] = forecaster.futures[first] - 10 * (np.arange(12) == 6)
    result = run("volatility", forecaster, FEW)
    rows = [result.row("walks 1h", name) for name in ("clairvoyant", "historical-volatility")]
    assert [row.n for row in rows] == [len(forecaster.futures) - 1] * 2
    assert rows[0].figures["r2"].value == pytest.approx(1)
    assert "1 of 42 forecasts of clairvoyant are left out" in result.warnings[0]


def test_few_dates_give_no_conclusion():
    result = run("price", series=instruments(6, 200))
    assert result.row("walks 1h", "gaussian").dates < MIN_DATES
    assert "too few dates to say" in result.sentences[0]


# Forecasts and results ---------------------------------------------------------


class Recorder(GaussianForecaster):
    """Records its arguments."""

    def forecast(self, histories, times, *, samples, seed):
        self.shown = {**getattr(self, "shown", {}), **{name: (own, times[name]) for name, own in histories.items()}}
        self.samples = samples
        return super().forecast(histories, times, samples=samples, seed=seed)


def test_the_model_gets_the_papers_history_and_nothing_later():
    model = Recorder()
    run("price", model)
    assert model.samples == 10
    for name, (history, times) in model.shown.items():
        assert len(history) == 80
        assert len(times) == 12
        assert name.endswith(history.end.isoformat())
        assert history.end < times[0]


def test_crypto_and_fx_have_no_volume():
    for market, volume in (("crypto", 0.0), ("fx", 0.0), ("us_equity", 1.0)):
        model = Recorder()
        run("return", model, [replace(own, market=market) for own in SERIES], max_origins=20)
        histories = [history for history, _ in model.shown.values()]
        assert all((history.frame["volume"] == volume).all() for history in histories)
        assert all(history.has_volume == bool(volume) for history in histories)


def test_forecasts_begin_in_july_2024():
    series = instruments(2, 6000)
    result = run_paper(series, GaussianForecaster(), PaperSettings("return", max_origins=40))
    [origins] = result.provenance["walks"]
    assert origins["first"] >= "2024-06-30T23:00:00"
    with pytest.raises(DataError, match=r"No 1h series has 12 candles to forecast from 2024-07-01 on after 80 "):
        run_paper(SERIES, GaussianForecaster(), PaperSettings("return"))


def test_intervals_have_their_own_history_and_horizon():
    daily = pd.date_range("2024-01-01", periods=300, name="timestamps")
    frame = candles(7, 300).frame.set_axis(daily)
    result = run("price", series=[*SERIES, Instrument("daily", "walks", Candles.from_frame(frame, interval="1d"))])
    assert [(own["interval"], own["lookback"], own["horizon"]) for own in result.provenance["walks"]] == [
        ("1h", 80, 12), ("1d", 40, 12),
    ]  # fmt: skip
    own = [result.row(group, "gaussian").figures["ic"].value for group in ("walks 1h", "walks 1d")]
    assert result.row(MEAN, "gaussian").figures["ic"].value == pytest.approx(np.mean(own))
    assert np.isnan(result.row(MEAN, "last-value").figures["ic"].value)
    assert len(result.sentences) == 2


def test_an_interval_outside_the_paper_needs_lookback_and_horizon():
    frame = candles(7, 300).frame.set_axis(pd.date_range("2024-01-01", periods=300, freq="30min", name="timestamps"))
    half = Instrument("half", "walks", Candles.from_frame(frame, interval="30m"))
    with pytest.raises(ParameterError, match="price task has no 30m candles"):
        run("price", series=[half])
    result = run("price", series=[*SERIES, half])
    assert "no 30m candles" in result.warnings[0]
    assert [own["interval"] for own in run("price", series=[half], lookback=70, horizon=6).provenance["walks"]] == [
        "30m"
    ]


def test_test_dates_seen_in_training_give_warnings():
    def warnings(known):
        settings = PaperSettings("return", max_origins=10)
        return run_paper(SERIES, GaussianForecaster(), settings, dates=ALL_DATES, cutoffs=lambda plan: known).warnings

    assert warnings({"walks 1h": pd.Timestamp("2023-12-01")}) == ()
    assert "new to it from 2024-06-01" in warnings({"walks 1h": pd.Timestamp("2024-06-01")})[0]
    assert "training dates of gaussian are unknown" in warnings(None)[0]


def test_simulated_candles_give_a_warning():
    series = [replace(own, candles=replace(own.candles, simulated=True)) for own in FEW]
    assert "SIMULATED" in run("return", series=series).warnings[-1]


def test_a_short_context_gives_a_warning_and_results_are_repeatable():
    predictor = KronosPredictor(random_model(3), random_tokenizer(3), device="cpu", max_context=64)
    settings = PaperSettings("price", max_origins=6, samples=2)
    model = ModelForecaster(predictor, "tiny", sampling=settings.sampling)
    calls = []
    first, again = (
        run_paper(SERIES, model, settings, dates=ALL_DATES, progress=lambda done, total: calls.append((done, total)))
        for _ in range(2)
    )
    assert "used 52 candles of history instead of 80" in first.warnings[0]
    assert first.rows[0] == again.rows[0]
    assert calls[-1][0] == calls[-1][1] == 12
    document = json.loads(json.dumps(first.to_dict()))
    assert document["model"]["sampling"] == {"temperature": 0.6, "top_k": 0, "top_p": 0.9}
    assert document["sampling"]["samples"] == 2
    assert document["rows"][0]["forecaster"] == "tiny"


def test_a_model_cannot_have_the_name_of_a_baseline():
    with pytest.raises(ParameterError, match="'momentum'"):
        run("price", GaussianForecaster("momentum"))


@pytest.mark.slow
def test_a_forecaster_without_forecasts_has_no_figures():
    class Silent(GaussianForecaster):
        def forecast(self, histories, times, *, samples, seed):
            return {}

    for task in ("price", "return"):
        row = run(task, Silent("silent"), FEW).row("walks 1h", "silent")
        assert row.n == 0
        assert all(np.isnan(figure.value) for figure in row.figures.values())
    for task in ("price", "return", "volatility"):
        [sentence] = run(task, Silent("silent"), FEW).sentences
        assert "no conclusion" in sentence
        assert "nan" not in sentence


def test_the_guide_has_the_settings_of_the_code():
    page = (Path(__file__).resolve().parents[2] / "docs" / "paper-tasks.md").read_text("utf-8")
    intervals, windows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in re.findall(r"^\| 5m .*|^\| 480/96 .*", page, re.MULTILINE)
    )
    assert {interval: f"{own.lookback}/{own.horizon}" for interval, own in FORECAST.items()} == dict(
        zip(intervals, windows, strict=True)
    )
    for tasks, temperature, top_p, samples in re.findall(
        r"^\| ([\w, ]+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|$", page, re.M
    ):
        for task in tasks.split(", "):
            sampling = PaperSettings(task).sampling
            assert (sampling.temperature, sampling.top_p, sampling.samples) == (
                float(temperature),
                float(top_p),
                int(samples),
            )

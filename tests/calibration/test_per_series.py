"""Fit of the dispersion of one series to forecasts inside its history."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.forecasts import candles, toy, walk
from calibration.markets import trials
from kronos.calibration import Calibration, CalibrationSet, fit, fit_series
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError


def inside(history, origins, spread=0.4, **more):
    return [toy(history.head(int(rows)), spread=spread, seed=int(rows), **more) for rows in origins]


@pytest.fixture(scope="module")
def history():
    return candles(2000, seed=5)


def factor(calibration):
    return calibration.curves["dispersion"].pooled[0]


def test_many_origins_determine_the_dispersion(history):
    fitted = fit_series(history, inside(history, range(400, 1970, 24)))
    assert fitted.parts == ("dispersion",)
    assert factor(fitted) == pytest.approx(2.2, rel=0.25)
    forecast = fitted.apply(toy(history, spread=0.4))
    assert forecast.metadata.calibrated
    assert not any("ook-ahead" in note for note in forecast.metadata.notes)
    assert not any("later steps" in note for note in forecast.metadata.notes)


def test_few_origins_are_shrunk(history):
    few = fit_series(history, inside(history, range(1700, 1970, 48)))
    many = fit_series(history, inside(history, range(400, 1970, 24)))
    assert 1 < factor(few) < factor(many)
    settings = few.settings["within"]
    assert settings["apart"] == 6
    assert factor(few) == pytest.approx(settings["raw_factor"] ** (0.04 / (0.04 + 0.8 / 6)), rel=0.15)
    assert factor(fit_series(history, inside(history, range(1700, 1970, 48)), between=0)) == 1


def test_overlapping_horizons_count_once(history):
    dense = fit_series(history, inside(history, range(1700, 1970, 6)))
    assert dense.settings["within"]["apart"] == 12


def test_prior_calibration_is_extended(history, tmp_path):
    prior = fit(trials(origins=600, groups=("a", "b"), spread=(0.4, 0.8), level=0.5))
    forecasts = inside(history, range(400, 1970, 24), level_error=0.002)
    fitted = fit_series(history, forecasts, prior=prior, group="a")
    assert fitted.parts == prior.parts
    ratios = np.array(fitted.curves["dispersion"].groups["a"]) / prior.curves["dispersion"].groups["a"]
    assert ratios == pytest.approx(np.full(6, fitted.settings["within"]["factor"]))
    assert 0.8 < ratios[0] < 1.25  # the prior was right about such a series already
    assert fitted.curves["conformal q0.9"] == prior.curves["conformal q0.9"]
    assert Calibration.load(fitted.save(tmp_path / "within.json")) == fitted
    forecast = fitted.apply(toy(history, spread=0.4), baseline=walk(history), group="a")
    assert forecast.metadata.details["calibration"]["group"] == "a"
    with pytest.raises(ParameterError, match="weights differ"):
        fit_series(history, forecasts, prior=replace(prior, identity=replace(prior.identity, sha256="f" * 64)))


def test_dispersion_is_added_to_a_prior_without_one(history):
    prior = fit(trials(origins=200, level=0.5), ("anchor", "conformal"))
    fitted = fit_series(history, inside(history, range(400, 1970, 24)), prior=prior)
    assert fitted.parts == ("anchor", "dispersion", "conformal")


def test_fit_ignores_candles_after_the_history(history):
    until = history.frame.index[1499]
    changed = history.frame.copy()
    changed.iloc[1500:] *= 3
    other = Candles.from_frame(changed, symbol="WALK", interval="1h")
    forecasts = inside(history.until(until), range(400, 1500, 24))
    first, second = (fit_series(known.until(until), forecasts) for known in (history, other))
    assert replace(first, created="") == replace(second, created="")
    assert np.datetime64(first.fitted_on["known"]) <= until.tz_localize(None).to_datetime64()


def test_calibration_set_matches_outcomes_by_time(history):
    forecasts = inside(history, (1900, 1990), level_error=0.01)
    past = CalibrationSet.of(forecasts, history, group="walk 1h", baselines=[walk(f.history) for f in forecasts])
    closes = history.frame["close"].to_numpy()
    assert past.actual[0] == pytest.approx(np.log(closes[1900:1924] / closes[1899]))
    assert np.isfinite(past.actual[1]).sum() == 10
    assert past.sigma[0] == pytest.approx(np.diff(np.log(closes[1835:1900])).std(ddof=1))
    assert past.level_error.tolist() == [0.01, 0.01]
    assert past.baseline_name == "walk"
    assert past.known_at[1] == history.end.tz_localize(None).to_datetime64()
    assert past.counts() == {"walk 1h": 2}


def test_too_few_and_mismatched_forecasts_are_refused(history):
    with pytest.raises(DataError, match="4 forecasts"):
        fit_series(history, inside(history, (1000, 1100, 1200)))
    with pytest.raises(DataError, match="another close"):
        fit_series(candles(2000, seed=6), inside(history, range(400, 1970, 24)))
    with pytest.raises(ParameterError, match="no forecasts"):
        fit_series(history, [])
    mixed = [*inside(history, (1000, 1100, 1200)), toy(history.head(1300), horizon=5)]
    with pytest.raises(ParameterError, match="horizon"):
        fit_series(history, mixed)
    with pytest.raises(ParameterError, match="one model"):
        fit_series(history, [*inside(history, (1000, 1100, 1200)), walk(history.head(1300))])
    with pytest.raises(ParameterError, match="between -1"):
        fit_series(history, inside(history, range(400, 1970, 24)), between=-1)

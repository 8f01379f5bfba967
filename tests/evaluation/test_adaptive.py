"""Contenders with adaptive bands: nominal coverage, no outcome before its time, figures of gain and cost."""

import json
from dataclasses import replace

import numpy as np
import pytest

from evaluation.random_walks import GaussianForecaster, instruments
from kronos.calibration import MIN_OUTCOMES, fit
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.evaluation import (
    ALL,
    Actuals,
    Correction,
    RollingOrigins,
    RollingSettings,
    baseline_forecasters,
    calibration_set_of,
    evaluate,
    identity_of,
    make_plan,
    run_rolling,
)
from kronos.evaluation.report import EvaluationReport
from kronos.formatting import to_json

HORIZON = 4
ADAPTIVE = "gaussian, adaptive bands"
WIDTHS = {"very narrow": 0.4, "narrow": 0.75}


def plan_of(series, stride=HORIZON):
    return make_plan(series, RollingOrigins(horizon=HORIZON, stride=stride), quality="none")


def judged(plan, folder, forecasters, **options):
    return evaluate(
        plan,
        forecasters,
        folder,
        RollingSettings(samples=40),
        baselines=baseline_forecasters(["historical-volatility"]),
        steps=[1],
        **options,
    )


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Forecasts of known widths at 950 origins."""
    forecasters = [GaussianForecaster(name, width=width) for name, width in {**WIDTHS, "calibrated": 1.0}.items()]
    return judged(plan_of(instruments(6, 700)), tmp_path_factory.mktemp("adaptive") / "run", forecasters, adaptive=True)


def effect(evaluation, group=ALL, step=HORIZON, of="gaussian"):
    key = (f"{of}, adaptive bands", group, step)
    [found] = [own for own in evaluation.adaptive if (own.forecaster, own.group, own.step) == key]
    return found


def tampered(instrument, row):
    """The same candles up to a row; afterwards every move is five times as large."""
    frame = instrument.candles.frame.copy()
    prices = ["open", "high", "low", "close"]
    frame.iloc[row:, :4] = frame["close"].iloc[row - 1] * (frame[prices].iloc[row:] / frame["close"].iloc[row - 1]) ** 5
    candles = Candles.from_frame(frame, symbol=instrument.candles.symbol, interval="1h")
    return replace(instrument, candles=candles)


@pytest.mark.slow
def test_bands_use_no_outcome_before_it_is_known(tmp_path):
    series, row = instruments(2, 300), 200
    overlapping = 2  # origins are closer than the horizon, so that outcomes are pending at every origin
    before, after = (
        judged(plan_of(own, overlapping), tmp_path / name, [GaussianForecaster(width=0.5)], adaptive=True)
        for name, own in (("before", series), ("after", [tampered(own, row) for own in series]))
    )
    plan = before.plan
    blind = plan.known <= row
    raw, changed = (run.paths["gaussian"].returns for run in (before, after))
    np.testing.assert_allclose(raw, changed, atol=1e-6)  # the forecasts do not depend on the candles
    own, other = before.paths[ADAPTIVE].returns, after.paths[ADAPTIVE].returns
    np.testing.assert_array_equal(own[blind], other[blind])
    first_known = plan.known >= row + HORIZON
    assert (own[first_known] != other[first_known]).any(axis=(1, 2)).mean() > 0.9
    assert (own[blind] != before.paths["gaussian"].returns[blind]).any()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "width"), WIDTHS.items())
def test_overconfident_bands_reach_their_level(evaluation, name, width):
    for step in (1, HORIZON):
        found = effect(evaluation, step=step, of=name)
        assert found.coverage_before < 0.72
        assert found.coverage == pytest.approx(0.8, abs=0.04)  # 50 of 950 forecasts are not adapted
        assert found.width_ratio == pytest.approx(1 / width, rel=0.15)
        assert found.interval_score < found.interval_score_before


@pytest.mark.slow
def test_calibrated_bands_hardly_change(evaluation):
    for step in (1, HORIZON):
        found = effect(evaluation, step=step, of="calibrated")
        assert found.width_ratio == pytest.approx(1, abs=0.08)
        assert found.coverage == pytest.approx(0.8, abs=0.04)
        assert found.interval_score == pytest.approx(found.interval_score_before, rel=0.04)


@pytest.mark.slow
def test_a_resumed_run_adds_them_without_a_new_forecast(tmp_path):
    plan = plan_of(instruments(2, 300))
    forecaster = GaussianForecaster(width=0.5)
    without = judged(plan, tmp_path / "run", [forecaster])
    calls = forecaster.calls
    evaluation = judged(plan, tmp_path / "run", [forecaster], adaptive=True)
    assert forecaster.calls == calls
    assert without.evaluated == ["gaussian"]
    assert not without.adaptive
    assert evaluation.evaluated == ["gaussian", ADAPTIVE]
    crps = {(own.forecaster, own.group, own.step): own.crps for own in without.aggregates}
    assert crps.items() <= {(own.forecaster, own.group, own.step): own.crps for own in evaluation.aggregates}.items()


@pytest.mark.slow
def test_gain_and_cost_are_reported(tmp_path):
    evaluation = judged(plan_of(instruments(2, 300)), tmp_path / "run", [GaussianForecaster(width=0.5)], adaptive=True)
    [verdict] = [
        own for own in evaluation.verdicts if (own.forecaster, own.group, own.about) == (ADAPTIVE, ALL, "bands")
    ]
    found = effect(evaluation)
    wider = (
        f"{100 * (found.width_ratio - 1):.1f} % wider than those of gaussian, which cover {found.coverage_before:.1%}"
    )
    assert f"{wider}; {found.adapted} of {found.n} forecasts adapted)" in verdict.sentence
    assert found.n - found.adapted == pytest.approx(MIN_OUTCOMES, abs=2 * 2)
    document = json.loads(to_json(evaluation.to_dict()))
    assert {"forecaster": ADAPTIVE, "of": "gaussian"}.items() <= document["adaptive"][0].items()
    assert ADAPTIVE in {own["forecaster"] for own in document["figures"]}
    [own] = [row for row in document["forecasters"] if row["name"] == ADAPTIVE]
    assert own["identity"]["adaptive"] == {"of": "gaussian", "least_outcomes": MIN_OUTCOMES}
    page = EvaluationReport(evaluation).render()
    assert "% wider than those of gaussian" in page
    assert f"once there are {MIN_OUTCOMES} of the market" in page


@pytest.mark.slow
def test_a_calibrated_forecaster_is_adapted_after_its_calibration(tmp_path):
    plan, forecaster = plan_of(instruments(2, 400)), GaussianForecaster(width=0.5)
    paths = run_rolling(plan, [forecaster], tmp_path / "run", RollingSettings(40))["gaussian"]
    fitted = fit(calibration_set_of(plan, Actuals.of(plan), paths, identity_of(forecaster)), ["dispersion"])
    correction = Correction("gaussian calibrated", "gaussian", fitted)
    evaluation = judged(plan, tmp_path / "run", [forecaster], corrections=[correction], adaptive=True)
    assert evaluation.evaluated == ["gaussian", "gaussian calibrated", ADAPTIVE]
    assert effect(evaluation).of == "gaussian calibrated"
    own = {name: evaluation.paths[name].returns for name in ("gaussian calibrated", ADAPTIVE)}
    first = np.argsort(Actuals.of(plan).origins["date"].to_numpy(), kind="stable")[:MIN_OUTCOMES]
    np.testing.assert_array_equal(own[ADAPTIVE][first], own["gaussian calibrated"][first])


def test_too_few_outcomes_leave_forecasts_unchanged_with_a_warning(tmp_path):
    plan = plan_of(instruments(1, 65 + 30 * HORIZON))
    evaluation = judged(plan, tmp_path / "run", [GaussianForecaster(width=0.5)], adaptive=True)
    np.testing.assert_array_equal(evaluation.paths[ADAPTIVE].returns, evaluation.paths["gaussian"].returns)
    assert effect(evaluation).adapted == 0
    [warning] = [text for text in evaluation.warnings if ADAPTIVE in text]
    assert f"are those of gaussian in walks 1h: bands adapt once {MIN_OUTCOMES} outcomes" in warning


def test_names_must_differ(tmp_path):
    forecasters = [GaussianForecaster(), GaussianForecaster(ADAPTIVE)]
    with pytest.raises(ParameterError, match="Two forecasters are named 'gaussian, adaptive bands'"):
        judged(plan_of(instruments(1, 300)), tmp_path / "run", forecasters, adaptive=True)

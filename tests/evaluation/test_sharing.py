"""Runs shared among processes."""

import os
from dataclasses import dataclass

import numpy as np
import pytest

from evaluation.walks import Walker, instruments
from kronos.baselines import BASELINES
from kronos.calibration import fit
from kronos.errors import DeviceError, ParameterError
from kronos.evaluation import (
    BaselineForecaster,
    Correction,
    RollingSettings,
    WalkForward,
    baseline_paths,
    calibration_set_of,
    evaluate,
    identity_of,
    make_plan,
    run_rolling,
)
from kronos.evaluation.rolling import run_jobs

PLAN = make_plan(instruments(3, 1200), WalkForward(horizon=24))


def test_two_processes_say_what_one_says(tmp_path):
    forecasters = [Walker(), BaselineForecaster(BASELINES["ewma-volatility"])]
    alone = run_rolling(PLAN, forecasters, tmp_path / "alone", RollingSettings(5))
    told = []
    shared = run_rolling(
        PLAN, forecasters, tmp_path / "shared", RollingSettings(5), workers=2, progress=lambda *n: told.append(n)
    )
    for name, one in alone.items():
        np.testing.assert_array_equal(shared[name].returns, one.returns)
    assert told[-1] == (2 * len(PLAN), 2 * len(PLAN))


def test_what_fails_in_a_process_fails_here(tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        run_rolling(PLAN, [Walker(fails_after=0)], tmp_path / "run", RollingSettings(5), workers=2)
    with pytest.raises(ParameterError, match="At least 1 worker"):
        run_rolling(PLAN, [Walker()], tmp_path / "run", RollingSettings(5), workers=0)


@dataclass
class Dying(Walker):
    """Its process is ended from outside, as where memory runs out."""

    def forecast(self, histories, times, *, samples, seed):
        os._exit(9)


def test_a_process_that_is_ended_is_told_in_a_sentence(tmp_path):
    with pytest.raises(DeviceError, match="ask for fewer workers"):
        run_rolling(PLAN, [Dying("a"), Dying("b")], tmp_path / "run", RollingSettings(5), workers=2)


def half_the_threads(_):
    import torch

    assert torch.get_num_threads() == 1


def test_processes_share_the_threads_of_this_one():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert sorted(run_jobs(half_the_threads, [1, 2], 2)) == [1, 2]
    finally:
        torch.set_num_threads(before)


def test_the_horizon_is_always_scored(tmp_path):
    found = evaluate(PLAN, [Walker()], tmp_path, RollingSettings(5), baselines=[], steps=(1,))
    assert {one.step for one in found.figures} == {1, 24}
    assert found.verdicts


def test_a_calibrated_forecaster_stands_beside_the_raw_one(tmp_path):
    narrow = Walker(width=0.4)
    asked = {"baselines": [BaselineForecaster(BASELINES["last-value"])], "steps": (1, 24)}
    raw = evaluate(PLAN, [narrow], tmp_path, RollingSettings(40), **asked)
    assert raw.evaluated == ["walker"]
    assert [one.name for one in raw.subjects if one.baseline] == ["last-value", "historical-volatility"]
    near = baseline_paths(PLAN, "historical-volatility", tmp_path, 1)
    calibration = fit(calibration_set_of(PLAN, raw.truth, raw.paths["walker"], identity_of(narrow), near))
    both = evaluate(
        PLAN,
        [narrow],
        tmp_path,
        RollingSettings(40),
        corrections=[Correction("mended", "walker", calibration)],
        **asked,
    )
    at = {one.forecaster: one for one in both.figures if one.group == "all" and one.step == 24}
    assert at["walker"].coverage["80"].high < 0.6
    assert abs(at["mended"].coverage["80"].estimate - 0.8) < 0.1
    mended = next(one for one in both.subjects if one.name == "mended")
    assert mended.calibration is not None
    assert "weight" in mended.calibration
    other = Correction("mended", "walker", fit(calibration_set_of(PLAN, raw.truth, raw.paths["walker"], identity_of(
        Walker("stranger")), near)))  # fmt: skip
    with pytest.raises(ParameterError, match="models differ"):
        evaluate(PLAN, [narrow], tmp_path, RollingSettings(40), corrections=[other], **asked)
    with pytest.raises(ParameterError, match="which is not evaluated"):
        evaluate(
            PLAN, [narrow], tmp_path, RollingSettings(40), corrections=[Correction("x", "nobody", calibration)], **asked
        )

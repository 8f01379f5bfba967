"""scripts/measure_quality.py: from candles to tables, on simulated candles and random weights."""

import json

import numpy as np
import pytest
from scripts.measure_quality import FULL, NEWCOMER, RAW, REFERENCES, HistoryRow, newcomers, skills, spread, tables

from calibration.markets import trials
from evaluation.random_walks import GaussianForecaster, instruments
from kronos.evaluation import ALL, RollingOrigins, RollingSettings, baseline_forecasters, evaluate, make_plan
from networks import random_model, random_tokenizer
from scripts import measure_quality


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Correct and far too wide forecasts of two markets, one of them twice."""
    series = [*instruments(1), *(own for own in instruments(3, market="others")[1:])]
    forecasters = [GaussianForecaster("right"), GaussianForecaster("wide", width=3.0)]
    return evaluate(
        make_plan(series, RollingOrigins(24, 19)),
        forecasters,
        tmp_path_factory.mktemp("evaluation") / "run",
        RollingSettings(20, 1),
        baselines=baseline_forecasters(REFERENCES[:1]),
        steps=measure_quality.STEPS,
    )


def test_a_difference_of_skills_is_paired(evaluation):
    found = {(one.name, one.minus, one.group, one.step): one for one in skills(evaluation, [("right", "wide")])}
    for group in (ALL, "walks 1h", "others 1h"):
        for step in measure_quality.STEPS:
            right, wide = (found[name, None, group, step] for name in ("right", "wide"))
            difference = found["right", "wide", group, step]
            assert difference.n == right.n == wide.n
            assert difference.skill.estimate == pytest.approx(right.skill.estimate - wide.skill.estimate)
            own = next(
                one for one in evaluation.aggregates if (one.forecaster, one.group, one.step) == ("right", group, step)
            )
            assert (right.skill, right.crps) == (own.skill, pytest.approx(own.crps))
    difference = found["right", "wide", ALL, 1]
    assert difference.word == "better"
    assert difference.skill.low > 0
    assert difference.title == "right − wide"


def test_a_model_does_not_differ_from_itself(evaluation):
    same = next(one for one in skills(evaluation, [("wide", "wide")]) if one.minus and one.group == ALL)
    assert (same.skill.estimate, same.skill.low, same.skill.high) == (0, 0, 0)
    assert same.word == "no evidence"


def test_a_newcomer_gets_the_factors_of_the_other_markets():
    past = trials(120, horizon=24, groups=("narrow 1h", "right 1h"), spread=(0.4, 1.0))
    found = {(one.setting, one.group, one.step): one.coverage["80"].estimate for one in newcomers(past, stride=24)}
    assert found[RAW, "narrow 1h", 24] < 0.5
    assert found[NEWCOMER, "narrow 1h", 24] < 0.6  # the other market needs no correction
    assert abs(found[FULL, "narrow 1h", 24] - 0.8) < 0.1
    assert found[NEWCOMER, "right 1h", 24] > 0.9  # widened like the narrow one
    assert abs(found[FULL, "right 1h", 24] - 0.8) < 0.1


def test_a_single_market_has_no_newcomer():
    assert newcomers(trials(60, horizon=24, groups=("a 1h", "a 1d")), stride=24) == []
    assert "not enough markets" in tables.newcomer_table([], (RAW, NEWCOMER, FULL))


def test_origins_are_spread_over_dates_and_groups(evaluation):
    plan = spread(evaluation.plan, 5)
    table = plan.table()
    assert table.groupby("group").size().to_dict() == {"others 1h": 5, "walks 1h": 5}
    every = evaluation.plan.table()
    assert table["date"].min() == every["date"].min()
    assert table["date"].max() == every["date"].max()
    assert np.all(np.diff(plan.series) >= 0)


def test_refused_histories_are_shown_as_a_dash():
    rows = [HistoryRow(8, "model", step, 0, None) for step in (1, 24)]
    assert tables.history_table(rows, (1, 24)).splitlines()[-1] == "| 8 | – | – |"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "give candles with --data"),
        (("--data", "candles", "--max-origins", "99"), "--max-origins 99 leaves too few for the means"),
        (("--data", "candles", "--zero-shot-origins", "99"), "--zero-shot-origins 99 leaves too few for the means"),
        (("--data", "candles", "--zero-shot", "candles/fx"), "its candles would be fitted to"),
    ],
)
def test_bad_options_are_refused(arguments, problem, capsys):
    with pytest.raises(SystemExit):
        measure_quality.parse(arguments)
    assert problem in capsys.readouterr().err


@pytest.fixture
def checkpoints(tmp_path):
    """Two models with random weights."""
    for seed, name in enumerate(("candidate", "earlier")):
        random_model(seed).save_pretrained(tmp_path / name / "model", context=64, tokenizer="../tokenizer")
        random_tokenizer(seed).save_pretrained(tmp_path / name / "tokenizer")
    return str(tmp_path / "candidate"), str(tmp_path / "earlier")


@pytest.mark.slow
def test_a_quick_measurement_writes_every_table(checkpoints, tmp_path, capsys):
    candidate, earlier = checkpoints
    out = tmp_path / "out"
    options = ("--quick", "--model", candidate, "--against", earlier, "--out", str(out), "--workers", "1")
    measure_quality.main(options)
    printed = capsys.readouterr().out
    every = ("skill", "groups", "results", "card", "coverage", "adaptive", "whole-candles", "clustering")
    calibration = ("ablation", "weights", "newcomers", "test-ablation", "cells", "cells-pooled", "cells-adaptive")
    more = ("origins", "histories", "narrowed", "narrowed-cells", "narrowed-cells-adaptive")
    for name in (*every, *(f"zero-shot-{own}" for own in every), *calibration, *more):
        assert f"\n## {name}\n" in printed
        assert (out / f"{name}.md").read_text("utf-8").startswith("| ")
    assert "candidate calibrated − earlier calibrated, against garch-t" in (out / "skill.md").read_text("utf-8")
    document = json.loads((out / "quality.json").read_text("utf-8"))
    assert {one["group"] for one in document["skills"]} == {ALL, "crypto 1h", "fx 1h"}
    assert {one["group"] for one in document["zero-shot-skills"]} == {ALL, "metal 1h"}
    assert {(one["candles"], one["step"]) for one in document["histories"]} == {
        (candles, step) for candles in (8, 16, 32, 64, 128) for step in (1, 8, 24)
    }
    assert json.loads((out / "calibration" / "calibration.json").read_text("utf-8"))["parts"] == [
        "anchor",
        "drift",
        "dispersion",
        "conformal",
    ]

"""Who may be the best: known answers on losses made by hand."""

import json
import sys
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from kronos.errors import ParameterError
from kronos.evaluation import ALL, Scores, WalkForward, compare
from kronos.metrics import model_confidence_set, superior_predictive_ability

WALK = WalkForward(horizon=24)
NAMES = ("walk", "equal", "good", "bad")


def table(group, origins, gains, *, first=0, seed=0, step=24, freq="D"):
    """CRPS of everybody at one origin a date: what all share, their own luck, and what each is better by."""
    rng = np.random.default_rng(seed)
    shared = 1 + rng.exponential(0.3, origins)
    parts = [
        pd.DataFrame(
            {
                "origin": first + np.arange(origins),
                "step": step,
                "crps": shared + 0.1 * rng.normal(size=origins) - gain,
                "forecaster": name,
                "group": group,
                "date": pd.date_range("2024-01-01", periods=origins, freq=freq),
            }
        )
        for name, gain in gains.items()
    ]
    return pd.concat(parts, ignore_index=True)


def scores(*tables):
    return Scores(pd.concat(tables, ignore_index=True), pd.DataFrame())


GAINS = {"walk": 0.0, "equal": 0.0, "good": 0.05, "bad": -0.1}


def only(found, group):
    [one] = [one for one in found if one.group == group]
    return one


@pytest.fixture(autouse=True)
def arch():
    pytest.importorskip("arch", reason="needs the evaluation extra")


def test_the_best_is_found_and_the_reference_beaten():
    one = only(compare(scores(table("fx 1d", 300, GAINS)), "walk", WALK), "fx 1d")
    assert one.included == ("good",)
    assert one.excluded[-1] == "bad"
    assert one.better == ("good",)
    assert one.spa_p < 0.01
    assert (one.step, one.origins, one.n, one.dates, one.left_out) == (24, 300, 300, 300, ())
    assert set(one.p_values) == set(NAMES)
    assert one.sentence == (
        "the best at 24 steps is among good (90% confidence); better than walk, allowing for how many were tried: good "
        "(p < 0.001); at 300 of 300 origins, where all spoke"
    )


def test_equals_may_each_be_the_best_and_none_is_better():
    one = only(compare(scores(table("fx 1d", 200, dict.fromkeys(NAMES, 0.0))), "walk", WALK), "fx 1d")
    assert set(one.included) == set(NAMES)
    assert (one.excluded, one.better) == ((), ())
    assert one.spa_p > 0.05
    assert "tried: nobody (p = 0." in one.sentence


def test_over_all_groups_every_group_counts_the_same():
    large = table("a", 400, {**GAINS, "good": 0.05})
    small = table("b", 100, {**GAINS, "good": -0.2}, first=400, seed=1, freq="4D")
    found = compare(scores(large, small), "walk", WALK)
    assert [one.group for one in found] == ["a", "b", ALL]
    assert only(found, "a").included == ("good",)
    whole = only(found, ALL)
    assert "good" in whole.excluded  # it gains 5 points in one group, and loses 20 in the other
    assert (whole.n, whole.dates) == (500, 400)
    wide = pd.concat([large, small]).pivot(index="origin", columns="forecaster", values="crps")[list(NAMES)]
    weights = np.repeat([500 / 400 / 2, 500 / 100 / 2], [400, 100])
    dates = np.concatenate([np.arange(400), 4 * np.arange(100)])
    assert whole.p_values == model_confidence_set(wide.mul(weights, axis=0), dates).p_values


def test_who_seldom_spoke_is_left_out_and_named():
    losses = table("a", 200, {**GAINS, "shy": 0.2, "late": 0.0})
    losses = losses[~((losses["forecaster"] == "shy") & (losses["origin"] >= 99))]
    losses.loc[(losses["forecaster"] == "late") & (losses["origin"] < 80), "crps"] = np.nan
    found = compare(scores(losses, table("b", 150, {**GAINS, "late": 0.0}, first=200)), "walk", WALK)
    one = only(found, "a")
    assert one.left_out == ("shy",)
    assert (one.origins, one.n) == (200, 120)
    assert one.sentence.endswith(
        "at 120 of 200 origins, where all spoke; left out, having spoken at fewer than half: shy"
    )
    assert only(found, "b").left_out == ("shy",)
    assert only(found, ALL).left_out == ("shy",)
    assert only(found, ALL).n == 270


def test_steps_are_asked_for():
    both = scores(table("a", 60, GAINS, step=1), table("a", 60, GAINS, seed=1))
    assert {one.step for one in compare(both, "walk", WALK)} == {24}
    assert [one.step for one in compare(both, "walk", WALK, [24, 1])] == [1, 1, 24, 24]
    with pytest.raises(ParameterError, match=r"Step 8 was not scored; choose from 1, 24\."):
        compare(both, "walk", WALK, [8])


@pytest.mark.parametrize(
    ("losses", "sentence"),
    [
        (table("a", 7, GAINS), "at 8 dates, not 7"),
        (table("a", 60, {"walk": 0.0}), "at least two models"),
        (table("a", 60, {"walk": np.nan, "good": 0.0, "bad": 0.0}), "walk spoke at too few origins"),
    ],
)
def test_where_nothing_can_be_told_a_sentence_says_why(losses, sentence):
    for one in compare(scores(losses), "walk", WALK):
        assert sentence in one.sentence
        assert (one.included, one.excluded, one.better, one.p_values, one.spa_p) == ((), (), (), {}, None)


def test_without_the_library_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "arch.bootstrap", None)
    for one in compare(scores(table("a", 60, GAINS)), "walk", WALK):
        assert one.sentence.endswith("install it with pip install 'kronos[evaluation]'.")
        assert not one.p_values


def test_without_scores_there_is_nothing_to_compare():
    assert compare(Scores(table("a", 2, GAINS).iloc[:0], pd.DataFrame()), "walk", WALK) == []


def test_overlapping_forecasts_are_less_evidence():
    losses = table("a", 200, GAINS, step=24)
    wide = losses.pivot(index="origin", columns="forecaster", values="crps")[list(NAMES)]
    for stride, overlap in ((6, 4), (7, 4), (24, 1), (48, 1)):
        one = only(compare(scores(losses), "walk", WalkForward(24, stride=stride)), "a")
        assert one.spa_p == superior_predictive_ability(wide, "walk", wide.index, overlap=overlap).p_value
        assert one.p_values == model_confidence_set(wide, wide.index, overlap=overlap).p_values


def test_it_is_ready_for_json():
    found = compare(scores(table("a", 60, GAINS)), "walk", WALK)
    assert json.loads(json.dumps([asdict(one) for one in found]))[0]["excluded"]

"""Multiple-comparison tests on losses with known differences."""

import json
import sys
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from kronos.errors import ParameterError
from kronos.evaluation import ALL, RollingOrigins, Scores, compare_models
from kronos.metrics import model_confidence_set, superior_predictive_ability

ROLLING = RollingOrigins(horizon=24)
NAMES = ("walk", "equal", "good", "bad")


def table(group, origins, gains, *, first=0, seed=0, step=24, freq="D"):
    """CRPS of all forecasters at own origin per date: a shared part, noise, and the gain of each."""
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


def select(comparisons, group):
    [own] = [own for own in comparisons if own.group == group]
    return own


@pytest.fixture(autouse=True)
def arch():
    pytest.importorskip("arch", reason="needs the evaluation extra")


def test_the_best_is_found_and_the_reference_beaten():
    own = select(compare_models(scores(table("fx 1d", 300, GAINS)), "walk", ROLLING), "fx 1d")
    assert own.included == ("good",)
    assert own.excluded[-1] == "bad"
    assert own.better == ("good",)
    assert own.spa_p < 0.01
    assert (own.step, own.origins, own.n, own.dates, own.left_out) == (24, 300, 300, 300, ())
    assert set(own.p_values) == set(NAMES)
    assert own.sentence == (
        "the best at 24 steps is among good (90% confidence); better than walk, allowing for how many were tried: good "
        "(p < 0.001); from 300 of 300 origins, where all have forecasts"
    )


def test_equal_forecasters_are_all_in_the_confidence_set():
    own = select(compare_models(scores(table("fx 1d", 200, dict.fromkeys(NAMES, 0.0))), "walk", ROLLING), "fx 1d")
    assert set(own.included) == set(NAMES)
    assert (own.excluded, own.better) == ((), ())
    assert own.spa_p > 0.05
    assert "tried: none (p = 0." in own.sentence


def test_groups_have_equal_weights():
    large = table("a", 400, {**GAINS, "good": 0.05})
    small = table("b", 100, {**GAINS, "good": -0.2}, first=400, seed=1, freq="4D")
    found = compare_models(scores(large, small), "walk", ROLLING)
    assert [own.group for own in found] == ["a", "b", ALL]
    assert select(found, "a").included == ("good",)
    whole = select(found, ALL)
    assert "good" in whole.excluded  # it gains 5 points in own group, and loses 20 in the other
    assert (whole.n, whole.dates) == (500, 400)
    wide = pd.concat([large, small]).pivot(index="origin", columns="forecaster", values="crps")[list(NAMES)]
    weights = np.repeat([500 / 400 / 2, 500 / 100 / 2], [400, 100])
    dates = np.concatenate([np.arange(400), 4 * np.arange(100)])
    assert whole.p_values == model_confidence_set(wide.mul(weights, axis=0), dates).p_values


def test_forecasters_with_few_forecasts_are_left_out():
    losses = table("a", 200, {**GAINS, "shy": 0.2, "late": 0.0})
    losses = losses[~((losses["forecaster"] == "shy") & (losses["origin"] >= 99))]
    losses.loc[(losses["forecaster"] == "late") & (losses["origin"] < 80), "crps"] = np.nan
    found = compare_models(scores(losses, table("b", 150, {**GAINS, "late": 0.0}, first=200)), "walk", ROLLING)
    own = select(found, "a")
    assert own.left_out == ("shy",)
    assert (own.origins, own.n) == (200, 120)
    assert own.sentence.endswith(
        "from 120 of 200 origins, where all have forecasts; left out for too few forecasts: shy"
    )
    assert select(found, "b").left_out == ("shy",)
    assert select(found, ALL).left_out == ("shy",)
    assert select(found, ALL).n == 270


def test_selected_steps_are_compared():
    both = scores(table("a", 60, GAINS, step=1), table("a", 60, GAINS, seed=1))
    assert {own.step for own in compare_models(both, "walk", ROLLING)} == {24}
    assert [own.step for own in compare_models(both, "walk", ROLLING, [24, 1])] == [1, 1, 24, 24]
    with pytest.raises(ParameterError, match=r"Step 8 was not scored; choose from 1, 24\."):
        compare_models(both, "walk", ROLLING, [8])


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        (table("a", 7, GAINS), "8 dates"),
        (table("a", 60, {"walk": 0.0}), "at least two models"),
        (table("a", 60, {"walk": np.nan, "good": 0.0, "bad": 0.0}), "walk has forecasts at too few origins"),
    ],
)
def test_the_sentence_explains_missing_results(losses, words):
    for own in compare_models(scores(losses), "walk", ROLLING):
        assert words in own.sentence
        assert (own.included, own.excluded, own.better, own.p_values, own.spa_p) == ((), (), (), {}, None)


def test_the_sentence_names_a_missing_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "arch.bootstrap", None)
    for own in compare_models(scores(table("a", 60, GAINS)), "walk", ROLLING):
        assert own.sentence.endswith("install it with pip install 'kronos-forecast[evaluation]'.")
        assert not own.p_values


def test_without_scores_there_is_nothing_to_compare():
    assert compare_models(Scores(table("a", 2, GAINS).iloc[:0], pd.DataFrame()), "walk", ROLLING) == []


@pytest.mark.slow
def test_overlapping_forecasts_are_less_evidence():
    losses = table("a", 200, GAINS, step=24)
    wide = losses.pivot(index="origin", columns="forecaster", values="crps")[list(NAMES)]
    for stride, overlap in ((6, 4), (7, 4), (24, 1), (48, 1)):
        own = select(compare_models(scores(losses), "walk", RollingOrigins(24, stride=stride)), "a")
        assert own.spa_p == superior_predictive_ability(wide, "walk", wide.index, overlap=overlap).p_value
        assert own.p_values == model_confidence_set(wide, wide.index, overlap=overlap).p_values


def test_the_result_is_serializable():
    found = compare_models(scores(table("a", 60, GAINS)), "walk", ROLLING)
    assert json.loads(json.dumps([asdict(own) for own in found]))[0]["excluded"]

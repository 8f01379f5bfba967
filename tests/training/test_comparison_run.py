"""A comparison says what is so: better is helped, worse is harmed, the same no evidence; unseen candles alone count."""

import copy
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.random_walks import candles as walk
from kronos.datasets.training_data import WindowSettings
from kronos.datasets.windows import WindowDataset
from kronos.errors import DataError, ParameterError
from kronos.evaluation import RollingOrigins, make_plan
from kronos.evaluation.plan import Instrument
from kronos.inference import KronosPredictor
from kronos.metrics import Estimate
from kronos.training.comparison import RULE, Measure, TrainingComparison, verdict_of
from kronos.training.comparison_run import ComparisonSettings, compare, compare_tokenizers
from kronos.training.heldout import EvalWindow, heldout_origins, nll, subsample, window_batches
from networks import random_model, random_tokenizer
from training.candles import WINDOWS, opened, trained, trained_tokenizer, write_walk

LITTLE = ComparisonSettings(origins=30, paths=8, windows=60, baselines=("last-value",))
TINY = replace(LITTLE, origins=4, windows=4, paths=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    return opened(write_walk(folder / "walk.csv", 1), folder / "cache")


@pytest.fixture(scope="module")
def new(data) -> KronosPredictor:
    tokenizer = trained_tokenizer(random_tokenizer(1), data, 40)
    return KronosPredictor(random_model(1), tokenizer, device="cpu", max_context=64)


@pytest.fixture(scope="module")
def good(new, data) -> KronosPredictor:
    return trained(new, data, 40)


@pytest.fixture(scope="module")
def helped(new, good, data) -> TrainingComparison:
    return compare(new, good, data, WINDOWS, replace(LITTLE, names=("new", "good")))


def test_a_model_that_learnt_is_helped(helped):
    measures = {one.name: one for one in helped.measures}
    assert helped.verdict == "helped"
    assert helped.sentence.startswith("Training helped: the tokens of unseen candles are likelier (NLL ")
    assert measures["nll"].change.high < 0
    assert measures["nll"].tuned < measures["nll"].start
    assert measures["crps"].word in ("better", "no evidence")


def test_a_model_trained_on_noise_is_harmed(good, data):
    found = compare(good, trained(good, data, 25, noise=True), data, WINDOWS, LITTLE)
    assert found.verdict == "harmed"
    assert found.sentence.startswith("Training harmed")


def test_a_model_that_stayed_is_no_evidence(good, data):
    found = compare(good, good, data, WINDOWS, replace(LITTLE, paths=2))
    assert found.verdict == "no evidence"
    assert [one.change.estimate for one in found.measures] == [0, 0]


def test_start_and_baselines_stand_beside(helped):
    assert [(one.name, one.kind) for one in helped.rivals] == [
        ("good", "tuned"),
        ("new", "start"),
        ("last-value", "baseline"),
        ("historical-volatility", "reference"),
    ]
    assert all(set(one.crps) == {"1", "4"} for one in helped.rivals)
    assert {one.name: one.coverage is None for one in helped.rivals}["last-value"]
    assert helped.against_baselines[0].startswith("price: ")


def test_what_is_compared_is_the_same_for_both(helped):
    crps = next(one for one in helped.measures if one.name == "crps")
    rows = helped.evaluation.scores.steps
    losses = rows[rows["forecaster"].isin(["new", "good"])].groupby(["forecaster", "origin"])["crps"].mean().unstack(0)
    assert crps.change.estimate == pytest.approx((losses["good"] - losses["new"]).mean())
    assert crps.start == pytest.approx(losses["new"].mean())
    assert crps.change.n == len(losses) == helped.tested["origins"] == 30


def test_only_the_test_part_is_looked_at(helped, data):
    test = data.cuts["other 1h" if "other 1h" in data.cuts else data.groups[0]].test.tz_localize(None)
    plan = helped.evaluation.plan
    assert (plan.table()["first"] >= test).all()
    assert pd.Timestamp(helped.tested["first"]) >= test.normalize()


def test_models_see_as_much_as_they_were_trained_with_and_baselines_what_they_like(helped):
    identities = {one.name: one.identity for one in helped.evaluation.contenders}
    assert identities["good"]["lookback"] == identities["new"]["lookback"] == 32
    assert identities["historical-volatility"]["window"] > 64


def test_other_tokens_are_not_compared_by_their_likelihood(new, data):
    other = KronosPredictor(new.model, random_tokenizer(2), device="cpu", max_context=64)
    found = compare(new, other, data, WINDOWS, TINY)
    assert [one.name for one in found.measures] == ["reconstruction", "crps"]
    assert "NLLs were not compared" in found.notes[0]


def test_other_normalisation_makes_other_tokens(new, data):
    tokenizer = copy.deepcopy(new.tokenizer)
    tokenizer.normalisation = "steps"
    found = compare(new, KronosPredictor(new.model, tokenizer, device="cpu", max_context=64), data, WINDOWS, TINY)
    assert [one.name for one in found.measures] == ["reconstruction", "crps"]


def test_a_training_from_scratch_is_told_as_one(good, data):
    found = compare(None, good, data, WINDOWS, TINY)
    assert (found.verdict, found.measures, found.names[0]) == ("from scratch", (), None)
    assert found.sentence.startswith("Trained from scratch")
    assert "price: " in found.sentence
    assert [one.kind for one in found.rivals].count("start") == 0


def test_a_tokenizer_alone_is_compared_by_what_it_gives_back(new, data):
    found = compare_tokenizers(random_tokenizer(1), new.tokenizer, data, WINDOWS, LITTLE)
    assert [one.name for one in found.measures] == ["reconstruction"]
    assert (found.verdict, found.rivals) == ("helped", ())
    assert compare_tokenizers(new.tokenizer, random_tokenizer(1), data, WINDOWS, LITTLE).verdict == "harmed"
    assert "Forecasts were not compared" in "\n".join(found.summary())


def test_a_summary_tells_the_verdict_everybody_and_what_speaks_against_it(helped):
    lines = helped.summary()
    assert lines[0] == helped.sentence
    assert "on candles that training never saw" in lines[1]
    for one in helped.rivals:
        assert any(line.startswith(f"  {one.name} ") for line in lines)
    assert any(line.startswith("Warning: Fewer than 400 forecasts") for line in lines)


def test_it_is_written_and_read_again(helped, tmp_path):
    again = TrainingComparison.read(helped.save(tmp_path / "deep" / "comparison.json"))
    assert again == helped
    assert again.evaluation is None
    assert again.summary() == helped.summary()
    assert RULE in (tmp_path / "deep" / "comparison.json").read_text("utf-8")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"measures": [{}]}', "\x00"])
def test_a_damaged_file_is_refused_in_a_sentence(tmp_path, text):
    (tmp_path / "comparison.json").write_text(text, "utf-8")
    with pytest.raises(DataError, match="no comparison that can be read"):
        TrainingComparison.read(tmp_path / "comparison.json")


def test_the_same_seed_gives_the_same_verdict(new, good, data):
    first, again = (compare(new, good, data, WINDOWS, TINY) for _ in range(2))
    assert (again.measures, again.rivals) == (first.measures, first.rivals)


def test_simulated_candles_are_said_to_be(new, tmp_path):
    data = opened(write_walk(tmp_path / "simulated_walk.csv", 3), tmp_path / "cache")
    found = compare_tokenizers(new.tokenizer, new.tokenizer, data, WINDOWS, TINY)
    assert "simulated" in found.warnings[0]


def test_what_nobody_knows_of_the_start_is_warned_of(helped):
    assert any("Nothing says up to when" in one for one in helped.warnings)


def test_too_short_a_test_part_is_refused(new, tmp_path):
    short = opened(write_walk(tmp_path / "walk.csv", 1, rows=300), tmp_path / "cache")
    with pytest.raises(DataError, match="longer histories"):
        compare(new, new, short, WindowSettings(lookback=290, predict=20), LITTLE)


def test_nonsense_is_refused():
    with pytest.raises(ParameterError, match="origins is at least 1"):
        ComparisonSettings(origins=0)
    with pytest.raises(ParameterError, match="both called 'x'"):
        ComparisonSettings(names=("x", "x"))


# The moments ---------------------------------------------------------------


def test_windows_are_those_that_training_makes(data):
    """To the digit: the same candles give the same numbers whichever of the two cuts them."""
    plan = heldout_origins(data, WINDOWS.lookback, WINDOWS.predict)
    dataset = WindowDataset(data, "test", WINDOWS, samples=10_000)
    theirs = {dataset.window(i).first + WINDOWS.lookback: dataset[i] for i in range(len(dataset))}
    ours = list(window_batches(plan, EvalWindow(WINDOWS.lookback), "spread"))
    x, stamp, step = (torch.cat([getattr(batch, name) for batch in ours]) for name in ("x", "stamp", "step"))
    both = [row for row, known in enumerate(plan.known) if int(known) in theirs]
    assert len(both) > 20
    for row in both:
        sample = theirs[int(plan.known[row])]
        assert np.array_equal(x[row].numpy(), sample.x)
        assert np.array_equal(stamp[row].numpy(), sample.stamp)
        assert step[row].item() == pytest.approx(float(sample.step), rel=1e-5)


def test_what_comes_changes_nothing_that_is_known(data):
    plan = heldout_origins(data, WINDOWS.lookback, WINDOWS.predict)
    [one] = plan.instruments
    frame = one.candles.frame.copy()
    frame.iloc[int(plan.known[3]) :] *= 1.5
    changed = replace(plan, instruments=(replace(one, candles=replace(one.candles, frame=frame)),))
    before, after = (
        next(iter(window_batches(this, EvalWindow(WINDOWS.lookback, batch_size=4), "spread"))).x
        for this in (plan, changed)
    )
    assert torch.equal(before[:3], after[:3]) or plan.rolling.step < WINDOWS.predict
    assert torch.equal(before[3, : WINDOWS.lookback], after[3, : WINDOWS.lookback])
    assert not torch.equal(before[3], after[3])


def test_few_moments_may_overlap_and_intervals_know(data):
    plan = heldout_origins(data, WINDOWS.lookback, WINDOWS.predict)
    assert plan.rolling.step < WINDOWS.predict
    assert plan.rolling.overlapping
    assert len(plan) >= 100


def test_many_moments_share_nothing(tmp_path):
    data = opened(write_walk(tmp_path / "walk.csv", 1, rows=4000), tmp_path / "cache")
    plan = heldout_origins(data, WINDOWS.lookback, WINDOWS.predict)
    assert not plan.rolling.overlapping
    assert np.diff(plan.known).min() == WINDOWS.predict


def test_nll_is_that_of_both_tokens(new, data):
    plan = subsample(heldout_origins(data, WINDOWS.lookback, WINDOWS.predict), 6)
    flat = KronosPredictor(random_model(3), new.tokenizer, device="cpu", max_context=64)
    with torch.no_grad():
        for parameter in flat.model.head.parameters():
            parameter.zero_()  # every token is as likely as any other
    assert nll(flat, plan, EvalWindow(WINDOWS.lookback)) == pytest.approx(2 * math.log(2**5), rel=1e-5)


@settings(max_examples=25)
@given(st.lists(st.integers(70, 260), min_size=1, max_size=4), st.integers(1, 80))
def test_thinning_keeps_groups_alike_and_no_more_than_asked(rows, most):
    plan = make_plan(
        [Instrument(f"w{place}", f"m{place}", walk(place, count)) for place, count in enumerate(rows)],
        RollingOrigins(4),
    )
    counts = pd.Series([len(plan.table().query("group == @group")) for group in plan.table()["group"].unique()])
    kept = subsample(plan, most)
    found = kept.table().groupby("group").size()
    assert len(kept) <= max(most, len(counts))
    assert len(kept) >= min(most, len(plan), counts.sum()) - len(counts)
    full = found[[group for group in found.index if found[group] < (plan.table()["group"] == group).sum()]]
    assert full.empty or full.max() - full.min() <= 2


# The rule ------------------------------------------------------------------


def measure(name, word):
    low, high = {"better": (-2, -1), "worse": (1, 2), "no evidence": (-1, 1), "too few dates": (-2, -1)}[word]
    dates = 5 if word == "too few dates" else 50
    estimate = Estimate((low + high) / 2, low, high, 0.95, "bootstrap", 50, 50.0, dates)
    return Measure(name, 3.0, 2.0, estimate, {})


WORDS = st.sampled_from(["better", "worse", "no evidence", "too few dates"])


@given(st.dictionaries(st.sampled_from(["nll", "reconstruction", "crps"]), WORDS, min_size=1))
def test_the_verdict_follows_its_rule(words):
    found = verdict_of([measure(name, word) for name, word in words.items()])
    says = set(words.values()) & {"better", "worse"}
    if says == {"better"}:
        assert found == ("helped" if words.get("crps", "better") == "better" else "helped in part")
    elif says == {"worse"}:
        assert found == "harmed"
    elif not says:
        assert found == "no evidence"
    else:
        assert found == {"better": "helped", "worse": "harmed"}.get(words.get("crps"), "no evidence")


def test_an_interval_that_cannot_be_told_claims_nothing():
    unknown = Estimate(-1.0, math.nan, math.nan, 0.95, "bootstrap", 50, 1.0, 50)
    assert Measure("nll", 1.0, 0.0, unknown, {}).word == "too few dates"
    assert "nan" not in Measure("nll", 1.0, 0.0, unknown, {}).sentence


def test_a_figure_that_cannot_be_told_is_written_and_read_again(helped, tmp_path):
    rivals = tuple(replace(one, crps=dict.fromkeys(one.crps, math.nan)) for one in helped.rivals)
    groups = {"a 1h": {"start": math.nan, "tuned": 1.0, "n": 3}}
    measures = tuple(replace(one, by_group=groups) for one in helped.measures)
    found = TrainingComparison.read(
        replace(helped, rivals=rivals, measures=measures).save(tmp_path / "comparison.json")
    )
    assert any("nan" in line for line in found.summary())
    assert math.isnan(found.measures[0].by_group["a 1h"]["start"])

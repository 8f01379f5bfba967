"""Comparison of a trained model with its initial weights, on the test part only."""

import copy
import json
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
from kronos.evaluation.origins import Instrument
from kronos.inference import KronosPredictor
from kronos.metrics import Estimate
from kronos.training.comparison import RULE, Measure, TrainingComparison, verdict_of
from kronos.training.comparison_run import ComparisonSettings, compare, compare_stage, compare_tokenizers
from kronos.training.heldout import EvalWindow, heldout_origins, nll, subsample, window_batches
from kronos.training.plan import make_plan as make_run_plan
from kronos.training.runner import RunOptions, run
from networks import random_model, random_tokenizer
from training.candles import WINDOWS, open_walk, trained_model, trained_tokenizer, write_walk
from training.recipes import small

pytestmark = pytest.mark.slow

QUICK = ComparisonSettings(origins=30, paths=8, windows=60, baselines=("last-value",))
TINY = replace(QUICK, origins=4, windows=4, paths=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    return open_walk(write_walk(folder / "walk.csv", 1), folder / "cache")


@pytest.fixture(scope="module")
def initial(data) -> KronosPredictor:
    tokenizer = trained_tokenizer(random_tokenizer(1), data, 40)
    return KronosPredictor(random_model(1), tokenizer, device="cpu", max_context=64)


@pytest.fixture(scope="module")
def tuned(initial, data) -> KronosPredictor:
    return trained_model(initial, data, 40)


@pytest.fixture(scope="module")
def comparison(initial, tuned, data) -> TrainingComparison:
    return compare(initial, tuned, data, WINDOWS, replace(QUICK, names=("initial", "tuned")))


def test_improved_model_is_helped(comparison):
    measures = {item.name: item for item in comparison.measures}
    assert comparison.verdict == "helped"
    assert comparison.sentence.startswith("Training helped: the tokens of unseen candles are more likely (NLL ")
    assert measures["nll"].change.high < 0
    assert measures["nll"].tuned < measures["nll"].start
    assert measures["crps"].verdict in ("better", "no evidence")


def test_model_trained_on_noise_is_harmed(tuned, data):
    result = compare(tuned, trained_model(tuned, data, 25, noise=True), data, WINDOWS, QUICK)
    assert result.verdict == "harmed"
    assert result.sentence.startswith("Training harmed")


def test_unchanged_model_is_no_evidence(tuned, data):
    result = compare(tuned, tuned, data, WINDOWS, replace(QUICK, paths=2))
    assert result.verdict == "no evidence"
    assert [item.change.estimate for item in result.measures] == [0, 0]


def test_contenders_include_initial_model_and_baselines(comparison):
    assert [(item.name, item.kind) for item in comparison.contenders] == [
        ("tuned", "tuned"),
        ("initial", "start"),
        ("last-value", "baseline"),
        ("historical-volatility", "reference"),
    ]
    assert all(set(item.crps) == {"1", "4"} for item in comparison.contenders)
    assert {item.name: item.coverage is None for item in comparison.contenders}["last-value"]
    assert comparison.against_baselines[0].startswith("price: ")


def test_both_models_forecast_the_same_origins(comparison):
    crps = next(item for item in comparison.measures if item.name == "crps")
    rows = comparison.evaluation.scores.steps
    losses = (
        rows[rows["forecaster"].isin(["initial", "tuned"])].groupby(["forecaster", "origin"])["crps"].mean().unstack(0)
    )
    assert crps.change.estimate == pytest.approx((losses["tuned"] - losses["initial"]).mean())
    assert crps.start == pytest.approx(losses["initial"].mean())
    assert crps.change.n == len(losses) == comparison.tested["origins"] == 30


def test_only_the_test_part_is_used(comparison, data):
    test = data.cuts["other 1h" if "other 1h" in data.cuts else data.groups[0]].test.tz_localize(None)
    plan = comparison.evaluation.plan
    assert (plan.table()["first"] >= test).all()
    assert pd.Timestamp(comparison.tested["first"]) >= test.normalize()


def test_models_use_their_lookback_and_baselines_the_whole_history(comparison):
    identities = {item.name: item.identity for item in comparison.evaluation.contenders}
    assert identities["tuned"]["lookback"] == identities["initial"]["lookback"] == 32
    assert identities["historical-volatility"]["window"] > 64


def test_models_with_different_tokenizers_are_compared_by_reconstruction(initial, data):
    other = KronosPredictor(initial.model, random_tokenizer(2), device="cpu", max_context=64)
    result = compare(initial, other, data, WINDOWS, TINY)
    assert [item.name for item in result.measures] == ["reconstruction", "crps"]
    assert "NLLs were not compared" in result.notes[0]


def test_another_normalisation_counts_as_another_tokenizer(initial, data):
    tokenizer = copy.deepcopy(initial.tokenizer)
    tokenizer.normalisation = "steps"
    result = compare(
        initial, KronosPredictor(initial.model, tokenizer, device="cpu", max_context=64), data, WINDOWS, TINY
    )
    assert [item.name for item in result.measures] == ["reconstruction", "crps"]


def test_training_from_scratch_is_compared_with_baselines(tuned, data):
    result = compare(None, tuned, data, WINDOWS, TINY)
    assert (result.verdict, result.measures, result.names[0]) == ("from scratch", (), None)
    assert result.sentence.startswith("Trained from scratch")
    assert "price: " in result.sentence
    assert [item.kind for item in result.contenders].count("start") == 0


def test_tokenizers_are_compared_by_reconstruction(initial, data):
    result = compare_tokenizers(random_tokenizer(1), initial.tokenizer, data, WINDOWS, QUICK)
    assert [item.name for item in result.measures] == ["reconstruction"]
    assert (result.verdict, result.contenders) == ("helped", ())
    assert compare_tokenizers(initial.tokenizer, random_tokenizer(1), data, WINDOWS, QUICK).verdict == "harmed"
    assert "Forecasts were not compared" in "\n".join(result.summary())


def test_summary_has_verdict_contenders_and_warnings(comparison):
    lines = comparison.summary()
    assert lines[0] == comparison.sentence
    assert "candles not used in training" in lines[1]
    for item in comparison.contenders:
        assert any(line.startswith(f"  {item.name} ") for line in lines)
    assert any(line.startswith("Warning: Fewer than 400 forecasts") for line in lines)


def test_saved_comparison_reads_unchanged(comparison, tmp_path):
    second = TrainingComparison.read(comparison.save(tmp_path / "deep" / "comparison.json"))
    assert second == comparison
    assert second.evaluation is None
    assert second.summary() == comparison.summary()
    assert RULE in (tmp_path / "deep" / "comparison.json").read_text("utf-8")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"measures": [{}]}', "\x00"])
def test_damaged_comparison_raises(tmp_path, text):
    (tmp_path / "comparison.json").write_text(text, "utf-8")
    with pytest.raises(DataError, match="not a valid comparison"):
        TrainingComparison.read(tmp_path / "comparison.json")


def test_same_seed_gives_the_same_result(initial, tuned, data):
    first, second = (compare(initial, tuned, data, WINDOWS, TINY) for _ in range(2))
    assert (second.measures, second.contenders) == (first.measures, first.contenders)


def test_simulated_candles_cause_a_warning(initial, tmp_path):
    data = open_walk(write_walk(tmp_path / "simulated_walk.csv", 3), tmp_path / "cache")
    result = compare_tokenizers(initial.tokenizer, initial.tokenizer, data, WINDOWS, TINY)
    assert "simulated" in result.warnings[0]


def test_unknown_cutoffs_of_the_initial_model_cause_a_warning(comparison):
    assert any("unknown" in warning for warning in comparison.warnings)


def test_too_short_test_part_raises(initial, tmp_path):
    short = open_walk(write_walk(tmp_path / "walk.csv", 1, rows=300), tmp_path / "cache")
    with pytest.raises(DataError, match="longer histories"):
        compare(initial, initial, short, WindowSettings(lookback=290, predict=20), QUICK)


def test_invalid_settings_raise():
    with pytest.raises(ParameterError, match="origins 0"):
        ComparisonSettings(origins=0)
    with pytest.raises(ParameterError, match="named 'x'"):
        ComparisonSettings(names=("x", "x"))


# Origins --------------------------------------------------------------------


def test_windows_equal_those_of_training(data):
    """The same candles give identical values in both."""
    plan = heldout_origins(data, WINDOWS.lookback, WINDOWS.predict)
    dataset = WindowDataset(data, "test", WINDOWS, samples=10_000)
    training_samples = {dataset.window(i).first + WINDOWS.lookback: dataset[i] for i in range(len(dataset))}
    test_batches = list(window_batches(plan, EvalWindow(WINDOWS.lookback), "spread"))
    x, stamp, step = (torch.cat([getattr(batch, name) for batch in test_batches]) for name in ("x", "stamp", "step"))
    shared = [row for row, known in enumerate(plan.known) if int(known) in training_samples]
    assert len(shared) > 20
    for row in shared:
        sample = training_samples[int(plan.known[row])]
        assert np.array_equal(x[row].numpy(), sample.x)
        assert np.array_equal(stamp[row].numpy(), sample.stamp)
        assert step[row].item() == pytest.approx(float(sample.step), rel=1e-5)


def test_future_candles_change_no_known_values(data):
    plan = heldout_origins(data, WINDOWS.lookback, WINDOWS.predict)
    [item] = plan.instruments
    frame = item.candles.frame.copy()
    frame.iloc[int(plan.known[3]) :] *= 1.5
    changed = replace(plan, instruments=(replace(item, candles=replace(item.candles, frame=frame)),))
    before, after = (
        next(iter(window_batches(this, EvalWindow(WINDOWS.lookback, batch_size=4), "spread"))).x
        for this in (plan, changed)
    )
    assert torch.equal(before[:3], after[:3]) or plan.rolling.step < WINDOWS.predict
    assert torch.equal(before[3, : WINDOWS.lookback], after[3, : WINDOWS.lookback])
    assert not torch.equal(before[3], after[3])


def test_few_origins_may_overlap(data):
    plan = heldout_origins(data, WINDOWS.lookback, WINDOWS.predict)
    assert plan.rolling.step < WINDOWS.predict
    assert plan.rolling.overlapping
    assert len(plan) >= 100


def test_many_origins_do_not_overlap(tmp_path):
    data = open_walk(write_walk(tmp_path / "walk.csv", 1, rows=4000), tmp_path / "cache")
    plan = heldout_origins(data, WINDOWS.lookback, WINDOWS.predict)
    assert not plan.rolling.overlapping
    assert np.diff(plan.known).min() == WINDOWS.predict


def test_nll_covers_both_tokens(initial, data):
    plan = subsample(heldout_origins(data, WINDOWS.lookback, WINDOWS.predict), 6)
    flat = KronosPredictor(random_model(3), initial.tokenizer, device="cpu", max_context=64)
    with torch.no_grad():
        for parameter in flat.model.head.parameters():
            parameter.zero_()  # every token is as likely as any other
    assert nll(flat, plan, EvalWindow(WINDOWS.lookback)) == pytest.approx(2 * math.log(2**5), rel=1e-5)


@settings(max_examples=25)
@given(st.lists(st.integers(70, 260), min_size=1, max_size=4), st.integers(1, 80))
def test_subsample_balances_groups_within_the_limit(rows, limit):
    plan = make_plan(
        [Instrument(f"w{place}", f"m{place}", walk(place, count)) for place, count in enumerate(rows)],
        RollingOrigins(4),
    )
    counts = pd.Series([len(plan.table().query("group == @group")) for group in plan.table()["group"].unique()])
    reduced = subsample(plan, limit)
    result = reduced.table().groupby("group").size()
    assert len(reduced) <= max(limit, len(counts))
    assert len(reduced) >= min(limit, len(plan), counts.sum()) - len(counts)
    full = result[[group for group in result.index if result[group] < (plan.table()["group"] == group).sum()]]
    assert full.empty or full.max() - full.min() <= 2


# The rule ------------------------------------------------------------------


def measure(name, verdict):
    low, high = {"better": (-2, -1), "worse": (1, 2), "no evidence": (-1, 1), "too few dates": (-2, -1)}[verdict]
    dates = 5 if verdict == "too few dates" else 50
    estimate = Estimate((low + high) / 2, low, high, 0.95, "bootstrap", 50, 50.0, dates)
    return Measure(name, 3.0, 2.0, estimate, {})


VERDICTS = st.sampled_from(["better", "worse", "no evidence", "too few dates"])


@given(st.dictionaries(st.sampled_from(["nll", "reconstruction", "crps"]), VERDICTS, min_size=1))
def test_verdict_follows_the_rule(verdicts):
    result = verdict_of([measure(name, verdict) for name, verdict in verdicts.items()])
    decided = set(verdicts.values()) & {"better", "worse"}
    if decided == {"better"}:
        assert result == ("helped" if verdicts.get("crps", "better") == "better" else "helped in part")
    elif decided == {"worse"}:
        assert result == "harmed"
    elif not decided:
        assert result == "no evidence"
    else:
        assert result == {"better": "helped", "worse": "harmed"}.get(verdicts.get("crps"), "no evidence")


def test_undetermined_interval_gives_no_verdict():
    estimate = Estimate(-1.0, math.nan, math.nan, 0.95, "bootstrap", 50, 1.0, 50)
    assert Measure("nll", 1.0, 0.0, estimate, {}).verdict == "too few dates"
    assert "nan" not in Measure("nll", 1.0, 0.0, estimate, {}).sentence


def test_unknown_figures_are_saved_and_read(comparison, tmp_path):
    contenders = tuple(replace(item, crps=dict.fromkeys(item.crps, math.nan)) for item in comparison.contenders)
    groups = {"a 1h": {"start": math.nan, "tuned": 1.0, "n": 3}}
    measures = tuple(replace(item, by_group=groups) for item in comparison.measures)
    result = TrainingComparison.read(
        replace(comparison, contenders=contenders, measures=measures).save(tmp_path / "comparison.json")
    )
    assert any("nan" in line for line in result.summary())
    assert math.isnan(result.measures[0].by_group["a 1h"]["start"])


# Runs -----------------------------------------------------------------------

TINY_RUN = ComparisonSettings(origins=4, paths=2, windows=4, baselines=("last-value",))


def compare_run(config, **options):
    plan = make_run_plan(config)
    return compare_stage(plan, plan.stages[-1], settings=TINY_RUN, **options)


@pytest.mark.usefixtures("clean_folder")
def test_comparison_of_a_run_is_stored_and_repeated_if_damaged(tmp_path):
    config = small(tmp_path, stages=["model"])
    run([make_run_plan(config)], RunOptions(compare=False))
    assert compare_run(config, enabled=False).comparison is None
    first = compare_run(config)
    assert first.reason is None
    assert {measure.name for measure in first.comparison.measures} == {"nll", "crps"}
    assert compare_run(config, enabled=False).comparison == first.comparison
    path = config.folder / "comparison.json"
    for text in ("{}", "torn"):
        path.write_text(text)
        assert compare_run(config).comparison.measures == first.comparison.measures
        assert json.loads(path.read_text())["verdict"] == first.comparison.verdict


@pytest.mark.usefixtures("clean_folder")
def test_initial_model_without_a_tokenizer_uses_the_configured_one(tmp_path):
    small(tmp_path)
    record = tmp_path / "start" / "model" / "kronos.json"
    document = json.loads(record.read_text())
    (tmp_path / "start" / "tokenizer").rename(tmp_path / "other_tokenizer")
    record.write_text(json.dumps({name: value for name, value in document.items() if name != "tokenizer"}))
    start = {"model": str(tmp_path / "start" / "model"), "tokenizer": str(tmp_path / "other_tokenizer")}
    config = small(tmp_path, stages=["model"], start=start)
    run([make_run_plan(config)], RunOptions(compare=False))
    outcome = compare_run(config)
    assert outcome.reason is None
    assert "nll" in {measure.name for measure in outcome.comparison.measures}

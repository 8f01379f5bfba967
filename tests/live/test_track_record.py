import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from kronos.live.block_sequences import (
    ALPHA,
    Bounds,
    CoverageTest,
    average_bounds,
    block_gains,
    coverage_test,
    gain_to_skill,
)
from kronos.live.entries import RevisionEntry
from kronos.live.track_record import TrackRecordData
from kronos.live.verdicts import coverage_verdict
from kronos.metrics import brier, crps
from live.track_records import BASELINE, PROTOCOL, H, simulate


def record_of(entries, parts=1):
    data = TrackRecordData(PROTOCOL)
    size = max(1, -(-len(entries) // parts))
    for start in range(0, len(entries), size):
        data.extend(entries[start : start + size])
        if parts > 1:
            data.summarize()
    return data.summarize()


@pytest.fixture(scope="module")
def records():
    return {kind: record_of(simulate(kind, 1000)) for kind in ("calibrated", "overconfident", "clairvoyant")}


def keys_of(record, **values):
    return {
        (verdict.key, verdict.values.get("level"))
        for verdict in record.verdicts
        if values.items() <= verdict.values.items()
    }


def test_verdicts_on_a_calibrated_forecaster(records):
    assert keys_of(records["calibrated"]) == {
        ("skill.early", None),
        *(("coverage.early", level) for level in (50, 80, 95)),
        ("upside.early", None),
        ("amplification.early", None),
    }


@pytest.mark.parametrize(("half", "key"), [(0.11, "coverage.early"), (0.09, "coverage.consistent")])
def test_bands_are_consistent_once_the_bounds_say_something(half, key):
    test = CoverageTest(Bounds(0.8, 0.8 - half, 0.8 + half, 20), too_narrow=False, too_wide=False)
    assert coverage_verdict(test, {"level": 80, "target": 0.8}).key == key
    nothing = CoverageTest(Bounds(math.nan, 0.0, 1.0, 0), too_narrow=False, too_wide=False)
    assert coverage_verdict(nothing, {"level": 80, "target": 0.8}).key == "coverage.early"


def test_verdicts_on_an_overconfident_forecaster(records):
    found = keys_of(records["overconfident"])
    assert {("coverage.narrow", 80), ("coverage.narrow", 95)} <= found
    assert not [key for key, _ in found if key == "coverage.wide" or key.endswith("better")]
    [figure] = [row for row in records["overconfident"].coverage if (row.level, row.step) == (95, None)]
    assert figure.upper < figure.target == pytest.approx(29 / 31)
    assert records["overconfident"].skill[0].estimate < 0


def test_verdicts_on_a_clairvoyant_forecaster(records):
    record = records["clairvoyant"]
    assert ("skill.better", None) in keys_of(record, baseline=BASELINE)
    assert not [key for key, _ in keys_of(record) if key.endswith("worse") or key == "coverage.narrow"]
    overall = record.skill[0]
    assert overall.step is None
    assert overall.estimate > 0.9
    assert 0 < overall.lower < overall.block_estimate == pytest.approx(0.4)  # gains are limited to ±¼
    assert all(row.skill > 0.9 for row in record.brier)


def test_sentences_are_english(records):
    sentences = records["overconfident"].sentences()
    assert any("the 80 % band is too narrow for 80.0 %" in sentence for sentence in sentences)
    assert len(sentences) == len(records["overconfident"].verdicts)
    assert not [sentence for sentence in sentences if "{" in sentence or "nan" in sentence]


def test_estimates_are_plain_means_of_the_scores():
    entries = simulate("calibrated", 130, seed=4)
    record = record_of(entries)
    scores = [entry for entry in entries if entry.kind == "score"]
    unit = 0.005 * np.sqrt(np.arange(1, H + 1))
    own, other = (np.array([entry.scores[name]["crps"] for entry in scores]) / unit for name in ("raw", BASELINE))
    for row in record.skill:
        columns = slice(None) if row.step is None else slice(row.step - 1, row.step)
        assert row.crps == pytest.approx(own[:, columns].mean())
        assert row.estimate == pytest.approx(1 - own[:, columns].sum() / other[:, columns].sum())
        assert row.n == 130
        assert row.blocks == 5
    inside = np.array([[flag == "1" for flag in entry.scores["raw"]["inside"]["80"]] for entry in scores])
    for row in record.coverage:
        if row.level == 80:
            assert row.estimate == pytest.approx(inside.mean() if row.step is None else inside[:, row.step - 1].mean())
            assert row.lower <= row.target <= row.upper
    for k in (1, 3, 6, 24):
        mean = np.mean([entry.scores["raw"]["increments"][str(k)] for entry in scores])
        assert record.increments[str(k)]["raw"] == pytest.approx(mean)
    happened = np.array([entry.outcome["upside"] for entry in scores])
    [upside] = [row for row in record.brier if (row.event, row.reference) == ("upside", "base_rate")]
    assert upside.score == pytest.approx(brier(0.5, happened).mean())
    known = [happened[: max(0, i - H + 1)] for i in range(len(happened))]  # H origins later the outcome is known
    rates = np.array([(flags.sum() + 1) / (len(flags) + 2) for flags in known])
    assert upside.reference_score == pytest.approx(((rates - happened) ** 2).mean())


def test_origins_are_counted_in_plain_sight():
    fates = {3: "missed", 4: "missed", 30: "late", 50: "unresolved", 51: "unresolved"}
    entries = simulate("calibrated", 100, fates=fates)
    revision = RevisionEntry("s", entries[0].origin, "t", "simulated", "t", [1.0], [2.0])
    record = record_of([*entries[:-10], revision])
    counts = record.counts
    assert (counts.forecasts, counts.late, counts.missed) == (97, 1, 2)
    assert (counts.scored, counts.unresolved, counts.pending, counts.revisions) == (85, 2, 10, 1)
    assert counts.timely == pytest.approx(0.97)
    assert counts.first < counts.last
    assert record.skill[0].n == 85
    assert record.simulated


def test_a_block_counts_once_all_of_its_origins_are_settled():
    fates = dict.fromkeys(range(24, 48), "missed") | {60: "unresolved", 70: "late"}
    entries = simulate("calibrated", 120, fates=fates)
    origins = [entry.origin for entry in entries if entry.kind in ("forecast", "late", "missed")]
    position = next(i for i, entry in enumerate(entries) if entry.kind == "score" and entry.origin == origins[71])
    before, after = record_of(entries[:position]), record_of(entries[: position + 1])
    assert before.skill[0].blocks == 1  # the second block has no forecast and is left out
    assert after.skill[0].blocks == 2
    assert after.curves[0].origins == (origins[23], origins[47], origins[71])
    assert after.curves[0].lower[0] == after.curves[0].lower[1]


@pytest.mark.parametrize("parts", [2, 7, 60])
def test_a_restart_changes_nothing(parts):
    entries = simulate("overconfident", 200, seed=3, fates={5: "missed", 77: "late", 90: "unresolved"})
    assert record_of(entries, parts).to_dict() == record_of(entries).to_dict()


def test_json_has_no_nan():
    entries = simulate("clairvoyant", 60)
    for size in (0, 1, 30, len(entries)):
        document = record_of(entries[:size]).to_dict()
        assert json.loads(json.dumps(document, allow_nan=False)) == document
    empty = TrackRecordData(PROTOCOL).summarize()
    assert all(verdict.tone == "early" for verdict in empty.verdicts)
    assert (len(empty.verdicts), empty.counts.forecasts) == (6, 0)
    assert empty.to_dict()["counts"]["timely"] is None


def test_a_forecast_without_a_contender_is_not_compared():
    entries = simulate("calibrated", 60)
    score = next(i for i, entry in enumerate(entries) if entry.kind == "score")
    entries[score] = type(entries[score])(**{**vars(entries[score]), "scores": {"raw": entries[score].scores["raw"]}})
    record = record_of(entries)
    assert record.skill[0].n == 59
    assert next(row for row in record.coverage if row.step == 1).n == 60


def test_an_outcome_needs_a_forecast():
    score = simulate("calibrated", 3)[-1]
    with pytest.raises(ValueError, match="has no forecast"):
        record_of([score])


def test_gains():
    gains = block_gains(np.array([1.0, 0.0, 3.0, np.nan, 0.9, 0.0]), np.array([1.0, 2.0, 1.0, 2.0, 1.1, 0.0]))
    assert gains == pytest.approx([0, 0.25, -0.25, math.nan, 0.1, 0], nan_ok=True)
    assert gain_to_skill(gains[4:5]) == pytest.approx(1 - 0.9 / 1.1)


def test_bounds_average_both_streams():
    values = np.array([0.1, -0.1, np.nan, -0.2, 0.2])
    path = average_bounds(values, -0.25, 0.25)
    assert path.estimate == pytest.approx([0.1, 0.0, 0.0, -0.025, 0.0])
    assert path.blocks == 4
    assert average_bounds(np.full(3, np.nan), -1, 1).last.blocks == 0
    long = average_bounds(np.tile([0.2, 0.0], 2000), -0.25, 0.25)
    assert (long.last.lower, long.last.upper) == pytest.approx((0.1, 0.1), abs=0.01)


def equal_forecasters(rng, blocks, horizon=6, paths=9):
    """CRPS by block of two forecasters of the same distribution, and the share of closes in the 80 % band.

    Prices are a random walk of changing volatility, so that outcomes overlap; both are right about it, and wrong about
    the mean by an error of their own that lasts a block.
    """
    origins = blocks * horizon
    sigma = np.exp(np.cumsum(rng.normal(0, 0.1, origins + horizon)) / 2)
    steps = rng.normal(0, sigma)
    windows = np.lib.stride_tricks.sliding_window_view
    scales = windows(sigma, horizon)[:origins]
    returns = windows(steps, horizon)[:origins].cumsum(axis=1)
    right = rng.normal(0, scales[None], (paths, origins, horizon)).cumsum(axis=2)
    errors = rng.normal(0, 1.0, (2, blocks)).repeat(horizon, axis=1) * scales[:, 0]
    sums = []
    for error in errors:
        samples = right + error[None, :, None]
        scaled = crps(samples, returns) / scales[:, :1]
        sums.append(scaled.reshape(blocks, -1).sum(axis=1))
    inside = (right.min(axis=0) <= returns) & (returns <= right.max(axis=0))
    return sums[0], sums[1], inside.reshape(blocks, -1).mean(axis=1)


@pytest.mark.slow
def test_false_alarms_stay_below_their_level_under_hourly_looking():
    rng, count = np.random.default_rng(0), 400  # an interval for one look alarms in 42 % of them
    skill = coverage = 0
    for _ in range(count):
        own, other, shares = equal_forecasters(rng, blocks=60)
        path = average_bounds(block_gains(own, other), -0.25, 0.25)
        skill += bool(((path.lower > 0) | (path.upper < 0)).any())  # between two blocks nothing changes
        test = coverage_test(shares, 0.8)
        coverage += test.too_narrow or test.too_wide
    limit = binom.ppf(0.999, count, ALPHA)
    assert skill <= limit
    assert coverage <= limit


def test_figures_are_final_after_the_announced_number_of_scores():
    entries = simulate("overconfident", 200)
    limited = TrackRecordData({**PROTOCOL, "stop_after": 60})
    limited.extend(entries)
    record, endless = limited.summarize(), record_of(entries)
    assert (record.final, endless.final) == (True, False)
    assert record.counts.scored == 200
    first = [entry for entry in entries if entry.kind != "score"]
    scores = [entry for entry in entries if entry.kind == "score"][:60]
    early = TrackRecordData(PROTOCOL)
    early.extend([*first, *scores])
    assert record.skill[0].estimate == early.summarize().skill[0].estimate != endless.skill[0].estimate


def test_a_baseline_that_fails_at_first_is_compared_later():
    entries = simulate("calibrated", 100)
    without = [
        replace(entry, paths={"raw": entry.paths["raw"]}) if entry.kind == "forecast" and number == 0 else entry
        for number, entry in enumerate(entries)
    ]
    assert [figure.baseline for figure in record_of(without).skill] == [
        figure.baseline for figure in record_of(entries).skill
    ]

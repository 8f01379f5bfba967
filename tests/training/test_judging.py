"""A run's comparison: with what it started from, kept, and made again where it cannot be read."""

import json

import pytest

from kronos.training.comparison_run import ComparisonSettings, compare_stage
from kronos.training.plan import make_plan
from kronos.training.runner import RunOptions, run
from training.recipes import small

TINY = ComparisonSettings(origins=4, paths=2, windows=4, baselines=("last-value",))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("WORLD_SIZE", "RANK", "KRONOS_OUTPUT_DIR"):
        monkeypatch.delenv(name, raising=False)


def judged(config, **options):
    plan = make_plan(config)
    return compare_stage(plan, plan.stages[-1], settings=TINY, **options)


def test_a_comparison_is_made_once_kept_and_made_again_where_it_is_damaged(tmp_path):
    config = small(tmp_path, stages=["model"])
    run([make_plan(config)], RunOptions(compare=False))
    assert judged(config, wanted=False).comparison is None
    first = judged(config)
    assert first.reason is None
    assert {one.name for one in first.comparison.measures} == {"nll", "crps"}
    assert judged(config, wanted=False).comparison == first.comparison
    path = config.folder / "comparison.json"
    for text in ("{}", "torn"):
        path.write_text(text)
        assert judged(config).comparison.measures == first.comparison.measures
        assert json.loads(path.read_text())["verdict"] == first.comparison.verdict


def test_a_start_that_names_no_tokenizer_has_that_of_the_configuration(tmp_path):
    small(tmp_path)
    record = tmp_path / "start" / "model" / "kronos.json"
    told = json.loads(record.read_text())
    (tmp_path / "start" / "tokenizer").rename(tmp_path / "coder")
    record.write_text(json.dumps({name: value for name, value in told.items() if name != "tokenizer"}))
    start = {"model": str(tmp_path / "start" / "model"), "tokenizer": str(tmp_path / "coder")}
    config = small(tmp_path, stages=["model"], start=start)
    run([make_plan(config)], RunOptions(compare=False))
    found = judged(config)
    assert found.reason is None
    assert "nll" in {one.name for one in found.comparison.measures}

"""Plans: what would be done, and everything that is wrong with it before the first step."""

import shutil

import pytest

from kronos.errors import ParameterError
from kronos.training.plan import make_plan
from training.recipes import MODEL, TOKENIZER, small, write_candles, write_checkpoint


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("WORLD_SIZE", "RANK", "KRONOS_OUTPUT_DIR"):
        monkeypatch.delenv(name, raising=False)


def problems(config, **options):
    return make_plan(config, **options).problems


def test_a_plan_tells_what_would_be_done(tmp_path):
    config = small(tmp_path, training={"batch_size": 4, "epochs": 3, "validation_batches": 2, "device": "cpu"})
    plan = make_plan(config)
    assert plan.problems == ()
    assert [one.stage for one in plan.stages] == ["tokenizer", "model"]
    assert set(plan.windows) == {"train", "val", "test"}
    assert plan.windows["train"] > plan.windows["val"] > 0
    model = plan.stages[1]
    assert model.steps_per_epoch == plan.windows["train"] // 4
    assert model.steps == 3 * model.steps_per_epoch
    assert model.parameters == model.trained > 0
    assert plan.tokenizer == str(config.folder / "tokenizer")
    assert (plan.context, plan.normalisation) == (64, "spread")
    assert plan.disk > sum(one.parameters for one in plan.stages) * 4 * 6
    assert not config.folder.exists()
    plan.check()
    document = plan.to_dict()
    assert document["stages"][0]["settings"]["epochs"] == 3
    assert document["windows"]["test_available"] == plan.windows["test"]


def test_what_a_model_is_trained_with(tmp_path):
    assert make_plan(small(tmp_path, stages=["model"])).tokenizer == str((tmp_path / "start" / "tokenizer").resolve())
    with_names = small(tmp_path, stages=["model"], start="kronos-nano")
    assert make_plan(with_names).tokenizer == "kronos-tokenizer-nano"
    scratch = small(
        tmp_path, stages=["model"], start={"tokenizer": str(tmp_path / "start")}, architecture={"model": MODEL}
    )
    assert problems(scratch) == ()
    assert make_plan(scratch).stages[0].start is None
    nothing = small(tmp_path, stages=["model"], start=None, architecture={"model": MODEL})
    assert "which tokenizer" in problems(nothing)[0]
    late = problems(small(tmp_path), stages=["model"])
    assert len(late) == 1
    assert "needs its tokenizer" in late[0]


def test_lora_trains_a_few_numbers(tmp_path):
    plan = make_plan(small(tmp_path, stages=["model"], lora={"rank": 2}))
    assert plan.stages[0].trained < plan.stages[0].parameters


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": "nowhere.csv"}, "nowhere.csv"),
        ({"start": "no-such-model"}, "No checkpoint is called 'no-such-model'"),
        ({"windows": {"lookback": 60, "predict": 10}}, "longer than the context of 64"),
        ({"windows": {"lookback": 40, "predict": 20}, "context": 50}, "longer than the context of 50"),
        ({"windows": {"lookback": 16, "predict": 4, "normalisation": "steps"}}, "knows candles as spread"),
        ({"split": {"file": "nowhere.csv"}}, "nowhere.csv"),
    ],
)
def test_what_is_wrong_is_told_before_the_first_step(tmp_path, changes, words):
    plan = make_plan(small(tmp_path, **changes))
    assert any(words in problem for problem in plan.problems), plan.problems
    with pytest.raises(ParameterError, match=r"^Small: "):
        plan.check()


def test_parts_without_samples(tmp_path):
    config = small(tmp_path)
    write_candles(tmp_path / "walk_1h.csv", rows=30)
    found = problems(config)
    assert found
    assert any("validation" in one or "test" in one for one in found)


def test_everything_that_is_wrong_is_told_at_once(tmp_path):
    config = small(tmp_path, data="nowhere.csv", start="no-such-model", windows={"lookback": 600, "predict": 4})
    plan = make_plan(config)
    assert len(plan.problems) >= 3
    with pytest.raises(ParameterError, match=r"more with --dry-run\)\.$"):
        plan.check()


def test_a_tokenizer_of_other_bits(tmp_path):
    other = small(
        tmp_path,
        start={"tokenizer": str(tmp_path / "start")},
        architecture={"model": MODEL | {"s1_bits": 5}},
        stages=["model"],
    )
    assert any("8 bits" in one or "4 + 4" in one for one in problems(other))
    both = small(tmp_path, start=None, architecture={"model": MODEL, "tokenizer": TOKENIZER | {"s2_bits": 3}})
    assert any("4 + 3" in one for one in problems(both))


def test_batches_that_do_not_divide(tmp_path, monkeypatch):
    config = small(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert any("3 processes" in one and "multiple of 3" in one for one in problems(config))


def test_a_folder_that_another_training_has(tmp_path):
    config = small(tmp_path)
    config.folder.mkdir(parents=True)
    assert problems(config) == ()
    config.save(config.folder / "config.yaml")
    assert problems(config) == ()
    assert problems(small(tmp_path, stages=["model"], description="others are told")) == (
        problems(small(tmp_path, stages=["model"]))
    )
    other = small(tmp_path, windows={"lookback": 17, "predict": 4})
    assert any("other windows" in one and "--restart" in one for one in problems(other))
    assert problems(other, restart=True) == ()
    (config.folder / "config.yaml").unlink()
    (config.folder / "thesis.docx").touch()
    assert any("no training's" in one for one in problems(config))
    shutil.rmtree(config.folder)
    config.folder.touch()
    assert any("is a file" in one for one in problems(config))


def test_a_process_that_is_late_does_not_stumble_over_what_the_first_has_begun(tmp_path, monkeypatch):
    config = small(tmp_path)
    config.folder.mkdir(parents=True)
    (config.folder / ".config.yaml.half").touch()  # of the first process, which is writing its first file
    assert any("no training's" in one for one in problems(config))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert problems(config) == ()


def test_a_disk_that_is_full(tmp_path, monkeypatch):
    config = small(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**6))
    assert any("1 MB free" in one for one in problems(config))


def test_weights_that_another_run_will_have_made_are_waited_for(tmp_path):
    first = small(tmp_path, model_name="First")
    second = small(
        tmp_path,
        model_name="Second",
        start={"model": str(tmp_path / "start" / "model"), "tokenizer": str(first.folder / "tokenizer")},
        stages=["model"],
    )
    assert any("no folder" in one for one in problems(second))
    plan = make_plan(second, made=[first.folder / "tokenizer"])
    assert plan.needs == (first.folder / "tokenizer",)
    assert plan.problems == ()


def test_a_checkpoint_without_a_record_counts_as_published(tmp_path):
    bare = write_checkpoint(tmp_path / "bare")
    (bare / "model" / "kronos.json").unlink()
    plan = make_plan(small(tmp_path, start=str(bare)))
    assert plan.context == 512


def test_to_forget_a_training_removes_nothing_that_is_none(tmp_path):
    config = small(tmp_path)
    (config.folder / "training").mkdir(parents=True)
    (config.folder / "training" / "thesis.docx").touch()
    assert any("no training's" in one for one in problems(config, restart=True))
    shutil.rmtree(config.folder)
    config.folder.touch()
    assert any("is a file" in one for one in problems(config, restart=True))


def test_what_starts_from_a_model_that_is_yet_to_be_trained_is_not_passed_over(tmp_path):
    first = small(tmp_path, model_name="First")
    made = [first.folder / stage for stage in ("tokenizer", "model")]
    second = small(tmp_path, model_name="Second", start=str(first.folder), stages=["model"])
    found = problems(second, made=made)
    assert any("first/model is yet to be trained" in one for one in found), found

"""Plans of trainings, and the problems they find before the first step."""

import shutil

import pytest

from kronos.errors import ParameterError
from kronos.training.plan import make_plan
from training.recipes import MODEL, TOKENIZER, small, write_candles, write_checkpoint

pytestmark = pytest.mark.usefixtures("clean_folder")


def problems(config, **options):
    return make_plan(config, **options).problems


def test_plan_describes_stages_windows_and_disk(tmp_path):
    config = small(tmp_path, training={"batch_size": 4, "epochs": 3, "validation_batches": 2, "device": "cpu"})
    plan = make_plan(config)
    assert plan.problems == ()
    assert [stage.stage for stage in plan.stages] == ["tokenizer", "model"]
    assert set(plan.windows) == {"train", "val", "test"}
    assert plan.windows["train"] > plan.windows["val"] > 0
    model = plan.stages[1]
    assert model.steps_per_epoch == plan.windows["train"] // 4
    assert model.steps == 3 * model.steps_per_epoch
    assert model.parameters == model.trained > 0
    assert plan.tokenizer == str(config.folder / "tokenizer")
    assert (plan.context, plan.normalisation) == (64, "spread")
    assert plan.disk > sum(stage.parameters for stage in plan.stages) * 4 * 6
    assert not config.folder.exists()
    plan.check()
    document = plan.to_dict()
    assert document["stages"][0]["settings"]["epochs"] == 3
    assert document["windows"]["test_available"] == plan.windows["test"]


def test_tokenizer_of_the_model(tmp_path):
    assert make_plan(small(tmp_path, stages=["model"])).tokenizer == str((tmp_path / "start" / "tokenizer").resolve())
    with_names = small(tmp_path, stages=["model"], start="kronos-nano")
    assert make_plan(with_names).tokenizer == "kronos-tokenizer-nano"
    scratch = small(
        tmp_path, stages=["model"], start={"tokenizer": str(tmp_path / "start")}, architecture={"model": MODEL}
    )
    assert problems(scratch) == ()
    assert make_plan(scratch).stages[0].start is None
    nothing = small(tmp_path, stages=["model"], start=None, architecture={"model": MODEL})
    assert "start.tokenizer" in problems(nothing)[0]
    actual = problems(small(tmp_path), stages=["model"])
    assert len(actual) == 1
    assert "needs its tokenizer" in actual[0]


def test_lora_trains_few_parameters(tmp_path):
    plan = make_plan(small(tmp_path, stages=["model"], lora={"rank": 2}))
    assert plan.stages[0].trained < plan.stages[0].parameters


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": "nowhere.csv"}, "nowhere.csv"),
        ({"start": "no-such-model"}, "No checkpoint is called 'no-such-model'"),
        ({"windows": {"lookback": 60, "predict": 10}}, "longer than the context of 64"),
        ({"windows": {"lookback": 40, "predict": 20}, "context": 50}, "longer than the context of 50"),
        ({"windows": {"lookback": 16, "predict": 4, "normalisation": "steps"}}, "the tokenizer expects spread"),
        ({"split": {"file": "nowhere.csv"}}, "nowhere.csv"),
    ],
)
def test_problems_are_found_before_the_first_step(tmp_path, changes, words):
    plan = make_plan(small(tmp_path, **changes))
    assert any(words in problem for problem in plan.problems), plan.problems
    with pytest.raises(ParameterError, match=r"^Small: "):
        plan.check()


def test_part_without_samples_is_a_problem(tmp_path):
    config = small(tmp_path)
    write_candles(tmp_path / "walk_1h.csv", rows=30)
    actual = problems(config)
    assert actual
    assert any("validation" in stage or "test" in stage for stage in actual)


def test_all_problems_are_collected(tmp_path):
    config = small(tmp_path, data="nowhere.csv", start="no-such-model", windows={"lookback": 600, "predict": 4})
    plan = make_plan(config)
    assert len(plan.problems) >= 3
    with pytest.raises(ParameterError, match=r"more with --dry-run\)\.$"):
        plan.check()


def test_token_sizes_must_match(tmp_path):
    other = small(
        tmp_path,
        start={"tokenizer": str(tmp_path / "start")},
        architecture={"model": MODEL | {"s1_bits": 5}},
        stages=["model"],
    )
    assert any("8 bits" in stage or "4 + 4" in stage for stage in problems(other))
    from_scratch = small(tmp_path, start=None, architecture={"model": MODEL, "tokenizer": TOKENIZER | {"s2_bits": 3}})
    assert any("4 + 3" in stage for stage in problems(from_scratch))


def test_batch_size_must_divide_among_processes(tmp_path, monkeypatch):
    config = small(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert any("3 processes" in stage and "multiple of 3" in stage for stage in problems(config))


def test_folder_of_another_training_is_a_problem(tmp_path):
    config = small(tmp_path)
    config.folder.mkdir(parents=True)
    assert problems(config) == ()
    config.save(config.folder / "config.yaml")
    assert problems(config) == ()
    assert problems(small(tmp_path, stages=["model"], description="other description")) == (
        problems(small(tmp_path, stages=["model"]))
    )
    other = small(tmp_path, windows={"lookback": 17, "predict": 4})
    assert any("different windows" in stage and "--restart" in stage for stage in problems(other))
    assert problems(other, restart=True) == ()
    (config.folder / "config.yaml").unlink()
    (config.folder / "thesis.docx").touch()
    assert any("not a training's" in stage for stage in problems(config))
    shutil.rmtree(config.folder)
    config.folder.touch()
    assert any("is a file" in stage for stage in problems(config))


def test_only_the_first_process_checks_the_folder(tmp_path, monkeypatch):
    config = small(tmp_path)
    config.folder.mkdir(parents=True)
    (config.folder / ".config.yaml.half").touch()  # the first process is writing its first file
    assert any("not a training's" in stage for stage in problems(config))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert problems(config) == ()


def test_too_little_disk_space_is_a_problem(tmp_path, monkeypatch):
    config = small(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**6))
    assert any("1.0 MB of free" in stage for stage in problems(config))


def test_expected_weights_of_another_run_are_a_dependency(tmp_path):
    first = small(tmp_path, model_name="First")
    second = small(
        tmp_path,
        model_name="Second",
        start={"model": str(tmp_path / "start" / "model"), "tokenizer": str(first.folder / "tokenizer")},
        stages=["model"],
    )
    assert any("no folder" in stage for stage in problems(second))
    plan = make_plan(second, expected=[first.folder / "tokenizer"])
    assert plan.needs == (first.folder / "tokenizer",)
    assert plan.problems == ()


def test_checkpoint_without_a_record_counts_as_published(tmp_path):
    bare = write_checkpoint(tmp_path / "bare")
    (bare / "model" / "kronos.json").unlink()
    plan = make_plan(small(tmp_path, start=str(bare)))
    assert plan.context == 512


def test_restart_requires_a_training_in_the_folder(tmp_path):
    config = small(tmp_path)
    (config.folder / "training").mkdir(parents=True)
    (config.folder / "training" / "thesis.docx").touch()
    assert any("not a training's" in stage for stage in problems(config, restart=True))
    shutil.rmtree(config.folder)
    config.folder.touch()
    assert any("is a file" in stage for stage in problems(config, restart=True))


def test_start_from_a_model_that_is_not_trained_yet_is_a_problem(tmp_path):
    first = small(tmp_path, model_name="First")
    expected = [first.folder / stage for stage in ("tokenizer", "model")]
    second = small(tmp_path, model_name="Second", start=str(first.folder), stages=["model"])
    actual = problems(second, expected=expected)
    assert any("first/model is not trained yet" in stage for stage in actual), actual

"""Training configurations: names and paths, validation, overrides, saving and loading."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.datasets import list_configs
from kronos.datasets.config import StageTraining
from kronos.datasets.config_loading import read_yaml
from kronos.errors import ParameterError
from kronos.training.config import TrainConfig, TrainingArguments, load_config, load_config_with_dataset
from kronos.zoo import DEFAULT_MODEL, find_entry

MINIMAL = {"model_name": "Mine", "data": "candles.csv"}
TINY = {
    **{"s1_bits": 4, "s2_bits": 4, "n_layers": 1, "d_model": 16, "n_heads": 2, "ff_dim": 32, "learn_te": True},
    **{"ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0, "token_dropout_p": 0.0},
}


def config(**changes):
    return TrainConfig.check(MINIMAL | changes, "mine.yaml")


def test_defaults_are_the_published_settings():
    loaded = config()
    tokenizer, model = loaded.settings("tokenizer"), loaded.settings("model")
    assert (tokenizer.learning_rate, tokenizer.gradient_clip, tokenizer.betas) == (2e-4, 2.0, (0.9, 0.999))
    assert (model.learning_rate, model.gradient_clip, model.betas) == (4e-5, 3.0, (0.9, 0.95))
    assert (model.batch_size, model.epochs, model.validation_batches, model.schedule) == (50, 30, 400, "onecycle")
    assert (model.weight_decay, model.seed) == (0.1, 100)
    windows = loaded.windows
    assert (windows.lookback, windows.predict, windows.clip, windows.without_volume) == (90, 10, 5.0, 0.05)
    assert loaded.folder == Path("outputs/models/mine")
    assert (loaded.starts.model, loaded.starts.tokenizer, loaded.from_scratch("model")) == ("kronos-nano", None, False)


def test_bundled_configurations_load():
    shipped = {entry.name for entry in list_configs(training=True) if entry.shipped}
    trainings = {"finetune_csv", "finetune_qlib_csi300", "pretrain_mini", "pretrain_nano", "continue_nano"}
    assert shipped >= trainings | {"model_a_4h", "model_b_1d"}
    assert not trainings & {entry.name for entry in list_configs()}
    csv, qlib, mini = (load_config(name) for name in ("finetune_csv", "Finetune_Qlib_CSI300", "pretrain_mini"))
    assert (csv.stages, csv.starts.model) == (("model",), "kronos-nano")
    assert (qlib.stages, qlib.settings("model").steps_per_epoch) == (("tokenizer", "model"), 2000)
    assert qlib.objective_options() == {"loss_on": "window"}
    assert (mini.from_scratch("tokenizer"), mini.from_scratch("model"), mini.architecture_of("model")["n_layers"]) == (
        True,
        True,
        4,
    )
    assert mini.architecture_of("tokenizer")["n_enc_layers"] == 4


def test_pretrain_nano_matches_the_bundled_weights():
    recipe, bundled = load_config("pretrain_nano"), find_entry(DEFAULT_MODEL)
    assert recipe.architecture_of("model") == dict(bundled.config)
    assert recipe.context == bundled.context
    assert recipe.starts.tokenizer == DEFAULT_MODEL
    assert (recipe.stages, recipe.from_scratch("model")) == (("model",), True)
    more = load_config("continue_nano")
    assert more.starts.model == f"{recipe.folder}/model"
    assert (more.starts.tokenizer, more.context) == (recipe.starts.tokenizer, recipe.context)


def test_dataset_configuration_trains_on_its_prepared_dataset(monkeypatch):
    monkeypatch.delenv("KRONOS_OUTPUT_DIR", raising=False)
    loaded, dataset = load_config_with_dataset("model_a_4h")
    assert dataset is not None
    assert loaded.data == "data/kronos_datasets/model_a_4h"
    tokenizer, model = loaded.settings("tokenizer"), loaded.settings("model")
    assert (tokenizer.learning_rate, model.learning_rate, model.batch_size) == (1.5e-4, 3e-5, 32)
    assert model.accumulation_steps == 2
    monkeypatch.setenv("KRONOS_OUTPUT_DIR", "/somewhere")
    assert load_config("model_b_1d").data == "/somewhere/model_b_1d"


def test_one_file_configures_dataset_and_training(tmp_path):
    path = tmp_path / "whole.yaml"
    path.write_text(
        "model_name: Whole\ntarget_symbols: [000001_1D]\nstart: kronos-small\nstages: [model]\n"
        "lora: {rank: 4}\ntraining:\n  epochs: 3\n  patience: null\n  model: {learning_rate: 1e-3, ema: 0.99}\n"
        "  betas: [0.8, 0.9]\n  compile: true\n"
    )
    loaded, dataset = load_config_with_dataset(path)
    assert dataset is not None
    assert [symbol for symbol, _ in dataset.series] == ["000001"]
    assert (loaded.starts.model, loaded.stages, loaded.lora.rank) == ("kronos-small", ("model",), 4)
    model = loaded.settings("model")
    assert (model.epochs, model.learning_rate, model.ema, model.betas, model.compile) == (
        3,
        1e-3,
        0.99,
        (0.8, 0.9),
        True,
    )
    assert loaded.settings("tokenizer").learning_rate == 2e-4


def test_stage_settings_override_shared_ones():
    loaded = config(
        training={"epochs": 7, "model_learning_rate": 1e-4, "model": {"epochs": 9, "learning_rate": 1e-5}, "seed": 3}
    )
    assert (loaded.settings("tokenizer").epochs, loaded.settings("model").epochs) == (7, 9)
    assert (loaded.settings("model").learning_rate, loaded.settings("tokenizer").learning_rate) == (1e-5, 2e-4)
    assert {loaded.settings(stage).seed for stage in ("tokenizer", "model")} == {3}


def test_all_training_arguments_are_configurable():
    own = set(StageTraining.model_fields) - {"teacher_forcing", "loss_on"}
    assert own == set(TrainingArguments.model_fields)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dta": "x"}, "unknown key 'dta'; did you mean 'data'?"),
        ({"training": {"epoch": 3}}, "unknown key 'training.epoch'; did you mean 'epochs'?"),
        ({"training": {"model": {"patiense": 3}}}, "'training.model.patiense'; did you mean 'patience'?"),
        ({"windows": {"lookbak": 3}}, "did you mean 'lookback'?"),
        ({"start": {"modl": "x"}}, "unknown key 'start.modl'; did you mean 'model'?"),
        ({"lora": {"rnk": 3}}, "did you mean 'rank'?"),
        ({"data": " "}, "'data' in mine.yaml cannot be"),
        ({"stages": []}, "'stages' in mine.yaml"),
        ({"stages": ["model", "model"]}, "duplicate"),
        ({"windows": {"lookback": 10, "shortest": 20}}, "shortest is longer"),
        ({"architecture": "kronos-mini", "lora": {}}, "lora needs initial weights"),
        ({"architecture": {"model": "kronos-mini"}}, "the tokenizer has neither initial weights nor an architecture"),
        ({"architecture": "kronos-mnii"}, "did you mean kronos-mini?"),
        ({"architecture": {"tokenizer": "kronos-mini", "model": TINY | {"d_model": 18}}}, "d_model 18"),
        ({"training": {"batch_size": 0}}, "'training.batch_size' in mine.yaml cannot be '0'"),
        ({"training": {"batch_size": 10, "accumulation_steps": 3}}, "not a multiple of accumulation_steps 3"),
        ({"split": {"train": 0.5}}, "add up to 1"),
    ],
)
def test_invalid_configuration_raises_one_sentence(changes, message):
    with pytest.raises(ParameterError) as raised:
        config(**changes)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_unknown_configuration_name_raises():
    with pytest.raises(ParameterError, match="did you mean finetune_csv"):
        load_config("finetune_cvs")


def test_networks_without_initial_weights_are_trained_from_scratch():
    loaded = config(architecture={"tokenizer": "kronos-tokenizer-base", "model": TINY})
    assert loaded.from_scratch("tokenizer")
    assert loaded.from_scratch("model")
    assert loaded.architecture_of("model")["d_model"] == 16
    tokenizer_only = config(
        start={"tokenizer": "kronos-tokenizer-nano"}, architecture={"model": TINY}, stages=["model"]
    )
    assert (tokenizer_only.from_scratch("tokenizer"), tokenizer_only.from_scratch("model")) == (False, True)
    two_stages = config(start="kronos-small")
    assert (two_stages.starts.tokenizer, two_stages.starts.model) == (None, "kronos-small")


def test_changed_replaces_values_and_none_removes_them():
    loaded = config(architecture="kronos-mini", training={"epochs": 3, "model": {"seed": 5}})
    changed = loaded.changed(
        {"architecture": None, "start": {"model": "kronos-small"}, "training": {"model": {"epochs": 2}}}
    )
    assert (changed.architecture, changed.starts.model) == (None, "kronos-small")
    assert (changed.settings("model").epochs, changed.settings("model").seed) == (2, 5)
    assert changed.settings("tokenizer").epochs == 3
    with pytest.raises(ParameterError, match="the options given"):
        loaded.changed({"windows": {"lookback": 0}})


@given(
    epochs=st.integers(1, 10**6),
    rate=st.floats(1e-9, 0.999),
    ema=st.none() | st.floats(0.001, 0.999),
    name=st.from_regex(r"[A-Za-z_][\w.+-]{0,20}", fullmatch=True),
    data=st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=20),
    lora=st.none() | st.integers(1, 64),
)
def test_saved_configuration_loads_unchanged(tmp_path_factory, epochs, rate, ema, name, data, lora):
    loaded = TrainConfig.check(
        {
            "model_name": name,
            "data": data,
            "training": {"epochs": epochs, "model_learning_rate": rate, "ema": ema},
            "lora": None if lora is None else {"rank": lora},
        },
        "drawn",
    )
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    loaded.save(path)
    assert load_config(path) == loaded
    assert isinstance(read_yaml(path), dict)


def test_published_settings_and_validated_changes():
    assert TrainingArguments.of("tokenizer").betas == (0.9, 0.999)
    assert TrainingArguments.of("model").learning_rate == 4e-5
    assert TrainingArguments.of("model", {"epochs": 3}).epochs == 3
    with pytest.raises(ParameterError, match="did you mean 'learning_rate'"):
        TrainingArguments.of("model", {"learning_rat": 1e-3}, "mine.yaml")
    with pytest.raises(ParameterError, match="epochs"):
        TrainingArguments.of("model", {"epochs": 0})
    with pytest.raises(ParameterError, match="accumulation_steps 3"):
        TrainingArguments.of("model", {"accumulation_steps": 3})
    with pytest.raises(ParameterError, match="stage"):
        TrainingArguments.of("head")  # type: ignore[arg-type]


def test_epoch_is_one_pass_up_to_a_maximum():
    settings = TrainingArguments.of("model")
    assert [settings.steps(n) for n in (10, 50, 149, 10**7)] == [1, 1, 2, 2000]
    assert TrainingArguments.of("model", {"steps_per_epoch": 7}).samples(10) == 350


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({}, ("model",)),
        ({"start": "kronos-small"}, ("model",)),
        ({"start": {"tokenizer": "kronos-tokenizer-nano"}, "architecture": {"model": TINY}}, ("model",)),
        ({"architecture": "kronos-mini"}, ("tokenizer", "model")),
        ({"start": "kronos-small", "stages": ["tokenizer", "model"]}, ("tokenizer", "model")),
    ],
)
def test_tokenizers_with_weights_are_left_alone_unless_named(changes, stages, tmp_path):
    values = {"model_name": "Mine", "data": "mine.csv"} | changes
    found = TrainConfig.check(values, "mine.yaml")
    assert found.stages == stages
    found.save(tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml") == found


@pytest.mark.parametrize("name", [entry.name for entry in list_configs(training=True) if entry.shipped])
def test_shipped_configurations_do_not_train_a_constructed_tokenizer(name):
    found = load_config(name)
    starts = found.starts
    constructed = "kronos-nano" in str(starts.tokenizer or starts.model)
    assert not (constructed and "tokenizer" in found.stages)

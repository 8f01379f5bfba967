"""Configurations of trainings: by name or path, checked to the key, overlaid by options, written and read again."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.datasets import configurations
from kronos.datasets.config import StageTraining
from kronos.datasets.config_loading import read_yaml
from kronos.errors import ParameterError
from kronos.training.config import TrainConfig, TrainingArguments, load_both, load_config
from kronos.zoo import DEFAULT_MODEL, find

LEAST = {"model_name": "Mine", "data": "candles.csv"}
TINY = {
    **{"s1_bits": 4, "s2_bits": 4, "n_layers": 1, "d_model": 16, "n_heads": 2, "ff_dim": 32, "learn_te": True},
    **{"ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0, "token_dropout_p": 0.0},
}


def config(**changes):
    return TrainConfig.check(LEAST | changes, "mine.yaml")


def test_what_is_left_out_is_as_published():
    told = config()
    tokenizer, model = told.settings("tokenizer"), told.settings("model")
    assert (tokenizer.learning_rate, tokenizer.gradient_clip, tokenizer.betas) == (2e-4, 2.0, (0.9, 0.999))
    assert (model.learning_rate, model.gradient_clip, model.betas) == (4e-5, 3.0, (0.9, 0.95))
    assert (model.batch_size, model.epochs, model.validation_batches, model.schedule) == (50, 30, 400, "onecycle")
    assert (model.weight_decay, model.seed) == (0.1, 100)
    windows = told.windows
    assert (windows.lookback, windows.predict, windows.clip, windows.without_volume) == (90, 10, 5.0, 0.05)
    assert told.folder == Path("outputs/models/mine")
    assert (told.starts.model, told.starts.tokenizer, told.scratch("model")) == ("kronos-nano", None, False)


def test_recipes_ship_and_are_no_datasets():
    shipped = {one.name for one in configurations(training=True) if one.shipped}
    trainings = {"finetune_csv", "finetune_qlib_csi300", "pretrain_mini", "pretrain_nano"}
    assert shipped >= trainings | {"model_a_4h", "model_b_1d"}
    assert not trainings & {one.name for one in configurations()}
    csv, qlib, mini = (load_config(name) for name in ("finetune_csv", "Finetune_Qlib_CSI300", "pretrain_mini"))
    assert (csv.stages, csv.starts.model) == (("model",), "kronos-nano")
    assert (qlib.stages, qlib.settings("model").steps_per_epoch) == (("tokenizer", "model"), 2000)
    assert qlib.objective() == {"loss_on": "window"}
    assert (mini.scratch("tokenizer"), mini.scratch("model"), mini.shape("model")["n_layers"]) == (True, True, 4)
    assert mini.shape("tokenizer")["n_enc_layers"] == 4


def test_the_recipe_of_the_bundled_model_is_that_of_its_weights():
    recipe, bundled = load_config("pretrain_nano"), find(DEFAULT_MODEL)
    assert recipe.shape("model") == dict(bundled.config)
    assert recipe.context == bundled.context
    assert recipe.starts.tokenizer == DEFAULT_MODEL
    assert (recipe.stages, recipe.scratch("model")) == (("model",), True)


def test_a_datasets_configuration_trains_on_the_dataset_prepared_from_it(monkeypatch):
    monkeypatch.delenv("KRONOS_OUTPUT_DIR", raising=False)
    told, dataset = load_both("model_a_4h")
    assert dataset is not None
    assert told.data == "data/kronos_datasets/model_a_4h"
    tokenizer, model = told.settings("tokenizer"), told.settings("model")
    assert (tokenizer.learning_rate, model.learning_rate, model.batch_size) == (1.5e-4, 3e-5, 32)
    assert model.accumulation_steps == 2
    monkeypatch.setenv("KRONOS_OUTPUT_DIR", "/somewhere")
    assert load_config("model_b_1d").data == "/somewhere/model_b_1d"


def test_one_file_may_say_everything(tmp_path):
    path = tmp_path / "whole.yaml"
    path.write_text(
        "model_name: Whole\ntarget_symbols: [000001_1D]\nstart: kronos-small\nstages: [model]\n"
        "lora: {rank: 4}\ntraining:\n  epochs: 3\n  patience: null\n  model: {learning_rate: 1e-3, ema: 0.99}\n"
        "  betas: [0.8, 0.9]\n  compile: true\n"
    )
    told, dataset = load_both(path)
    assert dataset is not None
    assert [symbol for symbol, _ in dataset.series] == ["000001"]
    assert (told.starts.model, told.stages, told.lora.rank) == ("kronos-small", ("model",), 4)
    model = told.settings("model")
    assert (model.epochs, model.learning_rate, model.ema, model.betas, model.compile) == (
        3,
        1e-3,
        0.99,
        (0.8, 0.9),
        True,
    )
    assert told.settings("tokenizer").learning_rate == 2e-4


def test_a_stages_own_value_wins_over_both():
    told = config(
        training={"epochs": 7, "model_learning_rate": 1e-4, "model": {"epochs": 9, "learning_rate": 1e-5}, "seed": 3}
    )
    assert (told.settings("tokenizer").epochs, told.settings("model").epochs) == (7, 9)
    assert (told.settings("model").learning_rate, told.settings("tokenizer").learning_rate) == (1e-5, 2e-4)
    assert {told.settings(stage).seed for stage in ("tokenizer", "model")} == {3}


def test_every_setting_of_a_stage_can_be_told():
    own = set(StageTraining.model_fields) - {"teacher_forcing", "loss_on"}
    assert own == set(TrainingArguments.model_fields)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dta": "x"}, "unknown key 'dta'; did you mean 'data'?"),
        ({"training": {"epoch": 3}}, "unknown key 'training.epoch'; did you mean 'epochs'?"),
        ({"training": {"model": {"patiense": 3}}}, "'training.model.patiense'; did you mean 'patience'?"),
        ({"windows": {"lookbak": 3}}, "did you mean 'lookback'?"),
        ({"start": {"modl": "x"}}, "unknown key 'start.modl'; did you mean 'model'?"),
        ({"lora": {"rnk": 3}}, "did you mean 'rank'?"),
        ({"data": " "}, "'data' of mine.yaml cannot be"),
        ({"stages": []}, "'stages' of mine.yaml is wrong"),
        ({"stages": ["model", "model"]}, "names one twice"),
        ({"windows": {"lookback": 10, "shortest": 20}}, "shortest is longer"),
        ({"architecture": "kronos-mini", "lora": {}}, "leave one out"),
        ({"architecture": {"model": "kronos-mini"}}, "nothing tells the tokenizer's architecture"),
        ({"architecture": "kronos-mnii"}, "did you mean kronos-mini?"),
        ({"architecture": {"tokenizer": "kronos-mini", "model": TINY | {"d_model": 18}}}, "d_model = 18"),
        ({"training": {"batch_size": 0}}, "'training.batch_size' of mine.yaml cannot be '0'"),
        ({"training": {"batch_size": 10, "accumulation_steps": 3}}, "no multiple of 3"),
        ({"split": {"train": 0.5}}, "add up to 1"),
    ],
)
def test_what_is_wrong_is_one_sentence(changes, words):
    with pytest.raises(ParameterError) as raised:
        config(**changes)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_names_that_are_none():
    with pytest.raises(ParameterError, match="did you mean finetune_csv"):
        load_config("finetune_cvs")


def test_new_networks_start_where_nothing_is_named():
    told = config(architecture={"tokenizer": "kronos-tokenizer-base", "model": TINY})
    assert told.scratch("tokenizer")
    assert told.scratch("model")
    assert told.shape("model")["d_model"] == 16
    half = config(start={"tokenizer": "kronos-tokenizer-nano"}, architecture={"model": TINY}, stages=["model"])
    assert (half.scratch("tokenizer"), half.scratch("model")) == (False, True)
    both = config(start="kronos-small")
    assert (both.starts.tokenizer, both.starts.model) == (None, "kronos-small")


def test_options_replace_what_is_there_and_none_removes_it():
    told = config(architecture="kronos-mini", training={"epochs": 3, "model": {"seed": 5}})
    changed = told.changed(
        {"architecture": None, "start": {"model": "kronos-small"}, "training": {"model": {"epochs": 2}}}
    )
    assert (changed.architecture, changed.starts.model) == (None, "kronos-small")
    assert (changed.settings("model").epochs, changed.settings("model").seed) == (2, 5)
    assert changed.settings("tokenizer").epochs == 3
    with pytest.raises(ParameterError, match="the options given"):
        told.changed({"windows": {"lookback": 0}})


@given(
    epochs=st.integers(1, 10**6),
    rate=st.floats(1e-9, 0.999),
    ema=st.none() | st.floats(0.001, 0.999),
    name=st.from_regex(r"[A-Za-z_][\w.+-]{0,20}", fullmatch=True),
    data=st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=20),
    lora=st.none() | st.integers(1, 64),
)
def test_what_is_written_is_read_again(tmp_path_factory, epochs, rate, ema, name, data, lora):
    told = TrainConfig.check(
        {
            "model_name": name,
            "data": data,
            "training": {"epochs": epochs, "model_learning_rate": rate, "ema": ema},
            "lora": None if lora is None else {"rank": lora},
        },
        "drawn",
    )
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    told.save(path)
    assert load_config(path) == told
    assert isinstance(read_yaml(path), dict)

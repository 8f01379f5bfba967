"""Damaged checkpoints: each gets one sentence, and nothing else is ever raised."""

import json
import pickle
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronos.errors import CheckpointError
from kronos.zoo import check_folder, config_keys, read_config
from kronos.zoo.checkpoint import read_header

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def refusal(folder, kind="model"):
    with pytest.raises(CheckpointError) as caught:
        check_folder(folder, kind)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def edit(folder, **changes):
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def test_golden_checkpoints_are_whole():
    for name in ("tiny", "tiny_fixed_time"):
        for kind in ("model", "tokenizer"):
            config = check_folder(GOLDEN / name / kind, kind)
            assert tuple(config) == config_keys(kind)


def test_keys_of_other_tools_are_dropped(model_folder):
    edit(model_folder, architectures=["Kronos"], _commit_hash="x")
    assert tuple(check_folder(model_folder, "model")) == config_keys("model")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_layers", ...),
        ("n_layers", 0),
        ("n_layers", 2.5),
        ("n_layers", True),
        ("d_model", 10**12),
        ("s1_bits", 64),
        ("n_heads", "4"),
        ("ffn_dropout_p", 1.0),
        ("attn_dropout_p", None),
        ("learn_te", 1),
    ],
)
def test_values_that_cannot_be(model_folder, key, value):
    edit(model_folder, **{key: value})
    assert key in refusal(model_folder)


def test_heads_that_do_not_divide_the_width(model_folder):
    edit(model_folder, n_heads=3)
    assert "n_heads" in refusal(model_folder)
    edit(model_folder, n_heads=1, d_model=12)
    assert "s2 attention" in refusal(model_folder)


def test_not_a_number_is_no_loss_weight(forecasting_folder):
    edit(forecasting_folder / "tokenizer", beta=float("nan"))
    assert "beta" in refusal(forecasting_folder / "tokenizer", "tokenizer")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\ufeff{}", '{"n_layers": 2}', "[" * 100_000])
def test_a_configuration_that_is_none(model_folder, content):
    (model_folder / "config.json").write_text(content, encoding="utf-8")
    assert "config.json" in refusal(model_folder)


def test_the_other_kind(forecasting_folder):
    assert "holds a tokenizer, not a model" in refusal(forecasting_folder / "tokenizer", "model")
    assert "holds a model, not a tokenizer" in refusal(forecasting_folder / "model", "tokenizer")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file(model_folder, name):
    (model_folder / name).unlink()
    assert f"has no {name}" in refusal(model_folder)


def test_pickled_weights_are_refused_by_name(model_folder):
    (model_folder / "model.safetensors").rename(model_folder / "pytorch_model.bin")
    assert "pytorch_model.bin" in refusal(model_folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a safetensors file"),
        (b"short", "not a safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git-lfs pointer"),
        (b"<!DOCTYPE html><html>not found</html>", "not a safetensors file"),
        (pickle.dumps({"a": 1}), "not a safetensors file"),
        (b"PK\x03\x04" + bytes(60), "not a safetensors file"),
        (struct.pack("<Q", 500) + b"{}", "truncated within its header"),
        (struct.pack("<Q", 2) + b"{}tail", "longer than it says"),
        (struct.pack("<Q", 8) + b'{"a": 1}', "header is damaged"),
        (struct.pack("<Q", 8) + b"{nonsens", "header is damaged"),
        (struct.pack("<Q", 2) + b"{}", "no tensor"),
    ],
)
def test_wrong_formats_behind_the_right_name(model_folder, content, said):
    (model_folder / "model.safetensors").write_bytes(content)
    assert said in refusal(model_folder)


def test_weights_of_another_configuration(model_folder):
    edit(model_folder, s1_bits=5)
    assert "do not belong together" in refusal(model_folder)


def test_every_truncation_is_noticed(model_folder):
    path = model_folder / "model.safetensors"
    whole = path.read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    for length in (*range(0, header + 2, 7), header, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refusal(model_folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_headers_never_raise_anything_else(model_folder, data):
    path = model_folder / "model.safetensors"
    whole = path.read_bytes()
    damaged = bytearray(whole[:400])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, 250))] = data.draw(st.integers(0, 255))
    copy = path.with_name("damaged.safetensors")
    copy.write_bytes(bytes(damaged) + whole[400:])
    with suppress(CheckpointError):  # anything else fails the test
        read_header(copy)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(key=st.sampled_from(config_keys("model")), value=json_values)
def test_any_value_is_accepted_or_refused_in_a_sentence(model_folder, key, value):
    good = (model_folder / "config.json").read_text()
    edit(model_folder, **{key: value})
    with suppress(CheckpointError):
        assert isinstance(read_config(model_folder, "model")[key], int | float)
    (model_folder / "config.json").write_text(good)

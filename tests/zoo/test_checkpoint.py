"""Corrupt checkpoints raise a CheckpointError with one sentence, and nothing else."""

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


def error_of(folder, kind="model"):
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


def test_golden_checkpoints_are_complete():
    for name in ("tiny", "tiny_fixed_time"):
        for kind in ("model", "tokenizer"):
            config = check_folder(GOLDEN / name / kind, kind)
            assert tuple(config) == config_keys(kind)


def test_other_keys_are_dropped(model_folder):
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
def test_invalid_values_raise(model_folder, key, value):
    edit(model_folder, **{key: value})
    assert key in error_of(model_folder)


def test_heads_have_to_divide_the_width(model_folder):
    edit(model_folder, n_heads=3)
    assert "n_heads" in error_of(model_folder)
    edit(model_folder, n_heads=1, d_model=12)
    assert "s2 attention" in error_of(model_folder)


def test_loss_weights_have_to_be_finite(forecasting_folder):
    edit(forecasting_folder / "tokenizer", beta=float("nan"))
    assert "beta" in error_of(forecasting_folder / "tokenizer", "tokenizer")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\ufeff{}", '{"n_layers": 2}', "[" * 100_000])
def test_invalid_configurations_raise(model_folder, content):
    (model_folder / "config.json").write_text(content, encoding="utf-8")
    assert "config.json" in error_of(model_folder)


def test_the_other_kind_raises(forecasting_folder):
    assert "holds a tokenizer, not a model" in error_of(forecasting_folder / "tokenizer", "model")
    assert "holds a model, not a tokenizer" in error_of(forecasting_folder / "model", "tokenizer")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_files_raise(model_folder, name):
    (model_folder / name).unlink()
    assert f"has no {name}" in error_of(model_folder)


def test_pickled_weights_raise(model_folder):
    (model_folder / "model.safetensors").rename(model_folder / "pytorch_model.bin")
    assert "pytorch_model.bin" in error_of(model_folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a safetensors file"),
        (b"short", "not a safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git-lfs pointer"),
        (b"<!DOCTYPE html><html>not found</html>", "not a safetensors file"),
        (pickle.dumps({"a": 1}), "not a safetensors file"),
        (b"PK\x03\x04" + bytes(60), "not a safetensors file"),
        (struct.pack("<Q", 500) + b"{}", "truncated in its header"),
        (struct.pack("<Q", 2) + b"{}tail", "has extra bytes"),
        (struct.pack("<Q", 8) + b'{"a": 1}', "header is corrupt"),
        (struct.pack("<Q", 8) + b"{nonsens", "header is corrupt"),
        (struct.pack("<Q", 2) + b"{}", "no tensor"),
    ],
)
def test_other_formats_raise(model_folder, content, words):
    (model_folder / "model.safetensors").write_bytes(content)
    assert words in error_of(model_folder)


def test_weights_of_another_configuration_raise(model_folder):
    edit(model_folder, s1_bits=5)
    assert "do not match" in error_of(model_folder)


def test_all_truncations_raise(model_folder):
    path = model_folder / "model.safetensors"
    complete = path.read_bytes()
    header = 8 + struct.unpack("<Q", complete[:8])[0]
    for length in (*range(0, header + 2, 7), header, len(complete) // 2, len(complete) - 1):
        path.write_bytes(complete[:length])
        error_of(model_folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(data=st.data())
def test_corrupt_headers_raise_checkpoint_errors_only(model_folder, data):
    path = model_folder / "model.safetensors"
    complete = path.read_bytes()
    corrupt = bytearray(complete[:400])
    for _ in range(data.draw(st.integers(1, 4))):
        corrupt[data.draw(st.integers(0, 250))] = data.draw(st.integers(0, 255))
    copy = path.with_name("corrupt.safetensors")
    copy.write_bytes(bytes(corrupt) + complete[400:])
    with suppress(CheckpointError):  # anything else fails the test
        read_header(copy)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(key=st.sampled_from(config_keys("model")), value=json_values)
def test_any_value_is_valid_or_raises(model_folder, key, value):
    good = (model_folder / "config.json").read_text()
    edit(model_folder, **{key: value})
    with suppress(CheckpointError):
        assert isinstance(read_config(model_folder, "model")[key], int | float)
    (model_folder / "config.json").write_text(good)

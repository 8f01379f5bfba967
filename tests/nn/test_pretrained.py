"""Checkpoints: saving, loading, and damaged files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kronos.errors import CheckpointError
from kronos.nn import Kronos, KronosTokenizer
from networks import random_model, random_tokenizer, random_tokens


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_save_and_load(tmp_path: Path, dtype: torch.dtype | None) -> None:
    model, tokenizer = random_model(3, s2_attention="causal").train(), random_tokenizer(3).train()
    model.save_pretrained(tmp_path / "model", context=64, tokenizer="../tokenizer", dtype=dtype)
    tokenizer.save_pretrained(tmp_path / "tokenizer", dtype=dtype)
    loaded = Kronos.from_pretrained(tmp_path), KronosTokenizer.from_pretrained(tmp_path)
    for saved, network in zip((model, tokenizer), loaded, strict=True):
        assert not network.training
        assert network.unchanged
        assert network.config == saved.config
        for name, value in network.state_dict().items():
            expected = saved.state_dict()[name]
            stored = (
                expected
                if dtype is None or name not in dict(saved.named_parameters())
                else expected.to(dtype).to(expected.dtype)
            )
            torch.testing.assert_close(value, stored, rtol=0, atol=0)
    assert loaded[0].s2_attention == "causal"
    assert loaded[0].pairing is not None
    assert loaded[0].pairing.context == 64
    # Saved again elsewhere, it records what it was loaded with, but no absolute path.
    again = loaded[0].save_pretrained(tmp_path / "elsewhere")
    record = json.loads((again / "kronos.json").read_text())
    assert record == {"context": 64, "s2_attention": "causal"}


def test_guessed_pairing_is_not_saved(tmp_path: Path) -> None:
    folder = random_model(3).save_pretrained(tmp_path / "a")
    (folder / "kronos.json").unlink()  # as a published checkpoint comes
    again = Kronos.from_pretrained(folder).save_pretrained(tmp_path / "b")
    assert json.loads((again / "kronos.json").read_text()) == {"s2_attention": "published"}


def test_training_changes_loaded_weights(tmp_path: Path) -> None:
    random_model(3).save_pretrained(tmp_path)
    model = Kronos.from_pretrained(tmp_path)
    s1, s2, stamps = random_tokens()
    optimizer = torch.optim.AdamW(model.parameters())
    model(s1, s2, stamps)[0].mean().backward()
    optimizer.step()
    assert not model.unchanged


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "nan", "truncated", "garbage"])
def test_damaged_weights(tmp_path: Path, damage: str) -> None:
    random_model(3).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    if damage == "missing":
        del state["norm.weight"]
    elif damage == "extra":
        state["surprise"] = torch.zeros(1)
    elif damage == "shape":
        state["norm.weight"] = torch.zeros(3)
    elif damage == "nan":
        state["norm.weight"][0] = float("nan")
    save_file({name: value.clone() for name, value in state.items()}, file)
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "garbage":
        file.write_bytes(b"not a safetensors file at all")
    with pytest.raises(CheckpointError) as caught:
        Kronos.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
    assert "model.safetensors" in str(caught.value)


def test_model_is_not_a_tokenizer(tmp_path: Path) -> None:
    random_model(3).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="holds a model"):
        KronosTokenizer.from_pretrained(tmp_path)

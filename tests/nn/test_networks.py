"""The networks beyond their golden numbers: masks, forms, sizes, loading and saving."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kronos.errors import CheckpointError, ParameterError
from kronos.nn import Kronos, KronosTokenizer
from kronos.zoo import list_checkpoints
from networks import random_model, random_tokenizer


def tokens(rows: int = 10, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    s1, s2 = (torch.randint(32, (2, rows), generator=random) for _ in range(2))
    stamps = torch.stack([torch.randint(n, (2, rows), generator=random) for n in (60, 24, 7, 32, 13)], -1)
    return s1, s2, stamps


@pytest.mark.parametrize("kind", [torch.bool, torch.int64])
@pytest.mark.parametrize("training_form", [True, False])
def test_masked_rows_change_nothing(kind: torch.dtype, training_form: bool) -> None:
    """Padding at the right: real rows have the logits and the loss of the series without it. True means real."""
    model = random_model(1)
    s1, s2, stamps = tokens(10)
    mask = torch.arange(10)[None].expand(2, 10).lt(7).to(kind)

    def run(n: int, padding: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        logits, context = model.decode_s1(s1[:, :n], s2[:, :n], stamps[:, :n], padding)
        query = s1[:, :n] if training_form else s1[:, :1]
        return logits[:, :7], model.decode_s2(context, query, padding)[:, :7]

    with torch.no_grad():
        for got, want in zip(run(10, mask), run(7, None), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
        full = model(s1, s2, stamps, mask, use_teacher_forcing=True, s1_targets=s1)
        cut = model(s1[:, :7], s2[:, :7], stamps[:, :7], use_teacher_forcing=True, s1_targets=s1[:, :7])
        masked = model.head.compute_loss(*full, s1, s2, mask)
        plain = model.head.compute_loss(*cut, s1[:, :7], s2[:, :7])
    torch.testing.assert_close(masked, plain)
    assert masked[0] == pytest.approx(float((masked[1] + masked[2]) / 2))


def test_rows_of_padding_give_numbers() -> None:
    model = random_model(1)
    s1, s2, stamps = tokens(6)
    mask = torch.arange(6)[None].expand(2, 6) >= 3  # padding at the left
    logits, _ = model.decode_s1(s1, s2, stamps, mask)
    assert logits.isfinite().all()


@pytest.mark.parametrize("form", ["published", "causal"])
def test_forms_of_the_s2_attention(form: str) -> None:
    model = random_model(2, s2_attention=form)
    s1, s2, stamps = tokens(8)
    with torch.no_grad():
        _, context = model.decode_s1(s1, s2, stamps)
        each = model.decode_s2(context, s1)
        one = model.decode_s2(context, s1[:, -1:])
    assert each.shape == one.shape == (2, 8, 32)
    # In the training form the last row's own query is all that its logits need; the published form differs from it.
    assert torch.allclose(each[:, -1], one[:, -1], atol=1e-5) == (form == "causal")
    with pytest.raises(ParameterError, match="3 tokens for 8 rows"):
        model.decode_s2(context, s1[:, :3])


def test_sampled_coarse_tokens_come_from_the_global_generator() -> None:
    model = random_model(1)
    s1, s2, stamps = tokens()
    with torch.no_grad():
        results = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            results.append(model(s1, s2, stamps)[1])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    with pytest.raises(ParameterError, match="needs s1_targets"):
        model(s1, s2, stamps, use_teacher_forcing=True)


@pytest.mark.parametrize("entry", [e for e in list_checkpoints() if e.kind == "model"], ids=lambda e: e.name)
def test_every_size_can_be_constructed(entry) -> None:  # type: ignore[no-untyped-def]
    with torch.device("meta"):
        model = Kronos(**entry.config)
    assert sum(p.numel() for p in model.parameters()) == entry.parameters


def test_published_sizes() -> None:
    sizes = {e.name: e.parameters / 1e6 for e in list_checkpoints()}
    assert {name: round(sizes[name], 1) for name in ("kronos-mini", "kronos-small", "kronos-base", "kronos-large")} == {
        "kronos-mini": 4.1, "kronos-small": 24.7, "kronos-base": 102.3, "kronos-large": 499.2,
    }  # fmt: skip


@pytest.mark.parametrize("sizes", [{"d_model": 36}, {"n_heads": 3}, {"s2_attention": "other"}])
def test_contradicting_sizes_are_refused(sizes: dict) -> None:
    arguments = {"s1_bits": 4, "s2_bits": 4, "n_layers": 1, "d_model": 32, "n_heads": 2, "ff_dim": 16,
                 "ffn_dropout_p": 0, "attn_dropout_p": 0, "resid_dropout_p": 0, "token_dropout_p": 0,
                 "learn_te": True} | sizes  # fmt: skip
    with pytest.raises(ParameterError):
        Kronos(**arguments)


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_saving_and_loading(tmp_path: Path, dtype: torch.dtype | None) -> None:
    model, tokenizer = random_model(3, s2_attention="causal").train(), random_tokenizer(3).train()
    model.save_pretrained(tmp_path / "model", context=64, tokenizer="../tokenizer", dtype=dtype)
    tokenizer.save_pretrained(tmp_path / "tokenizer", dtype=dtype)
    loaded = Kronos.from_pretrained(tmp_path), KronosTokenizer.from_pretrained(tmp_path)
    for was, now in zip((model, tokenizer), loaded, strict=True):
        assert not now.training
        assert now.unchanged
        assert now.config == was.config
        for name, value in now.state_dict().items():
            want = was.state_dict()[name]
            stored = (
                want if dtype is None or name not in dict(was.named_parameters()) else want.to(dtype).to(want.dtype)
            )
            torch.testing.assert_close(value, stored, rtol=0, atol=0)
    assert loaded[0].s2_attention == "causal"
    assert loaded[0].pairing is not None
    assert loaded[0].pairing.context == 64
    # Saved again elsewhere, it records what it knows, and no path of this machine.
    again = loaded[0].save_pretrained(tmp_path / "elsewhere")
    record = json.loads((again / "kronos.json").read_text())
    assert record == {"context": 64, "s2_attention": "causal"}


def test_guesses_are_not_recorded(tmp_path: Path) -> None:
    folder = random_model(3).save_pretrained(tmp_path / "a")
    (folder / "kronos.json").unlink()  # as a published checkpoint comes
    again = Kronos.from_pretrained(folder).save_pretrained(tmp_path / "b")
    assert json.loads((again / "kronos.json").read_text()) == {"s2_attention": "published"}


def test_training_on_loaded_weights_is_noticed(tmp_path: Path) -> None:
    random_model(3).save_pretrained(tmp_path)
    model = Kronos.from_pretrained(tmp_path)
    s1, s2, stamps = tokens()
    optimizer = torch.optim.AdamW(model.parameters())
    model(s1, s2, stamps)[0].mean().backward()
    optimizer.step()
    assert not model.unchanged


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "nan", "truncated", "garbage"])
def test_damaged_weights_get_one_sentence(tmp_path: Path, damage: str) -> None:
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


def test_a_model_is_no_tokenizer(tmp_path: Path) -> None:
    random_model(3).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="holds a model, not a tokenizer"):
        KronosTokenizer.from_pretrained(tmp_path)


def test_prefix_of_tokens_is_tokens_of_the_prefix() -> None:
    """Both stacks are causal: later candles change no earlier token, nor its reconstruction."""
    tokenizer = random_tokenizer(4)
    x = torch.randn(1, 20, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole, part = tokenizer.encode(x), tokenizer.encode(x[:, :12])
        assert torch.equal(whole[:, :12], part)
        torch.testing.assert_close(tokenizer.decode(whole)[:, :12], tokenizer.decode(part), rtol=1e-5, atol=1e-5)

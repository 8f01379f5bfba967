"""Networks beyond their golden numbers: masks, forms of the attention, sizes, causality."""

import pytest
import torch

from kronos.errors import ParameterError
from kronos.nn import Kronos
from kronos.zoo import list_checkpoints
from networks import random_model, random_tokenizer, random_tokens


@pytest.mark.parametrize("kind", [torch.bool, torch.int64])
@pytest.mark.parametrize("training_form", [True, False])
def test_padding_changes_nothing(kind: torch.dtype, training_form: bool) -> None:
    """With padding at the right, real rows have the logits and the loss of the series without padding."""
    model = random_model(1)
    s1, s2, stamps = random_tokens(10)
    mask = torch.arange(10)[None].expand(2, 10).lt(7).to(kind)

    def run(n: int, padding: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        logits, context = model.decode_s1(s1[:, :n], s2[:, :n], stamps[:, :n], padding)
        query = s1[:, :n] if training_form else s1[:, :1]
        return logits[:, :7], model.decode_s2(context, query, padding)[:, :7]

    with torch.no_grad():
        for actual, expected in zip(run(10, mask), run(7, None), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
        full = model(s1, s2, stamps, mask, use_teacher_forcing=True, s1_targets=s1)
        cut = model(s1[:, :7], s2[:, :7], stamps[:, :7], use_teacher_forcing=True, s1_targets=s1[:, :7])
        masked = model.head.compute_loss(*full, s1, s2, mask)
        plain = model.head.compute_loss(*cut, s1[:, :7], s2[:, :7])
    torch.testing.assert_close(masked, plain)
    assert masked[0] == pytest.approx(float((masked[1] + masked[2]) / 2))


def test_rows_of_padding_are_finite() -> None:
    model = random_model(1)
    s1, s2, stamps = random_tokens(6)
    mask = torch.arange(6)[None].expand(2, 6) >= 3  # padding at the left
    logits, _ = model.decode_s1(s1, s2, stamps, mask)
    assert logits.isfinite().all()


@pytest.mark.parametrize("form", ["published", "causal"])
def test_forms_of_the_s2_attention(form: str) -> None:
    model = random_model(2, s2_attention=form)
    s1, s2, stamps = random_tokens(8)
    with torch.no_grad():
        _, context = model.decode_s1(s1, s2, stamps)
        each = model.decode_s2(context, s1)
        one = model.decode_s2(context, s1[:, -1:])
    assert each.shape == one.shape == (2, 8, 32)
    # The training form only needs the last row's own query; the published form differs from it.
    assert torch.allclose(each[:, -1], one[:, -1], atol=1e-5) == (form == "causal")
    with pytest.raises(ParameterError, match="3 tokens for 8 rows"):
        model.decode_s2(context, s1[:, :3])


def test_sampled_coarse_tokens_come_from_the_global_generator() -> None:
    model = random_model(1)
    s1, s2, stamps = random_tokens()
    with torch.no_grad():
        results = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            results.append(model(s1, s2, stamps)[1])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    with pytest.raises(ParameterError, match="s1_targets"):
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
def test_incompatible_sizes_are_rejected(sizes: dict) -> None:
    arguments = {"s1_bits": 4, "s2_bits": 4, "n_layers": 1, "d_model": 32, "n_heads": 2, "ff_dim": 16,
                 "ffn_dropout_p": 0, "attn_dropout_p": 0, "resid_dropout_p": 0, "token_dropout_p": 0,
                 "learn_te": True} | sizes  # fmt: skip
    with pytest.raises(ParameterError):
        Kronos(**arguments)


def test_tokens_of_a_prefix_are_a_prefix_of_the_tokens() -> None:
    """Later candles change neither earlier tokens nor their reconstruction."""
    tokenizer = random_tokenizer(4)
    x = torch.randn(1, 20, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole, part = tokenizer.encode(x), tokenizer.encode(x[:, :12])
        assert torch.equal(whole[:, :12], part)
        torch.testing.assert_close(tokenizer.decode(whole)[:, :12], tokenizer.decode(part), rtol=1e-5, atol=1e-5)

"""The engine compared with the plain decoder: equal tokens and logits, for random models and shapes."""

import copy

import numpy as np
import pytest
import torch
from benchmarks.plain import plain_decode, plain_encode, plain_rollout
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.inference.engine import ModelDecoder, Prompt, Rollout, TokenizerDecoder, Tokens
from kronos.inference.sampling import CounterBasedSampler, SamplingParams, TorchSampler
from kronos.nn import Kronos
from kronos.rng import keyed_uniforms
from networks import random_model, random_tokenizer

shapes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "layers": st.integers(1, 3),
        "heads": st.sampled_from([1, 2, 4]),
        "s2_attention": st.sampled_from(["published", "causal"]),
    }
)


def model_of(shape: dict) -> Kronos:
    heads = shape["heads"]
    return random_model(shape["seed"], layers=shape["layers"], heads=heads, s2_attention=shape["s2_attention"])


def prompt_of(seed: int, lengths: list[int], horizon: int, vocabulary: int = 32) -> Prompt:
    """Random tokens and stamps, also in the rows of padding."""
    random = torch.Generator().manual_seed(seed)
    B, T = len(lengths), max(lengths)

    def ids(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(high, shape, generator=random)

    def stamps(rows: int) -> torch.Tensor:
        return torch.stack([ids(n, B, rows) for n in (60, 24, 7, 32, 13)], dim=-1)

    tokens = Tokens(ids(vocabulary, B, T), ids(vocabulary, B, T))
    return Prompt(tokens, torch.tensor(lengths), stamps(T), stamps(horizon))


def alone(prompt: Prompt, b: int) -> Prompt:
    """One series of a batch, without its padding."""
    n = int(prompt.lengths[b])
    tokens = Tokens(prompt.tokens.s1[b : b + 1, :n], prompt.tokens.s2[b : b + 1, :n])
    return Prompt(tokens, prompt.lengths[b : b + 1], prompt.stamps[b : b + 1, :n], prompt.future_stamps[b : b + 1])


def sampler_of(
    seed: int, names: list[str], samples: int, horizon: int, params: SamplingParams | None = None
) -> CounterBasedSampler:
    uniforms = np.stack([keyed_uniforms(seed, name, range(samples), horizon) for name in names])
    return CounterBasedSampler(params or SamplingParams(), torch.from_numpy(uniforms))


def assert_same(actual: Tokens, expected: Tokens) -> None:
    torch.testing.assert_close(actual.s1, expected.s1, rtol=0, atol=0)
    torch.testing.assert_close(actual.s2, expected.s2, rtol=0, atol=0)


class Forced:
    """Picks given tokens and records the logits."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.seen: list[torch.Tensor] = []

    def __call__(self, step: int, head: int, logits: torch.Tensor) -> torch.Tensor:
        tokens = (self.tokens.s1, self.tokens.s2)[head][:, :, step]
        self.seen.append(logits.expand(*tokens.shape, -1).clone())
        return tokens


@pytest.mark.slow
@settings(max_examples=40)
@given(shape=shapes, past=st.integers(1, 30), horizon=st.integers(1, 12), samples=st.integers(1, 5),
       context=st.integers(13, 24), top_p=st.sampled_from([1.0, 0.8]))  # fmt: skip
def test_float64_tokens_equal_the_plain_decoders(
    shape: dict, past: int, horizon: int, samples: int, context: int, top_p: float
) -> None:
    """Windows that fit, that slide, and histories longer than the context; both forms of the s2 attention."""
    model = model_of(shape).double()
    prompt = prompt_of(shape["seed"], [past, past], horizon)
    sampler = sampler_of(1, ["a", "b"], samples, horizon, SamplingParams(top_p=top_p))
    with torch.inference_mode():
        actual = Rollout(ModelDecoder(model, torch.float64), prompt, samples, context).generate(sampler)
    assert_same(actual, plain_rollout(model, prompt, samples, context, sampler))


@pytest.mark.slow
@settings(max_examples=25)
@given(shape=shapes, past=st.integers(1, 30), horizon=st.integers(1, 10), samples=st.integers(1, 4),
       context=st.integers(11, 24))  # fmt: skip
def test_float32_logits_agree(shape: dict, past: int, horizon: int, samples: int, context: int) -> None:
    """With forced tokens every logit can be compared."""
    model, prompt = model_of(shape), prompt_of(shape["seed"], [past], horizon)
    random = torch.Generator().manual_seed(5)
    forced = Tokens(*(torch.randint(32, (1, samples, horizon), generator=random) for _ in range(2)))
    fast, plain = Forced(forced), Forced(forced)
    with torch.inference_mode():
        Rollout(ModelDecoder(model, torch.float32), prompt, samples, context).generate(fast)
    plain_rollout(model, prompt, samples, context, plain)
    for actual, expected in zip(fast.seen, plain.seen, strict=True):
        assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("s2_attention", ["published", "causal"])
@pytest.mark.parametrize(("past", "context"), [(20, 32), (28, 32)])
def test_float32_paths_are_the_plain_decoders(past: int, context: int, s2_attention: str) -> None:
    """At least 99.9 % of seeded float32 paths have equal tokens, with caches and with sliding windows."""
    equal, total = 0, 0
    for seed in range(5):
        model = random_model(seed, layers=3, heads=4, s2_attention=s2_attention)
        prompt = prompt_of(seed, [past] * 2, 12)
        sampler = sampler_of(seed, ["a", "b"], 100, 12)
        with torch.inference_mode():
            actual = Rollout(ModelDecoder(model, torch.float32), prompt, 100, context).generate(sampler)
        expected = plain_rollout(model, prompt, 100, context, sampler)
        same = (actual.s1 == expected.s1).all(-1) & (actual.s2 == expected.s2).all(-1)
        equal, total = equal + int(same.sum()), total + same.numel()
    assert equal >= 0.999 * total


@pytest.mark.slow
@settings(max_examples=30)
@given(shape=shapes, lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5), samples=st.integers(1, 4))
def test_ragged_batches_equal_single_series(shape: dict, lengths: list[int], samples: int) -> None:
    model = model_of(shape).double()
    decoder, horizon = ModelDecoder(model, torch.float64), 5
    prompt = prompt_of(shape["seed"], lengths, horizon)
    names = [f"series {b}" for b in range(len(lengths))]
    with torch.inference_mode():
        together = Rollout(decoder, prompt, samples, 32).generate(sampler_of(3, names, samples, horizon))
        for b, name in enumerate(names):
            by_itself = Rollout(decoder, alone(prompt, b), samples, 32).generate(
                sampler_of(3, [name], samples, horizon)
            )
            assert_same(Tokens(together.s1[b : b + 1], together.s2[b : b + 1]), by_itself)


def test_ragged_series_cannot_slide_together() -> None:
    model = random_model(0)
    with pytest.raises(ValueError, match="different lengths"):
        Rollout(ModelDecoder(model, torch.float32), prompt_of(0, [10, 12], 5), 1, 14)


@settings(max_examples=20)
@given(past=st.integers(1, 20), horizon=st.integers(1, 8), samples=st.integers(1, 4), seed=st.integers(0, 99))
def test_decoding_only_new_rows_equals_decoding_all(past: int, horizon: int, samples: int, seed: int) -> None:
    tokenizer = random_tokenizer(seed)
    x = torch.randn(2, past, 6, generator=torch.Generator().manual_seed(seed))
    own = prompt_of(seed, [1, 1], 1)
    random = torch.Generator().manual_seed(seed)
    own = Tokens(*(torch.randint(32, (2, samples, horizon), generator=random) for _ in range(2)))
    decoder = TokenizerDecoder(tokenizer)
    context = past + horizon
    with torch.inference_mode():
        tokens = decoder.encode(x)
        assert_same(tokens, plain_encode(tokenizer, x))
        _, actual = decoder.decode(tokens, torch.tensor([past, past]), own)
    torch.testing.assert_close(actual, plain_decode(tokenizer, tokens, own, context), rtol=1e-5, atol=1e-5)


def test_torch_sampler_uses_the_global_generator() -> None:
    model = random_model(1)
    prompt = prompt_of(1, [8, 8], 4)
    sampler = TorchSampler(SamplingParams(samples=3))
    with torch.inference_mode():
        torch.manual_seed(4)
        actual = Rollout(ModelDecoder(model, torch.float32), prompt, 3, 64).generate(sampler)
    torch.manual_seed(4)
    assert_same(actual, plain_rollout(model, prompt, 3, 64, sampler))


@pytest.mark.parametrize("training", [True, False])
@given(shape=shapes, cut=st.integers(1, 11))
@settings(max_examples=15)
def test_model_is_causal(training: bool, shape: dict, cut: int) -> None:
    """Changing later rows changes no earlier logits, in training and in evaluation mode, padded or not."""
    model = model_of(shape).train(training)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attn_dropout"):
            module.attn_dropout = 0.0
    prompt, other = prompt_of(1, [12], 1), prompt_of(2, [12], 1)

    def logits(prompt: Prompt, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        s1, s2 = prompt.tokens.s1, prompt.tokens.s2
        return model(s1, s2, prompt.stamps, mask, use_teacher_forcing=True, s1_targets=s1.roll(-1, 1))

    mixed = Prompt(
        Tokens(*(torch.cat((a[:, : cut + 1], b[:, cut + 1 :]), 1) for a, b in
                 ((prompt.tokens.s1, other.tokens.s1), (prompt.tokens.s2, other.tokens.s2)))),
        prompt.lengths, torch.cat((prompt.stamps[:, : cut + 1], other.stamps[:, cut + 1 :]), 1), prompt.future_stamps,
    )  # fmt: skip
    for mask in (None, torch.arange(12)[None] >= 2):
        with torch.no_grad():
            before, after = logits(prompt, mask), logits(mixed, mask)
        for a, b in zip(before, after, strict=True):
            # Row `cut` is the first whose own target, the next token, was changed.
            torch.testing.assert_close(a[:, :cut], b[:, :cut], rtol=1e-5, atol=1e-6)
            assert not torch.equal(a[:, cut + 1 :], b[:, cut + 1 :]) or cut == 11


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packing_does_not_change_the_network(dtype: torch.dtype) -> None:
    model = random_model(2)
    before = copy.deepcopy(model.state_dict())
    ModelDecoder(model, dtype)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])

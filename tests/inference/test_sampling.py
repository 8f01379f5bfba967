"""Sampling of tokens: filters keep the published sets, and samplers have the filtered distribution."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import kronos
from kronos.inference.sampling import PRESETS, CounterBasedSampler, SamplingParams, filter_logits
from kronos.rng import keyed_uniforms

# From a nearly flat distribution, whose nucleus is most of the vocabulary, to one with a dominant token.
SHARPNESS = st.sampled_from([0.01, 0.3, 1.0, 3.0, 20.0])


def logits_of(seed: int, rows: int, sharpness: float, vocabulary: int = 1024) -> torch.Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * sharpness


def kept_by_sorting(row: torch.Tensor, top_p: float) -> set[int]:
    """The definition of top-p, token by token."""
    kept, mass = set(), 0.0
    probabilities = row.double().softmax(-1)
    for token in row.argsort(descending=True).tolist():
        if mass > top_p:
            break
        kept.add(token)
        mass += float(probabilities[token])
    return kept


@settings(max_examples=60)
@given(seed=st.integers(0, 999), sharpness=SHARPNESS, top_p=st.floats(0.05, 0.99))
def test_top_p_keeps_what_a_sort_keeps(seed: int, sharpness: float, top_p: float) -> None:
    logits = logits_of(seed, 3, sharpness)
    filtered = filter_logits(logits, SamplingParams(top_p=top_p))
    published = kronos.top_k_top_p_filtering(logits, top_p=top_p)
    for row, got, other in zip(logits, filtered, published, strict=True):
        want = kept_by_sorting(row, top_p)
        for one in (got, other):
            kept = set(torch.nonzero(one.isfinite()).flatten().tolist())
            # A token whose predecessors' mass equals top_p to seven digits may fall on either side.
            assert len(kept ^ want) <= 1
            torch.testing.assert_close(one[one.isfinite()], row[one.isfinite()])


@settings(max_examples=30)
@given(seed=st.integers(0, 999), top_k=st.integers(1, 1100), temperature=st.floats(0.1, 3))
def test_top_k_keeps_the_largest_and_ignores_top_p(seed: int, top_k: int, temperature: float) -> None:
    logits = logits_of(seed, 2, 1.0)
    filtered = filter_logits(logits, SamplingParams(temperature, top_k, 0.3))
    assert (filtered.isfinite().sum(-1) == min(top_k, 1024)).all()
    torch.testing.assert_close(filtered.max(-1).values, logits.max(-1).values / temperature)
    again = kronos.top_k_top_p_filtering(logits / temperature, top_k=top_k, top_p=0.3)
    assert torch.equal(filtered.isfinite(), again.isfinite())


def test_without_filter_the_logits_are_returned() -> None:
    logits = logits_of(0, 2, 1.0)
    assert kronos.top_k_top_p_filtering(logits) is logits
    assert filter_logits(logits, SamplingParams()) is logits


@pytest.mark.slow
@pytest.mark.parametrize("params", [SamplingParams(), SamplingParams(0.7, top_p=0.8), SamplingParams(top_k=5)])
@pytest.mark.parametrize("shared", [True, False])
def test_counter_based_sampler_has_the_filtered_distribution(params: SamplingParams, shared: bool) -> None:
    """χ² test of 20,000 samples, from logits shared by the samples or from own ones."""
    count, vocabulary = 20_000, 30
    logits = logits_of(4, 1, 1.5, vocabulary)
    uniforms = torch.from_numpy(keyed_uniforms(3, "series", range(count), 1))[None]
    rows = logits[None] if shared else logits[None].expand(1, count, vocabulary)
    drawn = CounterBasedSampler(params, uniforms)(0, 0, rows)[0].numpy()
    expected = filter_logits(logits, params).softmax(-1)[0].double().numpy()
    assert (expected[np.unique(drawn)] > 0).all()  # filtered tokens are never sampled
    seen = np.bincount(drawn, minlength=vocabulary)
    common = expected * count >= 5
    rest = expected[~common].sum() * count
    assert abs(seen[~common].sum() - rest) <= 5 * np.sqrt(rest + 1)
    shares = expected[common] / expected[common].sum()
    assert stats.chisquare(seen[common], shares * seen[common].sum()).pvalue > 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("u", [0.0, 1 - 2**-53, 0.5])
def test_extreme_uniforms_select_possible_tokens(dtype: torch.dtype, u: float) -> None:
    logits = torch.full((1, 1, 6), float("-inf"), dtype=dtype)
    logits[..., 2:4] = 0.0  # leading and trailing tokens have no probability
    draws = CounterBasedSampler(SamplingParams(), torch.full((1, 4, 1, 2), u, dtype=torch.float64))
    assert set(draws(0, 0, logits).flatten().tolist()) <= {2, 3}


def test_sample_from_logits() -> None:
    logits = logits_of(0, 5, 2.0, 50)
    greedy = kronos.sample_from_logits(logits, sample_logits=False)
    torch.testing.assert_close(greedy, logits.argmax(-1, keepdim=True))
    torch.manual_seed(2)
    drawn = kronos.sample_from_logits(logits, temperature=0.5, top_p=0.9)
    torch.manual_seed(2)
    filtered = kronos.top_k_top_p_filtering(logits / 0.5, top_p=0.9)
    torch.testing.assert_close(drawn, torch.multinomial(filtered.softmax(-1), 1))
    assert kronos.sample_from_logits(logits, top_k=1).tolist() == greedy.tolist()


def test_min_tokens_to_keep() -> None:
    logits = torch.tensor([[10.0, 0.0, -1.0, -2.0]])
    kept = kronos.top_k_top_p_filtering(logits, top_p=0.1, filter_value=-9.0, min_tokens_to_keep=2)
    assert kept.tolist() == [[10.0, 0.0, -9.0, -9.0]]
    assert kronos.top_k_top_p_filtering(logits, top_k=1, min_tokens_to_keep=3).isfinite().sum() == 3


def test_presets() -> None:
    assert PRESETS["default"] == SamplingParams(1.0, 0, 1.0)
    assert (PRESETS["conservative"].temperature, PRESETS["conservative"].top_p) == (0.6, 0.9)
    assert (PRESETS["aggressive"].temperature, PRESETS["aggressive"].top_p) == (1.3, 1.0)
    assert (PRESETS["published"].temperature, PRESETS["published"].top_p) == (1.0, 0.9)
    assert (PRESETS["paper-price"].temperature, PRESETS["paper-price"].samples) == (0.6, 10)

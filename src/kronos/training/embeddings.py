"""Smooth initial embeddings: tokens of similar candles begin with similar vectors.

A model that is trained from nothing has to learn that token 511 is a slightly larger return than token 510, for each of
thousands of tokens, before it can generalise between them. Random Fourier features (Rahimi & Recht 2007) of the candles
that the tokens stand for give it that at the start: the inner product of two vectors falls with the distance of their
candles, at three length scales. Training can change every vector afterwards.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kronos.errors import ParameterError
from kronos.nn import Kronos, KronosTokenizer
from kronos.rng import named_seed

_LENGTHS = (0.3, 1.0, 3.0)  # in units of normalised candles


def smooth_embeddings(network: Kronos, tokenizer: KronosTokenizer, seed: int) -> None:
    """Replace the token embeddings and the heads of a new model, in place.

    The vectors keep the mean length that they had, so that the initial scale of states and logits is unchanged. Those
    of embeddings and heads are drawn independently.

    Args:
        network: The model.
        tokenizer: Its tokenizer.
        seed: Random seed.

    Raises:
        ParameterError: If the model's tokens are not those of the tokenizer.
    """
    bits = (network.s1_bits, network.s2_bits), (tokenizer.s1_bits, tokenizer.s2_bits)
    if bits[0] != bits[1]:
        raise ParameterError(
            f"The model's tokens have {bits[0]} bits, the tokenizer's {bits[1]}: choose a tokenizer and a model that "
            "belong together."
        )
    generator = torch.Generator().manual_seed(named_seed(seed, "smooth embeddings"))
    coarse, fine = _candles_of_tokens(tokenizer)
    weights = (
        (network.embedding.emb_s1.weight, coarse),
        (network.embedding.emb_s2.weight, fine),
        (network.head.proj_s1.weight, coarse),
        (network.head.proj_s2.weight, fine),
    )
    with torch.no_grad():
        for weight, candles in weights:
            features = fourier_features(candles, weight.shape[1], generator)
            weight.copy_(features * (weight.norm(dim=1).mean() / features.norm(dim=1).mean()))


def fourier_features(values: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Random Fourier features ``[N, width]`` of values ``[N, C]``, with mean 0 over the values.

    Args:
        values: Points; only their differences matter.
        width: Number of features.
        generator: Source of the frequencies and phases.
    """
    lengths = torch.tensor(_LENGTHS)[torch.randint(len(_LENGTHS), (width,), generator=generator)]
    frequencies = torch.randn(values.shape[1], width, generator=generator) / lengths
    phases = torch.rand(width, generator=generator) * 2 * math.pi
    features = torch.cos(values @ frequencies + phases)
    return features - features.mean(0)


@torch.no_grad()
def _candles_of_tokens(tokenizer: KronosTokenizer) -> tuple[Tensor, Tensor]:
    """Normalised candles that every coarse token ``[2^s1_bits, 6]`` and every fine token ``[2^s2_bits, 6]`` stand for.

    A fine token is decoded together with the coarse token of an average candle.
    """
    average, _ = tokenizer.encode(torch.zeros(1, 1, tokenizer.embed.in_features), half=True)
    coarse = torch.arange(2**tokenizer.s1_bits)[:, None]
    fine = torch.arange(2**tokenizer.s2_bits)[:, None]
    candles = tokenizer.decode((average.expand(len(fine), 1), fine), half=True)
    return tokenizer.decode_coarse(coarse)[:, 0], candles[:, 0]

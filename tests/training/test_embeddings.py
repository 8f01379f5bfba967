"""Smooth initial embeddings: near tokens of near candles, at the scale of random ones, and reproducible."""

import pytest
import torch

from kronos.errors import ParameterError
from kronos.nn import Kronos
from kronos.training.embeddings import smooth_embeddings
from kronos.training.scalar_quantizer import scalar_tokenizer
from networks import random_model

TOKENIZER = scalar_tokenizer()


def fresh_model() -> Kronos:
    torch.manual_seed(1)
    return Kronos(10, 10, 1, 64, 2, 96, 0.0, 0.0, 0.0, 0.0, True, "causal")


def tables(model):
    return [
        model.embedding.emb_s1.weight,
        model.embedding.emb_s2.weight,
        model.head.proj_s1.weight,
        model.head.proj_s2.weight,
    ]


def test_tokens_of_near_candles_have_near_vectors():
    model = fresh_model()
    smooth_embeddings(model, TOKENIZER, 3)
    with torch.no_grad():
        candles = TOKENIZER.decode_coarse(torch.arange(1024)[:, None])[:, 0]
        distances = torch.cdist(candles, candles).flatten()
        for table in tables(model)[::2]:
            unit = table / table.norm(dim=1, keepdim=True)
            likeness = (unit @ unit.T).flatten()
            near, far = likeness[(distances > 0) & (distances < 0.2)], likeness[distances > 4]
            assert near.mean() > 0.8
            assert far.mean().abs() < 0.2


def test_vectors_keep_their_mean_length():
    model, before = fresh_model(), fresh_model()
    smooth_embeddings(model, TOKENIZER, 3)
    for table, earlier in zip(tables(model), tables(before), strict=True):
        assert table.norm(dim=1).mean().item() == pytest.approx(earlier.norm(dim=1).mean().item(), rel=1e-5)
        assert not torch.equal(table, earlier)
    assert torch.equal(model.transformer[0].ffn.w1.weight, before.transformer[0].ffn.w1.weight)


def test_vectors_depend_on_the_seed_alone():
    models = [fresh_model() for _ in range(3)]
    for model, seed in zip(models, (3, 3, 4), strict=True):
        torch.manual_seed(seed)  # torch's global generator has no part
        smooth_embeddings(model, TOKENIZER, seed)
    first, same, other = (tables(model)[0] for model in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_tokens_of_another_tokenizer_are_rejected():
    with pytest.raises(ParameterError, match=r"have \(5, 5\) bits, the tokenizer's \(10, 10\)"):
        smooth_embeddings(random_model(1), TOKENIZER, 1)

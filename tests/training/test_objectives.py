"""Objectives: the published losses, at the rows that count, without access to later candles."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from kronos.datasets.batching import Batch
from kronos.errors import ParameterError
from kronos.nn.layers import Attention
from kronos.training.objectives import ModelObjective, ReconstructionWeights, TokenizerObjective, check_causality
from kronos.training.runtime import keyed_uniforms
from training.runs import model, tokenizer


def batch(samples: int = 6, rows: int = 20, known: int | None = None) -> Batch:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(samples, rows, 6, generator=random).cumsum(1) / 3
    stamp = torch.stack([torch.randint(n, (samples, rows), generator=random) for n in (60, 24, 7, 31, 12)], -1)
    lookback = torch.randint(8, 16, (samples,), generator=random) if known is None else torch.full((samples,), known)
    step = torch.rand(samples, generator=random) + 0.1
    return Batch(x, stamp, lookback, step, torch.arange(samples) + 100)


def gradients(network: torch.nn.Module) -> Tensor:
    grads = [item.grad.flatten() for item in network.parameters() if item.grad is not None]
    network.zero_grad()
    return torch.cat(grads)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1e-12)


def test_tokenizer_loss_is_the_published_one():
    network, samples_batch = tokenizer(), batch()
    published = network.compute_loss(samples_batch.x)
    published.total.backward()
    expected = gradients(network)
    actual = TokenizerObjective(network).losses(samples_batch, training=True)
    actual.total.backward()
    close(actual.total, published.total)
    close(gradients(network), expected)
    for name in ("coarse", "full"):
        close(actual.parts[name], getattr(published, name))
    close(actual.parts["quantizer"], published.quantizer.total)
    close(actual.parts["codebook_entropy"], published.quantizer.codebook_entropy)


def test_model_loss_on_the_window_is_the_published_one():
    network, coder, samples_batch = model(), tokenizer(), batch()
    s1, s2 = coder.encode(samples_batch.x, half=True)
    logits = network(
        s1[:, :-1], s2[:, :-1], samples_batch.stamp[:, :-1], use_teacher_forcing=True, s1_targets=s1[:, 1:]
    )
    total, first, second = network.head.compute_loss(*logits, s1[:, 1:], s2[:, 1:])
    total.backward()
    expected = gradients(network)
    actual = ModelObjective(network, coder, teacher_forcing=True, loss_on="window").losses(samples_batch, training=True)
    actual.total.backward()
    close(actual.total, total)
    close(gradients(network), expected)
    close(actual.parts["s1"], first)
    close(actual.parts["s2"], second)


def test_forecast_loss_covers_candles_after_the_known_ones_with_equal_samples():
    network, coder, samples_batch = model(), tokenizer(), batch()
    s1, s2 = coder.encode(samples_batch.x, half=True)
    first, second = network(
        s1[:, :-1], s2[:, :-1], samples_batch.stamp[:, :-1], use_teacher_forcing=True, s1_targets=s1[:, 1:]
    )
    samples = []
    for row, known in enumerate(samples_batch.known.tolist()):
        at = slice(known - 1, None)  # the row before a candle predicts it
        parts = zip((first, second), (s1, s2), strict=True)
        nats = [torch.nn.functional.cross_entropy(logits[row, at], ids[row, 1:][at]) for logits, ids in parts]
        samples.append(sum(nats) / 2)
    objective = ModelObjective(network, coder, teacher_forcing=True)
    close(objective.per_sample(samples_batch), torch.stack(samples))
    losses = objective.losses(samples_batch, training=True)
    close(losses.total, torch.stack(samples).mean())
    losses.total.backward()
    expected = gradients(network)
    torch.stack(samples).mean().backward()
    close(expected, gradients(network))


def test_heads_are_computed_only_at_the_rows_that_count():
    network, seen = model(), []
    network.head.proj_s1.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    network.head.proj_s2.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    ModelObjective(network, tokenizer()).losses(batch(known=15), training=True)
    assert seen == [5, 5]


def test_sampled_tokens_depend_only_on_their_sample():
    objective, samples_batch = ModelObjective(model(), tokenizer(), seed=3), batch(known=12)
    together = objective.losses(samples_batch, training=True).total
    torch.manual_seed(99)
    alone = torch.stack(
        [objective.losses(samples_batch[row : row + 1], training=True).total for row in range(len(samples_batch))]
    )
    close(alone.mean(), together)
    other = objective.losses(replace(samples_batch, row=samples_batch.row + 1000), training=True)
    assert other.parts["s1"] == objective.losses(samples_batch, training=True).parts["s1"]
    assert other.total != together


def test_coarse_tokens_are_sampled_from_the_model_distribution():
    objective = ModelObjective(model(), tokenizer())
    logits = torch.tensor([0.5, 0.2, 0.2, 0.1]).log().expand(500, 40, 4)
    drawn = objective._sample_coarse(logits, torch.arange(500))
    shares = torch.bincount(drawn.flatten()) / drawn.numel()
    assert torch.allclose(shares, torch.tensor([0.5, 0.2, 0.2, 0.1]), atol=0.01)


def test_keyed_uniforms_are_uniform_and_uncorrelated():
    u = keyed_uniforms(1, torch.arange(2000), torch.arange(50)).double().numpy()
    assert 0 <= u.min() < 1e-3
    assert 1 - 1e-3 < u.max() < 1
    shares, _ = np.histogram(u, bins=20, range=(0, 1))
    assert (abs(shares / u.size - 0.05) < 0.003).all()
    rows, columns = np.corrcoef(u[:-1].ravel(), u[1:].ravel())[0, 1], np.corrcoef(u[:, :-1].ravel(), u[:, 1:].ravel())
    assert abs(rows) < 0.015
    assert abs(columns[0, 1]) < 0.015
    assert not np.array_equal(u, keyed_uniforms(2, torch.arange(2000), torch.arange(50)).numpy())


@pytest.mark.parametrize("mode", [True, False])
def test_later_candles_change_no_validation_loss(mode):
    objective, samples_batch = ModelObjective(model().train(mode), tokenizer()), batch(rows=24)
    check_causality(objective, samples_batch)
    before = objective.per_position(samples_batch)
    for t in (1, 7, 22):
        x = samples_batch.x.clone()
        x[:, t + 1 :] = torch.randn(x[:, t + 1 :].shape, generator=torch.Generator().manual_seed(t))
        after = objective.per_position(replace(samples_batch, x=x))
        assert torch.equal(before[:, :t], after[:, :t])  # of the candles up to t
        assert not torch.equal(before[:, t:], after[:, t:])


class NonCausalAttention(Attention):
    """Attention without a causal mask."""

    def forward(self, query: Tensor, context: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        q, k, v = (self.split(p(x)) for p, x in ((self.q_proj, query), (self.k_proj, context), (self.v_proj, context)))
        return self.merge(torch.nn.functional.scaled_dot_product_attention(*self.rotary(q, k), v))


@pytest.mark.parametrize("module", ["transformer.0.self_attn", "dep_layer.cross_attn", "tokenizer"])
def test_non_causal_attention_is_detected(module):
    network, coder = model(), tokenizer()
    leaking = coder.encoder[0].self_attn if module == "tokenizer" else network.get_submodule(module)
    leaking.__class__ = NonCausalAttention
    with pytest.raises(ParameterError, match="looks ahead"):
        check_causality(ModelObjective(network, coder), batch())


def test_causality_check_covers_the_shortest_windows():
    coder, samples_batch = tokenizer(), batch(rows=3, known=2)
    check_causality(ModelObjective(model(), coder), samples_batch)
    coder.encoder[0].self_attn.__class__ = NonCausalAttention
    with pytest.raises(ParameterError, match="looks ahead"):
        check_causality(ModelObjective(model(), coder), samples_batch)


def test_step_unit_weighs_windows_by_volatility():
    network, samples_batch = tokenizer(), batch()
    usual = TokenizerObjective(network)
    steps = TokenizerObjective(network, ReconstructionWeights(unit="step"))
    alike = replace(samples_batch, step=torch.full_like(samples_batch.step, 0.3))
    close(steps.losses(alike, training=True).total, usual.losses(samples_batch, training=True).total)
    calm = replace(samples_batch, step=torch.tensor([0.05, *[0.45] * 5]))
    weights = torch.tensor([100.0, *[4.0] * 5])
    close(
        steps.losses(calm, training=True).parts["full"],
        (weights * usual.per_sample(samples_batch)).sum() / weights.sum(),
    )
    close(steps.per_sample(calm), weights * usual.per_sample(samples_batch))


def test_channel_weights_are_relative():
    samples_batch = batch()
    close_only = ReconstructionWeights(channels=(0, 0, 0, 2, 0, 0), quantizer=0)
    losses = TokenizerObjective(tokenizer(), close_only).losses(samples_batch, training=True)
    (coarse, full), *_ = tokenizer()(samples_batch.x)
    errors = [(item - samples_batch.x)[..., 3].square().mean() for item in (coarse, full)]
    close(losses.total, sum(errors) / 2)


def test_code_use_is_counted():
    grads = TokenizerObjective(tokenizer()).losses(batch(), training=False).counts
    assert {name: (len(item), int(item.sum())) for name, item in grads.items()} == {"s1": (16, 120), "s2": (16, 120)}


def test_validation_loss_is_the_mean_of_its_samples():
    samples_batch = batch()
    for objective in (
        TokenizerObjective(tokenizer()),
        TokenizerObjective(tokenizer(), ReconstructionWeights(unit="step")),
        ModelObjective(model(), tokenizer()),
    ):
        whole = objective.losses(samples_batch, training=False).total
        close(objective.per_sample(samples_batch).mean(), whole)
        parts = [objective.losses(samples_batch[rows], training=False).total for rows in (slice(0, 3), slice(3, 6))]
        close(sum(parts) / 2, whole)


def test_tokens_losses_and_validation_logits_stay_in_float32_under_autocast():
    objective, samples_batch = ModelObjective(model(), tokenizer()), batch()
    exact = objective._encode(samples_batch.x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(torch.equal(a, b) for a, b in zip(objective._encode(samples_batch.x), exact, strict=True))
        rounded = objective.losses(samples_batch, training=True)
        assert TokenizerObjective(tokenizer()).losses(samples_batch, training=True).total.dtype == torch.float32
    assert rounded.total.dtype == torch.float32
    assert math.isclose(
        float(rounded.parts["s1"]), float(objective.losses(samples_batch, training=True).parts["s1"]), rel_tol=0.02
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: ReconstructionWeights(full=-1),
        lambda: ReconstructionWeights(channels=(0,) * 6),
        lambda: ReconstructionWeights(unit="candle"),
        lambda: ModelObjective(model(), tokenizer(), loss_on="everything"),
    ],
)
def test_invalid_weights_and_options_raise(make):
    with pytest.raises(ParameterError):
        make()


def test_tokenizer_with_other_token_sizes_raises():
    coder = tokenizer()
    coder.s1_bits = 7
    with pytest.raises(ParameterError, match="bits"):
        ModelObjective(model(), coder)

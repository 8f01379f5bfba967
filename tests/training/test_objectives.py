"""What training makes small is what was published, at the rows that count, and nothing in it sees the future."""

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
from kronos.training.runtime import uniforms
from training.runs import model, tokenizer


def batch(samples: int = 6, rows: int = 20, known: int | None = None) -> Batch:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(samples, rows, 6, generator=random).cumsum(1) / 3
    stamp = torch.stack([torch.randint(n, (samples, rows), generator=random) for n in (60, 24, 7, 31, 12)], -1)
    lookback = torch.randint(8, 16, (samples,), generator=random) if known is None else torch.full((samples,), known)
    step = torch.rand(samples, generator=random) + 0.1
    return Batch(x, stamp, lookback, step, torch.arange(samples) + 100)


def gradients(network: torch.nn.Module) -> Tensor:
    found = [one.grad.flatten() for one in network.parameters() if one.grad is not None]
    network.zero_grad()
    return torch.cat(found)


def close(got: Tensor, want: Tensor, tolerance: float = 1e-5) -> None:
    assert (got - want).abs().max() <= tolerance * want.abs().max().clamp(min=1e-12)


def test_the_tokenizers_loss_is_the_published_one():
    network, given = tokenizer(), batch()
    published = network.compute_loss(given.x)
    published.total.backward()
    want = gradients(network)
    got = TokenizerObjective(network).losses(given, training=True)
    got.total.backward()
    close(got.total, published.total)
    close(gradients(network), want)
    for name in ("coarse", "full"):
        close(got.parts[name], getattr(published, name))
    close(got.parts["quantizer"], published.quantizer.total)
    close(got.parts["codebook_entropy"], published.quantizer.codebook_entropy)


def test_the_models_loss_on_the_window_is_the_published_one():
    network, words, given = model(), tokenizer(), batch()
    s1, s2 = words.encode(given.x, half=True)
    logits = network(s1[:, :-1], s2[:, :-1], given.stamp[:, :-1], use_teacher_forcing=True, s1_targets=s1[:, 1:])
    total, first, second = network.head.compute_loss(*logits, s1[:, 1:], s2[:, 1:])
    total.backward()
    want = gradients(network)
    got = ModelObjective(network, words, teacher_forcing=True, loss_on="window").losses(given, training=True)
    got.total.backward()
    close(got.total, total)
    close(gradients(network), want)
    close(got.parts["s1"], first)
    close(got.parts["s2"], second)


def test_a_forecasts_loss_counts_what_comes_after_the_known_candles_and_samples_alike():
    network, words, given = model(), tokenizer(), batch()
    s1, s2 = words.encode(given.x, half=True)
    first, second = network(s1[:, :-1], s2[:, :-1], given.stamp[:, :-1], use_teacher_forcing=True, s1_targets=s1[:, 1:])
    samples = []
    for row, known in enumerate(given.known.tolist()):
        at = slice(known - 1, None)  # the row before a candle predicts it
        parts = zip((first, second), (s1, s2), strict=True)
        nats = [torch.nn.functional.cross_entropy(logits[row, at], ids[row, 1:][at]) for logits, ids in parts]
        samples.append(sum(nats) / 2)
    objective = ModelObjective(network, words, teacher_forcing=True)
    close(objective.per_sample(given), torch.stack(samples))
    losses = objective.losses(given, training=True)
    close(losses.total, torch.stack(samples).mean())
    losses.total.backward()
    want = gradients(network)
    torch.stack(samples).mean().backward()
    close(want, gradients(network))


def test_heads_are_computed_at_the_rows_that_count_and_at_no_others():
    network, seen = model(), []
    network.head.proj_s1.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    network.head.proj_s2.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    ModelObjective(network, tokenizer()).losses(batch(known=15), training=True)
    assert seen == [5, 5]


def test_tokens_that_are_drawn_depend_on_their_sample_alone():
    objective, given = ModelObjective(model(), tokenizer(), seed=3), batch(known=12)
    together = objective.losses(given, training=True).total
    torch.manual_seed(99)
    alone = torch.stack([objective.losses(given[row : row + 1], training=True).total for row in range(len(given))])
    close(alone.mean(), together)
    other = objective.losses(replace(given, row=given.row + 1000), training=True)
    assert other.parts["s1"] == objective.losses(given, training=True).parts["s1"]
    assert other.total != together


def test_tokens_are_drawn_from_the_models_own_distribution():
    objective = ModelObjective(model(), tokenizer())
    logits = torch.tensor([0.5, 0.2, 0.2, 0.1]).log().expand(500, 40, 4)
    drawn = objective._drawn(logits, torch.arange(500))
    shares = torch.bincount(drawn.flatten()) / drawn.numel()
    assert torch.allclose(shares, torch.tensor([0.5, 0.2, 0.2, 0.1]), atol=0.01)


def test_uniform_numbers_are_uniform_and_not_alike():
    u = uniforms(1, torch.arange(2000), torch.arange(50)).double().numpy()
    assert 0 <= u.min() < 1e-3
    assert 1 - 1e-3 < u.max() < 1
    shares, _ = np.histogram(u, bins=20, range=(0, 1))
    assert (abs(shares / u.size - 0.05) < 0.003).all()
    rows, columns = np.corrcoef(u[:-1].ravel(), u[1:].ravel())[0, 1], np.corrcoef(u[:, :-1].ravel(), u[:, 1:].ravel())
    assert abs(rows) < 0.015
    assert abs(columns[0, 1]) < 0.015
    assert not np.array_equal(u, uniforms(2, torch.arange(2000), torch.arange(50)).numpy())


@pytest.mark.parametrize("mode", [True, False])
def test_what_comes_later_changes_no_validation_loss(mode):
    objective, given = ModelObjective(model().train(mode), tokenizer()), batch(rows=24)
    check_causality(objective, given)
    before = objective.per_position(given)
    for t in (1, 7, 22):
        x = given.x.clone()
        x[:, t + 1 :] = torch.randn(x[:, t + 1 :].shape, generator=torch.Generator().manual_seed(t))
        after = objective.per_position(replace(given, x=x))
        assert torch.equal(before[:, :t], after[:, :t])  # of the candles up to t
        assert not torch.equal(before[:, t:], after[:, t:])


class Ahead(Attention):
    """Attention that looks ahead."""

    def forward(self, query: Tensor, context: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        q, k, v = (self.split(p(x)) for p, x in ((self.q_proj, query), (self.k_proj, context), (self.v_proj, context)))
        return self.merge(torch.nn.functional.scaled_dot_product_attention(*self.rotary(q, k), v))


@pytest.mark.parametrize("where", ["transformer.0.self_attn", "dep_layer.cross_attn", "tokenizer"])
def test_a_planted_leak_is_caught(where):
    network, words = model(), tokenizer()
    leaking = words.encoder[0].self_attn if where == "tokenizer" else network.get_submodule(where)
    leaking.__class__ = Ahead
    with pytest.raises(ParameterError, match="look ahead"):
        check_causality(ModelObjective(network, words), batch())


def test_the_shortest_windows_are_checked_too():
    words, given = tokenizer(), batch(rows=3, known=2)
    check_causality(ModelObjective(model(), words), given)
    words.encoder[0].self_attn.__class__ = Ahead
    with pytest.raises(ParameterError, match="look ahead"):
        check_causality(ModelObjective(model(), words), given)


def test_errors_in_steps_count_calm_windows_more_and_equal_ones_as_usual():
    network, given = tokenizer(), batch()
    usual = TokenizerObjective(network)
    steps = TokenizerObjective(network, ReconstructionWeights(unit="step"))
    alike = replace(given, step=torch.full_like(given.step, 0.3))
    close(steps.losses(alike, training=True).total, usual.losses(given, training=True).total)
    calm = replace(given, step=torch.tensor([0.05, *[0.45] * 5]))
    weights = torch.tensor([100.0, *[4.0] * 5])
    close(steps.losses(calm, training=True).parts["full"], (weights * usual.per_sample(given)).sum() / weights.sum())
    close(steps.per_sample(calm), weights * usual.per_sample(given))


def test_channels_weigh_by_their_proportions():
    given = batch()
    close_only = ReconstructionWeights(channels=(0, 0, 0, 2, 0, 0), quantizer=0)
    made = TokenizerObjective(tokenizer(), close_only).losses(given, training=True)
    (coarse, full), *_ = tokenizer()(given.x)
    errors = [(one - given.x)[..., 3].square().mean() for one in (coarse, full)]
    close(made.total, sum(errors) / 2)


def test_the_use_of_codes_is_counted():
    found = TokenizerObjective(tokenizer()).losses(batch(), training=False).counts
    assert {name: (len(one), int(one.sum())) for name, one in found.items()} == {"s1": (16, 120), "s2": (16, 120)}


def test_a_validations_loss_is_the_mean_of_its_samples():
    given = batch()
    for objective in (
        TokenizerObjective(tokenizer()),
        TokenizerObjective(tokenizer(), ReconstructionWeights(unit="step")),
        ModelObjective(model(), tokenizer()),
    ):
        whole = objective.losses(given, training=False).total
        close(objective.per_sample(given).mean(), whole)
        parts = [objective.losses(given[rows], training=False).total for rows in (slice(0, 3), slice(3, 6))]
        close(sum(parts) / 2, whole)


def test_tokens_losses_and_validation_logits_are_not_rounded_in_half_precision():
    objective, given = ModelObjective(model(), tokenizer()), batch()
    exact = objective._tokens(given.x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(torch.equal(a, b) for a, b in zip(objective._tokens(given.x), exact, strict=True))
        rounded = objective.losses(given, training=True)
        assert TokenizerObjective(tokenizer()).losses(given, training=True).total.dtype == torch.float32
    assert rounded.total.dtype == torch.float32
    assert math.isclose(
        float(rounded.parts["s1"]), float(objective.losses(given, training=True).parts["s1"]), rel_tol=0.02
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
def test_weights_and_options_that_cannot_be_are_refused(make):
    with pytest.raises(ParameterError):
        make()


def test_a_tokenizer_of_other_tokens_is_refused():
    words = tokenizer()
    words.s1_bits = 7
    with pytest.raises(ParameterError, match="bits"):
        ModelObjective(model(), words)

"""AdamW, its stored state, learning-rate schedules, the moving average of the weights, prefetching, precision."""

import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import ParameterError
from kronos.training import runtime
from kronos.training.config import TrainingArguments
from kronos.training.distributed import Process
from kronos.training.optimization import (
    EMA,
    OptimizerStep,
    learning_rate_at,
    load_optimizer_state,
    make_optimizer,
    optimizer_state,
    scheduled_first_beta,
    set_learning_rate,
    trainable_parameters,
)
from kronos.training.runtime import prefetch
from training.runs import model, objective, small


def test_weight_decay_applies_to_matrices_only():
    network = model()
    parameters = trainable_parameters(network)
    before = {name: value.detach().clone() for name, value in parameters.items()}
    optimizer = make_optimizer(parameters, small(weight_decay=0.5))
    set_learning_rate(optimizer, 0.1, 0.9)
    for value in parameters.values():
        value.grad = torch.zeros_like(value)
    optimizer.step()
    for name, value in parameters.items():
        expected = before[name] * 0.95 if value.ndim >= 2 else before[name]
        assert torch.allclose(value, expected), name


def test_frozen_parameters_are_not_trainable():
    network = model().requires_grad_(False)
    with pytest.raises(ParameterError, match="requires_grad"):
        trainable_parameters(network)
    network.head.proj_s1.requires_grad_(True)
    assert set(trainable_parameters(network)) == {"head.proj_s1.weight", "head.proj_s1.bias"}


def test_optimizer_state_is_restored_by_name():
    first, second = model(), model()
    value, second_optimizer = (make_optimizer(trainable_parameters(network), small()) for network in (first, second))

    def step(network, optimizer, seed):
        torch.manual_seed(seed)
        for parameter in network.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()

    for seed in range(3):
        step(first, value, seed)
    state = {name: value.clone() for name, value in optimizer_state(value, trainable_parameters(first)).items()}
    second.load_state_dict(first.state_dict())
    load_optimizer_state(second_optimizer, trainable_parameters(second), state)
    step(first, value, 9)
    step(second, second_optimizer, 9)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_ema_follows_the_parameters_and_is_applied_temporarily():
    layer = torch.nn.Linear(1, 1, bias=False)
    parameters = trainable_parameters(layer)
    with torch.no_grad():
        layer.weight.fill_(0.0)
    ema = EMA(parameters, 0.5)
    expected = 0.0
    for step, value in enumerate((1.0, 4.0, -2.0, 3.0), start=1):
        with torch.no_grad():
            layer.weight.fill_(value)
        ema.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    with ema.applied():
        assert layer.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 3.0


def test_weights_and_averages_are_broadcast():
    class OtherProcess(Process):
        def broadcast(self, values):
            return values.fill_(7.0)

    model_objective = objective("model")
    stepper = OptimizerStep(model_objective, small(ema=0.9), OtherProcess(0, 1, torch.device("cpu")), 10)
    stepper.broadcast_weights()
    for values in (model_objective.network.state_dict(), stepper.ema.values):
        assert (values["norm.weight"] == 7).all()


def test_prefetch_keeps_order_and_raises_errors():
    with prefetch(lambda: range(50)) as items:
        assert list(items) == list(range(50))

    def broken():
        yield 1
        raise KeyError("lost")

    with prefetch(broken) as items:
        assert next(items) == 1
        with pytest.raises(KeyError, match="lost"):
            next(items)


def test_prefetch_thread_ends_with_the_block():
    def endless():
        while True:
            yield 0

    with prefetch(endless) as items:
        next(items)
    assert not any(value.name == "kronos-batches" for value in threading.enumerate())


def test_auto_precision_uses_bfloat16_where_it_is_faster(monkeypatch):
    cpu = torch.device("cpu")
    for gains, width, expected in (
        (True, 512, torch.bfloat16),
        (True, 128, torch.float32),
        (False, 512, torch.float32),
    ):
        monkeypatch.setattr(runtime, "supports_bfloat16", lambda device, gains=gains: gains)
        assert runtime.training_dtype("auto", cpu, width) == expected
        assert runtime.training_dtype("float32", cpu, width) == torch.float32
        assert runtime.training_dtype("bfloat16", cpu, width) == torch.bfloat16


def test_blocks_are_compiled_temporarily(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: seen.append(self))
    network = model()
    with runtime.compiled_blocks(network, enabled=True):
        assert seen == list(network.transformer)
    assert all(value._compiled_call_impl is None for value in network.modules())
    with runtime.compiled_blocks(network, enabled=False):
        assert len(seen) == 1


@pytest.mark.parametrize("steps", [2, 7, 40, 333, 2000])
def test_one_cycle_equals_torch(steps):
    settings = TrainingArguments.of("model", {"learning_rate": 0.01})
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1, betas=(0.9, 0.95))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, steps, pct_start=0.03, div_factor=10)
    for step in range(steps):
        progress = step / (steps - 1)
        [group] = optimizer.param_groups
        assert learning_rate_at(settings, progress, steps) == pytest.approx(group["lr"], rel=1e-6, abs=1e-12)
        assert scheduled_first_beta(settings, progress, steps) == pytest.approx(group["betas"][0], rel=1e-6)
        optimizer.step()
        if step < steps - 1:
            scheduler.step()


def test_cosine_rises_then_falls_to_its_final_rate():
    settings = TrainingArguments.of("model", {"schedule": "cosine", "learning_rate": 0.5, "warmup": 0.1, "final": 0.02})
    rates = [learning_rate_at(settings, step / 100, 101) for step in range(101)]
    assert rates[0] == pytest.approx(0.05)
    assert rates[10] == max(rates) == pytest.approx(0.5)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)


@given(
    st.sampled_from(["onecycle", "cosine", "constant"]),
    st.floats(0, 1),
    st.integers(1, 10_000),
    st.floats(0, 0.9),
)
def test_rates_lie_between_zero_and_the_peak(schedule, progress, steps, warmup):
    settings = TrainingArguments.of("tokenizer", {"schedule": schedule, "warmup": warmup})
    assert 0 <= learning_rate_at(settings, progress, steps) <= settings.learning_rate * (1 + 1e-12)
    assert 0 <= scheduled_first_beta(settings, progress, steps) < 1

"""AdamW decays matrices, leaves what is frozen, and remembers by name; averages follow; the background keeps order."""

import threading

import pytest
import torch

from kronos.errors import ParameterError
from kronos.training import runtime
from kronos.training.distributed import Process
from kronos.training.optimization import EMA, OptimizerStep, make_optimizer, moments, restore_moments, set_rate, trained
from kronos.training.runtime import prefetch
from training.runs import model, objective, small


def test_matrices_decay_and_nothing_else_does():
    network = model()
    parameters = trained(network)
    before = {name: one.detach().clone() for name, one in parameters.items()}
    optimizer = make_optimizer(parameters, small(weight_decay=0.5))
    set_rate(optimizer, 0.1, 0.9)
    for one in parameters.values():
        one.grad = torch.zeros_like(one)
    optimizer.step()
    for name, one in parameters.items():
        want = before[name] * 0.95 if one.ndim >= 2 else before[name]
        assert torch.allclose(one, want), name


def test_what_is_frozen_is_not_among_what_is_trained():
    network = model().requires_grad_(False)
    with pytest.raises(ParameterError, match="requires_grad"):
        trained(network)
    network.head.proj_s1.requires_grad_(True)
    assert set(trained(network)) == {"head.proj_s1.weight", "head.proj_s1.bias"}


def test_an_optimizers_memory_survives_by_name():
    first, second = model(), model()
    one, other = (make_optimizer(trained(network), small()) for network in (first, second))

    def step(network, optimizer, seed):
        torch.manual_seed(seed)
        for parameter in network.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()

    for seed in range(3):
        step(first, one, seed)
    kept = {name: value.clone() for name, value in moments(one, trained(first)).items()}
    second.load_state_dict(first.state_dict())
    restore_moments(other, trained(second), kept)
    step(first, one, 9)
    step(second, other, 9)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_averages_follow_and_are_in_place_for_a_while():
    layer = torch.nn.Linear(1, 1, bias=False)
    parameters = trained(layer)
    with torch.no_grad():
        layer.weight.fill_(0.0)
    average = EMA(parameters, 0.5)
    want = 0.0
    for step, value in enumerate((1.0, 4.0, -2.0, 3.0), start=1):
        with torch.no_grad():
            layer.weight.fill_(value)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        want = decay * want + (1 - decay) * value
    with average.in_place():
        assert layer.weight.item() == pytest.approx(want)
    assert layer.weight.item() == 3.0


def test_processes_begin_with_the_same_averages_too():
    class Second(Process):
        def from_first(self, values):
            return values.fill_(7.0)

    made = objective("model")
    stepper = OptimizerStep(made, small(ema=0.9), Second(0, 1, torch.device("cpu")), 10)
    stepper.agree()
    for values in (made.network.state_dict(), stepper.average.values):
        assert (values["norm.weight"] == 7).all()


def test_the_background_keeps_the_order_and_passes_errors_on():
    with prefetch(lambda: range(50)) as items:
        assert list(items) == list(range(50))

    def broken():
        yield 1
        raise KeyError("lost")

    with prefetch(broken) as items:
        assert next(items) == 1
        with pytest.raises(KeyError, match="lost"):
            next(items)


def test_the_background_ends_with_its_block():
    def endless():
        while True:
            yield 0

    with prefetch(endless) as items:
        next(items)
    assert not any(one.name == "kronos-batches" for one in threading.enumerate())


def test_half_precision_is_chosen_where_it_gains(monkeypatch):
    cpu = torch.device("cpu")
    for gains, width, wanted in ((True, 512, torch.bfloat16), (True, 128, torch.float32), (False, 512, torch.float32)):
        monkeypatch.setattr(runtime, "gains_from_bfloat16", lambda device, gains=gains: gains)
        assert runtime.training_dtype("auto", cpu, width) == wanted
        assert runtime.training_dtype("float32", cpu, width) == torch.float32
        assert runtime.training_dtype("bfloat16", cpu, width) == torch.bfloat16


def test_blocks_are_compiled_for_a_while_and_nothing_else(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: seen.append(self))
    network = model()
    with runtime.compiled(network, wanted=True):
        assert seen == list(network.transformer)
    assert all(one._compiled_call_impl is None for one in network.modules())
    with runtime.compiled(network, wanted=False):
        assert len(seen) == 1

"""Packed linear layers compute what the network's layers compute, on every processor and after a copy."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from kronos.inference import packed_linear
from kronos.inference.packed_linear import PackedLinear, can_reorder


@pytest.fixture(autouse=True, params=["large", "small"])
def _reordered(request, monkeypatch):
    """Both layouts: weights that are reordered, and those that are too small for it."""
    monkeypatch.setattr(packed_linear, "_LEAST_SIZE", 0 if request.param == "large" else 2**40)


@pytest.mark.parametrize("shape", [(1, 8), (2, 3, 8), (5, 1, 4, 8), (300, 8), (0, 8)])
@pytest.mark.parametrize("bias", [True, False])
def test_products_are_those_of_the_layer(shape, bias):
    torch.manual_seed(1)
    layer, x = torch.nn.Linear(8, 5, bias=bias), torch.randn(shape)
    packed = PackedLinear(layer.weight, layer.bias, torch.float32)
    torch.testing.assert_close(packed(x), layer(x).detach(), rtol=1e-5, atol=1e-6)
    assert packed.shape == (5, 8)


def test_views_that_are_not_contiguous():
    torch.manual_seed(1)
    weight, x = torch.randn(5, 8), torch.randn(8, 7, 3).transpose(0, 2)
    expected = F.linear(x, weight)
    torch.testing.assert_close(PackedLinear(weight, None, torch.float32)(x), expected, rtol=1e-5, atol=1e-6)


def test_float64_is_exact():
    torch.manual_seed(1)
    weight, bias, x = torch.randn(5, 8).double(), torch.randn(5).double(), torch.randn(4, 8).double()
    assert torch.equal(PackedLinear(weight, bias, torch.float64)(x), F.linear(x, weight, bias))


def test_bfloat16_rounds_once():
    torch.manual_seed(1)
    weight, x = torch.randn(64, 256), torch.randn(9, 256).bfloat16()
    found = PackedLinear(weight, None, torch.bfloat16)(x)
    expected = F.linear(x.double(), weight.bfloat16().double())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), expected, rtol=2**-7, atol=1e-2)


def test_later_changes_of_the_network_are_not_followed():
    layer = torch.nn.Linear(3, 2)
    packed = PackedLinear(layer.weight, layer.bias, torch.float32)
    before = packed(torch.ones(1, 3))
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    assert torch.equal(packed(torch.ones(1, 3)), before)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])  # noqa: S301 (ours)
def test_copies_compute_the_same(duplicate):
    torch.manual_seed(1)
    packed, x = PackedLinear(torch.randn(5, 8), torch.randn(5), torch.float32), torch.randn(4, 8)
    assert torch.equal(duplicate(packed)(x), packed(x))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")
def test_large_weights_are_reordered_where_it_is_faster(monkeypatch):
    monkeypatch.undo()
    assert can_reorder(torch.zeros(512, 512))
    assert not can_reorder(torch.zeros(192, 192))
    assert not can_reorder(torch.zeros(512, 512, dtype=torch.float64))
    assert not can_reorder(torch.zeros(512, 512, device="meta"))


def test_builds_without_onednn_multiply_plainly(monkeypatch):
    torch.manual_seed(1)
    weight, x = torch.randn(5, 8), torch.randn(4, 8)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not can_reorder(weight)
    assert torch.equal(PackedLinear(weight, None, torch.float32)(x), F.linear(x, weight))

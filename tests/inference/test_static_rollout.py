"""Decoding in fixed buffers, eager and replayed from a recording: the tokens of the engine, whatever the padding."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kronos.candles import Candles
from kronos.inference import KronosPredictor, SamplingParams, batching
from kronos.inference.cuda_graphs import GraphCache, cuda_graph_cache
from kronos.inference.engine import PackedModel, Prompt, Rollout, Tokens
from kronos.inference.sampling import CounterBasedSampler
from kronos.inference.static_rollout import (
    SERIES_SIZES,
    BatchInputs,
    Bucket,
    StaticRollout,
    decode_static,
    largest_full_batch,
)
from kronos.nn import Kronos
from kronos.rng import keyed_uniforms
from networks import random_model, random_tokenizer

# Values that are read from the device, and numbers that are copied to it.
_REFUSED = {
    *("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::is_nonzero", "aten::equal"),
    *("aten::scalar_tensor", "aten::lift_fresh"),
}
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")),
    pytest.param("mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs Apple's GPU")),
]


class RecordedGraph(TorchDispatchMode):
    """What a CUDA graph is, on the CPU: the operations of a call with their addresses, for replay in that order.

    As in a capture, reading a value of a tensor is an error, and so is copying a number to the device; and a constant
    that depends on the inputs of the recorded call would be wrong at every other replay.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__()
        self._operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        with self:
            call()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name in _REFUSED:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        result = func(*args, **(kwargs or {}))
        self._operations.append((func, args, kwargs or {}, result))
        return result

    @torch.inference_mode()
    def replay(self) -> None:
        for func, args, kwargs, expected in self._operations:
            actual = func(*args, **kwargs)
            for new, fixed in zip(_tensors(actual), _tensors(expected), strict=True):
                if new.untyped_storage().data_ptr() != fixed.untyped_storage().data_ptr():
                    fixed.copy_(new)


def _tensors(result: Any) -> Iterator[Tensor]:
    for one in result if isinstance(result, tuple | list) else (result,):
        if isinstance(one, Tensor):
            yield one


def wide_model(seed: int) -> Kronos:
    """Heads of width 52, as those of kronos-base and kronos-large."""
    torch.manual_seed(seed)
    model = Kronos(5, 5, 2, 104, 2, 96, 0.0, 0.0, 0.0, 0.0, True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


def packed_of(seed: int, dtype: torch.dtype = torch.float64, *, wide: bool = False, device: str = "cpu") -> PackedModel:
    """Random networks, with recorded graphs on the CPU and captured ones on a GPU with CUDA."""
    model = wide_model(seed) if wide else random_model(seed, layers=2, heads=2)
    model, tokenizer = model.to(device), random_tokenizer(seed).to(device)
    if dtype == torch.float64:
        model, tokenizer = model.double(), tokenizer.double()
    packed = PackedModel.pack(model, tokenizer, dtype)
    graphs = cuda_graph_cache(packed.model.device) if device == "cuda" else GraphCache(RecordedGraph)
    return PackedModel(packed.model, packed.tokenizer, graphs)


def inputs_of(seed: int, lengths: list[int], horizon: int, samples: int, names: str = "series") -> BatchInputs:
    random = np.random.default_rng(seed)
    b, rows = len(lengths), max(lengths)
    x = np.zeros((b, rows, 6))
    for own, length in zip(x, lengths, strict=True):
        own[:length] = random.normal(size=(length, 6))
    stamps = np.stack([random.integers(0, n, (b, rows + horizon)) for n in (60, 24, 7, 32, 13)], axis=-1)
    uniforms = np.stack([keyed_uniforms(seed, f"{names} {n}", range(samples), horizon) for n in range(b)])
    parts = x, np.array(lengths), stamps[:, :rows], stamps[:, rows:], uniforms
    return BatchInputs(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))


@torch.inference_mode()
def engine(packed: PackedModel, inputs: BatchInputs, params: SamplingParams) -> tuple[Tokens, Tensor]:
    """Tokens and values of the engine without buckets, series by series, each without padding."""
    s1, s2, values = [], [], []
    device, samples = packed.model.device, inputs.uniforms.shape[1]
    for n, length in enumerate(inputs.lengths.tolist()):
        one, horizon = slice(n, n + 1), inputs.future_stamps.shape[1]
        history = packed.tokenizer.encode(inputs.x[one, :length].to(device))
        lengths = inputs.lengths[one].to(device)
        prompt = Prompt(history, lengths, inputs.stamps[one, :length].to(device), inputs.future_stamps[one].to(device))
        sampler = CounterBasedSampler(params, inputs.uniforms[one].to(packed.model.wide_dtype).to(device))
        own = Rollout(packed.model, prompt, samples, length + horizon).generate(sampler)
        s1.append(own.s1)
        s2.append(own.s2)
        values.append(packed.tokenizer.decode(history, lengths, own)[1])
    return Tokens(torch.cat(s1), torch.cat(s2)), torch.cat(values)


def assert_equal(rollout: StaticRollout, expected: tuple[Tokens, Tensor]) -> None:
    tokens, values = expected
    b = len(values)
    assert torch.equal(rollout.tokens.s1[:b], tokens.s1)
    assert torch.equal(rollout.tokens.s2[:b], tokens.s2)
    torch.testing.assert_close(rollout.values[:b], values, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@settings(max_examples=20)
@given(seed=st.integers(0, 999), lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
       other=st.lists(st.integers(1, 40), min_size=1, max_size=6), horizon=st.integers(1, 8),
       samples=st.integers(1, 4), temperature=st.sampled_from([0.7, 1.0]), top_k=st.sampled_from([0, 5]),
       top_p=st.sampled_from([0.8, 1.0]), wide=st.booleans())  # fmt: skip
def test_tokens_equal_the_engines(
    seed: int, lengths: list[int], other: list[int], horizon: int, samples: int, temperature: float, top_k: int,
    top_p: float, wide: bool,
) -> None:  # fmt: skip
    """One batch eager, then others replayed from its recording: ragged, padded in rows and series."""
    packed = packed_of(seed % 7, wide=wide)
    params = SamplingParams(temperature, top_k, top_p)
    rollout = StaticRollout(packed, Bucket(6, samples, 64, horizon), params)
    first, second = inputs_of(seed, lengths, horizon, samples), inputs_of(seed + 1, other, horizon, samples, "other")
    expected = engine(packed, first, params)
    rollout.load(first)
    rollout.run()
    assert_equal(rollout, expected)
    graph = RecordedGraph(rollout.run)
    for again, known in ((second, engine(packed, second, params)), (first, expected)):
        rollout.load(again)
        graph.replay()
        assert_equal(rollout, known)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_captured_batches_equal_eager_ones(dtype: torch.dtype, device: str) -> None:
    """Bit for bit, because the same operations run; heads of width 52."""
    if device == "mps":
        pytest.skip("Apple's GPU has no graphs")
    packed, params = packed_of(3, dtype, wide=True, device=device), SamplingParams(top_p=0.9)
    graphs = packed.graphs
    assert graphs is not None
    one, two = (inputs_of(seed, [40, 33, 50], 6, 5) for seed in (1, 2))
    eager = [decode_static(packed, one, params)]
    assert graphs.captured == 0
    replayed = [decode_static(packed, inputs, params) for inputs in (one, two, one)]
    assert graphs.captured == 1
    for values, expected in zip((replayed[0], replayed[2]), (eager[0], eager[0]), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(values, expected, strict=True))
    assert not torch.equal(replayed[0][1], replayed[1][1])


@pytest.mark.parametrize("device", DEVICES)
def test_paths_on_every_device_are_those_of_the_cpu(device: str) -> None:
    """Random numbers are keyed and the same everywhere; in float32, sums differ in their last digits."""
    model, tokenizer = random_model(5), random_tokenizer(5)
    series = {f"S{n}": candles(n, 30 + n) for n in range(5)}
    on_cpu, there = (
        KronosPredictor(model, tokenizer, one, max_context=64).forecast_many(series, 6, samples=20, seed=1)
        for one in ("cpu", device)
    )
    pairs = [(there[name].paths[..., :4], on_cpu[name].paths[..., :4]) for name in series]
    differences = [np.abs(actual / expected - 1).max(axis=(1, 2)) for actual, expected in pairs]
    assert (np.concatenate(differences) < 1e-3).mean() >= 0.99


def candles(seed: int, rows: int) -> Candles:
    from benchmarks.inputs import random_candles

    return random_candles(rows, f"S{seed}", seed)


@pytest.mark.slow
@settings(max_examples=8)
@given(lengths=st.lists(st.integers(20, 50), min_size=1, max_size=7), samples=st.integers(1, 9),
       rows=st.sampled_from([4, 16, 256]), seed=st.integers(0, 99))  # fmt: skip
def test_forecasts_do_not_depend_on_graphs(lengths: list[int], samples: int, rows: int, seed: int) -> None:
    """Several batches of a call, of few buckets, with and without."""
    plain, with_graphs = (KronosPredictor(random_model(2), random_tokenizer(2), "cpu", max_context=64) for _ in "ab")
    state, packed = with_graphs._packed or ((), with_graphs.packed_model())
    with_graphs._packed = state, PackedModel(packed.model, packed.tokenizer, GraphCache(RecordedGraph))
    series = {f"S{n}": candles(n, rows) for n, rows in enumerate(lengths)}
    seen: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "MAX_ROWS", rows)
        expected = plain.forecast_many(series, 5, samples=samples, seed=seed)
        actual = with_graphs.forecast_many(
            series, 5, samples=samples, seed=seed, progress=lambda done, total: seen.append((done, total))
        )
    assert seen[-1] == (len(series) * samples * 5,) * 2
    for name in series:
        scale = np.abs(expected[name].paths).max(axis=(0, 1))
        assert (np.abs(actual[name].paths - expected[name].paths) <= 1e-5 * scale).all()


@given(series=st.integers(1, 5000), samples=st.integers(1, 100), rows=st.integers(1, 2000), horizon=st.integers(1, 99))
def test_buckets_hold_their_batches(series: int, samples: int, rows: int, horizon: int) -> None:
    bucket = Bucket.fit(series, samples, rows, horizon)
    assert (bucket.samples, bucket.horizon) == (samples, horizon)
    assert series <= bucket.series <= max(1.5 * series, series + 1)
    assert rows <= bucket.rows < rows + 64
    assert Bucket.fit(bucket.series, samples, bucket.rows, horizon) == bucket
    assert largest_full_batch(series) <= series
    assert largest_full_batch(bucket.series) == bucket.series
    assert sorted(set(SERIES_SIZES)) == SERIES_SIZES


class Counting:
    """A program and a capture that count."""

    def __init__(self) -> None:
        self.runs = self.captures = self.replays = 0

    def run(self) -> None:
        self.runs += 1

    def replay(self) -> None:
        self.replays += 1

    def capture(self, call: Callable[[], None]) -> Counting:
        self.captures += 1
        return self


def test_graphs_are_captured_at_the_second_run_and_the_oldest_dropped() -> None:
    counting = Counting()
    cache = GraphCache(counting.capture, capacity=2)
    for expected in ((1, 0, 0), (1, 1, 1), (1, 1, 2)):
        assert cache.program("a", lambda: counting) is counting
        cache.run("a")
        assert (counting.runs, counting.captures, counting.replays) == expected
    for key in ("b", "a", "c"):
        cache.program(key, lambda: counting)
    assert len(cache) == 2
    assert "a" in cache
    assert "b" not in cache
    cache.clear()
    assert len(cache) == cache.captured == 0


@pytest.mark.parametrize("words", ["CUDA out of memory. Tried to allocate", "operation not permitted"])
def test_what_cannot_be_captured_is_decoded_without(words: str, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(call: Callable[[], None]) -> Counting:
        raise RuntimeError(f"{words}\nmore")

    counting = Counting()
    cache = GraphCache(refuse)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            cache.program("a", lambda: counting)
            cache.run("a")
    assert (counting.runs, cache.captured) == (4, 0)
    [record] = caplog.records
    assert ("too little memory is free" if "memory" in words else words) in record.message


def test_a_captured_call_reads_nothing_from_the_device() -> None:
    """The recording refuses what a capture refuses: top-p that looks for the nucleus in steps."""
    values = torch.randn(2, 3, 300)
    sampler = CounterBasedSampler(SamplingParams(top_p=0.9), torch.rand(2, 3, 1, 2))
    with pytest.raises(RuntimeError, match="not permitted"):
        RecordedGraph(lambda: sampler(0, 0, values) and None)
    static = CounterBasedSampler(sampler.params, sampler.uniforms, static=True)
    assert torch.equal(static(0, 0, values), sampler(0, 0, values))


@pytest.mark.parametrize("graphs", [True, False])
def test_batches_follow_the_free_memory(graphs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: more memory, larger batches, up to a limit; full batches need no padding."""
    packed = packed_of(1, torch.float32)
    packed = packed if graphs else PackedModel(packed.model, packed.tokenizer)
    largest = []
    for free in (2**31, 2**32, 2**35, 2**38):
        monkeypatch.setattr(batching, "free_memory", lambda _, free=free: free)
        limits = batching.BatchLimits.of(packed)
        batches = batching.plan_batches([400] * 999, 30, 24, limits)
        largest.append(max(len(batch.series) for batch in batches))
        for batch in batches:
            needed = len(batch.series) * (
                400 * limits.history_bytes + 30 * (24 * limits.step_bytes + limits.path_bytes)
            )
            assert needed <= limits.memory
            assert batch.rows <= batching.CUDA_ROWS
    assert largest == sorted(largest)
    assert largest[0] < largest[-1] == (largest_full_batch(273) if graphs else 273)


def test_out_of_memory_drops_the_graphs_and_halves_the_batch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    packed = packed_of(4, torch.float32)
    predictor = KronosPredictor(random_model(4), random_tokenizer(4), "cpu", max_context=64)
    state = (predictor._packed or ((), packed))[0]
    predictor._packed = state, packed
    series = {f"S{n}": candles(n, 40) for n in range(4)}
    whole = predictor.forecast_many(series, 4, samples=6, seed=2)
    decode, graphs = decode_static, packed.graphs
    assert graphs is not None
    assert len(graphs) == 1

    def decode_little(packed: PackedModel, inputs: BatchInputs, params: SamplingParams) -> tuple[Tensor, Tensor]:
        if len(inputs.x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return decode(packed, inputs, params)

    monkeypatch.setattr(batching, "decode_static", decode_little)
    halves = predictor.forecast_many(series, 4, samples=6, seed=2)
    assert "Out of memory with 24 rows; halving the batch." in caplog.text
    for name in series:
        np.testing.assert_allclose(halves[name].paths, whole[name].paths, rtol=1e-4, atol=1e-6)


def test_a_captured_call_copies_no_number_to_the_device() -> None:
    values, signs = torch.randn(3), torch.empty(3)
    with pytest.raises(RuntimeError, match="not permitted"):
        RecordedGraph(lambda: signs.copy_(torch.where(values > 0, 1.0, -1.0)) and None)


def test_longer_rotations_leave_those_of_a_captured_graph() -> None:
    packed, params = packed_of(1), SamplingParams()
    one = inputs_of(1, [30], 4, 2)
    expected = decode_static(packed, one, params)
    decode_static(packed, one, params)  # captures
    packed.model.stack.rotations(5000).zero_()
    assert all(torch.equal(a, b) for a, b in zip(decode_static(packed, one, params), expected, strict=True))

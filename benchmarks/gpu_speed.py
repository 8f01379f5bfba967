"""Decoding speed on a device: records of the stages "machine" and "speed".

A forecast is 30 paths of 24 candles from 360, from normalised candles on the CPU to normalised paths on the CPU. It is
decoded eagerly, and with graphs where the device has them; elsewhere in the buckets that a graph would be captured of.
Weights are random, and samples are drawn without filters, as by default.

- Operations are those of `benchmarks.work.engine_flops`: of matrix products alone.
- Bytes are the weights once a step, and the keys and values that a step's attention reads: a lower bound of what moves.
- The plain decoder computes in the same type, through autocast in bfloat16, is timed on its first steps and scaled.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.plain import TOGETHER, plain_rollout
from benchmarks.plans import Architecture, Case, published, shrunken
from benchmarks.work import BYTES, engine_flops, step_bytes
from kronos.inference import SamplingParams
from kronos.inference.devices import is_out_of_memory
from kronos.inference.engine import PackedModel, Prompt, Rollout, Tokens
from kronos.inference.sampling import CounterBasedSampler
from kronos.inference.static_rollout import BatchInputs, StaticRollout, decode_static
from kronos.nn import Kronos, KronosTokenizer
from kronos.rng import keyed_uniforms

MODELS = ("kronos-mini", "kronos-small", "kronos-base", "kronos-large")
_TOGETHER = 1024  # rows that the plain decoder computes at once on a GPU


@dataclass(frozen=True, slots=True)
class SpeedPlan:
    """What is timed.

    Attributes:
        case: Candles and paths of a forecast.
        batches: Series of a batch.
        seconds: Time to spend on a measurement, at least; there are always two repetitions.
        plain_batch: Series of the plain decoder's batch.
        cpu_batch: Series of the batch that the CPU decodes for comparison.
        matrix: Side of the square matrices that the matrix rate is measured with.
        copy_bytes: Bytes copied to measure the bandwidth.
    """

    case: Case
    batches: tuple[int, ...]
    seconds: float
    plain_batch: int
    cpu_batch: int
    matrix: int
    copy_bytes: int

    @classmethod
    def of(cls, quick: bool) -> SpeedPlan:
        """The full plan or the smoke run's."""
        if quick:
            return cls(Case(20, 4, 3, plain_steps=2), (1, 3), 0.0, 1, 1, 64, 2**20)
        return cls(Case(360, 24, 30, plain_steps=2), (1, 4, 16, 64, 256), 0.7, 8, 1, 8192, 2**32)


def measure_rates(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """Rates that the device reaches in a large copy and in large matrix products, each the median of several tries."""
    plan, tries = SpeedPlan.of(quick), 3 if quick else 10
    source = torch.ones(plan.copy_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = statistics.median(repeat_call(partial(target.copy_, source), device, 0.0, tries))
    yield {"rate": "copy, bytes read and written", "per_second": 2 * source.nbytes / seconds, "unit": "B/s"}
    del source, target
    n = plan.matrix
    for dtype in (torch.bfloat16, torch.float32):
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        seconds = statistics.median(repeat_call(partial(torch.matmul, a, b), device, 0.0, tries))
        name = str(dtype).removeprefix("torch.")
        yield {"rate": f"matrix product, {name}", "per_second": 2 * n**3 / seconds, "unit": "FLOP/s"}


def measure_speed(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """Forecasts per second of every model by batch, of the plain decoder, and of the CPU."""
    plan = SpeedPlan.of(quick)
    rates = {record["rate"]: record["per_second"] for record in measure_rates(device, quick)}
    matrix, copy = rates["matrix product, bfloat16"], rates["copy, bytes read and written"]
    for name in MODELS:
        architecture = shrunken(name) if quick and name != "kronos-large" else _architecture(name, quick)
        model, tokenizer = _networks(architecture, device)
        types = (torch.bfloat16, torch.float32) if name == "kronos-small" else (torch.bfloat16,)
        for dtype in types:
            for record in _by_batch(model, tokenizer, dtype, plan):
                work = batch_work(architecture, plan.case, record["batch"], dtype)
                second = record["batch"] / record["forecasts_per_second"]
                shares = {"matrix_share": work.flops / second / matrix, "bandwidth_share": work.bytes / second / copy}
                yield {"model": name, **record, **shares}
        yield {"model": name, **_plain(model, tokenizer, plan)}
        if name == "kronos-small" and device.type != "cpu":
            yield {"model": name, **_on_cpu(model, tokenizer, plan)}
        del model, tokenizer
        _free(device)


def _architecture(name: str, quick: bool) -> Architecture:
    """A published architecture; shrunken, one with heads of width 52."""
    whole = published(name)
    if not quick:
        return whole
    small = shrunken(name)
    return Architecture(name, {**small.model, "d_model": 104}, small.tokenizer, small.context)


def _networks(architecture: Architecture, device: torch.device) -> tuple[Kronos, KronosTokenizer]:
    """Random weights, drawn on the device: those of large take long on a CPU."""
    torch.manual_seed(1)
    with device:
        return Kronos(**architecture.model).eval(), KronosTokenizer(**architecture.tokenizer).eval()


def _inputs(series: int, case: Case) -> BatchInputs:
    random = np.random.default_rng(1)
    rows, horizon = case.history, case.horizon
    stamps = np.stack([random.integers(0, n, (series, rows + horizon)) for n in (60, 24, 7, 32, 13)], axis=-1)
    uniforms = np.stack([keyed_uniforms(1, f"S{n}", range(case.samples), horizon) for n in range(series)])
    x = random.normal(size=(series, rows, 6)).clip(-5, 5).astype(np.float32)
    parts = x, np.full(series, rows), stamps[:, :rows].copy(), stamps[:, rows:].copy(), uniforms
    return BatchInputs(*(torch.from_numpy(part) for part in parts))


def _by_batch(
    model: Kronos, tokenizer: KronosTokenizer, dtype: torch.dtype, plan: SpeedPlan
) -> Iterator[dict[str, Any]]:
    packed = PackedModel.pack(model, tokenizer, dtype, cuda_graphs=True)
    device, params = packed.model.device, SamplingParams()
    for batch in plan.batches:
        inputs = _inputs(batch, plan.case)
        calls: dict[str, Callable[[], object]] = {"eager": partial(_decode, packed, inputs, params)}
        if packed.graphs is None:
            calls["buckets"] = partial(_decode_in_bucket, packed, inputs, params)
        else:
            packed.graphs.clear()
            calls["graphs"] = partial(decode_static, packed, inputs, params)
        for mode, call in calls.items():
            try:
                for _ in range(2):  # kernels are loaded, and the graph is captured
                    call()
                seconds = repeat_call(call, device, plan.seconds, 2)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                _free(device)
                return
            yield {
                "mode": mode,
                "dtype": str(dtype).removeprefix("torch."),
                "batch": batch,
                "forecasts_per_second": batch / statistics.median(seconds),
                "captured": mode == "graphs" and packed.graphs is not None and packed.graphs.captured > 0,
            }


@torch.inference_mode()
def _decode(packed: PackedModel, inputs: BatchInputs, params: SamplingParams) -> Tensor:
    """Paths ``[B, S, H, 6]`` on the CPU, without buckets."""
    device = packed.model.device
    lengths, stamps, future = (part.to(device) for part in (inputs.lengths, inputs.stamps, inputs.future_stamps))
    history = packed.tokenizer.encode(inputs.x.to(device))
    prompt = Prompt(history, lengths, stamps, future)
    uniforms = inputs.uniforms.to(packed.model.wide_dtype).to(device)
    samples, horizon = uniforms.shape[1:3]
    rollout = Rollout(packed.model, prompt, samples, inputs.x.shape[1] + horizon)
    own = rollout.generate(CounterBasedSampler(params, uniforms))
    return packed.tokenizer.decode(history, lengths, own)[1].cpu()


def _decode_in_bucket(packed: PackedModel, inputs: BatchInputs, params: SamplingParams) -> Tensor:
    """Paths of what a graph would be captured of."""
    rollout = StaticRollout(packed, inputs.bucket(), params)
    rollout.load(inputs)
    rollout.run()
    return rollout.values[: len(inputs.x)].cpu()


@torch.inference_mode()
def _plain(model: Kronos, tokenizer: KronosTokenizer, plan: SpeedPlan) -> dict[str, Any]:
    """The plain decoder without its tokenizer, which would only make it slower."""
    device, case, batch = next(model.parameters()).device, plan.case, plan.plain_batch
    inputs = _inputs(batch, case)
    history = tokenizer.encode(inputs.x.to(device), half=True)
    lengths, stamps, future = (part.to(device) for part in (inputs.lengths, inputs.stamps, inputs.future_stamps))
    prompt = Prompt(Tokens(*history), lengths, stamps, future)
    sampler = CounterBasedSampler(SamplingParams(), inputs.uniforms.float().to(device))
    together = TOGETHER if device.type == "cpu" else _TOGETHER

    def rollout() -> None:
        with _autocast(device):
            plain_rollout(
                model, prompt, case.samples, case.history + case.horizon,
                lambda step, head, logits: sampler(step, head, logits.float()), case.plain_steps, together=together,
            )  # fmt: skip

    rollout()
    seconds = statistics.median(repeat_call(rollout, device, plan.seconds, 1)) * case.horizon / case.plain_steps
    dtype = "float32" if device.type == "cpu" else "bfloat16"
    return {"mode": "plain", "dtype": dtype, "batch": batch, "forecasts_per_second": batch / seconds}


def _autocast(device: torch.device) -> AbstractContextManager[Any]:
    return nullcontext() if device.type == "cpu" else torch.autocast(device.type, torch.bfloat16)


def _on_cpu(model: Kronos, tokenizer: KronosTokenizer, plan: SpeedPlan) -> dict[str, Any]:
    """The engine on this machine's CPU, in float32; the networks are moved."""
    packed = PackedModel.pack(model.cpu(), tokenizer.cpu(), torch.float32)
    inputs, cpu = _inputs(plan.cpu_batch, plan.case), torch.device("cpu")
    _decode(packed, inputs, SamplingParams())
    seconds = repeat_call(partial(_decode, packed, inputs, SamplingParams()), cpu, plan.seconds, 2)
    speed = plan.cpu_batch / statistics.median(seconds)
    return {"mode": "cpu", "dtype": "float32", "batch": plan.cpu_batch, "forecasts_per_second": speed}


@dataclass(frozen=True, slots=True)
class Work:
    """What a batch takes: operations of matrix products, and bytes of weights, keys and values."""

    flops: int
    bytes: int


def batch_work(architecture: Architecture, case: Case, batch: int, dtype: torch.dtype) -> Work:
    """The work of a batch of forecasts."""
    model, size = architecture.model, dtype.itemsize
    flops = batch * engine_flops(model, architecture.tokenizer, case, case.history + case.horizon)
    row = 2 * (model["n_layers"] + 1) * model["d_model"] * size  # keys and values of a candle
    rows = sum(case.history + case.samples * step for step in range(case.horizon))
    weights = case.horizon * step_bytes(model) * size // BYTES
    return Work(flops, weights + batch * row * rows)


def repeat_call(call: Callable[[], object], device: torch.device, seconds: float, least: int) -> Sequence[float]:
    """Seconds of each repetition, until they took so long together."""
    taken: list[float] = []
    while len(taken) < least or sum(taken) < seconds:
        _synchronize(device)
        started = perf_counter()
        call()
        _synchronize(device)
        taken.append(perf_counter() - started)
    return taken


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()

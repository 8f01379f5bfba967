"""Whether a device computes what the CPU and the plain decoder compute: records of the stage "correctness".

- golden numbers: tokens are equal, arrays are within 1e-4 of their scale, and so are the greedy forecasts;
- the engine against the plain decoder on the device, with forced tokens, so that every logit can be compared:
  within 1e-4 of the largest logit in float32, and in bfloat16 a Kullback–Leibler divergence of at most 0.02 nats from
  the plain float32 decoder;
- keyed paths: the share of paths with equal tokens on the CPU and on the device, and with and without graphs.

Heads are 64 wide, as in mini and small, and 52 wide, as in base and large.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.plain import plain_rollout
from kronos.inference import KronosPredictor, SamplingParams
from kronos.inference.engine import ModelDecoder, PackedModel, Prompt, Rollout, Tokens
from kronos.inference.sampling import CounterBasedSampler
from kronos.inference.static_rollout import BatchInputs, decode_static
from kronos.nn import Kronos, KronosTokenizer
from kronos.rng import keyed_uniforms

_GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
_GOLDEN_TOLERANCE = 1e-4  # of an array's largest value
_LOGIT_TOLERANCE = 1e-4  # of the largest logit, float32
_MOST_NATS = 0.02  # bfloat16
_LEAST_EQUAL = 0.99  # of the keyed paths in float32; sums in another order decide a few tokens otherwise
_BITS = 8
_HEAD_WIDTHS = (64, 52)


def check_all(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """All checks; a record has what was measured, the bound, and whether it is met."""
    for name in ("tiny", "tiny_fixed_time"):
        yield from _golden(name, device)
    for width in _HEAD_WIDTHS:
        for s2_attention in ("published", "causal"):
            yield from _logits(width, s2_attention, device, quick)
        yield from _keyed_paths(width, device, quick)


def _record(check: str, measured: float, bound: str, met: bool) -> dict[str, Any]:
    return {"check": check, "measured": measured, "bound": bound, "met": met}


@torch.inference_mode()
def _golden(name: str, device: torch.device) -> Iterator[dict[str, Any]]:
    folder = _GOLDEN / name
    described = json.loads((folder / "cases.json").read_text("utf-8"))
    with np.load(folder / "expected.npz") as file:
        expected = dict(file)
    model, tokenizer = Kronos.from_pretrained(folder).to(device), KronosTokenizer.from_pretrained(folder).to(device)
    x, stamp = (torch.from_numpy(expected[key]).to(device) for key in ("x", "stamp"))
    s1, s2 = tokenizer.encode(x.float(), half=True)
    equal = float(
        np.mean([np.mean(ids.cpu().numpy() == expected[f"{key}_ids"]) for ids, key in ((s1, "s1"), (s2, "s2"))])
    )
    yield _record(f"golden {name}: tokens, share equal", equal, "1", equal == 1)
    decoded = tokenizer.decode([s1, s2], half=True)
    logits, context = model.decode_s1(s1, s2, stamp.long())
    for key, actual in (("decode_half", decoded), ("s1_logits", logits), ("context", context)):
        error = _relative(actual.cpu().numpy(), expected[key])
        yield _record(f"golden {name}: {key}, error", error, f"{_GOLDEN_TOLERANCE:g}", error <= _GOLDEN_TOLERANCE)
    with resources.files("kronos.samples").joinpath("simulated_btc_1h.csv").open("rb") as sample:
        candles = pd.read_csv(sample, parse_dates=["timestamps"])
    predictor = KronosPredictor(model, tokenizer, device, described["max_context"])
    for case_name, case in described["predict"].items():
        if case["top_k"] == 1 and "starts" not in case:  # other draws are of the CPU's generator
            actual, wanted = _greedy(predictor, case, candles), expected[f"predict/{case_name}"]
            error = max(map(_relative, actual.T, wanted.T))  # each column has a scale of its own
            check = f"golden {name}: {case_name}, error"
            yield _record(check, error, f"{_GOLDEN_TOLERANCE:g}", error <= _GOLDEN_TOLERANCE)


def _greedy(predictor: KronosPredictor, case: dict[str, Any], candles: pd.DataFrame) -> Any:
    start, stop = case["start"], case["start"] + case["ctx"]
    columns = case.get("cols", ["open", "high", "low", "close", "volume", "amount"])
    past, future = candles["timestamps"][start:stop], candles["timestamps"][stop : stop + case["L"]]
    frame = predictor.predict(
        candles[columns][start:stop].reset_index(drop=True), past.reset_index(drop=True),
        future.reset_index(drop=True), case["L"], T=case["T"], top_k=1, top_p=case["top_p"],
        sample_count=case["sample_count"], verbose=False,
    )  # fmt: skip
    return frame.to_numpy()


def _relative(actual: Any, expected: Any) -> float:
    """Largest error as a share of the largest value."""
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def _networks(width: int, s2_attention: str) -> tuple[Kronos, KronosTokenizer]:
    """Two heads of a width; weights so large that tokens depend on the history."""
    torch.manual_seed(width)
    model = Kronos(_BITS, _BITS, 3, 2 * width, 2, 4 * width, 0.0, 0.0, 0.0, 0.0, True, s2_attention)  # type: ignore[arg-type]
    tokenizer = KronosTokenizer(6, 64, 2, 96, 3, 3, 0.0, 0.0, 0.0, _BITS, _BITS, 0.05, 1.0, 1.1, 0.05, 4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval(), tokenizer.eval()


class _Forced:
    """Picks given tokens and keeps the logits."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.seen: list[Tensor] = []

    def __call__(self, step: int, head: int, logits: Tensor) -> Tensor:
        """Pick the token of a step."""
        tokens = (self.tokens.s1, self.tokens.s2)[head][:, :, step]
        self.seen.append(logits.float().expand(*tokens.shape, -1).clone())
        return tokens


@torch.inference_mode()
def _logits(width: int, s2_attention: str, device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """The engine's against the plain decoder's, in windows that fit and in windows that slide."""
    model = _networks(width, s2_attention)[0].to(device)
    samples, past, horizon = (2, 12, 4) if quick else (30, 100, 24)
    for context in (past + horizon, past + horizon // 2):
        inputs = _inputs(2, past, samples, horizon)
        random = torch.Generator().manual_seed(1)
        history, forced = (
            Tokens(*(torch.randint(2**_BITS, shape, generator=random).to(device) for _ in range(2)))
            for shape in ((2, past), (2, samples, horizon))
        )
        lengths, stamps, future = (part.to(device) for part in (inputs.lengths, inputs.stamps, inputs.future_stamps))
        prompt = Prompt(history, lengths, stamps, future)
        plain, fast = _Forced(forced), {dtype: _Forced(forced) for dtype in (torch.float32, torch.bfloat16)}
        plain_rollout(model, prompt, samples, context, plain)
        for dtype, forcing in fast.items():
            Rollout(ModelDecoder(model, dtype), prompt, samples, context).generate(forcing)
        expected = torch.cat([part.reshape(-1, 2**_BITS) for part in plain.seen])
        exact, rounded = (torch.cat([p.reshape(-1, 2**_BITS) for p in fast[dtype].seen]) for dtype in fast)
        window = "fits" if context == past + horizon else "slides"
        what = f"engine against plain, heads of {width}, {s2_attention} s2 attention, window {window}"
        error = float((exact - expected).abs().max() / expected.abs().max())
        yield _record(f"{what}: float32, error", error, f"{_LOGIT_TOLERANCE:g}", error <= _LOGIT_TOLERANCE)
        nats = float((expected.softmax(-1) * (expected.log_softmax(-1) - rounded.log_softmax(-1))).sum(-1).max())
        yield _record(f"{what}: bfloat16, nats", nats, f"{_MOST_NATS:g}", nats <= _MOST_NATS)


def _inputs(series: int, past: int, samples: int, horizon: int) -> BatchInputs:
    random = np.random.default_rng(3)
    stamps = np.stack([random.integers(0, n, (series, past + horizon)) for n in (60, 24, 7, 32, 13)], axis=-1)
    uniforms = np.stack([keyed_uniforms(1, f"S{n}", range(samples), horizon) for n in range(series)])
    x = random.normal(size=(series, past, 6)).clip(-5, 5)
    parts = x, np.full(series, past), stamps[:, :past].copy(), stamps[:, past:].copy(), uniforms
    return BatchInputs(*(torch.from_numpy(part) for part in parts))


@torch.inference_mode()
def _keyed_paths(width: int, device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """Paths of the same random numbers on the CPU and on the device, then eager, padded and captured."""
    model, tokenizer = _networks(width, "published")
    inputs, params = _inputs(3, *((12, 4, 3) if quick else (200, 50, 24))), SamplingParams(top_p=0.95)
    on_cpu = _paths(PackedModel.pack(model, tokenizer, torch.float32), inputs, params)
    model, tokenizer = model.to(device), tokenizer.to(device)
    for dtype in (torch.float32, torch.bfloat16):
        packed = PackedModel.pack(model, tokenizer, dtype, cuda_graphs=True)
        eager = _paths(packed, inputs, params)
        name = str(dtype).removeprefix("torch.")
        equal = _share_equal(eager, on_cpu)
        least = _LEAST_EQUAL if dtype == torch.float32 else 0.0
        check = f"keyed paths, heads of {width}, {name}: share equal to the CPU's in float32"
        yield _record(check, equal, f"{least:g}" if least else "none", equal >= least)
        if packed.graphs is None:
            continue
        runs = [decode_static(packed, inputs, params)[1] for _ in range(3)]
        share = _share_equal(runs[2].to(device), eager)
        check = f"keyed paths, heads of {width}, {name}: share equal with and without graphs"
        yield _record(check, share, f"{least:g}" if least else "none", share >= least)
        same = float(torch.equal(runs[0], runs[1]) and torch.equal(runs[1], runs[2]))
        yield _record(f"graphs, heads of {width}, {name}: replays equal the eager run", same, "1", same == 1)


def _paths(packed: PackedModel, inputs: BatchInputs, params: SamplingParams) -> Tensor:
    """Normalised candles ``[B, S, H, 6]`` of the engine without graphs."""
    device = packed.model.device
    uniforms = inputs.uniforms.to(packed.model.wide_dtype).to(device)
    lengths, stamps, future = (part.to(device) for part in (inputs.lengths, inputs.stamps, inputs.future_stamps))
    history = packed.tokenizer.encode(inputs.x.to(device))
    prompt = Prompt(history, lengths, stamps, future)
    samples, horizon = uniforms.shape[1:3]
    rollout = Rollout(packed.model, prompt, samples, inputs.x.shape[1] + horizon)
    own = rollout.generate(CounterBasedSampler(params, uniforms))
    return packed.tokenizer.decode(history, lengths, own)[1]


def _share_equal(actual: Tensor, expected: Tensor) -> float:
    """Share of paths whose tokens are equal: their candles are then equal up to rounding."""
    difference = (actual.cpu().double() - expected.cpu().double()).abs().amax(dim=(2, 3))
    return float((difference <= 1e-3 * expected.abs().max().cpu()).double().mean())

"""Drawing tokens from logits: one uniform number inverted, against torch's multinomial; with and without top-p."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.inputs import SEED
from benchmarks.plans import Plan
from benchmarks.timing import Times, timed
from kronos.inference import SamplingParams, sample_from_logits
from kronos.inference.sampling import CounterBasedSampler, TorchSampler
from kronos.rng import keyed_uniforms

VOCABULARY = 1024
ROWS = (30, 100)
TOP_P = 0.9
_CALLS = 20  # timed together: one takes microseconds


@dataclass(frozen=True, slots=True)
class DrawingResult:
    """Seconds for one draw of so many rows.

    Attributes:
        rows: How many.
        spread: Standard deviation of the logits: 1 makes the nucleus wide, 4 narrow.
        top_p: 1 where nothing is filtered.
        keyed: One uniform number per row, inverted: what `forecast` does.
        multinomial: `torch.multinomial` behind our filter: what `predict` does.
        published: `torch.multinomial` behind a filter that sorts, as published.
    """

    rows: int
    spread: float
    top_p: float
    keyed: Times
    multinomial: Times
    published: Times


def measure_drawing(plan: Plan) -> list[DrawingResult]:
    settings = [(rows, spread, top_p) for top_p, spread in ((1.0, 1.0), (TOP_P, 1.0), (TOP_P, 4.0)) for rows in ROWS]
    return [_measure(rows, spread, top_p, plan.repeats) for rows, spread, top_p in settings]


@torch.inference_mode()
def _measure(rows: int, spread: float, top_p: float, repeats: int) -> DrawingResult:
    logits = torch.randn(1, rows, VOCABULARY, generator=torch.Generator().manual_seed(SEED)) * spread
    params = SamplingParams(top_p=top_p, samples=rows)
    uniforms = torch.from_numpy(keyed_uniforms(SEED, "", range(rows), 1)).float()[None]
    keyed, multinomial = CounterBasedSampler(params, uniforms), TorchSampler(params)

    def per_call(times: Times) -> Times:
        return Times(tuple(t / _CALLS for t in times.seconds))

    return DrawingResult(
        rows,
        spread,
        top_p,
        per_call(timed(lambda: [keyed(0, 0, logits) for _ in range(_CALLS)], repeats)),
        per_call(timed(lambda: [multinomial(0, 0, logits) for _ in range(_CALLS)], repeats)),
        per_call(timed(lambda: [sample_from_logits(logits[0], top_p=top_p) for _ in range(_CALLS)], repeats)),
    )

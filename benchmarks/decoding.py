"""Decoding, from the call to the returned frame, against the plain decoder in the same run.

Notable here:
- both decoders have the same networks, candles and draws; on the steps that the plain one is timed for, their tokens
  are compared;
- the plain decoder's rollout is timed on its first steps and scaled in proportion. A window that still grows makes
  later steps dearer than these, so that the plain decoder comes off better than it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd
import torch

from benchmarks.inputs import SEED, random_candles, random_predictor
from benchmarks.memory import measure_bundled_peak, measure_peak
from benchmarks.plain import plain_forecast
from benchmarks.plans import Case, ManyPlan, Plan
from benchmarks.timing import Clocked, Times, say, timed
from benchmarks.work import engine_flops, plain_coding_flops, plain_rollout_flops, step_bytes
from kronos.candles import Candles
from kronos.inference import KronosPredictor, Precision, SamplingParams
from kronos.inference.engine import Prompt, Rollout, Tokens, TokenSampler
from kronos.inference.sampling import CounterBasedSampler, TorchSampler
from kronos.rng import keyed_uniforms
from kronos.zoo import DEFAULT_MODEL, find_entry

_TOP_P = 0.9  # the default of `predict`


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case, ours and plain.

    Attributes:
        case: Which.
        ours: Seconds of the call.
        plain: Seconds of the plain one, scaled to the horizon.
        plain_rate: FLOP/s it reached.
        our_rate: FLOP/s ours reached, of what it needs to compute, which is far less.
        step: Seconds of our steps behind the first, in a rollout of their own.
        step_bytes: Weights that one path's step reads.
        equal: Share of tokens that are equal, on the steps that the plain decoder was timed for.
    """

    case: Case
    ours: Times
    plain: float
    plain_rate: float
    our_rate: float
    step: Times
    step_bytes: int
    equal: float

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.plain / self.ours.median


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One model at one precision with the typical case; ``peak`` is of a process that loads it and forecasts."""

    name: str
    precision: Precision
    parameters: int
    ours: Times
    peak: int


@dataclass(frozen=True, slots=True)
class ManyResult:
    """Seconds of `forecast_many`, and of `forecast` for each series in turn."""

    plan: ManyPlan
    together: Times
    one_by_one: Times


def measure_case(predictor: KronosPredictor, case: Case, repeats: int) -> CaseResult:
    """Ours several times, the plain decoder once."""
    candles = random_candles(case.history)
    ours = timed(calling(predictor, case, candles), repeats)
    plain = plain_forecast(predictor, candles.frame, case.horizon, case.samples, draws(case, candles), case.plain_steps)
    clocked = Clocked(draws(case, candles))
    tokens = _tokens(predictor, case, candles, clocked)
    model, tokenizer, context = predictor.model.config, predictor.tokenizer.config, predictor.max_context
    scale = case.horizon / case.plain_steps
    flops = plain_coding_flops(tokenizer, case, context)
    flops += int(scale * plain_rollout_flops(model, case, context, case.plain_steps))
    seconds = plain.around + scale * plain.rollout
    return CaseResult(
        case,
        ours,
        seconds,
        flops / seconds,
        engine_flops(model, tokenizer, case, context) / ours.median,
        clocked.steps(),
        step_bytes(model),
        _equal(tokens, plain.tokens),
    )


def calling(predictor: KronosPredictor, case: Case, candles: Candles) -> Callable[[], pd.DataFrame]:
    """The call to time."""

    def predict() -> pd.DataFrame:
        torch.manual_seed(SEED)
        horizon, samples = case.horizon, case.samples
        return predictor.predict(candles.frame, pred_len=horizon, top_p=_TOP_P, sample_count=samples, verbose=False)

    def forecast() -> pd.DataFrame:
        return predictor.forecast(candles, case.horizon, samples=case.samples, seed=SEED).to_frame()

    return predict if case.method == "predict" else forecast


def draws(case: Case, candles: Candles) -> TokenSampler:
    """The draws that the case's method makes."""
    if case.method == "predict":
        torch.manual_seed(SEED)
        return TorchSampler(SamplingParams(top_p=_TOP_P, samples=case.samples))
    uniforms = keyed_uniforms(SEED, candles.symbol or "", range(case.samples), case.horizon)
    return CounterBasedSampler(SamplingParams(samples=case.samples), torch.from_numpy(uniforms).float()[None])


def step_times(predictor: KronosPredictor, case: Case) -> Times:
    """Our steps behind the first, in a rollout of their own."""
    candles = random_candles(case.history)
    clocked = Clocked(draws(case, candles))
    _tokens(predictor, replace(case, plain_steps=case.horizon), candles, clocked)
    return clocked.steps()


@torch.inference_mode()
def _tokens(predictor: KronosPredictor, case: Case, candles: Candles, choose: TokenSampler) -> Tokens:
    """The engine's tokens ``[1, S, steps]`` from what the plain decoder reads, on the steps that it is timed for."""
    prepared, decoders = predictor.preprocess(candles.frame, pred_len=case.horizon), predictor.packed_model()
    x, stamps, future = (torch.from_numpy(part)[None] for part in (prepared.x, prepared.x_stamp, prepared.y_stamp))
    prompt = Prompt(decoders.tokenizer.encode(x), torch.tensor([case.history]), stamps, future[:, : case.plain_steps])
    return Rollout(decoders.model, prompt, case.samples, predictor.max_context).generate(choose)


def _equal(ours: Tokens, plain: Tokens) -> float:
    return float(((ours.s1 == plain.s1) & (ours.s2 == plain.s2)).double().mean())


def measure_models(plan: Plan) -> list[ModelResult]:
    """All models with the typical case, at both precisions; the bundled one too, where there is one."""
    case, results = plan.typical, []
    for precision in plan.precisions:
        for a in plan.architectures:
            peak = measure_peak(a, case, precision)
            results.append(_model(a.name, random_predictor(a, precision), case, plan.repeats, peak))
    if find_entry(DEFAULT_MODEL) is not None and not plan.quick:
        bundled = KronosPredictor.from_pretrained(device="cpu")
        peak = measure_bundled_peak(DEFAULT_MODEL, case)
        read = min(case.history, bundled.max_context - case.horizon)
        name = DEFAULT_MODEL if read == case.history else f"{DEFAULT_MODEL}, the last {read} candles"
        results.append(_model(name, bundled, case, plan.repeats, peak))
    return results


def _model(name: str, predictor: KronosPredictor, case: Case, repeats: int, peak: int) -> ModelResult:
    parameters = sum(p.numel() for p in predictor.model.parameters())
    times = timed(calling(predictor, case, random_candles(case.history)), repeats)
    say(f"  {name}, {predictor.precision}: {times.median:.3f} s")
    return ModelResult(name, predictor.precision, parameters, times, peak)


def many_candles(plan: ManyPlan) -> dict[str, Candles]:
    """Candles of all series of a plan, by name."""
    return {f"S{i}": random_candles(rows, f"S{i}", i) for i, rows in enumerate(plan.lengths)}


def measure_many(predictor: KronosPredictor, plan: ManyPlan, repeats: int) -> ManyResult:
    """`forecast_many` against one `forecast` after the other."""
    series = many_candles(plan)

    def together() -> None:
        predictor.forecast_many(series, plan.horizon, samples=plan.samples, seed=SEED)

    def one_by_one() -> None:
        for candles in series.values():
            predictor.forecast(candles, plan.horizon, samples=plan.samples, seed=SEED)

    return ManyResult(plan, timed(together, repeats), timed(one_by_one, max(1, repeats // 2)))

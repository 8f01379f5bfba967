"""Measure how close forecasts of ONNX exports are to those of the predictor, and how long they take.

    python scripts/measure_onnx.py candles/crypto/BTC_1h.parquet candles/fx/EURUSD_1h.parquet

For each way to store weights: size of the files; share of equal tokens with the same random numbers; probability that
all tokens of a path are equal, from 1000 random numbers for each draw; divergence of the fine and coarse tokens'
distributions (Kullback–Leibler, nats per token) for the same preceding tokens; difference of quantiles of the close
from the predictor's with the same seed, divided by that between the predictor's seeds, both as root mean squares in
widths of the 90 % band; CPU time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from kronos import KronosPredictor, SamplingParams, read_candles
from kronos.forecasts import Forecast
from kronos.inference.engine import Prompt, Rollout
from kronos.inference.sampling import CounterBasedSampler
from kronos.onnx import OnnxForecaster, export_onnx
from kronos.preprocessing import ModelInput, resolve_future
from kronos.rng import keyed_uniforms
from kronos.typing import FloatArray

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
SEEDS = (1, 2, 3, 4, 5)


class RecordingSampler:
    """Picks tokens from keyed random numbers, or given ones, and keeps the logits ``[S, V]`` of every token."""

    def __init__(self, params: SamplingParams, horizon: int, ids: torch.Tensor | None = None) -> None:
        uniforms = keyed_uniforms(params.seed or 0, "series", range(params.samples), horizon)
        self._sampler = CounterBasedSampler(params, torch.from_numpy(uniforms)[None].float())
        self._ids, self._samples = ids, params.samples
        self.logits: list[torch.Tensor] = []

    def __call__(self, step: int, head: int, logits: torch.Tensor) -> torch.Tensor:
        """The token of every sample, ``[1, S]``."""
        self.logits.append(logits[0].expand(self._samples, -1).double())
        return self._sampler(step, head, logits) if self._ids is None else self._ids[None, :, step, head]


def reference(predictor: KronosPredictor, series: ModelInput, sampler: RecordingSampler, samples: int) -> torch.Tensor:
    """Tokens ``[S, H, 2]`` of the predictor."""
    packed = predictor.packed_model()
    with torch.inference_mode():
        tokens = packed.tokenizer.encode(torch.from_numpy(series.x[None]))
        known, ahead = (torch.from_numpy(stamp)[None] for stamp in (series.x_stamp, series.y_stamp))
        prompt = Prompt(tokens, torch.tensor([len(series.x)]), known, ahead)
        own = Rollout(packed.model, prompt, samples, predictor.max_context).generate(sampler)
    return torch.stack((own.s1[0], own.s2[0]), dim=-1).clone()


def divergence(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """Mean Kullback–Leibler divergence of distributions, in nats."""
    parts = []
    for p, q in zip(ours, theirs, strict=True):
        log_p, log_q = p.log_softmax(-1), q.log_softmax(-1)
        parts.append(float((log_p.exp() * (log_p - log_q)).sum(-1).mean()))
    return float(np.mean(parts))


def path_agreement(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """Probability that all tokens of a path are equal, from logits ``[S, V]`` of each draw."""
    equal = torch.ones(len(ours[0]), dtype=torch.float64)
    uniforms = torch.rand((len(equal), 1000, 1, 1), generator=torch.Generator().manual_seed(1))
    draw = partial(CounterBasedSampler(SamplingParams(), uniforms), 0, 0)
    for p, q in zip(ours, theirs, strict=True):
        equal *= (draw(p.float()[:, None]) == draw(q.float()[:, None])).double().mean(1)
    return float(equal.mean())


def timed(run: Callable[[], Forecast]) -> tuple[FloatArray, float]:
    """Quantiles of log closes ``[levels, H]`` of a forecast, and its CPU seconds."""
    start = time.process_time()
    forecast = run()
    return np.quantile(np.log(forecast.paths[..., 3]), LEVELS, axis=0), time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--model", default="kronos-nano")
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--samples", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    predictor = KronosPredictor.from_pretrained(args.model, device="cpu")
    params = SamplingParams(samples=args.samples, seed=1)
    histories = [read_candles(path).tail(predictor.max_context - args.horizon) for path in args.files]
    expected = []
    for history in histories:
        forecast = partial(predictor.forecast, history, args.horizon, samples=args.samples, calibration=False)
        runs = [timed(partial(forecast, seed=seed)) for seed in SEEDS]
        expected.append(runs)
    print("| weights | MB | equal tokens | equal paths | KL, nats | quantiles | CPU seconds |")
    print("|---|---|---|---|---|---|---|")
    print(f"| predictor | | | | | 1 | {np.mean([seconds for runs in expected for _, seconds in runs]):.2f} |")
    for weights in ("float32", "float16", "int8"):
        with tempfile.TemporaryDirectory() as folder:
            manifest = export_onnx(predictor, Path(folder, "out"), weights=weights)
            exported = OnnxForecaster(Path(folder, "out"), threads=1)
        size = sum(file.bytes for name, file in manifest.files.items() if name.endswith(".onnx")) / 1e6
        equal, paths, kl, moved, noise, seconds = [], [], [], [], [], []
        for history, runs in zip(histories, expected, strict=True):
            series = exported.prepare(history, resolve_future("series", history, args.horizon, None))
            recorded = RecordingSampler(params, args.horizon)
            ids = reference(predictor, series, recorded, args.samples)
            own_history, own = exported.sample_tokens(series, "series", params)
            equal.append(float((torch.from_numpy(own) == ids).double().mean()))
            forced = RecordingSampler(params, args.horizon, ids)
            exported.generate(own_history, series, forced, args.samples)
            paths.append(path_agreement(recorded.logits, forced.logits))
            kl.append(divergence(recorded.logits, forced.logits))
            run = partial(exported.forecast, history, args.horizon, samples=args.samples, seed=1)
            quantiles, spent = timed(run)
            first, *others = (known for known, _ in runs)
            width = first[-1] - first[0]
            moved.append(np.mean(((quantiles - first) / width) ** 2))
            noise.append(np.mean([((other - first) / width) ** 2 for other in others]))
            seconds.append(spent)
        ratio = np.sqrt(np.sum(moved) / np.sum(noise))
        print(
            f"| {weights} | {size:.1f} | {np.mean(equal):.2%} | {np.mean(paths):.2%} | {np.mean(kl):.1e} "
            f"| {ratio:.2f} | {np.mean(seconds):.2f} |"
        )


if __name__ == "__main__":
    main()

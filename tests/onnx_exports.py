"""What the tests of the export share: networks, series, and samplers that force or record."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from kronos import KronosPredictor
from kronos.inference.engine import Prompt, Rollout, Tokens, TokenSampler
from kronos.onnx import OnnxForecaster
from kronos.preprocessing import ModelInput, resolve_future
from random_walks import hourly_walk


def prepared(forecaster: OnnxForecaster, rows: int, horizon: int, seed: int = 1) -> ModelInput:
    history = hourly_walk(seed, rows, "X")
    return forecaster.prepare(history, resolve_future("X", history, horizon, None))


class Forced:
    """Picks given tokens ``[S, H, 2]`` and records the logits."""

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = torch.from_numpy(ids)
        self.seen: list[torch.Tensor] = []

    def __call__(self, step: int, head: int, logits: torch.Tensor) -> torch.Tensor:
        self.seen.append(logits.expand(1, len(self.ids), -1).clone())
        return self.ids[None, :, step, head]


def engine_ids(predictor: KronosPredictor, series: ModelInput, sampler: TokenSampler, samples: int) -> np.ndarray:
    """Tokens ``[S, H, 2]`` of the decoding engine, for one series."""
    packed = predictor.packed_model()
    with torch.inference_mode():
        tokens = packed.tokenizer.encode(torch.from_numpy(series.x[None]))
        stamps, future = (torch.from_numpy(part)[None] for part in (series.x_stamp, series.y_stamp))
        prompt = Prompt(tokens, torch.tensor([len(series.x)]), stamps, future)
        own: Tokens = Rollout(packed.model, prompt, samples, predictor.max_context).generate(sampler)
    return torch.stack((own.s1[0], own.s2[0]), dim=-1).numpy()


def logits_of(run: Callable[[TokenSampler], object], ids: np.ndarray) -> list[np.ndarray]:
    """All logits of a decoding that is forced to take these tokens."""
    sampler = Forced(ids)
    run(sampler)
    return [logits.numpy() for logits in sampler.seen]

"""Sampling of tokens: temperature, filters, presets and samplers.

- ``default`` neither sharpens nor filters: filtering cuts both tails at every step, which makes bands too narrow.
- The nucleus (top-p) is searched among the 128 largest logits first, and in all of them only if it is larger.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral, Real

import torch
from torch import Tensor

from kronos.errors import ParameterError

_FIRST_NUCLEUS_WIDTH = 128
MAX_SAMPLES = 100_000
_LEAST_TEMPERATURE = 1e-30  # logits divided by less could exceed float32


def is_whole(value: object) -> bool:
    """Whether a value is an integer, of Python or NumPy, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How sample paths are drawn from the model's distribution.

    Attributes:
        temperature: Divisor of the logits, > 0; 1 leaves the learnt distribution unchanged.
        top_k: If above 0, keep only logits not below the k-th largest, and ignore ``top_p``.
        top_p: If below 1, drop tokens once more probable ones exceed this probability mass; 0 < top_p ≤ 1.
        samples: Number of sample paths per series.
        seed: Random seed; None for a random one, which the forecast records.

    Raises:
        ParameterError: If a value is out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    samples: int = 100
    seed: int | None = None

    def __post_init__(self) -> None:
        if not _is_number(self.temperature) or not _LEAST_TEMPERATURE <= self.temperature < float("inf"):
            raise ParameterError(
                f"Invalid temperature {self.temperature!r}: choose a number above 0 (at least {_LEAST_TEMPERATURE:g}), "
                "or top_k=1 for the most probable tokens."
            )
        if not is_whole(self.top_k) or self.top_k < 0:
            raise ParameterError(f"Invalid top_k {self.top_k!r}: choose 1 or more, or 0 for no limit.")
        if not _is_number(self.top_p) or not 0 < self.top_p <= 1:
            raise ParameterError(f"Invalid top_p {self.top_p!r}: choose a number above 0 and at most 1 (1: no filter).")
        if not is_whole(self.samples) or not 1 <= self.samples <= MAX_SAMPLES:
            raise ParameterError(f"Invalid samples {self.samples!r}: choose a whole number, 1–{MAX_SAMPLES}.")
        if self.seed is not None and not is_whole(self.seed):
            raise ParameterError(f"Invalid seed {self.seed!r}: choose a whole number, or None for a random one.")
        for name in ("top_k", "samples", "seed"):  # NumPy's integers have no JSON
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else int(value))

    @classmethod
    def resolve(
        cls, sampling: SamplingParams | str, samples: int | None = None, seed: int | None = None
    ) -> SamplingParams:
        """Look up a preset by name, or take the given parameters; replace samples and seed if given.

        Raises:
            ParameterError: If there is no such preset.
        """
        if isinstance(sampling, str):
            if sampling.lower() not in PRESETS:
                raise ParameterError(f"Unknown preset '{sampling}': choose {', '.join(PRESETS)}.")
            sampling = PRESETS[sampling.lower()]
        return replace(
            sampling,
            samples=sampling.samples if samples is None else samples,
            seed=sampling.seed if seed is None else seed,
        )


PRESETS: dict[str, SamplingParams] = {
    "default": SamplingParams(),
    "conservative": SamplingParams(temperature=0.6, top_p=0.9),
    "aggressive": SamplingParams(temperature=1.3),
    "published": SamplingParams(top_p=0.9),
    # The settings of the paper's tasks (arXiv 2508.02739).
    "paper-price": SamplingParams(temperature=0.6, top_p=0.9, samples=10),
    "paper-volatility": SamplingParams(temperature=0.9, top_p=0.9, samples=1),
    "paper-synthetic": SamplingParams(top_p=0.95, samples=1),
}


def filter_logits(logits: Tensor, params: SamplingParams, *, static: bool = False) -> Tensor:
    """Divide logits ``[..., V]`` by the temperature and set those of filtered tokens to −inf.

    Args:
        logits: The logits.
        params: Temperature and filters.
        static: Whether to read nothing from the device, as a CUDA graph requires.
    """
    logits = logits / params.temperature if params.temperature != 1 else logits
    if params.top_k > 0:
        k = min(params.top_k, logits.shape[-1])
        threshold = logits.topk(k, dim=-1).values[..., -1:]
    elif params.top_p < 1:
        width = logits.shape[-1] if static else _FIRST_NUCLEUS_WIDTH
        threshold = _nucleus_threshold(logits, params.top_p, width)
    else:
        return logits
    return logits.masked_fill(logits < threshold, float("-inf"))


def _nucleus_threshold(logits: Tensor, top_p: float, width: int) -> Tensor:
    """The smallest logit ``[..., 1]`` that top-p keeps: the last one whose predecessors' mass does not exceed it.

    It is searched among the ``width`` largest logits first; whether it is there is read from the device, unless these
    are all.
    """
    total = logits.logsumexp(-1, keepdim=True)
    width = min(width, logits.shape[-1])
    while True:
        top = logits.topk(width, dim=-1).values  # descending
        mass = (top - total).exp().cumsum(-1)
        kept = torch.cat((torch.zeros_like(mass[..., :1]), mass[..., :-1]), dim=-1) <= top_p
        if width == logits.shape[-1] or not bool(kept[..., -1].any()):
            return top.gather(-1, kept.sum(-1, keepdim=True) - 1)
        width = logits.shape[-1]


class TorchSampler:
    """Samples with `torch.multinomial` from torch's global generator, series by series, as published."""

    def __init__(self, params: SamplingParams) -> None:
        self.params = params

    def __call__(self, step: int, head: int, logits: Tensor) -> Tensor:  # noqa: ARG002 (a TokenSampler's signature)
        """Sample ids ``[B, S]`` from logits ``[B, 1 or S, V]``."""
        B, _, V = logits.shape
        # Filtered before it is repeated: the rows are the same, and so is the generator's use.
        probabilities = filter_logits(logits, self.params).softmax(-1)
        rows = probabilities.expand(B, self.params.samples, V).reshape(-1, V)
        return torch.multinomial(rows, 1).view(B, self.params.samples)


class CounterBasedSampler:
    """Samples by inverting the distribution function at given uniform numbers, whatever the batch.

    Args:
        params: Temperature and filters.
        uniforms: ``[B, S, H, 2]`` in [0, 1), from `kronos.rng.keyed_uniforms`.
        static: Whether to read nothing from the device, as a CUDA graph requires.
    """

    def __init__(self, params: SamplingParams, uniforms: Tensor, *, static: bool = False) -> None:
        self.params, self.uniforms, self.static = params, uniforms, static

    def __call__(self, step: int, head: int, logits: Tensor) -> Tensor:
        """Sample ids ``[B, S]`` from logits ``[B, 1 or S, V]``."""
        probabilities = filter_logits(logits, self.params, static=self.static).softmax(-1)
        if probabilities.device.type == "cpu":
            # In float32 its rounding decides more draws than that of the logits, and differently in other programs.
            cdf = probabilities.cumsum(-1, dtype=torch.float64)  # [B, 1 or S, V]
        else:
            cdf = probabilities.cumsum(-1)
            cdf = cdf.cummax(-1).values  # parallel sums may decrease, which could select a filtered token
        # Rounded to float32, a uniform number may become 1, beyond every token.
        below_one = 1 - torch.finfo(cdf.dtype).eps / 2
        u = self.uniforms[:, :, step, head].to(cdf.dtype).clamp(max=below_one)  # [B, S]
        if cdf.shape[1] == 1:
            return torch.searchsorted(cdf[:, 0], u * cdf[:, 0, -1:], right=True)
        return torch.searchsorted(cdf, u[..., None] * cdf[..., -1:], right=True).squeeze(-1)

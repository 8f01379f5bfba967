"""How tokens are drawn: temperature, filters, presets.

Notable here:
- ``default`` neither sharpens nor filters: a filter below 1 cuts both tails at every step, and bands get too narrow;
- the nucleus (top-p) is found among the 128 largest logits, and by a full sort only where it reaches beyond them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from kronos.errors import ParameterError
from kronos.progress import ProgressCallback

_NUCLEUS_GUESS = 128
MAX_SAMPLES = 100_000


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How sample paths are drawn.

    Attributes:
        temperature: Divides the logits; above 0. 1 is the distribution as learnt.
        top_k: Where above 0, only logits not below the k-th largest are kept, and ``top_p`` is ignored.
        top_p: Where below 1, tokens are dropped once those more probable exceed this mass. 0 < top_p ≤ 1.
        samples: Paths of each series.
        seed: Of the paths; None draws one, which the forecast then states.

    Raises:
        ParameterError: If a value is out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    samples: int = 100
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ParameterError(
                f"temperature is {self.temperature}, but must be above 0; for the most probable path use top_k=1."
            )
        if self.top_k < 0:
            raise ParameterError(f"top_k is {self.top_k}, but must be 0 (off) or more.")
        if not 0 < self.top_p <= 1:
            raise ParameterError(f"top_p is {self.top_p}, but must be above 0 and at most 1 (off).")
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise ParameterError(f"samples is {self.samples}, but must be between 1 and {MAX_SAMPLES}.")

    @classmethod
    def of(cls, sampling: SamplingParams | str, samples: int | None = None, seed: int | None = None) -> SamplingParams:
        """A preset by name, or the parameters given, with the number of samples and the seed replaced where given.

        Raises:
            ParameterError: If there is no preset of that name.
        """
        if isinstance(sampling, str):
            if sampling.lower() not in PRESETS:
                raise ParameterError(f"There is no preset '{sampling}'; the presets are {', '.join(PRESETS)}.")
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


def filter_logits(logits: Tensor, params: SamplingParams) -> Tensor:
    """Logits ``[..., V]`` divided by the temperature, with −inf where a token is filtered out."""
    logits = logits / params.temperature if params.temperature != 1 else logits
    if params.top_k > 0:
        k = min(params.top_k, logits.shape[-1])
        least = logits.topk(k, dim=-1).values[..., -1:]
    elif params.top_p < 1:
        least = _nucleus_floor(logits, params.top_p)
    else:
        return logits
    return logits.masked_fill(logits < least, float("-inf"))


def _nucleus_floor(logits: Tensor, top_p: float) -> Tensor:
    """The smallest logit ``[..., 1]`` that top-p keeps: the last whose predecessors' mass does not exceed it."""
    total = logits.logsumexp(-1, keepdim=True)
    width = min(_NUCLEUS_GUESS, logits.shape[-1])
    while True:
        top = logits.topk(width, dim=-1).values  # descending
        mass = (top - total).exp().cumsum(-1)
        kept = torch.cat((torch.zeros_like(mass[..., :1]), mass[..., :-1]), dim=-1) <= top_p
        if width == logits.shape[-1] or not bool(kept[..., -1].any()):
            return top.gather(-1, kept.sum(-1, keepdim=True) - 1)
        width = logits.shape[-1]


HEADS = 2


class TorchSampler:
    """Draws rows series-major with `torch.multinomial`, from torch's global generator."""

    def __init__(self, params: SamplingParams) -> None:
        self.params = params

    def __call__(self, step: int, head: int, logits: Tensor) -> Tensor:  # noqa: ARG002 (a Chooser's signature)
        """Draw ids ``[B, S]`` from logits ``[B, 1 or S, V]``."""
        B, _, V = logits.shape
        # Filtered before it is repeated: the rows are the same, and so is the generator's use.
        probabilities = filter_logits(logits, self.params).softmax(-1)
        rows = probabilities.expand(B, self.params.samples, V).reshape(-1, V)
        return torch.multinomial(rows, 1).view(B, self.params.samples)


class CounterBasedSampler:
    """Draws by inverse distribution function at given uniform numbers.

    Args:
        params: Temperature and filters.
        uniforms: ``[B, S, H, 2]`` in [0, 1), of `keyed_uniforms`.
    """

    def __init__(self, params: SamplingParams, uniforms: Tensor) -> None:
        self.params, self.uniforms = params, uniforms

    def __call__(self, step: int, head: int, logits: Tensor) -> Tensor:
        """Draw ids ``[B, S]`` from logits ``[B, 1 or S, V]``."""
        cdf = filter_logits(logits, self.params).softmax(-1).cumsum(-1)  # [B, 1 or S, V]
        if cdf.device.type != "cpu":
            cdf = cdf.cummax(-1).values  # parallel sums need not increase, and a step back would draw what was filtered
        # Rounded to the logits' precision a uniform may become 1, beyond every token.
        below_one = 1 - torch.finfo(cdf.dtype).eps / 2
        u = self.uniforms[:, :, step, head].to(cdf.dtype).clamp(max=below_one)  # [B, S]
        if cdf.shape[1] == 1:
            return torch.searchsorted(cdf[:, 0], u * cdf[:, 0, -1:], right=True)
        return torch.searchsorted(cdf, u[..., None] * cdf[..., -1:], right=True).squeeze(-1)


def keyed_uniforms(seed: int, series: str, paths: range, horizon: int) -> np.ndarray:
    """Uniform numbers in [0, 1) that depend on nothing but their names.

    Args:
        seed: Any integer.
        series: The series' name.
        paths: Which sample paths.
        horizon: Steps, H.

    Returns:
        ``[len(paths), H, 2]`` float64. A longer horizon or further paths leave the first ones as they are.
    """
    digest = hashlib.blake2b(f"{seed}|{series}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    draws = np.empty((len(paths), horizon, HEADS))
    for row, path in enumerate(paths):
        counter = np.array([0, 0, path, 0], dtype=np.uint64)  # a path has 2^128 numbers to itself
        draws[row] = np.random.Generator(np.random.Philox(key=key, counter=counter)).random((horizon, HEADS))
    return draws


class ProgressSampler:
    """A chooser that calls ``progress(steps done, total)`` after every step."""

    def __init__(self, choose: Callable[[int, int, Tensor], Tensor], total: int, progress: ProgressCallback) -> None:
        self.choose, self.total, self.progress = choose, total, progress

    def __call__(self, step: int, head: int, logits: Tensor) -> Tensor:
        """Choose as the chooser inside does."""
        chosen = self.choose(step, head, logits)
        if head == 1:
            self.progress(step + 1, self.total)
        return chosen

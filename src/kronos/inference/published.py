"""The published system's functions, on the fast engine: same arguments, same draws, same numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kronos.errors import DataError, DeviceError, ParameterError
from kronos.inference.devices import is_out_of_memory
from kronos.inference.drawing import GlobalDraws
from kronos.inference.engine import Chooser, ModelDecoder, Prompt, Rollout, TokenizerDecoder, Tokens
from kronos.inference.progress import Counted, Progress, progress_bar
from kronos.inference.sampling import SamplingParams
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.model import CALENDAR_SIZES

CHANNELS = 6


@dataclass(frozen=True, slots=True)
class Decoders:
    """Both networks, packed."""

    model: ModelDecoder
    tokenizer: TokenizerDecoder

    @classmethod
    def pack(cls, model: Kronos, tokenizer: KronosTokenizer, dtype: torch.dtype) -> Decoders:
        """Pack both networks, the model in ``dtype``, the tokenizer in its own.

        Raises:
            ParameterError: If the tokenizer's bits are not the model's.
        """
        if (model.s1_bits, model.s2_bits) != (tokenizer.s1_bits, tokenizer.s2_bits):
            raise ParameterError(
                f"This tokenizer makes tokens of {tokenizer.s1_bits} + {tokenizer.s2_bits} bits, but the model reads "
                f"{model.s1_bits} + {model.s2_bits}; load the tokenizer that belongs to the model."
            )
        if tokenizer.d_in != CHANNELS:
            raise ParameterError(f"This tokenizer reads {tokenizer.d_in} channels, but a candle has {CHANNELS}.")
        return cls(ModelDecoder(model, dtype), TokenizerDecoder(tokenizer))


@dataclass(frozen=True, slots=True)
class Batch:
    """Normalised series of one length: ``x [B, T, 6]``, ``x_stamp [B, T, 5]``, ``y_stamp [B, H, 5]``."""

    x: Tensor
    x_stamp: Tensor
    y_stamp: Tensor

    def __post_init__(self) -> None:
        B, T = self.x.shape[:2]
        H = self.y_stamp.shape[1]
        for name, value, shape in (
            ("x", self.x, (B, T, CHANNELS)),
            ("x_stamp", self.x_stamp, (B, T, len(CALENDAR_SIZES))),
            ("y_stamp", self.y_stamp, (B, H, len(CALENDAR_SIZES))),
        ):
            if tuple(value.shape) != shape:
                raise ParameterError(f"{name} has the shape {tuple(value.shape)}, but should have {shape}.")
        if not bool(self.x.isfinite().all()):
            raise DataError("x holds values that are no numbers; fill or drop such rows first.")


def make_batch(x: Tensor, x_stamp: Tensor, y_stamp: Tensor, horizon: int, clip: float) -> Batch:
    """A batch of those arrays, clipped, its future cut to ``horizon`` steps.

    Raises:
        DataError: If ``x`` holds NaN or infinities.
        ParameterError: If shapes contradict each other, or the future has too few stamps.
    """
    if y_stamp.shape[1] < horizon:
        raise ParameterError(f"y_stamp has {y_stamp.shape[1]} rows for pred_len {horizon}; give one for each candle.")
    return Batch(x.clamp(-clip, clip), x_stamp.long(), y_stamp.long()[:, :horizon])


@torch.inference_mode()
def generate_paths(
    decoders: Decoders, batch: Batch, params: SamplingParams, context: int, progress: Progress | None = None
) -> tuple[Tensor, Tensor]:
    """Generate as the published system does: whole history tokenised, window sliding, global generator.

    Args:
        decoders: The packed networks.
        batch: What to continue.
        params: Temperature, filters, samples.
        context: The longest window, in candles.
        progress: Called with the steps done and their number.

    Returns:
        Of the last min(T + H, context) candles, normalised: the history's part ``[B, P, 6]``, which all samples share,
        and the generated part ``[B, S, H, 6]``.

    Raises:
        ParameterError: If the horizon leaves no room for history.
        DeviceError: If memory runs out.
    """
    B, T = batch.x.shape[:2]
    H = batch.y_stamp.shape[1]
    check_horizon(H, context)
    choose: Chooser = GlobalDraws(params)
    if progress is not None:
        choose = Counted(choose, H, progress)
    try:
        tokens = decoders.tokenizer.encode(batch.x)
        lengths = torch.full((B,), T, device=batch.x.device)
        prompt = Prompt(tokens, lengths, batch.x_stamp, batch.y_stamp)
        own = Rollout(decoders.model, prompt, params.samples, context).run(choose)
        kept = min(T, context - H)
        window = Tokens(tokens.s1[:, T - kept :], tokens.s2[:, T - kept :])
        return decoders.tokenizer.decode(window, torch.full_like(lengths, kept), own)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"Memory ran out with {B} series of {params.samples} samples; ask for fewer at once."
        ) from error


def check_horizon(horizon: int, context: int, least: int = 1) -> None:
    """Refuse a horizon that is empty or leaves no room for history.

    Args:
        horizon: Candles to forecast.
        context: Candles of history and forecast together.
        least: Candles of history that the model needs.

    Raises:
        ParameterError: Then.
    """
    if horizon < 1:
        raise ParameterError(f"The horizon is {horizon}, but must be at least 1 candle.")
    if horizon > context - least:
        left = f"{context - horizon} of the {least} candles of history it needs" if horizon < context else "no history"
        raise ParameterError(
            f"The horizon of {horizon} candles leaves {left} in a context of {context}; "
            f"forecast at most {context - least}."
        )


def auto_regressive_inference(
    tokenizer: KronosTokenizer,
    model: Kronos,
    x: Tensor,
    x_stamp: Tensor,
    y_stamp: Tensor,
    max_context: int,
    pred_len: int,
    clip: float = 5,
    T: float = 1.0,
    top_k: int = 0,
    top_p: float = 0.99,
    sample_count: int = 5,
    verbose: bool = False,
) -> NDArray[np.float32]:
    """Average sampled continuations of normalised candles, as the published function of this name.

    Args:
        tokenizer: The tokenizer.
        model: The model, on the same device.
        x: Normalised candles ``[B, T, 6]``.
        x_stamp: Their calendar features ``[B, T, 5]``.
        y_stamp: Calendar features of the future ``[B, pred_len, 5]``.
        max_context: The longest window, in candles.
        pred_len: Steps to generate.
        clip: Bound of the normalised candles.
        T: Temperature.
        top_k: Where above 0, keep that many tokens (and ignore ``top_p``).
        top_p: Where below 1, keep tokens up to that mass.
        sample_count: Paths to average.
        verbose: Whether to show progress, on stderr, where a person watches.

    Returns:
        ``[B, min(T + pred_len, max_context), 6]``: the end of the history, reconstructed, and the forecast.

    Raises:
        ParameterError: If the horizon leaves no room for history or a parameter is out of its range.
    """
    decoders = Decoders.pack(model, tokenizer, model.norm.weight.dtype)
    device = model.norm.weight.device
    batch = make_batch(x.to(device), x_stamp.to(device), y_stamp.to(device), pred_len, clip)
    params = SamplingParams(T, top_k, top_p, sample_count)
    with progress_bar(verbose, "forecast") as progress:
        past, own = generate_paths(decoders, batch, params, max_context, progress)
    return torch.cat((past, own.mean(dim=1)), dim=1).float().cpu().numpy()


def top_k_top_p_filtering(
    logits: Tensor,
    top_k: int = 0,
    top_p: float = 1.0,
    filter_value: float = -float("inf"),
    min_tokens_to_keep: int = 1,
) -> Tensor:
    """Filter logits ``[B, V]`` as the published function of this name; the input is not changed.

    With ``top_k`` above 0 the k largest stay and ``top_p`` is ignored; otherwise with ``top_p`` below 1 tokens go whose
    predecessors, in order of probability, exceed that mass.
    """
    if top_k > 0:
        k = min(max(top_k, min_tokens_to_keep), logits.shape[-1])
        return logits.masked_fill(logits < logits.topk(k, dim=-1).values[..., -1:], filter_value)
    if top_p >= 1.0:
        return logits
    ranked, order = logits.sort(dim=-1, descending=True)
    mass = ranked.softmax(-1).cumsum(-1)
    dropped = torch.cat((torch.zeros_like(mass[..., :1]), mass[..., :-1]), dim=-1) > top_p
    dropped[..., :min_tokens_to_keep] = False
    return logits.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), filter_value)


def sample_from_logits(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    sample_logits: bool = True,
) -> Tensor:
    """Draw ids ``[B, 1]`` from logits ``[B, V]``, or take the most probable where not ``sample_logits``."""
    logits = logits / temperature
    if top_k is not None or top_p is not None:
        logits = top_k_top_p_filtering(logits, top_k=top_k or 0, top_p=1.0 if top_p is None else top_p)
    probabilities = logits.softmax(-1)
    return torch.multinomial(probabilities, 1) if sample_logits else probabilities.topk(1, dim=-1).indices

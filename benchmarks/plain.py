"""The plain decoder: no cache, the history repeated for every sample, everything computed again at every step.

This is how the published system decodes, written with care: evaluation mode, no gradients, fused attention, heads only
where they are read. It uses the networks' own modules and nothing of `kronos.inference`'s decoding, so it is both the
reference that tests hold the engine against and the yardstick of the benchmarks. `plain_forecast` is the whole call:
what `KronosPredictor.predict` does, on the plain decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.inference import KronosPredictor
from kronos.inference.engine import Prompt, Tokens, TokenSampler
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.layers import apply_rotary

TOGETHER = 8  # rows computed at once: more outgrow a CPU's caches, and a hundred take half as long again


@torch.inference_mode()
def plain_rollout(
    model: Kronos,
    prompt: Prompt,
    samples: int,
    context: int,
    choose: TokenSampler,
    steps: int | None = None,
    *,
    together: int = TOGETHER,
) -> Tokens:
    """Generate tokens ``[B, S, H]`` for series of one length; only the first ``steps`` where given."""
    B, T = prompt.tokens.s1.shape
    H = prompt.future_stamps.shape[1]
    steps = H if steps is None else steps

    def rows(x: Tensor) -> Tensor:
        return x.repeat_interleave(samples, dim=0)

    s1, s2 = rows(prompt.tokens.s1), rows(prompt.tokens.s2)  # [B·S, T]
    stamps = rows(torch.cat((prompt.stamps, prompt.future_stamps), dim=1))
    for step in range(steps):
        window = slice(max(0, T + step - context), T + step)
        parts = zip(*(torch.split(x[:, window], together) for x in (s1, s2, stamps)), strict=True)
        states = [_states(model, *part) for part in parts]
        coarse_logits = torch.cat([model.head(part[:, -1]) for part in states])
        coarse = choose(step, 0, coarse_logits.view(B, samples, -1)).flatten()[:, None]
        chosen = zip(states, torch.split(coarse, together), strict=True)
        fine_logits = torch.cat([_s2_logits(model, part, own) for part, own in chosen])
        fine = choose(step, 1, fine_logits.view(B, samples, -1)).flatten()[:, None]
        s1, s2 = torch.cat((s1, coarse), dim=1), torch.cat((s2, fine), dim=1)
    return Tokens(*(x[:, T:].view(B, samples, steps) for x in (s1, s2)))


def _states(model: Kronos, s1: Tensor, s2: Tensor, stamps: Tensor) -> Tensor:
    x = model.embedding(s1, s2) + model.time_emb(stamps)
    for block in model.transformer:
        x = block(x)
    return model.norm(x)  # type: ignore[no-any-return]


def _s2_logits(model: Kronos, states: Tensor, chosen: Tensor) -> Tensor:
    """Logits ``[B·S, V]`` after the last row; its head reads that row alone."""
    cross, query = model.dep_layer.cross_attn, model.embedding.emb_s1(chosen)
    if model.s2_attention == "published":
        mixed = cross.attend_unrotated(query, states)
    else:
        q, k, v = cross.split(cross.q_proj(query)), cross.split(cross.k_proj(states)), cross.split(cross.v_proj(states))
        cos, sin = cross.rotary.table(states.shape[1])
        q, k = apply_rotary(q, cos[-1:], sin[-1:]), apply_rotary(k, cos, sin)
        mixed = cross.merge(F.scaled_dot_product_attention(q, k, v))
    return model.head.cond_forward(model.dep_layer.norm(states[:, -1:] + mixed)).squeeze(1)


@torch.inference_mode()
def plain_encode(tokenizer: KronosTokenizer, x: Tensor) -> Tokens:
    """Tokens ``[B, T]`` of normalised candles ``[B, T, 6]``."""
    return Tokens(*tokenizer.encode(x, half=True))


@torch.inference_mode()
def plain_decode(tokenizer: KronosTokenizer, history: Tokens, own: Tokens, context: int) -> Tensor:
    """Normalised candles ``[B, S, H, 6]``: every sample decoded with the whole window, of which the end is kept."""
    B, S, H = own.s1.shape
    whole = [
        torch.cat((past.repeat_interleave(S, dim=0), new.flatten(0, 1)), dim=1)[:, -context:]
        for past, new in ((history.s1, own.s1), (history.s2, own.s2))
    ]
    return tokenizer.decode(whole, half=True)[:, -H:].view(B, S, H, -1)


@dataclass(frozen=True, slots=True)
class PlainRun:
    """A plain forecast and where its time went.

    Attributes:
        frame: The averaged paths ``[H × 6]``, as `KronosPredictor.predict` returns them.
        tokens: ``[1, S, steps]``, of the steps that were generated.
        rollout: Seconds generating them.
        around: Seconds for everything else: normalising, encoding, decoding, averaging, the frame.
    """

    frame: pd.DataFrame
    tokens: Tokens
    rollout: float
    around: float


@torch.inference_mode()
def plain_forecast(
    predictor: KronosPredictor,
    history: pd.DataFrame,
    horizon: int,
    samples: int,
    choose: TokenSampler,
    steps: int | None = None,
) -> PlainRun:
    """Forecast as the published system does, from a frame of candles to a frame of averaged candles.

    Args:
        predictor: Whose networks, context, pre- and post-processing to use; not its decoding.
        history: Candles under their times; all rows are encoded, for each sample anew.
        horizon: Candles to forecast.
        samples: Paths to average.
        choose: What draws the tokens.
        steps: Generate only so many; the last tokens then stand for the rest, so that decoding costs what it would.
    """
    started = perf_counter()
    prepared = predictor.preprocess(history, pred_len=horizon)
    x, stamps, future = (torch.from_numpy(part)[None] for part in (prepared.x, prepared.x_stamp, prepared.y_stamp))
    encoded = plain_encode(predictor.tokenizer, x.repeat(samples, 1, 1))
    past = Tokens(encoded.s1[:1], encoded.s2[:1])
    prompt = Prompt(past, torch.tensor([x.shape[1]]), stamps, future)
    rolling = perf_counter()
    tokens = plain_rollout(predictor.model, prompt, samples, predictor.max_context, choose, steps)
    rolled = perf_counter()
    whole = Tokens(*(_filled(part, horizon) for part in (tokens.s1, tokens.s2)))
    values = plain_decode(predictor.tokenizer, past, whole, predictor.max_context)
    frame = predictor.postprocess(values[0].mean(dim=0).numpy(), prepared)
    return PlainRun(frame, tokens, rolled - rolling, (rolling - started) + (perf_counter() - rolled))


def _filled(ids: Tensor, horizon: int) -> Tensor:
    """``[1, S, steps]`` to ``[1, S, H]``: the last ids again and again."""
    return torch.cat((ids, ids[..., -1:].expand(-1, -1, horizon - ids.shape[-1])), dim=-1)

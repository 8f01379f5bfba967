"""The plain training loop: what one writes on a page, eager, in float32, with the networks' own modules.

It minimises what `kronos.training` minimises, by the same optimiser and schedule, and uses nothing of that room: the
yardstick of the benchmark, and what tests hold the objective against.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from time import perf_counter

import torch
from torch import Tensor

from kronos.datasets.batching import Batch
from kronos.nn import Kronos, KronosTokenizer

RATE, BETAS, DECAY, CLIP = 4e-5, (0.9, 0.95), 0.1, 3.0  # as published for the model


def plain_loss(model: Kronos, tokenizer: KronosTokenizer, batch: Batch, rows: int, forced: bool = False) -> Tensor:
    """Mean of both tokens' cross-entropies at the last ``rows`` candles, in nats."""
    with torch.no_grad():
        s1, s2 = tokenizer.encode(batch.x, half=True)
    coarse, fine = model(s1[:, :-1], s2[:, :-1], batch.stamp[:, :-1], None, forced, s1[:, 1:])
    loss, _, _ = model.head.compute_loss(coarse[:, -rows:], fine[:, -rows:], s1[:, -rows:], s2[:, -rows:])
    return loss


def plain_training(
    model: Kronos, tokenizer: KronosTokenizer, batches: Iterable[Batch], rows: int, steps: int
) -> Iterator[float]:
    """Train for so many steps; gives the loss after each."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=BETAS, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.03, div_factor=10)
    model.train()
    for _, batch in zip(range(steps), batches, strict=False):
        loss = plain_loss(model, tokenizer, batch, rows)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        yield loss.item()


def seconds(steps: Iterator[float], number: int) -> list[float]:
    """How long each of the next steps takes."""
    marks = [perf_counter()]
    for _ in range(number):
        next(steps)
        marks.append(perf_counter())
    return [later - earlier for earlier, later in pairwise(marks)]

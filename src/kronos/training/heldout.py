"""Candles that training never saw: the moments of the test part, and losses of networks there.

A moment has its whole window within an unbroken stretch, and the candles that are to come in the test part. Moments of
an instrument are a horizon apart, so that no outcome counts twice; where that leaves few of them they are closer, and
intervals allow for what they share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from kronos.candles import COLUMNS
from kronos.datasets.batching import Batch
from kronos.errors import DataError
from kronos.evaluation import Instrument, Plan, WalkForward
from kronos.evaluation.plan import LEAST_HISTORY
from kronos.preprocessing import CLOSE, normalisation_statistics, time_features
from kronos.training.objectives import ModelObjective
from kronos.typing import FloatArray

if TYPE_CHECKING:
    from kronos.datasets.segments import Segment
    from kronos.datasets.training_data import TrainingData
    from kronos.inference import KronosPredictor
    from kronos.nn import KronosTokenizer
    from kronos.zoo import Normalisation

ENOUGH = 100  # moments; where there are fewer, they may overlap
_STILL = 0.02  # the least one-step volatility that errors are told in, as in training


@dataclass(frozen=True, slots=True)
class EvalWindow:
    """How windows are cut.

    Attributes:
        lookback: Candles that are known.
        clip: Bound of the normalised candles.
        batch_size: Windows at once.
    """

    lookback: int
    clip: float = 5.0
    batch_size: int = 50


def held_out_moments(data: TrainingData, lookback: int, horizon: int) -> Plan:
    """All moments of the test part.

    Args:
        data: The candles and their parts.
        lookback: Candles that are known at each, at least.
        horizon: Candles to come.

    Returns:
        Origins as `kronos.evaluation` has them, a horizon apart; closer where that would be fewer than `ENOUGH`.

    Raises:
        DataError: If there is none.
    """
    least = max(lookback, LEAST_HISTORY)
    spans = [(one, max(one.future, one.start + lookback, _begin(data, one) + least)) for one in data.spans("test")]
    spans = [(one, first) for one, first in spans if first + horizon <= one.stop]
    if not spans:
        raise DataError(
            f"The test part has no {horizon} candles in a row with {least} before them, so that nothing tells whether "
            f"training helped; give longer histories, a larger test part, or shorter windows."
        )
    numbers = sorted({one.series for one, _ in spans})
    instruments = [_instrument(data, number) for number in numbers]
    walk = WalkForward(horizon, stride=_stride(spans, horizon), least_history=least)
    known = [np.arange(first, one.stop - horizon + 1, walk.step) - _begin(data, one) for one, first in spans]
    series = [np.full(len(at), numbers.index(one.series)) for (one, _), at in zip(spans, known, strict=True)]
    return Plan(walk, tuple(instruments), np.concatenate(series).astype(np.int64), np.concatenate(known))


def _instrument(data: TrainingData, number: int) -> Instrument:
    one = data.store.series[number]
    return Instrument(one.unique_id, one.market, data.store.read(number))


def _begin(data: TrainingData, span: Segment) -> int:
    """The first row of a stretch's instrument."""
    return data.store.series[span.series].start


def _stride(spans: Sequence[tuple[Segment, int]], horizon: int) -> int | None:
    """Candles from one moment to the next: a horizon, or so many fewer that there are enough of them."""
    free = [one.stop - horizon + 1 - first for one, first in spans]
    stride = horizon
    while stride > 1 and sum(-(-rows // stride) for rows in free) < ENOUGH:
        stride = -(-stride // 2)
    return None if stride == horizon else stride


def thinned(plan: Plan, most: int) -> Plan:
    """At most so many moments, every market at an interval as many as another where it has them, evenly over its dates.

    Args:
        plan: All moments.
        most: How many to keep.
    """
    table = plan.table().sort_values(["date", "series"], kind="stable")
    groups = [rows.index.to_numpy() for _, rows in table.groupby("group", sort=True)]
    kept: list[int] = []
    left = most
    for place, rows in enumerate(sorted(groups, key=len)):  # what a small one leaves, the larger ones share
        count = min(len(rows), max(1, left // (len(groups) - place)))
        kept += rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))].tolist()
        left -= count
    chosen = np.sort(np.array(kept, dtype=np.int64))
    return Plan(plan.walk, plan.instruments, plan.series[chosen], plan.known[chosen])


def nll(predictor: KronosPredictor, plan: Plan, lens: EvalWindow) -> FloatArray:
    """How unlikely the tokens of what came are, coarse and fine together.

    Args:
        predictor: The model with its tokenizer.
        plan: The moments.
        lens: How windows are cut.

    Returns:
        Nats a candle, the mean over those that were to come. [N]
    """
    objective = ModelObjective(predictor.model, predictor.tokenizer)
    batches = window_batches(plan, lens, predictor.tokenizer.normalisation)
    with torch.inference_mode():
        # An objective's score is the mean of the two tokens' cross-entropies; a candle is both of them.
        found = [2 * objective.per_sample(batch.to(predictor.device)) for batch in batches]
    return _joined(found)


def reconstruction(tokenizer: KronosTokenizer, plan: Plan, lens: EvalWindow) -> FloatArray:
    """How far the closes that a tokenizer gives back are off.

    Args:
        tokenizer: Whose.
        plan: The moments.
        lens: How windows are cut.

    Returns:
        The root of the mean square over a window, in one-step volatilities of its known candles. [N]
    """
    device = next(tokenizer.parameters()).device
    found = []
    for batch in window_batches(plan, lens, tokenizer.normalisation):
        x = batch.x.to(device)
        with torch.inference_mode():
            error = tokenizer.decode(tokenizer.encode(x))[..., CLOSE] - x[..., CLOSE]
        found.append(error.square().mean(dim=1).sqrt() / batch.step.to(device).clamp(min=_STILL))
    return _joined(found)


def _joined(found: Sequence[torch.Tensor]) -> FloatArray:
    return torch.cat([one.double().cpu() for one in found]).numpy()


def window_batches(plan: Plan, lens: EvalWindow, normalisation: Normalisation) -> Iterator[Batch]:
    """The windows of all moments, in their order, each normalised by what is known of it.

    Args:
        plan: The moments.
        lens: How windows are cut.
        normalisation: As the networks know candles.
    """
    values = [one.candles.frame[list(COLUMNS)].to_numpy(dtype=np.float64) for one in plan.instruments]
    stamps = [time_features(one.candles.index) for one in plan.instruments]
    for begin in range(0, len(plan), lens.batch_size):
        rows = range(begin, min(begin + lens.batch_size, len(plan)))
        where = [(int(plan.series[row]), int(plan.known[row]) - lens.lookback) for row in rows]
        long = lens.lookback + plan.walk.horizon
        windows = [_window(values[series][first : first + long], lens, normalisation) for series, first in where]
        yield Batch(
            x=torch.from_numpy(np.stack([x for x, _ in windows])),
            stamp=torch.from_numpy(np.stack([stamps[series][first : first + long] for series, first in where])),
            known=torch.full((len(rows),), lens.lookback, dtype=torch.int64),
            step=torch.tensor([step for _, step in windows], dtype=torch.float32),
            row=torch.arange(rows.start, rows.stop, dtype=torch.int64),
        )


def _window(
    values: FloatArray, lens: EvalWindow, normalisation: Normalisation
) -> tuple[npt.NDArray[np.float32], float]:
    """A window by the statistics of what is known, and the one-step volatility in its units."""
    history = values[: lens.lookback]
    mean, scale = normalisation_statistics(history, normalisation)
    x = np.clip((values - mean) / scale, -lens.clip, lens.clip).astype(np.float32)
    return x, float(np.diff(history[:, CLOSE]).std() / scale[CLOSE])

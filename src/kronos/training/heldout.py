"""Held-out losses: the forecast origins of the test part, and the losses of networks there.

The window of an origin lies in one unbroken segment, and the candles to predict lie in the test part. Origins of an
instrument are a horizon apart, so that no outcome counts twice. If that leaves few of them they are closer together,
and the intervals take the overlap into account.
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
from kronos.evaluation import Instrument, Plan, RollingOrigins
from kronos.evaluation.origins import MIN_HISTORY
from kronos.normalisation import CLOSE, fit_scaler
from kronos.preprocessing import market_time_features
from kronos.training.objectives import MIN_STEP_VOLATILITY, ModelObjective
from kronos.typing import FloatArray

if TYPE_CHECKING:
    from kronos.datasets.segments import Segment
    from kronos.datasets.training_data import TrainingData
    from kronos.inference import KronosPredictor
    from kronos.nn import KronosTokenizer
    from kronos.zoo import Normalisation

MIN_ORIGINS = 100  # with fewer, origins may overlap


@dataclass(frozen=True, slots=True)
class EvalWindow:
    """How windows are cut.

    Attributes:
        lookback: Known candles.
        clip: Bound of the normalised candles.
        batch_size: Windows per batch.
    """

    lookback: int
    clip: float = 5.0
    batch_size: int = 50


def heldout_origins(data: TrainingData, lookback: int, horizon: int) -> Plan:
    """All forecast origins of the test part.

    Args:
        data: Candles with their parts.
        lookback: Minimum number of known candles at each origin.
        horizon: Candles to predict.

    Returns:
        Origins a horizon apart, or closer if there were fewer than `MIN_ORIGINS`.

    Raises:
        DataError: If there is none.
    """
    least = max(lookback, MIN_HISTORY)
    spans = [
        (span, max(span.future, span.start + lookback, _first_row(data, span) + least)) for span in data.spans("test")
    ]
    spans = [(span, first) for span, first in spans if first + horizon <= span.stop]
    if not spans:
        raise DataError(
            f"The test part has no {horizon} consecutive candles with {least} candles before them, so training cannot "
            "be evaluated: use longer histories, a larger test part, or shorter windows."
        )
    numbers = sorted({span.series for span, _ in spans})
    instruments = [_instrument(data, number) for number in numbers]
    rolling = RollingOrigins(horizon, stride=_stride(spans, horizon), least_history=least)
    known = [np.arange(first, span.stop - horizon + 1, rolling.step) - _first_row(data, span) for span, first in spans]
    series = [np.full(len(rows), numbers.index(span.series)) for (span, _), rows in zip(spans, known, strict=True)]
    return Plan(rolling, tuple(instruments), np.concatenate(series).astype(np.int64), np.concatenate(known))


def _instrument(data: TrainingData, number: int) -> Instrument:
    series = data.store.series[number]
    return Instrument(series.unique_id, series.market, data.store.read(number))


def _first_row(data: TrainingData, span: Segment) -> int:
    """First row of the segment's instrument in the store."""
    return data.store.series[span.series].start


def _stride(spans: Sequence[tuple[Segment, int]], horizon: int) -> int | None:
    """Stride between origins: the horizon, halved until there are enough origins; None means the horizon."""
    rows = [span.stop - horizon + 1 - first for span, first in spans]
    stride = horizon
    while stride > 1 and sum(-(-count // stride) for count in rows) < MIN_ORIGINS:
        stride = -(-stride // 2)
    return None if stride == horizon else stride


def subsample(plan: Plan, limit: int) -> Plan:
    """Reduce the origins to ``limit``, evenly over dates and with equal numbers per group where possible.

    Args:
        plan: All origins.
        limit: Number of origins; at least one of each group remains.
    """
    table = plan.table().sort_values(["date", "series"], kind="stable")
    groups = [rows.index.to_numpy() for _, rows in table.groupby("group", sort=True)]
    selected: list[int] = []
    left = limit
    for place, rows in enumerate(sorted(groups, key=len)):  # what small groups leave goes to the larger ones
        count = min(len(rows), max(1, left // (len(groups) - place)))
        selected += rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))].tolist()
        left -= count
    return plan.select(np.sort(np.array(selected, dtype=np.int64)))


def nll(predictor: KronosPredictor, plan: Plan, window: EvalWindow) -> FloatArray:
    """Negative log-likelihood of the actual candles' tokens, coarse and fine together.

    Args:
        predictor: Model with its tokenizer.
        plan: The origins.
        window: How windows are cut.

    Returns:
        Nats per candle, the mean over the candles to predict. [N]
    """
    objective = ModelObjective(predictor.model, predictor.tokenizer)
    batches = window_batches(plan, window, predictor.tokenizer.normalisation)
    with torch.inference_mode():
        # The objective is the mean of the two tokens' cross-entropies; a candle consists of both.
        losses = [2 * objective.per_sample(batch.to(predictor.device)) for batch in batches]
    return _concatenate(losses)


def reconstruction_errors(tokenizer: KronosTokenizer, plan: Plan, window: EvalWindow) -> FloatArray:
    """Error of the closes that a tokenizer reconstructs.

    Args:
        tokenizer: The tokenizer.
        plan: The origins.
        window: How windows are cut.

    Returns:
        Root mean squared error over a window, in one-step volatilities of its known candles. [N]
    """
    device = next(tokenizer.parameters()).device
    errors = []
    for batch in window_batches(plan, window, tokenizer.normalisation):
        x = batch.x.to(device)
        with torch.inference_mode():
            error = tokenizer.decode(tokenizer.encode(x))[..., CLOSE] - x[..., CLOSE]
        errors.append(error.square().mean(dim=1).sqrt() / batch.step.to(device).clamp(min=MIN_STEP_VOLATILITY))
    return _concatenate(errors)


def _concatenate(losses: Sequence[torch.Tensor]) -> FloatArray:
    return torch.cat([loss.double().cpu() for loss in losses]).numpy()


def window_batches(plan: Plan, window: EvalWindow, normalisation: Normalisation) -> Iterator[Batch]:
    """Yield the windows of all origins in order, each normalised by its known candles.

    Args:
        plan: The origins.
        window: How windows are cut.
        normalisation: The networks' normalisation.
    """
    values = [item.candles.frame[list(COLUMNS)].to_numpy(dtype=np.float64) for item in plan.instruments]
    stamps = [market_time_features(item.candles) for item in plan.instruments]
    length = window.lookback + plan.rolling.horizon
    for start in range(0, len(plan), window.batch_size):
        rows = range(start, min(start + window.batch_size, len(plan)))
        positions = [(int(plan.series[row]), int(plan.known[row]) - window.lookback) for row in rows]
        windows = [_normalise(values[series][at : at + length], window, normalisation) for series, at in positions]
        yield Batch(
            x=torch.from_numpy(np.stack([x for x, _ in windows])),
            stamp=torch.from_numpy(np.stack([stamps[series][at : at + length] for series, at in positions])),
            known=torch.full((len(rows),), window.lookback, dtype=torch.int64),
            step=torch.tensor([step for _, step in windows], dtype=torch.float32),
            row=torch.arange(rows.start, rows.stop, dtype=torch.int64),
        )


def _normalise(
    values: FloatArray, window: EvalWindow, normalisation: Normalisation
) -> tuple[npt.NDArray[np.float32], float]:
    """A window normalised by its known candles, and the one-step volatility in its units."""
    history = values[: window.lookback]
    scaler = fit_scaler(history, normalisation)
    x = np.clip(scaler.transform(values), -window.clip, window.clip).astype(np.float32)
    return x, float(np.diff(history[:, CLOSE]).std() / scaler.scale[CLOSE])

"""Asking forecasters at every origin of a walk, in batches, and keeping only what a task needs of the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from kronos.candles import PRICES
from kronos.evaluation.forecasters import Forecaster
from kronos.evaluation.paper.origins import Array, Walk
from kronos.forecasts import Forecast
from kronos.metrics import realised_volatility

Progress = Callable[[int, int], None]
Summary = Callable[[Forecast], Array]

BATCH = 512  # origins asked about together
_NOTHING = 1.001e-4  # of a path's highest price; what is sampled below a ten-thousandth of it is mended to that


@dataclass
class Tally:
    """How much of the work is done; tells whoever wants to know."""

    total: int
    progress: Progress | None = None
    done: int = field(default=0, init=False)

    def add(self, amount: int) -> None:
        """Some more is done."""
        self.done += amount
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)

    def finish(self) -> None:
        """All is done, also what turned out to be less."""
        self.add(self.total - self.done)


@dataclass(frozen=True, slots=True)
class Question:
    """How a forecaster is asked.

    Attributes:
        summary: What is kept of a forecast; of the same shape for all.
        samples: Paths of each.
        seed: Of the draws.
        lookback: Candles of history to show, at most; None for all.
    """

    summary: Summary
    samples: int
    seed: int
    lookback: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a forecaster said.

    Attributes:
        values: A summary for each origin; NaN where it made no forecast. [N, …]
        history: The fewest candles that one of its forecasts used, if it says so.
    """

    values: Array
    history: int | None


def ask(walk: Walk, who: Forecaster, question: Question, tally: Tally) -> Answers:
    """Ask about every origin; each forecast sees its own past only."""
    plan = walk.plan
    values: Array | None = None
    used: list[int] = []
    for first in range(0, len(plan), BATCH):
        rows = range(first, min(first + BATCH, len(plan)))
        histories = {plan.name(origin): plan.history(origin) for origin in rows}
        if question.lookback is not None:
            histories = {name: history.tail(question.lookback) for name, history in histories.items()}
        times = {plan.name(origin): plan.times(origin) for origin in rows}
        made = who.forecast(histories, times, samples=question.samples, seed=question.seed)
        for origin, name in zip(rows, histories, strict=True):
            if name in made:
                summary = question.summary(made[name])
                values = np.full((len(plan), *summary.shape), np.nan) if values is None else values
                values[origin] = summary
                used += [int(made[name].made.details["lookback"])] if "lookback" in made[name].made.details else []
        tally.add(len(rows))
    return Answers(np.full(len(plan), np.nan) if values is None else values, min(used, default=None))


def mean_prices(forecast: Forecast) -> Array:
    """Mean open, high, low and close over the paths, as the published `predict` gives them, ``[H, 4]``."""
    mean: Array = forecast.paths[..., : len(PRICES)].mean(axis=0)
    return mean


def realised_variance(forecast: Forecast) -> Array:
    """Mean over the paths of the sum of squared log returns between the forecast closes.

    Infinite where a path fell to nothing: its price was sampled at 0 or below, and its logarithm is none.
    """
    closes, highest = forecast.paths[..., PRICES.index("close")], forecast.paths[..., : len(PRICES)].max(axis=(1, 2))
    if (closes.min(axis=1) <= _NOTHING * highest).any():
        return np.asarray(np.inf)
    return np.asarray(variance_of(closes).mean())


def variance_of(closes: Array) -> Array:
    """Sum of squared log returns between successive closes along the last axis: H - 1 of them, as published."""
    return realised_volatility(np.diff(np.log(closes), axis=-1))


def whole_paths(forecast: Forecast) -> Array:
    """Every path with all its channels, ``[S, H, 6]``."""
    return forecast.paths

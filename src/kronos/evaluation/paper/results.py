"""What a task gives: rows of figures, sentences that follow from them, and all that made them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit
from scipy.stats import rankdata

from kronos.evaluation.forecasters import Forecaster
from kronos.evaluation.paper.forecasting import (
    Aggregator,
    Answers,
    OriginSet,
    Question,
    Summary,
    Times,
    forecast_origins,
)
from kronos.evaluation.paper.settings import PaperSettings, Task
from kronos.metrics import Coefficients, Estimate, information_coefficient, rank_ic
from kronos.metrics.panel import choose_lags, degrees_of_freedom, panel, standard_error
from kronos.typing import FloatArray

KIND, FORMAT = "kronos-paper", 1
MEAN = "mean of groups"
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and how sure it is.

    Attributes:
        value: The number; NaN where there is none, as of the order in a forecast that never changes.
        low: Lower end of its 95 % interval; NaN where it cannot be told.
        high: Upper end.
        t: The value over its HAC standard error; NaN where none was computed.
        p_value: Of that; two-sided.
    """

    value: float
    low: float = _NAN
    high: float = _NAN
    t: float = _NAN
    p_value: float = _NAN

    @classmethod
    def of(cls, found: Coefficients | Estimate) -> Figure:
        """The same from what the metrics give."""
        if isinstance(found, Estimate):
            return cls(found.estimate, found.low, found.high)
        return cls(found.mean, found.low, found.high, found.t_statistic, found.p_value)


@dataclass(frozen=True, slots=True)
class Row:
    """One forecaster in one group.

    Attributes:
        group: A market at an interval, or the mean of all groups, each counted alike.
        forecaster: Its name.
        baseline: Whether it stands there for comparison.
        n: Forecasts that count.
        dates: Distinct dates among them.
        figures: By name, in the order of the table.
    """

    group: str
    forecaster: str
    baseline: bool
    n: int
    dates: int
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True, eq=False)
class PaperResult:
    """A task's outcome.

    Attributes:
        settings: What it was run with.
        rows: Group by group the model, then those beside it; means over groups last.
        sentences: What follows, for people.
        warnings: What a reader must know before believing it.
        notes: What the names of forecasters mean, by name.
        made: What made it: the model and its hashes, origins, dates, versions.
    """

    settings: PaperSettings
    rows: tuple[Row, ...]
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: Mapping[str, str]
    made: Mapping[str, Any]

    @property
    def task(self) -> Task:
        """Which task it was."""
        return self.settings.task

    def row(self, group: str, forecaster: str) -> Row:
        """One forecaster's row in one group.

        Raises:
            KeyError: If there is none.
        """
        found = [row for row in self.rows if (row.group, row.forecaster) == (group, forecaster)]
        if not found:
            raise KeyError(f"There is no row of {forecaster} in {group}.")
        return found[0]

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON (numbers that are none are NaN)."""
        sampling = self.settings.sampling
        return {
            "kind": KIND,
            "format": FORMAT,
            "task": self.task,
            **self.made,
            "sampling": {name: getattr(sampling, name) for name in ("temperature", "top_p", "samples")},
            "seed": self.settings.seed,
            "most": self.settings.origins,
            "not_as_published": self.settings.changed,
            "rows": [asdict(row) | {"figures": {k: asdict(v) for k, v in row.figures.items()}} for row in self.rows],
            "sentences": list(self.sentences),
            "warnings": list(self.warnings),
            "notes": dict(self.notes),
        }


def with_means(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows, and where there are several groups each forecaster's mean over those it has a figure in."""
    groups = {row.group for row in rows}
    if len(groups) < 2:
        return tuple(rows)
    means = []
    for name in dict.fromkeys(row.forecaster for row in rows):
        own = [row for row in rows if row.forecaster == name]
        figures = {figure: Figure(_mean([row.figures[figure].value for row in own])) for figure in own[0].figures}
        means.append(Row(MEAN, name, own[0].baseline, sum(row.n for row in own), 0, figures))
    return (*rows, *means)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else _NAN


_CONFIDENCE = 0.95


def within(predicted: FloatArray, observed: FloatArray) -> tuple[FloatArray, FloatArray]:
    """IC and RankIC of each forecast window: along its steps, averaged over its channels.

    Args:
        predicted: ``[N, H, C]``.
        observed: ``[N, H, C]``.

    Returns:
        Pearson's and Spearman's correlations ``[N]``; NaN where a side does not vary, or nothing was predicted.
    """
    x, y = np.moveaxis(predicted, -1, 0), np.moveaxis(observed, -1, 0)  # [C, N, H]
    ranked = (rankdata(x, axis=-1), rankdata(y, axis=-1))
    return _over_channels(_correlation(x, y)), _over_channels(_correlation(*ranked))


def _correlation(x: FloatArray, y: FloatArray) -> FloatArray:
    """Pearson's correlation along the last axis; NaN where a side is constant."""
    varies = (np.ptp(x, axis=-1) > 0) & (np.ptp(y, axis=-1) > 0)
    a, b = x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True)
    scale = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    known = varies & (scale > 0)
    found: FloatArray = np.divide((a * b).sum(axis=-1), scale, out=np.full(scale.shape, np.nan), where=known)
    return found


def _over_channels(values: FloatArray) -> FloatArray:
    """Mean over the channels that have a correlation, ``[C, N]`` to ``[N]``."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean: FloatArray = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


def mean_figure(values: FloatArray, times: Times) -> Figure:
    """The mean of what is known, with its HAC t statistic and interval."""
    data = panel(times.origins, values)
    if not data.n:
        return Figure(_NAN)
    mean = float(data.columns[0].mean())
    lags = choose_lags(data.dates, times.overlap, None)
    error = standard_error(data, data.columns[0] - mean, lags)
    if not error > 0:
        return Figure(mean)
    degrees = degrees_of_freedom(data.dates, lags)
    half = error * float(stdtrit(degrees, (1 + _CONFIDENCE) / 2))
    t = mean / error
    return Figure(mean, mean - half, mean + half, t, 2 * float(stdtr(degrees, -abs(t))))


def pooled(predicted: FloatArray, observed: FloatArray, times: Times) -> tuple[Figure, Figure]:
    """IC and RankIC over all forecasts of a group at once, ``[N]`` each, as the paper has them of returns."""
    if not _varies(predicted):
        return Figure(_NAN), Figure(_NAN)
    everything = pd.Index(["all"] * len(predicted))
    options = {"over": "time", "overlap": times.overlap, "confidence": _CONFIDENCE}
    found = [
        coefficient(predicted, observed, times.origins, everything, **options)  # type: ignore[arg-type]
        for coefficient in (information_coefficient, rank_ic)
    ]
    return Figure.of(found[0]), Figure.of(found[1])


def by_date(predicted: FloatArray, observed: FloatArray, times: Times) -> Figure:
    """RankIC across the instruments of each date that has at least five, averaged over dates."""
    if not _varies(predicted):
        return Figure(_NAN)
    found = rank_ic(predicted, observed, times.origins, overlap=times.overlap, confidence=_CONFIDENCE)
    return Figure.of(found) if len(found.values) and not math.isnan(found.mean) else Figure(_NAN)


def _varies(values: FloatArray) -> bool:
    known = values[~np.isnan(values)]
    return known.size > 1 and bool(np.ptp(known) > 0)


@dataclass(frozen=True, slots=True, eq=False)
class TaskContext:
    """A task at one interval.

    Attributes:
        walk: The origins.
        model: Who is asked.
        settings: Of the task.
        tally: Of what is done.
    """

    walk: OriginSet
    model: Forecaster
    settings: PaperSettings
    tally: Aggregator

    def ask_model(self, summary: Summary, samples: int | None = None, walk: OriginSet | None = None) -> Answers:
        """Ask the model, with the history and the paths of the settings."""
        settings, windows = self.settings, self.walk.windows
        wanted = settings.sampling.samples if samples is None else samples
        question = Question(summary, wanted, settings.seed, windows.lookback)
        return forecast_origins(walk or self.walk, self.model, question, self.tally)


@dataclass(frozen=True, slots=True, eq=False)
class TaskResult:
    """What a task gives at one interval.

    Attributes:
        rows: Group by group, the model first.
        notes: What names of forecasters mean.
        history: The fewest candles that a forecast of the model used, if it says so.
        warnings: What a reader must know.
    """

    rows: tuple[Row, ...]
    notes: Mapping[str, str]
    history: int | None
    warnings: tuple[str, ...] = field(default=())

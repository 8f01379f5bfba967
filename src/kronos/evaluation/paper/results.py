"""Results of the paper's tasks: rows of figures, correlations with their uncertainty, inputs and outputs of a task."""

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
    ForecastSpec,
    OriginForecasts,
    OriginSet,
    OriginTimes,
    PathStatistic,
    WorkCounter,
    forecast_origins,
)
from kronos.evaluation.paper.settings import PaperSettings, Task
from kronos.metrics import Coefficients, Estimate, information_coefficient, rank_ic
from kronos.metrics.panel import build_panel, choose_lags, degrees_of_freedom, standard_error
from kronos.typing import FloatArray

KIND, FORMAT = "kronos-paper", 1
MEAN = "mean of groups"
_NAN = float("nan")
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class TaskStatistic:
    """A figure with its uncertainty.

    Attributes:
        value: The value; NaN if undefined, such as a correlation of a constant forecast.
        low: Lower end of the 95 % interval; NaN if unknown.
        high: Upper end of the 95 % interval.
        t: t statistic with a HAC standard error; NaN if not computed.
        p_value: Two-sided p-value of ``t``.
    """

    value: float
    low: float = _NAN
    high: float = _NAN
    t: float = _NAN
    p_value: float = _NAN

    @classmethod
    def of(cls, found: Coefficients | Estimate) -> TaskStatistic:
        """Convert a result of `kronos.metrics`."""
        if isinstance(found, Estimate):
            return cls(found.estimate, found.low, found.high)
        return cls(found.mean, found.low, found.high, found.t_statistic, found.p_value)


@dataclass(frozen=True, slots=True)
class TaskRow:
    """The figures of one forecaster in one group.

    Attributes:
        group: A market at an interval, or the unweighted mean of all groups.
        forecaster: Name of the forecaster.
        baseline: Whether it is a baseline or naive rule.
        n: Number of forecasts.
        dates: Number of distinct dates.
        figures: Figures by name, in the order of the table.
    """

    group: str
    forecaster: str
    baseline: bool
    n: int
    dates: int
    figures: Mapping[str, TaskStatistic]


@dataclass(frozen=True, slots=True, eq=False)
class PaperResult:
    """The result of a task.

    Attributes:
        settings: Settings of the task.
        rows: By group, the model first; then the means over groups.
        sentences: Conclusions in words.
        warnings: Sentences that qualify the figures.
        notes: Explanation of each forecaster's name.
        provenance: The model with its hashes, origins, dates and versions.
    """

    settings: PaperSettings
    rows: tuple[TaskRow, ...]
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: Mapping[str, str]
    provenance: Mapping[str, Any]

    @property
    def task(self) -> Task:
        """The task."""
        return self.settings.task

    def row(self, group: str, forecaster: str) -> TaskRow:
        """Return the row of one forecaster in one group.

        Raises:
            KeyError: If there is none.
        """
        found = [row for row in self.rows if (row.group, row.forecaster) == (group, forecaster)]
        if not found:
            raise KeyError(f"There is no row of {forecaster} in {group}.")
        return found[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `kronos paper` writes; unknown numbers are NaN."""
        sampling = self.settings.sampling
        stored_names = {"max_origins": "most"}
        return {
            "kind": KIND,
            "format": FORMAT,
            "task": self.task,
            **self.provenance,
            "sampling": {name: getattr(sampling, name) for name in ("temperature", "top_p", "samples")},
            "seed": self.settings.seed,
            "most": self.settings.origin_limit,
            "not_as_published": [stored_names.get(name, name) for name in self.settings.changed],
            "rows": [asdict(row) | {"figures": {k: asdict(v) for k, v in row.figures.items()}} for row in self.rows],
            "sentences": list(self.sentences),
            "warnings": list(self.warnings),
            "notes": dict(self.notes),
        }


def with_means(rows: Sequence[TaskRow]) -> tuple[TaskRow, ...]:
    """Return the rows, and if there are several groups also each forecaster's mean over those with a figure."""
    groups = {row.group for row in rows}
    if len(groups) < 2:
        return tuple(rows)
    means = []
    for name in dict.fromkeys(row.forecaster for row in rows):
        own = [row for row in rows if row.forecaster == name]
        figures = {key: TaskStatistic(_mean([row.figures[key].value for row in own])) for key in own[0].figures}
        means.append(TaskRow(MEAN, name, own[0].baseline, sum(row.n for row in own), 0, figures))
    return (*rows, *means)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else _NAN


# Correlations --------------------------------------------------------------------


def within_windows(predicted: FloatArray, observed: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Compute IC and RankIC of each forecast window along its steps, averaged over its channels.

    Args:
        predicted: Forecasts ``[N, H, C]``.
        observed: Outcomes ``[N, H, C]``.

    Returns:
        Pearson's and Spearman's correlations ``[N]``; NaN where a side is constant or there is no forecast.
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
    result: FloatArray = np.divide((a * b).sum(axis=-1), scale, out=np.full(scale.shape, np.nan), where=known)
    return result


def _over_channels(values: FloatArray) -> FloatArray:
    """Mean over the channels that have a correlation, ``[C, N]`` to ``[N]``."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean: FloatArray = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


def mean_figure(values: FloatArray, times: OriginTimes) -> TaskStatistic:
    """Average the known values, with a HAC t statistic and interval."""
    data = build_panel(times.origins, values)
    if not data.n:
        return TaskStatistic(_NAN)
    mean = float(data.columns[0].mean())
    lags = choose_lags(data.dates, times.overlap, None)
    error = standard_error(data, data.columns[0] - mean, lags)
    if not error > 0:
        return TaskStatistic(mean)
    degrees = degrees_of_freedom(data.dates, lags)
    half = error * float(stdtrit(degrees, (1 + _CONFIDENCE) / 2))
    t = mean / error
    return TaskStatistic(mean, mean - half, mean + half, t, 2 * float(stdtr(degrees, -abs(t))))


def pooled_correlations(
    predicted: FloatArray, observed: FloatArray, times: OriginTimes
) -> tuple[TaskStatistic, TaskStatistic]:
    """Compute IC and RankIC over all forecasts of a group at once, ``[N]`` each, as in the paper's return task."""
    if not _varies(predicted):
        return TaskStatistic(_NAN), TaskStatistic(_NAN)
    one_series = pd.Index(["all"] * len(predicted))
    options = {"over": "time", "overlap": times.overlap, "confidence": _CONFIDENCE}
    ic, rank = (
        coefficient(predicted, observed, times.origins, one_series, **options)  # type: ignore[arg-type]
        for coefficient in (information_coefficient, rank_ic)
    )
    return TaskStatistic.of(ic), TaskStatistic.of(rank)


def rank_ic_by_date(predicted: FloatArray, observed: FloatArray, times: OriginTimes) -> TaskStatistic:
    """Compute RankIC across the instruments of each date that has at least five, averaged over dates."""
    if not _varies(predicted):
        return TaskStatistic(_NAN)
    found = rank_ic(predicted, observed, times.origins, overlap=times.overlap, confidence=_CONFIDENCE)
    return TaskStatistic.of(found) if len(found.values) and not math.isnan(found.mean) else TaskStatistic(_NAN)


def _varies(values: FloatArray) -> bool:
    known = values[~np.isnan(values)]
    return known.size > 1 and bool(np.ptp(known) > 0)


# What a task needs and returns -----------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class TaskContext:
    """The inputs of a task at one interval.

    Attributes:
        origins: The origins.
        model: The evaluated forecaster.
        settings: Settings of the task.
        work: Counter of finished work.
    """

    origins: OriginSet
    model: Forecaster
    settings: PaperSettings
    work: WorkCounter

    def forecast_model(
        self, statistic: PathStatistic, samples: int | None = None, origins: OriginSet | None = None
    ) -> OriginForecasts:
        """Forecast with the model, with the history and the samples of the settings."""
        settings, windows = self.settings, self.origins.windows
        count = settings.sampling.samples if samples is None else samples
        spec = ForecastSpec(statistic, count, settings.seed, windows.lookback)
        return forecast_origins(origins or self.origins, self.model, spec, self.work)


@dataclass(frozen=True, slots=True, eq=False)
class TaskResult:
    """The results of a task at one interval.

    Attributes:
        rows: By group, the model first.
        notes: Explanation of each forecaster's name.
        history: The smallest number of candles that a forecast of the model used; None if unknown.
        warnings: Sentences that qualify the figures.
    """

    rows: tuple[TaskRow, ...]
    notes: Mapping[str, str]
    history: int | None
    warnings: tuple[str, ...] = field(default=())

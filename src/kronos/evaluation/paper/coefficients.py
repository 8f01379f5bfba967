"""Correlations as the paper takes them, and how sure their means are.

Standard errors and t statistics are HAC, formed by date: forecasts of one date move together.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit
from scipy.stats import rankdata

from kronos.evaluation.paper.origins import Array, Times
from kronos.evaluation.paper.results import Figure
from kronos.metrics import information_coefficient, rank_ic
from kronos.metrics.panels import choose_lags, freedom, panel, standard_error

_CONFIDENCE = 0.95
_NAN = float("nan")


def within(predicted: Array, observed: Array) -> tuple[Array, Array]:
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


def _correlation(x: Array, y: Array) -> Array:
    """Pearson's correlation along the last axis; NaN where a side is constant."""
    varies = (np.ptp(x, axis=-1) > 0) & (np.ptp(y, axis=-1) > 0)
    a, b = x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True)
    scale = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    known = varies & (scale > 0)
    found: Array = np.divide((a * b).sum(axis=-1), scale, out=np.full(scale.shape, np.nan), where=known)
    return found


def _over_channels(values: Array) -> Array:
    """Mean over the channels that have a correlation, ``[C, N]`` to ``[N]``."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean: Array = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


def mean_figure(values: Array, times: Times) -> Figure:
    """The mean of what is known, with its HAC t statistic and interval."""
    data = panel(times.origins, values)
    if not data.n:
        return Figure(_NAN)
    mean = float(data.columns[0].mean())
    lags = choose_lags(data.dates, times.overlap, None)
    error = standard_error(data, data.columns[0] - mean, lags)
    if not error > 0:
        return Figure(mean)
    degrees = freedom(data.dates, lags)
    half = error * float(stdtrit(degrees, (1 + _CONFIDENCE) / 2))
    t = mean / error
    return Figure(mean, mean - half, mean + half, t, 2 * float(stdtr(degrees, -abs(t))))


def pooled(predicted: Array, observed: Array, times: Times) -> tuple[Figure, Figure]:
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


def by_date(predicted: Array, observed: Array, times: Times) -> Figure:
    """RankIC across the instruments of each date that has at least five, averaged over dates."""
    if not _varies(predicted):
        return Figure(_NAN)
    found = rank_ic(predicted, observed, times.origins, overlap=times.overlap, confidence=_CONFIDENCE)
    return Figure.of(found) if len(found.values) and not math.isnan(found.mean) else Figure(_NAN)


def _varies(values: Array) -> bool:
    known = values[~np.isnan(values)]
    return known.size > 1 and bool(np.ptp(known) > 0)

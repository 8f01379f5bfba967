"""Ablation of a calibration: the effect of each part, alone and combined, on dates it was not fitted to.

`cross_fitted` corrects every forecast with a calibration that saw nothing of its time: dates are cut into consecutive
folds, and each fold is corrected by a calibration fitted to the others, without origins whose outcomes reach into it.
One set of dates is thus enough to choose parts; the choice is then confirmed on other dates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kronos.calibration import PARTS, CalibrationSet, fit
from kronos.errors import ParameterError
from kronos.evaluation.aggregate import ALL
from kronos.evaluation.scoring import equal_mean, equal_share, equal_skill, large_groups
from kronos.forecasts import BANDS
from kronos.forecasts.statistics import SAME_PRICE
from kronos.metrics import Estimate, band_ends, crps, in_band
from kronos.typing import BoolArray, FloatArray, IntArray


def default_ablations(pooling: bool = True) -> dict[str, tuple[str, ...]]:
    """Return the sets of parts to compare: none, each alone, added one by one, all, and all but pooling.

    Args:
        pooling: Whether there is a baseline to pool with.
    """
    parts = tuple(part for part in PARTS if pooling or part != "pooling")
    settings: dict[str, tuple[str, ...]] = {"raw": ()}
    settings |= {f"{part} alone": (part,) for part in parts}
    for count in range(2, len(parts)):
        settings[" + ".join(parts[:count])] = parts[:count]
    settings["all"] = parts
    if pooling:
        settings["all but pooling"] = tuple(part for part in parts if part != "pooling")
    return settings


@dataclass(frozen=True, slots=True)
class AblationRow:
    """The figures of one set of parts in one group at one step.

    Attributes:
        setting: Name of the set of parts.
        group: Market at an interval, or ``all``, where every group of enough origins has the same weight.
        step: Steps ahead.
        n: Number of forecasts.
        crps: Mean CRPS in σ√h.
        gain: 1 − CRPS / raw CRPS, with an interval by blocks of dates.
        coverage: Share of outcomes within the 50, 80 and 95 % bands, by band.
        width: Mean width of the 80 % band in σ√h.
    """

    setting: str
    group: str
    step: int
    n: int
    crps: float
    gain: Estimate
    coverage: Mapping[str, Estimate]
    width: float


def ablate(
    raw: CalibrationSet, corrected: Mapping[str, CalibrationSet], steps: Sequence[int], stride: int
) -> list[AblationRow]:
    """Compare corrected forecasts with the raw ones.

    Args:
        raw: The raw forecasts.
        corrected: The same forecasts, corrected, by setting.
        steps: Steps ahead to report.
        stride: Candles between successive origins of a series.
    """
    rows = []
    for step in steps:
        overlap = max(1, math.ceil(step / stride))
        raw_losses, _, _ = _scores(raw, step)
        for setting, forecasts in corrected.items():
            losses, inside, width = _scores(forecasts, step)
            for group, members in _group_rows(raw):
                known = members & np.isfinite(losses) & np.isfinite(raw_losses)
                labels, dates = np.asarray(raw.group)[known], np.asarray(raw.dates)[known]
                rows.append(
                    AblationRow(
                        setting=setting,
                        group=group,
                        step=step,
                        n=int(known.sum()),
                        crps=equal_mean(losses[known], labels),
                        gain=equal_skill(losses[known], raw_losses[known], labels, dates, overlap),
                        coverage={
                            band: equal_share(hit[known], labels, dates, overlap) for band, hit in inside.items()
                        },
                        width=equal_mean(width[known], labels),
                    )
                )
    return rows


def cross_fitted(
    past: CalibrationSet, parts: Sequence[str], *, folds: int = 5, symmetric: bool = True
) -> CalibrationSet:
    """Correct forecasts with calibrations fitted to other dates.

    Args:
        past: Raw forecasts and their outcomes.
        parts: Parts to fit.
        folds: Number of folds; each is a stretch of consecutive dates of every group.
        symmetric: See `kronos.calibration.fit`.

    Raises:
        ParameterError: If there are fewer than two folds.
        DataError: If a fold leaves too few forecasts to fit to.
    """
    if folds < 2:
        raise ParameterError(f"Invalid number of folds {folds}: cross-fitting needs at least 2 folds.")
    if not parts:
        return past
    fold = _folds(past, folds)
    returns = np.array(past.returns, dtype=np.float32)
    draws = np.full((len(past), returns.shape[2]), float(returns.shape[1]))
    for number in range(folds):
        held_out = fold == number
        if not held_out.any():
            continue
        training = past.select(~held_out & ~_reaches_into(past, fold, number))
        corrected = fit(training, parts, symmetric=symmetric).apply_set(past.select(held_out))
        returns[held_out] = corrected.returns
        if corrected.draws is not None:
            draws[held_out] = corrected.draws
    return replace(past, returns=returns, draws=draws)


def _folds(past: CalibrationSet, folds: int) -> IntArray:
    """The fold of each origin: consecutive stretches with about equally many origins of each group."""
    result = np.zeros(len(past), dtype=np.int64)
    for group in past.counts():
        rows = np.flatnonzero(past.group == group)
        times, place, counts = np.unique(past.dates[rows], return_inverse=True, return_counts=True)
        before = np.cumsum(counts) - counts
        result[rows] = (before * folds // len(rows))[place] if len(times) else 0
    return result


def _reaches_into(past: CalibrationSet, fold: IntArray, number: int) -> BoolArray:
    """Origins of any group whose horizon overlaps a fold in time, because markets move together."""
    result = np.zeros(len(past), dtype=np.bool_)
    starts, ends = np.asarray(past.dates), np.asarray(past.known_at)
    for group in past.counts():
        held_out = (past.group == group) & (fold == number)
        if held_out.any():
            result |= (ends > starts[held_out].min()) & (starts < ends[held_out].max())
    return result


def _scores(forecasts: CalibrationSet, step: int) -> tuple[FloatArray, dict[str, FloatArray], FloatArray]:
    """CRPS in σ√h, whether each band contains the outcome, and the width of the 80 % band in σ√h; each [N]."""
    at = int(np.searchsorted(np.asarray(forecasts.steps), step))
    samples = np.asarray(forecasts.returns[:, :, at], dtype=np.float64).T  # [S, N]
    actual = np.asarray(forecasts.actual, dtype=np.float64)[:, at]
    sigma = np.asarray(forecasts.sigma, dtype=np.float64)
    unit = np.where(sigma > 0, sigma, np.nan) * math.sqrt(step)
    lower, upper = band_ends(samples, BANDS)
    inside = {f"{band * 100:.0f}": in_band(lower[i], upper[i], actual, SAME_PRICE) for i, band in enumerate(BANDS)}
    draws = None if forecasts.draws is None else np.asarray(forecasts.draws)[:, at]
    return crps(samples, actual, draws=draws) / unit, inside, (upper[1] - lower[1]) / unit


def _group_rows(past: CalibrationSet) -> list[tuple[str, BoolArray]]:
    """The rows of all large groups together, and of each group."""
    labels = np.asarray(past.group)
    return [
        (ALL, np.isin(labels, sorted(large_groups(labels)))),
        *((group, labels == group) for group in past.counts()),
    ]

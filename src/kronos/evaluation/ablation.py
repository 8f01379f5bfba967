"""What each part of a calibration does, alone and together with the others, on dates that it wasn't fitted on.

`cross_fitted` corrects every forecast by a calibration that saw none of its time: dates are cut into consecutive folds,
and each fold is corrected by what the others teach, less those whose outcomes reach into it. So one set of dates is
enough to choose by; what was chosen is then confirmed on other dates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kronos.calibration import PARTS, CalibrationSet, fit
from kronos.errors import ParameterError
from kronos.evaluation.aggregate import ALL
from kronos.evaluation.scoring import count_by_group, equal_mean, equal_share, equal_skill
from kronos.forecasts import BANDS
from kronos.metrics import Estimate, band_ends, crps, in_band
from kronos.typing import FloatArray


def default_ablations(pooling: bool = True) -> dict[str, tuple[str, ...]]:
    """The settings to compare: raw, every part alone, parts added one after the other, and all but pooling.

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
class Effect:
    """One setting in one group at one step.

    Attributes:
        setting: Its name.
        group: Market at an interval, or ``all``, where every group of enough origins counts the same.
        step: Steps ahead.
        n: Forecasts scored.
        crps: Mean CRPS in σ√h.
        gain: 1 - CRPS / raw CRPS, with its interval by blocks of dates.
        coverage: Share of outcomes within the 50, 80 and 95 % bands, by the band.
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
) -> list[Effect]:
    """Score corrected forecasts beside the raw ones.

    Args:
        raw: The forecasts as they were.
        corrected: The same ones corrected, by setting.
        steps: Steps ahead to report.
        stride: Candles from one origin of a series to the next.
    """
    found = []
    for step in steps:
        overlap = max(1, math.ceil(step / stride))
        losses, _, _ = _scores(raw, step)
        for name, trials in corrected.items():
            own, hit, width = _scores(trials, step)
            for group, rows in _groups(raw):
                known = rows & np.isfinite(own) & np.isfinite(losses)
                labels, dates = np.asarray(raw.group)[known], np.asarray(raw.dates)[known]
                found.append(
                    Effect(
                        setting=name,
                        group=group,
                        step=step,
                        n=int(known.sum()),
                        crps=equal_mean(own[known], labels),
                        gain=equal_skill(own[known], losses[known], labels, dates, overlap),
                        coverage={band: equal_share(hits[known], labels, dates, overlap) for band, hits in hit.items()},
                        width=equal_mean(width[known], labels),
                    )
                )
    return found


def cross_fitted(
    trials: CalibrationSet, parts: Sequence[str], *, folds: int = 5, symmetric: bool = True
) -> CalibrationSet:
    """Forecasts corrected by calibrations that saw none of their time.

    Args:
        trials: Raw forecasts.
        parts: Which parts to fit.
        folds: How many; each is a stretch of consecutive dates of every group.
        symmetric: As for `kronos.calibration.fit`.

    Raises:
        ParameterError: If there are fewer than two folds.
        DataError: If a fold leaves too few forecasts to fit on.
    """
    if folds < 2:
        raise ParameterError(f"Cross-fitting needs at least 2 folds, not {folds}.")
    if not parts:
        return trials
    fold = _folds(trials, folds)
    result = np.array(trials.returns, dtype=np.float32)
    draws = np.full((len(trials), result.shape[2]), float(result.shape[1]))
    for number in range(folds):
        held = fold == number
        if not held.any():
            continue
        calibration = fit(trials.select(~held & ~_reaches_into(trials, fold, number)), parts, symmetric=symmetric)
        corrected = calibration.apply_trials(trials.select(held))
        result[held] = corrected.returns
        if corrected.draws is not None:
            draws[held] = corrected.draws
    return replace(trials, returns=result, draws=draws)


def _folds(trials: CalibrationSet, folds: int) -> NDArray[np.int64]:
    """Each origin's fold: stretches of about as many origins of its group."""
    result = np.zeros(len(trials), dtype=np.int64)
    for group in trials.counts():
        rows = np.flatnonzero(trials.group == group)
        times, place, counts = np.unique(trials.dates[rows], return_inverse=True, return_counts=True)
        before = np.cumsum(counts) - counts
        result[rows] = (before * folds // len(rows))[place] if len(times) else 0
    return result


def _reaches_into(trials: CalibrationSet, fold: NDArray[np.int64], number: int) -> NDArray[np.bool_]:
    """Origins of any group whose horizon shares time with this fold's: markets of one time move together."""
    result = np.zeros(len(trials), dtype=np.bool_)
    starts, ends = np.asarray(trials.dates), np.asarray(trials.known_at)
    for group in trials.counts():
        held = (trials.group == group) & (fold == number)
        if held.any():
            result |= (ends > starts[held].min()) & (starts < ends[held].max())
    return result


def _scores(trials: CalibrationSet, step: int) -> tuple[FloatArray, dict[str, FloatArray], FloatArray]:
    """CRPS in σ√h `[N]`, whether each band held the outcome, and the 80 % band's width in σ√h."""
    at = int(np.searchsorted(np.asarray(trials.steps), step))
    samples = np.asarray(trials.returns[:, :, at], dtype=np.float64).T  # [S, N]
    actual = np.asarray(trials.actual, dtype=np.float64)[:, at]
    sigma = np.asarray(trials.sigma, dtype=np.float64)
    unit = np.where(sigma > 0, sigma, np.nan) * math.sqrt(step)
    lower, upper = band_ends(samples, BANDS)
    hit = {f"{band * 100:.0f}": in_band(lower[i], upper[i], actual) for i, band in enumerate(BANDS)}
    draws = None if trials.draws is None else np.asarray(trials.draws)[:, at]
    return crps(samples, actual, draws=draws) / unit, hit, (upper[1] - lower[1]) / unit


def _groups(trials: CalibrationSet) -> list[tuple[str, NDArray[np.bool_]]]:
    """The rows of all groups that count together, and of every group."""
    labels = np.asarray(trials.group)
    return [(ALL, np.isin(labels, sorted(count_by_group(labels)))), *((one, labels == one) for one in trials.counts())]

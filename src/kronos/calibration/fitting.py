"""Fitting of a calibration: one part after the other, each to the result of the ones before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kronos import provenance
from kronos.calibration import transforms
from kronos.calibration.calibration import Calibration
from kronos.calibration.calibration_set import CalibrationSet
from kronos.calibration.conformal import estimate_corrections, estimate_dispersion
from kronos.calibration.curves import MIN_ORIGINS, Curve, Estimates, choose_knots, smooth_and_shrink
from kronos.calibration.estimators import Blocks, averaging_gain, minimise_crps, resolution_gain, time_blocks
from kronos.calibration.transforms import CENTRE, LIMITS, NEUTRAL, PARTS, apply_part, check_parts, curve_names
from kronos.errors import DataError, ParameterError
from kronos.typing import FloatArray, IntArray

_MIN_ORIGINS = 50  # for any fit
_MIN_PATHS = 2
_BY_CRPS = ("anchor", "drift", "pooling")
_MARGIN = 0.5  # estimates may exceed the limits by this before shrinkage, so that noise at a limit is not biased


def fit(
    past: CalibrationSet,
    parts: Sequence[str] = PARTS,
    *,
    symmetric: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Calibration:
    """Fit a calibration to past forecasts.

    Anchor, drift and pooling minimise the mean CRPS in units of σ√h at each step, by group and pooled; dispersion and
    conformal corrections are quantiles of past errors. All are smoothed over steps and shrunk as described in
    `kronos.calibration.curves`. Exclude the dates of a later evaluation from ``past``.

    Args:
        past: Past forecasts and their outcomes.
        parts: Parts to fit, from `PARTS` in any order.
        symmetric: Shift both ends of a band equally in the conformal part, and not the median.
        settings: Further settings to store, such as lookback and stride; JSON values.

    Raises:
        ParameterError: If a part is unknown, pooling has no baseline, or there are fewer than 2 paths.
        DataError: If fewer than 50 origins have an outcome.
    """
    parts = check_parts(parts)
    if "pooling" in parts and past.baseline is None:
        raise ParameterError("Pooling needs a calibration set with baseline paths: add them, or leave pooling out.")
    if past.returns.shape[1] < _MIN_PATHS:
        raise ParameterError(f"A calibration needs forecasts of at least {_MIN_PATHS} paths.")
    state = _FitState.of(past)
    curves: dict[str, Curve] = {}
    for part in parts:
        fitted = _fit_part(state, part, symmetric=symmetric)
        curves |= fitted
        state.apply(part, fitted)
    return Calibration(
        identity=past.identity,
        parts=parts,
        curves=curves,
        baseline=past.baseline_name if "pooling" in parts else "",
        fitted_on=past.summary(),
        settings={"symmetric": symmetric, **(settings or {})},
        versions=provenance.versions(),
        created=provenance.now_utc(),
    )


def linear_form(
    part: str, values: FloatArray, level_error: FloatArray, baseline: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Express anchor, drift or pooling as a + θ d in its factor: a and d `[N, S]`, from ordered values `[N, S]`."""
    if part == "anchor":
        return values, np.broadcast_to(-level_error[:, None], values.shape)
    middle = transforms.median(values)[:, None]
    if part == "drift":
        return values - middle, np.broadcast_to(middle, values.shape)
    if baseline is None:
        raise ParameterError("Pooling needs a baseline.")
    return baseline, values - baseline


@dataclass
class _FitState:
    """A calibration set in units of σ√h and by step, updated after each part.

    Attributes:
        values: Ordered values of the paths. [H, N, S]
        actual: Outcomes. [H, N]
        level_error: Level errors; 0 where unknown. [H, N]
        baseline: Ordered values of the baseline, or None. [H, N, S]
        steps: Steps ahead. [H]
        groups: Names of the groups. [N]
        rows: Positions of each sufficiently large group, by name.
        dates: Times of the origins. [N]
        paths: Numbers of paths of the model's and the baseline's forecasts.
    """

    values: FloatArray
    actual: FloatArray
    level_error: FloatArray
    baseline: FloatArray | None
    steps: IntArray
    groups: NDArray[np.str_]
    rows: dict[str, NDArray[np.intp]]
    dates: NDArray[np.datetime64]
    paths: tuple[int, int]

    @classmethod
    def of(cls, past: CalibrationSet) -> _FitState:
        """Standardise a calibration set, without the origins that have no unit or no outcome."""
        unit = np.asarray(past.sigma, dtype=np.float64)
        known = np.isfinite(unit) & (unit > 0) & np.isfinite(past.actual).any(axis=1)
        if known.sum() < _MIN_ORIGINS:
            raise DataError(
                f"A calibration needs at least {_MIN_ORIGINS} past forecasts with an outcome; got {int(known.sum())}."
            )
        steps, groups = np.asarray(past.steps), np.asarray(past.group)[known]
        scale = unit[known] * np.sqrt(steps)[:, None]  # [H, N]
        errors = np.zeros(len(past)) if past.level_error is None else np.nan_to_num(past.level_error)
        size = past.returns.shape[1]
        names, counts = np.unique(groups, return_counts=True)
        return cls(
            values=_by_step(past.returns[known], scale, size),
            actual=np.asarray(past.actual, dtype=np.float64)[known].T / scale,
            level_error=errors[known] / scale,
            baseline=None if past.baseline is None else _by_step(past.baseline[known], scale, size),
            steps=steps,
            groups=groups,
            rows={str(name): np.flatnonzero(groups == name) for name in names[counts >= MIN_ORIGINS]},
            dates=past.dates[known],
            paths=(size, size if past.baseline is None else int(past.baseline.shape[1])),
        )

    def samples(self) -> list[tuple[NDArray[np.intp], Blocks]]:
        """Return rows and blocks of all origins together, then of each group."""
        everything = np.arange(len(self.dates))
        return [(rows, time_blocks(self.dates[rows])) for rows in (everything, *self.rows.values())]

    def apply(self, part: str, curves: Mapping[str, Curve]) -> None:
        """Apply a fitted part to the values."""
        factors = {name: curve.at_groups(self.steps, self.groups).T for name, curve in curves.items()}  # [H, N]
        for h in range(len(self.steps)):
            other = None if self.baseline is None else self.baseline[h]
            self.values[h] = apply_part(
                part,
                self.values[h],
                lambda name, h=h: factors[name][h],  # type: ignore[misc]
                CENTRE in curves,
                self.level_error[h],
                other,
            )


def _by_step(paths: NDArray[np.floating[Any]], scale: FloatArray, size: int) -> FloatArray:
    """Sort paths `[N, S, H]` by step and divide them by ``scale``, `[H, N, size]`."""
    result = np.empty((paths.shape[2], paths.shape[0], size))
    for h in range(paths.shape[2]):
        values = np.sort(paths[:, :, h].astype(np.float64), axis=1) / scale[h][:, None]
        result[h] = transforms.resize_ensemble(values, size)
    return result


def _fit_part(state: _FitState, part: str, *, symmetric: bool) -> dict[str, Curve]:
    names = curve_names(part, symmetric=symmetric)
    samples = state.samples()
    shape = (len(names), len(samples), len(state.steps))
    values, errors = np.full(shape, np.nan), np.full(shape, np.inf)
    for h in range(len(state.steps)):
        for g, estimates in enumerate(_estimates(state, part, h, samples, symmetric)):
            for i, name in enumerate(names):
                values[i, g, h], errors[i, g, h] = estimates[name]
    groups = tuple(state.rows)
    return {name: _curve(part, Estimates(values[i], errors[i], groups), state.steps) for i, name in enumerate(names)}


def _estimates(
    state: _FitState, part: str, h: int, samples: list[tuple[NDArray[np.intp], Blocks]], symmetric: bool
) -> Iterator[dict[str, tuple[float, float]]]:
    """Yield raw estimates of a part at one step for each sample of origins."""
    values, outcome = state.values[h], state.actual[h]
    other = None if state.baseline is None else state.baseline[h]
    form = linear_form(part, values, state.level_error[h], other) if part in _BY_CRPS else ()
    for rows, blocks in samples:
        known = np.isfinite(outcome[rows])
        rows, blocks = rows[known], blocks[known]
        if len(rows) < MIN_ORIGINS:
            yield dict.fromkeys(curve_names(part, symmetric=symmetric), (float("nan"), float("inf")))
        elif part in _BY_CRPS:
            start, change = (term[rows] for term in form)
            bounds = (LIMITS[part][0] - _MARGIN, LIMITS[part][1] + _MARGIN)
            pooled = part == "pooling"
            averaging = averaging_gain(start + change, start, state.paths) if pooled else 0.0
            resolution = resolution_gain(start, state.paths) if pooled else 0.0
            neutral = NEUTRAL[part]
            yield {part: minimise_crps(start, change, outcome[rows], blocks, bounds, neutral, averaging, resolution)}
        elif part == "dispersion":
            yield {part: estimate_dispersion(values[rows], outcome[rows], blocks)}
        else:
            yield estimate_corrections(values[rows], outcome[rows], blocks, symmetric=symmetric)


def _curve(part: str, estimates: Estimates, steps: IntArray) -> Curve:
    """Smooth and shrink raw estimates to a curve; those of the dispersion in logs."""
    logs = part == "dispersion"
    neutral = NEUTRAL.get(part, 0.0)
    if logs:
        with np.errstate(invalid="ignore"):
            estimates = Estimates(np.log(estimates.values), estimates.errors / estimates.values, estimates.groups)
        neutral = float(np.log(neutral))
    pooled, groups = smooth_and_shrink(estimates, steps, neutral, sceptical=part in ("drift", "pooling"))
    if logs:
        pooled, groups = np.exp(pooled), np.exp(groups)
    if part in LIMITS:
        pooled, groups = np.clip(pooled, *LIMITS[part]), np.clip(groups, *LIMITS[part])
    by_group = dict(zip(estimates.groups, (tuple(row) for row in groups.tolist()), strict=True))
    return Curve(tuple(choose_knots(steps).tolist()), tuple(pooled.tolist()), by_group)

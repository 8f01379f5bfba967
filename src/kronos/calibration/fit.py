"""Fitting a calibration: one part after the other, each on what the ones before it leave."""

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
from kronos.calibration.conformal import corrections, dispersion
from kronos.calibration.curves import LEAST_ORIGINS, Curve, Estimates, knots_of, smooth_and_shrink
from kronos.calibration.estimators import Blocks, averaging_gain, blocks_of, finer_gain, minimise_crps
from kronos.calibration.transforms import CENTRE, LIMITS, NEUTRAL, PARTS, apply_part, check_parts, curve_names
from kronos.errors import DataError, ParameterError
from kronos.typing import FloatArray

_LEAST = 50  # origins, to fit anything
_LEAST_PATHS = 2
_BY_CRPS = ("anchor", "drift", "pooling")
_WIDER = 0.5  # beyond their limits shares may be estimated, so that noise at a limit doesn't bias them


def fit(
    trials: CalibrationSet,
    parts: Sequence[str] = PARTS,
    *,
    symmetric: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Calibration:
    """Fit a calibration on past forecasts.

    Anchor, drift and pooling take the factor with the least mean CRPS in units of σ√h, at each step, by group and
    pooled; dispersion and conformal corrections are quantiles of past errors. All are smoothed over steps and
    shrunk as `kronos.calibration.curves` says. Nothing but the trials is looked at; keep the
    dates to judge by out of them.

    Args:
        trials: Past forecasts and what came of them.
        parts: Which of `PARTS` to fit; the order doesn't matter.
        symmetric: Conformal corrections move both ends of a band alike and leave the median.
        settings: What else to remember about how the trials were made, such as lookback and stride; JSON values.

    Returns:
        The calibration, which remembers what it was fitted on.

    Raises:
        ParameterError: If a part is unknown, pooling has no baseline, or there are fewer than 2 paths.
        DataError: If fewer than 50 origins have an outcome.
    """
    chosen = check_parts(parts)
    if "pooling" in chosen and trials.baseline is None:
        raise ParameterError("Pooling needs the trials' baseline paths; give them, or leave pooling out of parts.")
    if trials.returns.shape[1] < _LEAST_PATHS:
        raise ParameterError("A calibration needs at least 2 paths a forecast.")
    work = _FitState.of(trials)
    curves: dict[str, Curve] = {}
    for part in chosen:
        fitted = _fit_part(work, part, symmetric=symmetric)
        curves |= fitted
        work.apply(part, fitted)
    return Calibration(
        identity=trials.identity,
        parts=chosen,
        curves=curves,
        baseline=trials.baseline_name if "pooling" in chosen else "",
        fitted_on=trials.summary(),
        settings={"symmetric": symmetric, **(settings or {})},
        versions=provenance.versions(),
        created=provenance.now_utc(),
    )


def line_of(
    part: str, values: FloatArray, level_error: FloatArray, baseline: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Anchor, drift or pooling as a line a + θ d in its factor: both `[N, S]`, from ordered values `[N, S]`."""
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
    """Trials in units of σ√h, ordered, step by step: what is fitted on, and changes with each part.

    Attributes:
        values: `[H, N, S]` ordered.
        actual: `[H, N]`.
        level_error: `[H, N]`, 0 where unknown.
        baseline: `[H, N, S]` ordered, or None.
        steps: `[H]`.
        groups: `[N]` names.
        rows: Positions of each group that is large enough, by name.
        dates: `[N]`.
        paths: How many paths the model's and the baseline's forecasts have.
    """

    values: FloatArray
    actual: FloatArray
    level_error: FloatArray
    baseline: FloatArray | None
    steps: NDArray[np.int64]
    groups: NDArray[np.str_]
    rows: dict[str, NDArray[np.intp]]
    dates: NDArray[np.datetime64]
    paths: tuple[int, int]

    @classmethod
    def of(cls, trials: CalibrationSet) -> _FitState:
        """Standardise them, without the origins that have no unit or no outcome."""
        unit = np.asarray(trials.sigma, dtype=np.float64)
        known = np.isfinite(unit) & (unit > 0) & np.isfinite(trials.actual).any(axis=1)
        if known.sum() < _LEAST:
            raise DataError(f"A calibration needs {_LEAST} past forecasts with an outcome, not {int(known.sum())}.")
        steps, groups = np.asarray(trials.steps), np.asarray(trials.group)[known]
        scale = unit[known] * np.sqrt(steps)[:, None]  # [H, N]
        errors = np.zeros(len(trials)) if trials.level_error is None else np.nan_to_num(trials.level_error)
        size = trials.returns.shape[1]
        names, counts = np.unique(groups, return_counts=True)
        return cls(
            values=_by_step(trials.returns[known], scale, size),
            actual=np.asarray(trials.actual, dtype=np.float64)[known].T / scale,
            level_error=errors[known] / scale,
            baseline=None if trials.baseline is None else _by_step(trials.baseline[known], scale, size),
            steps=steps,
            groups=groups,
            rows={str(name): np.flatnonzero(groups == name) for name in names[counts >= LEAST_ORIGINS]},
            dates=trials.dates[known],
            paths=(size, size if trials.baseline is None else int(trials.baseline.shape[1])),
        )

    def samples(self) -> list[tuple[NDArray[np.intp], Blocks]]:
        """Rows and blocks of all origins together, then of each group."""
        everyone = np.arange(len(self.dates))
        return [(rows, blocks_of(self.dates[rows])) for rows in (everyone, *self.rows.values())]

    def apply(self, part: str, curves: Mapping[str, Curve]) -> None:
        """Go on with what a part leaves."""
        factors = {name: curve.of_each(self.steps, self.groups).T for name, curve in curves.items()}  # [H, N]
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
    """Paths `[N, S, H]` as ordered values in units of ``scale``, `[H, N, size]`."""
    result = np.empty((paths.shape[2], paths.shape[0], size))
    for h in range(paths.shape[2]):
        values = np.sort(paths[:, :, h].astype(np.float64), axis=1) / scale[h][:, None]
        result[h] = transforms.resized(values, size)
    return result


def _fit_part(work: _FitState, part: str, *, symmetric: bool) -> dict[str, Curve]:
    names = curve_names(part, symmetric=symmetric)
    samples = work.samples()
    shape = (len(names), len(samples), len(work.steps))
    values, errors = np.full(shape, np.nan), np.full(shape, np.inf)
    for h in range(len(work.steps)):
        for g, estimates in enumerate(_estimates(work, part, h, samples, symmetric)):
            for i, name in enumerate(names):
                values[i, g, h], errors[i, g, h] = estimates[name]
    groups = tuple(work.rows)
    return {name: _curve(part, Estimates(values[i], errors[i], groups), work.steps) for i, name in enumerate(names)}


def _estimates(
    work: _FitState, part: str, h: int, samples: list[tuple[NDArray[np.intp], Blocks]], symmetric: bool
) -> Iterator[dict[str, tuple[float, float]]]:
    """Raw estimates of a part at one step, for each sample of origins."""
    values, outcome = work.values[h], work.actual[h]
    other = None if work.baseline is None else work.baseline[h]
    lines = line_of(part, values, work.level_error[h], other) if part in _BY_CRPS else ()
    for rows, blocks in samples:
        known = np.isfinite(outcome[rows])
        chosen, near = rows[known], blocks[known]
        if len(chosen) < LEAST_ORIGINS:
            yield dict.fromkeys(curve_names(part, symmetric=symmetric), (float("nan"), float("inf")))
        elif part in _BY_CRPS:
            start, change = (line[chosen] for line in lines)
            bounds = (LIMITS[part][0] - _WIDER, LIMITS[part][1] + _WIDER)
            pooled = part == "pooling"
            gain = averaging_gain(start + change, start, work.paths) if pooled else 0.0
            finer = finer_gain(start, work.paths) if pooled else 0.0
            yield {part: minimise_crps(start, change, outcome[chosen], near, bounds, NEUTRAL[part], gain, finer)}
        elif part == "dispersion":
            yield {part: dispersion(values[chosen], outcome[chosen], near)}
        else:
            yield corrections(values[chosen], outcome[chosen], near, symmetric=symmetric)


def _curve(part: str, estimates: Estimates, steps: NDArray[np.int64]) -> Curve:
    """A part's curve from its raw estimates; the dispersion's is smoothed and shrunk in logs."""
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
    own = dict(zip(estimates.groups, (tuple(row) for row in groups.tolist()), strict=True))
    return Curve(tuple(knots_of(steps).tolist()), tuple(pooled.tolist()), own)

"""Factors by step and group, smoothed over steps and shrunk towards each other between groups.

- A factor is piecewise linear between knots at steps 1, 2, 4, 8 and so on, on a logarithmic scale of steps, and
  constant beyond the last knot.
- An estimate v with standard error s is shrunk towards a prior value: its distance from it is multiplied by
  τ² / (τ² + s²). τ² is the mean of the squared distances less s², weighted with 1 / s², over all groups and knots; or
  over the groups at the knot, less two standard errors of that mean, if that is larger; at least 0. For drift and
  pooling, where a model has to prove its skill, two standard errors are also subtracted from the pooled mean over the
  knots, and four at a single knot. This is the positive-part James-Stein rule in its empirical-Bayes form (Efron &
  Morris 1973, "Stein's estimation rule and its competitors"); between groups it is a random-effects meta-analysis
  (DerSimonian & Laird 1986).
- By this rule a pooled factor is shrunk first, as one number for all steps, towards its neutral value, and then at each
  knot towards that number; a group's factor is shrunk likewise towards the pooled factor. Because s² falls with the
  number of origins, the factors of small groups are close to the pooled one. Groups with fewer than 30 origins use the
  pooled factor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kronos.typing import FloatArray, IntArray

MIN_ORIGINS = 30  # of a group with its own factors

_TINY = 1e-300  # avoids division by 0
_MIN_RATIO = 1.4  # of the last two knots


@dataclass(frozen=True)
class Curve:
    """A factor by step, for all groups together and for each group.

    Attributes:
        knots: Steps ahead, ascending.
        pooled: Factor at each knot, for unknown groups.
        groups: Factors at each knot by group.
    """

    knots: tuple[int, ...]
    pooled: tuple[float, ...]
    groups: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def at(self, steps: Sequence[int] | IntArray, group: str | None = None) -> FloatArray:
        """Return the factor at some steps, `[H]`."""
        values = self.pooled if group is None else self.groups.get(group, self.pooled)
        factors: FloatArray = np.interp(np.log(np.asarray(steps)), np.log(self.knots), values)
        return factors

    def at_groups(self, steps: IntArray, groups: NDArray[np.str_]) -> FloatArray:
        """Return the factors of N origins by their groups, `[N, H]`."""
        names, which = np.unique(groups, return_inverse=True)
        return np.stack([self.at(steps, str(name)) for name in names])[which]


@dataclass(frozen=True)
class Estimates:
    """Raw estimates of one factor by step, pooled and for each sufficiently large group.

    Attributes:
        values: Estimates, the pooled ones first; NaN where undetermined. [1 + G, H]
        errors: Standard errors; infinite where undetermined. [1 + G, H]
        groups: Names of the G groups.
    """

    values: FloatArray
    errors: FloatArray
    groups: tuple[str, ...]


def choose_knots(steps: IntArray) -> IntArray:
    """Choose knots: the first step, then steps each at least twice the previous knot, and the last step.

    The knot before the last one is dropped if the two are close.
    """
    first, last = int(steps[0]), int(steps[-1])
    knots = [first]
    for step in steps[1:-1].tolist():
        if step >= 2 * knots[-1]:
            knots.append(step)
    if len(knots) > 1 and last < _MIN_RATIO * knots[-1]:
        knots.pop()
    return np.array(knots if last == first else [*knots, last])


def smooth_and_shrink(
    estimates: Estimates, steps: IntArray, neutral: float, *, sceptical: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Smooth estimates over the steps and shrink them as described in the module.

    Args:
        estimates: Raw estimates.
        steps: Steps ahead. [H]
        neutral: Prior value of the pooled factor.
        sceptical: Keep the pooled factor neutral unless it differs by two standard errors.

    Returns:
        The pooled factor at the knots `[K]`, and the groups' factors `[G, K]`.
    """
    smooth = [_smooth(v, e, steps, neutral) for v, e in zip(estimates.values, estimates.errors, strict=True)]
    values, errors = (np.stack(part) for part in zip(*smooth, strict=True))
    pooled = _shrink(values[:1], errors[:1], np.full(values.shape[1], neutral), sceptical)[0]
    if len(estimates.groups) < 2:  # a single group is the pooled one
        return pooled, np.broadcast_to(pooled, (len(estimates.groups), len(pooled)))
    return pooled, _shrink(values[1:], errors[1:], pooled)


def _smooth(values: FloatArray, errors: FloatArray, steps: IntArray, neutral: float) -> tuple[FloatArray, FloatArray]:
    """Fit a piecewise linear function through knots by least squares, weighted by precision.

    Errors of one origin's steps are highly correlated, so averaging over steps is not assumed to reduce them.
    """
    knots = choose_knots(steps)
    hats = _hat_functions(steps, knots)
    known = np.isfinite(errors) & np.isfinite(values) & (errors > 0)
    if not known.any():
        return np.full(len(knots), neutral), np.full(len(knots), np.inf)
    # A weak ridge penalty towards the neutral value, which only matters where nothing is known.
    weights = np.where(known, 1 / np.where(known, errors, 1.0), 0.0)
    ridge = 1e-4 * weights.max() * np.eye(len(knots))
    left = np.concatenate([weights[:, None] * hats, ridge])
    right = np.concatenate([weights * np.where(known, values - neutral, 0.0), np.zeros(len(knots))])
    fitted = np.linalg.lstsq(left, right)[0]
    shares = hats[known] + 1e-9  # a knot without known steps uses the mean over all
    return neutral + fitted, np.exp(np.log(errors[known]) @ shares / shares.sum(axis=0))


def _hat_functions(steps: IntArray, knots: IntArray) -> FloatArray:
    """Return the weights `[H, K]` of the knots' values in the interpolated values at the steps."""
    return np.stack([np.interp(np.log(steps), np.log(knots), row) for row in np.eye(len(knots))], axis=1)


def _shrink(values: FloatArray, errors: FloatArray, prior: FloatArray, sceptical: bool = False) -> FloatArray:
    """Shrink rows of estimates `[R, K]` towards a prior `[K]`: first their mean over knots, then the rest."""
    known = np.isfinite(errors)
    precision = np.where(known, 1 / np.square(np.where(known, errors, 1.0)), 0.0)
    sums = np.maximum(precision.sum(axis=1), _TINY)  # [R]
    distance = np.where(known, values - prior, 0.0)
    level = (precision * distance).sum(axis=1) / sums
    # Errors of neighbouring steps are highly correlated, so the error of the mean is that of a typical step.
    level_error = np.where(known.any(axis=1), (precision * np.where(known, errors, 0.0)).sum(axis=1) / sums, np.inf)
    level = _shrinkage(level[:, None], level_error[:, None], sums[:, None], sceptical) * level[:, None]
    rest = distance - level
    shrunk: FloatArray = prior + level + _shrinkage(rest, errors, precision, sceptical) * rest
    return shrunk


def _shrinkage(distance: FloatArray, errors: FloatArray, precision: FloatArray, sceptical: bool) -> FloatArray:
    """Return the factors τ² / (τ² + s²) of estimates `[R, K]` at a distance from their prior."""
    known = np.isfinite(errors)
    squares = np.square(np.where(known, errors, 0.0))
    excess = precision * np.where(known, np.square(distance) - squares, 0.0)
    sums = np.maximum(precision.sum(axis=0), _TINY)
    # A squared normal error has variance 2 s⁴; these are twice the standard errors of the sums weighted with 1 / s².
    overall_margin, knot_margin = (2 * np.sqrt(2 * known.sum(axis=axis)) for axis in (None, 0))
    overall = (excess.sum() - sceptical * overall_margin) / max(precision.sum(), _TINY)
    variance = np.maximum(np.maximum(overall, (excess.sum(axis=0) - (1 + sceptical) * knot_margin) / sums), 0.0)
    factors: FloatArray = np.where(known, variance / np.maximum(variance + squares, _TINY), 0.0)
    return factors

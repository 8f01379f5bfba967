"""Factors that change with the step and the group: smooth in the one, shrunk together in the other.

- A factor is a line through knots at steps 1, 2, 4, 8 and so on, on a logarithmic scale of steps; beyond the last
  knot it stays as it is there.
- An estimate v with standard error s counts as far as it can be told from noise: it is taken the share
  τ² / (τ² + s²) of its way from a value believed before, with τ² the mean of such squared distances less s²,
  weighted with 1 / s², over all groups and knots; or over the groups at its knot, less two standard errors of that
  mean, if that is more; and not below 0. For drift and pooling, what a model claims to know has to prove itself: two
  standard errors are taken off the pooled mean over the knots too, and four at a single knot. This is the
  positive-part James-Stein rule in its empirical-Bayes form (Efron & Morris 1973, "Stein's estimation rule and its
  competitors"); between groups, it is random-effects meta-analysis (DerSimonian & Laird 1986).
- By that rule a pooled factor goes from its neutral value to one number for all steps, and from there to its own
  number at each knot; a group's factor goes from the pooled one to that plus one number for all steps, and from
  there to its own at each knot. As s² falls with the number of origins, a small group takes the pooled factor and
  a large one its own. A group with fewer than 30 origins takes the pooled one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kronos.typing import FloatArray

LEAST_ORIGINS = 30  # of a group that gets factors of its own

_FAINT = 1e-300
_LEAST_RATIO = 1.4  # between the last two knots


@dataclass(frozen=True)
class Curve:
    """A factor by step, for all groups together and for each.

    Attributes:
        knots: Steps ahead, ascending.
        pooled: The factor at each knot, for groups that aren't known.
        groups: The same by group.
    """

    knots: tuple[int, ...]
    pooled: tuple[float, ...]
    groups: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def at(self, steps: Sequence[int] | NDArray[np.int64], group: str | None = None) -> FloatArray:
        """The factor at some steps `[H]`."""
        values = self.pooled if group is None else self.groups.get(group, self.pooled)
        factors: FloatArray = np.interp(np.log(np.asarray(steps)), np.log(self.knots), values)
        return factors

    def of_each(self, steps: NDArray[np.int64], groups: NDArray[np.str_]) -> FloatArray:
        """The factors of N origins by their groups, `[N, H]`."""
        names, which = np.unique(groups, return_inverse=True)
        return np.stack([self.at(steps, str(name)) for name in names])[which]


@dataclass(frozen=True)
class Estimates:
    """Raw estimates by step of one factor: pooled, and of each group that is large enough.

    Attributes:
        values: `[1 + G, H]`, the pooled ones first; NaN where nothing could be told.
        errors: `[1 + G, H]` standard errors, infinite there.
        groups: Names of the G groups.
    """

    values: FloatArray
    errors: FloatArray
    groups: tuple[str, ...]


def knots_of(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first step, each that is at least twice the knot before it, and the last (alone if two would be close)."""
    first, last = int(steps[0]), int(steps[-1])
    knots = [first]
    for step in steps[1:-1].tolist():
        if step >= 2 * knots[-1]:
            knots.append(step)
    if len(knots) > 1 and last < _LEAST_RATIO * knots[-1]:
        knots.pop()
    return np.array(knots if last == first else [*knots, last])


def smooth_and_shrink(
    estimates: Estimates, steps: NDArray[np.int64], neutral: float, *, sceptical: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Smooth the estimates over the steps and shrink them as the module says.

    Args:
        estimates: Raw ones.
        steps: `[H]`.
        neutral: What to believe before.
        sceptical: Keep the pooled factor neutral unless it is two standard errors from it.

    Returns:
        The pooled factor at the knots `[K]`, and the groups' `[G, K]`.
    """
    smooth = [_smooth(v, e, steps, neutral) for v, e in zip(estimates.values, estimates.errors, strict=True)]
    values, errors = (np.stack(part) for part in zip(*smooth, strict=True))
    pooled = _toward(values[:1], errors[:1], np.full(values.shape[1], neutral), sceptical)[0]
    if len(estimates.groups) < 2:  # one group is all there is
        return pooled, np.broadcast_to(pooled, (len(estimates.groups), len(pooled)))
    return pooled, _toward(values[1:], errors[1:], pooled)


def _smooth(
    values: FloatArray, errors: FloatArray, steps: NDArray[np.int64], neutral: float
) -> tuple[FloatArray, FloatArray]:
    """Least squares of a line through knots, weighted by precision; errors as if all steps were one trial.

    Errors of one origin's steps are nearly the same error, so averaging over steps is not taken to reduce them.
    """
    knots = knots_of(steps)
    hats = _hats(steps, knots)
    known = np.isfinite(errors) & np.isfinite(values) & (errors > 0)
    if not known.any():
        return np.full(len(knots), neutral), np.full(len(knots), np.inf)
    # A faint pull to the neutral value decides where nothing is known, and nowhere else.
    weights = np.where(known, 1 / np.where(known, errors, 1.0), 0.0)
    faint = 1e-4 * weights.max() * np.eye(len(knots))
    left = np.concatenate([weights[:, None] * hats, faint])
    right = np.concatenate([weights * np.where(known, values - neutral, 0.0), np.zeros(len(knots))])
    fitted = np.linalg.lstsq(left, right)[0]
    shares = hats[known] + 1e-9  # a knot with nothing known about it takes what is known of all
    return neutral + fitted, np.exp(np.log(errors[known]) @ shares / shares.sum(axis=0))


def _hats(steps: NDArray[np.int64], knots: NDArray[np.int64]) -> FloatArray:
    """Weights `[H, K]` with which the knots' values make those at the steps."""
    return np.stack([np.interp(np.log(steps), np.log(knots), row) for row in np.eye(len(knots))], axis=1)


def _toward(values: FloatArray, errors: FloatArray, believed: FloatArray, sceptical: bool = False) -> FloatArray:
    """Shrink rows of estimates `[R, K]` to what is believed `[K]`: first their mean, then what each adds to it."""
    known = np.isfinite(errors)
    precision = np.where(known, 1 / np.square(np.where(known, errors, 1.0)), 0.0)
    sums = np.maximum(precision.sum(axis=1), _FAINT)  # [R]
    away = np.where(known, values - believed, 0.0)
    level = (precision * away).sum(axis=1) / sums
    # Errors of neighbouring steps are nearly one error, so the mean's is that of a typical step.
    level_error = np.where(known.any(axis=1), (precision * np.where(known, errors, 0.0)).sum(axis=1) / sums, np.inf)
    level = _share(level[:, None], level_error[:, None], sums[:, None], sceptical) * level[:, None]
    shrunk: FloatArray = believed + level + _share(away - level, errors, precision, sceptical) * (away - level)
    return shrunk


def _share(away: FloatArray, errors: FloatArray, precision: FloatArray, sceptical: bool) -> FloatArray:
    """How far estimates `[R, K]` count that lie ``away`` from what is believed: τ² / (τ² + s²)."""
    known = np.isfinite(errors)
    squares = np.square(np.where(known, errors, 0.0))
    beyond = precision * np.where(known, np.square(away) - squares, 0.0)
    sums = np.maximum(precision.sum(axis=0), _FAINT)
    # A squared normal error has the variance 2 s⁴; weighted with 1 / s², means of n have this error, times two.
    everywhere, here = (2 * np.sqrt(2 * known.sum(axis=axis)) for axis in (None, 0))
    overall = (beyond.sum() - sceptical * everywhere) / max(precision.sum(), _FAINT)
    variance = np.maximum(np.maximum(overall, (beyond.sum(axis=0) - (1 + sceptical) * here) / sums), 0.0)
    share: FloatArray = np.where(known, variance / np.maximum(variance + squares, _FAINT), 0.0)
    return share

"""Conformal prediction: corrections of the width and the ends of a forecast's bands, fitted or adaptive.

The nonconformity score of an outcome is its distance beyond a band in units of half the forecast's own 80 % band; a
quantile of past scores is the shift of the band's ends (Romano, Patterson & Candès 2019, "Conformalized quantile
regression", with locally scaled scores). If past and new origins are exchangeable, the shifted band has at least its
nominal coverage for any distribution, provided that each group and step has its own quantile; smoothing over steps and
shrinkage between groups give up this guarantee for less noise.

The corrections define one increasing map of the paths (see `kronos.calibration.transforms.shift_bands`), and
probabilities are shares of the shifted paths. Probabilities are not calibrated separately (isotonic or logistic), which
would contradict the bands and the median. Overconfident directions are corrected by ``drift`` and ``dispersion``, whose
ratio corresponds to a logistic slope, and biased ones by shifting the median if ``symmetric`` is off.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kronos.calibration import transforms
from kronos.calibration.calibration_set import CalibrationSet
from kronos.calibration.estimators import Blocks, conformal_quantile
from kronos.calibration.transforms import CENTRE, LOWER, UPPER, half_width, median, move_candles, quantile
from kronos.errors import DataError, ParameterError
from kronos.forecasts import BANDS, Forecast
from kronos.forecasts.statistics import band_levels
from kronos.formatting import json_safe
from kronos.typing import FloatArray

FORMAT = 1
KIND = "kronos adaptive calibration"

MIN_OUTCOMES = 50  # of a group, and of each step, before bands are shifted: fewer are not enough for their ends
_DISPERSION_BAND = 0.8  # the band whose coverage determines the dispersion

Scores = tuple[tuple[tuple[float, ...], ...], ...]

T = TypeVar("T")


def estimate_dispersion(values: FloatArray, actual: FloatArray, blocks: Blocks) -> tuple[float, float]:
    """Estimate the factor for which the 80 % band covers 80 %, and its standard error.

    The factor is the conformal quantile at 0.8 of the distance of the outcome from the median, relative to that of the
    band end on its side. It is unbiased for any number of paths, because the band is that of one more outcome.
    Minimising the fair CRPS would widen 50 paths by 4 % and 20 paths by 12 % too much: that score is fair for
    exchangeable paths, and paths scaled around their own median are not exchangeable.

    Args:
        values: Ordered values. [N, S]
        actual: Outcomes. [N]
        blocks: Result of `time_blocks`. [N]

    Returns:
        The factor and its standard error; NaN and infinity if all paths are equal.
    """
    low, high = band_levels(_DISPERSION_BAND)
    middle = median(values)
    below, above = middle - quantile(values, low), quantile(values, high) - middle
    known = (below > 0) & (above > 0)
    if not known.any():
        return float("nan"), float("inf")
    deviation = (actual - middle)[known]
    scores = np.maximum(deviation / above[known], -deviation / below[known])
    return conformal_quantile(scores, _DISPERSION_BAND, blocks[known])


def quantile_nonconformity(values: FloatArray, actual: FloatArray, level: float) -> FloatArray:
    """Compute by how much outcomes exceed a quantile of ordered values `[N, S]`, in half 80 % widths; `[N]`.

    NaN where all paths are equal, because a point forecast has no bands.
    """
    unit = half_width(values)
    gap = actual - quantile(values, level)
    return np.divide(gap, unit, out=np.full_like(unit, np.nan), where=unit > 0)


def band_nonconformity(values: FloatArray, actual: FloatArray, band: float) -> FloatArray:
    """Compute by how much outcomes lie outside a central band, negative inside: the scaled score of Romano et al."""
    low, high = band_levels(band)
    return np.maximum(-quantile_nonconformity(values, actual, low), quantile_nonconformity(values, actual, high))


def estimate_corrections(
    values: FloatArray, actual: FloatArray, blocks: Blocks, *, symmetric: bool
) -> dict[str, tuple[float, float]]:
    """Estimate the outward shift of each band end at one step, and its standard error, by name of the curve.

    Args:
        values: Ordered values. [N, S]
        actual: Outcomes. [N]
        blocks: Result of `time_blocks`. [N]
        symmetric: Shift both ends of a band equally and not the median, so that the market's direction in the fitting
            period is not learnt. Otherwise each end and the median are shifted separately.
    """
    known = half_width(values) > 0
    if not known.any():
        return dict.fromkeys((*LOWER, CENTRE, *UPPER), (float("nan"), float("inf")))
    values, actual, blocks = values[known], actual[known], blocks[known]
    estimates: dict[str, tuple[float, float]] = {}
    for band, lower, upper in zip(BANDS, LOWER, UPPER, strict=True):
        if symmetric:
            scores = band_nonconformity(values, actual, band)
            estimates[lower] = estimates[upper] = conformal_quantile(scores, band, blocks)
            continue
        low, high = band_levels(band)
        estimates[lower] = conformal_quantile(-quantile_nonconformity(values, actual, low), high, blocks)
        estimates[upper] = conformal_quantile(quantile_nonconformity(values, actual, high), high, blocks)
    if not symmetric:
        estimates[CENTRE] = conformal_quantile(quantile_nonconformity(values, actual, 0.5), 0.5, blocks)
    return estimates


@dataclass(frozen=True)
class AdaptiveConformal:
    """State of adaptive conformal inference (Gibbs & Candès 2021); immutable, `update` returns the next state.

    Attributes:
        horizon: Number of steps ahead, H.
        rate: Learning rate γ of the levels; 0 is split conformal prediction with a growing sample.
        window: Number of recent scores per band and step.
        levels: Miscoverage levels α by band and step, 1 - band initially. `[bands, H]`
        scores: Recent scores by band and step, oldest first.
        misses: Numbers of outcomes outside each corrected band and of all outcomes. `[bands, H]`
    """

    horizon: int
    rate: float = 0.01
    window: int = 500
    levels: tuple[tuple[float, ...], ...] = ()
    scores: Scores = ()
    misses: tuple[tuple[tuple[int, int], ...], ...] = field(default=())

    def __post_init__(self) -> None:
        if self.horizon < 1 or not 0 <= self.rate < 1 or self.window < 1:
            raise ParameterError(
                f"Invalid horizon {self.horizon}, window {self.window} or rate {self.rate}: choose horizon and window "
                "of at least 1, and 0 ≤ rate < 1."
            )
        steps = range(self.horizon)
        if not self.levels:
            object.__setattr__(self, "levels", tuple(tuple(round(1 - band, 12) for _ in steps) for band in BANDS))
        if not self.scores:
            object.__setattr__(self, "scores", tuple(tuple(() for _ in steps) for _ in BANDS))
        if not self.misses:
            object.__setattr__(self, "misses", tuple(tuple((0, 0) for _ in steps) for _ in BANDS))

    def corrections(self) -> FloatArray:
        """Return the outward shifts of the band ends in half 80 % widths, `[bands, H]`; 0 without scores."""
        return self._corrections.copy()

    @cached_property
    def _corrections(self) -> FloatArray:
        return np.array(
            [
                [_quantile(scores, 1 - level) for scores, level in zip(by_step, levels, strict=True)]
                for by_step, levels in zip(self.scores, self.levels, strict=True)
            ]
        )

    def update(self, returns: ArrayLike, actual: ArrayLike) -> AdaptiveConformal:
        """Return the state after the outcome of one forecast.

        Pass each step's outcome once, in order of the origins, and NaN for steps not known yet.

        Args:
            returns: Cumulative log returns of the forecast before this correction. [S, H]
            actual: Outcomes. [H]

        Raises:
            ParameterError: If shapes disagree.
        """
        values, outcomes = self._sorted(returns)[0], np.asarray(actual, dtype=np.float64)
        if outcomes.shape != (self.horizon,):
            raise ParameterError(f"Outcomes of {self.horizon} steps are needed; got the shape {outcomes.shape}.")
        shifts = self._corrections
        levels, scores, misses = _to_lists(self.levels), _to_lists(self.scores), _to_lists(self.misses)
        for b, band in enumerate(BANDS):
            new = band_nonconformity(values, outcomes, band)  # [H]
            for h in np.flatnonzero(np.isfinite(new)).tolist():
                missed = bool(new[h] > shifts[b, h])
                level = levels[b][h] + self.rate * (1 - band - missed)
                levels[b][h] = min(max(level, 0.0), 1.0)
                scores[b][h] = (*scores[b][h], float(new[h]))[-self.window :]
                misses[b][h] = (misses[b][h][0] + missed, misses[b][h][1] + 1)
        return replace(
            self,
            levels=tuple(map(tuple, levels)),
            scores=tuple(map(tuple, scores)),
            misses=tuple(map(tuple, misses)),
        )

    def update_all(self, past: CalibrationSet) -> AdaptiveConformal:
        """Return the state after the outcomes of all forecasts of a calibration set, in order of their origins.

        Raises:
            ParameterError: If the steps are not 1 to H.
        """
        if np.asarray(past.steps).tolist() != list(range(1, self.horizon + 1)):
            raise ParameterError(f"The calibration set needs steps 1 to {self.horizon}, the horizon of the bands.")
        state = self
        for i in np.argsort(past.dates, kind="stable"):
            state = state.update(past.returns[i], past.actual[i])
        return state

    def apply_paths(self, returns: ArrayLike) -> FloatArray:
        """Correct the cumulative log returns of one forecast, `[S, H]`."""
        values, order = self._sorted(returns)
        shifts = list(self._corrections)
        return transforms.unsort_paths(transforms.shift_bands(values, [*shifts, *shifts]), order)

    def apply(self, forecast: Forecast) -> Forecast:
        """Correct a forecast, raw or calibrated, by moving whole candles; metadata and a note record the effect."""
        before = forecast.returns(cumulative=True)
        returns = self.apply_paths(before)
        count = max(outcomes for _, outcomes in self.misses[0])
        ratio = _width_ratio(before, returns)
        details = {
            "rate": self.rate,
            "outcomes": count,
            "width_ratio": None if ratio is None else round(ratio, 6),
            "corrections": self._corrections.round(6).tolist(),
        }
        note = f"Bands corrected by adaptive conformal inference from {count:,} outcomes per step"
        note += "." if ratio is None else f": the 80 % band is {describe_width(ratio, 'before')}."
        metadata = forecast.metadata.with_details(adaptive=details)
        metadata = replace(metadata, calibrated=True, notes=(*metadata.notes, note))
        return replace(forecast, paths=move_candles(forecast, returns), metadata=metadata)

    def to_dict(self) -> dict[str, Any]:
        """Return the state, ready for JSON."""
        names = ("horizon", "rate", "window", "levels", "scores", "misses")
        return {"kind": KIND, "format": FORMAT, **{name: json_safe(getattr(self, name)) for name in names}}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> AdaptiveConformal:
        """Restore the result of `to_dict`.

        Raises:
            DataError: If the fields are not such a state, or of another format.
        """
        if fields.get("kind") != KIND or fields.get("format") != FORMAT:
            raise DataError(
                f"These fields are not an adaptive calibration of format {FORMAT}: pass the result of "
                "AdaptiveConformal.to_dict()."
            )
        try:
            names = ("levels", "scores", "misses")
            state = cls(
                int(fields["horizon"]),
                float(fields["rate"]),
                int(fields["window"]),
                *(_to_tuples(fields[name]) for name in names),
            )
            shapes = {len(row) for name in names for row in getattr(state, name)}
            if shapes != {state.horizon} or any(len(getattr(state, name)) != len(BANDS) for name in names):
                raise ValueError("shapes")
            return state
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("This adaptive calibration is damaged: start a new one with AdaptiveConformal.") from error

    def _sorted(self, returns: ArrayLike) -> tuple[FloatArray, NDArray[np.intp]]:
        paths = np.asarray(returns, dtype=np.float64)
        if paths.ndim != 2 or paths.shape[1] != self.horizon or len(paths) == 0:
            raise ParameterError(f"Paths need the shape [paths, {self.horizon}]; got {paths.shape}.")
        return transforms.sort_paths(paths)


def describe_width(ratio: float, other: str) -> str:
    """Describe a width relative to another one: ``12.3 % wider than before``, ``as wide as before``."""
    change = round(100 * (ratio - 1), 1)
    if not change:
        return f"as wide as {other}"
    return f"{abs(change):.1f} % {'wider' if change > 0 else 'narrower'} than {other}"


def _width_ratio(before: FloatArray, after: FloatArray) -> float | None:
    """Return the mean width of the 80 % band over all steps relative to that of other paths `[S, H]`.

    None if these are all equal.
    """
    widths = [float(half_width(transforms.sort_paths(paths)[0]).mean()) for paths in (before, after)]
    return widths[1] / widths[0] if widths[0] > 0 else None


def _quantile(scores: Sequence[float], level: float) -> float:
    """Return the ⌈(n + 1) · level⌉-th smallest score, limited to the smallest and the largest."""
    if not scores:
        return 0.0
    rank = int(np.ceil(round((len(scores) + 1) * level, 9)))
    return sorted(scores)[min(max(rank, 1), len(scores)) - 1]


def _to_lists(rows: tuple[tuple[T, ...], ...]) -> list[list[T]]:
    return [list(row) for row in rows]


def _to_tuples(value: Any) -> Any:
    return tuple(_to_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def apply_online(
    past: CalibrationSet, before: CalibrationSet | None = None, *, rate: float = 0.01, window: int = 500
) -> CalibrationSet:
    """Correct past forecasts as `AdaptiveConformal` would have live: by group, in order of their origins.

    An outcome is used from the time when the last step of its forecast was known.

    Args:
        past: Forecasts of steps 1 to H, raw or calibrated.
        before: Earlier forecasts of the same kind for the initial state; all their outcomes count as known.
        rate: Learning rate; see `AdaptiveConformal`.
        window: Number of recent scores; see `AdaptiveConformal`.

    Returns:
        The forecasts with shifted bands; unchanged while a group has fewer than 50 known outcomes.
    """
    result = np.array(past.returns, dtype=np.float64)
    for group in past.counts():
        state = AdaptiveConformal(past.returns.shape[2], rate, window)
        known = 0
        if before is not None and group in before.counts():
            earlier = before.select(np.asarray(before.group) == group)
            state, known = state.update_all(earlier), len(earlier)
        _correct_group(past, np.flatnonzero(np.asarray(past.group) == group), state, known, result)
    return replace(past, returns=result.astype(np.asarray(past.returns).dtype))


def _correct_group(
    past: CalibrationSet, rows: NDArray[np.intp], state: AdaptiveConformal, known: int, result: FloatArray
) -> None:
    """Correct the forecasts of one group, in place in ``result``."""
    dates, known_at = np.asarray(past.dates), np.asarray(past.known_at)
    pending: list[tuple[np.datetime64, int]] = []
    for row in rows[np.argsort(dates[rows], kind="stable")].tolist():
        while pending and pending[0][0] <= dates[row]:
            _, earlier = heapq.heappop(pending)
            state, known = state.update(past.returns[earlier], past.actual[earlier]), known + 1
        if known >= MIN_OUTCOMES:
            result[row] = state.apply_paths(past.returns[row])
        heapq.heappush(pending, (known_at[row], row))

"""How wide a forecast's bands should be, and where their ends: split conformal prediction.

A score says by how much the outcome lies beyond a band, in units of half the forecast's own 80 % band; a
quantile of past scores says by how much to move its ends (Romano, Patterson & Candès 2019, "Conformalized
quantile regression", with locally scaled scores). If past and new origins are exchangeable, the moved band
covers at least what it says whatever the distribution, as long as each group and step keeps its own quantile;
smoothing over steps and shrinking groups together gives up that guarantee for less noise.

The corrections make one increasing map of the paths (see `kronos.calibration.transforms.shift_bands`). Probabilities,
also that of a rise, are shares of the moved paths. No separate map of probabilities is fitted (isotonic or
logistic): it would contradict the bands and the median. What it could mend is mended on the paths: a rise
announced too boldly by ``drift`` and ``dispersion`` (their ratio is what a logistic slope would change), and one
announced too often by moving the median, if ``symmetric`` is off.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from kronos.typing import FloatArray

_MATCHED = 0.8  # the band that the dispersion is matched on


def dispersion(values: FloatArray, actual: FloatArray, blocks: Blocks) -> tuple[float, float]:
    """The factor that makes the 80 % band cover 80 %, and its standard error.

    It is the conformal quantile, at 0.8, of the outcome's distance from the median over the band end's on its side.
    The band is one more outcome's, so the factor is right for any number of paths; minimising the fair CRPS would
    stretch 50 paths by 4 % and 20 by 12 % too much, because that score is fair to exchangeable paths only, and
    paths stretched around their own median are none.

    Args:
        values: Ordered values `[N, S]`.
        actual: What happened, `[N]`.
        blocks: `[N]` of `blocks_of`.

    Returns:
        NaN and infinity if the paths are all equal.
    """
    low, high = band_levels(_MATCHED)
    middle = median(values)
    below, above = middle - quantile(values, low), quantile(values, high) - middle
    known = (below > 0) & (above > 0)
    if not known.any():
        return float("nan"), float("inf")
    away = (actual - middle)[known]
    scores = np.maximum(away / above[known], -away / below[known])
    return conformal_quantile(scores, _MATCHED, blocks[known])


def quantile_nonconformity(values: FloatArray, actual: FloatArray, level: float) -> FloatArray:
    """By how much what happened lies above a quantile of ordered values `[N, S]`, in half 80 % widths; `[N]`.

    NaN where all paths are equal: a point forecast has no unit and no bands.
    """
    unit = half_width(values)
    gap = actual - quantile(values, level)
    return np.divide(gap, unit, out=np.full_like(unit, np.nan), where=unit > 0)


def band_nonconformity(values: FloatArray, actual: FloatArray, band: float) -> FloatArray:
    """By how much it lies outside a central band, negative inside: the score of Romano et al., scaled; `[N]`."""
    low, high = band_levels(band)
    return np.maximum(-quantile_nonconformity(values, actual, low), quantile_nonconformity(values, actual, high))


def corrections(
    values: FloatArray, actual: FloatArray, blocks: Blocks, *, symmetric: bool
) -> dict[str, tuple[float, float]]:
    """By how much to move each end outwards, and the standard error of that, by the curve's name.

    Args:
        values: Ordered values `[N, S]` of one step.
        actual: What happened, `[N]`.
        blocks: `[N]` of `blocks_of`.
        symmetric: Move both ends of a band alike, and the median not at all: what the market did in the fitting
            dates is not learnt. Otherwise each end and the median for itself.
    """
    known = half_width(values) > 0
    if not known.any():
        return dict.fromkeys((*LOWER, CENTRE, *UPPER), (float("nan"), float("inf")))
    values, actual, blocks = values[known], actual[known], blocks[known]
    found: dict[str, tuple[float, float]] = {}
    for band, lower, upper in zip(BANDS, LOWER, UPPER, strict=True):
        if symmetric:
            found[lower] = found[upper] = conformal_quantile(band_nonconformity(values, actual, band), band, blocks)
            continue
        low, high = band_levels(band)
        found[lower] = conformal_quantile(-quantile_nonconformity(values, actual, low), high, blocks)
        found[upper] = conformal_quantile(quantile_nonconformity(values, actual, high), high, blocks)
    if not symmetric:
        found[CENTRE] = conformal_quantile(quantile_nonconformity(values, actual, 0.5), 0.5, blocks)
    return found


Scores = tuple[tuple[tuple[float, ...], ...], ...]

T = TypeVar("T")

FORMAT = 1
KIND = "kronos adaptive calibration"


@dataclass(frozen=True)
class AdaptiveConformal:
    """The state of adaptive conformal inference; `updated` gives the next one.

    Attributes:
        horizon: Steps ahead, 1 to H.
        rate: γ: how fast the levels move. 0 is split conformal prediction with a growing sample.
        window: How many scores are remembered for each band and step.
        levels: α by band and step, `[bands][H]`; 1 - band at the start.
        scores: The last scores by band and step, oldest first.
        misses: Share of outcomes outside each corrected band so far, `[bands][H]`, as (misses, outcomes).
    """

    horizon: int
    rate: float = 0.01
    window: int = 500
    levels: tuple[tuple[float, ...], ...] = ()
    scores: Scores = ()
    misses: tuple[tuple[tuple[int, int], ...], ...] = field(default=())

    def __post_init__(self) -> None:
        if self.horizon < 1 or not 0 <= self.rate < 1 or self.window < 1:
            raise ParameterError("Adaptive bands need a horizon and a window of at least 1 and a rate from 0 to 1.")
        steps = range(self.horizon)
        if not self.levels:
            object.__setattr__(self, "levels", tuple(tuple(round(1 - band, 12) for _ in steps) for band in BANDS))
        if not self.scores:
            object.__setattr__(self, "scores", tuple(tuple(() for _ in steps) for _ in BANDS))
        if not self.misses:
            object.__setattr__(self, "misses", tuple(tuple((0, 0) for _ in steps) for _ in BANDS))

    def corrections(self) -> FloatArray:
        """By how much each band's ends move outwards now, in half 80 % widths, `[bands, H]`; 0 without scores."""
        return np.array(
            [
                [_quantile(scores, 1 - level) for scores, level in zip(by_step, levels, strict=True)]
                for by_step, levels in zip(self.scores, self.levels, strict=True)
            ]
        )

    def updated(self, returns: ArrayLike, actual: ArrayLike) -> AdaptiveConformal:
        """Learn from one forecast as it was before this correction, and what came of it.

        Give each step's outcome once, in the order of the origins; steps not known yet are NaN.

        Args:
            returns: The forecast's cumulative log returns `[S, H]`.
            actual: What happened `[H]`.

        Raises:
            ParameterError: If shapes disagree.
        """
        values, came = self._ordered(returns)[0], np.asarray(actual, dtype=np.float64)
        if came.shape != (self.horizon,):
            raise ParameterError(f"What happened needs {self.horizon} steps, not the shape {came.shape}.")
        now = self.corrections()
        levels, scores, misses = _rows(self.levels), _rows(self.scores), _rows(self.misses)
        for b, band in enumerate(BANDS):
            new = band_nonconformity(values, came, band)  # [H]
            for h in np.flatnonzero(np.isfinite(new)).tolist():
                missed = bool(new[h] > now[b, h])
                moved = levels[b][h] + self.rate * (1 - band - missed)
                levels[b][h] = min(max(moved, 0.0), 1.0)
                scores[b][h] = (*scores[b][h], float(new[h]))[-self.window :]
                misses[b][h] = (misses[b][h][0] + missed, misses[b][h][1] + 1)
        return replace(
            self,
            levels=tuple(map(tuple, levels)),
            scores=tuple(map(tuple, scores)),
            misses=tuple(map(tuple, misses)),
        )

    def after(self, trials: CalibrationSet) -> AdaptiveConformal:
        """Learn from all of some past forecasts, in the order of their origins.

        Raises:
            ParameterError: If the trials' steps aren't 1 to H.
        """
        if np.asarray(trials.steps).tolist() != list(range(1, self.horizon + 1)):
            raise ParameterError(f"Adaptive bands of {self.horizon} steps learn from trials of steps 1 to that.")
        state = self
        for i in np.argsort(trials.dates, kind="stable"):
            state = state.updated(trials.returns[i], trials.actual[i])
        return state

    def apply_paths(self, returns: ArrayLike) -> FloatArray:
        """Correct one forecast's cumulative log returns `[S, H]`."""
        values, owners = self._ordered(returns)
        shifts = list(self.corrections())
        return transforms.as_paths(transforms.shift_bands(values, [*shifts, *shifts]), owners)

    def apply(self, forecast: Forecast) -> Forecast:
        """Correct a forecast, raw or calibrated; its candles are moved as wholes."""
        returns = self.apply_paths(forecast.returns(cumulative=True))
        count = max(outcomes for _, outcomes in self.misses[0])
        told = {"rate": self.rate, "outcomes": count, "corrections": self.corrections().round(6).tolist()}
        note = f"Bands corrected by adaptive conformal inference from {count:,} outcomes."
        made = forecast.metadata.with_details(adaptive=told)
        made = replace(made, calibrated=True, notes=(*made.notes, note))
        return replace(forecast, paths=move_candles(forecast, returns), metadata=made)

    def to_dict(self) -> dict[str, Any]:
        """The whole state, ready for JSON."""
        names = ("horizon", "rate", "window", "levels", "scores", "misses")
        return {"kind": KIND, "format": FORMAT, **{name: _lists(getattr(self, name)) for name in names}}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> AdaptiveConformal:
        """The inverse of `to_dict`.

        Raises:
            DataError: If it is no such state, or of another format.
        """
        if fields.get("kind") != KIND or fields.get("format") != FORMAT:
            raise DataError(f"This is no adaptive calibration of format {FORMAT}; start one with Adaptive(horizon).")
        try:
            names = ("levels", "scores", "misses")
            state = cls(
                int(fields["horizon"]),
                float(fields["rate"]),
                int(fields["window"]),
                *(_tuples(fields[name]) for name in names),
            )
            shapes = {len(row) for name in names for row in getattr(state, name)}
            if shapes != {state.horizon} or any(len(getattr(state, name)) != len(BANDS) for name in names):
                raise ValueError("shapes")
            return state
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("This adaptive calibration is damaged; start one with Adaptive(horizon).") from error

    def _ordered(self, returns: ArrayLike) -> tuple[FloatArray, NDArray[np.intp]]:
        paths = np.asarray(returns, dtype=np.float64)
        if paths.ndim != 2 or paths.shape[1] != self.horizon or len(paths) == 0:
            raise ParameterError(f"Adaptive bands need paths of the shape [paths, {self.horizon}], not {paths.shape}.")
        return transforms.ordered(paths)


def _quantile(scores: Sequence[float], level: float) -> float:
    """The ⌈(n + 1) · level⌉-th smallest score, the greatest if there are too few, the least at level 0."""
    if not scores:
        return 0.0
    rank = int(np.ceil(round((len(scores) + 1) * level, 9)))
    return sorted(scores)[min(max(rank, 1), len(scores)) - 1]


def _rows(parts: tuple[tuple[T, ...], ...]) -> list[list[T]]:
    return [list(row) for row in parts]


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


_LEAST = 50  # outcomes of a group before its bands are moved: fewer say too little about their ends


def apply_online(
    trials: CalibrationSet, before: CalibrationSet | None = None, *, rate: float = 0.01, window: int = 500
) -> CalibrationSet:
    """Correct forecasts as `Adaptive` would have, live: group by group, in the order of their origins.

    An outcome counts from the moment at which the last of its forecast's steps was known, never earlier.

    Args:
        trials: Forecasts, raw or calibrated, of steps 1 to H.
        before: Earlier ones of the same kind to begin with; all their outcomes are taken to be known.
        rate: How fast levels move; see `Adaptive`.
        window: How many outcomes are remembered.

    Returns:
        The same forecasts with moved bands; those of a group with fewer than 50 known outcomes as they were.
    """
    result = np.array(trials.returns, dtype=np.float64)
    for group in trials.counts():
        state = AdaptiveConformal(trials.returns.shape[2], rate, window)
        known = 0
        if before is not None and group in before.counts():
            earlier = before.select(np.asarray(before.group) == group)
            state, known = state.after(earlier), len(earlier)
        _walk(trials, np.flatnonzero(np.asarray(trials.group) == group), state, known, result)
    return replace(trials, returns=result.astype(np.asarray(trials.returns).dtype))


def _walk(
    trials: CalibrationSet, rows: NDArray[np.intp], state: AdaptiveConformal, known: int, result: NDArray[np.float64]
) -> None:
    """Correct one group's forecasts in place of ``result``."""
    dates, known_at = np.asarray(trials.dates), np.asarray(trials.known_at)
    waiting: list[tuple[np.datetime64, int]] = []
    for row in rows[np.argsort(dates[rows], kind="stable")].tolist():
        while waiting and waiting[0][0] <= dates[row]:
            _, past = heapq.heappop(waiting)
            state, known = state.updated(trials.returns[past], trials.actual[past]), known + 1
        if known >= _LEAST:
            result[row] = state.apply_paths(trials.returns[row])
        heapq.heappush(waiting, (known_at[row], row))

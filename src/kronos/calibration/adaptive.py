"""Adaptive conformal inference: bands that go on learning from every outcome, for live use.

Gibbs & Candès 2021, "Adaptive conformal inference under distribution shift": the level α at which the quantile of
past scores is taken moves with each miss, α ← α + γ (α* - miss), so that the share of misses tends to α* whatever
the market does. It is run for every step and every band separately, on the scores of split conformal prediction
(`kronos.calibration.conformal.outside`).

Where α would fall below 0 the method asks for an infinite band, which no paths can show: the greatest score seen
is taken, and α stops at 0. With few scores it corrects by the greatest one too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kronos.calibration import transforms
from kronos.calibration.conformal import outside
from kronos.calibration.moving import move_candles
from kronos.calibration.trials import Trials
from kronos.errors import DataError, ParameterError
from kronos.forecasts import BANDS, Forecast

Array = NDArray[np.float64]
Scores = tuple[tuple[tuple[float, ...], ...], ...]

T = TypeVar("T")

FORMAT = 1
KIND = "kronos adaptive calibration"


@dataclass(frozen=True)
class Adaptive:
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

    def corrections(self) -> Array:
        """By how much each band's ends move outwards now, in half 80 % widths, `[bands, H]`; 0 without scores."""
        return np.array(
            [
                [_quantile(scores, 1 - level) for scores, level in zip(by_step, levels, strict=True)]
                for by_step, levels in zip(self.scores, self.levels, strict=True)
            ]
        )

    def updated(self, returns: ArrayLike, actual: ArrayLike) -> Adaptive:
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
            new = outside(values, came, band)  # [H]
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

    def after(self, trials: Trials) -> Adaptive:
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

    def apply_paths(self, returns: ArrayLike) -> Array:
        """Correct one forecast's cumulative log returns `[S, H]`."""
        values, owners = self._ordered(returns)
        shifts = list(self.corrections())
        return transforms.as_paths(transforms.conform(values, [*shifts, *shifts]), owners)

    def apply(self, forecast: Forecast) -> Forecast:
        """Correct a forecast, raw or calibrated; its candles are moved as wholes."""
        returns = self.apply_paths(forecast.returns(cumulative=True))
        count = max(outcomes for _, outcomes in self.misses[0])
        told = {"rate": self.rate, "outcomes": count, "corrections": self.corrections().round(6).tolist()}
        note = f"Bands corrected by adaptive conformal inference from {count:,} outcomes."
        made = forecast.made.with_details(adaptive=told)
        made = replace(made, calibrated=True, notes=(*made.notes, note))
        return replace(forecast, paths=move_candles(forecast, returns), made=made)

    def to_dict(self) -> dict[str, Any]:
        """The whole state, ready for JSON."""
        names = ("horizon", "rate", "window", "levels", "scores", "misses")
        return {"kind": KIND, "format": FORMAT, **{name: _lists(getattr(self, name)) for name in names}}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Adaptive:
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

    def _ordered(self, returns: ArrayLike) -> tuple[Array, NDArray[np.intp]]:
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

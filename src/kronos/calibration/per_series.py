"""The dispersion of one series, from forecasts made inside its own history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kronos import provenance
from kronos.calibration.calibration import Calibration
from kronos.calibration.calibration_set import CalibrationSet
from kronos.calibration.conformal import dispersion
from kronos.calibration.curves import Curve
from kronos.calibration.estimators import blocks_of
from kronos.calibration.transforms import LIMITS, PARTS, check_parts
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast

_LEAST = 4  # pseudo-origins with an outcome
_VARIANCE = 0.8  # of log c from one origin: that of the logarithm of a normal sample's 80 % quantile, over n


def fit_series(
    history: Candles,
    forecasts: Sequence[Forecast],
    *,
    prior: Calibration | None = None,
    group: str | None = None,
    between: float = 0.2,
) -> Calibration:
    """Fit the dispersion from pseudo-origins inside a history, for forecasts of the same series from its end on.

    One factor c for all steps: the one that makes the 80 % band cover 80 % over all pseudo-forecasts and steps,
    after the parts of ``prior`` up to its dispersion. It counts as far as few origins can tell it from noise: log c
    is multiplied by τ² / (τ² + s²), with τ the ``between`` and s² the larger of 0.8 / n and the standard error's
    square, n being the number of pseudo-origins whose horizons don't overlap.

    Args:
        history: The candles up to the forecast's origin; nothing beyond them is looked at.
        forecasts: Raw forecasts of one model from origins within the history, at least 4 with an outcome in it.
        prior: A fitted calibration to build on; its other parts stay.
        group: The series' group in ``prior``.
        between: By how much the dispersions of series differ, as a standard deviation of log c.

    Returns:
        The calibration for this series.

    Raises:
        DataError: If fewer than 4 forecasts have an outcome, or one is not of this history.
        ParameterError: If the forecasts differ in their making, ``prior`` is of another model, or ``between`` is
            negative.
    """
    if not between >= 0:
        raise ParameterError(f"The spread between series is not negative, not {between}.")
    trials = CalibrationSet.of(forecasts, history)
    known = np.isfinite(trials.sigma) & (np.asarray(trials.sigma) > 0) & np.isfinite(trials.actual).any(axis=1)
    if known.sum() < _LEAST or trials.returns.shape[1] < 2:
        raise DataError(f"The dispersion needs {_LEAST} forecasts of 2 paths with an outcome in the history.")
    trials = trials.select(known)
    before = _before(prior, trials, group)
    value, error = _residual(before)
    number = _apart(trials)
    variance = max(_VARIANCE / number, (error / value) ** 2)
    factor = value ** (between**2 / (between**2 + variance)) if between > 0 else 1.0
    told = {"factor": factor, "raw_factor": value, "between": between, "apart": number, **trials.summary()}
    return _with_factor(prior, trials, factor, told)


def _before(prior: Calibration | None, trials: CalibrationSet, group: str | None) -> CalibrationSet:
    """The trials after the prior's parts up to the dispersion."""
    if prior is None:
        return trials
    if difference := prior.identity.differs(trials.identity):
        raise ParameterError(f"The prior calibration is not these forecasts': their {difference}; fit without it.")
    parts = [part for part in prior.parts if PARTS.index(part) <= PARTS.index("dispersion")]
    labelled = replace(trials, group=np.full(len(trials), group or ""))
    return prior.apply_trials(labelled, parts)


def _residual(trials: CalibrationSet) -> tuple[float, float]:
    """The factor over all origins and steps together, and its standard error."""
    values = np.sort(np.swapaxes(trials.returns, 1, 2).astype(np.float64), axis=-1)
    actual = np.asarray(trials.actual, dtype=np.float64)
    known = np.isfinite(actual)
    blocks = np.broadcast_to(_few_blocks(trials)[:, None], known.shape)[known]
    value, error = dispersion(values[known], actual[known], blocks)
    return (value, error) if math.isfinite(error) and value > 0 else (1.0, math.inf)


def _few_blocks(trials: CalibrationSet) -> NDArray[np.int64]:
    """A block an origin, as long as there are few; those of `blocks_of` otherwise."""
    if len(trials) >= 100:
        return blocks_of(trials.dates)
    return np.unique(trials.dates, return_inverse=True)[1].astype(np.int64)


def _apart(trials: CalibrationSet) -> int:
    """How many of the horizons don't overlap, first come first counted."""
    count, free = 0, np.datetime64("0001-01-01")
    for start, end in sorted(zip(trials.dates, np.asarray(trials.known_at), strict=True)):
        if start >= free:
            count, free = count + 1, end
    return count


def _with_factor(
    prior: Calibration | None, trials: CalibrationSet, factor: float, told: Mapping[str, Any]
) -> Calibration:
    if prior is None:
        last = int(np.asarray(trials.steps)[-1])
        knots = (1, last) if last > 1 else (1,)
        return Calibration(
            identity=trials.identity,
            parts=("dispersion",),
            curves={"dispersion": Curve(knots, (_limited(factor),) * len(knots))},
            baseline="",
            fitted_on=trials.summary(),
            settings={"within": dict(told)},
            versions=provenance.versions(),
            created=provenance.now_utc(),
        )
    old = prior.curves.get("dispersion", Curve((1,), (1.0,)))
    curve = Curve(
        old.knots,
        tuple(_limited(value * factor) for value in old.pooled),
        {name: tuple(_limited(value * factor) for value in values) for name, values in old.groups.items()},
    )
    fitted_on = {key: value for key, value in prior.fitted_on.items() if key != "known_by_group"}
    fitted_on["known"] = max(prior.fitted_on["known"], trials.summary()["known"])
    return replace(
        prior,
        parts=check_parts([*prior.parts, "dispersion"]),
        curves={**prior.curves, "dispersion": curve},
        fitted_on=fitted_on,
        settings={**prior.settings, "within": dict(told)},
        created=provenance.now_utc(),
    )


def _limited(factor: float) -> float:
    low, high = LIMITS["dispersion"]
    return min(max(factor, low), high)

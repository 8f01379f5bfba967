"""Fit of the dispersion of one series to forecasts inside its own history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kronos import provenance
from kronos.calibration.calibration import Calibration
from kronos.calibration.calibration_set import CalibrationSet
from kronos.calibration.conformal import estimate_dispersion
from kronos.calibration.curves import Curve
from kronos.calibration.estimators import time_blocks
from kronos.calibration.transforms import LIMITS, PARTS, check_parts
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast
from kronos.typing import IntArray

_MIN_FORECASTS = 4  # with an outcome
_VARIANCE = 0.8  # of log c from one origin: n times that of the logarithm of a normal sample's 80 % quantile


def fit_series(
    history: Candles,
    forecasts: Sequence[Forecast],
    *,
    prior: Calibration | None = None,
    group: str | None = None,
    between: float = 0.2,
) -> Calibration:
    """Fit the dispersion to forecasts inside a history, for forecasts of the same series from its end.

    One factor c for all steps is fitted such that the 80 % band covers 80 % over all forecasts and steps, after the
    parts of ``prior`` up to its dispersion. It is shrunk for the noise of few origins: log c is multiplied by
    τ² / (τ² + s²), with τ = ``between`` and s² the larger of 0.8 / n and the squared standard error; n is the number of
    origins whose horizons do not overlap.

    Args:
        history: Candles up to the origin of the forecasts to correct; later ones are not used.
        forecasts: Raw forecasts of one model from origins within the history, at least 4 with an outcome in it.
        prior: A fitted calibration to extend; its other parts are unchanged.
        group: Group of the series in ``prior``.
        between: Standard deviation of log c between series.

    Returns:
        The calibration of this series.

    Raises:
        DataError: If fewer than 4 forecasts have an outcome, or one is not of this history.
        ParameterError: If the forecasts are of different models or shapes, ``prior`` is of another model, or
            ``between`` is negative.
    """
    if not between >= 0:
        raise ParameterError(f"Invalid between {between}: choose a standard deviation of at least 0.")
    past = CalibrationSet.of(forecasts, history)
    known = np.isfinite(past.sigma) & (np.asarray(past.sigma) > 0) & np.isfinite(past.actual).any(axis=1)
    if known.sum() < _MIN_FORECASTS or past.returns.shape[1] < 2:
        raise DataError(
            f"The dispersion needs at least {_MIN_FORECASTS} forecasts of 2 paths with an outcome in the history; got "
            f"{int(known.sum())} of {past.returns.shape[1]}."
        )
    past = past.select(known)
    value, error = _residual_factor(_apply_prior(prior, past, group))
    number = _count_separate(past)
    variance = max(_VARIANCE / number, (error / value) ** 2)
    factor = value ** (between**2 / (between**2 + variance)) if between > 0 else 1.0
    settings = {"factor": factor, "raw_factor": value, "between": between, "apart": number, **past.summary()}
    return _with_factor(prior, past, factor, settings)


def _apply_prior(prior: Calibration | None, past: CalibrationSet, group: str | None) -> CalibrationSet:
    """Apply the prior's parts up to the dispersion."""
    if prior is None:
        return past
    if difference := prior.identity.difference_from(past.identity):
        raise ParameterError(f"The prior calibration does not match these forecasts, {difference}: fit without it.")
    parts = [part for part in prior.parts if PARTS.index(part) <= PARTS.index("dispersion")]
    labelled = replace(past, group=np.full(len(past), group or ""))
    return prior.apply_set(labelled, parts)


def _residual_factor(past: CalibrationSet) -> tuple[float, float]:
    """Estimate the factor over all origins and steps together, and its standard error."""
    values = np.sort(np.swapaxes(past.returns, 1, 2).astype(np.float64), axis=-1)
    actual = np.asarray(past.actual, dtype=np.float64)
    known = np.isfinite(actual)
    blocks = np.broadcast_to(_blocks(past)[:, None], known.shape)[known]
    value, error = estimate_dispersion(values[known], actual[known], blocks)
    return (value, error) if math.isfinite(error) and value > 0 else (1.0, math.inf)


def _blocks(past: CalibrationSet) -> IntArray:
    """Return one block per origin if there are fewer than 100, otherwise `time_blocks`."""
    if len(past) >= 100:
        return time_blocks(past.dates)
    return np.unique(past.dates, return_inverse=True)[1].astype(np.int64)


def _count_separate(past: CalibrationSet) -> int:
    """Count origins whose horizons do not overlap, greedily in order of time."""
    count, free = 0, np.datetime64("0001-01-01")
    for start, end in sorted(zip(past.dates, np.asarray(past.known_at), strict=True)):
        if start >= free:
            count, free = count + 1, end
    return count


def _with_factor(
    prior: Calibration | None, past: CalibrationSet, factor: float, settings: Mapping[str, Any]
) -> Calibration:
    """Multiply the dispersion of ``prior``, or build a calibration of the dispersion alone."""
    if prior is None:
        last = int(np.asarray(past.steps)[-1])
        knots = (1, last) if last > 1 else (1,)
        return Calibration(
            identity=past.identity,
            parts=("dispersion",),
            curves={"dispersion": Curve(knots, (_clip(factor),) * len(knots))},
            baseline="",
            fitted_on=past.summary(),
            settings={"within": dict(settings)},
            versions=provenance.versions(),
            created=provenance.now_utc(),
        )
    old = prior.curves.get("dispersion", Curve((1,), (1.0,)))
    curve = Curve(
        old.knots,
        tuple(_clip(value * factor) for value in old.pooled),
        {name: tuple(_clip(value * factor) for value in values) for name, values in old.groups.items()},
    )
    fitted_on = {key: value for key, value in prior.fitted_on.items() if key != "known_by_group"}
    fitted_on["known"] = max(prior.fitted_on["known"], past.summary()["known"])
    return replace(
        prior,
        parts=check_parts([*prior.parts, "dispersion"]),
        curves={**prior.curves, "dispersion": curve},
        fitted_on=fitted_on,
        settings={**prior.settings, "within": dict(settings)},
        created=provenance.now_utc(),
    )


def _clip(factor: float) -> float:
    low, high = LIMITS["dispersion"]
    return min(max(factor, low), high)

"""Between runs and calibrations: past forecasts as what a calibration is fitted on, and corrected ones to score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.baselines import BASELINES
from kronos.calibration import BASELINE_PATHS, PARTS, Calibration, CalibrationSet, ModelIdentity, fit
from kronos.calibration.transforms import check_parts
from kronos.errors import ParameterError
from kronos.evaluation.ablation import Effect, ablate, cross_fitted
from kronos.evaluation.forecasters import BaselineForecaster, Forecaster
from kronos.evaluation.plan import Plan
from kronos.evaluation.rolling import ForecastPaths, RollingSettings, run_rolling
from kronos.evaluation.scoring import Actuals, report_steps
from kronos.progress import ProgressCallback

_BESIDE = "beside"  # folder of a run that holds the baseline to pool with, drawn more finely than in the table


@dataclass(frozen=True, slots=True)
class Correction:
    """A calibrated forecaster beside the raw one.

    Attributes:
        name: What tables call it.
        of: The forecaster that it corrects.
        calibration: What it does.
        parts: Which parts; None for all of the calibration's.
        other_model: Correct although the calibration was fitted for another model.
    """

    name: str
    of: str
    calibration: Calibration
    parts: Sequence[str] | None = None
    other_model: bool = False


def identity_of(forecaster: Forecaster) -> ModelIdentity:
    """A forecaster's identity as calibrations keep it."""
    told: dict[str, Any] = dict(forecaster.identity())
    model, tokenizer = (told.get(key) for key in ("model", "tokenizer"))
    if not isinstance(model, dict):
        return ModelIdentity(model=forecaster.name)
    ref = str(model.get("ref") or forecaster.name)
    return ModelIdentity(
        model=f"{ref} (changed)" if model.get("changed") else ref,
        sha256=model.get("sha256"),
        tokenizer_sha256=tokenizer.get("sha256") if isinstance(tokenizer, dict) else None,
        sampling=told.get("sampling"),
    )


def check_pooled(name: str) -> None:
    """Make sure that a baseline can be pooled with.

    Raises:
        ParameterError: If there is none of that name, it draws one path only, or its library is missing.
    """
    entry = BASELINES.get(name)
    if entry is None or entry.point:
        usual = ", ".join(key for key, one in BASELINES.items() if not one.point)
        what = "has no bands" if entry else "is none"
        raise ParameterError(f"The baseline '{name}' to pool with {what}; choose from {usual}.")
    if not entry.available:
        raise ParameterError(f"{name} needs {entry.needs}; install kronos[evaluation], or pool with another baseline.")


def baseline_paths(
    plan: Plan, name: str, folder: Path, seed: int, *, workers: int = 1, progress: ProgressCallback | None = None
) -> ForecastPaths:
    """A baseline's paths to pool with, at every origin; kept in the run's folder.

    Args:
        plan: The origins.
        name: Of `kronos.baselines.BASELINES`.
        folder: Of the run.
        seed: Of the draws.
        workers: Processes to share the work.
        progress: Called with the forecasts done and their number.

    Raises:
        ParameterError: If there is no such baseline.
    """
    check_pooled(name)
    settings = RollingSettings(BASELINE_PATHS, seed)
    forecaster = BaselineForecaster(BASELINES[name])
    return run_rolling(plan, [forecaster], folder / _BESIDE / name, settings, workers=workers, progress=progress)[name]


def calibration_set_of(
    plan: Plan, truth: Actuals, paths: ForecastPaths, identity: ModelIdentity, baseline: ForecastPaths | None = None
) -> CalibrationSet:
    """What was said beside what came, at the origins where everybody spoke.

    Args:
        plan: The origins.
        truth: What happened.
        paths: What the model said.
        identity: Whose forecasts they are.
        baseline: The paths to pool with, if any.
    """
    rows = spoken(paths, baseline)
    ends = [plan.times(int(row))[-1] for row in rows]
    return CalibrationSet(
        returns=paths.returns[rows],
        actual=truth.returns[rows],
        sigma=truth.sigma[rows],
        dates=truth.origins["date"].to_numpy()[rows].astype("datetime64[us]"),
        identity=identity,
        group=truth.origins["group"].to_numpy()[rows].astype(np.str_),
        level_error=paths.level_error[rows],
        baseline=None if baseline is None else baseline.returns[rows],
        baseline_name="" if baseline is None else baseline.name,
        known_at=_utc(ends),
    )


def corrected(
    plan: Plan, paths: ForecastPaths, correction: Correction, baseline: ForecastPaths | None = None
) -> ForecastPaths:
    """What a forecaster would have said with its calibration on.

    Args:
        plan: The origins.
        paths: What it said raw.
        correction: The calibration.
        baseline: The paths to pool with, if it pools.
    """
    rows = spoken(paths, baseline)
    groups = plan.table()["group"].to_numpy().astype(np.str_)
    result = np.full_like(paths.returns, np.nan)
    result[rows] = correction.calibration.apply_paths(
        paths.returns[rows],
        level_error=paths.level_error[rows],
        baseline=None if baseline is None else baseline.returns[rows],
        group=groups[rows],
        parts=correction.parts,
    )
    draws = correction.calibration.draws(
        paths.returns.shape[1],
        np.arange(1, plan.walk.horizon + 1),
        groups,
        baseline=BASELINE_PATHS if baseline is None else baseline.returns.shape[1],
        parts=correction.parts,
    )
    return ForecastPaths(correction.name, result, paths.level_error, draws)


def fitted_too_late(corrections: Sequence[Correction], truth: Actuals) -> list[str]:
    """Warnings of calibrations that were fitted on outcomes from after a group's first origins.

    Args:
        corrections: Whose.
        truth: What they are judged by.
    """
    first = truth.origins.groupby("group")["date"].min()
    found = []
    for one in corrections:
        seen = [
            str(group)
            for group, date in first.items()
            if date.to_datetime64() < one.calibration.known_until(str(group))
        ]
        if seen:
            found.append(
                f"{one.name} was fitted on outcomes from after the first origins of {', '.join(seen)}: no fair test "
                f"there."
            )
    return found


def spoken(*everybody: ForecastPaths | None) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Origins where all of them made a forecast."""
    known = [np.isfinite(one.returns).all(axis=(1, 2)) for one in everybody if one is not None]
    return np.flatnonzero(np.logical_and.reduce(known))


def _utc(times: Sequence[pd.Timestamp]) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    naive = [time if time.tz is None else time.tz_convert("UTC").tz_localize(None) for time in times]
    return pd.DatetimeIndex(naive).to_numpy().astype("datetime64[us]")


POOL_WITH = "filtered-historical-simulation"
RAW, CALIBRATED = "raw", "calibrated"
_USUAL = RollingSettings()


@dataclass(frozen=True, eq=False)
class Fitted:
    """A calibration and what it does.

    Attributes:
        calibration: Fitted on all origins.
        trials: What it was fitted on.
        effects: Raw and corrected forecasts at every origin, the corrected ones by calibrations that saw none of its
            time; and the baseline that is pooled with by itself.
    """

    calibration: Calibration
    trials: CalibrationSet
    effects: Sequence[Effect]


def calibrate(
    plan: Plan,
    forecaster: Forecaster,
    folder: Path,
    settings: RollingSettings = _USUAL,
    *,
    parts: Sequence[str] = PARTS,
    pool_with: str = POOL_WITH,
    symmetric: bool = True,
    compare: Mapping[str, Sequence[str]] | None = None,
    steps: Sequence[int] | None = None,
    folds: int = 5,
    workers: int = 1,
    progress: ProgressCallback | None = None,
) -> Fitted:
    """Forecast at every origin, and fit.

    Args:
        plan: The origins, all before the dates that the calibrated forecasts will be judged on.
        forecaster: Whose forecasts to correct.
        folder: Where what was said is kept: a run that was interrupted goes on there.
        settings: Samples and seed.
        parts: Which parts to fit.
        pool_with: The baseline to pool with, if that is one of them.
        symmetric: As for `kronos.calibration.fit`.
        compare: Other choices of parts to judge beside, by name.
        steps: Steps ahead to judge at; None for 1, 4, 8, 24 and the horizon.
        folds: Stretches of dates to judge on.
        workers: Processes to share the work; see `run`.
        progress: Called with the forecasts done and their number.

    Raises:
        ParameterError: If a part or the baseline is unknown.
        DataError: If there are too few origins.
    """
    wanted = {CALIBRATED: parts, **(compare or {})}
    choices = {name: check_parts(chosen) for name, chosen in wanted.items()}
    pooled = any("pooling" in chosen for chosen in choices.values())
    if pooled:
        check_pooled(pool_with)
    said = run_rolling(plan, [forecaster], folder, settings, workers=workers, progress=progress)[forecaster.name]
    near = baseline_paths(plan, pool_with, folder, settings.seed, workers=workers) if pooled else None
    trials = calibration_set_of(plan, Actuals.of(plan), said, identity_of(forecaster), near)
    asked = {"stride": plan.walk.step, "lookback": plan.walk.lookback, "samples": settings.samples}
    calibration = fit(trials, parts, symmetric=symmetric, settings={**asked, "seed": settings.seed})
    judged = {RAW: trials} | {
        name: cross_fitted(trials, chosen, folds=folds, symmetric=symmetric) for name, chosen in choices.items()
    }
    if near is not None:
        judged[near.name] = _alone(trials, near, said)
    at = report_steps(plan.walk.horizon) if steps is None else steps
    return Fitted(calibration, trials, ablate(trials, judged, at, plan.walk.step))


def _alone(trials: CalibrationSet, baseline: ForecastPaths, said: ForecastPaths) -> CalibrationSet:
    """The baseline by itself, at the same origins."""
    return replace(trials, returns=baseline.returns[spoken(said, baseline)], draws=None)

"""Between runs and calibrations: past forecasts as what a calibration is fitted on, and corrected ones to score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.baselines import BASELINES
from kronos.calibration import BASELINE_PATHS, Calibration, Identity, Trials
from kronos.errors import ParameterError
from kronos.evaluation.forecasters import BaselineForecaster, Forecaster
from kronos.evaluation.plan import Plan
from kronos.evaluation.running import Paths, Progress, Settings, run
from kronos.evaluation.scoring import Truth

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


def identity_of(forecaster: Forecaster) -> Identity:
    """A forecaster's identity as calibrations keep it."""
    told: dict[str, Any] = dict(forecaster.identity())
    model, tokenizer = (told.get(key) for key in ("model", "tokenizer"))
    if not isinstance(model, dict):
        return Identity(model=forecaster.name)
    ref = str(model.get("ref") or forecaster.name)
    return Identity(
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


def beside(
    plan: Plan, name: str, folder: Path, seed: int, *, workers: int = 1, progress: Progress | None = None
) -> Paths:
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
    settings = Settings(BASELINE_PATHS, seed)
    forecaster = BaselineForecaster(BASELINES[name])
    return run(plan, [forecaster], folder / _BESIDE / name, settings, workers=workers, progress=progress)[name]


def trials_of(plan: Plan, truth: Truth, paths: Paths, identity: Identity, baseline: Paths | None = None) -> Trials:
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
    return Trials(
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


def corrected(plan: Plan, paths: Paths, correction: Correction, baseline: Paths | None = None) -> Paths:
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
    return Paths(correction.name, result, paths.level_error, draws)


def fitted_too_late(corrections: Sequence[Correction], truth: Truth) -> list[str]:
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


def spoken(*everybody: Paths | None) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Origins where all of them made a forecast."""
    known = [np.isfinite(one.returns).all(axis=(1, 2)) for one in everybody if one is not None]
    return np.flatnonzero(np.logical_and.reduce(known))


def _utc(times: Sequence[pd.Timestamp]) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    naive = [time if time.tz is None else time.tz_convert("UTC").tz_localize(None) for time in times]
    return pd.DatetimeIndex(naive).to_numpy().astype("datetime64[us]")

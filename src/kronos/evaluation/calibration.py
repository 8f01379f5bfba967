"""Calibration in evaluations: fit a calibration to the forecasts of a run, and add calibrated contenders to a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kronos.baselines import BASELINES
from kronos.calibration import BASELINE_PATHS, PARTS, Calibration, CalibrationSet, ModelIdentity, fit
from kronos.calibration.transforms import check_parts
from kronos.engines import Engine
from kronos.errors import ParameterError
from kronos.evaluation.ablation import AblationRow, ablate, cross_fitted
from kronos.evaluation.forecasters import BaselineForecaster, Forecaster
from kronos.evaluation.origins import Plan
from kronos.evaluation.rolling import ForecastPaths, RollingSettings, run_rolling
from kronos.evaluation.scoring import Actuals, report_steps
from kronos.progress import ProgressCallback

POOL_WITH = "filtered-historical-simulation"
RAW, CALIBRATED = "raw", "calibrated"
_POOLING_FOLDER = "beside"  # part of a run: the pooling baseline, with more paths than in the table
_DEFAULT_SETTINGS = RollingSettings()


@dataclass(frozen=True, slots=True)
class Correction:
    """A calibrated contender, derived from the paths of a raw one.

    Attributes:
        name: Name in tables.
        of: Name of the forecaster that it corrects.
        calibration: The calibration to apply.
        parts: Parts to apply; None for all parts of the calibration.
        other_model: Apply it even if it was fitted to another model.
    """

    name: str
    of: str
    calibration: Calibration
    parts: Sequence[str] | None = None
    other_model: bool = False

    @property
    def applied_parts(self) -> Sequence[str]:
        """The parts that are applied."""
        return self.calibration.parts if self.parts is None else self.parts


def identity_of(forecaster: Forecaster) -> ModelIdentity:
    """Return a forecaster's identity in the form that calibrations store."""
    identity: dict[str, Any] = dict(forecaster.identity())
    model, tokenizer = (identity.get(key) for key in ("model", "tokenizer"))
    if not isinstance(model, dict):
        return ModelIdentity(model=forecaster.name)
    ref = str(model.get("ref") or forecaster.name)
    return ModelIdentity(
        model=f"{ref} (changed)" if model.get("changed") else ref,
        sha256=model.get("sha256"),
        tokenizer_sha256=tokenizer.get("sha256") if isinstance(tokenizer, dict) else None,
        sampling=identity.get("sampling"),
    )


def check_pooling_baseline(name: str) -> None:
    """Check that a baseline can be pooled with.

    Raises:
        ParameterError: If it does not exist, has no bands, or its library is not installed.
    """
    entry = BASELINES.get(name)
    if entry is None or entry.point:
        names = ", ".join(key for key, spec in BASELINES.items() if not spec.point)
        problem = "is a point forecast without bands" if entry else "does not exist"
        raise ParameterError(f"Cannot pool with the baseline '{name}': it {problem}. Choose from {names}.")
    if not entry.available:
        raise ParameterError(
            f"{name} needs {entry.needs}: install kronos-forecast[evaluation], or pool with another baseline."
        )


def baseline_paths(
    plan: Plan,
    name: str,
    folder: Path,
    seed: int,
    *,
    engine: Engine | None = None,
    progress: ProgressCallback | None = None,
) -> ForecastPaths:
    """Sample the paths of the baseline to pool with at every origin; they are stored in the folder of the run.

    Args:
        plan: The origins.
        name: Name in `kronos.baselines.BASELINES`.
        folder: Folder of the run.
        seed: Random seed.
        engine: Where forecasts are computed, see `run_rolling`.
        progress: Called with the number of finished forecasts and their total.

    Raises:
        ParameterError: If the baseline cannot be pooled with.
    """
    check_pooling_baseline(name)
    settings = RollingSettings(BASELINE_PATHS, seed)
    baseline = BaselineForecaster(BASELINES[name])
    paths = run_rolling(
        plan,
        [baseline],
        folder / _POOLING_FOLDER / name,
        settings,
        engine=engine,
        progress=progress,
        whole_candles=False,  # only closes are pooled
    )
    return paths[name]


def calibration_set_of(
    plan: Plan, actuals: Actuals, paths: ForecastPaths, identity: ModelIdentity, baseline: ForecastPaths | None = None
) -> CalibrationSet:
    """Collect the forecasts of a run with their outcomes, at the origins where both forecasters have one.

    Args:
        plan: The origins.
        actuals: The outcomes.
        paths: Sample paths of the model.
        identity: Identity of the model.
        baseline: Sample paths of the baseline to pool with.
    """
    rows = shared_origins(paths, baseline)
    return CalibrationSet(
        returns=paths.returns[rows],
        actual=actuals.returns[rows],
        sigma=actuals.sigma[rows],
        dates=actuals.origins["date"].to_numpy()[rows].astype("datetime64[us]"),
        identity=identity,
        group=actuals.origins["group"].to_numpy()[rows].astype(np.str_),
        level_error=paths.level_error[rows],
        baseline=None if baseline is None else baseline.returns[rows],
        baseline_name="" if baseline is None else baseline.name,
        known_at=plan.select(rows).ends().to_numpy().astype("datetime64[us]"),
    )


def apply_correction(
    plan: Plan, paths: ForecastPaths, correction: Correction, baseline: ForecastPaths | None = None
) -> ForecastPaths:
    """Calibrate the sample paths of a run.

    Args:
        plan: The origins.
        paths: Raw sample paths.
        correction: The calibration.
        baseline: Sample paths of the baseline to pool with, if pooling is applied.
    """
    rows = shared_origins(paths, baseline)
    groups = plan.table()["group"].to_numpy().astype(np.str_)
    returns = np.full_like(paths.returns, np.nan)
    returns[rows] = correction.calibration.apply_paths(
        paths.returns[rows],
        level_error=paths.level_error[rows],
        baseline=None if baseline is None else baseline.returns[rows],
        group=groups[rows],
        parts=correction.parts,
    )
    draws = correction.calibration.draws(
        paths.returns.shape[1],
        np.arange(1, plan.rolling.horizon + 1),
        groups,
        baseline=BASELINE_PATHS if baseline is None else baseline.returns.shape[1],
        parts=correction.parts,
    )
    return ForecastPaths(correction.name, returns, paths.level_error, draws)


def late_fit_warnings(corrections: Sequence[Correction], actuals: Actuals) -> list[str]:
    """Warn of calibrations that were fitted to outcomes from after a group's first origin."""
    first = actuals.origins.groupby("group")["date"].min()
    warnings = []
    for correction in corrections:
        late = [
            str(group)
            for group, date in first.items()
            if date.to_datetime64() < correction.calibration.known_until(str(group))
        ]
        if late:
            warnings.append(
                f"{correction.name} was fitted to outcomes from after the first origins of {', '.join(late)}: its "
                f"figures there are not out of sample."
            )
    return warnings


def shared_origins(*paths: ForecastPaths | None) -> npt.NDArray[np.intp]:
    """Return the origins for which every given forecaster (None is ignored) has a forecast."""
    known = [np.isfinite(own.returns).all(axis=(1, 2)) for own in paths if own is not None]
    return np.flatnonzero(np.logical_and.reduce(known))


@dataclass(frozen=True, eq=False)
class FittedCalibration:
    """A calibration with the measured effect of its parts.

    Attributes:
        calibration: Fitted to all origins.
        calibration_set: The forecasts and outcomes it was fitted to.
        ablation: Figures of the raw and the corrected forecasts; the corrected ones are cross-fitted.
    """

    calibration: Calibration
    calibration_set: CalibrationSet
    ablation: Sequence[AblationRow]


def calibrate(
    plan: Plan,
    forecaster: Forecaster,
    folder: Path,
    settings: RollingSettings = _DEFAULT_SETTINGS,
    *,
    parts: Sequence[str] = PARTS,
    pool_with: str = POOL_WITH,
    symmetric: bool = True,
    compare: Mapping[str, Sequence[str]] | None = None,
    steps: Sequence[int] | None = None,
    folds: int = 5,
    engine: Engine | None = None,
    progress: ProgressCallback | None = None,
) -> FittedCalibration:
    """Forecast at every origin, fit a calibration, and measure what it improves.

    Args:
        plan: The origins, all before the dates on which the calibrated forecasts will be evaluated.
        forecaster: The forecaster to calibrate.
        folder: Folder of the run; an interrupted run resumes there.
        settings: Samples and seed.
        parts: Parts to fit.
        pool_with: Baseline to pool with, if pooling is one of the parts.
        symmetric: See `kronos.calibration.fit`.
        compare: Further sets of parts to measure, by name.
        steps: Steps ahead to report; None for 1, 4, 8, 24 and the horizon.
        folds: Number of folds for cross-fitting.
        engine: Where forecasts are computed, see `run_rolling`.
        progress: Called with the number of finished forecasts and their total.

    Raises:
        ParameterError: If a part or the baseline does not exist.
        DataError: If there are too few origins.
    """
    part_sets = {name: check_parts(own) for name, own in {CALIBRATED: parts, **(compare or {})}.items()}
    pooled = any("pooling" in own for own in part_sets.values())
    if pooled:
        check_pooling_baseline(pool_with)
    paths = run_rolling(plan, [forecaster], folder, settings, engine=engine, progress=progress)[forecaster.name]
    baseline = baseline_paths(plan, pool_with, folder, settings.seed, engine=engine) if pooled else None
    past = calibration_set_of(plan, Actuals.of(plan), paths, identity_of(forecaster), baseline)
    rolling = plan.rolling
    recorded = {
        "stride": rolling.step,
        "lookback": rolling.lookback,
        "samples": settings.samples,
        "seed": settings.seed,
    }
    calibration = fit(past, parts, symmetric=symmetric, settings=recorded)
    corrected = {RAW: past} | {
        name: cross_fitted(past, own, folds=folds, symmetric=symmetric) for name, own in part_sets.items()
    }
    if baseline is not None:
        corrected[baseline.name] = replace(
            past, returns=baseline.returns[shared_origins(paths, baseline)], draws=None
        )  # the baseline alone
    reported = report_steps(rolling.horizon) if steps is None else steps
    return FittedCalibration(calibration, past, ablate(past, corrected, reported, rolling.step))

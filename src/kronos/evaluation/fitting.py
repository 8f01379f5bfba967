"""A calibration from the origins to the file, judged on dates that it wasn't fitted on.

    plan = make_plan(instruments, WalkForward(horizon=24, stride=11), validation_dates)
    found = calibrate(plan, ModelForecaster(predictor, "kronos-small"), Path("out/calibration"))
    found.calibration.save("kronos-small.json")

A stride that shares no divisor with the candles of a session meets every time of day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kronos.calibration import PARTS, Calibration, Trials, fit
from kronos.calibration.parts import check_parts
from kronos.evaluation.calibrating import beside, check_pooled, identity_of, spoken, trials_of
from kronos.evaluation.effects import Effect, cross_fitted, effects
from kronos.evaluation.forecasters import Forecaster
from kronos.evaluation.plan import Plan
from kronos.evaluation.running import Paths, Progress, Settings, run
from kronos.evaluation.scoring import Truth, usual_steps

POOL_WITH = "filtered-historical-simulation"
RAW, CALIBRATED = "raw", "calibrated"
_USUAL = Settings()


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
    trials: Trials
    effects: Sequence[Effect]


def calibrate(
    plan: Plan,
    forecaster: Forecaster,
    folder: Path,
    settings: Settings = _USUAL,
    *,
    parts: Sequence[str] = PARTS,
    pool_with: str = POOL_WITH,
    symmetric: bool = True,
    compare: Mapping[str, Sequence[str]] | None = None,
    steps: Sequence[int] | None = None,
    folds: int = 5,
    workers: int = 1,
    progress: Progress | None = None,
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
    said = run(plan, [forecaster], folder, settings, workers=workers, progress=progress)[forecaster.name]
    near = beside(plan, pool_with, folder, settings.seed, workers=workers) if pooled else None
    trials = trials_of(plan, Truth.of(plan), said, identity_of(forecaster), near)
    asked = {"stride": plan.walk.step, "lookback": plan.walk.lookback, "samples": settings.samples}
    calibration = fit(trials, parts, symmetric=symmetric, settings={**asked, "seed": settings.seed})
    judged = {RAW: trials} | {
        name: cross_fitted(trials, chosen, folds=folds, symmetric=symmetric) for name, chosen in choices.items()
    }
    if near is not None:
        judged[near.name] = _alone(trials, near, said)
    at = usual_steps(plan.walk.horizon) if steps is None else steps
    return Fitted(calibration, trials, effects(trials, judged, at, plan.walk.step))


def _alone(trials: Trials, baseline: Paths, said: Paths) -> Trials:
    """The baseline by itself, at the same origins."""
    return replace(trials, returns=baseline.returns[spoken(said, baseline)], draws=None)

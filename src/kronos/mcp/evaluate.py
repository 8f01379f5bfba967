"""The ``evaluate`` tool: a rolling-origin evaluation of the newest candles of one series, short enough to wait for."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kronos.baselines import BASELINES
from kronos.candles import Candles
from kronos.datasets.discovery import infer_market
from kronos.errors import ParameterError
from kronos.evaluation import (
    Correction,
    Evaluation,
    Instrument,
    ModelForecaster,
    Plan,
    RollingOrigins,
    RollingSettings,
    baseline_forecasters,
    cutoffs,
    prepare_evaluation,
)
from kronos.evaluation import evaluate as run_evaluation
from kronos.forecasts import Forecast
from kronos.inference.engine import check_horizon
from kronos.inference.metadata import model_title
from kronos.mcp.context import SeriesArgs, read_candles
from kronos.mcp.forecast import warnings_of
from kronos.mcp.responses import EvaluationResponse, SkillRow, VerdictRow, json_number, protocol_words
from kronos.progress import ProgressCallback

if TYPE_CHECKING:
    from kronos.evaluation import Aggregates
    from kronos.evaluation.forecasters import Histories, Times
    from kronos.inference import KronosPredictor
    from kronos.mcp.context import ServerContext

SAMPLES = 50
MAX_CANDLES = 4_800  # origins times horizon: half a minute for the bundled model on two cores
_SEED = 1
_SIMULATED = "All candles are SIMULATED and never traded: this does not describe a market."


@dataclass(frozen=True, slots=True)
class EvaluateToolArgs:
    """Arguments of a call.

    Attributes:
        series: Which candles.
        origins: Largest number of forecast origins.
        horizon: Candles to forecast at each origin.
        model: Name of the model; None for the default.
    """

    series: SeriesArgs
    origins: int
    horizon: int
    model: str | None

    def check(self) -> None:
        """Check the arguments.

        Raises:
            ParameterError: If one is invalid, or the evaluation would take too long.
        """
        self.series.check()
        if self.origins * self.horizon > MAX_CANDLES:
            limit = MAX_CANDLES // self.horizon
            hint = f"choose at most {limit} origins" if limit else "choose a shorter horizon"
            raise ParameterError(
                f"{self.origins} origins of {self.horizon} candles exceed the limit of {MAX_CANDLES:,} forecast "
                f"candles per call; {hint}."
            )


class _ReportingForecaster(ModelForecaster):
    """A model that reports progress, so that a call can be followed and cancelled."""

    def __init__(self, predictor: KronosPredictor, name: str, progress: ProgressCallback) -> None:
        super().__init__(predictor, name)
        self._reporting_predictor, self._progress = predictor, progress

    def forecast(self, histories: Histories, times: Times, *, samples: int, seed: int) -> Mapping[str, Forecast]:
        """Forecast as `ModelForecaster` does."""
        horizon = len(next(iter(times.values())))
        return self._reporting_predictor.forecast_many(
            dict(histories),
            horizon,
            samples=samples,
            seed=seed,
            timestamps=dict(times),
            calibration=False,
            progress=self._progress,
        )


def evaluate(context: ServerContext, args: EvaluateToolArgs, progress: ProgressCallback) -> EvaluationResponse:
    """Forecast at past origins, score the forecasts, and derive verdicts.

    Args:
        context: Files, source and models.
        args: Arguments of the call.
        progress: Called with the completed and the total work; may raise to cancel.

    Raises:
        KronosError: If an argument is invalid, or the candles or the model cannot be loaded.
    """
    args.check()
    predictor = context.predictor(args.model)
    check_horizon(args.horizon, predictor.max_context, predictor.least_history)
    candles = read_candles(context, args.series, predictor.max_context + args.origins * args.horizon)
    plan = _plan(candles, args, predictor)
    with tempfile.TemporaryDirectory(dir=context.scratch) as folder:
        evaluation = _run(plan, predictor, Path(folder) / "run", progress)
    return _response(evaluation, candles, model_title(predictor.model), args)


def _plan(candles: Candles, args: EvaluateToolArgs, predictor: KronosPredictor) -> Plan:
    """Plan the newest origins, a horizon apart, which are the least likely to be in the training data."""
    rolling = RollingOrigins(args.horizon, lookback=predictor.max_context)
    first = max(0, len(candles) - args.origins * args.horizon)
    instrument = Instrument(str(candles.symbol), infer_market(candles), candles)
    return prepare_evaluation([instrument], rolling, predictors=[predictor], start=candles.index[first]).plan


def _run(plan: Plan, predictor: KronosPredictor, folder: Path, progress: ProgressCallback) -> Evaluation:
    """Evaluate the model, also calibrated if it has a calibration, and the baselines without fitted parameters."""
    name, corrections = model_title(predictor.model), []
    calibration = predictor.calibration_for(None)
    if calibration is not None:
        corrections = [Correction(f"{name} calibrated", name, calibration)]
    baselines = [baseline for baseline, spec in BASELINES.items() if spec.available and spec.fit is None]
    return run_evaluation(
        plan,
        [_ReportingForecaster(predictor, name, progress)],
        folder,
        RollingSettings(SAMPLES, _SEED),
        baselines=baseline_forecasters(baselines),
        corrections=corrections,
        trained_until={name: cutoffs(predictor, plan)},
    )


def _response(evaluation: Evaluation, candles: Candles, name: str, args: EvaluateToolArgs) -> EvaluationResponse:
    plan, group = evaluation.plan, evaluation.plan.instruments[0].group
    horizon = plan.rolling.horizon
    dates = evaluation.actuals.origins["date"]
    baselines = {contender.name for contender in evaluation.contenders if contender.baseline}
    aggregates = [row for row in evaluation.aggregates if row.group == group and row.step == horizon]
    identity = next(contender.identity for contender in evaluation.contenders if contender.name == name)
    return EvaluationResponse(
        simulated=candles.simulated,
        symbol=str(candles.symbol),
        interval=str(candles.interval),
        model=name,
        reference=evaluation.reference,
        origins=len(plan),
        horizon=horizon,
        samples=SAMPLES,
        first=dates.min().isoformat(),
        last=dates.max().isoformat(),
        remark=_remark(len(plan), args),
        verdicts=[
            VerdictRow(forecaster=verdict.forecaster, about=verdict.about, word=verdict.word, sentence=verdict.sentence)
            for verdict in evaluation.verdicts
            if verdict.group == group and verdict.forecaster not in baselines
        ],
        table=[_skill_row(row, row.forecaster in baselines) for row in aggregates],
        warnings=[*([_SIMULATED] if candles.simulated else []), *map(protocol_words, evaluation.warnings)],
        findings=warnings_of(candles),
        model_sha256=identity["model"].get("sha256"),
        versions=dict(evaluation.provenance["versions"]),
    )


def _skill_row(row: Aggregates, baseline: bool) -> SkillRow:
    skill = row.skill
    return SkillRow(
        forecaster=row.forecaster,
        baseline=baseline,
        forecasts=row.n,
        crps=json_number(row.crps),
        skill=None if skill is None else json_number(skill.estimate),
        skill_low=None if skill is None else json_number(skill.low),
        skill_high=None if skill is None else json_number(skill.high),
        hit_rate=None if row.hit_rate is None else json_number(row.hit_rate.estimate),
        inside_80=json_number(row.coverage["80"].estimate) if row.width > 0 else None,
    )


def _remark(origins: int, args: EvaluateToolArgs) -> str:
    fewer = "" if origins == args.origins else f" (not {args.origins}, because it is too short)"
    return (
        f"This evaluation has {origins} origins of one series{fewer}, {args.horizon} candles apart. That is enough to "
        f"detect gross errors, such as bands that are far too narrow, but not a small edge, nor whether it would last; "
        f"use 'kronos evaluate' with many series and dates for that."
    )

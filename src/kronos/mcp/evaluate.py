"""The work behind ``evaluate``: a walk-forward over the newest candles of one series, short enough to wait for."""

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
    Dates,
    Evaluation,
    Instrument,
    ModelForecaster,
    Plan,
    RollingSettings,
    WalkForward,
    baseline_forecasters,
    cutoffs,
    make_plan,
)
from kronos.evaluation import evaluate as score
from kronos.evaluation.plan import LEAST_HISTORY
from kronos.forecasts import Forecast
from kronos.inference.engine import check_horizon
from kronos.inference.metadata import title
from kronos.mcp.context import SeriesArgs, read
from kronos.mcp.forecast import findings_of, ships_calibration
from kronos.mcp.schemas import EvaluationResponse, SkillRow, VerdictRow, number
from kronos.progress import ProgressCallback

if TYPE_CHECKING:
    from kronos.evaluation import Aggregates
    from kronos.evaluation.forecasters import Histories, Times
    from kronos.inference import KronosPredictor
    from kronos.mcp.context import ServerContext

SAMPLES = 50
MOST_STEPS = 4_800  # origins × horizon: the bundled model takes two cores half a minute for them
_SEED = 1
_SIMULATED = "All candles are SIMULATED and never traded: this says nothing about markets."


@dataclass(frozen=True, slots=True)
class EvaluateArgs:
    """A call.

    Attributes:
        series: Which candles.
        origins: Moments to forecast at, at most.
        horizon: Candles to forecast at each.
        model: A zoo name; None for the default.
    """

    series: SeriesArgs
    origins: int
    horizon: int
    model: str | None

    def check(self) -> None:
        """Refuse what would take too long.

        Raises:
            ParameterError: If there are too many forecast candles in all.
        """
        self.series.check()
        if self.origins * self.horizon > MOST_STEPS:
            most = MOST_STEPS // self.horizon
            mend = f"ask for at most {most} origins" if most else "take a shorter horizon"
            raise ParameterError(
                f"{self.origins} origins of {self.horizon} candles are more than the {MOST_STEPS:,} candles that one "
                f"call forecasts; {mend}."
            )


class _Watched(ModelForecaster):
    """A model that tells how far it is, so that a call can be followed, and ended in the middle."""

    def __init__(self, predictor: KronosPredictor, name: str, progress: ProgressCallback) -> None:
        super().__init__(predictor, name)
        self._watched, self._progress = predictor, progress

    def forecast(self, histories: Histories, times: Times, *, samples: int, seed: int) -> Mapping[str, Forecast]:
        """See `Forecaster`."""
        horizon = len(next(iter(times.values())))
        return self._watched.forecast_many(
            dict(histories), horizon, samples=samples, seed=seed, timestamps=dict(times), progress=self._progress
        )


def evaluate(desk: ServerContext, asked: EvaluateArgs, progress: ProgressCallback) -> EvaluationResponse:
    """Forecast at past origins, score, and say in words whether to believe it.

    Args:
        desk: What there is.
        asked: What is wanted.
        progress: Called with the model's work done and all of it; what it raises ends the work.

    Raises:
        KronosError: One sentence on whatever is wrong.
    """
    asked.check()
    predictor = desk.predictor(asked.model)
    check_horizon(asked.horizon, predictor.max_context, predictor.least_history)
    candles = read(desk, asked.series, predictor.max_context + asked.origins * asked.horizon)
    plan = _plan(candles, asked, predictor)
    with tempfile.TemporaryDirectory(dir=desk.scratch) as folder:
        evaluation = _run(plan, predictor, Path(folder) / "run", progress)
    return _answer(evaluation, candles, title(predictor.model), asked)


def _plan(candles: Candles, asked: EvaluateArgs, predictor: KronosPredictor) -> Plan:
    """The newest origins, a horizon apart: there a model is least likely to have learnt what came."""
    least = max(LEAST_HISTORY, predictor.least_history)
    walk = WalkForward(asked.horizon, lookback=predictor.max_context, least_history=least)
    first = max(0, len(candles) - asked.origins * asked.horizon)
    instrument = Instrument(str(candles.symbol), infer_market(candles), candles)
    return make_plan([instrument], walk, Dates(start=candles.index[first]))


def _run(plan: Plan, predictor: KronosPredictor, folder: Path, progress: ProgressCallback) -> Evaluation:
    """Everybody in the table: the model, with its calibration too if it has one, and the baselines that fit nothing."""
    name, corrections = title(predictor.model), []
    if ships_calibration(predictor):
        calibration = predictor.calibration_for(True)
        assert calibration is not None
        corrections = [Correction(f"{name} calibrated", name, calibration)]
    cheap = [one for one, entry in BASELINES.items() if entry.available and entry.fit is None]
    return score(
        plan,
        [_Watched(predictor, name, progress)],
        folder,
        RollingSettings(SAMPLES, _SEED),
        baselines=baseline_forecasters(cheap),
        corrections=corrections,
        trained_until={name: cutoffs(predictor, plan)},
    )


def _answer(found: Evaluation, candles: Candles, name: str, asked: EvaluateArgs) -> EvaluationResponse:
    plan, group = found.plan, found.plan.instruments[0].group
    horizon = plan.walk.horizon
    dates = found.truth.origins["date"]
    baselines = {one.name for one in found.subjects if one.baseline}
    figures = [one for one in found.figures if one.group == group and one.step == horizon]
    identity = next(one.identity for one in found.subjects if one.name == name)
    return EvaluationResponse(
        simulated=candles.simulated,
        symbol=str(candles.symbol),
        interval=str(candles.interval),
        model=name,
        reference=found.reference,
        origins=len(plan),
        horizon=horizon,
        samples=SAMPLES,
        first=dates.min().isoformat(),
        last=dates.max().isoformat(),
        remark=_remark(len(plan), asked),
        verdicts=[
            VerdictRow(forecaster=one.forecaster, about=one.about, word=one.word, sentence=one.sentence)
            for one in found.verdicts
            if one.group == group and one.forecaster not in baselines
        ],
        table=[_standing(one, one.forecaster in baselines) for one in figures],
        warnings=[*([_SIMULATED] if candles.simulated else []), *found.warnings],
        findings=findings_of(candles),
        model_sha256=identity["model"].get("sha256"),
        versions=dict(found.made["versions"]),
    )


def _standing(one: Aggregates, baseline: bool) -> SkillRow:
    skill = one.skill
    return SkillRow(
        forecaster=one.forecaster,
        baseline=baseline,
        forecasts=one.n,
        crps=number(one.crps),
        skill=None if skill is None else number(skill.estimate),
        skill_low=None if skill is None else number(skill.low),
        skill_high=None if skill is None else number(skill.high),
        hit_rate=None if one.hit_rate is None else number(one.hit_rate.estimate),
        inside_80=number(one.coverage["80"].estimate) if one.width > 0 else None,
    )


def _remark(origins: int, asked: EvaluateArgs) -> str:
    """What so few origins can and cannot show."""
    fewer = "" if origins == asked.origins else f" (not {asked.origins}, because it is too short)"
    return (
        f"This looked at {origins} origins of one series{fewer}, {asked.horizon} candles apart: enough to see "
        f"what is badly wrong, such as bands far too narrow, but not whether there is a small edge, nor "
        f"whether it would last; 'kronos evaluate' over many series and dates is for that."
    )

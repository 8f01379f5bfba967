"""An evaluation from the origins to the verdicts, in one call.

    plan = make_plan(instruments, WalkForward(horizon=24), Dates(start=pd.Timestamp("2024-07-01")))
    found = evaluate(plan, [ModelForecaster(predictor, "kronos-small")], Path("out/evaluation"))
    for verdict in found.verdicts:
        print(verdict.forecaster, verdict.group, verdict.sentence)

The baselines stand in the same table, always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kronos import provenance
from kronos.baselines import BASELINES
from kronos.errors import ParameterError
from kronos.evaluation.aggregate import Aggregates, Scores, summarise, volatility
from kronos.evaluation.calibration import Correction, baseline_paths, corrected, fitted_too_late, identity_of
from kronos.evaluation.forecasters import BaselineForecaster, Forecaster
from kronos.evaluation.model_comparison import Comparison, compare
from kronos.evaluation.plan import Plan
from kronos.evaluation.rolling import ForecastPaths, RollingSettings, run_rolling
from kronos.evaluation.scoring import Actuals
from kronos.evaluation.verdicts import Verdict, verdicts, warnings
from kronos.progress import ProgressCallback

REFERENCE = "historical-volatility"
FORMAT = 1
KIND = "kronos evaluation"
_USUAL = RollingSettings()


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody in the table.

    Attributes:
        name: What tables call it.
        description: What a reader should know of it, in one line.
        baseline: Whether it is one of the baselines that stand in every table.
        identity: What makes its forecasts the same again.
        point: Whether it draws one path only, so that it has no bands.
        calibration: What its calibration says of itself; None of raw ones.
    """

    name: str
    description: str
    baseline: bool
    identity: Mapping[str, Any]
    point: bool = False
    calibration: str | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that was asked, said, scored and concluded.

    Attributes:
        plan: The origins.
        settings: Samples and seed.
        subjects: Everybody in the table: the evaluated first, then the baselines.
        reference: The baseline that skill is measured against.
        truth: What happened.
        paths: What was said, by name.
        scores: Of every forecast.
        figures: Means with their intervals, by forecaster, group and step.
        volatility: Of realised volatility, one row a group and forecaster.
        comparison: Who may be the best at the furthest step, by group and over all.
        verdicts: In words.
        warnings: What a reader must know before believing the figures.
        made: Digest of the plan, versions, time.
    """

    plan: Plan
    settings: RollingSettings
    subjects: tuple[Contender, ...]
    reference: str
    truth: Actuals
    paths: Mapping[str, ForecastPaths]
    scores: Scores
    figures: Sequence[Aggregates]
    volatility: pd.DataFrame
    comparison: Sequence[Comparison]
    verdicts: Sequence[Verdict]
    warnings: Sequence[str]
    made: Mapping[str, Any]

    @property
    def evaluated(self) -> list[str]:
        """Names of those that are no baselines."""
        return [one.name for one in self.subjects if not one.baseline]

    def to_dict(self) -> dict[str, Any]:
        """All figures and what they mean, ready for JSON (numbers that are none are NaN)."""
        walk = self.plan.walk
        dates = self.truth.origins["date"]
        return {
            "kind": KIND,
            "format": FORMAT,
            **self.made,
            "walk": asdict(walk),
            "samples": self.settings.samples,
            "seed": self.settings.seed,
            "reference": self.reference,
            "instruments": len(self.plan.instruments),
            "origins": len(self.plan),
            "first": dates.min().isoformat(),
            "last": dates.max().isoformat(),
            "groups": {str(group): int(n) for group, n in self.truth.origins.groupby("group").size().items()},
            "forecasters": [asdict(one) for one in self.subjects],
            "verdicts": [asdict(one) for one in self.verdicts],
            "warnings": list(self.warnings),
            "figures": [asdict(one) for one in self.figures],
            "volatility": self.volatility.to_dict("records"),
            "comparison": [asdict(one) for one in self.comparison],
        }


def baseline_forecasters(names: Iterable[str] | None = None) -> list[BaselineForecaster]:
    """The baselines of a table.

    Args:
        names: Which; None for all whose libraries are installed.

    Raises:
        ParameterError: If there is none of that name.
    """
    wanted = [name for name, entry in BASELINES.items() if entry.available] if names is None else list(names)
    unknown = next((name for name in wanted if name not in BASELINES), None)
    if unknown is not None:
        raise ParameterError(f"There is no baseline '{unknown}'; choose from {', '.join(BASELINES)}.")
    return [BaselineForecaster(BASELINES[name]) for name in wanted]


def evaluate(
    plan: Plan,
    forecasters: Sequence[Forecaster],
    folder: Path,
    settings: RollingSettings = _USUAL,
    *,
    baselines: Sequence[BaselineForecaster] | None = None,
    reference: str = REFERENCE,
    corrections: Sequence[Correction] = (),
    steps: Sequence[int] | None = None,
    trained_until: Mapping[str, Mapping[str, pd.Timestamp] | None] | None = None,
    workers: int = 1,
    progress: ProgressCallback | None = None,
) -> Evaluation:
    """Forecast at every origin, score, and conclude.

    Args:
        plan: The origins.
        forecasters: Who is evaluated.
        folder: Where what was said is kept: a run that was interrupted goes on there.
        settings: Samples and seed.
        baselines: Who stands beside them; None for all whose libraries are installed.
        reference: The baseline that skill is measured against; it is added if it is not among them.
        corrections: Calibrated forecasters to add.
        steps: Steps ahead to report, besides the horizon, at which verdicts are; None for 1, 4, 8 and 24.
        trained_until: By forecaster and group (or ``all``), the time from which candles are new to it, as `cutoffs`
            tells it of a model, or None where nothing does; corrected ones take that of the forecaster they correct.
        workers: Processes to share the work; see `run`.
        progress: Called with the forecasts done and their number.

    Raises:
        ParameterError: If names clash, or a correction is of nobody.
        StorageError: If the folder cannot be written.
    """
    others = list(baseline_forecasters() if baselines is None else baselines)
    if reference not in [one.name for one in others]:
        others += baseline_forecasters([reference])
    _check(forecasters, corrections, [one.name for one in others])
    paths = run_rolling(plan, [*forecasters, *others], folder, settings, workers=workers, progress=progress)
    for one in corrections:
        pooled = "pooling" in (one.calibration.parts if one.parts is None else one.parts)
        near = (
            baseline_paths(plan, one.calibration.baseline, folder, settings.seed, workers=workers) if pooled else None
        )
        paths[one.name] = corrected(plan, paths[one.of], one, near)
    subjects = (
        *(Contender(one.name, one.description, False, dict(one.identity())) for one in forecasters),
        *(_corrected_subject(one, forecasters) for one in corrections),
        *(Contender(one.name, one.description, True, dict(one.identity()), one.point) for one in others),
    )
    truth = Actuals.of(plan)
    at = None if steps is None else sorted({*steps, plan.walk.horizon})
    scores = Scores.of(truth, {one.name: paths[one.name] for one in subjects}, plan.walk, at)
    figures = summarise(scores, reference, plan.walk)
    until = dict(trained_until or {})
    until |= {one.name: until[one.of] for one in corrections if one.of in until}
    return Evaluation(
        plan=plan,
        settings=settings,
        subjects=subjects,
        reference=reference,
        truth=truth,
        paths=paths,
        scores=scores,
        figures=figures,
        volatility=volatility(scores),
        comparison=compare(scores, reference, plan.walk),
        verdicts=verdicts(figures, scores, reference, plan.walk),
        warnings=[*warnings(figures, scores, plan.walk, until), *fitted_too_late(corrections, truth)],
        made={"plan": plan.digest(), "versions": provenance.versions(), "created": provenance.now_utc()},
    )


def _check(forecasters: Sequence[Forecaster], corrections: Sequence[Correction], baselines: Sequence[str]) -> None:
    names = [one.name for one in forecasters]
    for one in corrections:
        if one.of not in names:
            raise ParameterError(f"The calibration corrects '{one.of}', which is not evaluated; add it.")
        if one.name in names or one.name in BASELINES or one.name in baselines:
            raise ParameterError(f"Two forecasters are called '{one.name}'; give them different names.")
        names.append(one.name)
        source = next(other for other in forecasters if other.name == one.of)
        difference = one.calibration.identity.differs(identity_of(source))
        if difference and not one.other_model:
            raise ParameterError(
                f"The calibration is not {one.of}'s: their {difference}; fit one for it (kronos calibrate)."
            )


def _corrected_subject(one: Correction, forecasters: Sequence[Forecaster]) -> Contender:
    source = next(other for other in forecasters if other.name == one.of)
    parts = one.calibration.parts if one.parts is None else one.parts
    description = f"{one.of} with its calibration: {', '.join(parts)}"
    identity = {**source.identity(), "calibration": one.calibration.to_dict()["fitted_on"], "parts": list(parts)}
    return Contender(one.name, description, False, identity, False, one.calibration.describe())

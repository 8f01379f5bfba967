"""An evaluation in one call, from origins to verdicts.

    plan = make_plan(instruments, RollingOrigins(horizon=24), Dates(start=pd.Timestamp("2024-07-01")))
    evaluation = evaluate(plan, [ModelForecaster(predictor, "kronos-small")], Path("out/evaluation"))
    for verdict in evaluation.verdicts:
        print(verdict.forecaster, verdict.group, verdict.sentence)

The baselines are always contenders in the same table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kronos import provenance
from kronos.baselines import BASELINES
from kronos.calibration import MIN_OUTCOMES
from kronos.engines import Engine
from kronos.errors import DataError, ParameterError
from kronos.evaluation.adaptive import (
    METHOD,
    AdaptiveBands,
    AdaptiveFigures,
    adapt_paths,
    adapted_origins,
    adaptive_contenders,
    adaptive_figures,
    extend_verdicts,
    unadapted_warnings,
)
from kronos.evaluation.aggregate import Aggregates, Scores, aggregate_scores, aggregate_volatility
from kronos.evaluation.calibration import Correction, apply_correction, baseline_paths, identity_of, late_fit_warnings
from kronos.evaluation.forecasters import BaselineForecaster, Forecaster
from kronos.evaluation.model_comparison import ModelComparison, compare_models
from kronos.evaluation.origins import Plan, left_out_sentences
from kronos.evaluation.rolling import ForecastPaths, RollingSettings, run_rolling
from kronos.evaluation.scoring import Actuals
from kronos.evaluation.verdicts import Verdict, derive_verdicts, evaluation_warnings, unscored_warnings
from kronos.evaluation.whole_candles import WholeCandles, score_whole_candles
from kronos.progress import ProgressCallback

REFERENCE = "historical-volatility"
FORMAT = 1
KIND = "kronos evaluation"
_DEFAULT_SETTINGS = RollingSettings()


@dataclass(frozen=True, slots=True)
class Contender:
    """A row of the result tables: a model, a calibrated model, one with adaptive bands, or a baseline.

    Attributes:
        name: Name in tables.
        description: One line for readers.
        baseline: Whether it is a baseline.
        identity: What determines its forecasts: hashes of weights, parameters.
        point: Whether it has a single path and thus no bands.
        calibration: Description of its calibration; None if raw.
    """

    name: str
    description: str
    baseline: bool
    identity: Mapping[str, Any]
    point: bool = False
    calibration: str | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of `evaluate`: forecasts, scores, figures and verdicts.

    Attributes:
        plan: The origins.
        settings: Samples and seed.
        contenders: All contenders: the evaluated forecasters first, then the baselines.
        reference: Name of the baseline that skill is measured against.
        actuals: The outcomes.
        paths: Sample paths by contender.
        scores: Score of every forecast.
        aggregates: Figures with intervals, by contender, group and step.
        volatility: Scores of the expected variance, one row per group and contender.
        comparison: Multiple-comparison tests at the last step, by group and over all groups.
        whole_candles: Scores of range, volume, wicks, gaps and clustering.
        verdicts: Conclusions in words.
        warnings: Sentences that qualify the figures.
        provenance: Digest of the plan, versions, time of creation.
        adaptive: What adaptive bands gain and cost, by contender, group and step.
    """

    plan: Plan
    settings: RollingSettings
    contenders: tuple[Contender, ...]
    reference: str
    actuals: Actuals
    paths: Mapping[str, ForecastPaths]
    scores: Scores
    aggregates: Sequence[Aggregates]
    volatility: pd.DataFrame
    comparison: Sequence[ModelComparison]
    whole_candles: WholeCandles
    verdicts: Sequence[Verdict]
    warnings: Sequence[str]
    provenance: Mapping[str, Any]
    adaptive: Sequence[AdaptiveFigures] = ()

    @property
    def evaluated(self) -> list[str]:
        """Names of the contenders that are not baselines."""
        return [contender.name for contender in self.contenders if not contender.baseline]

    @property
    def steps(self) -> list[int]:
        """The scored steps, ascending."""
        return sorted({figures.step for figures in self.aggregates})

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `kronos evaluate` stores; unknown numbers are NaN."""
        dates = self.actuals.origins["date"]
        return {
            "kind": KIND,
            "format": FORMAT,
            **self.provenance,
            "walk": self.plan.rolling.to_dict(),
            "samples": self.settings.samples,
            "seed": self.settings.seed,
            "reference": self.reference,
            "instruments": len(self.plan.instruments),
            "origins": len(self.plan),
            "first": dates.min().isoformat(),
            "last": dates.max().isoformat(),
            "groups": {str(group): int(n) for group, n in self.actuals.origins.groupby("group").size().items()},
            "forecasters": [asdict(contender) for contender in self.contenders],
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "warnings": list(self.warnings),
            "left_out": [asdict(own) for own in self.plan.left_out],
            "figures": [asdict(figures) for figures in self.aggregates],
            "volatility": self.volatility.to_dict("records"),
            "comparison": [asdict(comparison) for comparison in self.comparison],
            "adaptive": [asdict(figures) for figures in self.adaptive],
            "whole_candles": self.whole_candles.to_dict(),
        }


def baseline_forecasters(names: Iterable[str] | None = None) -> list[BaselineForecaster]:
    """Return baselines as forecasters.

    Args:
        names: Names in `kronos.baselines.BASELINES`; None for all whose libraries are installed.

    Raises:
        ParameterError: If a name is unknown.
    """
    selected = [name for name, entry in BASELINES.items() if entry.available] if names is None else list(names)
    unknown = next((name for name in selected if name not in BASELINES), None)
    if unknown is not None:
        raise ParameterError(f"Unknown baseline '{unknown}': choose from {', '.join(BASELINES)}.")
    return [BaselineForecaster(BASELINES[name]) for name in selected]


def evaluate(
    plan: Plan,
    forecasters: Sequence[Forecaster],
    folder: Path,
    settings: RollingSettings = _DEFAULT_SETTINGS,
    *,
    baselines: Iterable[BaselineForecaster] | None = None,
    reference: str = REFERENCE,
    corrections: Sequence[Correction] = (),
    adaptive: bool = False,
    steps: Sequence[int] | None = None,
    trained_until: Mapping[str, Mapping[str, pd.Timestamp] | None] | None = None,
    engine: Engine | None = None,
    progress: ProgressCallback | None = None,
) -> Evaluation:
    """Forecast at every origin, score the forecasts, and derive verdicts.

    Args:
        plan: The origins.
        forecasters: The forecasters to evaluate.
        folder: Folder of the run; an interrupted run resumes there.
        settings: Samples and seed.
        baselines: Baselines in the table; None for all whose libraries are installed.
        reference: The baseline that skill is measured against; added if it is not among the baselines.
        corrections: Calibrated contenders to add.
        adaptive: Whether to add each forecaster, calibrated if it has a correction, with bands that were corrected at
            each origin by the outcomes known there.
        steps: Steps ahead to report in addition to the horizon; None for 1, 4, 8 and 24. Verdicts are at the horizon.
        trained_until: By forecaster and group (or ``all``), the time from which candles are new to it, see `cutoffs`;
            None for a forecaster whose training dates are unknown. Corrections and adaptive bands inherit that of their
            forecaster.
        engine: Where forecasts are computed, see `run_rolling`.
        progress: Called with the number of finished forecasts and their total.

    Raises:
        ParameterError: If names clash, or a correction belongs to no forecaster.
        DataError: If no forecast can be scored.
        StorageError: If the folder cannot be written.
    """
    others = list(baseline_forecasters() if baselines is None else baselines)
    if reference not in [baseline.name for baseline in others]:
        others += baseline_forecasters([reference])
    bands = adaptive_contenders(forecasters, corrections) if adaptive else []
    _check_names(forecasters, corrections, [baseline.name for baseline in others])
    _check_adaptive_names(bands, [*forecasters, *corrections, *others])
    paths = run_rolling(plan, [*forecasters, *others], folder, settings, engine=engine, progress=progress)
    for correction in corrections:
        pooled = None
        if "pooling" in correction.applied_parts:
            pooled = baseline_paths(plan, correction.calibration.baseline, folder, settings.seed, engine=engine)
        paths[correction.name] = apply_correction(plan, paths[correction.of], correction, pooled)
    evaluated = [Contender(own.name, own.description, False, dict(own.identity())) for own in forecasters]
    evaluated += [_calibrated_contender(correction, forecasters) for correction in corrections]
    evaluated += [_adaptive_contender(own, evaluated) for own in bands]
    contenders = (
        *evaluated,
        *(Contender(own.name, own.description, True, dict(own.identity()), own.point) for own in others),
    )
    rolling, actuals = plan.rolling, Actuals.of(plan)
    paths |= {own.name: adapt_paths(plan, actuals, paths[own.of], own.name) for own in bands}
    reported = None if steps is None else sorted({*steps, rolling.horizon})
    scores = Scores.of(actuals, {contender.name: paths[contender.name] for contender in contenders}, rolling, reported)
    if scores.steps.empty:
        raise DataError(
            "No forecast can be scored: at every origin the close did not change in the 64 candles before, or a "
            "contender has no forecast. Choose other dates or candles."
        )
    aggregates = aggregate_scores(scores, reference, rolling)
    until = dict(trained_until or {})
    until |= {correction.name: until[correction.of] for correction in corrections if correction.of in until}
    until |= {own.name: until[own.forecaster] for own in bands if own.forecaster in until}
    adapted = {own.name: adapted_origins(plan, paths[own.name]) for own in bands}
    effects = adaptive_figures(bands, adapted, aggregates, scores)
    return Evaluation(
        plan=plan,
        settings=settings,
        contenders=contenders,
        reference=reference,
        actuals=actuals,
        paths=paths,
        scores=scores,
        aggregates=aggregates,
        volatility=aggregate_volatility(scores),
        comparison=compare_models(scores, reference, rolling),
        whole_candles=score_whole_candles(plan, actuals, {own.name: paths[own.name] for own in contenders}, scores),
        verdicts=extend_verdicts(derive_verdicts(aggregates, scores, reference, rolling), effects, rolling.horizon),
        warnings=[
            *left_out_sentences(plan.left_out),
            *unscored_warnings(actuals, paths, scores),
            *evaluation_warnings(aggregates, scores, rolling, until),
            *late_fit_warnings(corrections, actuals),
            *unadapted_warnings(effects, rolling.horizon),
        ],
        provenance={"plan": plan.digest(), "versions": provenance.versions(), "created": provenance.now_utc()},
        adaptive=effects,
    )


def _check_names(
    forecasters: Sequence[Forecaster], corrections: Sequence[Correction], baselines: Sequence[str]
) -> None:
    by_name = {forecaster.name: forecaster for forecaster in forecasters}
    names = [forecaster.name for forecaster in forecasters]
    for correction in corrections:
        if correction.of not in by_name:
            raise ParameterError(f"The calibration corrects '{correction.of}', which is not evaluated: add it.")
        if correction.name in names or correction.name in BASELINES or correction.name in baselines:
            raise ParameterError(f"Two forecasters are named '{correction.name}': give them different names.")
        names.append(correction.name)
        difference = correction.calibration.identity.difference_from(identity_of(by_name[correction.of]))
        if difference and not correction.other_model:
            raise ParameterError(
                f"The calibration was not fitted for {correction.of}: {difference}. Fit one with 'kronos calibrate'."
            )


def _check_adaptive_names(
    bands: Sequence[AdaptiveBands], others: Iterable[Forecaster | Correction | BaselineForecaster]
) -> None:
    names = {other.name for other in others}
    clash = next((own.name for own in bands if own.name in names), None)
    if clash is not None:
        raise ParameterError(f"Two forecasters are named '{clash}': give them different names.")


def _adaptive_contender(bands: AdaptiveBands, contenders: Sequence[Contender]) -> Contender:
    source = next(contender for contender in contenders if contender.name == bands.of)
    identity = {**source.identity, "adaptive": {"of": bands.of, "least_outcomes": MIN_OUTCOMES}}
    return Contender(bands.name, bands.description, False, identity, False, METHOD)


def _calibrated_contender(correction: Correction, forecasters: Sequence[Forecaster]) -> Contender:
    source = next(forecaster for forecaster in forecasters if forecaster.name == correction.of)
    parts = correction.applied_parts
    description = f"{correction.of} with its calibration: {', '.join(parts)}"
    fitted_on = correction.calibration.to_dict()["fitted_on"]
    identity = {**source.identity(), "calibration": fitted_on, "parts": list(parts)}
    return Contender(correction.name, description, False, identity, False, correction.calibration.describe())

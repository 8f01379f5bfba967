"""Comparison of a trained model with its initial weights and with baselines, on candles not used in training.

    comparison = compare(start, tuned, data, windows)
    print(comparison.sentence)
    comparison.save(Path("outputs/models/mine/comparison.json"))

Three measures are taken, before and after at the same origins of the test part:

- *NLL*: negative log-likelihood of the actual candles' tokens, coarse and fine together. Only if both models share a
  tokenizer: under another tokenizer the same token is another candle.
- *Reconstruction*: error of the closes that the tokenizer reconstructs. Only if the tokenizers differ.
- *CRPS* of sampled forecasts, computed by `kronos.evaluation` together with the baselines.

Each change has a 95 % interval by blocks of dates, from which the verdict follows by `kronos.training.comparison.RULE`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from kronos import provenance
from kronos.baselines import BASELINES
from kronos.engines import LocalEngine
from kronos.errors import DataError, KronosError, ParameterError
from kronos.evaluation import (
    ALL,
    REFERENCE,
    Evaluation,
    ModelForecaster,
    Plan,
    RollingSettings,
    baseline_forecasters,
    cutoffs,
    evaluate,
)
from kronos.evaluation.forecasters import Histories, Times
from kronos.evaluation.scoring import equal_mean, equal_weights, large_groups
from kronos.forecasts import Forecast
from kronos.formatting import join_names
from kronos.inference import KronosPredictor
from kronos.metrics import bootstrap_mean
from kronos.nn import KronosTokenizer
from kronos.progress import ProgressCallback
from kronos.training.comparison import ComparisonRow, ContenderKind, Measure, MeasureName, TrainingComparison
from kronos.training.heldout import EvalWindow, heldout_origins, nll, reconstruction_errors, subsample
from kronos.training.plan import RunPlan, StagePlan, open_data, window_settings
from kronos.training.run_folder import COMPARISON, result_folder
from kronos.training.torchrun import is_first
from kronos.typing import FloatArray
from kronos.zoo import CheckpointRef, read_pairing

if TYPE_CHECKING:
    from kronos.datasets.training_data import TrainingData, WindowSettings

BASELINE_NAMES = ("last-value", "drift", REFERENCE, "filtered-historical-simulation", "garch-t")


@dataclass(frozen=True, slots=True)
class ComparisonSettings:
    """Extent of a comparison, and the names of the two models.

    Attributes:
        origins: Maximum number of origins with sampled forecasts, over all instruments.
        paths: Sample paths per forecast.
        windows: Maximum number of origins with NLL or reconstruction, which cost less.
        batch_size: Windows per batch.
        baselines: Names of the baselines; None for those of `BASELINE_NAMES` whose libraries are installed.
        names: Names of the initial and the trained model in tables.
        seed: Random seed of the forecasts.
        workers: Processes that share the forecasts, see `kronos.engines.LocalEngine`.
    """

    origins: int = 300
    paths: int = 30
    windows: int = 1000
    batch_size: int = 50
    baselines: tuple[str, ...] | None = None
    names: tuple[str, str] = ("start", "tuned")
    seed: int = 1
    workers: int = 1

    def __post_init__(self) -> None:
        for name, minimum in {"origins": 1, "paths": 2, "windows": 1, "batch_size": 1, "workers": 1}.items():
            if getattr(self, name) < minimum:
                raise ParameterError(f"Invalid {name} {getattr(self, name)}: choose at least {minimum}.")
        if self.names[0] == self.names[1]:
            raise ParameterError(f"Both models are named '{self.names[0]}': choose different names.")


_DEFAULT_SETTINGS = ComparisonSettings()


def compare(
    start: KronosPredictor | None,
    tuned: KronosPredictor,
    data: TrainingData,
    windows: WindowSettings,
    settings: ComparisonSettings = _DEFAULT_SETTINGS,
    *,
    progress: ProgressCallback | None = None,
) -> TrainingComparison:
    """Compare a trained model with its initial weights and with baselines.

    Args:
        start: Initial model; None for a training from scratch.
        tuned: Trained model.
        data: Training data, of which only the test part is used: no weight was fitted to it or selected on it.
        windows: Window settings of the training: forecasts have ``lookback`` candles of history and ``predict`` steps.
        settings: Extent of the comparison.
        progress: Called with the number of finished forecasts and their total.

    Raises:
        DataError: If the test part is too short.
        ParameterError: If a name clashes with a baseline's, or a baseline is unknown.
    """
    origins = heldout_origins(data, windows.lookback, windows.predict)
    loss_plan, forecast_plan = subsample(origins, settings.windows), subsample(origins, settings.origins)
    measures: list[Measure] = []
    notes: list[str] = []
    if start is not None:
        measures, notes = _compare_losses(start, tuned, loss_plan, windows, settings.batch_size)
    evaluation = _evaluate_forecasts(start, tuned, forecast_plan, windows.lookback, settings, progress)
    if start is not None:
        measures.append(_compare_crps(evaluation, *settings.names))
    start_name, tuned_name = None if start is None else settings.names[0], settings.names[1]
    return TrainingComparison(
        measures=tuple(measures),
        contenders=_contenders(evaluation, start_name, tuned_name),
        against_baselines=tuple(
            f"{verdict.about}: {verdict.sentence}"
            for verdict in evaluation.verdicts
            if (verdict.forecaster, verdict.group) == (tuned_name, ALL)
        ),
        notes=tuple(notes),
        warnings=(*_simulation_warning(forecast_plan), *evaluation.warnings),
        names=(start_name, tuned_name),
        tested=_extent(forecast_plan, loss_plan if measures else None, windows.lookback, settings),
        provenance={**evaluation.provenance, "seed": settings.seed},
        evaluation=evaluation,
    )


def compare_tokenizers(
    start: KronosTokenizer,
    tuned: KronosTokenizer,
    data: TrainingData,
    windows: WindowSettings,
    settings: ComparisonSettings = _DEFAULT_SETTINGS,
) -> TrainingComparison:
    """Compare a trained tokenizer with its initial weights, before a model is trained on it.

    Args:
        start: Initial tokenizer.
        tuned: Trained tokenizer.
        data: As for `compare`, and so are the others.
        windows: Window settings.
        settings: Extent of the comparison.

    Raises:
        DataError: If the test part is too short.
    """
    plan = subsample(heldout_origins(data, windows.lookback, windows.predict), settings.windows)
    window = EvalWindow(windows.lookback, windows.clip, settings.batch_size)
    losses = reconstruction_errors(start, plan, window), reconstruction_errors(tuned, plan, window)
    return TrainingComparison(
        measures=(_measure("reconstruction", losses, plan),),
        contenders=(),
        against_baselines=(),
        notes=("Forecasts were not compared: no model has been trained on this tokenizer yet.",),
        warnings=tuple(_simulation_warning(plan)),
        names=settings.names,
        tested=_extent(None, plan, windows.lookback, settings),
        provenance={"plan": plan.digest(), "versions": provenance.versions(), "created": provenance.now_utc()},
    )


# Losses of windows ---------------------------------------------------------


def _compare_losses(
    start: KronosPredictor, tuned: KronosPredictor, plan: Plan, windows: WindowSettings, batch_size: int
) -> tuple[list[Measure], list[str]]:
    """NLL or reconstruction, whichever is comparable, and a note on the other."""
    before, after = (EvalWindow(windows.lookback, predictor.clip, batch_size) for predictor in (start, tuned))
    if _same_tokens(start, tuned):
        return [_measure("nll", (nll(start, plan, before), nll(tuned, plan, after)), plan)], []
    losses = (
        reconstruction_errors(start.tokenizer, plan, before),
        reconstruction_errors(tuned.tokenizer, plan, after),
    )
    note = "NLLs were not compared: tokens have different meanings before and after."
    return [_measure("reconstruction", losses, plan)], [note]


def _same_tokens(start: KronosPredictor, tuned: KronosPredictor) -> bool:
    """Whether a token means the same candle to both."""
    if (start.tokenizer.normalisation, start.clip) != (tuned.tokenizer.normalisation, tuned.clip):
        return False
    first, second = (predictor.tokenizer.state_dict() for predictor in (start, tuned))
    return first.keys() == second.keys() and all(
        value.shape == second[name].shape and torch.equal(value.cpu(), second[name].cpu())
        for name, value in first.items()
    )


def _measure(name: MeasureName, losses: tuple[FloatArray, FloatArray], plan: Plan) -> Measure:
    """Mean losses over all windows, equally weighted, and their difference."""
    start, tuned = losses
    table = plan.table().assign(start=start, tuned=tuned)
    overlap = plan.rolling.overlap(plan.rolling.horizon)
    change = bootstrap_mean(tuned - start, table["date"].to_numpy(), overlap=overlap)
    return Measure(name, float(start.mean()), float(tuned.mean()), change, _by_group(table))


def _by_group(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    rows = table.groupby("group")[["start", "tuned"]].agg(["mean", "size"])
    return {
        str(group): {
            "start": float(row["start", "mean"]),
            "tuned": float(row["tuned", "mean"]),
            "n": int(row["start", "size"]),
        }
        for group, row in rows.iterrows()
    }


# Forecasts -----------------------------------------------------------------


class _LookbackForecaster(ModelForecaster):
    """A model that sees as many candles as in training; baselines see the whole history."""

    def __init__(self, predictor: KronosPredictor, name: str, lookback: int) -> None:
        super().__init__(predictor, name)
        self._lookback = lookback

    def identity(self) -> Mapping[str, Any]:
        """Identity of the model, with its lookback."""
        return {**super().identity(), "lookback": self._lookback}

    def forecast(self, histories: Histories, times: Times, *, samples: int, seed: int) -> Mapping[str, Forecast]:
        """See `Forecaster`."""
        recent = {name: history.tail(self._lookback) for name, history in histories.items()}
        return super().forecast(recent, times, samples=samples, seed=seed)


def _evaluate_forecasts(
    start: KronosPredictor | None,
    tuned: KronosPredictor,
    plan: Plan,
    lookback: int,
    settings: ComparisonSettings,
    progress: ProgressCallback | None,
) -> Evaluation:
    # Training has not seen the test part, but the initial weights may have.
    until = None if start is None else cutoffs(start, plan)
    names = [settings.names[1]] if start is None else list(reversed(settings.names))
    models = [tuned] if start is None else [tuned, start]
    baselines = settings.baselines
    if baselines is None:
        baselines = tuple(name for name in BASELINE_NAMES if BASELINES[name].available)
    with tempfile.TemporaryDirectory(prefix="kronos-comparison-") as folder:
        return evaluate(
            plan,
            [_LookbackForecaster(model, name, lookback) for model, name in zip(models, names, strict=True)],
            Path(folder) / "run",
            RollingSettings(settings.paths, settings.seed),
            baselines=baseline_forecasters(baselines),
            trained_until={} if start is None else dict.fromkeys(names, until),
            engine=LocalEngine(settings.workers),
            progress=progress,
        )


def _compare_crps(evaluation: Evaluation, start: str, tuned: str) -> Measure:
    """CRPS averaged over the reported steps, with equal weights for all groups."""
    rows = evaluation.scores.steps
    before, after = (rows[rows["forecaster"] == name].groupby("origin")["crps"].mean() for name in (start, tuned))
    losses = pd.DataFrame({"start": before, "tuned": after})
    table = evaluation.actuals.origins.join(losses).dropna(subset=["start", "tuned"])
    counted = table[table["group"].isin(large_groups(table["group"]))]
    groups = counted["group"].to_numpy()
    weighted = (counted["tuned"] - counted["start"]).to_numpy() * equal_weights(groups)
    rolling = evaluation.plan.rolling
    change = bootstrap_mean(weighted, counted["date"].to_numpy(), overlap=rolling.overlap(rolling.horizon))
    start_crps, tuned_crps = (equal_mean(counted[name], groups) for name in ("start", "tuned"))
    return Measure("crps", start_crps, tuned_crps, change, _by_group(table))


def _contenders(evaluation: Evaluation, start: str | None, tuned: str) -> tuple[ComparisonRow, ...]:
    """Scores of all contenders over all groups."""
    kinds: dict[str, ContenderKind] = {tuned: "tuned", evaluation.reference: "reference"}
    if start is not None:
        kinds[start] = "start"
    rows = []
    for contender in evaluation.contenders:
        name = contender.name
        own = [figures for figures in evaluation.aggregates if (figures.forecaster, figures.group) == (name, ALL)]
        if not own:
            continue
        last = max(own, key=lambda figures: figures.step)
        crps = {str(figures.step): figures.crps for figures in own}
        coverage = None if contender.point else last.coverage["80"]
        rows.append(ComparisonRow(name, kinds.get(name, "baseline"), last.n, crps, last.skill, coverage))
    return tuple(rows)


# Extent of the test ------------------------------------------------------------


def _simulation_warning(plan: Plan) -> list[str]:
    names = [instrument.name for instrument in plan.instruments if instrument.candles.simulated]
    if not names:
        return []
    return [f"The candles of {join_names(names, 3)} are simulated: the result does not apply to real markets."]


def _extent(
    forecast_plan: Plan | None, loss_plan: Plan | None, lookback: int, settings: ComparisonSettings
) -> dict[str, Any]:
    plans = [plan for plan in (forecast_plan, loss_plan) if plan is not None]
    tables = pd.concat([plan.table() for plan in plans])
    return {
        "first": f"{tables['first'].min():%Y-%m-%d}",
        "last": f"{tables['date'].max():%Y-%m-%d}",
        "origins": 0 if forecast_plan is None else len(forecast_plan),
        "windows": 0 if loss_plan is None else len(loss_plan),
        "instruments": int(tables["series"].nunique()),
        "groups": sorted(tables["group"].unique()),
        "lookback": lookback,
        "horizon": plans[0].rolling.horizon,
        "paths": 0 if forecast_plan is None else settings.paths,
    }


@dataclass(frozen=True)
class ComparisonOutcome:
    """Comparison of a stage, or the reason why there is none.

    Attributes:
        comparison: The comparison; None if there is none.
        reason: Why the comparison failed, one sentence; None if it was not requested.
    """

    comparison: TrainingComparison | None = None
    reason: str | None = None


def compare_stage(
    plan: RunPlan, stage: StagePlan, *, enabled: bool = True, settings: ComparisonSettings | None = None
) -> ComparisonOutcome:
    """Compare the last stage of a run with its initial weights, and store the comparison in the run's folder.

    A comparison that fails, for example because the test part is too short, does not affect the trained model.

    Args:
        plan: The run.
        stage: The stage that has just finished; only the last one is compared.
        enabled: Whether to compare if there is no readable stored comparison; a stored one is read in any case.
        settings: Extent of the comparison.
    """
    if stage.stage != plan.stages[-1].stage or not is_first():
        return ComparisonOutcome()
    path = plan.folder / COMPARISON
    weights = result_folder(plan.folder, stage.stage) / "model.safetensors"
    try:
        if path.is_file() and path.stat().st_mtime >= weights.stat().st_mtime:
            with suppress(DataError) if enabled else nullcontext():
                return ComparisonOutcome(TrainingComparison.read(path))
        if not enabled:
            return ComparisonOutcome()
        comparison = _compare(plan, stage, settings)
        if comparison is None:
            return ComparisonOutcome(reason="A tokenizer trained from scratch has no initial weights to compare with.")
        comparison.save(path)
    except KronosError as error:
        return ComparisonOutcome(reason=str(error))
    return ComparisonOutcome(replace(comparison, evaluation=None))


def _compare(plan: RunPlan, stage: StagePlan, settings: ComparisonSettings | None) -> TrainingComparison | None:
    data, start = open_data(plan.config), stage.start
    windows = window_settings(plan.config, plan.normalisation)
    start_name, name = _display_name(start), plan.name
    if settings is None:
        settings = ComparisonSettings(names=(start_name if start_name != name else f"{name} before", name))
    folder = result_folder(plan.folder, stage.stage)
    if stage.stage == "tokenizer":
        if start is None:
            return None
        before, after = (KronosTokenizer.from_pretrained(path) for path in (start.folder, folder))
        return compare_tokenizers(before, after, data, windows, settings)
    device = stage.settings.device
    tuned = KronosPredictor.from_pretrained(folder, device=device)
    initial = None if start is None else _initial_predictor(start, plan, device)
    return compare(initial, tuned, data, windows, settings)


def _initial_predictor(start: CheckpointRef, plan: RunPlan, device: str | None) -> KronosPredictor:
    """The initial model with its own tokenizer, or if it names none, with the configured one."""
    has_tokenizer = read_pairing(start).tokenizer is not None
    tokenizer = None if has_tokenizer else plan.config.starts.tokenizer
    return KronosPredictor.from_pretrained(start.ref, tokenizer=tokenizer, device=device)


def _display_name(start: CheckpointRef | None) -> str:
    if start is None:
        return "start"
    return start.name

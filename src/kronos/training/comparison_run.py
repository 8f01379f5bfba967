"""Did it help? What was trained, beside what it started from and naive baselines, on candles that it never saw.

In short:

    found = compare(start, tuned, data, windows)
    print(found.sentence)
    found.save(Path("outputs/models/mine/comparison.json"))

Three things are measured, start and tuned at the same moments of the test part:

- *NLL*: how unlikely the tokens of the candles that came are to the model, coarse and fine together. Only where both
  share a tokenizer: the same token of another tokenizer is another candle.
- *Reconstruction*: how far the closes that the tokenizer gives back are off. Only where tokenizers differ.
- *CRPS* of sampled forecasts, by `kronos.evaluation`, which puts the naive baselines beside them.

Each change has a 95 % interval by blocks of dates, and the verdict follows from those by a stated rule.
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
from kronos.evaluation.scoring import count_by_group, equal_mean, equal_weights
from kronos.forecasts import Forecast
from kronos.inference import KronosPredictor
from kronos.metrics import bootstrap_mean
from kronos.nn import KronosTokenizer
from kronos.progress import ProgressCallback
from kronos.training.comparison import Comparison, ComparisonRow, Kind, Measure, Name
from kronos.training.heldout import EvalWindow, held_out_moments, nll, reconstruction, thinned
from kronos.training.plan import RunPlan, StagePlan, open_data, window_settings
from kronos.training.run_folder import COMPARISON, result_folder
from kronos.training.torchrun import is_first
from kronos.typing import FloatArray
from kronos.zoo import CheckpointRef, read_pairing

if TYPE_CHECKING:
    from kronos.datasets.training_data import TrainingData, WindowSettings

NAIVE = ("last-value", "drift", REFERENCE, "filtered-historical-simulation", "garch-t")


@dataclass(frozen=True, slots=True)
class CompareSettings:
    """How much is measured, and what the two are called.

    Attributes:
        origins: Moments at which forecasts are sampled, over all instruments, at most.
        paths: Of each forecast.
        windows: Moments at which NLL and reconstruction are measured, which costs less, at most.
        batch_size: Windows at once.
        baselines: Who stands beside; None for `NAIVE`, as far as their libraries are installed.
        names: What tables call start and tuned.
        seed: Of the draws.
        workers: Processes to share the forecasts, as for `kronos.evaluation.run_rolling`.
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
        least = {"origins": 1, "paths": 2, "windows": 1, "batch_size": 1, "workers": 1}
        wrong = next((name for name, low in least.items() if getattr(self, name) < low), None)
        if wrong is not None:
            raise ParameterError(f"A comparison's {wrong} is at least {least[wrong]}, not {getattr(self, wrong)}.")
        if self.names[0] == self.names[1]:
            raise ParameterError(f"Start and tuned are both called '{self.names[0]}'; give them different names.")


_USUAL = CompareSettings()


def compare(
    start: KronosPredictor | None,
    tuned: KronosPredictor,
    data: TrainingData,
    windows: WindowSettings,
    settings: CompareSettings = _USUAL,
    *,
    progress: ProgressCallback | None = None,
) -> Comparison:
    """Compare a trained model with what it started from, and with naive baselines.

    Args:
        start: What training started from; None for a training from scratch.
        tuned: What was trained.
        data: What it was trained on: the test part is looked at, which nothing was fitted to or chosen by.
        windows: How samples were cut: forecasts see ``lookback`` candles and reach ``predict`` ahead.
        settings: How much is measured.
        progress: Called with the forecasts done and their number.

    Raises:
        DataError: If the test part is too short.
        ParameterError: If a name is a baseline's, or a baseline is unknown.
    """
    moments = held_out_moments(data, windows.lookback, windows.predict)
    many, few = thinned(moments, settings.windows), thinned(moments, settings.origins)
    measures: list[Measure] = []
    notes: list[str] = []
    if start is not None:
        measures, notes = _of_windows(start, tuned, many, windows, settings.batch_size)
    found = _forecasts(start, tuned, few, windows.lookback, settings, progress)
    if start is not None:
        measures.append(_of_forecasts(found, *settings.names))
    name = settings.names[1]
    return Comparison(
        measures=tuple(measures),
        rivals=_rivals(found, None if start is None else settings.names[0], name),
        against_baselines=tuple(
            f"{one.about}: {one.sentence}" for one in found.verdicts if (one.forecaster, one.group) == (name, ALL)
        ),
        notes=tuple(notes),
        warnings=(*_simulated(few), *found.warnings),
        names=(None if start is None else settings.names[0], name),
        tested=_tested(few, many if measures else None, windows.lookback, settings),
        made={**found.made, "seed": settings.seed},
        evaluation=found,
    )


def compare_tokenizers(
    start: KronosTokenizer,
    tuned: KronosTokenizer,
    data: TrainingData,
    windows: WindowSettings,
    settings: CompareSettings = _USUAL,
) -> Comparison:
    """Compare a trained tokenizer with what it started from, where no model has been trained on it yet.

    Args:
        start: What training started from.
        tuned: What was trained.
        data: As for `compare`.
        windows: Likewise.
        settings: Likewise.

    Raises:
        DataError: If the test part is too short.
    """
    many = thinned(held_out_moments(data, windows.lookback, windows.predict), settings.windows)
    lens = EvalWindow(windows.lookback, windows.clip, settings.batch_size)
    losses = reconstruction(start, many, lens), reconstruction(tuned, many, lens)
    return Comparison(
        measures=(_measure("reconstruction", losses, many),),
        rivals=(),
        against_baselines=(),
        notes=("Forecasts were not compared: the model has yet to be trained on this tokenizer.",),
        warnings=tuple(_simulated(many)),
        names=settings.names,
        tested=_tested(None, many, windows.lookback, settings),
        made={"plan": many.digest(), "versions": provenance.versions(), "created": provenance.now_utc()},
    )


# Windows -------------------------------------------------------------------


def _of_windows(
    start: KronosPredictor, tuned: KronosPredictor, plan: Plan, windows: WindowSettings, batch_size: int
) -> tuple[list[Measure], list[str]]:
    """NLL or reconstruction, whichever can be compared, and why the other cannot."""
    before, after = (EvalWindow(windows.lookback, one.clip, batch_size) for one in (start, tuned))
    if _same_tokens(start, tuned):
        return [_measure("nll", (nll(start, plan, before), nll(tuned, plan, after)), plan)], []
    losses = reconstruction(start.tokenizer, plan, before), reconstruction(tuned.tokenizer, plan, after)
    note = "NLLs were not compared: a token means another candle before and after."
    return [_measure("reconstruction", losses, plan)], [note]


def _same_tokens(start: KronosPredictor, tuned: KronosPredictor) -> bool:
    """Whether a token means the same candle to both."""
    if (start.tokenizer.normalisation, start.clip) != (tuned.tokenizer.normalisation, tuned.clip):
        return False
    first, second = (one.tokenizer.state_dict() for one in (start, tuned))
    return first.keys() == second.keys() and all(
        value.shape == second[name].shape and torch.equal(value.cpu(), second[name].cpu())
        for name, value in first.items()
    )


def _measure(name: Name, losses: tuple[FloatArray, FloatArray], plan: Plan) -> Measure:
    """Losses of every window before and after, each counting the same."""
    start, tuned = losses
    table = plan.table().assign(start=start, tuned=tuned)
    change = bootstrap_mean(tuned - start, table["date"].to_numpy(), overlap=plan.walk.overlap(plan.walk.horizon))
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


class _Seeing(ModelForecaster):
    """A model that sees as many candles as it was trained with; baselines see as many as they like."""

    def __init__(self, predictor: KronosPredictor, name: str, lookback: int) -> None:
        super().__init__(predictor, name)
        self._lookback = lookback

    def identity(self) -> Mapping[str, Any]:
        """The model's, and how much it sees."""
        return {**super().identity(), "lookback": self._lookback}

    def forecast(self, histories: Histories, times: Times, *, samples: int, seed: int) -> Mapping[str, Forecast]:
        """See `Forecaster`."""
        seen = {name: history.tail(self._lookback) for name, history in histories.items()}
        return super().forecast(seen, times, samples=samples, seed=seed)


def _forecasts(
    start: KronosPredictor | None,
    tuned: KronosPredictor,
    plan: Plan,
    lookback: int,
    settings: CompareSettings,
    progress: ProgressCallback | None,
) -> Evaluation:
    """Everybody's forecasts, scored."""
    # Where the test part begins training has seen nothing; what it started from may have.
    until = None if start is None else cutoffs(start, plan)
    names = [settings.names[1]] if start is None else list(reversed(settings.names))
    models = [tuned] if start is None else [tuned, start]
    with tempfile.TemporaryDirectory(prefix="kronos-comparison-") as folder:
        return evaluate(
            plan,
            [_Seeing(one, name, lookback) for one, name in zip(models, names, strict=True)],
            Path(folder) / "run",
            RollingSettings(settings.paths, settings.seed),
            baselines=baseline_forecasters(_available() if settings.baselines is None else settings.baselines),
            trained_until={} if start is None else dict.fromkeys(names, until),
            workers=settings.workers,
            progress=progress,
        )


def _available() -> list[str]:
    return [name for name in NAIVE if BASELINES[name].available]


def _of_forecasts(found: Evaluation, start: str, tuned: str) -> Measure:
    """CRPS, averaged over the steps that are reported; every market counts the same."""
    rows = found.scores.steps
    both = [rows[rows["forecaster"] == name].groupby("origin")["crps"].mean() for name in (start, tuned)]
    table = found.truth.origins.join(pd.DataFrame({"start": both[0], "tuned": both[1]})).dropna(
        subset=["start", "tuned"]
    )
    among = table[table["group"].isin(count_by_group(table["group"]))]
    groups = among["group"].to_numpy()
    weighted = (among["tuned"] - among["start"]).to_numpy() * equal_weights(groups)
    change = bootstrap_mean(
        weighted, among["date"].to_numpy(), overlap=found.plan.walk.overlap(found.plan.walk.horizon)
    )
    before, after = (equal_mean(among[name], groups) for name in ("start", "tuned"))
    return Measure("crps", before, after, change, _by_group(table))


def _rivals(found: Evaluation, start: str | None, tuned: str) -> tuple[ComparisonRow, ...]:
    """Everybody over all markets."""
    kinds: dict[str, Kind] = {tuned: "tuned", found.reference: "reference"}
    if start is not None:
        kinds[start] = "start"
    rows = []
    for subject in found.subjects:
        own = [one for one in found.figures if (one.forecaster, one.group) == (subject.name, ALL)]
        if not own:
            continue
        last = max(own, key=lambda one: one.step)
        crps = {str(one.step): one.crps for one in own}
        coverage = None if subject.point else last.coverage["80"]
        rows.append(
            ComparisonRow(subject.name, kinds.get(subject.name, "baseline"), last.n, crps, last.skill, coverage)
        )
    return tuple(rows)


# What was tested ---------------------------------------------------------------


def _simulated(plan: Plan) -> list[str]:
    """A warning of candles that never traded."""
    names = [one.name for one in plan.instruments if one.candles.simulated]
    if not names:
        return []
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return [f"The candles of {shown} are simulated; what helps there says nothing of real markets."]


def _tested(few: Plan | None, many: Plan | None, lookback: int, settings: CompareSettings) -> dict[str, Any]:
    plans = [one for one in (few, many) if one is not None]
    tables = pd.concat([one.table() for one in plans])
    return {
        "first": f"{tables['first'].min():%Y-%m-%d}",
        "last": f"{tables['date'].max():%Y-%m-%d}",
        "origins": 0 if few is None else len(few),
        "windows": 0 if many is None else len(many),
        "instruments": int(tables["series"].nunique()),
        "groups": sorted(tables["group"].unique()),
        "lookback": lookback,
        "horizon": plans[0].walk.horizon,
        "paths": 0 if few is None else settings.paths,
    }


@dataclass(frozen=True)
class ComparisonOutcome:
    """What is known of whether a stage helped.

    Attributes:
        comparison: With its verdict; None if there is none.
        reason: Why it could not be made, one sentence; None if it was not asked for.
    """

    comparison: Comparison | None = None
    reason: str | None = None


def compare_stage(
    plan: RunPlan, stage: StagePlan, *, wanted: bool = True, settings: CompareSettings | None = None
) -> ComparisonOutcome:
    """Compare what a run has trained with what it started from, once its last stage is done.

    A comparison that fails, as where the test part is too short, costs nobody the model that was trained. One that is
    there but cannot be read is made again, if any is wanted.

    Args:
        plan: The run.
        stage: The stage that has just been done; one after which another comes is not judged.
        wanted: Whether to make a comparison; one that an earlier run has made is read again either way.
        settings: How much is measured.
    """
    if stage.stage != plan.stages[-1].stage or not is_first():
        return ComparisonOutcome()
    path = plan.folder / COMPARISON
    weights = result_folder(plan.folder, stage.stage) / "model.safetensors"
    try:
        if path.is_file() and path.stat().st_mtime >= weights.stat().st_mtime:
            with suppress(DataError) if wanted else nullcontext():
                return ComparisonOutcome(Comparison.read(path))
        if not wanted:
            return ComparisonOutcome()
        found = _compare(plan, stage, settings)
        if found is None:
            return ComparisonOutcome(
                reason="There is nothing to compare a tokenizer with that was trained from scratch."
            )
        found.save(path)
    except KronosError as error:
        return ComparisonOutcome(reason=str(error))
    return ComparisonOutcome(replace(found, evaluation=None))


def _compare(plan: RunPlan, stage: StagePlan, settings: CompareSettings | None) -> Comparison | None:
    data, start = open_data(plan.config), stage.start
    windows = window_settings(plan.config, plan.normalisation)
    names = (_name(start), plan.folder.name)
    asked = settings or CompareSettings(names=names if names[0] != names[1] else (f"{names[0]} before", names[1]))
    folder = result_folder(plan.folder, stage.stage)
    if stage.stage == "tokenizer":
        if start is None:
            return None
        before, after = (KronosTokenizer.from_pretrained(one) for one in (start.folder, folder))
        return compare_tokenizers(before, after, data, windows, asked)
    device = stage.settings.device
    tuned = KronosPredictor.from_pretrained(folder, device=device)
    untrained = None if start is None else _predictor(start, plan, device)
    return compare(untrained, tuned, data, windows, asked)


def _predictor(start: CheckpointRef, plan: RunPlan, device: str | None) -> KronosPredictor:
    """What training started from, as it was found: with its own tokenizer, or where it names none, with that told."""
    own = read_pairing(start).tokenizer is not None
    return KronosPredictor.from_pretrained(
        start.ref, tokenizer=None if own else plan.config.starts.tokenizer, device=device
    )


def _name(start: CheckpointRef | None) -> str:
    if start is None:
        return "start"
    return start.entry.name if start.entry is not None else Path(start.ref).resolve().name

"""Whether a run's training helped: its comparison made, kept beside the model, and read again."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kronos.errors import DataError, KronosError
from kronos.inference import KronosPredictor
from kronos.nn import KronosTokenizer
from kronos.training.comparing import CompareSettings, compare, compare_tokenizers
from kronos.training.comparison import Comparison
from kronos.training.planning import RunPlan, StagePlan, open_data, window_settings
from kronos.training.ranks import is_first
from kronos.training.records import COMPARISON, result_folder
from kronos.zoo import Located, describe


@dataclass(frozen=True)
class Judged:
    """What is known of whether a stage helped.

    Attributes:
        comparison: With its verdict; None if there is none.
        reason: Why it could not be made, one sentence; None if it was not asked for.
    """

    comparison: Comparison | None = None
    reason: str | None = None


def judge_stage(
    plan: RunPlan, stage: StagePlan, *, wanted: bool = True, settings: CompareSettings | None = None
) -> Judged:
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
        return Judged()
    path = plan.folder / COMPARISON
    weights = result_folder(plan.folder, stage.stage) / "model.safetensors"
    try:
        if path.is_file() and path.stat().st_mtime >= weights.stat().st_mtime:
            with suppress(DataError) if wanted else nullcontext():
                return Judged(Comparison.read(path))
        if not wanted:
            return Judged()
        found = _compare(plan, stage, settings)
        if found is None:
            return Judged(reason="There is nothing to compare a tokenizer with that was trained from scratch.")
        found.save(path)
    except KronosError as error:
        return Judged(reason=str(error))
    return Judged(replace(found, evaluation=None))


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


def _predictor(start: Located, plan: RunPlan, device: str | None) -> KronosPredictor:
    """What training started from, as it was found: with its own tokenizer, or where it names none, with that told."""
    own = describe(start).tokenizer is not None
    return KronosPredictor.from_pretrained(
        start.ref, tokenizer=None if own else plan.config.starts.tokenizer, device=device
    )


def _name(start: Located | None) -> str:
    if start is None:
        return "start"
    return start.entry.name if start.entry is not None else Path(start.ref).resolve().name

"""One network's training from end to end: candles, weights, objective, loop, and a folder to forecast with.

The best weights are written with all that belongs to them: context, tokenizer, form of the s2 attention, normalisation,
and up to when the candles went that they have seen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from kronos.atomic import write_text
from kronos.datasets.windows import WindowDataset
from kronos.nn import Kronos, KronosTokenizer
from kronos.training.callbacks import LOG, JsonLines, TrainingCallback
from kronos.training.distributed import process
from kronos.training.lora import LoRA, add_lora, is_adapted, merge_lora, save_adapter
from kronos.training.objectives import ModelObjective, ReconstructionWeights, TokenizerObjective
from kronos.training.plan import RunPlan, StagePlan, open_data, window_settings
from kronos.training.run_folder import (
    ADAPTER,
    CONFIG,
    StageRecord,
    forget_comparison,
    read_record,
    result_folder,
    stage_folder,
    write_record,
)
from kronos.training.trainer import TrainResult, fit
from kronos.zoo import (
    CheckpointRef,
    Cutoffs,
    Normalisation,
    find,
    read_pairing,
    resolve_checkpoint,
    trained_and_selected_until,
)
from kronos.zoo.catalog import latest
from kronos.zoo.checkpoint import RECORD, read_json

if TYPE_CHECKING:
    from kronos.datasets.training_data import TrainingData

Network = Kronos | KronosTokenizer


def train_stage(
    plan: RunPlan, stage: StagePlan, *, monitors: Sequence[TrainingCallback] = (), resume: bool = True
) -> StageRecord:
    """Train one network of a run, and write its folder.

    Args:
        plan: The run.
        stage: Which of its stages.
        monitors: Who else listens; ``log.jsonl`` is always written.
        resume: Whether to go on where an earlier start was ended.

    Returns:
        What it came to; of a stage that is done its record.

    Raises:
        KronosError: If data, weights, settings or the file system don't allow it.
    """
    done = read_record(plan.folder, stage.stage)
    if done is not None and resume:
        return done
    own = stage_folder(plan.folder, stage.stage)
    with process(stage.settings.device) as ours:
        data = open_data(plan.config)
        objective = _objective(plan, stage)
        if ours.first:
            plan.config.save(plan.folder / CONFIG)
        training = _windows(plan, stage, data, "train")
        validation = _windows(plan, stage, data, "val")
        listening = (JsonLines(own / LOG), *monitors)
        fitted = fit(objective, training, validation, stage.settings, own, monitors=listening, resume=resume)
        record = _record(plan, stage, fitted, data)
        if ours.first:
            _write(plan, stage, objective.network, data)
            write_record(plan.folder, record)
        ours.wait()
    return record


def new_network(stage: StagePlan, normalisation: Normalisation) -> Network:
    """A stage's network with the weights it starts from, or with new ones that its seed decides on.

    Args:
        stage: What is planned.
        normalisation: How a new tokenizer is to know candles.
    """
    if stage.start is not None:
        kind = Kronos if stage.stage == "model" else KronosTokenizer
        return kind.from_pretrained(stage.start.folder)
    with torch.random.fork_rng():
        torch.manual_seed(stage.settings.seed)
        shape: dict[str, Any] = dict(stage.shape)
        if stage.stage == "model":
            return Kronos(**shape, s2_attention="causal")
        return KronosTokenizer(**shape, normalisation=normalisation)


def _objective(plan: RunPlan, stage: StagePlan) -> ModelObjective | TokenizerObjective:
    """What is minimised: the network, and for a model the tokenizer that it reads through."""
    network = new_network(stage, plan.normalisation)
    if plan.config.lora is not None and stage.stage == "model":
        told = plan.config.lora.model_dump(exclude_none=True)
        network = add_lora(network, LoRA(**({"alpha": 2 * told["rank"]} | told)), seed=stage.settings.seed)
    if isinstance(network, KronosTokenizer):
        return TokenizerObjective(network, ReconstructionWeights(**plan.config.reconstruction()))
    assert plan.tokenizer is not None  # a plan without problems names it
    return ModelObjective(
        network, KronosTokenizer.from_pretrained(plan.tokenizer), **plan.config.objective(), seed=stage.settings.seed
    )


def _windows(plan: RunPlan, stage: StagePlan, data: TrainingData, part: Literal["train", "val"]) -> WindowDataset:
    """A part's samples: of training as many as an epoch takes, of validation as many as are looked at."""
    settings = stage.settings
    if part == "train":
        samples = settings.samples(plan.windows["train"])
    else:
        samples = settings.validation_batches * settings.batch_size
    return WindowDataset(
        data, part, window_settings(plan.config, plan.normalisation), samples=samples, seed=settings.seed
    )


def _record(plan: RunPlan, stage: StagePlan, fitted: TrainResult, data: TrainingData) -> StageRecord:
    start = stage.start
    return StageRecord(
        stage=stage.stage,
        epochs=fitted.epochs,
        steps=fitted.steps,
        best_epoch=fitted.best_epoch,
        best=fitted.best,
        stopped=fitted.stopped,
        seconds=round(fitted.history[-1]["seconds"], 1),
        started_from=None if start is None else (start.entry.name if start.entry is not None else start.ref),
        data=data.describe(),
        binding=plan.config.binding(stage.stage),
    )


def _write(plan: RunPlan, stage: StagePlan, network: Network, data: TrainingData) -> None:
    """The best weights, which the network has after its training, and what belongs to them, in the run's own folder.

    Raises:
        StorageError: If the file system refuses.
    """
    forget_comparison(plan.folder)  # it tells of other weights
    if is_adapted(network):
        base = None if stage.start is None or stage.start.entry is None else stage.start.entry.name
        save_adapter(network, plan.folder / ADAPTER, base=base)
        network = merge_lora(network)
    folder = result_folder(plan.folder, stage.stage)
    if stage.stage == "model":
        network.save_pretrained(folder, context=plan.context, tokenizer=_named_tokenizer(plan, folder))
    else:
        network.save_pretrained(folder)
    path = folder / RECORD
    known = read_json(path) if path.is_file() else {}
    told = {"normalisation": plan.normalisation, **_least_history(plan, stage), **_seen(plan, stage, data)}
    write_text(path, json.dumps({**known, **told}, indent=2) + "\n")


def _least_history(plan: RunPlan, stage: StagePlan) -> dict[str, int]:
    """From how many candles of history on a model was trained to forecast; what it started from counts too."""
    if stage.stage != "model" or plan.config.objective().get("loss_on", "forecast") != "forecast":
        return {}
    windows = plan.config.windows
    own = windows.lookback if windows.shortest is None else windows.shortest
    return {"least_history": own if stage.start is None else min(own, read_pairing(stage.start).least_history)}


def _named_tokenizer(plan: RunPlan, folder: Path) -> str | None:
    """How a model's record names its tokenizer: a name, or the way there from the model's folder."""
    told = plan.tokenizer
    if told is None or not Path(told).is_dir() or find(told) is not None:
        return told
    return Path(os.path.relpath(told, folder)).as_posix()


def _seen(plan: RunPlan, stage: StagePlan, data: TrainingData) -> dict[str, Cutoffs]:
    """By market the first dates that were not trained on, and not chosen by; what it started from counts too.

    Nothing is said where nobody knows what that has seen.
    """
    before = [trained_and_selected_until(one) for one in _ancestors(plan, stage)]
    known = [one for one in before if one is not None]
    if len(known) < len(before):
        return {}
    trained, selected = zip((data.seen_until("train"), data.seen_until("val")), *known, strict=True)
    return {"trained_until": dict(latest(*trained)), "selected_until": dict(latest(*selected))}


def _ancestors(plan: RunPlan, stage: StagePlan) -> list[CheckpointRef]:
    """The weights that a stage's own ones come from: its start, and a model's tokenizer."""
    found = [] if stage.start is None else [stage.start]
    if stage.stage == "model" and plan.tokenizer is not None:
        found.append(resolve_checkpoint(plan.tokenizer, kind="tokenizer"))
    return found

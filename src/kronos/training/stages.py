"""Training of one stage: candles, weights, objective, training loop, and a folder that the predictor can load.

The best weights are saved with everything that belongs to them: context, tokenizer, form of the s2 attention,
normalisation, and the dates of the candles they have seen.
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
from kronos.training.callbacks import JsonLines, TrainingCallback
from kronos.training.distributed import process
from kronos.training.embeddings import smooth_embeddings
from kronos.training.lora import LoRA, add_lora, is_adapted, merge_lora, save_adapter
from kronos.training.objectives import ModelObjective, ReconstructionWeights, TokenizerObjective
from kronos.training.plan import RunPlan, StagePlan, open_data, window_settings
from kronos.training.run_folder import (
    ADAPTER,
    CONFIG,
    LOG,
    StageRecord,
    delete_comparison,
    load_record,
    result_folder,
    save_record,
    stage_folder,
)
from kronos.training.trainer import TrainResult, fit
from kronos.zoo import (
    CheckpointRef,
    Cutoffs,
    Normalisation,
    find_entry,
    read_pairing,
    resolve_checkpoint,
    trained_and_selected_until,
)
from kronos.zoo.catalog import latest_cutoffs
from kronos.zoo.checkpoint import RECORD, read_json

if TYPE_CHECKING:
    from kronos.datasets.training_data import TrainingData

Network = Kronos | KronosTokenizer


def train_stage(
    plan: RunPlan, stage: StagePlan, *, callbacks: Sequence[TrainingCallback] = (), resume: bool = True
) -> StageRecord:
    """Train one network of a run, and write its folder.

    Args:
        plan: The run.
        stage: The stage to train.
        callbacks: Callbacks besides the one that writes ``log.jsonl``.
        resume: Whether to resume an interrupted training run.

    Returns:
        The record of the stage; if it was finished before, the stored one.

    Raises:
        KronosError: If data, weights, settings or the file system prevent the training.
    """
    record = load_record(plan.folder, stage.stage)
    if record is not None and resume:
        return record
    folder = stage_folder(plan.folder, stage.stage)
    with process(stage.settings.device) as member:
        data = open_data(plan.config)
        objective = _objective(plan, stage)
        if member.is_first:
            plan.config.save(plan.folder / CONFIG)
        training = _dataset(plan, stage, data, "train")
        validation = _dataset(plan, stage, data, "val")
        callbacks = (JsonLines(folder / LOG), *callbacks)
        result = fit(objective, training, validation, stage.settings, folder, callbacks=callbacks, resume=resume)
        record = _record(plan, stage, result, data)
        if member.is_first:
            _save_network(plan, stage, objective.network, data)
            save_record(plan.folder, record)
        member.barrier()
    return record


def build_network(stage: StagePlan, normalisation: Normalisation) -> Network:
    """Build a stage's network with its initial weights, or with new ones that depend on the stage's seed.

    Args:
        stage: The stage.
        normalisation: Normalisation of a new tokenizer.
    """
    if stage.start is not None:
        network_class = Kronos if stage.stage == "model" else KronosTokenizer
        return network_class.from_pretrained(stage.start.folder)
    with torch.random.fork_rng():
        torch.manual_seed(stage.settings.seed)
        shape: dict[str, Any] = dict(stage.shape)
        if stage.stage == "model":
            return Kronos(**shape, s2_attention="causal")
        return KronosTokenizer(**shape, normalisation=normalisation)


def _objective(plan: RunPlan, stage: StagePlan) -> ModelObjective | TokenizerObjective:
    """Objective of the stage: the network, for a model together with its tokenizer."""
    network = build_network(stage, plan.normalisation)
    if plan.config.lora is not None and stage.stage == "model":
        options = plan.config.lora.model_dump(exclude_none=True)
        network = add_lora(network, LoRA(**({"alpha": 2 * options["rank"]} | options)), seed=stage.settings.seed)
    if isinstance(network, KronosTokenizer):
        return TokenizerObjective(network, ReconstructionWeights(**plan.config.reconstruction_options()))
    assert plan.tokenizer is not None  # a plan without problems has one
    tokenizer = KronosTokenizer.from_pretrained(plan.tokenizer)
    if stage.start is None and plan.config.has_smooth_embeddings:
        smooth_embeddings(network, tokenizer, stage.settings.seed)
    return ModelObjective(network, tokenizer, **plan.config.objective_options(), seed=stage.settings.seed)


def _dataset(plan: RunPlan, stage: StagePlan, data: TrainingData, part: Literal["train", "val"]) -> WindowDataset:
    """Samples of a part: as many as an epoch needs, or as the validation uses."""
    settings = stage.settings
    if part == "train":
        samples = settings.samples(plan.windows["train"])
    else:
        samples = settings.validation_batches * settings.batch_size
    windows = window_settings(plan.config, plan.normalisation)
    return WindowDataset(data, part, windows, samples=samples, seed=settings.seed)


def _record(plan: RunPlan, stage: StagePlan, result: TrainResult, data: TrainingData) -> StageRecord:
    start = stage.start
    return StageRecord(
        stage=stage.stage,
        epochs=result.epochs,
        steps=result.steps,
        best_epoch=result.best_epoch,
        best=result.best,
        stopped=result.stopped,
        seconds=round(result.history[-1]["seconds"], 1),
        started_from=None if start is None else (start.entry.name if start.entry is not None else start.ref),
        data=data.describe(),
        binding=plan.config.identity(stage.stage),
    )


def _save_network(plan: RunPlan, stage: StagePlan, network: Network, data: TrainingData) -> None:
    """Save the trained network, which has its best weights, with its record in the run's folder.

    Raises:
        StorageError: If the file system refuses.
    """
    delete_comparison(plan.folder)  # of other weights
    if is_adapted(network):
        base = None if stage.start is None or stage.start.entry is None else stage.start.entry.name
        save_adapter(network, plan.folder / ADAPTER, base=base)
        network = merge_lora(network)
    folder = result_folder(plan.folder, stage.stage)
    if stage.stage == "model":
        network.save_pretrained(folder, context=plan.context, tokenizer=_tokenizer_reference(plan, folder))
    else:
        network.save_pretrained(folder)
    path = folder / RECORD
    record = read_json(path) if path.is_file() else {}
    record = {
        **record,
        "name": plan.name,
        "normalisation": plan.normalisation,
        **_least_history(plan, stage),
        **_cutoffs(plan, stage, data),
    }
    write_text(path, json.dumps(record, indent=2) + "\n")


def _least_history(plan: RunPlan, stage: StagePlan) -> dict[str, int]:
    """Shortest history that the model, or its initial weights, were trained to forecast from."""
    if stage.stage != "model" or plan.config.objective_options().get("loss_on", "forecast") != "forecast":
        return {}
    windows = plan.config.windows
    shortest = windows.lookback if windows.shortest is None else windows.shortest
    return {
        "least_history": shortest if stage.start is None else min(shortest, read_pairing(stage.start).least_history)
    }


def _tokenizer_reference(plan: RunPlan, folder: Path) -> str | None:
    """The tokenizer in a model's record: a name, or the path relative to the model's folder."""
    tokenizer = plan.tokenizer
    if tokenizer is None or not Path(tokenizer).is_dir() or find_entry(tokenizer) is not None:
        return tokenizer
    return Path(os.path.relpath(tokenizer, folder)).as_posix()


def _cutoffs(plan: RunPlan, stage: StagePlan, data: TrainingData) -> dict[str, Cutoffs]:
    """First dates by market that were not used for training and selection, including those of the initial weights.

    Empty if the dates of the initial weights are unknown.
    """
    earlier = [trained_and_selected_until(ref) for ref in _ancestors(plan, stage)]
    known = [cutoffs for cutoffs in earlier if cutoffs is not None]
    if len(known) < len(earlier):
        return {}
    trained, selected = zip((data.end_dates("train"), data.end_dates("val")), *known, strict=True)
    return {"trained_until": dict(latest_cutoffs(*trained)), "selected_until": dict(latest_cutoffs(*selected))}


def _ancestors(plan: RunPlan, stage: StagePlan) -> list[CheckpointRef]:
    """Checkpoints that a stage's weights depend on: the initial weights, and a model's tokenizer."""
    ancestors = [] if stage.start is None else [stage.start]
    if stage.stage == "model" and plan.tokenizer is not None:
        ancestors.append(resolve_checkpoint(plan.tokenizer, kind="tokenizer"))
    return ancestors

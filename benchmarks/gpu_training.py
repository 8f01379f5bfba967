"""Training on a device: records of the stages "training" and "pretraining".

- "training" takes steps of `kronos.training` on batches that lie on the device: candles per second of the step itself,
  by architecture and batch, as it is and with compiled blocks.
- "pretraining" is a whole training as `kronos train run` does it, from a configuration, with new weights. An epoch is
  about as long as a minute, and every epoch is validated and leaves a checkpoint and, if it is the best, its weights:
  a training that is ended at any moment has lost a minute. The learning rate follows the time that there is.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.gpu_speed import repeat_call
from benchmarks.inputs import random_candles
from benchmarks.plans import Architecture, published, shrunken
from kronos.datasets import Batch
from kronos.nn import Kronos, KronosTokenizer
from kronos.training import ModelObjective, TrainingArguments, TrainingCallback, load_config, make_plan, process
from kronos.training import run as run_training
from kronos.training.config import TrainConfig
from kronos.training.optimization import OptimizerStep
from kronos.training.plan import RunPlan
from kronos.training.run_folder import stage_folder
from kronos.training.runner import RunOptions
from kronos.training.runtime import compiled_blocks
from kronos.training.stages import build_network

if TYPE_CHECKING:
    from benchmarks.gpu import GpuPlan

_WINDOW = 256  # candles of a sample
_EPOCH_SECONDS = 55.0  # of training; the validation comes on top
_TIMED_STEPS = 5  # without waiting for the device in between

Emit = Callable[[dict[str, Any]], None]


def measure_training(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """Candles per second of a training step, by architecture, batch and whether blocks are compiled."""
    architectures, batches = ("kronos-mini", "kronos-small"), (4,) if quick else (64, 256)
    window = 24 if quick else _WINDOW
    runs = [(batch, False) for batch in batches] + ([] if quick else [(batches[-1], True)])
    for name in architectures:
        architecture: Architecture = shrunken(name) if quick else published(name)
        for batch, compiled in runs:
            torch.manual_seed(1)
            objective = ModelObjective(Kronos(**architecture.model), KronosTokenizer(**architecture.tokenizer))
            seconds = _step_seconds(objective, device, batch, window, compiled=compiled)
            yield {
                "model": name,
                "batch": batch,
                "window": window,
                "compiled": compiled,
                "candles_per_second": batch * window / seconds,
            }


def _step_seconds(
    objective: ModelObjective, device: torch.device, batch: int, window: int, *, compiled: bool = False
) -> float:
    """Median seconds of a step on a batch that lies on the device."""
    objective.network.to(device).train()
    objective.tokenizer.to(device)
    settings = TrainingArguments.of("model", {"batch_size": batch, "device": str(device)})
    given = repeat(_random_batch(batch, window, device))
    with process(str(device)) as member, compiled_blocks(objective.network, enabled=compiled):
        stepper = OptimizerStep(objective, settings, member, 1000)

        def steps() -> None:
            for number in range(_TIMED_STEPS):
                stepper.step(number, number / 1000, given)

        steps()  # allocates the optimizer's state, and compiles
        return statistics.median(repeat_call(steps, device, 0.0, 3)) / _TIMED_STEPS


def _random_batch(size: int, window: int, device: torch.device) -> Batch:
    random = torch.Generator().manual_seed(1)
    stamp = torch.stack([torch.randint(n, (size, window), generator=random) for n in (60, 24, 7, 32, 13)], -1)
    x = torch.randn(size, window, 6, generator=random)
    known = torch.full((size,), window - window // 8)
    return Batch(x, stamp, known, torch.ones(size), torch.arange(size)).to(device)


class _Curve(TrainingCallback):
    """Reports every epoch as a record."""

    def __init__(self, emit: Emit, candles: int) -> None:
        self._emit, self._candles = emit, candles

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Report losses and speed so far."""
        record: dict[str, Any] = {"epoch": epoch, "steps": int(logs["step"]), "seconds": logs["seconds"]}
        record |= {name: logs[name] for name in ("train_loss", "validation_loss") if name in logs}
        if logs["step"] and logs["seconds"]:
            record["candles_per_second"] = logs["step"] * self._candles / logs["seconds"]
        self._emit(record)


def pretrain(plan: GpuPlan, emit: Emit) -> None:
    """Train a model from a configuration for the plan's minutes.

    Raises:
        RuntimeError: If the training failed; the message says why.
    """
    folder = (plan.output / "pretraining").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    changes: dict[str, Any] = {
        "output": str(folder),
        "training": {"device": str(plan.device), "minutes": plan.minutes, "checkpoint_minutes": 1.0, "epochs": 10_000},
    }
    if plan.batch_size is not None:
        changes["training"]["batch_size"] = plan.batch_size
    if plan.learning_rate is not None:
        changes["training"]["learning_rate"] = plan.learning_rate
    if plan.data is None:
        changes |= {"data": str(_simulated(folder / "candles")), "split": {"file": None}}
    else:
        split = None if plan.split is None else str(plan.split.resolve())
        changes |= {"data": str(plan.data.resolve()), "split": {"file": split}}
    if plan.quick:
        changes["architecture"] = {"model": {"n_layers": 1, "d_model": 32, "n_heads": 2, "ff_dim": 48}}
        changes["windows"] = {"lookback": 24, "predict": 8}
        changes["training"] |= {"steps_per_epoch": 2, "batch_size": 4, "validation_batches": 1}
    config = load_config(plan.config).changed(changes)
    cache = folder / "data" / "training_cache"
    if not plan.quick:
        seconds = _planned_step(make_plan(config, cache=cache), plan.device)
        config = config.changed({"training": {"steps_per_epoch": max(1, int(_EPOCH_SECONDS / seconds))}})
    candles = config.training.batch_size * _window(config)
    trained = make_plan(config, cache=cache)
    with chdir(folder):  # where a training caches the candles that it reads
        [result] = run_training([trained], RunOptions(compare=False), callbacks=lambda *_: [_Curve(emit, candles)])
    if not result.succeeded:
        raise RuntimeError(result.reason)
    emit({"weights": str(stage_folder(result.folder, "model"))})


def _window(config: TrainConfig) -> int:
    return config.windows.lookback + config.windows.predict


def _planned_step(plan: RunPlan, device: torch.device) -> float:
    """Seconds of a step of the planned training, without reading its samples."""
    plan.check()
    [stage] = plan.stages
    network = build_network(stage, plan.normalisation)
    assert isinstance(network, Kronos)
    assert plan.tokenizer is not None
    objective = ModelObjective(
        network, KronosTokenizer.from_pretrained(plan.tokenizer), **plan.config.objective_options()
    )
    return _step_seconds(objective, device, stage.settings.batch_size, _window(plan.config))


def _simulated(folder: Path) -> Path:
    """Random walks as CSV files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(4):
        random_candles(1500, seed=number).frame.to_csv(folder / f"WALK{number}_1h.csv")
    return folder

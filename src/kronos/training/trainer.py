"""Training loop: steps, validation, the best weights, and checkpoints to resume from.

    result = fit(ModelObjective(model, tokenizer), train, validation, TrainingArguments.of("model"), Path("runs/mine"))
    model = Kronos.from_pretrained(result.folder)

- A training that is killed at any moment resumes from its last checkpoint and ends with the same weights, bit for bit
  on the CPU with the same number of threads. (Cards add up gradients in no fixed order.)
- The initial weights are validated too: fine-tuning that never improves on them returns them.
- Nothing is read from the device between two reports, so that the card never waits for the processor.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from kronos.datasets.batching import Batch, batches
from kronos.datasets.windows import WindowDataset
from kronos.errors import CheckpointError, ParameterError
from kronos.locks import LOCK, exclusive_lock
from kronos.training.callbacks import EarlyStopping, TrainingCallback
from kronos.training.checkpoint import RESTART, Checkpointer, TrainState, run_fingerprint
from kronos.training.config import TrainingArguments
from kronos.training.distributed import Process, process
from kronos.training.objectives import ModelObjective, Objective, check_causality, check_normalisation
from kronos.training.optimization import OptimizerStep
from kronos.training.run_folder import weights_digest
from kronos.training.runtime import compiled_blocks, limit_threads, prefetch, preserve_rng, to_device
from kronos.training.validation import RunningMean, first_samples, select_samples, validate

BEST, RESUME = "best", "resume"  # subfolders of a stage
_CLOCK_STEPS = 10  # steps between two synchronisations of the processes' clocks
_CAUSALITY_SAMPLES = 8


@dataclass(frozen=True)
class TrainResult:
    """Result of a training.

    Attributes:
        folder: Folder of the best weights, as written by `save_pretrained`.
        epochs: Epochs trained.
        steps: Steps trained.
        best_epoch: Epoch of the best weights; 0 for the initial weights.
        best: Validation loss of the best weights.
        history: Figures of each epoch as the callbacks receive them, starting with epoch 0.
        stopped: ``finished``, ``patience`` (early stopping) or ``minutes`` (time limit).
    """

    folder: Path
    epochs: int
    steps: int
    best_epoch: int
    best: float
    history: tuple[Mapping[str, float], ...]
    stopped: str


def fit(
    objective: Objective,
    train: WindowDataset,
    validation: WindowDataset,
    settings: TrainingArguments,
    folder: Path,
    *,
    callbacks: Sequence[TrainingCallback] = (),
    resume: bool = True,
) -> TrainResult:
    """Train a network, or resume its training.

    Processes started by ``torchrun`` train together: each calls this with the same arguments and a folder that all of
    them can access.

    Args:
        objective: Objective with the network, whose parameters change. Afterwards the network has the best weights and
            is in evaluation mode.
        train: Training samples, at least ``settings.samples(train.available)`` per epoch.
        validation: Validation samples, which select the best weights.
        settings: Training settings.
        folder: Folder of this training: ``best`` gets the best weights, ``resume`` the checkpoints.
        callbacks: Callbacks, called in the first process only.
        resume: Whether to resume the training in the folder; otherwise its checkpoints are removed.

    Returns:
        The result; if the training had already ended, its result.

    Raises:
        ParameterError: If settings contradict each other or the data, the folder holds another training, the network
            sees the future, or the loss is no longer finite.
        DataError: If there is no validation sample.
        DeviceError: If the device does not exist.
        StorageError: If another process is training in the folder, or the file system refuses.
    """
    with ExitStack() as stack:
        member = stack.enter_context(process(settings.device))
        stack.enter_context(limit_threads(settings.threads))
        stack.enter_context(preserve_rng(member.device))
        if member.is_first:
            busy = f"{folder} is being trained"
            stack.enter_context(exclusive_lock(Path(folder) / LOCK, busy=busy, fix="choose another folder"))
        trainer = Trainer(objective, train, validation, settings, Path(folder), member)
        return trainer.run(callbacks, resume=resume)


class Trainer:
    """Implementation of `fit`; a subclass can override a part of it.

    Args:
        objective: As in `fit`, and so are the next four.
        train: Training samples.
        validation: Validation samples.
        settings: Training settings.
        folder: Folder of this training.
        process: This process.
    """

    def __init__(
        self,
        objective: Objective,
        train: WindowDataset,
        validation: WindowDataset,
        settings: TrainingArguments,
        folder: Path,
        process: Process,
    ) -> None:
        self.objective, self.train, self.validation = objective, train, validation
        self.settings, self.folder, self.process = settings, folder, process
        self.steps_per_epoch = settings.steps(train.available)
        self.steps = self.steps_per_epoch * settings.epochs
        process.per_process(settings.batch_size // settings.accumulation_steps, "A micro-batch")
        needed = self.steps_per_epoch * settings.batch_size
        if len(train) < needed:
            raise ParameterError(
                f"The training dataset has {len(train):,} samples per epoch, but {self.steps_per_epoch:,} steps of "
                f"{settings.batch_size} need {needed:,}: create it with samples={needed}."
            )
        check_normalisation(objective, train, validation)
        self.samples = select_samples(validation, settings.validation_batches * settings.batch_size)
        self.identity = run_fingerprint(objective, train, validation, settings)
        self.checkpoints = Checkpointer(folder / RESUME)
        self.step = 0
        self.epoch = -1
        self.best, self.best_epoch = math.inf, 0
        self.best_digest: str | None = None
        self.history: list[Mapping[str, float]] = []
        self.stopped: str | None = None
        self.since_report, self.since_epoch = RunningMean(), RunningMean()
        self._earlier_seconds = 0.0  # of the starts before this one
        self._started = self._saved = self._reported = time.monotonic()
        self._clock = 0.0

    def run(self, callbacks: Sequence[TrainingCallback] = (), *, resume: bool = True) -> TrainResult:
        """Train to the end; see `fit`."""
        self.callbacks = tuple(callbacks) if self.process.is_first else ()
        network = self.objective.network.to(self.process.device)
        self.stepper = OptimizerStep(self.objective, self.settings, self.process, self.steps)
        if not resume:
            self._discard_checkpoints()
        if not self._restore():
            self.stepper.broadcast_weights()
            self._check_causality()
            try:
                with compiled_blocks(network, enabled=self.settings.compile):
                    self._train()
            except BaseException as error:
                cause = error
                self._notify(lambda callback: callback.on_break(cause))
                raise
        self.process.barrier()
        self._load_best()
        return self._result()

    # Epochs and steps

    def _train(self) -> None:
        self._notify(lambda callback: callback.on_start(self._plan_info()))
        self._started = self._saved = self._reported = time.monotonic()
        if self.epoch < 0:
            self._end_epoch()
        while self.stopped is None:
            self._train_epoch()
            self._end_epoch()
        if self.process.is_first:
            self.checkpoints.finish(self._state())
        result = self._result()
        self._notify(lambda callback: callback.on_end(result))

    def _train_epoch(self) -> None:
        """Train the remaining steps of the epoch."""
        self.objective.network.train()
        self.train.set_epoch(self.epoch)
        end = (self.epoch + 1) * self.steps_per_epoch
        with prefetch(self._batches) as micro_batches:
            while self.step < end and not self._out_of_time():
                names, values = self.stepper.step(self.step, self._progress(), micro_batches)
                self.step += 1
                for means in (self.since_report, self.since_epoch):
                    means.add(names, values)
                if self.step % self.settings.log_steps == 0:
                    self._report()
                if self.step < end and self._checkpoint_due():
                    self._save()
        if self.since_report.count:
            self._report()

    def _batches(self) -> Iterator[Batch]:
        """This process's share of the remaining micro-batches of the epoch."""
        parts = self.settings.accumulation_steps
        start = (self.step - self.epoch * self.steps_per_epoch) * parts
        size, rank, world = self.settings.batch_size // parts, self.process.rank, self.process.world_size
        for batch in batches(self.train, size, rank=rank, world=world, start=start, drop_last=True):
            yield to_device(batch, self.process.device)

    def _end_epoch(self) -> None:
        """Validate, save a checkpoint, and save the weights if they are the best."""
        means = self.since_epoch.means() if self.since_epoch.count else {}
        self.epoch += 1
        figures = self._validate()
        record = {"epoch": float(self.epoch), "step": float(self.step), "seconds": self._seconds()}
        record |= {f"train_{name}": value for name, value in means.items()}
        record |= {f"validation_{name}": value for name, value in figures.items()}
        self.history.append(record)
        self.since_report, self.since_epoch = RunningMean(), RunningMean()
        if figures["loss"] < self.best:
            self.best, self.best_epoch = figures["loss"], self.epoch
            with self.stepper.averaged():
                self.best_digest = weights_digest(self.objective.network)
        self.stopped = self._stop_reason()
        self._notify(lambda callback: callback.on_epoch_end(self.epoch, record))
        # The checkpoint first, then the best weights: after a kill in between, a resume restores them from it.
        self._save()
        if self.best_epoch == self.epoch:
            path = self._write_best()
            self._notify(lambda callback: callback.save_checkpoint(path, best=True))

    def _stop_reason(self) -> str | None:
        if self.epoch >= self.settings.epochs:
            return "finished"
        if self._out_of_time():
            return "minutes"
        early_stopping = EarlyStopping(self.settings.patience)
        return "patience" if early_stopping.should_stop(self.epoch, self.best_epoch) else None

    def _validate(self) -> dict[str, float]:
        """Validate the weights that would be saved."""
        self.objective.network.eval()
        with self.stepper.averaged():
            figures = validate(
                self.objective,
                self.validation,
                self.samples,
                batch_size=self.settings.batch_size,
                process=self.process,
                dtype=self.stepper.dtype,
            )
        if not math.isfinite(figures["loss"]):
            raise ParameterError(
                f"The validation loss is {figures['loss']} after epoch {self.epoch}: start again with a smaller "
                f"learning_rate. {self._checkpoint_hint()}"
            )
        return figures

    # Time

    def _progress(self) -> float:
        """Progress of the training from 0 to 1, by steps or by time, whichever is further."""
        by_steps = self.step / max(self.steps - 1, 1)
        minutes = self.settings.minutes
        by_time = 0.0 if minutes is None else self._synchronised_seconds() / (60 * minutes)
        return min(1.0, max(by_steps, by_time))

    def _out_of_time(self) -> bool:
        minutes = self.settings.minutes
        return minutes is not None and self._clock >= 60 * minutes

    def _synchronised_seconds(self) -> float:
        """Training time, the same in every process."""
        if self.process.world_size == 1:
            self._clock = self._seconds()
        elif self.step % _CLOCK_STEPS == 0:
            seconds = torch.tensor(self._seconds(), device=self.process.device)
            self._clock = float(self.process.broadcast(seconds))
        return self._clock

    def _seconds(self) -> float:
        return self._earlier_seconds + time.monotonic() - self._started

    # Checkpoints

    def _checkpoint_due(self) -> bool:
        overdue = time.monotonic() - self._saved >= 60 * self.settings.checkpoint_minutes
        return self.process.is_first and overdue

    def _save(self) -> None:
        """Save a checkpoint, in the first process."""
        self.stepper.check_finite(self._checkpoint_hint())
        if self.process.is_first:
            path = self.checkpoints.save(self.stepper.state(), self._state())
            self._notify(lambda callback: callback.save_checkpoint(path, best=False))
        self._saved = time.monotonic()

    def _write_best(self) -> Path:
        """Save the validated weights, in the first process."""
        path = self.folder / BEST
        if self.process.is_first:
            with self.stepper.averaged():
                self.objective.network.save_pretrained(path)
        return path

    def _load_best(self) -> None:
        path = self.folder / BEST / "model.safetensors"
        try:
            self.objective.network.load_state_dict(load_file(path))
        except (SafetensorError, OSError, RuntimeError) as error:
            raise CheckpointError(f"Cannot read {path}: {RESTART}.") from error
        if self.process.is_first and weights_digest(self.objective.network) != self.best_digest:
            raise CheckpointError(f"{path} was changed or damaged since it was written: {RESTART}.")
        self.objective.network.eval()

    def _discard_checkpoints(self) -> None:
        if self.process.is_first:
            self.checkpoints.discard()
        self.process.barrier()

    def _restore(self) -> bool:
        """Load the last checkpoint, if there is one; whether the training has already ended."""
        checkpoint = self.checkpoints.load(self.identity)
        self.process.barrier()  # no process writes before all have read
        if checkpoint is None:
            return False
        sections, state = checkpoint
        self.step, self.epoch, self.stopped = state.step, state.epoch, state.stopped
        self.best = math.inf if state.best is None else state.best
        self.best_epoch, self.best_digest = state.best_epoch, state.best_digest
        self.history, self._earlier_seconds = list(state.history), state.seconds
        self._clock = state.seconds  # until the processes synchronise again
        self.since_report = RunningMean(state.pending.get("recent"))
        self.since_epoch = RunningMean(state.pending.get("whole"))
        if not sections:
            return True
        self.stepper.load_state(sections)
        if self.epoch == self.best_epoch and self.history[-1]["step"] == self.step:
            self._write_best()
        return False

    def _state(self) -> TrainState:
        return TrainState(
            identity=self.identity,
            step=self.step,
            epoch=self.epoch,
            best=self.best if math.isfinite(self.best) else None,
            best_epoch=self.best_epoch,
            best_digest=self.best_digest,
            seconds=self._seconds(),
            history=tuple(self.history),
            pending={"recent": self.since_report.state(), "whole": self.since_epoch.state()},
            stopped=self.stopped,
        )

    def _checkpoint_hint(self) -> str:
        return f"The last checkpoint is in {self.checkpoints.folder}."

    def _result(self) -> TrainResult:
        stopped = self.stopped or "finished"
        history = tuple(self.history)
        return TrainResult(self.folder / BEST, self.epoch, self.step, self.best_epoch, self.best, history, stopped)

    # Callbacks

    def _notify(self, call: Callable[[TrainingCallback], None]) -> None:
        for callback in self.callbacks:
            call(callback)

    def _report(self) -> None:
        """Pass the means since the last report to the callbacks."""
        self.stepper.check_finite(self._checkpoint_hint())
        now = time.monotonic()
        speed = self.since_report.count * self.settings.batch_size / max(now - self._reported, 1e-9)
        logs = {**self.since_report.means(), "learning_rate": self.stepper.rate, "samples_per_second": speed}
        self.since_report, self._reported = RunningMean(), now
        self._notify(lambda callback: callback.on_step(self.step, logs))

    def _plan_info(self) -> dict[str, Any]:
        """The ``plan`` that callbacks receive at the start."""
        network = self.objective.network
        return {
            "stage": network.kind,
            "epochs": self.settings.epochs,
            "steps_per_epoch": self.steps_per_epoch,
            "steps": self.steps,
            "step": self.step,
            "batch_size": self.settings.batch_size,
            "best": self.best if math.isfinite(self.best) else None,
            "parameters": sum(value.numel() for value in network.parameters()),
            "trained_parameters": sum(value.numel() for value in self.stepper.parameters.values()),
            "available_windows": self.train.available,
            "validation_samples": len(self.samples),
            "device": str(self.process.device),
            "processes": self.process.world_size,
            "precision": str(self.stepper.dtype).removeprefix("torch."),
            "settings": self.settings.model_dump(mode="json"),
            "objective": self.objective.describe(),
        }

    def _check_causality(self) -> None:
        if isinstance(self.objective, ModelObjective):
            self.objective.network.eval()
            batch = first_samples(self.validation, self.samples, _CAUSALITY_SAMPLES, self.process.device)
            check_causality(self.objective, batch)

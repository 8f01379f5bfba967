"""The training loop: steps, validations, the best weights, and a state to go on from.

    fitted = fit(ModelObjective(model, tokenizer), train, validation, StageSettings.of("model"), Path("runs/mine"))
    model = Kronos.from_pretrained(fitted.folder)

Notable here:
- killed at any moment, a training goes on where its last state was, and ends with the same weights to the bit, as long
  as it runs on the CPU with as many threads; cards add up gradients in no fixed order;
- the start is validated too: fine-tuning that never beats it gives it back;
- nothing is read from the device between two reports: a processor that waits is a card that idles.
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
from kronos.training.callbacks import TrainingCallback
from kronos.training.checkpoint import Checkpointer, TrainState, run_fingerprint
from kronos.training.config import TrainingArguments
from kronos.training.distributed import Process, process
from kronos.training.objectives import ModelObjective, Objective, check_causality, check_normalisation
from kronos.training.optimization import OptimizerStep
from kronos.training.runtime import compiled, prefetch, preserve_rng, threads, to_device
from kronos.training.validation import RunningMean, first_samples, samples_of, validate

BEST, RESUME = "best", "resume"  # folders of a stage
_CLOCK_STEPS = 10  # after which processes agree on the time again
_CHECKED = 8  # samples that causality is checked on


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Attributes:
        folder: The best weights, as `save_pretrained` writes them.
        epochs: That were trained.
        steps: That were made.
        best_epoch: Whose weights were the best; 0 for those that training started from.
        best: Their validation loss.
        history: A record of each epoch, that of the start first, as monitors are told them.
        stopped: ``finished``, ``patience`` (no better validation for long) or ``minutes`` (out of time).
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
    monitors: Sequence[TrainingCallback] = (),
    resume: bool = True,
) -> TrainResult:
    """Train a network, or go on training it.

    Several processes that ``torchrun`` started train together: each calls this with the same arguments, and a folder
    that all of them see.

    Args:
        objective: With the network, whose parameters change; afterwards it has the best weights and is in evaluation
            mode.
        train: What to train on; it gives at least ``settings.samples(train.available)`` samples an epoch.
        validation: What to select the best weights on.
        settings: How to train.
        folder: Of this stage: ``best`` in it gets the best weights, ``resume`` what a resume needs.
        monitors: Who is told; of several processes those of the first.
        resume: Whether to go on with what the folder holds; otherwise that is removed.

    Returns:
        What it came to; of a training that has ended already what it came to then.

    Raises:
        ParameterError: If settings contradict each other or the data, the folder holds another training, the network
            sees the future, or the loss is no longer a number.
        DataError: If there is nothing to validate on.
        DeviceError: If there is no such device.
        StorageError: If the file system refuses.
    """
    with ExitStack() as stack:
        ours = stack.enter_context(process(settings.device))
        stack.enter_context(threads(settings.threads))
        stack.enter_context(preserve_rng(ours.device))
        trainer = Trainer(objective, train, validation, settings, Path(folder), ours)
        return trainer.run(monitors, resume=resume)


class Trainer:
    """One training; see `fit`, which is how to use it. A subclass may change a part of it.

    Args:
        objective: As `fit` takes it, and so on.
        train: What to train on.
        validation: What to validate on.
        settings: How to train.
        folder: Of this stage.
        ours: Which process this is.
    """

    def __init__(
        self,
        objective: Objective,
        train: WindowDataset,
        validation: WindowDataset,
        settings: TrainingArguments,
        folder: Path,
        ours: Process,
    ) -> None:
        self.objective, self.train, self.validation = objective, train, validation
        self.settings, self.folder, self.ours = settings, folder, ours
        self.epoch_steps = settings.steps(train.available)
        self.steps = self.epoch_steps * settings.epochs
        ours.share(settings.batch_size // settings.accumulation_steps, "A micro-batch")
        needed = self.epoch_steps * settings.batch_size
        if len(train) < needed:
            raise ParameterError(
                f"The training set gives {len(train):,} samples an epoch, but {self.epoch_steps:,} steps of "
                f"{settings.batch_size} take {needed:,}; make it with samples={needed}."
            )
        check_normalisation(objective, train, validation)
        self.samples = samples_of(validation, settings.validation_batches * settings.batch_size)
        self.identity = run_fingerprint(objective, train, validation, settings)
        self.state = Checkpointer(folder / RESUME)
        self.step = 0
        self.epoch = -1
        self.best, self.best_epoch = math.inf, 0
        self.history: list[Mapping[str, float]] = []
        self.stopped: str | None = None
        self.recent, self.whole = RunningMean(), RunningMean()  # since the monitors were told, since the epoch began
        self._earlier = 0.0  # seconds of the starts before this one
        self._began = self._saved = self._told = time.monotonic()
        self._clock = 0.0

    def run(self, monitors: Sequence[TrainingCallback] = (), *, resume: bool = True) -> TrainResult:
        """Train until it ends; see `fit`."""
        self.monitors = tuple(monitors) if self.ours.first else ()
        network = self.objective.network.to(self.ours.device)
        self.stepper = OptimizerStep(self.objective, self.settings, self.ours, self.steps)
        if not resume:
            self._discard()
        if not self._restore():
            self.stepper.agree()
            self._check_causality()
            try:
                with compiled(network, wanted=self.settings.compile):
                    self._train()
            except BaseException as error:
                broken = error
                self._tell(lambda monitor: monitor.on_break(broken))
                raise
        self.ours.wait()
        self._take_best()
        return self._fitted()

    # From start to end

    def _train(self) -> None:
        self._tell(lambda monitor: monitor.on_start(self._plan()))
        self._began = self._saved = self._told = time.monotonic()
        if self.epoch < 0:
            self._end_epoch()
        while self.stopped is None:
            self._train_epoch()
            self._end_epoch()
        if self.ours.first:
            self.state.finish(self._progress())
        fitted = self._fitted()
        self._tell(lambda monitor: monitor.on_end(fitted))

    def _train_epoch(self) -> None:
        """The steps of an epoch, or what is left of them."""
        self.objective.network.train()
        self.train.set_epoch(self.epoch)
        end = (self.epoch + 1) * self.epoch_steps
        with prefetch(self._batches) as feed:
            while self.step < end and not self._out_of_time():
                names, values = self.stepper.step(self.step, self._done(), feed)
                self.step += 1
                for tally in (self.recent, self.whole):
                    tally.add(names, values)
                if self.step % self.settings.log_steps == 0:
                    self._report()
                if self.step < end and self._due():
                    self._save()
        if self.recent.number:
            self._report()

    def _batches(self) -> Iterator[Batch]:
        """This process's parts of the micro-batches from here to the epoch's end."""
        parts = self.settings.accumulation_steps
        start = (self.step - self.epoch * self.epoch_steps) * parts
        size, ours = self.settings.batch_size // parts, self.ours
        for one in batches(self.train, size, rank=ours.rank, world=ours.world, start=start, drop_last=True):
            yield to_device(one, ours.device)

    def _end_epoch(self) -> None:
        """Validate, keep the weights if they are the best, and a state to go on from."""
        told = {f"train_{name}": one for name, one in self.whole.means().items()} if self.whole.number else {}
        self.epoch += 1
        found = self._validate()
        record = {"epoch": float(self.epoch), "step": float(self.step), "seconds": self._seconds(), **told}
        record |= {f"validation_{name}": one for name, one in found.items()}
        self.history.append(record)
        self.recent, self.whole = RunningMean(), RunningMean()
        if found["loss"] < self.best:
            self.best, self.best_epoch = found["loss"], self.epoch
        self._decide()
        self._tell(lambda monitor: monitor.on_epoch_end(self.epoch, record))
        # First the state, then the best weights: killed in between, a resume finds in the state that it has them.
        self._save()
        if self.best_epoch == self.epoch:
            path = self._write_best()
            self._tell(lambda monitor: monitor.save_checkpoint(path, best=True))

    def _decide(self) -> None:
        """Whether to go on."""
        patience = self.settings.patience
        if self.epoch >= self.settings.epochs:
            self.stopped = "finished"
        elif self._out_of_time():
            self.stopped = "minutes"
        elif patience is not None and self.epoch - self.best_epoch >= patience:
            self.stopped = "patience"

    def _validate(self) -> dict[str, float]:
        """Measure the weights that would be saved."""
        self.objective.network.eval()
        with self.stepper.averaged():
            found = validate(
                self.objective,
                self.validation,
                self.samples,
                batch_size=self.settings.batch_size,
                ours=self.ours,
                dtype=self.stepper.dtype,
            )
        if not math.isfinite(found["loss"]):
            raise ParameterError(
                f"The validation loss is {found['loss']} after epoch {self.epoch}; begin anew with a smaller "
                f"learning_rate. {self._kept()}"
            )
        return found

    # Time

    def _done(self) -> float:
        """Share of the training that is done, by steps or by time, whichever is more."""
        by_steps = self.step / max(self.steps - 1, 1)
        minutes = self.settings.minutes
        by_time = 0.0 if minutes is None else self._agreed_seconds() / (60 * minutes)
        return min(1.0, max(by_steps, by_time))

    def _out_of_time(self) -> bool:
        minutes = self.settings.minutes
        return minutes is not None and self._clock >= 60 * minutes

    def _agreed_seconds(self) -> float:
        """Seconds of training, the same in every process."""
        if self.ours.world == 1:
            self._clock = self._seconds()
        elif self.step % _CLOCK_STEPS == 0:
            told = torch.tensor(self._seconds(), device=self.ours.device)
            self._clock = float(self.ours.from_first(told))
        return self._clock

    def _seconds(self) -> float:
        return self._earlier + time.monotonic() - self._began

    # States

    def _due(self) -> bool:
        late = time.monotonic() - self._saved >= 60 * self.settings.checkpoint_minutes
        return self.ours.first and late

    def _save(self) -> None:
        """Write a state, in the first process."""
        self.stepper.check(self._kept())
        if self.ours.first:
            path = self.state.save(self.stepper.state(), self._progress())
            self._tell(lambda monitor: monitor.save_checkpoint(path, best=False))
        self._saved = time.monotonic()

    def _write_best(self) -> Path:
        """Write the weights that were validated, in the first process."""
        path = self.folder / BEST
        if self.ours.first:
            with self.stepper.averaged():
                self.objective.network.save_pretrained(path)
        return path

    def _take_best(self) -> None:
        """Give the network the best weights."""
        path = self.folder / BEST / "model.safetensors"
        try:
            self.objective.network.load_state_dict(load_file(path))
        except (SafetensorError, OSError, RuntimeError) as error:
            raise CheckpointError(f"{path} cannot be read; begin anew without resuming.") from error
        self.objective.network.eval()

    def _discard(self) -> None:
        if self.ours.first:
            self.state.discard()
        self.ours.wait()

    def _restore(self) -> bool:
        """Go on with what the folder holds; whether the training has ended already."""
        found = self.state.load(self.identity)
        self.ours.wait()  # nobody writes before all have read
        if found is None:
            return False
        sections, progress = found
        self.step, self.epoch, self.stopped = progress.step, progress.epoch, progress.stopped
        self.best = math.inf if progress.best is None else progress.best
        self.best_epoch, self.history, self._earlier = progress.best_epoch, list(progress.history), progress.seconds
        self._clock = progress.seconds  # until processes agree on it again
        self.recent, self.whole = (
            RunningMean(progress.pending.get("recent")),
            RunningMean(progress.pending.get("whole")),
        )
        if not sections:
            return True
        self.stepper.restore(sections)
        if self.epoch == self.best_epoch and self.history[-1]["step"] == self.step:
            self._write_best()
        return False

    def _progress(self) -> TrainState:
        return TrainState(
            identity=self.identity,
            step=self.step,
            epoch=self.epoch,
            best=self.best if math.isfinite(self.best) else None,
            best_epoch=self.best_epoch,
            seconds=self._seconds(),
            history=tuple(self.history),
            pending={"recent": self.recent.state(), "whole": self.whole.state()},
            stopped=self.stopped,
        )

    def _kept(self) -> str:
        return f"The last state that was kept is in {self.state.folder}."

    def _fitted(self) -> TrainResult:
        stopped = self.stopped or "finished"
        history = tuple(self.history)
        return TrainResult(self.folder / BEST, self.epoch, self.step, self.best_epoch, self.best, history, stopped)

    # Telling

    def _tell(self, what: Callable[[TrainingCallback], None]) -> None:
        for monitor in self.monitors:
            what(monitor)

    def _report(self) -> None:
        """Tell the monitors of the steps since the last time."""
        self.stepper.check(self._kept())
        now = time.monotonic()
        speed = self.recent.number * self.settings.batch_size / max(now - self._told, 1e-9)
        told = {**self.recent.means(), "learning_rate": self.stepper.rate, "samples_per_second": speed}
        self.recent, self._told = RunningMean(), now
        self._tell(lambda monitor: monitor.on_step(self.step, told))

    def _plan(self) -> dict[str, Any]:
        """What monitors are told at the start."""
        network = self.objective.network
        return {
            "stage": network.kind,
            "epochs": self.settings.epochs,
            "steps_per_epoch": self.epoch_steps,
            "steps": self.steps,
            "step": self.step,
            "batch_size": self.settings.batch_size,
            "best": self.best if math.isfinite(self.best) else None,
            "parameters": sum(one.numel() for one in network.parameters()),
            "trained_parameters": sum(one.numel() for one in self.stepper.parameters.values()),
            "available_windows": self.train.available,
            "validation_samples": len(self.samples),
            "device": str(self.ours.device),
            "processes": self.ours.world,
            "precision": str(self.stepper.dtype).removeprefix("torch."),
            "settings": self.settings.model_dump(mode="json"),
            "objective": self.objective.describe(),
        }

    def _check_causality(self) -> None:
        if isinstance(self.objective, ModelObjective):
            self.objective.network.eval()
            check_causality(self.objective, first_samples(self.validation, self.samples, _CHECKED, self.ours.device))

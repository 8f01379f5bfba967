"""Checkpoints to resume an interrupted training run from.

A checkpoint is one safetensors file with all tensors that change (weights, optimizer state, averaged weights) and a
`TrainState` in its metadata; nothing is pickled. Two files are written in turn, and ``latest.json`` is replaced once
one of them is complete, so there is always a complete one. Every state has a checksum: what was changed or damaged on
the disk is refused. Neither random numbers nor the data need state: both are functions of the step
(`kronos.training.runtime`).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kronos.atomic import atomic_path, write_text
from kronos.datasets.batching import collate
from kronos.datasets.windows import WindowDataset
from kronos.errors import CheckpointError, ParameterError, StorageError
from kronos.provenance import now_utc
from kronos.training.config import TrainingArguments
from kronos.training.run_folder import DIGEST_CHARACTERS, weights_digest

if TYPE_CHECKING:
    from kronos.training.objectives import Objective

_SLOTS = ("a", "b")
_LATEST = "latest.json"
_FORMAT = 2
RESTART = "start again with --restart (in Python resume=False)"

log = logging.getLogger("kronos.training")

Sections = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class TrainState:
    """Progress of a training.

    Attributes:
        identity: Fingerprint of the run (`run_fingerprint`); only a run with the same one can resume.
        step: Steps done.
        epoch: Epochs trained and validated; −1 before the initial weights were validated.
        best: Lowest validation loss so far.
        best_epoch: Epoch with the lowest validation loss; 0 for the initial weights.
        best_digest: Hash of the weights with the lowest validation loss, see `weights_digest`.
        seconds: Training time.
        history: Figures of every validated epoch, as the callbacks receive them.
        pending: Running sums of the figures since the last report and since the start of the epoch, by kind and name.
        stopped: Why the training ended; None while it is unfinished.
    """

    identity: Mapping[str, Any]
    step: int = 0
    epoch: int = -1
    best: float | None = None
    best_epoch: int = 0
    best_digest: str | None = None
    seconds: float = 0.0
    history: tuple[Mapping[str, float], ...] = ()
    pending: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stopped: str | None = None


class Checkpointer:
    """Saves and loads the checkpoints of one training.

    Args:
        folder: Folder of the checkpoints, created with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, sections: Sections, state: TrainState) -> Path:
        """Write a checkpoint over the older of the two.

        Returns:
            The file.

        Raises:
            StorageError: If the file system refuses; the previous checkpoint remains.
        """
        slot = _SLOTS[0] if self._latest().get("slot") != _SLOTS[0] else _SLOTS[1]
        path = self._path(slot)
        tensors = {
            f"{section}/{name}": value.detach().cpu().contiguous()
            for section, values in sections.items()
            for name, value in values.items()
        }
        document = asdict(state)
        progress = json.dumps(document)
        with atomic_path(path) as temporary:
            try:
                save_file(tensors, temporary, metadata={"progress": progress, "sha256": _checksum(progress, tensors)})
            except SafetensorError as error:  # contains the reason of the operating system
                raise StorageError(
                    f"Cannot write {path}: {error}. Free some disk space or choose another folder."
                ) from error
        self._write_latest(slot, document)
        return path

    def finish(self, state: TrainState) -> None:
        """Record that the training has ended, and remove the checkpoints."""
        self._write_latest(None, asdict(state))
        for slot in _SLOTS:
            self._path(slot).unlink(missing_ok=True)

    def load(self, identity: Mapping[str, Any]) -> tuple[dict[str, dict[str, Tensor]], TrainState] | None:
        """Load the latest complete checkpoint.

        Args:
            identity: Fingerprint of the run that resumes.

        Returns:
            Tensors by section and the state; no tensors if the training has ended, None if it never started.

        Raises:
            ParameterError: If the checkpoints belong to another run.
            CheckpointError: If none of the checkpoints can be read, or all were changed since they were written.
        """
        latest = self._latest()
        if not latest:
            return None
        if latest.get("format") != _FORMAT:
            raise CheckpointError(f"{self.folder} was written by another version of kronos: {RESTART}.")
        state = _to_state(latest.get("progress"))
        if state is None or latest.get("sha256") != _checksum(json.dumps(latest.get("progress")), {}):
            raise CheckpointError(f"{self.folder / _LATEST} was changed or damaged since it was written: {RESTART}.")
        if latest.get("slot") is None:
            self._validate_identity(state, identity)
            return {}, state
        newest = latest.get("slot")
        for slot in sorted(_SLOTS, key=lambda slot: slot != newest):
            checkpoint = _read_checkpoint(self._path(slot))
            if checkpoint is not None:
                self._validate_identity(checkpoint[1], identity)
                return checkpoint
            if slot == newest:
                log.warning("%s is damaged: resuming from the checkpoint before it.", self._path(slot))
        raise CheckpointError(
            f"The checkpoints in {self.folder} were changed or damaged since they were written: {RESTART}."
        )

    def discard(self) -> None:
        """Remove all checkpoints."""
        for name in (_LATEST, *(self._path(slot).name for slot in _SLOTS)):
            (self.folder / name).unlink(missing_ok=True)

    def _path(self, slot: str) -> Path:
        return self.folder / f"{slot}.safetensors"

    def _write_latest(self, slot: str | None, state: Mapping[str, Any]) -> None:
        progress = json.dumps(state)
        document = {
            **{"format": _FORMAT, "slot": slot, "written": now_utc()},
            **{"sha256": _checksum(progress, {}), "progress": state},
        }
        write_text(self.folder / _LATEST, json.dumps(document, indent=2) + "\n")

    def _latest(self) -> Mapping[str, Any]:
        try:
            latest = json.loads((self.folder / _LATEST).read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise CheckpointError(f"Cannot read {self.folder / _LATEST}: {RESTART}.") from error
        return latest if isinstance(latest, dict) else {}

    def _validate_identity(self, state: TrainState, identity: Mapping[str, Any]) -> None:
        difference = _difference(state.identity, json.loads(json.dumps(identity)))
        if difference:
            raise ParameterError(
                f"{self.folder} holds a training run with {difference}: choose another folder, or restart the run."
            )


def _read_checkpoint(path: Path) -> tuple[dict[str, dict[str, Tensor]], TrainState] | None:
    """Tensors and state from a file; None if it is missing, or is not what was written."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        progress = metadata.get("progress", "null")
        state = _to_state(json.loads(progress))
    except (SafetensorError, OSError, ValueError):
        return None
    if state is None or metadata.get("sha256") != _checksum(progress, tensors):
        return None
    sections: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        section, _, name = key.partition("/")
        sections.setdefault(section, {})[name] = value
    return sections, state


def _checksum(progress: str, tensors: Mapping[str, Tensor]) -> str:
    """Hash a state: its progress as text, and names, types, shapes and bytes of its tensors."""
    digest = hashlib.sha256(progress.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _to_state(document: Any) -> TrainState | None:
    if not isinstance(document, dict) or document.keys() != {item.name for item in fields(TrainState)}:
        return None
    return TrainState(**{**document, "history": tuple(document["history"])})


def _difference(stored: Mapping[str, Any], current: Mapping[str, Any], prefix: str = "") -> str | None:
    """Describe the first difference between two fingerprints."""
    for name in dict.fromkeys((*current, *stored)):
        before, now = stored.get(name), current.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            nested = _difference(before, now, f"{prefix}{name}.")
            if nested:
                return nested
        elif before != now:
            return f"a different {prefix}{name} ({str(before)[:40]}, now {str(now)[:40]})"
    return None


def run_fingerprint(
    objective: Objective, train: WindowDataset, validation: WindowDataset, settings: TrainingArguments
) -> dict[str, Any]:
    """Collect everything that determines the final weights, ready for JSON.

    Args:
        objective: Objective with the network before its first step.
        train: Training samples.
        validation: Validation samples, which select the best weights.
        settings: Training settings.
    """
    network = objective.network
    return {
        "settings": settings.identity(),
        "objective": objective.describe(),
        "network": {"kind": network.kind, "start": weights_digest(network)},
        "data": {
            "steps_per_epoch": settings.steps(train.available),
            # The digests below cover a few samples only, so the settings of the windows are listed as well.
            "windows": asdict(train.settings),
            "validation_windows": asdict(validation.settings),
            "training": data_digest(train),
            "validation": data_digest(validation),
        },
    }


def data_digest(dataset: WindowDataset) -> str:
    """Hash the candles, the number of samples, their seed and a few of the samples."""
    count = len(dataset)
    dataset.set_epoch(0)
    batch = collate([dataset[index] for index in sorted({0, count // 3, 2 * count // 3, count - 1})])
    digest = hashlib.sha256(f"{dataset.data.digest} {count} {dataset.available} {dataset.seed}".encode())
    for tensor in (batch.x, batch.stamp, batch.known, batch.step):
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()[:DIGEST_CHARACTERS]

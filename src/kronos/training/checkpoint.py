"""What a training needs to go on where it was killed.

A state is everything that trains (weights, the optimiser's memory, averaged weights) and a `Progress`, in one
safetensors file: nothing is pickled. Two files are written in turn, and ``latest.json`` is replaced once one is whole,
so that whatever happens while one is written, the other is there. Random numbers need no state (`drawing`), nor does
the data: both are functions of the step.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kronos.atomic import atomic_path, write_text
from kronos.datasets.batching import collate
from kronos.datasets.windows import WindowDataset
from kronos.errors import CheckpointError, ParameterError, StorageError
from kronos.provenance import now_utc
from kronos.training.config import TrainingArguments
from kronos.training.run_folder import _SHOWN, weights_digest

if TYPE_CHECKING:
    from kronos.training.objectives import Objective

_SLOTS = ("a", "b")
_LATEST = "latest.json"
_FORMAT = 1

Sections = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class TrainState:
    """How far a training has come.

    Attributes:
        identity: What the run is; it goes on with nothing else.
        step: Steps done.
        epoch: Epochs done, whole and validated; −1 before the weights that training starts from were.
        best: The least validation loss so far.
        best_epoch: Whose it is; 0 for the start's.
        seconds: Time spent training.
        history: A record for each validated epoch, as monitors are told them.
        pending: Sums since the monitors were told last, and since the epoch began, by kind and name.
        stopped: Why the training has ended; None while it goes on.
    """

    identity: Mapping[str, Any]
    step: int = 0
    epoch: int = -1
    best: float | None = None
    best_epoch: int = 0
    seconds: float = 0.0
    history: tuple[Mapping[str, float], ...] = ()
    pending: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stopped: str | None = None


class Checkpointer:
    """The states of one training in a folder.

    Args:
        folder: Of nothing else; made when the first state is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, sections: Sections, progress: TrainState) -> Path:
        """Write a state, over the older one of the two.

        Returns:
            Its file.

        Raises:
            StorageError: If the file system refuses; the state before stays.
        """
        slot = _SLOTS[0] if self._latest().get("slot") != _SLOTS[0] else _SLOTS[1]
        path = self._path(slot)
        flat = {
            f"{section}/{name}": value.detach().cpu().contiguous()
            for section, tensors in sections.items()
            for name, value in tensors.items()
        }
        told = asdict(progress)
        with atomic_path(path) as temporary:
            try:
                save_file(flat, temporary, metadata={"progress": json.dumps(told)})
            except SafetensorError as error:  # what the system refused, in its own words
                raise StorageError(f"Cannot write {path}: {error}; free some space or take another folder.") from error
        self._point(slot, told)
        return path

    def finish(self, progress: TrainState) -> None:
        """Note that the training has ended, and remove what a resume would have needed."""
        self._point(None, asdict(progress))
        for slot in _SLOTS:
            self._path(slot).unlink(missing_ok=True)

    def load(self, identity: Mapping[str, Any]) -> tuple[dict[str, dict[str, Tensor]], TrainState] | None:
        """The latest state that is whole, and None where no training has begun; one that has ended has no tensors.

        Args:
            identity: Of the training that wants to go on.

        Raises:
            ParameterError: If the states are another training's.
            CheckpointError: If there are some, and none of them can be read.
        """
        latest = self._latest()
        if not latest:
            return None
        found = _progress(latest.get("progress"))
        if found is not None and latest.get("slot") is None:
            self._check(found, identity)
            return {}, found
        first = latest.get("slot")
        for slot in sorted(_SLOTS, key=lambda one: one != first):
            state = _read(self._path(slot))
            if state is not None:
                self._check(state[1], identity)
                return state
        raise CheckpointError(f"{self.folder} has no state that can be read; begin anew without resuming.")

    def discard(self) -> None:
        """Remove every state."""
        for name in (_LATEST, *(self._path(slot).name for slot in _SLOTS)):
            (self.folder / name).unlink(missing_ok=True)

    def _path(self, slot: str) -> Path:
        return self.folder / f"{slot}.safetensors"

    def _point(self, slot: str | None, progress: Mapping[str, Any]) -> None:
        told = {"format": _FORMAT, "slot": slot, "written": now_utc(), "progress": progress}
        write_text(self.folder / _LATEST, json.dumps(told, indent=2) + "\n")

    def _latest(self) -> Mapping[str, Any]:
        try:
            found = json.loads((self.folder / _LATEST).read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.folder / _LATEST} cannot be read; begin anew without resuming.") from error
        return found if isinstance(found, dict) else {}

    def _check(self, found: TrainState, identity: Mapping[str, Any]) -> None:
        difference = _difference(found.identity, json.loads(json.dumps(identity)))
        if difference:
            raise ParameterError(
                f"{self.folder} holds a training with {difference}; take another folder, or begin anew without "
                "resuming."
            )


def _read(path: Path) -> tuple[dict[str, dict[str, Tensor]], TrainState] | None:
    """A state from its file; None where that is missing or damaged."""
    sections: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            progress = _progress(json.loads((file.metadata() or {}).get("progress", "null")))
            for key in file.keys():  # noqa: SIM118 (no mapping)
                section, _, name = key.partition("/")
                sections.setdefault(section, {})[name] = file.get_tensor(key)
    except (SafetensorError, OSError, ValueError):
        return None
    return None if progress is None else (sections, progress)


def _progress(told: Any) -> TrainState | None:
    if not isinstance(told, dict) or told.keys() != {one.name for one in fields(TrainState)}:
        return None
    return TrainState(**{**told, "history": tuple(told["history"])})


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any], under: str = "") -> str | None:
    """The first thing in which two identities differ, in words."""
    for name in dict.fromkeys((*wanted, *found)):
        before, now = found.get(name), wanted.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            inner = _difference(before, now, f"{under}{name}.")
            if inner:
                return inner
        elif before != now:
            return f"another {under}{name} ({_short(before)}, not {_short(now)})"
    return None


def _short(value: Any) -> str:
    return str(value)[:40]


def run_fingerprint(
    objective: Objective, train: WindowDataset, validation: WindowDataset, settings: TrainingArguments
) -> dict[str, Any]:
    """What decides on the weights that a training ends with, fit for JSON.

    Args:
        objective: With the network before its first step.
        train: What it is trained on.
        validation: What its weights are selected on.
        settings: How it is trained.
    """
    network = objective.network
    return {
        "settings": settings.binding(),
        "objective": objective.describe(),
        "network": {"kind": network.kind, "start": weights_digest(network)},
        "data": {
            "steps_per_epoch": settings.steps(train.available),
            # A few samples do not tell how others are drawn and varied.
            "windows": asdict(train.settings),
            "validation_windows": asdict(validation.settings),
            "training": data_digest(train),
            "validation": data_digest(validation),
        },
    }


def data_digest(dataset: WindowDataset) -> str:
    """A hash of the candles, of how many samples are drawn of them and by which seed, and of a few of these samples."""
    number = len(dataset)
    dataset.set_epoch(0)
    batch = collate([dataset[index] for index in sorted({0, number // 3, 2 * number // 3, number - 1})])
    digest = hashlib.sha256(f"{dataset.data.digest} {number} {dataset.available} {dataset.seed}".encode())
    for one in (batch.x, batch.stamp, batch.known, batch.step):
        digest.update(one.contiguous().numpy().data)
    return digest.hexdigest()[:_SHOWN]

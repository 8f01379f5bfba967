"""Where a run's files lie, and what a finished stage leaves on record.

outputs/models/mine/
  config.yaml                  what was asked for
  tokenizer/ model/            the best weights, ready for `KronosPredictor.from_pretrained`
  adapter/                     LoRA's factors, kept apart
  training/tokenizer|model/    log.jsonl, what a resume needs, stage.json once it is done
  comparison.json report.html report.json
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from kronos.atomic import write_text
from kronos.datasets.config import StageName
from kronos.errors import DataError, StorageError
from kronos.zoo.checkpoint import CONFIG as SHAPE
from kronos.zoo.checkpoint import WEIGHTS

if TYPE_CHECKING:
    pass

CONFIG = "config.yaml"
ADAPTER = "adapter"
LOG = "log.jsonl"
COMPARISON = "comparison.json"
_RECORD = "stage.json"


@dataclass(frozen=True)
class StageRecord:
    """What a stage came to.

    Attributes:
        stage: ``tokenizer`` or ``model``.
        epochs: That were trained.
        steps: That were made.
        best_epoch: The one whose weights were kept.
        best: Its validation loss.
        stopped: Why it ended: ``finished``, ``patience`` …
        seconds: That it took, all its starts together.
        started_from: Name or folder of the weights it started from; None for new ones.
        data: What it was trained on.
        binding: The settings that decided on the weights.
    """

    stage: StageName
    epochs: int
    steps: int
    best_epoch: int
    best: float
    stopped: str
    seconds: float
    started_from: str | None
    data: Mapping[str, Any]
    binding: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)


def stage_folder(run: Path, stage: StageName) -> Path:
    """Where a stage logs, and keeps what a resume needs."""
    return run / "training" / stage


def result_folder(run: Path, stage: StageName) -> Path:
    """Where a stage's best weights go."""
    return run / stage


def is_done(run: Path, stage: StageName) -> bool:
    """Whether a stage has ended and its weights are there."""
    result = result_folder(run, stage)
    return all(path.is_file() for path in (stage_folder(run, stage) / _RECORD, result / SHAPE, result / WEIGHTS))


def write_record(run: Path, record: StageRecord) -> None:
    """Say that a stage is done.

    Raises:
        StorageError: If the file system refuses.
    """
    text = json.dumps(record.to_dict(), indent=2, ensure_ascii=False, default=str)
    write_text(stage_folder(run, record.stage) / _RECORD, text + "\n")


def read_record(run: Path, stage: StageName) -> StageRecord | None:
    """What a finished stage left; None if it isn't done.

    Raises:
        DataError: If the record is damaged.
    """
    if not is_done(run, stage):
        return None
    path = stage_folder(run, stage) / _RECORD
    try:
        return StageRecord(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} is no record of a stage; train it again with --restart.") from error


def forget(run: Path, stage: StageName) -> None:
    """Remove what a stage has left: its logs, its resume states, its weights, and how these compared.

    Raises:
        StorageError: If the file system refuses.
    """
    forget_comparison(run)
    places = [stage_folder(run, stage), result_folder(run, stage), *([run / ADAPTER] if stage == "model" else [])]
    for place in places:
        try:
            if place.is_dir():
                shutil.rmtree(place)
        except OSError as error:
            raise _not_removed(place, error) from error


def forget_comparison(run: Path) -> None:
    """Remove a comparison of weights that are no longer there.

    Raises:
        StorageError: If the file system refuses.
    """
    try:
        (run / COMPARISON).unlink(missing_ok=True)
    except OSError as error:
        raise _not_removed(run / COMPARISON, error) from error


def _not_removed(place: Path, error: OSError) -> StorageError:
    reason = (error.strerror or type(error).__name__).lower()
    return StorageError(f"{place} cannot be removed ({reason}); check its rights.")


def weights_digest(network: nn.Module) -> str:
    """A hash of all parameters: names, shapes and float32 values."""
    digest = hashlib.sha256()
    for name, parameter in network.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)}\n".encode())
        digest.update(parameter.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:_SHOWN]


_SHOWN = 16  # hexadecimal digits of a hash

"""Layout of a run's folder, and the record of a finished stage.

outputs/models/mine/
  config.yaml                  the configuration
  tokenizer/ model/            the best weights, ready for `KronosPredictor.from_pretrained`
  adapter/                     the LoRA factors on their own
  training/tokenizer|model/    log.jsonl, resume checkpoints, and stage.json of a finished stage
  comparison.json report.html report.json
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from kronos.atomic import write_text
from kronos.datasets.config import StageName
from kronos.errors import DataError, StorageError
from kronos.zoo.checkpoint import CONFIG as NETWORK_CONFIG
from kronos.zoo.checkpoint import WEIGHTS

CONFIG = "config.yaml"
ADAPTER = "adapter"
LOG = "log.jsonl"
COMPARISON = "comparison.json"
DIGEST_CHARACTERS = 16  # hexadecimal, of a stored hash
_RECORD = "stage.json"


@dataclass(frozen=True)
class StageRecord:
    """Record of a finished stage.

    Attributes:
        stage: ``tokenizer`` or ``model``.
        epochs: Epochs trained.
        steps: Steps trained.
        best_epoch: Epoch of the saved weights; 0 for the initial weights.
        best: Validation loss of the saved weights.
        stopped: Why the training ended: ``finished``, ``patience`` or ``minutes``.
        seconds: Training time of all starts together.
        started_from: Name or folder of the initial weights; None for new ones.
        data: Description of the training data.
        binding: Settings that determine the weights (`TrainConfig.identity`).
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
        """All fields, ready for JSON."""
        return asdict(self)


def stage_folder(run: Path, stage: StageName) -> Path:
    """Folder of a stage's log and resume checkpoints."""
    return run / "training" / stage


def result_folder(run: Path, stage: StageName) -> Path:
    """Folder of a stage's best weights."""
    return run / stage


def is_done(run: Path, stage: StageName) -> bool:
    """Whether a stage is finished and its weights exist."""
    result = result_folder(run, stage)
    files = (stage_folder(run, stage) / _RECORD, result / NETWORK_CONFIG, result / WEIGHTS)
    return all(path.is_file() for path in files)


def save_record(run: Path, record: StageRecord) -> None:
    """Record that a stage is finished.

    Raises:
        StorageError: If the file system refuses.
    """
    text = json.dumps(record.to_dict(), indent=2, ensure_ascii=False, default=str)
    write_text(stage_folder(run, record.stage) / _RECORD, text + "\n")


def load_record(run: Path, stage: StageName) -> StageRecord | None:
    """Load the record of a stage; None if the stage is not finished.

    Raises:
        DataError: If the record is damaged.
    """
    if not is_done(run, stage):
        return None
    path = stage_folder(run, stage) / _RECORD
    try:
        return StageRecord(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} is not a valid stage record: train the stage again with --restart.") from error


def delete_stage(run: Path, stage: StageName) -> None:
    """Delete a stage's log, checkpoints and weights, and the comparison of those weights.

    Raises:
        StorageError: If the file system refuses.
    """
    delete_comparison(run)
    folders = [stage_folder(run, stage), result_folder(run, stage), *([run / ADAPTER] if stage == "model" else [])]
    for folder in folders:
        try:
            if folder.is_dir():
                shutil.rmtree(folder)
        except OSError as error:
            raise _cannot_delete(folder, error) from error


def delete_comparison(run: Path) -> None:
    """Delete the comparison of weights that no longer exist.

    Raises:
        StorageError: If the file system refuses.
    """
    try:
        (run / COMPARISON).unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_delete(run / COMPARISON, error) from error


def _cannot_delete(path: Path, error: OSError) -> StorageError:
    reason = (error.strerror or type(error).__name__).lower()
    return StorageError(f"Cannot delete {path}: {reason}. Check its permissions.")


def weights_digest(network: nn.Module) -> str:
    """Hash all parameters: names, shapes and float32 values."""
    digest = hashlib.sha256()
    for name, parameter in network.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)}\n".encode())
        digest.update(parameter.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:DIGEST_CHARACTERS]

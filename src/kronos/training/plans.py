"""What a training will do: its stages, samples, steps, room on the disk, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kronos.datasets.recipes import StageName
from kronos.errors import ParameterError
from kronos.training.config import TrainConfig
from kronos.training.settings import StageSettings
from kronos.zoo import Config, Located, Normalisation, count_parameters

PartName = Literal["train", "val", "test"]
PARTS: tuple[PartName, ...] = ("train", "val", "test")
MARGIN = 20 * 2**20  # bytes of logs, curves, the report
_FLOAT = 4  # bytes of a weight


@dataclass(frozen=True)
class StagePlan:
    """One network's training.

    Attributes:
        stage: Which network.
        settings: How it is trained.
        start: The weights it starts from; None for new ones.
        shape: Its architecture.
        trained: Numbers of it that change.
        steps_per_epoch: Steps of a pass.
        done: Whether an earlier run has finished it.
    """

    stage: StageName
    settings: StageSettings
    start: Located | None
    shape: Config
    trained: int
    steps_per_epoch: int
    done: bool

    @property
    def parameters(self) -> int:
        """Numbers of the network."""
        return count_parameters(self.shape, self.stage)

    @property
    def steps(self) -> int:
        """Steps at most."""
        return self.steps_per_epoch * self.settings.epochs

    @property
    def disk(self) -> int:
        """Bytes that it needs: two states to resume from (weights, two moments, averages), the best weights, a copy."""
        averages = self.trained if self.settings.ema is not None else 0
        return _FLOAT * (2 * (self.parameters + 2 * self.trained + averages) + 2 * self.parameters)


@dataclass(frozen=True)
class RunPlan:
    """One configuration's training.

    Attributes:
        config: What was asked for.
        folder: Where everything goes.
        stages: What is to be trained, in this order; of one that something is wrong with those that could be planned.
        windows: Samples that each part has to offer; empty if the candles cannot be used.
        normalisation: How candles are normalised.
        context: The longest window that the model will be used with.
        tokenizer: What the model is trained with: a name or a folder, perhaps one that is yet to be trained.
        needs: Networks of other runs that have to be trained before.
        problems: What is wrong, each one sentence.
    """

    config: TrainConfig
    folder: Path
    stages: tuple[StagePlan, ...]
    windows: Mapping[str, int]
    normalisation: Normalisation
    context: int
    tokenizer: str | None
    needs: tuple[Path, ...]
    problems: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.config.model_name

    @property
    def disk(self) -> int:
        """Bytes that all stages need."""
        return MARGIN + sum(one.disk for one in self.stages)

    def check(self) -> None:
        """Refuse what cannot end well.

        Raises:
            ParameterError: The first thing that is wrong, and how many more there are.
        """
        if self.problems:
            more = len(self.problems) - 1
            also = f" ({more} more with --dry-run)" if more else ""
            raise ParameterError(f"{self.name}: {self.problems[0].rstrip('.')}{also}.")

    def to_dict(self) -> dict[str, Any]:
        """The plan, ready for JSON."""
        return {
            "model_name": self.name,
            "description": self.config.description,
            "folder": str(self.folder),
            "data": self.config.data,
            "windows": {
                "lookback": self.config.windows.lookback,
                "predict": self.config.windows.predict,
                **{f"{part}_available": self.windows.get(part) for part in PARTS},
            },
            "normalisation": self.normalisation,
            "context": self.context,
            "tokenizer": self.tokenizer,
            "needs": [str(one) for one in self.needs],
            "stages": [
                {
                    "stage": one.stage,
                    "start": one.start.ref if one.start is not None else None,
                    "parameters": one.parameters,
                    "trained": one.trained,
                    "epochs": one.settings.epochs,
                    "steps_per_epoch": one.steps_per_epoch,
                    "steps": one.steps,
                    "done": one.done,
                    "disk_bytes": one.disk,
                    "settings": one.settings.model_dump(mode="json"),
                }
                for one in self.stages
            ],
            "disk_bytes": self.disk,
            "problems": list(self.problems),
        }

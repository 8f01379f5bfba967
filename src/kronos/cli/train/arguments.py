"""What ``kronos train`` is asked: a configuration, with what options say over it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.errors import ParameterError

if TYPE_CHECKING:
    from kronos.datasets.config import StageName
    from kronos.training.config import TrainConfig

USUAL = "finetune_csv"  # what a file of candles is trained by where nobody names a configuration


@dataclass(frozen=True)
class Weights:
    """What to start from.

    Attributes:
        start: Name or folder; None for the configuration's.
        tokenizer: Another tokenizer than the one that belongs to it.
        scratch: Whether only the shapes are taken.
        lora: Rank of the adapters; None for none, or the configuration's.
    """

    start: str | None = None
    tokenizer: str | None = None
    scratch: bool = False
    lora: int | None = None

    def changes(self, stage: StageName, config: TrainConfig) -> dict[str, Any]:
        """The same as keys of a configuration.

        Raises:
            ParameterError: If options contradict each other.
        """
        told: dict[str, Any] = {} if self.lora is None else {"lora": {"rank": self.lora}}
        shape = self.start or getattr(config.starts, stage)
        if self.scratch:
            if self.lora is not None:
                raise ParameterError("--lora adapts weights that are there, and --from-scratch starts from none.")
            if shape is None:
                return told  # the configuration starts from nothing itself
            partner = self.tokenizer or config.starts.tokenizer if stage == "model" else None
            fresh = {"tokenizer": partner or (_partner(shape) if stage == "model" else None), "model": None}
            return told | {"architecture": {stage: shape}, "start": fresh, "stages": [stage]}
        if self.start is not None:
            return told | {"architecture": None, "start": {"tokenizer": self.tokenizer, "model": self.start}}
        return told | ({} if self.tokenizer is None else {"start": {"tokenizer": self.tokenizer}})


@dataclass(frozen=True)
class Data:
    """What to train on; None for the configuration's.

    Attributes:
        data: A file, folder, prepared dataset or Qlib folder.
        splits: Dates by market.
        lookback: Candles of history in a sample.
        predict: Candles to predict in it.
    """

    data: str | None = None
    splits: Path | None = None
    lookback: int | None = None
    predict: int | None = None

    def changes(self) -> dict[str, Any]:
        """The same as keys of a configuration."""
        windows = _told(lookback=self.lookback, predict=self.predict)
        if self.lookback is not None:
            windows["shortest"] = None
        return _told(data=self.data, windows=windows or None, split=_told(file=self.splits) or None)


@dataclass(frozen=True)
class Effort:
    """How long and how to train; None for the configuration's."""

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    patience: int | None = None
    seed: int | None = None
    precision: str | None = None
    device: str | None = None

    def changes(self) -> dict[str, Any]:
        """The same as keys of a stage's settings."""
        own = {name: value for name, value in vars(self).items() if name != "steps"}
        return _told(steps_per_epoch=self.steps, **own)


@dataclass(frozen=True)
class Place:
    """What the model is called and where it goes; None for the configuration's."""

    name: str | None = None
    output: Path | None = None


@dataclass(frozen=True)
class TrainArgs:
    """All of it."""

    config: str | None
    weights: Weights
    data: Data
    effort: Effort
    place: Place


def resolve(stage: StageName, asked: TrainArgs) -> TrainConfig:
    """The configuration, with what the options say.

    Args:
        stage: The network that is trained.
        asked: The options.

    Raises:
        ParameterError: If there is nothing to train on, or something in it is wrong.
    """
    from kronos.training.config import load_config

    if asked.config is None and asked.data.data is None:
        raise ParameterError("Train on what? Give --data with a file of candles, or --config with a configuration.")
    config = load_config(asked.config or USUAL)
    effort = asked.effort.changes()
    if asked.effort.device is None:
        effort |= device_of(None)
    changes: dict[str, Any] = {
        **_told(output=asked.place.output, model_name=asked.place.name),
        **asked.data.changes(),
        **({"training": {stage: effort}} if effort else {}),
    }
    if asked.config is None:
        assert asked.data.data is not None  # refused above
        changes |= {"stages": [stage], "description": ""}
        changes.setdefault("model_name", _name_of(asked.data.data))
        if asked.weights.scratch:
            config = config.model_copy(update={"training": type(config.training)()})
    return config.changed(changes | asked.weights.changes(stage, config))


def _partner(ref: str) -> str:
    """The tokenizer that belongs to a model.

    Raises:
        CheckpointError: If there is no such model.
    """
    from kronos.zoo import find, read_pairing, resolve_checkpoint

    entry = find(ref)
    if entry is not None and entry.tokenizer is not None:
        return entry.tokenizer
    return read_pairing(resolve_checkpoint(ref, kind="model")).tokenizer or ref


def device_of(told: str | None) -> dict[str, Any]:
    """The device as a stage's setting: the one told, else that of the environment; nothing where neither is."""
    from kronos.settings import get_settings

    return _told(device=told or get_settings().device)


def everywhere(output: Path | None, device: str | None) -> dict[str, Any]:
    """What is told of all configurations at once, as keys of each.

    Args:
        output: Where models go.
        device: Where they are trained.
    """
    where = device_of(device)
    return _told(output=output, training={"tokenizer": where, "model": where} if where else None)


def _name_of(data: str) -> str:
    """What a model is called after its candles: the file's or folder's name, as far as it is one of a folder."""
    last = Path(data.split(":")[-1]).name
    stem = last.split(".")[0] if Path(last).suffix else last
    kept = "".join(sign if sign.isalnum() or sign in "_+-." else "_" for sign in stem).lstrip("_+-.")
    return kept[:80] or "model"


def _told(**values: Any) -> dict[str, Any]:
    """Without what nobody told."""
    return {name: value for name, value in values.items() if value is not None}

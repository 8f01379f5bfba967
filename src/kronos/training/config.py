"""What a training is made of: the YAML that users copy and change, checked before anything is read.

- A configuration of a dataset (``target_symbols``) is one of a training too: on the dataset prepared from it.
- Unknown keys are refused with the nearest match, wrong values with the key's full name and the file's.
- What flags say replaces what the file says: `TrainConfig.changed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from kronos.atomic import expand_user, write_text
from kronos.datasets.config import STAGES, DatasetConfig, SharedConfig, Split, StageName, StageTraining, Start
from kronos.datasets.config_errors import format_validation_error
from kronos.datasets.config_loading import configurations, find_file, read_yaml
from kronos.errors import CheckpointError, ParameterError
from kronos.zoo import DEFAULT_MODEL, Config, Kind, find, nearest
from kronos.zoo.checkpoint import check_config

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]

MOST_STEPS = 2000  # of an epoch whose length is not said

# What was published for fine-tuning; the rest is the same for both.
_PUBLISHED: Mapping[StageName, Mapping[str, Any]] = {
    "tokenizer": {"learning_rate": 2e-4, "betas": (0.9, 0.999), "gradient_clip": 2.0},
    "model": {"learning_rate": 4e-5, "betas": (0.9, 0.95), "gradient_clip": 3.0},
}
# Where, when and how often things are written changes no weight: a run may go on with others. The number of
# processes is no setting, and may change too.
_FREE = ("device", "threads", "compile", "checkpoint_minutes", "log_steps")


class TrainingArguments(BaseModel):
    """How one network is trained.

    Attributes:
        batch_size: Samples a step, over all processes and micro-batches.
        accumulation_steps: Micro-batches of a step, whose gradients are added up before the weights change.
        learning_rate: Its peak.
        epochs: Passes at most.
        steps_per_epoch: Steps of a pass; None for as many as there are different windows for, at most 2000.
        validation_batches: Batches of validation at most.
        weight_decay: Of AdamW; of matrices alone, not of biases and norms.
        betas: Of AdamW. With ``onecycle`` the first goes from 0.05 more to 0.05 less and back, against the rate, as in
            the published training.
        gradient_clip: Largest norm of a step's gradient; None for any.
        schedule: ``onecycle``: from a tenth of the peak up in 3 % of the steps and down to nothing, as published.
            ``cosine``: from a tenth linearly up, then a half cosine down. ``constant``: the peak all the time.
        warmup: Share of the steps in which the rate of ``cosine`` rises.
        final: Share of the peak at which ``cosine`` ends.
        precision: ``float32``, ``bfloat16`` (matrix products only: weights and losses stay in float32), or ``auto``:
            bfloat16 where the hardware multiplies it natively and the network is wide enough to gain from it.
        patience: Epochs without a better validation after which to stop; None for never.
        seed: Of the dropout.
        ema: Decay of averaged weights, which are then the ones validated and saved; None for the weights themselves.
        compile: Whether to compile the blocks: minutes at first, faster steps afterwards.
        device: ``cpu``, ``cuda:1``; None for the best there is, and in a group of processes for each its own.
        threads: Of the processor; None leaves them as they are.
        checkpoint_minutes: Minutes between the states that a resume goes on from; an epoch's end has one anyway.
        log_steps: Steps between reports to the monitors.
        minutes: Minutes of training after which to end; the rate follows whichever runs out first, steps or minutes.
            Such a run depends on the machine's speed: it cannot be repeated, nor resumed, bit for bit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    batch_size: Count = 50
    accumulation_steps: Count = 1
    epochs: Count = 30
    steps_per_epoch: Count | None = None
    validation_batches: Count = 400
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.1
    betas: tuple[Share, Share] = (0.9, 0.95)
    gradient_clip: Positive | None = 3.0
    schedule: Literal["onecycle", "cosine", "constant"] = "onecycle"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03
    final: Annotated[float, Field(ge=0, le=1)] = 0.01
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    patience: Count | None = None
    seed: Annotated[int, Field(ge=0)] = 100
    ema: Share | None = None
    compile: bool = False
    device: str | None = None
    threads: Count | None = None
    checkpoint_minutes: Positive = 5.0
    log_steps: Count = 10
    minutes: Positive | None = None

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"a batch_size of {self.batch_size} is no multiple of {self.accumulation_steps} accumulation_steps"
            )
        return self

    @classmethod
    def of(cls, stage: StageName, changes: Mapping[str, Any] | None = None, origin: str = "The settings") -> Self:
        """The published settings of a stage, with changes.

        Args:
            stage: ``tokenizer`` or ``model``.
            changes: Values by name; those left out are as published.
            origin: What to call the changes in messages, a file's name.

        Raises:
            ParameterError: If there is no such setting, or a value is out of its range.
        """
        if stage not in _PUBLISHED:
            raise ParameterError(f"A stage is 'tokenizer' or 'model', not '{stage}'.")
        try:
            return cls.model_validate({**_PUBLISHED[stage], **(changes or {})})
        except ValidationError as error:
            raise ParameterError(format_validation_error(error, origin, cls)) from None

    def steps(self, available: int) -> int:
        """Steps of an epoch.

        Args:
            available: How many different windows there are to train on.
        """
        return self.steps_per_epoch or min(MOST_STEPS, max(1, available // self.batch_size))

    def samples(self, available: int) -> int:
        """Samples of an epoch, which is what a training set has to give; ``available`` as in `steps`."""
        return self.steps(available) * self.batch_size

    def binding(self) -> dict[str, Any]:
        """What decides on the weights, fit for JSON: a run goes on with nothing else."""
        return self.model_dump(mode="json", exclude=set(_FREE))


_DATASET = ("source", "timeframe", "target_symbols", "records_per_timeframe", "dataset_path")
_RATES: Mapping[StageName, str] = {"tokenizer": "tokenizer_learning_rate", "model": "model_learning_rate"}
# Of the objective, and of the loop's end: everything else of the section is a stage's setting.
_OBJECTIVE = ("teacher_forcing", "loss_on")


class TrainSplit(Split):
    """How candles become training, validation and test.

    Attributes:
        file: Dates by market instead of shares: a CSV with market, validation_from and test_from.
    """

    file: Path | None = None


def _data(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("name a file or folder of candles, a prepared dataset, or qlib:FOLDER:INSTRUMENTS")
    return text.strip()


class TrainConfig(SharedConfig):
    """A training.

    Attributes:
        data: A file of candles, a folder of them, a prepared dataset's name or folder, or ``qlib:FOLDER:INSTRUMENTS``.
        split: Training, validation and test; a prepared dataset has its own.
    """

    data: Annotated[str, AfterValidator(_data)]
    split: TrainSplit = TrainSplit()

    @model_validator(mode="after")
    def _possible(self) -> TrainConfig:
        if len(set(self.stages)) < len(self.stages):
            raise ValueError("stages names one twice; each is trained once")
        if self.windows.shortest is not None and self.windows.shortest > self.windows.lookback:
            raise ValueError("windows.shortest is longer than windows.lookback; it is the shortest history")
        for stage in self.stages:
            fresh = self.scratch(stage)
            if fresh and (self.architecture is None or getattr(self.architecture, stage) is None):
                raise ValueError(f"nothing tells the {stage}'s architecture, and it starts from no weights")
            if fresh and self.lora is not None:
                raise ValueError("lora adapts weights that are there, and these start from none; leave one out")
        return self

    @classmethod
    def check(cls, values: Mapping[str, Any], origin: str) -> TrainConfig:
        """Check values from a file or from a program.

        Args:
            values: By key.
            origin: What to call them in messages, a file's name.

        Raises:
            ParameterError: If a key is unknown (the nearest is named), missing, or has a wrong value.
        """
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            raise ParameterError(format_validation_error(error, origin, cls)) from None
        for stage in config.stages:
            config.settings(stage, origin)
            config.shape(stage, origin)
        return config

    @property
    def folder(self) -> Path:
        """Where the trained model goes."""
        return expand_user(self.output) / self.folder_name

    @property
    def starts(self) -> Start:
        """The weights to start from; a tokenizer of None is the one that belongs to the model."""
        if self.start is None:
            return Start() if self.architecture is not None else Start(model=DEFAULT_MODEL)
        told = self.start
        return Start(tokenizer=None if told.tokenizer == told.model else told.tokenizer, model=told.model)

    def scratch(self, stage: StageName) -> bool:
        """Whether a network is trained from nothing."""
        starts = self.starts
        if stage == "model":
            return starts.model is None
        shaped = self.architecture is not None and self.architecture.tokenizer is not None
        return starts.tokenizer is None and (starts.model is None or shaped)

    def shape(self, stage: StageName, origin: str = "the configuration") -> Config | None:
        """The architecture of a network that is trained from nothing; None where it starts from weights.

        Args:
            stage: Which.
            origin: What to call the values in messages.

        Raises:
            ParameterError: If a name is no checkpoint's of that kind, or a key is missing or wrong.
        """
        told = None if self.architecture is None else getattr(self.architecture, stage)
        if told is None or not self.scratch(stage):
            return None
        if isinstance(told, str):
            return _named_shape(told, stage, origin)
        try:
            return check_config(told, stage, f"architecture.{stage} of {origin}")
        except CheckpointError as error:
            raise ParameterError(str(error)) from None

    def settings(self, stage: StageName, origin: str = "the configuration") -> TrainingArguments:
        """How to train a network: what the section says of it, else of both, else the published defaults.

        Args:
            stage: Which.
            origin: What to call the values in messages.

        Raises:
            ParameterError: If two values contradict each other.
        """
        own = self._section(stage)
        for name in _OBJECTIVE:
            own.pop(name, None)
        return TrainingArguments.of(stage, own, f"The section 'training' of {origin}")

    def objective(self) -> dict[str, Any]:
        """What of the model's objective is told."""
        told = self._section("model")
        return {name: told[name] for name in _OBJECTIVE if name in told}

    def reconstruction(self) -> dict[str, Any]:
        """What of the tokenizer's objective is told."""
        return self.training.reconstruction.model_dump(exclude_none=True)

    def binding(self, stage: StageName) -> dict[str, Any]:
        """What decides on a stage's weights besides candles and start, ready for JSON."""
        own: dict[str, Any] = self.reconstruction() if stage == "tokenizer" else self.objective()
        lora = None if self.lora is None or stage == "tokenizer" else self.lora.model_dump(mode="json")
        return {"settings": self.settings(stage).binding(), "objective": own, "lora": lora}

    def _section(self, stage: StageName) -> dict[str, Any]:
        section: dict[str, Any] = self.training.model_dump(
            exclude_none=True, exclude={*STAGES, *_RATES.values(), "reconstruction"}
        )
        rate = getattr(self.training, _RATES[stage])
        own: StageTraining = getattr(self.training, stage)
        return section | ({} if rate is None else {"learning_rate": rate}) | own.model_dump(exclude_none=True)

    def changed(self, values: Mapping[str, Any]) -> TrainConfig:
        """The same with what flags say.

        Args:
            values: By key, sections likewise; they replace what is there, key by key.

        Raises:
            ParameterError: If a value is out of its range, or contradicts another.
        """
        told = self.model_dump(exclude_none=True)
        return type(self).check(_merged(told, values), "the options given")

    def save(self, path: Path) -> None:
        """Write it as YAML that `load_config` reads.

        Raises:
            StorageError: If the file system refuses.
        """
        values = self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        text = yaml.safe_dump({"model_name": self.model_name} | values, sort_keys=False, allow_unicode=True)
        write_text(path, text)


def load_config(name: str | Path) -> TrainConfig:
    """Read a configuration of a training, or of a dataset to train on.

    Args:
        name: A name in any case (``finetune_csv``, ``model_a_4h``), or the path of a YAML file.

    Raises:
        ParameterError: If there is none, naming the nearest, or something in it is wrong.
    """
    return load_both(name)[0]


def load_both(name: str | Path) -> tuple[TrainConfig, DatasetConfig | None]:
    """Read a configuration, and that of the dataset which has to be prepared for it, if it is one.

    Args:
        name: As for `load_config`.

    Raises:
        ParameterError: As `load_config`.
    """
    path = find_file(name, configurations(training=True))
    values = read_yaml(path)
    if "target_symbols" not in values:
        return TrainConfig.check(values, path.name), None
    if "data" in values:
        raise ParameterError(f"{path.name} has both 'data' and 'target_symbols'; candles come from one of them.")
    dataset = DatasetConfig.check(values, path.name)
    return TrainConfig.check(_training_of(values, dataset), path.name), dataset


def _training_of(values: Mapping[str, Any], dataset: DatasetConfig) -> dict[str, Any]:
    """The keys of a dataset's configuration that are about training on it."""
    from kronos.settings import get_settings

    kept = {name: value for name, value in values.items() if name not in _DATASET}
    return kept | {"data": str(dataset.folder(get_settings().output_dir))}


def _named_shape(name: str, stage: Kind, origin: str) -> Config:
    entry = find(name)
    if entry is not None and stage == "tokenizer" and entry.kind == "model":
        entry = find(entry.tokenizer) if entry.tokenizer else None
    if entry is None or entry.kind != stage:
        near = nearest(name)
        mend = f"did you mean {near}?" if near and near != name.lower() else f"name a {stage} of 'kronos models list'."
        raise ParameterError(f"'architecture.{stage}' of {origin} cannot be '{name}'; {mend}")
    return entry.config


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """New values over old ones; of sections the keys that are there, and what is None goes."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[name] = _merged(before, value)
        elif value is None:
            merged.pop(name, None)
        else:
            merged[name] = value
    return merged


__all__ = ["TrainConfig", "TrainSplit", "load_both", "load_config"]

"""Configuration of a training: the YAML file, validated before anything is read.

- A dataset configuration (``target_symbols``) also works: it trains on the dataset prepared from it.
- Unknown keys are rejected with the nearest match, wrong values with the full name of the key and the file.
- Command-line options override the file: `TrainConfig.changed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from kronos.atomic import write_text
from kronos.datasets.config import (
    STAGES,
    DatasetConfig,
    ReadingSection,
    SharedConfig,
    Split,
    StageName,
    StageTraining,
    Start,
)
from kronos.datasets.config_errors import format_validation_error
from kronos.datasets.config_loading import find_config_file, list_configs, read_yaml
from kronos.errors import CheckpointError, ParameterError
from kronos.formatting import expand_user
from kronos.zoo import DEFAULT_MODEL, Config, Kind, closest_name, find_entry
from kronos.zoo.checkpoint import check_config

SchedulerName = Literal["onecycle", "cosine", "constant"]  # of the learning rate
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]

MAX_STEPS_PER_EPOCH = 2000  # default for large datasets

# Published fine-tuning settings; the other defaults are the same for both networks.
_PUBLISHED: Mapping[StageName, Mapping[str, Any]] = {
    "tokenizer": {"learning_rate": 2e-4, "betas": (0.9, 0.999), "gradient_clip": 2.0},
    "model": {"learning_rate": 4e-5, "betas": (0.9, 0.95), "gradient_clip": 3.0},
}
# Settings that do not change the weights, so a run may resume with other values. The number of processes is not a
# setting and may change too.
_NOT_IDENTITY = ("device", "threads", "compile", "checkpoint_minutes", "log_steps")


class TrainingArguments(BaseModel):
    """Settings for training one network.

    Attributes:
        batch_size: Samples per step, over all processes and micro-batches.
        accumulation_steps: Micro-batches per step; their gradients are accumulated before the weights change.
        learning_rate: Peak learning rate.
        epochs: Maximum number of epochs.
        steps_per_epoch: Steps per epoch; None for one pass over the different windows, at most 2000 steps.
        validation_batches: Maximum number of validation batches.
        weight_decay: Weight decay of AdamW, applied to matrices and not to biases and norms.
        betas: Betas of AdamW. With ``onecycle`` the first one cycles between 0.05 more and 0.05 less, opposite to the
            learning rate, as in the published training.
        gradient_clip: Gradient clipping: maximum norm of a step's gradient; None for no limit.
        schedule: ``onecycle``: from a tenth of the peak up during 3 % of the steps, then down to almost zero, as
            published. ``cosine``: linear warm-up from a tenth, then a half cosine. ``constant``: always the peak.
        warmup: Share of the steps in which ``cosine`` warms up.
        final: Share of the peak at which ``cosine`` ends.
        precision: ``float32``, ``bfloat16`` (matrix products only; weights and losses stay in float32), or ``auto``:
            bfloat16 where the hardware multiplies it natively and the network is wide enough to gain from it.
        patience: Early stopping: epochs without a better validation loss after which to stop; None for never.
        seed: Seed of the dropout.
        ema: Decay of the exponential moving average of the weights, which is then validated and saved; None to use
            the weights themselves.
        compile: Whether to compile the blocks: slow to start, faster steps afterwards.
        device: ``cpu``, ``cuda:1``; None for the best one available, and with several processes one device each.
        threads: CPU threads; None leaves the current setting.
        checkpoint_minutes: Minutes between resume checkpoints; there is one at the end of each epoch anyway.
        log_steps: Steps between calls of the callbacks.
        minutes: Time limit in minutes; the learning rate follows steps or minutes, whichever runs out first. Such a
            run depends on the speed of the machine: it cannot be reproduced or resumed bit for bit.
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
    schedule: SchedulerName = "onecycle"
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
    def _validate_accumulation(self) -> Self:
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of accumulation_steps {self.accumulation_steps}"
            )
        return self

    @classmethod
    def of(cls, stage: StageName, changes: Mapping[str, Any] | None = None, origin: str = "The settings") -> Self:
        """Create the published settings of a stage, with changes.

        Args:
            stage: ``tokenizer`` or ``model``.
            changes: Values by name that replace the published ones.
            origin: Source of the changes for error messages, such as a file's name.

        Raises:
            ParameterError: If a setting is unknown or a value is out of range.
        """
        if stage not in _PUBLISHED:
            raise ParameterError(f"Invalid stage '{stage}': choose 'tokenizer' or 'model'.")
        try:
            return cls.model_validate({**_PUBLISHED[stage], **(changes or {})})
        except ValidationError as error:
            raise ParameterError(format_validation_error(error, origin, cls)) from None

    def steps(self, available: int) -> int:
        """Steps per epoch, for a dataset of ``available`` different windows."""
        return self.steps_per_epoch or min(MAX_STEPS_PER_EPOCH, max(1, available // self.batch_size))

    def samples(self, available: int) -> int:
        """Samples per epoch, which is the length that a training dataset needs; ``available`` as in `steps`."""
        return self.steps(available) * self.batch_size

    def identity(self) -> dict[str, Any]:
        """Settings that determine the weights, ready for JSON; a run resumes only with the same ones."""
        return self.model_dump(mode="json", exclude=set(_NOT_IDENTITY))


_DATASET_KEYS = ("source", "timeframe", "target_symbols", "records_per_timeframe", "dataset_path")
_LEARNING_RATES: Mapping[StageName, str] = {"tokenizer": "tokenizer_learning_rate", "model": "model_learning_rate"}
_OBJECTIVE_OPTIONS = ("teacher_forcing", "loss_on")  # keys of the section that belong to the objective


class TrainSplit(Split):
    """Split of the candles into training, validation and test.

    Attributes:
        file: CSV with dates by market (``market``, ``validation_from``, ``test_from``), used instead of the shares.
    """

    file: Path | None = None


def _validate_data(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("give a candle file or folder, a prepared dataset, or qlib:FOLDER:INSTRUMENTS")
    return text.strip()


class TrainConfig(SharedConfig):
    """Configuration of a training.

    Attributes:
        data: Candle file, folder of candle files, name or folder of a prepared dataset, or
            ``qlib:FOLDER:INSTRUMENTS``.
        split: Training, validation and test split; a prepared dataset has its own.
        reading: How candle files are written; what is omitted is inferred.
    """

    data: Annotated[str, AfterValidator(_validate_data)]
    split: TrainSplit = TrainSplit()
    reading: ReadingSection = ReadingSection()
    _prepared_by: str | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _validate_combinations(self) -> TrainConfig:
        if len(set(self.stages)) < len(self.stages):
            raise ValueError("stages has a duplicate: name each stage once")
        if self.windows.shortest is not None and self.windows.shortest > self.windows.lookback:
            raise ValueError("windows.shortest is longer than windows.lookback; it is the shortest history")
        for stage in self.stages:
            new = self.from_scratch(stage)
            if new and (self.architecture is None or getattr(self.architecture, stage) is None):
                raise ValueError(f"the {stage} has neither initial weights nor an architecture; set one of them")
            if new and self.lora is not None:
                raise ValueError(f"lora needs initial weights, but the {stage} is trained from scratch; remove one")
        return self

    @classmethod
    def check(cls, values: Mapping[str, Any], origin: str) -> TrainConfig:
        """Validate values from a file or a program.

        Args:
            values: Values by key.
            origin: Source of the values for error messages, such as a file's name.

        Raises:
            ParameterError: If a key is unknown (the message names the nearest) or missing, or a value is wrong.
        """
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            raise ParameterError(format_validation_error(error, origin, cls)) from None
        for stage in config.stages:
            config.settings(stage, origin)
            config.architecture_of(stage, origin)
        return config

    @property
    def prepared_by(self) -> str | None:
        """Name or path of the dataset configuration that ``data`` is prepared from; None for other data."""
        return self._prepared_by

    @property
    def folder(self) -> Path:
        """Output folder of the run."""
        return expand_user(self.output) / self.folder_name

    @property
    def starts(self) -> Start:
        """Initial weights; without a tokenizer, the model's own is used."""
        start = self.start
        if start is None:
            return Start() if self.architecture is not None else Start(model=DEFAULT_MODEL)
        return Start(tokenizer=None if start.tokenizer == start.model else start.tokenizer, model=start.model)

    def from_scratch(self, stage: StageName) -> bool:
        """Whether a network is trained from new weights."""
        starts = self.starts
        if stage == "model":
            return starts.model is None
        has_architecture = self.architecture is not None and self.architecture.tokenizer is not None
        return starts.tokenizer is None and (starts.model is None or has_architecture)

    def architecture_of(self, stage: StageName, origin: str = "the configuration") -> Config | None:
        """Architecture of a network that is trained from scratch; None if it has initial weights.

        Args:
            stage: The network.
            origin: Source of the values for error messages.

        Raises:
            ParameterError: If the architecture names no checkpoint of that kind, or a key is missing or wrong.
        """
        value = None if self.architecture is None else getattr(self.architecture, stage)
        if value is None or not self.from_scratch(stage):
            return None
        if isinstance(value, str):
            return _architecture_of_checkpoint(value, stage, origin)
        try:
            return check_config(value, stage, f"architecture.{stage} in {origin}")
        except CheckpointError as error:
            raise ParameterError(str(error)) from None

    def settings(self, stage: StageName, origin: str = "the configuration") -> TrainingArguments:
        """Settings of a network: from its own section, else from the shared section, else the published defaults.

        Args:
            stage: The network.
            origin: Source of the values for error messages.

        Raises:
            ParameterError: If two values contradict each other.
        """
        section = self._section(stage)
        for name in _OBJECTIVE_OPTIONS:
            section.pop(name, None)
        return TrainingArguments.of(stage, section, f"The section 'training' in {origin}")

    def objective_options(self) -> dict[str, Any]:
        """Configured options of the model's objective."""
        section = self._section("model")
        return {name: section[name] for name in _OBJECTIVE_OPTIONS if name in section}

    def reconstruction_options(self) -> dict[str, Any]:
        """Configured options of the tokenizer's objective."""
        return self.training.reconstruction.model_dump(exclude_none=True)

    @property
    def has_smooth_embeddings(self) -> bool:
        """Whether a new model's embeddings are smooth at first; see `kronos.training.embeddings`."""
        return self.architecture is not None and self.architecture.embeddings == "smooth"

    def identity(self, stage: StageName) -> dict[str, Any]:
        """What determines a stage's weights besides candles and initial weights, ready for JSON."""
        options = self.reconstruction_options() if stage == "tokenizer" else self.objective_options()
        lora = None if self.lora is None or stage == "tokenizer" else self.lora.model_dump(mode="json")
        identity = {"settings": self.settings(stage).identity(), "objective": options, "lora": lora}
        smooth = stage == "model" and self.has_smooth_embeddings
        return identity | ({"embeddings": "smooth"} if smooth else {})  # older runs have no such key

    def _section(self, stage: StageName) -> dict[str, Any]:
        section: dict[str, Any] = self.training.model_dump(
            exclude_none=True, exclude={*STAGES, *_LEARNING_RATES.values(), "reconstruction"}
        )
        rate = getattr(self.training, _LEARNING_RATES[stage])
        own: StageTraining = getattr(self.training, stage)
        return section | ({} if rate is None else {"learning_rate": rate}) | own.model_dump(exclude_none=True)

    def changed(self, values: Mapping[str, Any]) -> TrainConfig:
        """Return a copy with changed values.

        Args:
            values: New values by key; sections are merged key by key, and None removes a key.

        Raises:
            ParameterError: If a value is out of range or contradicts another.
        """
        changed = type(self).check(_merge(self.model_dump(exclude_none=True), values), "the options given")
        if changed.data == self.data:
            changed._prepared_by = self._prepared_by
        return changed

    def save(self, path: Path) -> None:
        """Write the configuration as YAML that `load_config` reads.

        Raises:
            StorageError: If the file system refuses.
        """
        values = self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        values["stages"] = list(self.stages)  # their default depends on other keys
        text = yaml.safe_dump({"model_name": self.model_name} | values, sort_keys=False, allow_unicode=True)
        write_text(path, text)


def config_differences(first: TrainConfig, second: TrainConfig) -> list[str]:
    """Keys by which two trainings differ in what all of their stages share."""
    shared = {"data", "reading", "windows", "split", "quality", "start", "architecture", "context"}
    one, other = (config.model_dump(mode="json", include=shared) for config in (first, second))
    return [name for name in one if one[name] != other[name]]


def load_config(name: str | Path) -> TrainConfig:
    """Load the configuration of a training, or of a dataset to train on.

    Args:
        name: Name of a configuration in any case (``finetune_csv``, ``model_a_4h``), or path of a YAML file.

    Raises:
        ParameterError: If there is no such configuration (the message names the nearest), or it is invalid.
    """
    return load_config_with_dataset(name)[0]


def load_config_with_dataset(name: str | Path) -> tuple[TrainConfig, DatasetConfig | None]:
    """Load a configuration, and the dataset configuration if the file is one; arguments and errors of `load_config`."""
    path = find_config_file(name, list_configs(training=True))
    values = read_yaml(path)
    if "target_symbols" not in values:
        return TrainConfig.check(values, path.name), None
    if "data" in values:
        raise ParameterError(f"{path.name} has both 'data' and 'target_symbols': remove one of them.")
    dataset = DatasetConfig.check(values, path.name)
    config = TrainConfig.check(_training_values(values, dataset), path.name)
    config._prepared_by = str(name)
    return config, dataset


def _training_values(values: Mapping[str, Any], dataset: DatasetConfig) -> dict[str, Any]:
    """The keys of a dataset configuration that concern the training on it."""
    from kronos.settings import get_settings

    training = {name: value for name, value in values.items() if name not in _DATASET_KEYS}
    return training | {"data": str(dataset.folder(get_settings().output_dir))}


def _architecture_of_checkpoint(name: str, stage: Kind, origin: str) -> Config:
    entry = find_entry(name)
    if entry is not None and stage == "tokenizer" and entry.kind == "model":
        entry = find_entry(entry.tokenizer) if entry.tokenizer else None
    if entry is None or entry.kind != stage:
        near = closest_name(name)
        fix = f"did you mean {near}?" if near and near != name.lower() else f"name a {stage} of 'kronos models list'."
        raise ParameterError(f"'architecture.{stage}' in {origin} cannot be '{name}': {fix}")
    return entry.config


def _merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Merge new values into old ones, sections key by key; None removes a key."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[name] = _merge(before, value)
        elif value is None:
            merged.pop(name, None)
        else:
            merged[name] = value
    return merged

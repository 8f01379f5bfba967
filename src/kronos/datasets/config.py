"""Configuration of datasets: the sections of the YAML files that users copy and edit.

- Unknown keys are rejected with the nearest match, invalid values with the full names of key and file.
- Command-line options and environment variables override the file: `DatasetConfig.changed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from kronos.candles import ReadOptions
from kronos.datasets.config_errors import format_validation_error
from kronos.errors import ParameterError
from kronos.formatting import expand_user, truncate
from kronos.intervals import DEFAULT_TIMEFRAMES, Interval, split_symbol
from kronos.zoo import Normalisation

StageName = Literal["tokenizer", "model"]
STAGES: tuple[StageName, ...] = ("tokenizer", "model")

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]


def _name(text: str) -> str:
    if not re.fullmatch(r"[\w][\w.+-]{0,79}", text):
        raise ValueError("use letters, digits, '_', '-', '+' and '.', as it also names a folder")
    return text


def _folder(path: Path) -> Path:
    if path == Path() or not str(path).isprintable():
        raise ValueError("name a sub-folder, or omit the key")
    return path


def _number(value: Any) -> Any:
    """Convert text to a number or truth value: plain YAML values are read as text."""
    if not isinstance(value, str):
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    try:
        return int(value)
    except ValueError:
        return float(value)


def _for_both(value: Any) -> Any:
    """Apply a single name to both networks."""
    return {"tokenizer": value, "model": value} if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(_name)]
Description = Annotated[str, AfterValidator(lambda text: truncate(text, 300))]
Folder = Annotated[Path, AfterValidator(_folder)]
Column = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]  # or its position
Shape = dict[str, Annotated[int | float | bool, BeforeValidator(_number)]]


class Section(BaseModel):
    """A section of a configuration: immutable, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowsSection(Section):
    """Training samples; see `kronos.datasets.WindowSettings`.

    Attributes:
        lookback: Candles of history.
        predict: Candles to predict.
        shortest: If set, each training sample has a random history of ``shortest`` to ``lookback`` candles and predicts
            the rest.
        clip: Bound of the normalised candles.
        normalisation: ``spread`` (published), ``steps`` or ``changes``; None for that of the model that training
            starts from.
        without_volume: Share of training samples with volume and amount set to zero.
        mirrored: Share of training samples with prices upside down.
        aggregated: Share of training samples whose candles are each made of 2 to 4 consecutive ones.
        weighting: How samples are shared among markets and intervals: by the square root of their size, by their size,
            or equally.
    """

    lookback: Count = 90
    predict: Count = 10
    shortest: Count | None = None
    clip: Annotated[float, Field(gt=0)] = 5.0
    normalisation: Normalisation | None = None
    without_volume: Annotated[float, Field(ge=0, le=1)] = 0.05
    mirrored: Annotated[float, Field(ge=0, le=1)] = 0.0
    aggregated: Annotated[float, Field(ge=0, le=1)] = 0.0
    weighting: Literal["sqrt", "size", "equal"] = "sqrt"

    @property
    def total(self) -> int:
        """Candles of one sample."""
        return self.lookback + self.predict


class Split(Section):
    """Training, validation and test split.

    Attributes:
        train: Share of the earliest candles.
        validation: Share of the candles in between.
        test: Share of the latest candles.
        embargo: Candles left out after each split date; None for as many as a sample predicts.
        dates: ``common``: the same dates for all symbols and timeframes, so that no training candle is later than a
            validation candle. ``timeframe``: dates per timeframe, for models that are trained on one timeframe.
    """

    train: Share = 0.70
    validation: Share = 0.15
    test: Share = 0.15
    embargo: Annotated[int, Field(ge=0)] | None = None
    dates: Literal["common", "timeframe"] = "common"

    @model_validator(mode="after")
    def _check_sum(self) -> Split:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, validation and test must add up to 1, not {total:g}")
        return self


class StageTraining(Section):
    """Training of one network; omitted values are as published.

    Attributes:
        batch_size: Samples per step, over all processes and micro-batches.
        accumulation_steps: Micro-batches per step, whose gradients are accumulated.
        learning_rate: Peak learning rate.
        epochs: Maximum number of epochs.
        steps_per_epoch: Steps per epoch; null for all samples, at most 2000 steps.
        validation_batches: Maximum number of validation batches.
        weight_decay: Weight decay of AdamW.
        betas: Betas of AdamW.
        gradient_clip: Maximum norm of the gradient.
        schedule: ``onecycle`` (published), ``cosine`` or ``constant``.
        warmup: Share of the steps in which the learning rate of ``cosine`` rises.
        final: Share of the peak at which ``cosine`` ends.
        precision: ``float32``, ``bfloat16`` or ``auto``.
        patience: Epochs without improvement before training stops; null for never.
        seed: Random seed of new weights, samples and dropout.
        ema: Decay of the exponential moving average of the weights, which is then validated and saved.
        compile: Compile the network.
        device: Such as ``cpu`` or ``cuda:1``.
        threads: CPU threads.
        checkpoint_minutes: Minutes between checkpoints for resuming.
        log_steps: Steps between lines of the log.
        minutes: Maximum minutes of training; the best weights are kept.
        teacher_forcing: Condition the model's fine head on the true coarse token.
        loss_on: Compute the model's loss on the candles to predict (``forecast``) or on all (``window``).
    """

    batch_size: Count | None = None
    accumulation_steps: Count | None = None
    learning_rate: Rate | None = None
    epochs: Count | None = None
    steps_per_epoch: Count | None = None
    validation_batches: Count | None = None
    weight_decay: Annotated[float, Field(ge=0, lt=1)] | None = None
    betas: tuple[Share, Share] | None = None
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    schedule: Literal["onecycle", "cosine", "constant"] | None = None
    warmup: Annotated[float, Field(ge=0, lt=1)] | None = None
    final: Annotated[float, Field(ge=0, le=1)] | None = None
    precision: Literal["float32", "bfloat16", "auto"] | None = None
    patience: Count | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    ema: Share | None = None
    compile: bool | None = None
    device: str | None = None
    threads: Count | None = None
    checkpoint_minutes: Annotated[float, Field(gt=0)] | None = None
    log_steps: Count | None = None
    minutes: Annotated[float, Field(gt=0)] | None = None
    teacher_forcing: bool | None = None
    loss_on: Literal["forecast", "window"] | None = None


class Reconstruction(Section):
    """Weights of a tokenizer's loss; omitted values are as published, see `ReconstructionWeights`.

    Attributes:
        coarse: Weight of the error of the coarse token alone.
        full: Weight of the error of both tokens.
        quantizer: Weight of the quantiser's loss.
        channels: Weights of open, high, low, close, volume, amount.
        unit: Unit of the errors: ``window`` (published) or ``step``.
    """

    coarse: Weight | None = None
    full: Weight | None = None
    quantizer: Weight | None = None
    channels: tuple[Weight, Weight, Weight, Weight, Weight, Weight] | None = None
    unit: Literal["window", "step"] | None = None


class TrainingSection(StageTraining):
    """Training of both networks, with values for one of them only.

    Attributes:
        tokenizer_learning_rate: Peak learning rate of the tokenizer.
        model_learning_rate: Peak learning rate of the model.
        reconstruction: Weights of the tokenizer's loss.
        tokenizer: Values for the tokenizer only.
        model: Values for the model only.
    """

    tokenizer_learning_rate: Rate | None = None
    model_learning_rate: Rate | None = None
    reconstruction: Reconstruction = Reconstruction()
    tokenizer: StageTraining = StageTraining()
    model: StageTraining = StageTraining()


class ReadingSection(Section):
    """How candle files are written; omitted values are inferred, see `kronos.candles.read_candles`.

    Attributes:
        columns: Names of columns, or their positions from 1: ``{close: Schlusskurs, volume: 7}``.
        decimal: Decimal sign of the numbers.
        thousands: Thousands sign of the numbers, empty for none.
        date_format: Notation of the times for ``strptime``.
        header: Number of the line with the names of the columns, 0 if there is none.
        timezone: IANA timezone of the times.
        interval: Length of a candle: ``1h``.
    """

    columns: dict[str, Column] = Field(default_factory=dict)
    decimal: str | None = None
    thousands: str | None = None
    date_format: str | None = None
    header: Annotated[int, Field(ge=0)] | None = None
    timezone: str | None = None
    interval: str | None = None

    @model_validator(mode="after")
    def _check_options(self) -> ReadingSection:
        try:
            self.options()
        except ParameterError as error:
            raise ValueError(str(error)) from None
        return self

    def options(self) -> ReadOptions:
        """The options for the reader."""
        return ReadOptions(
            interval=self.interval,
            timezone=self.timezone,
            columns=tuple(self.columns.items()),
            decimal=self.decimal,
            thousands=self.thousands,
            date_format=self.date_format,
            header=self.header,
        )


class Start(Section):
    """Weights that training starts from.

    Attributes:
        tokenizer: Zoo name, hub id or folder; None for the model's tokenizer.
        model: Zoo name, hub id or folder; None for new weights.
    """

    tokenizer: str | None = None
    model: str | None = None


class Architecture(Section):
    """Architectures of networks that are trained from scratch.

    Attributes:
        tokenizer: Contents of its ``config.json``, or a zoo name whose architecture is used.
        model: Likewise for the model.
        embeddings: Initial vectors of a new model's tokens: ``random`` as published, or ``smooth``: similar for tokens
            of similar candles, see `kronos.training.embeddings`.
    """

    tokenizer: str | Shape | None = None
    model: str | Shape | None = None
    embeddings: Literal["random", "smooth"] = "random"


class Lora(Section):
    """Low-rank adaptation (LoRA).

    Attributes:
        rank: Rank of the two factors that are added to a layer.
        alpha: Their product is scaled by alpha / rank; None for twice the rank.
        dropout: Dropout of their input.
        targets: Names of the linear layers to adapt, matched at the end of a layer's path; None for the attention's.
    """

    rank: Count = 8
    alpha: Annotated[float, Field(gt=0)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[tuple[str, ...], Field(min_length=1)] | None = None


class SharedConfig(Section):
    """Keys of every configuration: the model's name and its training.

    Attributes:
        model_name: Name of model and dataset: ``Model_A_4H``.
        description: One line of text.
        windows: Training samples.
        split: Training, validation and test split.
        quality: ``paper`` for candles that pass the paper's filters, ``none`` for all.
        start: Weights to start from, one name for both networks or one each; None for the bundled ones, or for new
            weights if there is an architecture.
        architecture: Architectures of networks that start with new weights, one zoo name for both or one each.
        stages: Networks to train, in this order; by default the model, and the tokenizer only if it is trained from
            scratch: one with weights is left as it is.
        context: Longest window that the model will be used with, in candles; None for that of the weights it starts
            from.
        training: Training of both networks.
        lora: Train adapters of the model instead of all weights.
        output: Folder in which each model gets a sub-folder.
    """

    model_name: Name
    description: Description = ""
    windows: WindowsSection = WindowsSection()
    split: Split = Split()
    quality: Literal["paper", "none"] = "paper"
    start: Annotated[Start, BeforeValidator(_for_both)] | None = None
    architecture: Annotated[Architecture, BeforeValidator(_for_both)] | None = None
    stages: Annotated[tuple[StageName, ...], Field(min_length=1)] = STAGES
    context: Annotated[int, Field(ge=2)] | None = None
    training: TrainingSection = TrainingSection()
    lora: Lora | None = None
    output: Folder = Path("outputs") / "models"

    @model_validator(mode="before")
    @classmethod
    def _leave_a_trained_tokenizer(cls, values: Any) -> Any:
        """Choose the default of ``stages``: without initial weights there is nothing to leave as it is."""
        if not isinstance(values, Mapping) or values.get("stages") is not None:
            return values
        start = values.get("start")
        named = start.get("tokenizer") or start.get("model") if isinstance(start, Mapping) else start
        return {**values, "stages": ["model"] if named or values.get("architecture") is None else list(STAGES)}

    @property
    def folder_name(self) -> str:
        """Name of its folder."""
        return self.model_name.lower()

    @property
    def embargo(self) -> int:
        """Candles left out after each split date."""
        return self.windows.predict if self.split.embargo is None else self.split.embargo


DEFAULT_FOLDER = Path("data") / "kronos_datasets"


def _timeframe(text: str) -> str:
    return Interval.from_timeframe(text).timeframe


def _symbol(text: str) -> str:
    symbol = text.strip()
    if not symbol or not symbol.isprintable() or len(symbol) > 80:
        raise ValueError("use a short printable name, such as BTC-USDT-SWAP_4H")
    split_symbol(symbol)
    return symbol


def _source(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("name a source, such as okx or files:FOLDER")
    return text.strip()


Timeframe = Annotated[str, AfterValidator(_timeframe)]
Symbol = Annotated[str, AfterValidator(_symbol)]


class DatasetConfig(SharedConfig):
    """Configuration of a dataset and of the training on it.

    Attributes:
        source: Source of the candles, for `kronos.sources.open_source`.
        timeframe: Timeframe of symbols without one.
        target_symbols: Instruments, with a timeframe after the last underscore: ``BTC-USDT-SWAP_4H``.
        records_per_timeframe: Number of the latest closed candles of each symbol and timeframe.
        dataset_path: Its folder; None for its name in lower case in ``data/kronos_datasets``.
    """

    source: Annotated[str, AfterValidator(_source)] = "okx"
    timeframe: Timeframe | None = None
    target_symbols: Annotated[tuple[Symbol, ...], Field(min_length=1)]
    records_per_timeframe: Annotated[int, Field(ge=2)] = 2000
    dataset_path: Folder | None = None

    @classmethod
    def check(cls, values: Mapping[str, Any], origin: str) -> DatasetConfig:
        """Validate values.

        Args:
            values: Values by key.
            origin: Their origin in messages, such as a file's name.

        Raises:
            ParameterError: If a key is unknown (the message suggests the nearest), missing, or has an invalid value.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ParameterError(format_validation_error(error, origin, cls)) from None

    @property
    def timeframes(self) -> tuple[str, ...]:
        """All timeframes, in the order of the series."""
        return tuple(dict.fromkeys(interval.timeframe for _, interval in self.series))

    @property
    def series(self) -> tuple[tuple[str, Interval], ...]:
        """Symbols and timeframes without repetition, in the order of the file.

        A symbol without suffix gets ``timeframe``, else all suffixes of the others, else 1H, 4H and 1D.
        """
        symbols = [split_symbol(text) for text in self.target_symbols]
        suffixes = list(dict.fromkeys(interval for _, interval in symbols if interval is not None))
        if self.timeframe:
            default = [Interval.from_timeframe(self.timeframe)]
        else:
            default = suffixes or list(map(Interval.from_timeframe, DEFAULT_TIMEFRAMES))
        pairs = [(symbol, one) for symbol, interval in symbols for one in ([interval] if interval else default)]
        return tuple(dict.fromkeys(pairs))

    def folder(self, base: Path | None = None) -> Path:
        """The dataset's folder.

        Args:
            base: Folder in which each dataset gets a sub-folder; overrides ``dataset_path``.
        """
        if base is None and self.dataset_path is not None:
            return expand_user(self.dataset_path)
        return (DEFAULT_FOLDER if base is None else expand_user(base)) / self.folder_name

    def changed(
        self,
        *,
        timeframes: Iterable[str] | None = None,
        records: int | None = None,
        source: str | None = None,
    ) -> DatasetConfig:
        """A copy with the values of command-line options and environment variables; None keeps a value.

        Args:
            timeframes: Timeframes of every symbol, whatever its suffix.
            records: Candles of each symbol and timeframe.
            source: Source of the candles.

        Raises:
            ParameterError: If a value is invalid.
        """
        values = self.model_dump()
        if timeframes is not None:
            suffixes = dict.fromkeys(_timeframe(text) for text in timeframes)
            if not suffixes:
                raise ParameterError("The list of timeframes is empty: write them like 4H,1D.")
            symbols = dict.fromkeys(split_symbol(text)[0] for text in self.target_symbols)
            values["target_symbols"] = [f"{symbol}_{suffix}" for symbol in symbols for suffix in suffixes]
        if records is not None:
            values["records_per_timeframe"] = records
        if source is not None:
            values["source"] = source
        return type(self).check(values, "The given options")

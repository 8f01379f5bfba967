"""What a dataset is made of: the YAML that users copy and change, checked before anything is fetched.

- Unknown keys are refused with the nearest match, wrong values with the key's full name and the file's.
- What flags and environment say replaces what the file says: `DatasetConfig.changed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from kronos.atomic import expand_user
from kronos.datasets.config_errors import format_validation_error
from kronos.errors import ParameterError
from kronos.formatting import truncate
from kronos.intervals import DEFAULT_TIMEFRAMES, Interval, split_symbol

StageName = Literal["tokenizer", "model"]
STAGES: tuple[StageName, ...] = ("tokenizer", "model")

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]


def _name(text: str) -> str:
    if not re.fullmatch(r"[\w][\w.+-]{0,79}", text):
        raise ValueError("letters, digits, '_', '-', '+' and '.' make a name that is also a folder's")
    return text


def _folder(path: Path) -> Path:
    if path == Path() or not str(path).isprintable():
        raise ValueError("name a folder of its own, or leave the key out")
    return path


def _number(value: Any) -> Any:
    """A number or a truth that a configuration holds as text, as plain values in YAML are read."""
    if not isinstance(value, str):
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    try:
        return int(value)
    except ValueError:
        return float(value)


def _for_both(value: Any) -> Any:
    """One name for both networks, written as it is."""
    return {"tokenizer": value, "model": value} if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(_name)]
Description = Annotated[str, AfterValidator(lambda text: truncate(text, 300))]
Folder = Annotated[Path, AfterValidator(_folder)]
Shape = dict[str, Annotated[int | float | bool, BeforeValidator(_number)]]


class Section(BaseModel):
    """Keys of which none is unknown, and values that stay."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowsSection(Section):
    """A training sample.

    Attributes:
        lookback: Candles of history.
        predict: Candles to predict.
        shortest: Where set, each training sample knows only its first ``shortest`` to ``lookback`` candles, and
            predicts the others too.
        clip: Bound of the normalised candles.
        normalisation: ``spread`` (published) or ``steps``; None for that of the model that training starts from.
        without_volume: Share of training samples whose volume and amount are zeroed.
        mirrored: Share of training samples with prices upside down.
        weighting: How markets and intervals share the samples: by the square root of their size, by their size, or
            equally.
    """

    lookback: Count = 90
    predict: Count = 10
    shortest: Count | None = None
    clip: Annotated[float, Field(gt=0)] = 5.0
    normalisation: Literal["spread", "steps"] | None = None
    without_volume: Annotated[float, Field(ge=0, le=1)] = 0.05
    mirrored: Annotated[float, Field(ge=0, le=1)] = 0.0
    weighting: Literal["sqrt", "size", "equal"] = "sqrt"

    @property
    def total(self) -> int:
        """Candles of one sample."""
        return self.lookback + self.predict


class Split(Section):
    """How candles become training, validation and test.

    Attributes:
        train: Share of the candles that come first.
        validation: Share of those in between.
        test: Share of the latest.
        embargo: Candles left out after each cut; None for as many as a sample predicts.
        dates: ``common``: one pair of dates for every symbol and timeframe, so that nothing in training is later than
            the first validation candle of any. ``timeframe``: a pair for each timeframe, for models that are trained on
            one of them at a time.
    """

    train: Share = 0.70
    validation: Share = 0.15
    test: Share = 0.15
    embargo: Annotated[int, Field(ge=0)] | None = None
    dates: Literal["common", "timeframe"] = "common"

    @model_validator(mode="after")
    def _whole(self) -> Split:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, validation and test have to add up to 1, not {total:g}")
        return self


class StageTraining(Section):
    """How to train one network; what is None or left out is as published.

    Attributes:
        batch_size: Samples a step, over all processes and micro-batches.
        accumulation_steps: Micro-batches of a step, whose gradients are added up before the weights change.
        learning_rate: Its peak.
        epochs: Passes at most.
        steps_per_epoch: Steps of a pass; null for all samples, at most 2000 steps.
        validation_batches: Batches of validation at most.
        weight_decay: Of AdamW.
        betas: Of AdamW.
        gradient_clip: Largest norm of a gradient.
        schedule: ``onecycle`` (published), ``cosine`` or ``constant``.
        warmup: Share of the steps in which the rate of ``cosine`` rises.
        final: Share of the peak at which ``cosine`` ends.
        precision: ``float32``, ``bfloat16`` or ``auto``.
        patience: Epochs without improvement after which to stop; null for never.
        seed: Of new weights, the samples and the dropout.
        ema: Decay of averaged weights, which are then validated and saved.
        compile: Whether to compile the network.
        device: Such as ``cpu`` or ``cuda:1``.
        threads: Of the processor.
        checkpoint_minutes: Minutes between the states that a resume goes on from.
        log_steps: Steps between lines of the log.
        minutes: Minutes of training after which to end, the best weights being kept.
        teacher_forcing: Whether the model's fine head is told the true coarse token.
        loss_on: Whether the model's loss is taken at the candles to predict (``forecast``) or at all (``window``).
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
    """What counts how much for a tokenizer; what is left out is as published, see `ReconstructionWeights`.

    Attributes:
        coarse: The error from the coarse token alone.
        full: The error from both.
        quantizer: The quantiser's loss.
        channels: Open, high, low, close, volume, amount.
        unit: ``window`` (published) or ``step``: what errors are counted in.
    """

    coarse: Weight | None = None
    full: Weight | None = None
    quantizer: Weight | None = None
    channels: tuple[Weight, Weight, Weight, Weight, Weight, Weight] | None = None
    unit: Literal["window", "step"] | None = None


class Training(StageTraining):
    """How to train both networks, and what is different for one of them.

    Attributes:
        tokenizer_learning_rate: Peak rate of the tokenizer.
        model_learning_rate: Peak rate of the model.
        reconstruction: What counts how much for the tokenizer.
        tokenizer: What is different for the tokenizer.
        model: What is different for the model.
    """

    tokenizer_learning_rate: Rate | None = None
    model_learning_rate: Rate | None = None
    reconstruction: Reconstruction = Reconstruction()
    tokenizer: StageTraining = StageTraining()
    model: StageTraining = StageTraining()


class Start(Section):
    """Which weights training starts from.

    Attributes:
        tokenizer: Zoo name, hub id or folder; None for the one that belongs to the model.
        model: Zoo name, hub id or folder; None for new weights of an architecture.
    """

    tokenizer: str | None = None
    model: str | None = None


class Architecture(Section):
    """The shapes of networks that are trained from scratch.

    Attributes:
        tokenizer: What its ``config.json`` is to hold, or a name of the zoo whose shape is taken.
        model: Likewise.
    """

    tokenizer: str | Shape | None = None
    model: str | Shape | None = None


class Lora(Section):
    """A few weights that are trained beside those that stay as they are.

    Attributes:
        rank: Width of the two factors that are added to a layer.
        alpha: Their product counts alpha / rank times; None for twice the rank.
        dropout: Of what goes into them.
        targets: Names of the linear layers, each the end of a layer's path; None for those of the attention.
    """

    rank: Count = 8
    alpha: Annotated[float, Field(gt=0)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[tuple[str, ...], Field(min_length=1)] | None = None


class SharedConfig(Section):
    """What a model is called and how it is trained: the keys of every configuration.

    Attributes:
        model_name: What model and dataset are called, ``Model_A_4H``.
        description: One line for people.
        windows: A training sample.
        split: Training, validation and test.
        quality: ``paper`` keeps what passes the paper's filters, ``none`` everything.
        start: Which weights to start from, one name for both or one each; None for the bundled ones, or for none where
            an architecture is given.
        architecture: Of networks that start without weights, a name of the zoo or one each.
        stages: What to train, in this order.
        context: The longest window that the model will be used with, in candles; None for that of what it starts from.
        training: How to train.
        lora: Train a few weights beside the model's own; None for all of them.
        output: A folder in which each model gets its own.
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
    training: Training = Training()
    lora: Lora | None = None
    output: Folder = Path("outputs") / "models"

    @property
    def folder_name(self) -> str:
        """Its name as a folder."""
        return self.model_name.lower()

    @property
    def embargo(self) -> int:
        """Candles left out after each cut."""
        return self.windows.predict if self.split.embargo is None else self.split.embargo


__all__ = ["DEFAULT_FOLDER", "DatasetConfig", "Split", "WindowsSection"]

DEFAULT_FOLDER = Path("data") / "kronos_datasets"


def _timeframe(text: str) -> str:
    return Interval.from_timeframe(text).timeframe


def _symbol(text: str) -> str:
    symbol = text.strip()
    if not symbol or any(not sign.isprintable() for sign in symbol) or len(symbol) > 80:
        raise ValueError("a symbol is a short printable name, such as BTC-USDT-SWAP_4H")
    split_symbol(symbol)
    return symbol


def _source(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("name a source, such as okx or files:FOLDER")
    return text.strip()


Timeframe = Annotated[str, AfterValidator(_timeframe)]
Symbol = Annotated[str, AfterValidator(_symbol)]


class DatasetConfig(SharedConfig):
    """A dataset, and how to train on it.

    Attributes:
        source: Where candles come from, as `kronos.sources.open_source` takes it.
        timeframe: For symbols without a timeframe of their own.
        target_symbols: Instruments, a timeframe behind the last underscore: ``BTC-USDT-SWAP_4H``.
        records_per_timeframe: The latest closed candles of each symbol and timeframe.
        dataset_path: Its folder; None for its name in lower case in ``data/kronos_datasets``.
    """

    source: Annotated[str, AfterValidator(_source)] = "okx"
    timeframe: Timeframe | None = None
    target_symbols: Annotated[tuple[Symbol, ...], Field(min_length=1)]
    records_per_timeframe: Annotated[int, Field(ge=2)] = 2000
    dataset_path: Folder | None = None

    @classmethod
    def check(cls, values: Mapping[str, Any], origin: str) -> DatasetConfig:
        """Check values from a file or from a program.

        Args:
            values: By key.
            origin: What to call them in messages, a file's name.

        Raises:
            ParameterError: If a key is unknown (the nearest is named), missing, or has a wrong value.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ParameterError(format_validation_error(error, origin, cls)) from None

    @property
    def timeframes(self) -> tuple[str, ...]:
        """Every timeframe it needs, in the order of the series."""
        return tuple(dict.fromkeys(interval.timeframe for _, interval in self.series))

    @property
    def series(self) -> tuple[tuple[str, Interval], ...]:
        """Symbols with their timeframes, without repetition, in the order of the file.

        A symbol without a suffix takes ``timeframe``, else the suffixes of the others, else 1H, 4H and 1D.
        """
        split = [split_symbol(text) for text in self.target_symbols]
        own = list(dict.fromkeys(interval for _, interval in split if interval is not None))
        usual = (
            [Interval.from_timeframe(self.timeframe)]
            if self.timeframe
            else own or list(map(Interval.from_timeframe, DEFAULT_TIMEFRAMES))
        )
        pairs = [(symbol, one) for symbol, interval in split for one in ([interval] if interval else usual)]
        return tuple(dict.fromkeys(pairs))

    def folder(self, base: Path | None = None) -> Path:
        """Where the dataset lies.

        Args:
            base: A folder in which each dataset gets its own; it wins over ``dataset_path``.
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
        """The same with what flags or the environment say; what is None stays.

        Args:
            timeframes: For every symbol, whatever its suffix.
            records: Candles of each symbol and timeframe.
            source: Where candles come from.

        Raises:
            ParameterError: If a value is out of its range.
        """
        values = self.model_dump()
        if timeframes is not None:
            wanted = [_timeframe(text) for text in timeframes]
            if not wanted:
                raise ParameterError("No timeframes were given; write them like 4H,1D.")
            symbols = dict.fromkeys(split_symbol(text)[0] for text in self.target_symbols)
            values["target_symbols"] = [f"{symbol}_{one}" for symbol in symbols for one in dict.fromkeys(wanted)]
        if records is not None:
            values["records_per_timeframe"] = records
        if source is not None:
            values["source"] = source
        return type(self).check(values, "the flags and variables given")

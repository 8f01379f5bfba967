"""What a dataset is made of: the YAML that users copy and change, checked before anything is fetched.

- Unknown keys are refused with the nearest match, wrong values with the key's full name and the file's.
- What flags and environment say replaces what the file says: `DatasetConfig.changed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from kronos.candles.findings import shown
from kronos.datasets.complaints import sentence
from kronos.datasets.timeframes import DEFAULT_TIMEFRAMES, parse_timeframe, split_symbol, timeframe_text
from kronos.errors import ParameterError
from kronos.intervals import Interval
from kronos.storage import expanded

DEFAULT_FOLDER = Path("data") / "kronos_datasets"

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]


def _timeframe(text: str) -> str:
    return timeframe_text(parse_timeframe(text))


def _symbol(text: str) -> str:
    symbol = text.strip()
    if not symbol or any(not sign.isprintable() for sign in symbol) or len(symbol) > 80:
        raise ValueError("a symbol is a short printable name, such as BTC-USDT-SWAP_4H")
    split_symbol(symbol)
    return symbol


def _name(text: str) -> str:
    if not re.fullmatch(r"[\w][\w.+-]{0,79}", text):
        raise ValueError("letters, digits, '_', '-', '+' and '.' make a name that is also a folder's")
    return text


def _source(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("name a source, such as okx or files:FOLDER")
    return text.strip()


def _folder(path: Path) -> Path:
    if path == Path() or not str(path).isprintable():
        raise ValueError("name a folder of its own, or leave the key out")
    return path


Timeframe = Annotated[str, AfterValidator(_timeframe)]
Symbol = Annotated[str, AfterValidator(_symbol)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Windows(_Part):
    """A training sample.

    Attributes:
        lookback: Candles of history.
        predict: Candles to predict.
    """

    lookback: Count = 90
    predict: Count = 10

    @property
    def total(self) -> int:
        """Candles of one sample."""
        return self.lookback + self.predict


class Split(_Part):
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


class Training(_Part):
    """How to train on it.

    Attributes:
        batch_size: Samples a step and process.
        accumulation_steps: Steps whose gradients are added up before the weights change.
        tokenizer_learning_rate: Peak rate of the tokenizer.
        model_learning_rate: Peak rate of the model.
        epochs: Passes at most.
    """

    batch_size: Count = 32
    accumulation_steps: Count = 1
    tokenizer_learning_rate: Rate = 2e-4
    model_learning_rate: Rate = 4e-5
    epochs: Count = 30


class DatasetConfig(_Part):
    """A dataset, and how to train on it.

    Attributes:
        model_name: What model and dataset are called, ``Model_A_4H``.
        description: One line for people.
        source: Where candles come from, as `kronos.sources.open_source` takes it.
        timeframe: For symbols without a timeframe of their own.
        target_symbols: Instruments, a timeframe behind the last underscore: ``BTC-USDT-SWAP_4H``.
        records_per_timeframe: The latest closed candles of each symbol and timeframe.
        dataset_path: Its folder; None for its name in lower case in ``data/kronos_datasets``.
        windows: A training sample.
        split: Training, validation and test.
        quality: ``paper`` keeps what passes the paper's filters, ``none`` everything.
        training: How to train on it.
    """

    model_name: Annotated[str, AfterValidator(_name)]
    description: Annotated[str, AfterValidator(lambda text: shown(text, 300))] = ""
    source: Annotated[str, AfterValidator(_source)] = "okx"
    timeframe: Timeframe | None = None
    target_symbols: Annotated[tuple[Symbol, ...], Field(min_length=1)]
    records_per_timeframe: Annotated[int, Field(ge=2)] = 2000
    dataset_path: Annotated[Path, AfterValidator(_folder)] | None = None
    windows: Windows = Windows()
    split: Split = Split()
    quality: Literal["paper", "none"] = "paper"
    training: Training = Training()

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
            raise ParameterError(sentence(error, origin, cls)) from None

    @property
    def folder_name(self) -> str:
        """Its name as a folder."""
        return self.model_name.lower()

    @property
    def timeframes(self) -> tuple[str, ...]:
        """Every timeframe it needs, in the order of the series."""
        return tuple(dict.fromkeys(timeframe_text(interval) for _, interval in self.series))

    @property
    def series(self) -> tuple[tuple[str, Interval], ...]:
        """Symbols with their timeframes, without repetition, in the order of the file.

        A symbol without a suffix takes ``timeframe``, else the suffixes of the others, else 1H, 4H and 1D.
        """
        split = [split_symbol(text) for text in self.target_symbols]
        own = list(dict.fromkeys(interval for _, interval in split if interval is not None))
        usual = (
            [parse_timeframe(self.timeframe)]
            if self.timeframe
            else own or list(map(parse_timeframe, DEFAULT_TIMEFRAMES))
        )
        pairs = [(symbol, one) for symbol, interval in split for one in ([interval] if interval else usual)]
        return tuple(dict.fromkeys(pairs))

    @property
    def embargo(self) -> int:
        """Candles left out after each cut."""
        return self.windows.predict if self.split.embargo is None else self.split.embargo

    def folder(self, base: Path | None = None) -> Path:
        """Where the dataset lies.

        Args:
            base: A folder in which each dataset gets its own; it wins over ``dataset_path``.
        """
        if base is None and self.dataset_path is not None:
            return expanded(self.dataset_path)
        return (DEFAULT_FOLDER if base is None else expanded(base)) / self.folder_name

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

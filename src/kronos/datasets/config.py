"""What a dataset is made of: the YAML that users copy and change, checked before anything is fetched.

- Unknown keys are refused with the nearest match, wrong values with the key's full name and the file's.
- What flags and environment say replaces what the file says: `DatasetConfig.changed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from kronos.datasets.complaints import sentence
from kronos.datasets.recipes import Folder, Recipe, Split, Windows
from kronos.datasets.timeframes import DEFAULT_TIMEFRAMES, parse_timeframe, split_symbol, timeframe_text
from kronos.errors import ParameterError
from kronos.intervals import Interval
from kronos.storage import expanded

__all__ = ["DEFAULT_FOLDER", "DatasetConfig", "Split", "Windows"]

DEFAULT_FOLDER = Path("data") / "kronos_datasets"


def _timeframe(text: str) -> str:
    return timeframe_text(parse_timeframe(text))


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


class DatasetConfig(Recipe):
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
            raise ParameterError(sentence(error, origin, cls)) from None

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

"""A prepared dataset, found by its name or its folder."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kronos.candles.findings import shown
from kronos.datasets.config import DEFAULT_FOLDER, DatasetConfig
from kronos.datasets.registry import load_config
from kronos.datasets.splitting import PARTS
from kronos.datasets.summary import SUMMARY
from kronos.errors import DataError, ParameterError
from kronos.storage import expanded


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder that `prepare` made.

    Attributes:
        folder: Where it lies.
        summary: What its ``data_summary.json`` holds.
    """

    folder: Path
    summary: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``Model_A_4H``."""
        return str(self.summary["model_name"])

    @property
    def simulated(self) -> bool:
        """Whether its candles are invented."""
        return bool(self.summary["simulated"])

    @property
    def config(self) -> DatasetConfig:
        """The configuration that made it."""
        return DatasetConfig.check(self.summary["config"], SUMMARY)

    def path(self, part: str) -> Path:
        """The file of a part.

        Args:
            part: ``train``, ``val`` or ``test``.

        Raises:
            ParameterError: If there is no such part.
        """
        if part not in PARTS:
            raise ParameterError(f"There is no part '{part}'; there are {', '.join(PARTS)}.")
        return self.folder / f"{part}_data.parquet"

    def read(self, part: str) -> pd.DataFrame:
        """A part as a long table: unique_id, symbol, timeframe, timestamps (UTC), open … amount, segment.

        Args:
            part: ``train``, ``val`` or ``test``.

        Raises:
            DataError: If its file is missing or broken.
        """
        path = self.path(part)
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read; prepare the dataset again.") from error


def open_dataset(name: str | Path, base: Path | None = None) -> Dataset:
    """Open a prepared dataset.

    Args:
        name: Its name in any case (``Model_A_4H``), or its folder.
        base: Where named datasets lie; None for where `kronos data prepare` puts them: ``KRONOS_OUTPUT_DIR``, else the
            configuration's ``dataset_path``, else ``data/kronos_datasets``.

    Raises:
        ParameterError: If there is none, naming the nearest.
        DataError: If its summary is damaged.
    """
    usual = _usual_folder() if base is None else expanded(base)
    for folder in (expanded(name), *_homes(str(name), usual, base)):
        if (folder / SUMMARY).is_file():
            return Dataset(folder, _read(folder / SUMMARY))
    there = sorted(path.parent.name for path in usual.glob(f"*/{SUMMARY}"))
    near = difflib.get_close_matches(str(name).lower(), there, n=1)
    mend = f"did you mean {near[0]}?" if near else "make one with 'kronos data prepare'."
    raise ParameterError(f"There is no prepared dataset '{shown(name, 80)}'; {mend}")


def is_dataset(folder: Path) -> bool:
    """Whether a folder holds a dataset that `prepare` made."""
    try:
        _read(folder / SUMMARY)
    except DataError:
        return False
    return True


def _usual_folder() -> Path:
    from kronos.settings import get_settings

    return get_settings().output_dir or DEFAULT_FOLDER


def _homes(name: str, usual: Path, base: Path | None) -> Iterator[Path]:
    """Where a dataset of that name may lie."""
    yield usual / name.lower()
    if base is not None:
        return
    with suppress(ParameterError):
        yield load_config(name).folder()
    yield DEFAULT_FOLDER / name.lower()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        summary = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read; prepare the dataset again.") from error
    if not isinstance(summary, dict) or not {"model_name", "config", "simulated"} <= set(summary):
        raise DataError(f"{path} is no summary of a dataset; prepare it again.")
    return summary

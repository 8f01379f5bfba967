"""Training sets: configurations, downloads, quality, splits, storage, and the windows that networks learn from.

- `prepare` makes a dataset of a source; `open_dataset` finds one again.
- `open_training_data` opens whatever a model may be trained on, `WindowDataset` draws its samples, `batches` hands them
  out; `leaks` checks that no sample knows its future.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kronos.datasets.batching import Batch, Sample, batches, collate
    from kronos.datasets.config import DatasetConfig
    from kronos.datasets.config_loading import configurations, load_config
    from kronos.datasets.discovery import PreparedDataset, open_dataset
    from kronos.datasets.leakage import check_leakage
    from kronos.datasets.memmap_store import MemmapCandles, SeriesInfo, build_store
    from kronos.datasets.prepare import Prepared, prepare
    from kronos.datasets.segments import Part, Segment
    from kronos.datasets.splits import SplitDates, find_split_dates, read_split_dates
    from kronos.datasets.training_data import TrainingData, WindowSettings, open_training_data
    from kronos.datasets.windows import Window, WindowDataset

_HOMES = {
    "Batch": "batching",
    "DatasetConfig": "config",
    "MemmapCandles": "memmap_store",
    "Part": "segments",
    "Prepared": "prepare",
    "PreparedDataset": "discovery",
    "Sample": "batching",
    "Segment": "segments",
    "SeriesInfo": "memmap_store",
    "SplitDates": "splits",
    "TrainingData": "training_data",
    "Window": "windows",
    "WindowDataset": "windows",
    "WindowSettings": "training_data",
    "batches": "batching",
    "build_store": "memmap_store",
    "check_leakage": "leakage",
    "collate": "batching",
    "configurations": "config_loading",
    "find_split_dates": "splits",
    "load_config": "config_loading",
    "open_dataset": "discovery",
    "open_training_data": "training_data",
    "prepare": "prepare",
    "read_split_dates": "splits",
}

__all__ = [
    "Batch",
    "DatasetConfig",
    "MemmapCandles",
    "Part",
    "Prepared",
    "PreparedDataset",
    "Sample",
    "Segment",
    "SeriesInfo",
    "SplitDates",
    "TrainingData",
    "Window",
    "WindowDataset",
    "WindowSettings",
    "batches",
    "build_store",
    "check_leakage",
    "collate",
    "configurations",
    "find_split_dates",
    "load_config",
    "open_dataset",
    "open_training_data",
    "prepare",
    "read_split_dates",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch and pandas are not needed to list a command."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kronos.datasets' has no attribute '{name}'")
    value = getattr(import_module(f"kronos.datasets.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

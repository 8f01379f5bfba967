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
    from kronos.datasets.leaking import leaks
    from kronos.datasets.prepared import Dataset, open_dataset
    from kronos.datasets.preparing import Prepared, prepare
    from kronos.datasets.registry import configurations, load_config
    from kronos.datasets.split_dates import SplitDates, find_split_dates, read_split_dates
    from kronos.datasets.store import CandleStore, build_store
    from kronos.datasets.store_writing import SeriesInfo
    from kronos.datasets.stretches import Part, Span
    from kronos.datasets.training_data import TrainingData, open_training_data
    from kronos.datasets.window_settings import WindowSettings
    from kronos.datasets.windows import Window, WindowDataset

_HOMES = {
    "Batch": "batching",
    "CandleStore": "store",
    "Dataset": "prepared",
    "DatasetConfig": "config",
    "Part": "stretches",
    "Prepared": "preparing",
    "Sample": "batching",
    "SeriesInfo": "store_writing",
    "Span": "stretches",
    "SplitDates": "split_dates",
    "TrainingData": "training_data",
    "Window": "windows",
    "WindowDataset": "windows",
    "WindowSettings": "window_settings",
    "batches": "batching",
    "build_store": "store",
    "collate": "batching",
    "configurations": "registry",
    "find_split_dates": "split_dates",
    "leaks": "leaking",
    "load_config": "registry",
    "open_dataset": "prepared",
    "open_training_data": "training_data",
    "prepare": "preparing",
    "read_split_dates": "split_dates",
}

__all__ = [
    "Batch",
    "CandleStore",
    "Dataset",
    "DatasetConfig",
    "Part",
    "Prepared",
    "Sample",
    "SeriesInfo",
    "Span",
    "SplitDates",
    "TrainingData",
    "Window",
    "WindowDataset",
    "WindowSettings",
    "batches",
    "build_store",
    "collate",
    "configurations",
    "find_split_dates",
    "leaks",
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

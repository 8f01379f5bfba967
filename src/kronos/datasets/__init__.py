"""Prepared training sets: configurations, downloads, quality, splits, storage."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kronos.datasets.config import DatasetConfig
    from kronos.datasets.prepared import Dataset, open_dataset
    from kronos.datasets.preparing import Prepared, prepare
    from kronos.datasets.registry import configurations, load_config

_HOMES = {
    "Dataset": "prepared",
    "DatasetConfig": "config",
    "Prepared": "preparing",
    "configurations": "registry",
    "load_config": "registry",
    "open_dataset": "prepared",
    "prepare": "preparing",
}

__all__ = ["Dataset", "DatasetConfig", "Prepared", "configurations", "load_config", "open_dataset", "prepare"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: pydantic and pandas are not needed to list a command."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kronos.datasets' has no attribute '{name}'")
    value = getattr(import_module(f"kronos.datasets.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

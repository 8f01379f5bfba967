"""Where datasets lie, and which folders may be replaced, so that nothing is ever lost but an old dataset."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

from kronos.datasets.prepared import is_dataset
from kronos.datasets.splitting import PARTS
from kronos.datasets.summary import SUMMARY
from kronos.errors import ParameterError

_OURS = {SUMMARY, *(f"{part}_data.{ending}" for part in PARTS for ending in ("parquet", "pkl"))}
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}  # what file managers leave behind


def check_place(place: Path, *, force: bool) -> None:
    """Refuse to replace what is there, unless that is asked for and what is there is a dataset and nothing else.

    Raises:
        ParameterError: If a file, a folder with something in it, or a dataset around it is in the way.
    """
    if is_dataset(_real(place).parent):
        raise ParameterError(f"{place} would lie inside the dataset {place.parent}; choose another folder.")
    if not place.exists():
        return
    if not place.is_dir():
        raise ParameterError(f"{place} is a file; choose another folder.")
    there = {path.name for path in place.iterdir()}
    if not there:
        return
    if not force:
        raise ParameterError(f"{place} exists; --force replaces it once the new dataset is whole.")
    names = there - _LITTER
    if names and SUMMARY not in names:
        raise ParameterError(f"{place} holds no dataset and is not replaced; choose another folder.")
    if strange := sorted(names - _OURS):
        raise ParameterError(
            f"{place} holds {strange[0]} besides its dataset, and is not replaced; move that away, or choose another "
            f"folder."
        )


def check_apart(places: Sequence[tuple[str, Path]]) -> None:
    """Refuse datasets of which one would lie in another's folder.

    Args:
        places: What each dataset is called, and its folder.

    Raises:
        ParameterError: If two share a folder, or one lies in another's.
    """
    for (name, place), (other, around) in permutations(places, 2):
        if _real(place) == _real(around):
            raise ParameterError(
                f"{name} and {other} would share the folder {place}; give one another model_name or dataset_path."
            )
        if _real(place).is_relative_to(_real(around)):
            raise ParameterError(f"{name} would lie in the folder {around} of {other}; give one another dataset_path.")


def _real(path: Path) -> Path:
    """Where a path leads through its links; `Path.resolve` raises where they go in a circle."""
    return Path(os.path.realpath(path))

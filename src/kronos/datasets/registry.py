"""Configurations by name: those that ship, those in ``configs/`` of the working folder, or any file by its path."""

from __future__ import annotations

import difflib
from collections.abc import Hashable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from kronos.datasets.config import DatasetConfig
from kronos.errors import ParameterError

_OWN = Path("configs")
_ENDINGS = (".yaml", ".yml")
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A configuration that has a name.

    Attributes:
        name: What ``--config`` takes.
        path: Its file.
        shipped: Whether it came with the package, not from the working folder.
    """

    name: str
    path: Path
    shipped: bool


def configurations() -> list[Entry]:
    """Every configuration that has a name; one in the working folder's ``configs/`` hides a shipped one."""
    shipped = _listed(Path(str(resources.files("kronos") / "configs")), shipped=True)
    own = _listed(_OWN, shipped=False)
    return sorted(({entry.name: entry for entry in (*shipped, *own)}).values(), key=lambda entry: entry.name)


def load_config(name: str | Path) -> DatasetConfig:
    """Read a configuration.

    Args:
        name: A name in any case (``model_a_4h``, ``Model_A_4H``), or the path of a YAML file.

    Raises:
        ParameterError: If there is none, naming the nearest, or something in it is wrong.
    """
    path = _find(str(name))
    return DatasetConfig.check(_read(path), path.name)


def _listed(folder: Path, *, shipped: bool) -> list[Entry]:
    if not folder.is_dir():
        return []
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS and path.is_file())
    return [Entry(path.stem.lower(), path, shipped) for path in files if shipped or _is_dataset(path)]


def _is_dataset(path: Path) -> bool:
    """Whether a YAML file of the user's is about a dataset at all: other tools keep theirs in ``configs/`` too."""
    try:
        return "target_symbols" in _read(path)
    except ParameterError:
        return False


def _find(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path
    found = {entry.name: entry.path for entry in configurations()}
    wanted = name.lower()
    for ending in _ENDINGS:
        wanted = wanted.removesuffix(ending)
    if wanted in found:
        return found[wanted]
    if path.suffix.lower() in _ENDINGS or len(path.parts) > 1:
        raise ParameterError(f"There is no configuration file {name}; check the path, or see --list-configs.")
    near = difflib.get_close_matches(wanted, found, n=1, cutoff=0.5)
    mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(found)}, or give a path."
    raise ParameterError(f"No configuration is called '{name}'; {mend}")


class _Loader(yaml.SafeLoader):
    """YAML without objects, and without keys that are written twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    twice = next((key for key in keys if isinstance(key, Hashable) and keys.count(key) > 1), None)
    if twice is not None:
        raise yaml.constructor.ConstructorError(None, None, f"the key '{twice}' is there twice", node.start_mark)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ParameterError(f"{path.name} is far too large for a configuration; check the path.")
        text = path.read_text("utf-8")
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ParameterError(f"{path.name} is no valid YAML: {_where(error)}.") from None
    except UnicodeDecodeError:
        raise ParameterError(f"{path.name} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise ParameterError(f"{path.name} cannot be read ({error.strerror}); check its rights.") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ParameterError(f"{path.name} holds no keys and values; start from a shipped configuration.")
    return values


def _where(error: yaml.YAMLError) -> str:
    """A YAML error's line and reason."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    reason = problem or str(error).split("\n", 1)[0]
    return f"{reason} in line {mark.line + 1}" if mark is not None else reason

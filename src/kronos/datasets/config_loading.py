"""Configurations by name: those that ship, those in ``configs/`` of the working folder, or any file by its path."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from kronos.atomic import expand_user
from kronos.datasets.config import DatasetConfig
from kronos.errors import ParameterError
from kronos.formatting import truncate

_OWN = Path("configs")
_ENDINGS = (".yaml", ".yml")
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """A configuration that has a name.

    Attributes:
        name: What ``--config`` takes.
        path: Its file.
        shipped: Whether it came with the package, not from the working folder.
    """

    name: str
    path: Path
    shipped: bool


def configurations(*, training: bool = False) -> list[ConfigEntry]:
    """Every configuration that has a name; one in the working folder's ``configs/`` hides a shipped one.

    Args:
        training: Whether those count too that no dataset can be prepared from, but a model trained by.
    """
    wanted = _is_dataset if not training else lambda path: _is_dataset(path) or _is_training(path)
    shipped = _listed(Path(str(resources.files("kronos") / "configs")), wanted, shipped=True)
    own = _listed(_OWN, wanted, shipped=False)
    return sorted(({entry.name: entry for entry in (*shipped, *own)}).values(), key=lambda entry: entry.name)


def load_config(name: str | Path) -> DatasetConfig:
    """Read a configuration.

    Args:
        name: A name in any case (``model_a_4h``, ``Model_A_4H``), or the path of a YAML file.

    Raises:
        ParameterError: If there is none, naming the nearest, or something in it is wrong.
    """
    path = find_file(name, configurations())
    return DatasetConfig.check(read_yaml(path), path.name)


def _listed(folder: Path, wanted: Callable[[Path], bool], *, shipped: bool) -> list[ConfigEntry]:
    return [ConfigEntry(path.stem.lower(), path, shipped) for path in _files(folder) if wanted(path)]


def _files(folder: Path) -> list[Path]:
    """The YAML files of a folder; none if it isn't there."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS and path.is_file())


def _is_dataset(path: Path) -> bool:
    """Whether a YAML file, be it broken, is about a dataset: other things are kept in ``configs/`` too."""
    return b"target_symbol" in _content(path)


def _is_training(path: Path) -> bool:
    """Whether a YAML file, be it broken, is about training on candles that are there."""
    content = _content(path)
    return b"model_name" in content and re.search(rb"^data\s*:", content, re.MULTILINE) is not None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_size <= _MAX_BYTES else b""
    except OSError:
        return b""


def find_file(name: str | Path, entries: Iterable[ConfigEntry]) -> Path:
    """The file of a configuration.

    Args:
        name: A name in any case, or the path of a YAML file.
        entries: Those that have a name.

    Raises:
        ParameterError: If there is none, naming the nearest.
    """
    name = str(name)
    path = expand_user(name)
    if _is_file(path):
        return path
    wanted = name.lower()
    for ending in _ENDINGS:
        wanted = wanted.removesuffix(ending)
    listed = {entry.name: entry.path for entry in entries}
    # Whatever is wrong with the user's own of that name, it has to be told, not another one taken.
    found = listed | {one.stem.lower(): one for one in _files(_OWN)}
    if wanted in found:
        return found[wanted]
    if path.suffix.lower() in _ENDINGS or len(path.parts) > 1:
        raise ParameterError(
            f"There is no configuration file {truncate(name, 80)}; check its path, or see --list-configs."
        )
    near = difflib.get_close_matches(wanted, listed, n=1, cutoff=0.5)
    mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(listed)}, or give a path."
    raise ParameterError(f"No configuration is called '{truncate(name, 80)}'; {mend}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long for a name, or in a folder that may not be looked into
        return False


class _Loader(yaml.SafeLoader):
    """YAML without objects, in which plain values are text until a key wants a number.

    So ``000001`` and ``NO`` are the symbols that a person means, not 1 and no; and no key can be there twice.
    """


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    twice = next((key for key in keys if isinstance(key, Hashable) and keys.count(key) > 1), None)
    if twice is not None:
        raise yaml.constructor.ConstructorError(None, None, f"the key '{twice}' is there twice", node.start_mark)
    return yaml.constructor.BaseConstructor.construct_mapping(loader, node, deep=True)


_Loader.yaml_constructors = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.endswith((":str", ":seq", ":null"))
}
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0].endswith(":null")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """What a configuration's file holds, plain values as text.

    Raises:
        ParameterError: If it is no YAML of keys and values.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ParameterError(f"{path.name} is far too large for a configuration; check the path.")
        text = path.read_text("utf-8")
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ParameterError(f"{path.name} is no valid YAML: {_where(error)}.") from None
    except RecursionError:
        raise ParameterError(f"{path.name} is nested too deeply; start from a shipped configuration.") from None
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

"""Loading of configurations: bundled ones and those in ``configs/`` by name, any file by its path."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from kronos.datasets.config import DatasetConfig
from kronos.errors import ParameterError
from kronos.formatting import expand_user, truncate

_USER_FOLDER = Path("configs")
_ENDINGS = (".yaml", ".yml")
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """A configuration that can be loaded by name.

    Attributes:
        name: Its name, for ``--config``.
        path: Its file.
        shipped: Whether it is bundled with the package.
    """

    name: str
    path: Path
    shipped: bool


def list_configs(*, training: bool = False) -> list[ConfigEntry]:
    """List the configurations that can be loaded by name; files in ``configs/`` override bundled ones.

    Args:
        training: Include configurations for training on existing candles.
    """
    accept = _is_dataset if not training else lambda path: _is_dataset(path) or _is_training(path)
    shipped = _named_configs(Path(str(resources.files("kronos") / "configs")), accept, shipped=True)
    own = _named_configs(_USER_FOLDER, accept, shipped=False)
    return sorted(({entry.name: entry for entry in (*shipped, *own)}).values(), key=lambda entry: entry.name)


def load_config(name: str | Path) -> DatasetConfig:
    """Load a configuration.

    Args:
        name: Its name in any case (``model_a_4h``, ``Model_A_4H``), or the path of a YAML file.

    Raises:
        ParameterError: If there is no such configuration (the message suggests the nearest), or it is invalid.
    """
    path = find_config_file(name, list_configs())
    return DatasetConfig.check(read_yaml(path), path.name)


def _named_configs(folder: Path, accept: Callable[[Path], bool], *, shipped: bool) -> list[ConfigEntry]:
    return [ConfigEntry(path.stem.lower(), path, shipped) for path in _yaml_files(folder) if accept(path)]


def _yaml_files(folder: Path) -> list[Path]:
    """The YAML files of a folder, if it exists."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS and path.is_file())


def _is_dataset(path: Path) -> bool:
    """Whether a YAML file, even an invalid one, configures a dataset; ``configs/`` may hold other files."""
    return b"target_symbol" in _content(path)


def _is_training(path: Path) -> bool:
    """Whether a YAML file, even an invalid one, configures training on existing candles."""
    content = _content(path)
    return b"model_name" in content and re.search(rb"^data\s*:", content, re.MULTILINE) is not None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_size <= _MAX_BYTES else b""
    except OSError:
        return b""


def find_config_file(name: str | Path, entries: Iterable[ConfigEntry]) -> Path:
    """Find the file of a configuration.

    Args:
        name: Its name in any case, or the path of a YAML file.
        entries: The configurations with names.

    Raises:
        ParameterError: If there is no such configuration; the message suggests the nearest.
    """
    name = str(name)
    path = expand_user(name)
    if _is_file(path):
        return path
    key = name.lower()
    for ending in _ENDINGS:
        key = key.removesuffix(ending)
    listed = {entry.name: entry.path for entry in entries}
    # The user's own file of that name comes first, whatever it holds, so that its errors are reported.
    files = listed | {file.stem.lower(): file for file in _yaml_files(_USER_FOLDER)}
    if key in files:
        return files[key]
    if path.suffix.lower() in _ENDINGS or len(path.parts) > 1:
        raise ParameterError(
            f"There is no configuration file {truncate(name, 80)}: check its path, or see --list-configs."
        )
    near = difflib.get_close_matches(key, listed, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"choose {', '.join(listed)}, or pass a path."
    raise ParameterError(f"There is no configuration '{truncate(name, 80)}'; {hint}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # name too long, or no permission for the folder
        return False


class _Loader(yaml.SafeLoader):
    """Safe YAML in which plain values are text until a key needs a number, and repeated keys are an error.

    So ``000001`` and ``NO`` are symbols, not the number 1 and False.
    """


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    repeated = next((key for key in keys if isinstance(key, Hashable) and keys.count(key) > 1), None)
    if repeated is not None:
        raise yaml.constructor.ConstructorError(None, None, f"the key '{repeated}' is repeated", node.start_mark)
    return yaml.constructor.BaseConstructor.construct_mapping(loader, node, deep=True)


_Loader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.endswith((":str", ":seq", ":null"))
}
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0].endswith(":null")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a configuration's file, with plain values as text.

    Raises:
        ParameterError: If it is not YAML with keys and values.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ParameterError(f"{path.name} is too large for a configuration: check the path.")
        text = path.read_text("utf-8")
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ParameterError(f"{path.name} is not valid YAML: {_position(error)}.") from None
    except RecursionError:
        raise ParameterError(f"{path.name} is nested too deeply: start from a bundled configuration.") from None
    except UnicodeDecodeError:
        raise ParameterError(f"{path.name} is not UTF-8 text: save it as UTF-8.") from None
    except OSError as error:
        raise ParameterError(f"Cannot read {path.name} ({error.strerror}): check its permissions.") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ParameterError(f"{path.name} has no keys and values: start from a bundled configuration.")
    return values


def _position(error: yaml.YAMLError) -> str:
    """Reason and line of a YAML error."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    reason = problem or str(error).split("\n", 1)[0]
    return f"{reason} in line {mark.line + 1}" if mark is not None else reason

"""Settings from the environment (``KRONOS_…``), typed and checked.

- Priority: defaults < environment < what the caller passes; command-line flags are what the command line
  passes.
- Read afresh at each call: nothing is remembered, so a test or a notebook can change the environment.
- pydantic loads only here; import this module inside the functions that use it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from kronos.errors import ParameterError


def _blank_is_unset(value: Any) -> Any:
    """Treat an empty variable (``KRONOS_DEVICE=``) as one that is not set."""
    return None if isinstance(value, str) and not value.strip() else value


OptionalText = Annotated[str | None, BeforeValidator(_blank_is_unset)]
OptionalCount = Annotated[int | None, Field(ge=1), BeforeValidator(_blank_is_unset)]
OptionalPath = Annotated[
    Path | None,
    AfterValidator(lambda path: path.expanduser() if path is not None else None),
    BeforeValidator(_blank_is_unset),
]


class Settings(BaseSettings):
    """What may be set once for every command and session.

    Attributes:
        model: Zoo name, hub id or folder to use when none is asked for; None means the bundled model.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; None picks the best there is.
        cache_dir: Where downloaded checkpoints lie; None means the hub's own cache (``HF_HOME``).
        offline: Never use the network.
        threads: CPU threads to use; None leaves it to torch.
        precision: ``exact`` (float32) or ``fast`` (bfloat16 where the hardware gains).
    """

    model_config = SettingsConfigDict(env_prefix="KRONOS_", extra="forbid", frozen=True, env_ignore_empty=True)

    model: OptionalText = None
    device: OptionalText = None
    cache_dir: OptionalPath = None
    offline: bool = False
    threads: OptionalCount = None
    precision: Literal["exact", "fast"] = "exact"


def get_settings(overrides: Mapping[str, object] | None = None) -> Settings:
    """Read the settings.

    Args:
        overrides: Values that win over the environment, by field name; those that are None do not count.

    Returns:
        The checked settings.

    Raises:
        ParameterError: If a name is unknown (the nearest one is suggested) or a value out of its range.
    """
    given: dict[str, Any] = {name: value for name, value in (overrides or {}).items() if value is not None}
    for name in given:
        if name not in Settings.model_fields:
            raise ParameterError(_unknown(name))
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ParameterError(_sentence(error, given)) from error


def _unknown(name: str) -> str:
    """Say that a setting does not exist, and which one may have been meant."""
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    mend = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(Settings.model_fields)}."
    return f"There is no setting '{name}'; {mend}"


def _sentence(error: ValidationError, given: Mapping[str, object]) -> str:
    """Say the first thing that is wrong, by the name under which the user set it."""
    first = error.errors()[0]
    field = str(first["loc"][0]) if first["loc"] else "settings"
    name = field if field in given else f"KRONOS_{field.upper()}"
    expected = first["msg"][0].lower() + first["msg"][1:]
    return f"The setting {name} cannot be {first['input']!r}: {expected}."

"""The environment that ``torchrun`` sets: this process's rank and the number of processes; imports no torch."""

from __future__ import annotations

import os

from kronos.errors import ParameterError


def rank() -> int:
    """Read this process's rank; 0 without ``torchrun``.

    Raises:
        ParameterError: If the environment is not what ``torchrun`` sets.
    """
    return env_int("RANK", 0)


def world_size() -> int:
    """Read the number of processes that train together; 1 without ``torchrun``.

    Raises:
        ParameterError: If the environment is not what ``torchrun`` sets.
    """
    return env_int("WORLD_SIZE", 1)


def is_first() -> bool:
    """Whether this is the process that writes and reports."""
    return world_size() == 1 or rank() == 0


def env_int(name: str, default: int) -> int:
    """Read an integer variable of the environment that ``torchrun`` sets.

    Args:
        name: Name of the variable.
        default: Its value without ``torchrun``.

    Raises:
        ParameterError: If it is not a number.
    """
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise ParameterError(f"Invalid {name} '{text[:40]}': expected the integer that torchrun sets.")
    return int(text)

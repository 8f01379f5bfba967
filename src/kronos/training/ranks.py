"""Which of the processes that ``torchrun`` started this one is, by the environment alone; without torch."""

from __future__ import annotations

import os

from kronos.errors import ParameterError


def rank() -> int:
    """This process's number; 0 when it is alone.

    Raises:
        ParameterError: If the environment is not what ``torchrun`` sets.
    """
    return number("RANK", 0)


def world_size() -> int:
    """How many processes train together.

    Raises:
        ParameterError: If the environment is not what ``torchrun`` sets.
    """
    return number("WORLD_SIZE", 1)


def is_first() -> bool:
    """Whether this is the process that writes and reports."""
    return world_size() == 1 or rank() == 0


def number(name: str, usual: int) -> int:
    """A variable that ``torchrun`` sets.

    Args:
        name: Which.
        usual: What it is without ``torchrun``.

    Raises:
        ParameterError: If it is no number.
    """
    text = os.environ.get(name, str(usual))
    if not text.isdecimal():
        raise ParameterError(f"The variable {name} is '{text[:40]}', not a number; torchrun sets it.")
    return int(text)

"""Validation errors of configurations as one sentence: the key's full name, the value, and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from kronos.formatting import join_names, truncate

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SECTION = "a section is needed: keys and values, one per line below it"


_EXPECTED = {
    "string_type": "text is needed",
    "tuple_type": "a list is needed, such as [BTC-USDT_4H, ETH-USDT_4H]",
    "too_short": "at least one is needed",
    "model_type": _SECTION,
    "model_attributes_type": _SECTION,
    "path_type": "a folder's path is needed",
    "int_type": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "float_type": "a number is needed",
    "float_parsing": "a number is needed",
}


def format_validation_error(error: ValidationError, origin: str, model: type[BaseModel]) -> str:
    """Describe the first problem of a validation error.

    Args:
        error: The error.
        origin: Origin of the values, such as a file's name.
        model: The model that the values were validated against.
    """
    errors = error.errors()
    # A misspelt key is missing too: report the key that is there first.
    first = next((details for details in errors if details["type"] == "extra_forbidden"), errors[0])
    loc = [str(part) for part in first["loc"]]
    name = ".".join(loc)
    if first["type"] == "extra_forbidden":
        known = _known_keys(loc, model)
        near = difflib.get_close_matches(loc[-1], known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose {join_names(known, None, 'or')}."
        return f"{origin} has the unknown key '{truncate(name, 80)}'; {hint}"
    if first["type"] == "missing":
        return f"{origin} lacks '{name}'; add it."
    subject, value = f"'{name}' in {origin}" if name else origin, first["input"]
    if value is None:
        return f"{subject} is empty: set a value, or omit it."
    if isinstance(value, Mapping | list | tuple):
        return f"{subject} is invalid: {_reason(first)}."
    return f"{subject} cannot be '{truncate(value)}': {_reason(first)}."


def _reason(details: ErrorDetails) -> str:
    """Why a value is invalid, for the middle of a sentence."""
    cause = details.get("ctx", {}).get("error")
    text = str(cause) if cause is not None else _EXPECTED.get(details["type"], details["msg"])
    return f"{text[:1].lower()}{text[1:]}".rstrip(".")


def _known_keys(loc: list[str], model: type[BaseModel]) -> list[str]:
    """The keys of the section that an unknown one is in."""
    for part in loc[:-1]:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        model = next(_sections(annotation), model)
    return list(model.model_fields)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models within a type, such as ``Start | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)

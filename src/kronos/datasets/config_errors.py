"""What is wrong with a configuration, in one sentence: the key by its full name, the value, and the mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from kronos.formatting import truncate

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_KEYS = "keys and values are needed, one a line below it"
_NEEDED = {
    "string_type": "text is needed",
    "tuple_type": "a list is needed, such as [BTC-USDT_4H, ETH-USDT_4H]",
    "too_short": "at least one is needed",
    "model_type": _KEYS,
    "model_attributes_type": _KEYS,
    "path_type": "a folder's path is needed",
    "int_type": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "float_type": "a number is needed",
    "float_parsing": "a number is needed",
}


def format_validation_error(error: ValidationError, origin: str, model: type[BaseModel]) -> str:
    """Say the first thing that is wrong.

    Args:
        error: What pydantic found.
        origin: What to call the values' source, a file's name.
        model: What the values were to become.
    """
    errors = error.errors()
    # A key that is written wrongly is lacking too: tell of what is there, not of what isn't.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    loc = [str(part) for part in first["loc"]]
    name = ".".join(loc)
    if first["type"] == "extra_forbidden":
        known = _keys_beside(loc, model)
        near = difflib.get_close_matches(loc[-1], known, n=1)
        mend = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}."
        return f"{origin} has the unknown key '{truncate(name, 80)}'; {mend}"
    if first["type"] == "missing":
        return f"{origin} lacks '{name}'; add it."
    subject, value = f"'{name}' of {origin}" if name else origin, first["input"]
    if value is None:
        return f"{subject} is empty; give it a value, or leave it out."
    if isinstance(value, Mapping | list | tuple):
        return f"{subject} is wrong: {_reason(first)}."
    return f"{subject} cannot be '{truncate(value)}': {_reason(first)}."


def _reason(first: ErrorDetails) -> str:
    """Why a value is refused, for the middle of a sentence."""
    own = first.get("ctx", {}).get("error")
    text = str(own) if own is not None else _NEEDED.get(first["type"], first["msg"])
    return f"{text[:1].lower()}{text[1:]}".rstrip(".")


def _keys_beside(loc: list[str], model: type[BaseModel]) -> list[str]:
    """The keys that exist where an unknown one was written."""
    for part in loc[:-1]:
        kind = model.model_fields[part].annotation if part in model.model_fields else None
        model = next(_sections(kind), model)
    return list(model.model_fields)


def _sections(kind: Any) -> Iterator[type[BaseModel]]:
    """The models within a type, such as that of ``Start | None``."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in get_args(kind):
        yield from _sections(inner)

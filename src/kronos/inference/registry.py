"""The published lookup of model classes by name: `get_model_class` and `register_model`."""

from __future__ import annotations

from kronos.errors import ParameterError
from kronos.nn import Kronos, KronosTokenizer

model_dict: dict[str, type] = {
    "kronos_tokenizer": KronosTokenizer,
    "kronos": Kronos,
}  # kronos.inference.predictor adds "kronos_predictor"


def get_model_class(model_name: str) -> type:
    """Look up a class in `model_dict`; `register_model` adds to it.

    Raises:
        NotImplementedError: If there is no class of that name, as in the published system.
    """
    if model_name not in model_dict:
        raise NotImplementedError(f"Unknown model class '{model_name}': choose {', '.join(model_dict)}.")
    return model_dict[model_name]


def register_model(name: str, cls: type, *, replace: bool = False) -> None:
    """Register a class in this process.

    Args:
        name: Name for `get_model_class`.
        cls: The class, not an instance.
        replace: Replace another class of that name.

    Raises:
        ParameterError: If ``cls`` is not a class, the name is empty, or another class has it and ``replace`` is False.
    """
    if not isinstance(cls, type):
        raise ParameterError(f"Cannot register a {type(cls).__name__} as '{name}': pass a class.")
    if not isinstance(name, str) or not name.strip():
        raise ParameterError("A model class needs a name: pass a non-empty one.")
    taken = model_dict.get(name)
    if taken is not None and taken is not cls and not replace:
        owner = f"{taken.__module__}.{taken.__qualname__}"
        raise ParameterError(f"'{name}' is registered for {owner}: choose another name, or pass replace=True.")
    model_dict[name] = cls

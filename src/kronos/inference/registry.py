"""The registry of classes by name, as the published system has it."""

from __future__ import annotations

from kronos.errors import ParameterError
from kronos.inference.predictor import KronosPredictor
from kronos.nn import Kronos, KronosTokenizer

model_dict: dict[str, type] = {
    "kronos_tokenizer": KronosTokenizer,
    "kronos": Kronos,
    "kronos_predictor": KronosPredictor,
}


def get_model_class(model_name: str) -> type:
    """The class of that name in `model_dict`, to which `register_model` adds users' own.

    Raises:
        NotImplementedError: If there is none, as in the published system.
    """
    if model_name not in model_dict:
        raise NotImplementedError(f"There is no model class '{model_name}'; there are {', '.join(model_dict)}.")
    return model_dict[model_name]


def register_model(name: str, cls: type, *, replace: bool = False) -> None:
    """Add a class to the registry, for this process.

    Args:
        name: What `get_model_class` will find it by.
        cls: The class itself, not an instance.
        replace: Whether it may take the place of another class of that name.

    Raises:
        ParameterError: If it is no class, the name is empty, or another class has it and ``replace`` is not said.
    """
    if not isinstance(cls, type):
        raise ParameterError(f"'{name}' has to be registered with a class, not with a {type(cls).__name__}.")
    if not isinstance(name, str) or not name.strip():
        raise ParameterError("A model class needs a name; give register_model one.")
    taken = model_dict.get(name)
    if taken is not None and taken is not cls and not replace:
        owner = f"{taken.__module__}.{taken.__qualname__}"
        raise ParameterError(f"'{name}' is registered for {owner}; take another name, or say replace=True.")
    model_dict[name] = cls

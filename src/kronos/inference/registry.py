"""The registry of classes by name, as the published system has it."""

from __future__ import annotations

from kronos.inference.predictor import KronosPredictor
from kronos.nn import Kronos, KronosTokenizer

model_dict: dict[str, type] = {
    "kronos_tokenizer": KronosTokenizer,
    "kronos": Kronos,
    "kronos_predictor": KronosPredictor,
}


def get_model_class(model_name: str) -> type:
    """The class of that name in `model_dict`, to which users may add their own.

    Raises:
        NotImplementedError: If there is none, as in the published system.
    """
    if model_name not in model_dict:
        raise NotImplementedError(f"There is no model class '{model_name}'; there are {', '.join(model_dict)}.")
    return model_dict[model_name]

"""The predictor, sampling of tokens, and cached decoding."""

from kronos.inference.compat import auto_regressive_inference, sample_from_logits, top_k_top_p_filtering
from kronos.inference.devices import Precision, pick_device
from kronos.inference.predictor import KronosPredictor
from kronos.inference.registry import get_model_class, model_dict, register_model
from kronos.inference.sampling import PRESETS, SamplingParams
from kronos.preprocessing import ModelInput, calc_time_stamps

__all__ = [
    "PRESETS",
    "KronosPredictor",
    "ModelInput",
    "Precision",
    "SamplingParams",
    "auto_regressive_inference",
    "calc_time_stamps",
    "get_model_class",
    "model_dict",
    "pick_device",
    "register_model",
    "sample_from_logits",
    "top_k_top_p_filtering",
]

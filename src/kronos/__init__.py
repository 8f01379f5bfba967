"""Kronos: forecasts of financial candlesticks, exact, fast, and honest about their uncertainty.

Everything public is one attribute away (``kronos.read_candles``, ``kronos.KronosPredictor`` …). Attributes
are imported when they are first used, so that ``import kronos`` costs nothing and torch loads only when a
network does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kronos.candles import Candles, read_candles, split_long
    from kronos.forecasts import Forecast
    from kronos.inference import (
        KronosPredictor,
        SamplingParams,
        auto_regressive_inference,
        calc_time_stamps,
        get_model_class,
        model_dict,
        register_model,
        sample_from_logits,
        top_k_top_p_filtering,
    )
    from kronos.intervals import Interval
    from kronos.nn import Kronos, KronosTokenizer

__version__ = "0.1.0"

_HOMES = {
    "Candles": "kronos.candles",
    "Forecast": "kronos.forecasts",
    "Interval": "kronos.intervals",
    "Kronos": "kronos.nn",
    "KronosPredictor": "kronos.inference",
    "KronosTokenizer": "kronos.nn",
    "SamplingParams": "kronos.inference",
    "auto_regressive_inference": "kronos.inference",
    "calc_time_stamps": "kronos.inference",
    "get_model_class": "kronos.inference",
    "model_dict": "kronos.inference",
    "read_candles": "kronos.candles",
    "register_model": "kronos.inference",
    "sample_from_logits": "kronos.inference",
    "split_long": "kronos.candles",
    "top_k_top_p_filtering": "kronos.inference",
}

__all__ = [
    "Candles",
    "Forecast",
    "Interval",
    "Kronos",
    "KronosPredictor",
    "KronosTokenizer",
    "SamplingParams",
    "auto_regressive_inference",
    "calc_time_stamps",
    "get_model_class",
    "model_dict",
    "read_candles",
    "register_model",
    "sample_from_logits",
    "split_long",
    "top_k_top_p_filtering",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its room when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kronos' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

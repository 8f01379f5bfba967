"""Pictures of forecasts, drawn with matplotlib's objects: no global state, no window, any thread.

- The time axis counts candles: no gaps for nights, weekends and lunch.
- What is forecast has its own hue, a tinted ground and a line where it starts; candles there are one real
  path.
- Nothing is left to colour alone: rising forecast candles are hollow, bands carry their level.
- matplotlib loads when something is drawn: `scales`, which formats numbers, works without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kronos.plotting.chart import plot_forecast, plot_many
    from kronos.plotting.style import Palette, Theme

_HOMES = {
    "Palette": "style",
    "Theme": "style",
    "plot_forecast": "chart",
    "plot_many": "chart",
}

__all__ = ["Palette", "Theme", "plot_forecast", "plot_many"]


def __getattr__(name: str) -> Any:
    """Import a public name, and matplotlib with it, when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kronos.plotting' has no attribute '{name}'")
    value = getattr(import_module(f"kronos.plotting.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

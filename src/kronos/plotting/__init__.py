"""Pictures of forecasts, drawn with matplotlib's objects: no global state, no window, any thread.

- The time axis counts candles: no gaps for nights, weekends and lunch.
- What is forecast has its own hue, a tinted ground and a line where it starts; candles there are one real
  path.
- Nothing is left to colour alone: rising forecast candles are hollow, bands carry their level.
"""

from kronos.plotting.chart import plot_forecast
from kronos.plotting.grid import plot_many
from kronos.plotting.style import Palette, Theme

__all__ = ["Palette", "Theme", "plot_forecast", "plot_many"]

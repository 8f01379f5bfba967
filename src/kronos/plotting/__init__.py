"""Figures of forecasts, evaluations and trainings, drawn with matplotlib's object interface: safe in any thread.

- The time axis counts candles: no gaps for nights, weekends and lunch breaks.
- The forecast has its own hue, a tinted background and a line at its start; its candles are one sample path.
- Colour is never the only distinction: rising forecast candles are hollow, bands are labelled with their level.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

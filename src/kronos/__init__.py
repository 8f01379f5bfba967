"""Kronos: forecasts of financial candlesticks, exact, fast, and honest about their uncertainty.

Everything public is one attribute away (``kronos.read_candles``, ``kronos.KronosPredictor`` …). Attributes
are imported when they are first used, so that ``import kronos`` costs nothing and torch loads only when a
network does.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Kronos: forecasts of financial candlesticks, exact, fast, and honest about their uncertainty.

Everything public is one attribute away (``kronos.read_candles``, ``kronos.KronosPredictor`` …). Attributes
are imported when they are first used, so that ``import kronos`` costs nothing and torch loads only when a
network does.
"""

import os

import lazy_loader

# Between two operations, torch's threads (GNU OpenMP) wait for each other in a loop of 300,000 turns before they sleep.
# Beside other busy processes, that loop uses up the time in which the thread that it waits for could run: forecasts
# took four times as long and more (benchmarks/contention.py). The variable is read when torch is loaded.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "20000"

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

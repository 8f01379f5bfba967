"""Markets that never were: seeded, repeatable, and labelled wherever their candles go."""

from kronos.sources.simulation.markets import MARKETS
from kronos.sources.simulation.simulated import Simulated

__all__ = ["MARKETS", "Simulated"]

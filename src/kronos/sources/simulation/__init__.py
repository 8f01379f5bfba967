"""Markets that never were: seeded, repeatable, and labelled wherever their candles go."""

from kronos.sources.simulation.markets import MARKETS
from kronos.sources.simulation.source import SimulatedSource

__all__ = ["MARKETS", "SimulatedSource"]

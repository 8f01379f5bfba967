"""Simulated markets: seeded, reproducible, and labelled as simulated in every output."""

from kronos.sources.simulation.markets import MARKETS
from kronos.sources.simulation.source import SimulatedSource

__all__ = ["MARKETS", "SimulatedSource"]

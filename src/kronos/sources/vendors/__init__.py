"""Thin adapters to libraries that fetch equities: Yahoo, Baostock, AkShare."""

from kronos.sources.vendors.adapters import AkShare, Baostock, Yahoo

__all__ = ["AkShare", "Baostock", "Yahoo"]

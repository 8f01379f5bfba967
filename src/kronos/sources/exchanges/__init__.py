"""Exchanges through ccxt: any that it knows, with what they leave out mended."""

from kronos.sources.exchanges.exchange import Exchange

__all__ = ["Exchange"]

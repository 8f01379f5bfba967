"""Exchanges through ccxt, with the amounts and the checks that ccxt lacks."""

from kronos.sources.exchanges.source import CcxtSource

__all__ = ["CcxtSource"]

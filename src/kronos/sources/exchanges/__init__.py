"""Exchanges through ccxt: any that it knows, with what they leave out mended."""

from kronos.sources.exchanges.source import CcxtSource

__all__ = ["CcxtSource"]

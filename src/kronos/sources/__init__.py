"""Where candles come from: exchanges, CoinGecko, files, Qlib, replay, simulation (always labelled)."""

from kronos.sources.protocol import CandleSource, Page, PageSource

__all__ = ["CandleSource", "Page", "PageSource"]

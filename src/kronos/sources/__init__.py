"""Where candles come from: exchanges, CoinGecko, files, Qlib, replay, simulation (always labelled)."""

from kronos.sources.base import CandleSource, Page, PageSource
from kronos.sources.registry import STORE, is_local, open_source

__all__ = ["STORE", "CandleSource", "Page", "PageSource", "is_local", "open_source"]

"""Sources of candles: exchanges, CoinGecko, equities, files, Qlib folders, replay and labelled simulation."""

from kronos.sources.base import CandleSource, Page, PageSource
from kronos.sources.registry import STORE, check_source, is_local, open_source

__all__ = ["STORE", "CandleSource", "Page", "PageSource", "check_source", "is_local", "open_source"]

"""CoinGecko: OHLC candles, market charts and quotes."""

from kronos.sources.coingecko.source import CoinGecko, MarketChart, Quote

__all__ = ["CoinGecko", "MarketChart", "Quote"]

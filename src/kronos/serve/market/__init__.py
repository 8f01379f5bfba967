"""The prediction API's markets: assets, their candles from the configured source, predictions of them."""

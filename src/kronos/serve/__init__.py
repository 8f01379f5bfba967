"""The HTTP server: predictions, candles and charts for programs and browsers."""

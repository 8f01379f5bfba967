"""The HTTP service: forecasts, candles and charts for programs and browsers."""

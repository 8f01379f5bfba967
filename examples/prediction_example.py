"""Forecast a day of hourly candles, then lay the candles that really came over it.

    python examples/prediction_example.py

The last 24 candles are hidden from the model. The data are simulated: they show how it works, not how well, and the
picture says so because the file's name does.
"""

from pathlib import Path

import kronos

HERE = Path(__file__).parent
PICTURE = HERE / "output" / "prediction_example.png"
HORIZON = 24


def main() -> None:
    candles = kronos.read_candles(HERE / "data" / "simulated_btc_1h.csv", symbol="BTC simulated", timezone="UTC")
    history, hidden = candles.head(len(candles) - HORIZON), candles.tail(HORIZON)

    model = kronos.KronosPredictor.from_pretrained()  # the bundled one; or "kronos-small", a hub id, a folder
    forecast = model.forecast(history, horizon=HORIZON, samples=100, seed=7)

    print(forecast)
    print(forecast.quantiles([0.05, 0.5, 0.95]).iloc[[0, 7, 23]].round(1).to_string())
    print(f"Probability up: {forecast.upside_probability()}")
    print(f"More volatile than the last day: {forecast.volatility_amplification()}")

    forecast.plot(path=PICTURE, actual=hidden)
    print(f"Drawn: {PICTURE}")


if __name__ == "__main__":
    main()

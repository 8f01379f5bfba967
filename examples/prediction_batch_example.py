"""Forecast several series at once: different markets, intervals and lengths, in one call.

    python examples/prediction_batch_example.py

A series' paths do not depend on the company it is forecast in. The data are simulated: files
named so are labelled so, in every picture.
"""

from dataclasses import replace
from pathlib import Path

import kronos
from kronos.plotting import plot_many

HERE = Path(__file__).parent
PICTURE = HERE / "output" / "prediction_batch_example.png"


def read(name: str, timezone: str) -> kronos.Candles:
    return kronos.read_candles(HERE / "data" / name, timezone=timezone)


def main() -> None:
    coin = read("simulated_btc_1h.csv", "UTC")
    share = read("simulated_xshg_5m.csv", "Asia/Shanghai")
    series = [
        replace(coin.head(480), symbol="Coin, 480 candles"),
        replace(coin.head(480).tail(200), symbol="Coin, 200 candles"),
        replace(share.head(400), symbol="Share, 400 candles"),
        replace(share, symbol="Share, 600 candles"),
    ]

    model = kronos.KronosPredictor.from_pretrained()
    forecasts = model.forecast_many(series, horizon=24, samples=60, seed=7)

    for name, forecast in forecasts.items():
        end = forecast.range(0.8).iloc[-1]
        print(f"{name:20} {forecast.last_close:>10,.2f} → {end['low']:,.2f} … {end['high']:,.2f} (80 %)")
        print(f"{'':20} up {forecast.upside_probability()}, until {forecast.timestamps[-1]}")

    plot_many(list(forecasts.values()), path=PICTURE)
    print(f"Drawn: {PICTURE}")


if __name__ == "__main__":
    main()

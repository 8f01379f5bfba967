"""Forecast from prices alone: no volume, no amount; and the call that the published system has.

    python examples/prediction_wo_vol_example.py

`predict` averages its sample paths, and averages are no candles; `forecast` keeps every path. The data are simulated.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

import kronos

HERE = Path(__file__).parent
PICTURE = HERE / "output" / "prediction_wo_vol_example.png"
LOOKBACK, HORIZON = 400, 48


def main() -> None:
    table = pd.read_csv(HERE / "data" / "simulated_xshg_5m.csv", parse_dates=["timestamps"])
    prices = table[["open", "high", "low", "close"]]
    x, y = slice(0, LOOKBACK), slice(LOOKBACK, LOOKBACK + HORIZON)
    model = kronos.KronosPredictor.from_pretrained()

    averaged = model.predict(
        df=prices[x],
        x_timestamp=table["timestamps"][x],
        y_timestamp=table["timestamps"][y],
        pred_len=HORIZON,
        T=1.0,
        top_p=0.9,
        sample_count=5,
    )
    print("predict: the mean of 5 paths")
    print(averaged.iloc[[0, 23, 47], :4].round(2).to_string())

    frame = prices.set_index(pd.DatetimeIndex(table["timestamps"]))
    candles = kronos.Candles.from_frame(frame, symbol="Share simulated, prices only", timezone="Asia/Shanghai")
    candles = replace(candles, simulated=True)  # so that the picture says it
    history, hidden = candles.head(LOOKBACK), candles.tail(len(candles) - LOOKBACK)
    forecast = model.forecast(history, horizon=HORIZON, samples=100, seed=7)
    print("forecast: every one of 100 paths")
    print(forecast.quantiles([0.1, 0.5, 0.9]).iloc[[0, 23, 47]].round(2).to_string())

    forecast.plot(path=PICTURE, actual=hidden)
    print(f"Drawn: {PICTURE}")


if __name__ == "__main__":
    main()

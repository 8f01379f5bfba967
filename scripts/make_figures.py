"""Draw the README's picture: the demo's forecast of simulated candles by the bundled model.

    python scripts/make_figures.py

It writes docs/figures/forecast.png.
"""

from __future__ import annotations

from pathlib import Path

import kronos

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "src" / "kronos" / "samples" / "simulated_btc_1h.csv"


def main() -> None:
    """Forecast the sample and draw it."""
    candles = kronos.read_candles(SAMPLE, symbol="SIM-BTC")
    model = kronos.KronosPredictor.from_pretrained(device="cpu")
    figure = ROOT / "docs" / "figures" / "forecast.png"
    figure.parent.mkdir(parents=True, exist_ok=True)
    model.forecast(candles, horizon=24, samples=200, seed=7).plot(path=figure)
    print(figure.relative_to(ROOT))


if __name__ == "__main__":
    main()

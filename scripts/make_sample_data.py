"""Write the simulated candles that ship for demonstrations: nothing in them ever traded.

    python scripts/make_sample_data.py

Two files, cut from the simulated source: hourly candles of an invented coin that trades around the clock, and
5-minute candles of an invented Shanghai share with its lunch breaks and overnight gaps. The seeds are fixed, and
were chosen for prices that look usual: the files always come out the same.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kronos.atomic import write_text
from kronos.intervals import Interval
from kronos.sources.simulation import SimulatedSource

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES, PACKAGED = ROOT / "examples" / "data", ROOT / "src" / "kronos" / "samples"
ROWS = 600
COIN, SHARE = "simulated_btc_1h.csv", "simulated_xshg_5m.csv"


def coin() -> pd.DataFrame:
    """Hourly candles of a coin under naive UTC times, stamped at their open."""
    return sample(SimulatedSource(493), "BTC-USDT", "1h", pd.Timestamp("2025-01-06", tz="UTC"))


def share() -> pd.DataFrame:
    """5-minute candles of a share under Shanghai's wall clock, stamped at their end as Chinese exchanges do."""
    frame = sample(
        SimulatedSource(332, market="ashare"), "600519", "5m", pd.Timestamp("2025-03-03", tz="Asia/Shanghai")
    )
    return frame.set_axis(frame.index + pd.Timedelta(minutes=5))


def sample(source: SimulatedSource, symbol: str, interval: str, start: pd.Timestamp) -> pd.DataFrame:
    """The first candles from a time on, under the market's wall clock, the amount in whole cents."""
    frame = source.candles(symbol, Interval.parse(interval), start=start, end=start + pd.Timedelta(days=60)).frame
    frame = frame.iloc[:ROWS].tz_localize(None)
    return frame.assign(amount=frame["amount"].round(2))


def text(frame: pd.DataFrame) -> str:
    """Candles as a file holds them."""
    return frame.rename_axis("timestamps").to_csv(date_format="%Y-%m-%d %H:%M:%S", lineterminator="\n")


def main() -> None:
    """Write the files."""
    for frame, *paths in ((coin(), EXAMPLES / COIN, PACKAGED / COIN), (share(), EXAMPLES / SHARE)):
        for path in paths:
            write_text(path, text(frame))
            print(f"{path.relative_to(ROOT)}: {len(frame)} rows")


if __name__ == "__main__":
    main()

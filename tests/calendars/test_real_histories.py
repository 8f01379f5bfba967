"""Future times of real histories, cut at random positions, equal the actual ones."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos.calendars import future_times
from kronos.intervals import Interval

# Minimum shares of cuts whose next 16 times are all correct. The others have holidays and early closes that a pattern
# cannot show, gaps in the data, or changes and suspensions of Chinese night sessions.
MARKETS = [
    ("cn_ashare", "15m", 3, 0.99),
    ("cn_futures", "5m", 4, 0.97),
    ("cn_futures", "1d", 1, 0.99),
    ("fx", "1h", 2, 0.97),
    ("fx", "1d", 3, 0.93),
    ("fx", "5m", 2, 0.93),
    ("commodity_cfd", "1h", 1, 0.85),
    ("commodity_cfd", "1d", 1, 0.60),  # the source lacks a day every few weeks
    ("us_equity", "1d", 4, 0.99),
    ("us_equity", "1h", 3, 0.96),
    ("crypto", "1d", 1, 0.99),
    ("crypto", "1h", 1, 0.60),  # a month of 2013 with thirteen gaps
]
CONTEXT, HORIZON = 512, 16


def hit_rate(index: pd.DatetimeIndex, interval: Interval, cuts: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    hits = []
    for cut in rng.integers(min(len(index) // 2, 600), len(index) - HORIZON, cuts):
        history = index[max(0, cut - CONTEXT) : cut]
        predicted = future_times(history, interval, HORIZON).times
        hits.append(bool((predicted == index[cut : cut + HORIZON]).all()))
    return float(np.mean(hits))


@pytest.mark.slow
@pytest.mark.parametrize(("market", "freq", "series", "floor"), MARKETS)
def test_hit_rate(shared: Path, market: str, freq: str, series: int, floor: float) -> None:
    manifest = pd.read_csv(shared / "data/candles/MANIFEST.csv")
    of_market = manifest[(manifest.market == market) & (manifest.freq == freq)]
    selected = of_market.iloc[np.linspace(0, len(of_market) - 1, series).round().astype(int)]
    rates = []
    for seed, path in enumerate(selected.path):
        index = pd.DatetimeIndex(pd.read_parquet(shared / "data/candles" / path)["timestamps"])
        rates.append(hit_rate(index, Interval.parse(freq), 40, seed))
    assert np.mean(rates) >= floor, dict(zip(selected.symbol, rates, strict=True))

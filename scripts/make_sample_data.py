"""Write the simulated candles that ship for demonstrations: nothing in them ever traded.

    python scripts/make_sample_data.py

Two files: hourly candles of an invented coin that trades around the clock, and 5-minute candles of an
invented Shanghai share with its lunch breaks, overnight gaps and amounts. One-minute log-returns are drawn
with GARCH(1,1) volatility, Student-t shocks, rare jumps and changing regimes, and candles are formed from
those minutes, so that every candle is valid by construction. The seeds are fixed: the files always come out
the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kronos.storage import write_text

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES, PACKAGED = ROOT / "examples" / "data", ROOT / "src" / "kronos" / "samples"
ROWS = 600


@dataclass(frozen=True)
class Market:
    """How an invented instrument moves and trades.

    Attributes:
        seed: Of the random numbers.
        start: Price of the first minute.
        tick: Smallest step of the price.
        volatility: Standard deviation of a quiet minute's log-return.
        drift: Mean log-return of a minute in a rising market; a falling one has its negative.
        gap: Standard deviation of the log-return over an hour in which the market is closed.
        jumps: Chance of a jump in a minute.
        volume: Units traded in an average minute.
        lot: Smallest step of the volume.
    """

    seed: int
    start: float
    tick: float
    volatility: float
    drift: float
    gap: float
    jumps: float
    volume: float
    lot: float


COIN = Market(
    seed=8,
    start=61_800.0,
    tick=0.1,
    volatility=5.5e-4,
    drift=6e-6,
    gap=0.0,
    jumps=1.5e-4,
    volume=14.0,
    lot=1e-3,
)
SHARE = Market(
    seed=7,
    start=36.4,
    tick=0.01,
    volatility=7e-4,
    drift=1e-5,
    gap=1.6e-3,
    jumps=2e-4,
    volume=21_000.0,
    lot=100.0,
)


def simulate_minutes(market: Market, shape: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw consecutive minutes.

    Args:
        market: The instrument.
        shape: Volatility by the time of day, about 1. [M]
        rng: Where randomness comes from.

    Returns:
        The minutes' log-returns and their volatilities relative to a quiet one's. [M], [M]
    """
    shocks = rng.standard_t(5, len(shape)) / np.sqrt(5 / 3)
    returns, volatility = np.empty(len(shape)), np.empty(len(shape))
    variance, regime, direction, previous = 1.0, 1.0, 1.0, 0.0
    for minute, usual in enumerate(shape):
        if rng.random() < 1 / 2500:  # a regime lasts about two days of minutes
            regime, direction = rng.choice([0.7, 1.0, 1.6]), rng.choice([-1.0, 1.0])
        variance = 0.008 + 0.032 * previous**2 + 0.96 * variance  # its mean in the long run is 1
        previous = np.sqrt(variance) * shocks[minute]
        jump = rng.normal(0, 14) if rng.random() < market.jumps else 0.0
        volatility[minute] = regime * usual * np.sqrt(variance)
        returns[minute] = direction * market.drift + market.volatility * regime * usual * (previous + jump)
    return returns, volatility


def candles(market: Market, opens: pd.DatetimeIndex, minutes: int) -> pd.DataFrame:
    """Form candles from simulated minutes.

    Args:
        market: The instrument.
        opens: When each candle opens, wall clock. [N]
        minutes: Length of a candle.

    Returns:
        Open, high, low, close, volume and amount. [N, 6]
    """
    rng = np.random.default_rng(market.seed)
    returns, volatility = simulate_minutes(market, np.repeat(time_of_day(opens), minutes), rng)
    levels = np.concatenate([[0.0], np.cumsum(returns)])
    inside = np.lib.stride_tricks.sliding_window_view(levels, minutes + 1)[::minutes]  # [N, minutes + 1]
    gaps = np.cumsum(closed_hours(opens, minutes) ** 0.5 * rng.normal(0, market.gap, len(opens)))
    prices = market.start * np.exp(inside + gaps[:, None])
    prices = np.round(np.round(prices / market.tick) * market.tick, 4)
    busy = volatility * np.exp(rng.normal(0, 0.6, len(volatility)))
    traded = (np.ceil(market.volume * busy / market.lot) * market.lot).reshape(-1, minutes)
    return pd.DataFrame(
        {
            "open": prices[:, 0],
            "high": prices.max(axis=1),
            "low": prices.min(axis=1),
            "close": prices[:, -1],
            "volume": traded.sum(axis=1).round(3),
            "amount": (traded * (prices[:, 1:] + prices[:, :-1]) / 2).sum(axis=1).round(2),
        }
    )


def time_of_day(opens: pd.DatetimeIndex) -> np.ndarray:
    """Give each candle's usual volatility relative to the average one's: highest at 15:00 (shape [N])."""
    hours = opens.hour.to_numpy() + opens.minute.to_numpy() / 60
    usual: np.ndarray = 1 + 0.3 * np.cos(2 * np.pi * (hours - 15) / 24)
    return usual


def closed_hours(opens: pd.DatetimeIndex, minutes: int) -> np.ndarray:
    """Count the hours that the market was closed before each candle (shape [N])."""
    between = np.diff(opens.to_numpy()) / np.timedelta64(1, "h") - minutes / 60
    return np.concatenate([[0.0], between])


def share_times() -> pd.DatetimeIndex:
    """List when 600 5-minute candles of Shanghai's two sessions open, all on weekdays."""
    days = pd.bdate_range("2025-03-03", periods=-(-ROWS // 48))
    morning = pd.timedelta_range("9h30min", periods=24, freq="5min")
    afternoon = pd.timedelta_range("13h", periods=24, freq="5min")
    times = [day + offset for day in days for offset in (*morning, *afternoon)]
    return pd.DatetimeIndex(times[:ROWS])


def write(frame: pd.DataFrame, times: pd.DatetimeIndex, *paths: Path) -> None:
    """Write candles with their timestamps to each of the files."""
    text = frame.set_axis(times.rename("timestamps")).to_csv(date_format="%Y-%m-%d %H:%M:%S", lineterminator="\n")
    for path in paths:
        write_text(path, text)
        print(f"{path.relative_to(ROOT)}: {len(frame)} rows")


def main() -> None:
    """Write the files."""
    hours = pd.date_range("2025-01-06", periods=ROWS, freq="h")
    name = "simulated_btc_1h.csv"
    write(candles(COIN, hours, 60), hours, EXAMPLES / name, PACKAGED / name)
    fives = share_times()
    # Chinese exchanges stamp a candle with its end.
    write(candles(SHARE, fives, 5), fives + pd.Timedelta(minutes=5), EXAMPLES / "simulated_xshg_5m.csv")


if __name__ == "__main__":
    main()

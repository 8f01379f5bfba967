"""The numerics of simulated candles: half-hours one after the other, minutes within them when they are asked for.

- Half-hours carry the state: GARCH(1,1) volatility, regimes of volatility and of drift, Student-t shocks (partly the
  whole market's), rare jumps, gaps where the market was closed, and trading that follows volatility. A weak pull (half
  of a distance is gone after two years) keeps prices near their usual level for ever.
- Minutes fill a half-hour as a Brownian bridge whose clock is the trading, so that they add up to it exactly, whichever
  of them are asked for; a minute's high and low are drawn from the bridge's own distribution.
- Prices are whole ticks and volumes whole lots, in integers: sums are exact in any order.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from kronos.sources.simulation.markets import BLOCK, CHUNK, MARKETS, Market, TimeGrid, grid
from kronos.typing import FloatArray, IntArray

OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT = range(6)  # columns of ticks, lots, and half ticks × lots

_FREEDOM = 6.0  # degrees of freedom of a shock
_REACT, _PERSIST = 0.04, 0.95  # GARCH: weight of the last shock, and of the last variance
_STATES = np.array([0.45, 1.0, 2.2])  # a regime's factor on variance
_TREND = 0.03  # a regime's drift in a day, in standard deviations of a day
_SWITCH = 20.0, 12.0  # mean days of a regime of volatility, and of drift
_JUMP_DAYS, _JUMP_SIZE = 25.0, 4.0  # mean days between jumps, and their size in standard deviations of a half-hour
_PULL_YEARS = 2.0
_CALM = 0.8  # standard deviation of log-activity of minutes
_BUSY, _BUSY_KEEP = 0.35, 0.97  # the same of half-hours, and what remains of it after one

# Usual prices, and money traded in a minute.
_KNOWN = {
    ("crypto", "BTC"): (62_000.0, 9e5), ("crypto", "ETH"): (3_000.0, 4e5), ("crypto", "SOL"): (150.0, 1e5),
    ("crypto", "BNB"): (600.0, 5e4), ("crypto", "XRP"): (0.6, 5e4), ("crypto", "ADA"): (0.5, 2e4),
    ("crypto", "DOGE"): (0.15, 4e4), ("crypto", "LTC"): (90.0, 1e4),
    ("fx", "EUR-USD"): (1.09, 0.0), ("fx", "GBP-USD"): (1.27, 0.0), ("fx", "AUD-USD"): (0.66, 0.0),
    ("fx", "USD-CHF"): (0.89, 0.0), ("fx", "USD-CAD"): (1.36, 0.0), ("fx", "USD-JPY"): (148.0, 0.0),
    ("fx", "USD-CNH"): (7.2, 0.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Instrument:
    """An invented instrument: its name's and its seed's.

    Attributes:
        market: Name of its market.
        symbol: Its name as it is shown.
        seed: Of the whole world.
        level: The price that it is drawn to.
        digits: Digits after the point of its price: a tick is ``10**-digits``.
        sigma: Volatility a year, as log-returns.
        volume: Lots that change hands in an average minute.
        lot: Units in a lot, times ``10**lot_digits``.
        lot_digits: Digits after the point of its volume.
        common: Correlation of its shocks with the market's.
    """

    market: str
    symbol: str
    seed: int
    level: float
    digits: int
    sigma: float
    volume: float
    lot: int
    lot_digits: int
    common: float


def make_instrument(market: Market, symbol: str, seed: int) -> Instrument:
    """Draw what an instrument is like; well-known coins and currencies trade about where they usually do."""
    rng = _stream(seed, f"{market.name} {symbol} traits")
    level = float(np.exp(rng.uniform(*np.log(market.prices))))
    sigma = float(rng.uniform(*market.volatility))
    turnover = float(np.exp(rng.uniform(*np.log(np.maximum(market.turnover, 1.0)))))
    near, common = float(rng.normal(0, 0.1)), float(rng.uniform(0.4, 0.8))
    known = _KNOWN.get((market.name, symbol.split("-")[0] if market.name == "crypto" else symbol))
    if known is not None:
        level, turnover = known[0] * math.exp(near * sigma), known[1]
    digits = market.ticks if market.ticks is not None else max(0, 5 - math.floor(math.log10(level)))
    units = turnover / level
    lot_digits = 0 if market.lot else max(0, 4 - math.floor(math.log10(units)))
    lots = units * 10**lot_digits / max(1, market.lot)
    return Instrument(market.name, symbol, seed, level, digits, sigma, lots, max(1, market.lot), lot_digits, common)


def _stream(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers of one purpose, the same on every machine; the first n are the same however many are drawn."""
    digest = hashlib.sha256(purpose.encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], dtype="<u4").tolist()])


@dataclass(frozen=True, slots=True, eq=False)
class PricePath:
    """An instrument's half-hours; levels are logarithms relative to its usual price.

    Attributes:
        opens: Level at which each begins. [B]
        closes: Level at which each ends. [B]
        variance: Of its minutes together, jumps aside. [B]
        jump: What it jumps by; mostly 0. [B]
        activity: Trading relative to an average half-hour's. [B]
    """

    opens: FloatArray
    closes: FloatArray
    variance: FloatArray
    jump: FloatArray
    activity: FloatArray


@lru_cache(maxsize=8)
def simulate_path(instrument: Instrument, year: int) -> PricePath:
    """Simulate an instrument's half-hours until after the end of a year; a later year's begin with an earlier one's."""
    market = MARKETS[instrument.market]
    blocks = grid(market, year)
    count = len(blocks.start)
    shocks, mixing = _shocks(instrument, count)
    typical = instrument.sigma**2 / market.yearly
    usual = typical * _variance_factors(instrument, market, blocks, shocks**2 * mixing)
    variance = usual * mixing
    jump, gap = _jumps(instrument, market, usual), _gaps(instrument, market, blocks, typical)
    drift = _TREND * math.sqrt(typical / market.daily) * _trends(instrument, market, count)
    keep = 0.5 ** (1 / (_PULL_YEARS * market.yearly))
    steps = (gap + np.sqrt(variance) * shocks + drift + jump).tolist()
    closes = np.fromiter(accumulate(steps, lambda level, step: keep * level + step), np.float64, count)
    opens = np.concatenate([[0.0], closes[:-1]]) + gap
    return PricePath(opens, closes, variance, jump, _activity(instrument, count) * np.sqrt(variance / typical))


def _shocks(instrument: Instrument, count: int) -> tuple[FloatArray, FloatArray]:
    """Normal shocks, partly the market's, and factors on their variance that make them Student's t (shape [B] each)."""
    common = _stream(instrument.seed, f"{instrument.market} market").standard_normal(count)
    own = _own(instrument, "shocks").standard_normal(count)
    rho = instrument.common
    gamma = _own(instrument, "mixing").standard_gamma(_FREEDOM / 2, count)
    return rho * common + math.sqrt(1 - rho**2) * own, (_FREEDOM / 2 - 1) / gamma


def _own(instrument: Instrument, purpose: str) -> np.random.Generator:
    return _stream(instrument.seed, f"{instrument.market} {instrument.symbol} {purpose}")


def _variance_factors(instrument: Instrument, market: Market, blocks: TimeGrid, squares: FloatArray) -> FloatArray:
    """GARCH × regime × time of day: what multiplies the average variance (shape [B])."""
    rest = 1 - _REACT - _PERSIST
    factors = (_PERSIST + _REACT * squares[:-1]).tolist()
    garch = np.fromiter(accumulate(factors, lambda last, f: rest + f * last, initial=1.0), np.float64, len(squares))
    states = _regime(_own(instrument, "volatility"), len(squares), _SWITCH[0] * market.daily)
    return np.asarray(garch * _STATES[(states * len(_STATES)).astype(np.int64)] / _STATES.mean() * blocks.clock)


def _trends(instrument: Instrument, market: Market, count: int) -> FloatArray:
    """Drift between -1 and 1 in regimes of its own, in daily standard deviations × `_TREND` a day (shape [B])."""
    return 2 * _regime(_own(instrument, "drift"), count, _SWITCH[1] * market.daily) - 1


def _regime(rng: np.random.Generator, count: int, duration: float) -> FloatArray:
    """Uniform numbers that stay the same for a random, geometric while (shape [B])."""
    drawn = rng.random((count, 2))
    since = np.maximum.accumulate(np.where(drawn[:, 0] < 1 / duration, np.arange(count), 0))
    return np.asarray(drawn[since, 1])


def _jumps(instrument: Instrument, market: Market, variance: FloatArray) -> FloatArray:
    """Sudden moves, all in one minute (shape [B])."""
    drawn = _own(instrument, "jumps").random((len(variance), 2))
    at = np.flatnonzero(drawn[:, 0] < 1 / (_JUMP_DAYS * market.daily))
    jump = np.zeros(len(variance))
    side = np.where(drawn[at, 1] < 0.5, -1.0, 1.0)
    jump[at] = side * _JUMP_SIZE * (0.5 + np.abs(2 * drawn[at, 1] - 1)) * np.sqrt(variance[at])
    return jump


def _gaps(instrument: Instrument, market: Market, blocks: TimeGrid, typical: float) -> FloatArray:
    """What prices move by while the market is closed, Student's t with 4 degrees of freedom (shape [B])."""
    rng = _own(instrument, "gaps")
    gap = np.zeros(len(blocks.start))
    at = np.flatnonzero(blocks.closed > 0)
    hourly = market.overnight * typical * 60 / BLOCK
    gap[at] = np.sqrt(hourly * blocks.closed[at] / 2) * rng.standard_t(4, len(at))
    return gap


def _activity(instrument: Instrument, count: int) -> FloatArray:
    """Slow waves of trading with mean 1 (shape [B])."""
    noise = _own(instrument, "activity").normal(0, _BUSY * math.sqrt(1 - _BUSY_KEEP**2), count).tolist()
    waves = np.fromiter(accumulate(noise, lambda last, new: _BUSY_KEEP * last + new), np.float64, count)
    return np.asarray(np.exp(waves - _BUSY**2 / 2))


def minutes(instrument: Instrument, year: int, chunk: int) -> IntArray:
    """The minutes of a chunk of half-hours.

    Args:
        instrument: Whose.
        year: A year that the chunk begins before the end of.
        chunk: Its number.

    Returns:
        Open, high, low, close in ticks, volume in lots, and amount in lots × half ticks. [6, CHUNK, BLOCK]
    """
    whole = simulate_path(instrument, year)
    rows = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
    rng = _own(instrument, f"minutes {chunk}")
    shape = (CHUNK, BLOCK)
    trading = np.exp(_CALM * rng.standard_normal(shape))
    share = trading / trading.sum(axis=1, keepdims=True)
    variance = whole.variance[rows, None] * share
    free = np.sqrt(variance) * rng.standard_normal(shape)
    # A bridge: given the variances, minutes that are pinned to their half-hour are as independent as free ones.
    pinned = whole.closes[rows] - whole.opens[rows] - whole.jump[rows]
    moved = free + share * (pinned - free.sum(axis=1))[:, None]
    highest, lowest = rng.standard_exponential((2, *shape))
    moved[np.arange(CHUNK), rng.integers(0, BLOCK, CHUNK)] += whole.jump[rows]
    closes = whole.opens[rows, None] + np.cumsum(moved, axis=1)
    opens = np.concatenate([whole.opens[rows, None], closes[:, :-1]], axis=1)
    middle, square = (opens + closes) / 2, moved**2
    high = middle + np.sqrt(square + 2 * variance * highest) / 2
    low = middle - np.sqrt(square + 2 * variance * lowest) / 2
    return _rounded(instrument, (opens, high, low, closes), whole.activity[rows, None] * share * BLOCK)


def _rounded(instrument: Instrument, levels: tuple[FloatArray, ...], trading: FloatArray) -> IntArray:
    """Levels and trading as ticks and lots; a minute has at least one of each (shape [6, CHUNK, BLOCK])."""
    out = np.empty((6, *trading.shape), dtype=np.int64)
    scale = instrument.level * 10.0**instrument.digits
    for column, level in enumerate(levels):
        out[column] = np.maximum(np.rint(scale * np.exp(level)), 1)
    out[HIGH] = out[: CLOSE + 1].max(axis=0)
    out[LOW] = out[: CLOSE + 1].min(axis=0)
    out[VOLUME] = np.ceil(instrument.volume * trading)
    out[AMOUNT] = out[VOLUME] * (out[OPEN] + out[CLOSE])
    return out


@lru_cache(maxsize=2_048)
def half_hours(instrument: Instrument, year: int, chunk: int) -> IntArray:
    """The candles of a chunk's half-hours, as `minutes` has them (shape [6, CHUNK])."""
    rows = shorter(minutes(instrument, year, chunk), BLOCK)
    rows.setflags(write=False)
    return rows


def shorter(table: IntArray, length: int) -> IntArray:
    """Candles of some minutes, which divide half an hour (shape [6, CHUNK × BLOCK / length])."""
    parts = table.reshape(6, -1, length)
    out = np.empty(parts.shape[:2], dtype=np.int64)
    out[OPEN], out[CLOSE] = parts[OPEN, :, 0], parts[CLOSE, :, -1]
    out[HIGH], out[LOW] = parts[HIGH].max(axis=1), parts[LOW].min(axis=1)
    out[VOLUME:] = parts[VOLUME:].sum(axis=2)
    return out


def longer(table: IntArray, opens: IntArray) -> tuple[IntArray, IntArray]:
    """Candles of consecutive rows that share an opening time (shape [6, N]), and when they open (shape [N])."""
    first = np.flatnonzero(np.diff(opens, prepend=opens[0] - 1))
    last = np.append(first[1:], len(opens)) - 1
    out = np.empty((6, len(first)), dtype=np.int64)
    out[OPEN], out[CLOSE] = table[OPEN, first], table[CLOSE, last]
    out[HIGH], out[LOW] = np.maximum.reduceat(table[HIGH], first), np.minimum.reduceat(table[LOW], first)
    out[VOLUME:] = np.add.reduceat(table[VOLUME:], first, axis=1)
    return out, opens[first]


def decimals(instrument: Instrument, table: IntArray) -> npt.NDArray[np.float64]:
    """Ticks and lots as prices, units and money, each the nearest float of its decimal (shape [N, 6])."""
    out = np.empty(table.shape[::-1])
    out[:, :VOLUME] = table[:VOLUME].T / 10**instrument.digits
    if MARKETS[instrument.market].turnover[1] == 0:
        out[:, VOLUME:] = 0.0
        return out
    out[:, VOLUME] = table[VOLUME] * instrument.lot / 10**instrument.lot_digits
    out[:, AMOUNT] = table[AMOUNT] * instrument.lot / (2 * 10 ** (instrument.digits + instrument.lot_digits))
    return out


__all__ = ["Instrument", "decimals", "half_hours", "longer", "make_instrument", "minutes", "shorter"]

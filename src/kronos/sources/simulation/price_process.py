"""Price process of simulated candles: half-hour blocks in sequence, minutes within a block on demand.

- Blocks carry the state: GARCH(1,1) volatility, regimes of volatility and of drift, Student-t shocks (partly shared by
  the whole market), rare jumps, gaps where the market was closed, and volume that follows volatility. A weak mean
  reversion (with a half-life of two years) keeps prices near their reference level.
- Minutes fill a block as a Brownian bridge in volume time, so that they add up to the block exactly, whichever of them
  are requested. A minute's high and low are sampled from the distribution of the bridge's extremes.
- Prices are integer ticks and volumes integer lots: sums are exact in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np

from kronos.rng import named_generator
from kronos.sources.simulation.markets import BLOCK_MINUTES, CHUNK_BLOCKS, MARKETS, Market, TimeGrid, build_grid
from kronos.typing import FloatArray, IntArray

OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT = range(6)  # columns: ticks, lots, and half ticks × lots

_DEGREES_OF_FREEDOM = 6.0  # of a shock
_GARCH_ALPHA, _GARCH_BETA = 0.04, 0.95  # weights of the last squared shock and of the last variance
_VOLATILITY_REGIMES = np.array([0.45, 1.0, 2.2])  # factors on the variance
_DRIFT = 0.03  # largest daily drift of a regime, in daily standard deviations
_VOLATILITY_DAYS, _DRIFT_DAYS = 20.0, 12.0  # mean length of a regime of volatility and of drift
_JUMP_DAYS, _JUMP_SIZE = 25.0, 4.0  # mean days between jumps, and their size in standard deviations of a block
_HALF_LIFE_YEARS = 2.0  # of a distance from the reference level
_MINUTE_ACTIVITY = 0.8  # standard deviation of the log-activity of minutes
_BLOCK_ACTIVITY, _ACTIVITY_DECAY = 0.35, 0.97  # the same of blocks, and its autocorrelation

# Reference prices of well-known instruments, and money traded per minute.
_WELL_KNOWN = {
    ("crypto", "BTC"): (62_000.0, 9e5), ("crypto", "ETH"): (3_000.0, 4e5), ("crypto", "SOL"): (150.0, 1e5),
    ("crypto", "BNB"): (600.0, 5e4), ("crypto", "XRP"): (0.6, 5e4), ("crypto", "ADA"): (0.5, 2e4),
    ("crypto", "DOGE"): (0.15, 4e4), ("crypto", "LTC"): (90.0, 1e4),
    ("fx", "EUR-USD"): (1.09, 0.0), ("fx", "GBP-USD"): (1.27, 0.0), ("fx", "AUD-USD"): (0.66, 0.0),
    ("fx", "USD-CHF"): (0.89, 0.0), ("fx", "USD-CAD"): (1.36, 0.0), ("fx", "USD-JPY"): (148.0, 0.0),
    ("fx", "USD-CNH"): (7.2, 0.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SimulatedInstrument:
    """Properties of a simulated instrument, which depend on its name and the seed only.

    Attributes:
        market: Name of its market.
        symbol: Its name.
        seed: Seed of all random numbers.
        level: Reference price, to which the price reverts.
        digits: Decimals of its price: a tick is ``10**-digits``.
        sigma: Annual volatility of log-returns.
        volume: Lots traded in an average minute.
        lot: Units per lot, times ``10**lot_digits``.
        lot_digits: Decimals of its volume.
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


def create_instrument(market: Market, symbol: str, seed: int) -> SimulatedInstrument:
    """Sample the properties of an instrument; well-known coins and currencies have realistic prices."""
    rng = named_generator(seed, f"{market.name} {symbol} traits")
    level = float(np.exp(rng.uniform(*np.log(market.prices))))
    sigma = float(rng.uniform(*market.volatility))
    turnover = float(np.exp(rng.uniform(*np.log(np.maximum(market.turnover, 1.0)))))
    noise, common = float(rng.normal(0, 0.1)), float(rng.uniform(0.4, 0.8))
    known = _WELL_KNOWN.get((market.name, symbol.split("-")[0] if market.name == "crypto" else symbol))
    if known is not None:
        level, turnover = known[0] * math.exp(noise * sigma), known[1]
    digits = market.ticks if market.ticks is not None else max(0, 5 - math.floor(math.log10(level)))
    units = turnover / level
    lot_digits = 0 if market.lot else max(0, 4 - math.floor(math.log10(units)))
    lots = units * 10**lot_digits / max(1, market.lot)
    return SimulatedInstrument(
        market.name, symbol, seed, level, digits, sigma, lots, max(1, market.lot), lot_digits, common
    )


@dataclass(frozen=True, slots=True, eq=False)
class PricePath:
    """Half-hour blocks of an instrument; levels are logarithms relative to its reference price.

    Attributes:
        opens: Level at the start of each block. [B]
        closes: Level at its end. [B]
        variance: Variance of its minutes together, without jumps. [B]
        jump: Size of its jump, mostly 0. [B]
        activity: Trading activity relative to the average. [B]
    """

    opens: FloatArray
    closes: FloatArray
    variance: FloatArray
    jump: FloatArray
    activity: FloatArray


@lru_cache(maxsize=8)
def simulate_path(instrument: SimulatedInstrument, year: int) -> PricePath:
    """Simulate an instrument's blocks to beyond the end of a year; a later year's path begins with an earlier one's."""
    market = MARKETS[instrument.market]
    blocks = build_grid(market, year)
    count = len(blocks.start)
    shocks, mixing = _shocks(instrument, count)
    average = instrument.sigma**2 / market.blocks_per_year
    expected = average * _variance_factors(instrument, market, blocks, shocks**2 * mixing)
    variance = expected * mixing
    jump, gap = _jumps(instrument, market, expected), _gaps(instrument, market, blocks, average)
    drift = _DRIFT * math.sqrt(average / market.blocks_per_day) * _drift_regimes(instrument, market, count)
    decay = 0.5 ** (1 / (_HALF_LIFE_YEARS * market.blocks_per_year))
    steps = (gap + np.sqrt(variance) * shocks + drift + jump).tolist()
    closes = np.fromiter(accumulate(steps, lambda level, step: decay * level + step), np.float64, count)
    opens = np.concatenate([[0.0], closes[:-1]]) + gap
    return PricePath(opens, closes, variance, jump, _activity(instrument, count) * np.sqrt(variance / average))


def _shocks(instrument: SimulatedInstrument, count: int) -> tuple[FloatArray, FloatArray]:
    """Normal shocks [B], partly shared by the market, and variance factors [B] that make them Student-t distributed."""
    common = named_generator(instrument.seed, f"{instrument.market} market").standard_normal(count)
    own = _instrument_stream(instrument, "shocks").standard_normal(count)
    rho = instrument.common
    gamma = _instrument_stream(instrument, "mixing").standard_gamma(_DEGREES_OF_FREEDOM / 2, count)
    return rho * common + math.sqrt(1 - rho**2) * own, (_DEGREES_OF_FREEDOM / 2 - 1) / gamma


def _instrument_stream(instrument: SimulatedInstrument, purpose: str) -> np.random.Generator:
    return named_generator(instrument.seed, f"{instrument.market} {instrument.symbol} {purpose}")


def _variance_factors(
    instrument: SimulatedInstrument, market: Market, blocks: TimeGrid, squares: FloatArray
) -> FloatArray:
    """Factors on the average variance: GARCH × regime × time of day [B]."""
    rest = 1 - _GARCH_ALPHA - _GARCH_BETA
    factors = (_GARCH_BETA + _GARCH_ALPHA * squares[:-1]).tolist()
    garch = np.fromiter(accumulate(factors, lambda last, f: rest + f * last, initial=1.0), np.float64, len(squares))
    states = _regime(
        _instrument_stream(instrument, "volatility"), len(squares), _VOLATILITY_DAYS * market.blocks_per_day
    )
    regime = _VOLATILITY_REGIMES[(states * len(_VOLATILITY_REGIMES)).astype(np.int64)]
    return np.asarray(garch * regime / _VOLATILITY_REGIMES.mean() * blocks.time_of_day)


def _drift_regimes(instrument: SimulatedInstrument, market: Market, count: int) -> FloatArray:
    """Drift between -1 and 1, relative to `_DRIFT` [B]."""
    return 2 * _regime(_instrument_stream(instrument, "drift"), count, _DRIFT_DAYS * market.blocks_per_day) - 1


def _regime(rng: np.random.Generator, count: int, duration: float) -> FloatArray:
    """Uniform numbers that stay constant for geometrically distributed durations [B]."""
    uniform = rng.random((count, 2))
    since = np.maximum.accumulate(np.where(uniform[:, 0] < 1 / duration, np.arange(count), 0))
    return np.asarray(uniform[since, 1])


def _jumps(instrument: SimulatedInstrument, market: Market, variance: FloatArray) -> FloatArray:
    """Sudden moves, each within one minute [B]."""
    uniform = _instrument_stream(instrument, "jumps").random((len(variance), 2))
    at = np.flatnonzero(uniform[:, 0] < 1 / (_JUMP_DAYS * market.blocks_per_day))
    jump = np.zeros(len(variance))
    side = np.where(uniform[at, 1] < 0.5, -1.0, 1.0)
    jump[at] = side * _JUMP_SIZE * (0.5 + np.abs(2 * uniform[at, 1] - 1)) * np.sqrt(variance[at])
    return jump


def _gaps(instrument: SimulatedInstrument, market: Market, blocks: TimeGrid, average: float) -> FloatArray:
    """Moves while the market is closed, Student-t distributed with 4 degrees of freedom [B]."""
    rng = _instrument_stream(instrument, "gaps")
    gap = np.zeros(len(blocks.start))
    at = np.flatnonzero(blocks.closed > 0)
    hourly = market.overnight * average * 60 / BLOCK_MINUTES
    gap[at] = np.sqrt(hourly * blocks.closed[at] / 2) * rng.standard_t(4, len(at))
    return gap


def _activity(instrument: SimulatedInstrument, count: int) -> FloatArray:
    """Autocorrelated trading activity with mean 1 [B]."""
    scale = _BLOCK_ACTIVITY * math.sqrt(1 - _ACTIVITY_DECAY**2)
    noise = _instrument_stream(instrument, "activity").normal(0, scale, count).tolist()
    waves = np.fromiter(accumulate(noise, lambda last, new: _ACTIVITY_DECAY * last + new), np.float64, count)
    return np.asarray(np.exp(waves - _BLOCK_ACTIVITY**2 / 2))


def minute_candles(instrument: SimulatedInstrument, year: int, chunk: int) -> IntArray:
    """Simulate the minutes of a chunk of blocks.

    Args:
        instrument: The instrument.
        year: A year before whose end the chunk begins.
        chunk: Number of the chunk.

    Returns:
        Open, high, low, close in ticks, volume in lots, and amount in lots × half ticks. [6, CHUNK, BLOCK]
    """
    path = simulate_path(instrument, year)
    rows = slice(chunk * CHUNK_BLOCKS, (chunk + 1) * CHUNK_BLOCKS)
    rng = _instrument_stream(instrument, f"minutes {chunk}")
    shape = (CHUNK_BLOCKS, BLOCK_MINUTES)
    trading = np.exp(_MINUTE_ACTIVITY * rng.standard_normal(shape))
    share = trading / trading.sum(axis=1, keepdims=True)
    variance = path.variance[rows, None] * share
    free = np.sqrt(variance) * rng.standard_normal(shape)
    # Brownian bridge: given the variances, the steps are independent apart from their sum, which is that of the block.
    pinned = path.closes[rows] - path.opens[rows] - path.jump[rows]
    moved = free + share * (pinned - free.sum(axis=1))[:, None]
    highest, lowest = rng.standard_exponential((2, *shape))
    moved[np.arange(CHUNK_BLOCKS), rng.integers(0, BLOCK_MINUTES, CHUNK_BLOCKS)] += path.jump[rows]
    closes = path.opens[rows, None] + np.cumsum(moved, axis=1)
    opens = np.concatenate([path.opens[rows, None], closes[:, :-1]], axis=1)
    middle, square = (opens + closes) / 2, moved**2
    high = middle + np.sqrt(square + 2 * variance * highest) / 2
    low = middle - np.sqrt(square + 2 * variance * lowest) / 2
    return _to_integers(instrument, (opens, high, low, closes), path.activity[rows, None] * share * BLOCK_MINUTES)


def _to_integers(instrument: SimulatedInstrument, levels: tuple[FloatArray, ...], trading: FloatArray) -> IntArray:
    """Convert levels and trading activity to ticks and lots, at least one of each [6, CHUNK, BLOCK]."""
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
def half_hour_candles(instrument: SimulatedInstrument, year: int, chunk: int) -> IntArray:
    """Half-hour candles of a chunk, with the columns of `minute_candles` [6, CHUNK]."""
    table = aggregate_minutes(minute_candles(instrument, year, chunk), BLOCK_MINUTES)
    table.setflags(write=False)
    return table


def aggregate_minutes(table: IntArray, length: int) -> IntArray:
    """Aggregate minutes to candles of a length that divides half an hour [6, CHUNK × BLOCK / length]."""
    parts = table.reshape(6, -1, length)
    out = np.empty(parts.shape[:2], dtype=np.int64)
    out[OPEN], out[CLOSE] = parts[OPEN, :, 0], parts[CLOSE, :, -1]
    out[HIGH], out[LOW] = parts[HIGH].max(axis=1), parts[LOW].min(axis=1)
    out[VOLUME:] = parts[VOLUME:].sum(axis=2)
    return out


def aggregate_by_opening(table: IntArray, opens: IntArray) -> tuple[IntArray, IntArray]:
    """Aggregate consecutive rows with the same opening time to candles [6, N] and their opening times [N]."""
    first = np.flatnonzero(np.diff(opens, prepend=opens[0] - 1))
    last = np.append(first[1:], len(opens)) - 1
    out = np.empty((6, len(first)), dtype=np.int64)
    out[OPEN], out[CLOSE] = table[OPEN, first], table[CLOSE, last]
    out[HIGH], out[LOW] = np.maximum.reduceat(table[HIGH], first), np.minimum.reduceat(table[LOW], first)
    out[VOLUME:] = np.add.reduceat(table[VOLUME:], first, axis=1)
    return out, opens[first]


def to_decimals(instrument: SimulatedInstrument, table: IntArray) -> FloatArray:
    """Convert ticks and lots to prices, units and money, each the nearest float of its decimal value [N, 6]."""
    out = np.empty(table.shape[::-1])
    out[:, :VOLUME] = table[:VOLUME].T / 10**instrument.digits
    if MARKETS[instrument.market].turnover[1] == 0:
        out[:, VOLUME:] = 0.0
        return out
    out[:, VOLUME] = table[VOLUME] * instrument.lot / 10**instrument.lot_digits
    out[:, AMOUNT] = table[AMOUNT] * instrument.lot / (2 * 10 ** (instrument.digits + instrument.lot_digits))
    return out

"""Simulated candles from a seed, for trying things out without a market.

A candle is the same whatever range is requested, and whenever. Candles of longer intervals aggregate those of shorter
ones exactly: all are formed from the same simulated minutes. Only the minutes of the requested range are simulated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS, Candles, Finding
from kronos.candles.findings import Severity
from kronos.errors import DataError, ParameterError
from kronos.formatting import Message
from kronos.intervals import Interval
from kronos.sources.base import CandleRange, LocalSource, to_utc, unsupported_interval
from kronos.sources.simulation.markets import (
    BLOCK_MINUTES,
    CHUNK_BLOCKS,
    EPOCH,
    TimeGrid,
    build_grid,
    find_market,
    opening_minutes,
    to_index,
)
from kronos.sources.simulation.price_process import (
    SimulatedInstrument,
    aggregate_by_opening,
    aggregate_minutes,
    create_instrument,
    half_hour_candles,
    minute_candles,
    to_decimals,
)
from kronos.typing import IntArray

_QUOTES = r"USDT|USDC|FDUSD|USD|EUR|BTC|ETH"
_FIRST_YEAR = int(str(EPOCH)[:4])


def machine_time() -> pd.Timestamp:
    """UTC time on this machine's clock."""
    return pd.Timestamp.now("UTC")


class SimulatedSource(LocalSource):
    """A `CandleSource` of simulated instruments: any symbol exists, and its candles depend on the seed.

    Volatility clusters and changes with regimes and the time of day; tails are fat, jumps rare, nights leave gaps, the
    instruments of a market share part of their shocks, and volume follows volatility. Prices are all but unpredictable:
    drifts that last some days and the reversion to a reference price are far weaker than the noise. Candles begin in
    2018.

    Attributes:
        seed: Random seed.
        market: ``crypto`` (always open), ``ashare`` (sessions of Shanghai), ``us`` (of New York) or ``fx`` (no volume).
    """

    name = "simulated"

    def __init__(
        self, seed: int = 0, *, market: str = "crypto", clock: Callable[[], pd.Timestamp] | None = None
    ) -> None:
        """Create a source.

        Args:
            seed: Random seed, at least 0.
            market: ``crypto``, ``ashare``, ``us`` or ``fx``.
            clock: Returns the current time; None for this machine's clock.

        Raises:
            ParameterError: If the seed is not a whole number of at least 0, or there is no such market.
        """
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ParameterError(f"Invalid seed {seed!r}: choose a whole number, at least 0.")
        self.seed = int(seed)
        self._market = find_market(market)
        self._clock = machine_time if clock is None else clock

    def __repr__(self) -> str:
        return f"<Simulated {self.market}, seed {self.seed}>"

    @property
    def simulated(self) -> bool:
        """Always true."""
        return True

    @property
    def market(self) -> str:
        """Name of the kind of market."""
        return self._market.name

    def now(self) -> pd.Timestamp:
        """UTC time on the source's clock."""
        return to_utc(self._clock())

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """Supported intervals, ascending, the same for every instrument.

        Raises:
            ParameterError: If the symbol is empty.
        """
        self.resolve(symbol)
        return self._market.intervals

    def resolve(self, symbol: str) -> str:
        """Normalize a symbol: ``btcusdt`` and ``BTC/USDT`` become ``BTC-USDT``.

        Raises:
            ParameterError: If the symbol is empty.
        """
        text = re.sub(r"[\s/_]+", "-", str(symbol).strip().upper())
        if not text:
            raise ParameterError("The symbol is empty: write any name, such as BTC-USDT.")
        pair = None
        if self.market == "crypto":
            pair = re.fullmatch(rf"([A-Z0-9]+?)({_QUOTES})", text)
        elif self.market == "fx":
            pair = re.fullmatch(r"([A-Z]{3})([A-Z]{3})", text)
        return text if pair is None else "-".join(pair.groups())

    def _select(self, symbol: str, interval: Interval, requested: CandleRange) -> Candles:
        requested.validate()
        name, interval = self.resolve(symbol), interval.normalized()
        if interval not in self._market.intervals:
            raise unsupported_interval(name, interval, self._market.intervals, f"The simulated {self.market} market")
        now, records = self.now(), requested.records
        selection = self._selection(interval, requested, now)
        instrument = create_instrument(self._market, name, self.seed)
        table, opens = _simulate(instrument, selection, max(now.year, _FIRST_YEAR))
        first = 0 if records is None else max(0, len(opens) - records)
        if len(opens) - first < 1:
            available = f"they begin with {EPOCH} and end at {now:%Y-%m-%d %H:%M}"
            raise DataError(f"There are no simulated {interval} candles of {name} in that range; {available}.")
        is_short = requested.start is not None and _minute(requested.start) < selection.opens[0]
        return self._to_candles(instrument, interval, table[:, first:], opens[first:], records, is_short)

    def _selection(self, interval: Interval, requested: CandleRange, now: pd.Timestamp) -> _Selection:
        """The requested candles and the blocks that hold them."""
        grid = build_grid(self._market, max(now.year, _FIRST_YEAR))
        opens = opening_minutes(self._market, grid, interval)
        stop = self._closed_before(opens, interval, now)
        if requested.end is not None:
            stop = min(stop, _minute(requested.end))
        if requested.start is None:
            low = int(EPOCH.astype("datetime64[m]").astype(np.int64)) - BLOCK_MINUTES * CHUNK_BLOCKS
        else:
            low = _minute(requested.start)
        step = interval.seconds // 60
        last = int(np.searchsorted(opens, stop))
        first = int(np.searchsorted(opens, low if step >= BLOCK_MINUTES else low - BLOCK_MINUTES + 1))
        if requested.records is not None:
            first = max(first, _first_block(opens, last, requested.records, max(1, BLOCK_MINUTES // step)))
        return _Selection(step, first, last, low, stop, opens, grid)

    def _closed_before(self, opens: IntArray, interval: Interval, now: pd.Timestamp) -> int:
        """First minute at which a candle that opens then is not closed yet."""
        minute = int(now.value // (60 * 10**9))
        if interval.intraday:
            return minute - interval.seconds // 60 + 1
        near = np.unique(opens[max(0, int(np.searchsorted(opens, minute - 32 * 1_440)) - 1) :])[:40]
        ends = (to_index(self._market, near) + interval.offset).tz_convert("UTC")
        still_open = near[np.asarray(ends > now)]
        return int(still_open[0]) if len(still_open) else minute

    def _to_candles(
        self,
        instrument: SimulatedInstrument,
        interval: Interval,
        table: IntArray,
        opens: IntArray,
        records: int | None,
        is_short: bool,
    ) -> Candles:
        """Convert ticks and lots to `Candles` with findings; ``is_short`` if earlier candles were requested."""
        frame = pd.DataFrame(to_decimals(instrument, table), columns=list(COLUMNS), index=to_index(self._market, opens))
        has_volume = self._market.turnover[1] > 0
        message = Message(
            "simulated", "These candles are simulated (seed {seed}): they were never traded.", seed=self.seed
        )
        findings = [Finding("simulated", "info", message)]
        missing = 0 if records is None else records - len(frame)
        if missing > 0 or (records is None and is_short):
            of = "" if records is None else f" of the {records:,}"
            message = Message(
                "simulated-short",
                "There are {count}{of} requested simulated candles; they begin with {start}.",
                count=f"{len(frame):,}",
                of=of,
                start=f"{EPOCH}",
            )
            severity: Severity = "warning" if missing else "info"
            findings.append(Finding("short-history", severity, message, (), max(1, missing)))
        if not has_volume:
            findings.append(
                Finding(
                    "no-volume",
                    "info",
                    Message("market-without-volume", "This market has no volume; volume and amount are 0."),
                )
            )
        return Candles(
            frame=frame,
            symbol=instrument.symbol,
            interval=interval,
            timezone=self._market.zone,
            calendar=self._market.calendar,
            findings=tuple(findings),
            source=f"simulated (seed {self.seed})",
            simulated=True,
            has_volume=has_volume,
            has_amount=has_volume,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Selection:
    """Candles of ``step`` minutes that open in [low, stop), within the blocks [first, last) of the grid."""

    step: int
    first: int
    last: int
    low: int
    stop: int
    opens: IntArray
    grid: TimeGrid


def _minute(time: pd.Timestamp) -> int:
    """Minutes since 1970, rounded up."""
    return -int(-to_utc(time).value // (60 * 10**9))


def _first_block(opens: IntArray, last: int, records: int, per_block: int) -> int:
    """Block in which the last ``records`` candles begin, if a block holds ``per_block`` of them or a part of one.

    Three more blocks are included if a block holds several candles, since not all of the last block need be closed.
    """
    if per_block > 1:
        return max(0, last - records // per_block - 3)
    begins = np.flatnonzero(np.diff(opens[:last], prepend=-(2**62)))
    return int(begins[max(0, len(begins) - records)]) if len(begins) else 0


def _simulate(instrument: SimulatedInstrument, selection: _Selection, year: int) -> tuple[IntArray, IntArray]:
    """The selected candles [6, N] and their opening times [N]."""
    parts = list(_simulate_chunks(instrument, selection, year))
    if not parts:
        return np.empty((6, 0), dtype=np.int64), np.empty(0, dtype=np.int64)
    table = np.concatenate([part for part, _ in parts], axis=1)
    opens = np.concatenate([times for _, times in parts])
    if selection.step > BLOCK_MINUTES:
        table, opens = aggregate_by_opening(table, opens)  # a candle may span two chunks
    inside = (opens >= selection.low) & (opens < selection.stop)
    return table[:, inside], opens[inside]


def _simulate_chunks(
    instrument: SimulatedInstrument, selection: _Selection, year: int
) -> Iterator[tuple[IntArray, IntArray]]:
    step, first, last = selection.step, selection.first, selection.last
    for chunk in range(first // CHUNK_BLOCKS, -(-last // CHUNK_BLOCKS) if last > first else 0):
        begin = chunk * CHUNK_BLOCKS
        rows = slice(max(first, begin), min(last, begin + CHUNK_BLOCKS))
        if step < BLOCK_MINUTES:
            per_block = BLOCK_MINUTES // step
            inside = slice((rows.start - begin) * per_block, (rows.stop - begin) * per_block)
            times = selection.grid.start[rows, None] + step * np.arange(per_block)
            yield aggregate_minutes(minute_candles(instrument, year, chunk), step)[:, inside], times.ravel()
        else:
            table = half_hour_candles(instrument, year, chunk)[:, rows.start - begin : rows.stop - begin]
            yield aggregate_by_opening(table, selection.opens[rows])

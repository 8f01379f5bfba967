"""Candles that never traded, from a seed: for trying things out where no market is at hand.

A candle is the same whatever span is asked for, whenever it is asked, and those of longer intervals are made of
exactly those of shorter ones: both are formed from the same simulated minutes. Only the minutes of the span asked
for are drawn.
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
from kronos.intervals import Interval
from kronos.sources.base import check_span, no_interval, utc
from kronos.sources.simulation.markets import BLOCK, CHUNK, EPOCH, TimeGrid, find_market, grid, index_of, opens_of
from kronos.sources.simulation.price_process import (
    Instrument,
    decimals,
    half_hours,
    longer,
    make_instrument,
    minutes,
    shorter,
)
from kronos.typing import IntArray

_QUOTES = r"USDT|USDC|FDUSD|USD|EUR|BTC|ETH"
_FIRST_YEAR = int(str(EPOCH)[:4])


def machine_time() -> pd.Timestamp:
    """The time on this machine's clock, UTC."""
    return pd.Timestamp.now("UTC")


class SimulatedSource:
    """A `CandleSource` of invented instruments: any name is one, and the seed decides what becomes of it.

    Volatility clusters and changes with regimes and the time of day; tails are fat, jumps rare, nights leave gaps, a
    market's instruments share a part of their shocks, and volume goes with volatility. Where prices go next is all but
    unpredictable: drifts that last some days and a pull towards the usual price are far weaker than the noise. Candles
    begin in 2018.

    Attributes:
        seed: What everything is drawn from.
        market: ``crypto`` (always open), ``ashare`` (Shanghai's sessions), ``us`` (New York's) or ``fx`` (no volume).
    """

    def __init__(
        self, seed: int = 0, *, market: str = "crypto", clock: Callable[[], pd.Timestamp] | None = None
    ) -> None:
        """Make a world.

        Args:
            seed: A whole number from 0.
            market: ``crypto``, ``ashare``, ``us`` or ``fx``.
            clock: What time it is; None for this machine's clock.

        Raises:
            ParameterError: If the seed is no whole number from 0, or the market is unknown.
        """
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ParameterError(f"The seed must be a whole number from 0, not {seed!r}.")
        self.seed = int(seed)
        self._market = find_market(market)
        self._clock = machine_time if clock is None else clock

    def __repr__(self) -> str:
        return f"<Simulated {self.market}, seed {self.seed}>"

    @property
    def name(self) -> str:
        """``simulated``."""
        return "simulated"

    @property
    def simulated(self) -> bool:
        """Always."""
        return True

    @property
    def market(self) -> str:
        """The kind of market."""
        return self._market.name

    def now(self) -> pd.Timestamp:
        """The time on its clock; UTC."""
        return utc(self._clock())

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """See `CandleSource`; every name is an instrument.

        Raises:
            ParameterError: If the name is empty.
        """
        self.resolve(symbol)
        return self._market.intervals

    def resolve(self, symbol: str) -> str:
        """An instrument's name as it is shown: ``btcusdt`` and ``BTC/USDT`` are ``BTC-USDT``.

        Raises:
            ParameterError: If it is empty.
        """
        text = re.sub(r"[\s/_]+", "-", str(symbol).strip().upper())
        if not text:
            raise ParameterError("The symbol is empty; give any name, such as BTC-USDT.")
        pair = None
        if self.market == "crypto":
            pair = re.fullmatch(rf"([A-Z0-9]+?)({_QUOTES})", text)
        elif self.market == "fx":
            pair = re.fullmatch(r"([A-Z]{3})([A-Z]{3})", text)
        return text if pair is None else "-".join(pair.groups())

    def candles(
        self,
        symbol: str,
        interval: Interval,
        *,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        records: int | None = None,
    ) -> Candles:
        """Closed candles by its clock, oldest first, in the market's timezone; see `CandleSource`.

        Raises:
            ParameterError: If the name is empty, the interval is not served, or the span cannot hold candles.
            DataError: If there are no candles in that span, such as before 2018.
            CalendarError: If the clock runs beyond what calendars know.
        """
        check_span(start, end, records)
        name, interval = self.resolve(symbol), interval.normalized()
        if interval not in self._market.intervals:
            raise no_interval(name, interval, self._market.intervals, f"The simulated {self.market} market")
        now = self.now()
        wanted = self._wanted(interval, start, end, records, now)
        instrument = make_instrument(self._market, name, self.seed)
        table, opens = _form(instrument, wanted, max(now.year, _FIRST_YEAR))
        first = 0 if records is None else max(0, len(opens) - records)
        if len(opens) - first < 1:
            there = f"they begin with {EPOCH} and end at {now:%Y-%m-%d %H:%M}"
            raise DataError(f"There are no simulated {interval} candles of {name} in that time; {there}.")
        short = start is not None and _minute(start) < wanted.opens[0]
        return self._told(instrument, interval, table[:, first:], opens[first:], records, short)

    def _wanted(
        self,
        interval: Interval,
        start: pd.Timestamp | None,
        end: pd.Timestamp | None,
        records: int | None,
        now: pd.Timestamp,
    ) -> _Wanted:
        """Which candles, and from which half-hours."""
        blocks = grid(self._market, max(now.year, _FIRST_YEAR))
        opens = opens_of(self._market, blocks, interval)
        stop = self._closed_before(opens, interval, now)
        if end is not None:
            stop = min(stop, _minute(end))
        low = int(EPOCH.astype("datetime64[m]").astype(np.int64)) - BLOCK * CHUNK if start is None else _minute(start)
        step = interval.seconds // 60
        last = int(np.searchsorted(opens, stop))
        first = int(np.searchsorted(opens, low if step >= BLOCK else low - BLOCK + 1))
        if records is not None:
            first = max(first, _records_back(opens, last, records, max(1, BLOCK // step)))
        return _Wanted(step, first, last, low, stop, opens, blocks)

    def _closed_before(self, opens: IntArray, interval: Interval, now: pd.Timestamp) -> int:
        """The minute from which on candles that open are not closed."""
        present = int(now.value // (60 * 10**9))
        if interval.intraday:
            return present - interval.seconds // 60 + 1
        near = np.unique(opens[max(0, int(np.searchsorted(opens, present - 32 * 1_440)) - 1) :])[:40]
        ends = (index_of(self._market, near) + interval.offset).tz_convert("UTC")
        still_open = near[np.asarray(ends > now)]
        return int(still_open[0]) if len(still_open) else present

    def _told(
        self,
        instrument: Instrument,
        interval: Interval,
        table: IntArray,
        opens: IntArray,
        records: int | None,
        short: bool,
    ) -> Candles:
        """Ticks and lots as `Candles`, with what has to be said; ``short`` if earlier ones were asked for."""
        frame = pd.DataFrame(decimals(instrument, table), columns=list(COLUMNS), index=index_of(self._market, opens))
        volume = self._market.turnover[1] > 0
        message = f"These candles are simulated (seed {self.seed}): nothing in them ever traded."
        findings = [Finding("simulated", "info", message)]
        lacking = 0 if records is None else records - len(frame)
        if lacking > 0 or (records is None and short):
            asked = "" if records is None else f" of the {records:,}"
            message = f"There are {len(frame):,}{asked} simulated candles asked for; they begin with {EPOCH}."
            severity: Severity = "warning" if lacking else "info"
            findings.append(Finding("short-history", severity, message, (), max(1, lacking)))
        if not volume:
            findings.append(Finding("no-volume", "info", "This market tells no volume; volume and amount are 0."))
        return Candles(
            frame=frame,
            symbol=instrument.symbol,
            interval=interval,
            timezone=self._market.zone,
            calendar=self._market.calendar,
            findings=tuple(findings),
            source=f"simulated (seed {self.seed})",
            simulated=True,
            has_volume=volume,
            has_amount=volume,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """Candles of ``step`` minutes that open in [low, stop), found in the half-hours [first, last)."""

    step: int
    first: int
    last: int
    low: int
    stop: int
    opens: IntArray
    blocks: TimeGrid


def _minute(time: pd.Timestamp) -> int:
    """The first whole minute at or after a time, since 1970."""
    return -int(-utc(time).value // (60 * 10**9))


def _records_back(opens: IntArray, last: int, records: int, each: int) -> int:
    """The half-hour where the last ``records`` candles begin, each half-hour having ``each`` of them or a part of one.

    Three more are taken where a half-hour has several: not all of the last one's need be closed.
    """
    if each > 1:
        return max(0, last - records // each - 3)
    begins = np.flatnonzero(np.diff(opens[:last], prepend=-(2**62)))
    return int(begins[max(0, len(begins) - records)]) if len(begins) else 0


def _form(instrument: Instrument, wanted: _Wanted, year: int) -> tuple[IntArray, IntArray]:
    """The candles wanted, and when they open."""
    parts = list(_parts(instrument, wanted, year))
    if not parts:
        return np.empty((6, 0), dtype=np.int64), np.empty(0, dtype=np.int64)
    table = np.concatenate([part for part, _ in parts], axis=1)
    opens = np.concatenate([times for _, times in parts])
    if wanted.step > BLOCK:
        table, opens = longer(table, opens)  # a candle may lie in two chunks
    inside = (opens >= wanted.low) & (opens < wanted.stop)
    return table[:, inside], opens[inside]


def _parts(instrument: Instrument, wanted: _Wanted, year: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Candles chunk by chunk."""
    for chunk in range(wanted.first // CHUNK, -(-wanted.last // CHUNK) if wanted.last > wanted.first else 0):
        begin = chunk * CHUNK
        rows = slice(max(wanted.first, begin), min(wanted.last, begin + CHUNK))
        if wanted.step < BLOCK:
            each = BLOCK // wanted.step
            inside = slice((rows.start - begin) * each, (rows.stop - begin) * each)
            times = wanted.blocks.start[rows, None] + wanted.step * np.arange(each)
            yield shorter(minutes(instrument, year, chunk), wanted.step)[:, inside], times.ravel()
        else:
            table = half_hours(instrument, year, chunk)[:, rows.start - begin : rows.stop - begin]
            yield longer(table, wanted.opens[rows])

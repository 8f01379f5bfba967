"""One series of a dataset: from the source at its own interval, or made of complete shorter candles."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.calendars.stamping import stamped_at
from kronos.candles import Candles, Finding
from kronos.candles.quality import Quality, assess
from kronos.candles.resampling import Stamped, divides, resample
from kronos.datasets.config import DatasetConfig
from kronos.datasets.timeframes import timeframe_text
from kronos.errors import ParameterError
from kronos.intervals import Interval
from kronos.sources import CandleSource

_SPARE = 2  # longer candles more than asked for: the first and the last may be incomplete


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One symbol at one timeframe.

    Attributes:
        symbol: As the configuration writes it.
        candles: What the source gave, oldest first.
        quality: What the quality filters say of it; None if they were not asked.
        stamps: The candles' times as the source writes them, in UTC; those without a timezone are taken for it. [N]
        opens: When each candle opens, UTC. [N]
        segments: For each candle the number of its unbroken stretch, from 0, or -1 if the filters dropped it. [N]
        resampled_from: The interval of the source's candles it was made of; None if it has the right one itself.
    """

    symbol: str
    candles: Candles
    quality: Quality | None
    stamps: pd.DatetimeIndex
    opens: pd.DatetimeIndex
    segments: npt.NDArray[np.int32]
    resampled_from: Interval | None

    @property
    def interval(self) -> Interval:
        """The candles' length."""
        return self.candles.interval

    @property
    def timeframe(self) -> str:
        """The interval as datasets write it."""
        return timeframe_text(self.interval)

    @property
    def name(self) -> str:
        """``BTC-USDT-SWAP_4H``."""
        return f"{self.symbol}_{self.timeframe}"


def gather(source: CandleSource, symbol: str, interval: Interval, config: DatasetConfig) -> Series:
    """Fetch one series, and see which of its stretches are fit for training.

    Args:
        source: Where candles come from.
        symbol: The instrument.
        interval: The candles' length.
        config: How many candles, and which filters.

    Raises:
        ParameterError: If the source has neither the instrument nor an interval to make this one of.
        SourceError: If it cannot be reached.
        DataError: If there are no candles.
    """
    base = base_interval(source, symbol, interval)
    records = config.records_per_timeframe
    if base == interval:
        candles, resampled = source.candles(symbol, interval, records=records), None
        stamped: Stamped = stamped_at(candles.index, interval)
    else:
        (candles, stamped), resampled = _longer(source, symbol, base, interval, records), base
    quality = assess(candles) if config.quality == "paper" else None
    stamps = _utc(candles.index)
    opens = stamps - interval.delta if stamped == "close" else stamps
    return Series(symbol, candles, quality, stamps, opens, _segments(candles, quality), resampled)


def base_interval(source: CandleSource, symbol: str, interval: Interval) -> Interval:
    """The interval to ask a source for: the one wanted, else the longest that it can be made of.

    Raises:
        ParameterError: If there is none.
    """
    served = source.intervals(symbol)
    if served is None or interval in served:
        return interval
    whole = [one for one in served if divides(one, interval)]
    if not whole:
        listed = ", ".join(str(one) for one in served)
        raise ParameterError(
            f"{source.name} has no {interval} candles of {symbol}, nor shorter ones to make them of: it has {listed}."
        )
    return max(whole, key=lambda one: one.seconds)


def _longer(
    source: CandleSource, symbol: str, base: Interval, interval: Interval, records: int
) -> tuple[Candles, Stamped]:
    """So many longer candles made of shorter ones, from further back where some are incomplete, and how stamped."""
    ratio = math.ceil(interval.seconds / base.seconds)
    wanted = (records + _SPARE) * ratio
    while True:
        shorter = source.candles(symbol, base, records=wanted)
        stamped = stamped_at(shorter.index, base)
        whole = resample(shorter, interval, stamped=stamped)
        lacking = records - len(whole)
        if lacking <= 0 or len(shorter) < wanted:
            return _latest(whole, records), stamped if interval.intraday else "open"
        wanted += (lacking + _SPARE) * ratio


def _latest(candles: Candles, records: int) -> Candles:
    """The latest candles; fewer than asked for is a finding, and one about shorter candles is none any more."""
    findings = [finding for finding in candles.findings if finding.code != "short-history"]
    lacking = records - len(candles)
    if lacking > 0:
        message = f"{len(candles):,} of the {records:,} {candles.interval} candles asked for could be made."
        findings.insert(0, Finding("short-history", "warning", message, (), lacking))
    return replace(candles.tail(records), findings=tuple(findings))


def _utc(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return (index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")).as_unit("us")


def _segments(candles: Candles, quality: Quality | None) -> npt.NDArray[np.int32]:
    numbers = np.full(len(candles), 0 if quality is None else -1, dtype=np.int32)
    for number, segment in enumerate(() if quality is None else quality.segments):
        numbers[segment.start : segment.stop] = number
    return numbers

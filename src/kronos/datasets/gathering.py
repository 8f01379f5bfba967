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
from kronos.candles.resampling import resample
from kronos.datasets.config import DatasetConfig, timeframe_text
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
        opens: When each candle opens, UTC. [N]
        segments: For each candle the number of its unbroken stretch, from 0, or -1 if the filters dropped it. [N]
        resampled_from: The interval of the source's candles it was made of; None if it has the right one itself.
    """

    symbol: str
    candles: Candles
    quality: Quality | None
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
        candles = source.candles(symbol, interval, records=records)
    else:
        candles = _longer(source, symbol, base, interval, records)
    quality = assess(candles) if config.quality == "paper" else None
    resampled = None if base == interval else base
    return Series(symbol, candles, quality, _opens(candles), _segments(candles, quality), resampled)


def base_interval(source: CandleSource, symbol: str, interval: Interval) -> Interval:
    """The interval to ask a source for: the one wanted, else the longest that it can be made of.

    Raises:
        ParameterError: If there is none.
    """
    served = source.intervals(symbol)
    if served is None or interval in served:
        return interval
    whole = [one for one in served if one.seconds < interval.seconds and interval.seconds % one.seconds == 0]
    if not whole:
        listed = ", ".join(str(one) for one in served)
        raise ParameterError(
            f"{source.name} has no {interval} candles of {symbol}, nor any to make them of: it has {listed}."
        )
    return max(whole, key=lambda one: one.seconds)


def _longer(source: CandleSource, symbol: str, base: Interval, interval: Interval, records: int) -> Candles:
    """So many longer candles made of shorter ones; where some are incomplete, from further back."""
    ratio = math.ceil(interval.seconds / base.seconds)
    wanted = (records + _SPARE) * ratio
    while True:
        shorter = source.candles(symbol, base, records=wanted)
        whole = resample(shorter, interval, stamped=stamped_at(shorter.index, base))
        lacking = records - len(whole)
        if lacking <= 0 or len(shorter) < wanted:
            return _latest(whole, records)
        wanted += (lacking + _SPARE) * ratio


def _latest(candles: Candles, records: int) -> Candles:
    """The latest candles; fewer than asked for is a finding, and one about shorter candles is none any more."""
    findings = [finding for finding in candles.findings if finding.code != "short-history"]
    lacking = records - len(candles)
    if lacking > 0:
        message = f"{len(candles):,} of the {records:,} {candles.interval} candles asked for could be made."
        findings.insert(0, Finding("short-history", "warning", message, (), lacking))
    return replace(candles.tail(records), findings=tuple(findings))


def _opens(candles: Candles) -> pd.DatetimeIndex:
    """When the candles open, UTC; naive stamps are taken as they are written."""
    index = candles.index
    utc = index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")
    if stamped_at(index, candles.interval) == "close":
        utc = utc - candles.interval.delta
    return utc.as_unit("us")


def _segments(candles: Candles, quality: Quality | None) -> npt.NDArray[np.int32]:
    numbers = np.full(len(candles), 0 if quality is None else -1, dtype=np.int32)
    for number, segment in enumerate(() if quality is None else quality.segments):
        numbers[segment.start : segment.stop] = number
    return numbers

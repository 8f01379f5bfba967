"""What a series of the record must fulfil, checked entry by entry in their order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from kronos.errors import ParameterError
from kronos.intervals import Interval
from kronos.live.entries import (
    Entry,
    ForecastEntry,
    LateEntry,
    MissedEntry,
    ProtocolEntry,
    RevisionEntry,
    ScoreEntry,
    UnresolvedEntry,
    candles_digest,
)
from kronos.live.protocol import series_id

_LENGTH = len("2026-03-01T12:00:00.000000Z")


@dataclass
class SeriesAudit:
    """The state of one series while its entries are read.

    Attributes:
        entry: Its protocol.
        pending: Forecasts without an outcome, by origin.
        last_origin: Latest origin, empty before the first.
        written: Latest time on a source's clock of a forecast or score, empty before the first.
        expected: Origins that must have a row next: closing times of the candles of the latest forecast.
        settling: Values of each candle that settled a forecast, by source and opening time: the first, and revisions.
    """

    entry: ProtocolEntry
    pending: dict[str, ForecastEntry] = field(default_factory=dict)
    last_origin: str = ""
    written: str = ""
    expected: list[str] = field(default_factory=list)
    settling: dict[tuple[str, str], list[Sequence[float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        protocol = self.entry.protocol
        try:
            self._interval = Interval.parse(protocol["interval"])
            self._horizon, self._late_after = int(protocol["horizon"]), float(protocol["late_after"])
            self._sources, self._simulated = set(protocol["sources"]), bool(protocol["simulated"])
            self._contenders = {"calibrated", "raw", *protocol["baselines"]}
            self._paths_size = _text_size(int(protocol["sampling"]["paths"]) * self._horizon)
        except ParameterError as error:
            raise ValueError(str(error)) from error
        self._delta = timedelta(seconds=self._interval.seconds)

    def opening_problems(self) -> Iterator[str]:
        """Yield what is wrong with the protocol."""
        if series_id(self.entry.protocol) != self.entry.series:
            yield "the id of the series does not follow from its protocol"

    def problems(self, entry: Entry, body: str) -> Iterator[str]:
        """Yield what is wrong with an entry, and add it to the state.

        Args:
            entry: The entry.
            body: Its text.

        Raises:
            ValueError, TypeError, KeyError, IndexError, AttributeError: If a field has a value of another type.
        """
        if isinstance(entry, ProtocolEntry):
            yield "the series has a protocol already"
        elif isinstance(entry, ForecastEntry):
            yield from self._origin(entry.origin)
            yield from self._conformity(entry)
            yield from self._forecast(entry)
        elif isinstance(entry, MissedEntry):
            yield from self._origin(entry.origin)
            if entry.origin > max(_checked(entry.made_at), entry.server_time):
                yield "a missed origin lies in the future"
        elif isinstance(entry, ScoreEntry):
            yield from self._score(entry, body)
        elif isinstance(entry, UnresolvedEntry):
            yield from self._unresolved(entry)
        elif isinstance(entry, RevisionEntry):
            _parse(entry.origin)
            self.settling.setdefault((entry.source, entry.origin), []).append(list(entry.after))

    def _origin(self, origin: str) -> Iterator[str]:
        """Check that origins ascend and that none has been left out."""
        if origin <= self.last_origin:
            yield f"its origin {origin} is not after {self.last_origin}"
        skipped = [time for time in self.expected if time < origin]
        if skipped:
            yield f"origin {skipped[0]} has no row" if len(skipped) == 1 else f"{len(skipped)} origins have no row"
        self.expected = [time for time in self.expected if time > origin]
        self.last_origin = max(self.last_origin, _checked(origin))

    def _conformity(self, entry: ForecastEntry) -> Iterator[str]:
        """Check that a forecast is what the protocol announced."""
        if entry.simulated and not self._simulated:
            yield "its candles are simulated, and those of its series are not"
        if entry.source not in self._sources:
            yield f"its source {entry.source} is not one of the protocol's"
        if "raw" not in entry.paths or not entry.paths.keys() <= self._contenders:
            yield "its contenders are not those of the protocol"
        if any(len(entry.paths[name]) != self._paths_size for name in ("calibrated", "raw") if name in entry.paths):
            yield "it has another number of paths than the protocol"

    def _forecast(self, entry: ForecastEntry) -> Iterator[str]:
        times = [_parse(time) for time in entry.times]
        origin, written = _parse(entry.origin), _parse(entry.server_time)
        share = self._late_after * self._delta
        if len(times) != self._horizon or times[0] < origin or times != sorted(set(times)):
            yield f"its candles are not the {self._horizon} after its origin"
            return
        if isinstance(entry, LateEntry):
            if written <= times[0] + share:
                yield "it is entered as late but was written in time"
            if written >= self._close(times[0]):
                yield f"it was written at {entry.server_time}, after its first candle had closed"
        else:
            if written > times[0] + share:
                yield f"it was written at {entry.server_time}, too late to count"
            # Clocks of different sources differ by seconds; this share is the accuracy that lateness is judged with.
            if self.written and written + share < _parse(self.written):
                yield f"it says that it was written at {entry.server_time}, but a row before it is of {self.written}"
            self.pending[entry.origin] = entry
        self.written = max(self.written, entry.server_time)
        # Where the market pauses, a holiday that nobody foresaw has no origins: only unbroken candles are expected.
        unbroken = times[0] == origin and times[-1] - origin == (self._horizon - 1) * self._delta
        self.expected = list(entry.times[1:]) if unbroken else []

    def _score(self, entry: ScoreEntry, body: str) -> Iterator[str]:
        forecast = self.pending.pop(entry.origin, None)
        if forecast is None:
            yield "it scores no forecast of the series, or one that has an outcome"
            return
        if _candles_digest(body) != entry.sha256 and candles_digest(entry.candles) != entry.sha256:
            yield "the digest of its candles is wrong"
        if [candle[0] for candle in entry.candles] != list(forecast.times):
            yield "its candles are not those of the forecast"
        elif _parse(entry.fetched_at) < self._close(_parse(forecast.times[-1])):
            yield "it was scored before the last candle had closed"
        for time, *prices in entry.candles:
            if prices not in self.settling.setdefault((entry.source, time), [prices]):
                yield f"its candle of {time} differs from the one of an earlier score, without a revision"
        self.written = max(self.written, _checked(entry.fetched_at))

    def _unresolved(self, entry: UnresolvedEntry) -> Iterator[str]:
        forecast = self.pending.pop(entry.origin, None)
        if forecast is None:
            yield "it concerns no forecast of the series, or one that has an outcome"
        elif not entry.missing or not set(entry.missing) <= set(forecast.times):
            yield "the candles that it misses are not those of the forecast"
        elif _parse(max(entry.made_at, entry.server_time)) < self._close(_parse(forecast.times[-1])):
            yield "it was given up before the last candle had closed"

    def _close(self, opened: datetime) -> datetime:
        """Closing time of a candle."""
        if self._interval.unit != "mo":
            return opened + self._delta
        closed: datetime = opened + self._interval.offset
        return closed


def _candles_digest(body: str) -> str:
    """Digest of the candles as they stand in the body, which saves writing their prices once more."""
    end = body.find(']],"fetched_at":')
    return hashlib.sha256(f"{body[: end + 2]}}}".encode()).hexdigest()


def _text_size(numbers: int) -> int:
    """Letters of base64 that hold so many 32-bit integers."""
    return 4 * -(-4 * numbers // 3)


@lru_cache(maxsize=4096)  # the same times are candles of many forecasts
def _parse(text: str) -> datetime:
    return datetime.fromisoformat(_checked(text))


def _checked(text: str) -> str:
    """Return the time if it is written so that times sort as text.

    Raises:
        ValueError: If it is not.
    """
    if len(text) != _LENGTH or text[-1] != "Z":
        raise ValueError(f"{text!r} is no time")
    return text

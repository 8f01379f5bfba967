"""Entries of the record: what each kind of row says, and how sample paths are written.

- Every origin of a series, the closing time of the last known candle, has exactly one of ``forecast``, ``late``
  (written too late to count: shown, not scored) and ``missed``; a ``forecast`` later gets exactly one of ``score``
  and ``unresolved``. A ``protocol`` opens a series, and a ``revision`` says that the source changed a settling candle.
- Times are UTC in ISO 8601 with microseconds, so that they sort as text.
- Paths are cumulative log returns of the close since the last known close, as whole numbers of 10⁻⁷: little-endian
  32-bit integers, path by path, in base64. Scores are computed from what is written, so that anybody can repeat them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from kronos.live.chain import canonical_json
from kronos.typing import FloatArray

UNIT = 1e-7  # log return of one step of the stored integers
LEVELS = (50, 80, 95)  # central bands, in percent
ORIGIN_KINDS = ("forecast", "late", "missed")
OUTCOME_KINDS = ("score", "unresolved")


def format_time(time: pd.Timestamp) -> str:
    """Write a UTC time: ``2026-03-01T12:00:00.000000Z``."""
    stamp = pd.Timestamp(time)
    stamp = stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> pd.Timestamp:
    """Read a time written by `format_time`."""
    return pd.Timestamp(text)


def encode_paths(returns: FloatArray) -> str:
    """Write cumulative log returns ``[S, H]`` as base64 of 32-bit integers in units of 10⁻⁷."""
    whole = np.rint(np.asarray(returns, dtype=np.float64) / UNIT).astype("<i4")
    return base64.b64encode(np.ascontiguousarray(whole).tobytes()).decode("ascii")


def decode_paths(text: str, horizon: int) -> FloatArray:
    """Read cumulative log returns ``[S, H]`` written by `encode_paths`.

    Raises:
        ValueError: If the text is not base64, or not a whole number of paths.
    """
    raw = np.frombuffer(base64.b64decode(text, validate=True), dtype="<i4")
    return raw.reshape(-1, horizon) * UNIT


def candles_digest(candles: Sequence[Sequence[Any]]) -> str:
    """SHA-256 of settling candles, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json({"candles": [list(row) for row in candles]}).encode("ascii")).hexdigest()


@dataclass(frozen=True)
class Entry:
    """An entry of the record.

    Attributes:
        series: Id of the series.
        origin: Time that the entry is about; empty for a protocol.
    """

    series: str
    origin: str

    kind: ClassVar[str] = ""

    @property
    def slot(self) -> str:
        """With series and origin, the key that no two rows share."""
        return self.kind

    def fields(self) -> dict[str, Any]:
        """Return the fields of the body."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class ProtocolEntry(Entry):
    """What is going to be forecast and how it will be judged, written before the first forecast of the series.

    Attributes:
        made_at: Time of this machine.
        protocol: Symbol, interval, model with hashes, calibration, sampling, horizon, baselines, scores, the rule for
            late forecasts, and when to stop; see `kronos.live.protocol`. The series' id is derived from it.
    """

    made_at: str
    protocol: Mapping[str, Any]

    kind: ClassVar[str] = "protocol"


@dataclass(frozen=True)
class ForecastEntry(Entry):
    """A forecast that was written in time.

    Attributes:
        made_at: Time of this machine when it was written.
        server_time: Time on the source's clock when it was written; lateness is judged by it.
        source: Name of the source of the candles.
        simulated: Whether the candles are simulated.
        last_close: Last known close.
        sigma: Standard deviation of the history's last one-step log returns, the unit of scaled scores.
        recent_volatility: Standard deviation of the log returns in the volatility window.
        times: Opening times of the forecast candles, H of them.
        paths: Paths by contender (``calibrated``, ``raw`` and the baselines), as `encode_paths` writes them.
        probabilities: For ``upside`` and ``amplification``, by contender: estimate, lower and upper end of the 95 %
            interval.
        history: Number, first time and SHA-256 of the candles that the forecast was made from.
        seed: Random seed.
        versions: Versions of the packages.
    """

    made_at: str
    server_time: str
    source: str
    simulated: bool
    last_close: float
    sigma: float
    recent_volatility: float
    times: Sequence[str]
    paths: Mapping[str, str]
    probabilities: Mapping[str, Mapping[str, Sequence[float]]]
    history: Mapping[str, Any]
    seed: int
    versions: Mapping[str, str] = field(default_factory=dict)

    kind: ClassVar[str] = "forecast"

    @property
    def slot(self) -> str:
        """The origin has one row, whichever kind it is."""
        return "origin"


@dataclass(frozen=True)
class LateEntry(ForecastEntry):
    """A forecast that was written after too much of its first candle had passed: shown, not scored."""

    kind: ClassVar[str] = "late"


@dataclass(frozen=True)
class MissedEntry(Entry):
    """An origin without a forecast.

    Attributes:
        made_at: Time of this machine when it was entered.
        reason: Why there is none.
        server_time: Time on the source's clock when it was entered.
    """

    made_at: str
    reason: str
    server_time: str = ""

    kind: ClassVar[str] = "missed"

    @property
    def slot(self) -> str:
        """The origin has one row, whichever kind it is."""
        return "origin"


@dataclass(frozen=True)
class ScoreEntry(Entry):
    """The scores of a forecast, with the candles that settled it.

    Attributes:
        made_at: Time of this machine when it was scored.
        source: Name of the source of the settling candles.
        fetched_at: Time on the source's clock when they were fetched.
        candles: Opening time, open, high, low and close of the H settling candles.
        sha256: `candles_digest` of them.
        outcome: Whether the price rose (``upside``) and whether volatility exceeded the recent one (``amplification``).
        scores: By contender, as `kronos.live.scoring.score_forecast` computes them.
    """

    made_at: str
    source: str
    fetched_at: str
    candles: Sequence[Sequence[Any]]
    sha256: str
    outcome: Mapping[str, bool]
    scores: Mapping[str, Mapping[str, Any]]

    kind: ClassVar[str] = "score"

    @property
    def slot(self) -> str:
        """A forecast has one outcome, whichever kind it is."""
        return "outcome"


@dataclass(frozen=True)
class UnresolvedEntry(Entry):
    """A forecast that cannot be scored.

    Attributes:
        made_at: Time of this machine when it was entered.
        reason: Why it cannot.
        missing: Opening times of the candles that the source does not have.
        server_time: Time on the source's clock when it was entered.
    """

    made_at: str
    reason: str
    missing: Sequence[str]
    server_time: str = ""

    kind: ClassVar[str] = "unresolved"

    @property
    def slot(self) -> str:
        """A forecast has one outcome, whichever kind it is."""
        return "outcome"


@dataclass(frozen=True)
class RevisionEntry(Entry):
    """A settling candle that the source has changed since; scores stay as they are. The origin is its opening time.

    Attributes:
        made_at: Time of this machine when it was noticed.
        source: Name of the source.
        fetched_at: Time on the source's clock when the new values were fetched.
        before: Open, high, low and close that settled forecasts.
        after: Open, high, low and close now; empty if the source no longer has the candle.
    """

    made_at: str
    source: str
    fetched_at: str
    before: Sequence[float]
    after: Sequence[float]

    kind: ClassVar[str] = "revision"

    @property
    def slot(self) -> str:
        """Each change of a candle is entered once."""
        text = canonical_json({"after": list(self.after), "source": self.source})
        return f"revision {hashlib.sha256(text.encode('ascii')).hexdigest()[:16]}"


ENTRY_TYPES: dict[str, type[Entry]] = {
    entry.kind: entry
    for entry in (ProtocolEntry, ForecastEntry, LateEntry, MissedEntry, ScoreEntry, UnresolvedEntry, RevisionEntry)
}


def parse_entry(body: Mapping[str, Any]) -> Entry:
    """Restore an entry from the parsed body of a row.

    Raises:
        ValueError: If the kind is unknown, or the fields are not those of its kind.
    """
    fields = {name: value for name, value in body.items() if name not in ("kind", "seq")}
    kind = body.get("kind")
    if not isinstance(kind, str) or kind not in ENTRY_TYPES:
        raise ValueError(f"unknown kind of entry {kind!r}")
    try:
        return ENTRY_TYPES[kind](**fields)
    except TypeError as error:
        raise ValueError(f"the fields of a {kind} entry are incomplete or unknown") from error

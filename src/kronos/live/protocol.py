"""The protocol of a series: what will be forecast and how it will be judged, fixed before the first forecast.

Its id is derived from its content: a change of the model, the calibration, the sampling, the horizon, the baselines or
the rules makes another series, which is scored separately.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kronos.live.chain import canonical_json

FORMAT = 1  # of the protocol and the entries; a change of what they mean makes another series
SCORES = (
    "CRPS (fair estimator) of the cumulative log return of the close, in units of sigma * sqrt(step)",
    "central bands of 50, 80 and 95 %: share of closes inside",
    "Brier score of the probability that the last close is above the last known one",
    "Brier score of the probability that volatility over the horizon exceeds that of the volatility window",
    "CRPS of price changes over 1, 3, 6 and 24 steps, in basis points",
)


@dataclass(frozen=True)
class ProtocolModel:
    """A model as the protocol names it.

    Attributes:
        name: Name of the model or baseline.
        sha256: Digest of its weights; None for a baseline.
        tokenizer_sha256: Digest of its tokenizer; None for a baseline.
        calibration_sha256: Digest of the calibration; None for raw paths only.
    """

    name: str
    sha256: str | None = None
    tokenizer_sha256: str | None = None
    calibration_sha256: str | None = None


@dataclass(frozen=True)
class SeriesSettings:
    """Everything that a protocol fixes.

    Attributes:
        symbol: Symbol, as the sources resolve it.
        interval: Interval of the candles.
        sources: Sources in order.
        simulated: Whether the candles are simulated; such a series is labelled everywhere.
        model: The model.
        sampling: Temperature, top_p and the number of paths.
        seed: Random seed, from which each origin's is derived.
        history: Candles of history.
        horizon: Candles to forecast.
        volatility_window: Returns of the recent volatility.
        baselines: Baselines that are scored beside the model.
        late_after: Share of the first candle after which a forecast is late.
        stop_after: Number of scored forecasts at which the verdict is final; None for a record without end.
    """

    symbol: str
    interval: str
    sources: Sequence[str]
    simulated: bool
    model: ProtocolModel
    sampling: Mapping[str, float]
    seed: int
    history: int
    horizon: int
    volatility_window: int
    baselines: Sequence[str]
    late_after: float
    stop_after: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return the protocol as values for JSON."""
        return {
            "format": FORMAT,
            "symbol": self.symbol,
            "interval": self.interval,
            "sources": list(self.sources),
            "simulated": self.simulated,
            "model": {
                "name": self.model.name,
                "sha256": self.model.sha256,
                "tokenizer_sha256": self.model.tokenizer_sha256,
                "calibration_sha256": self.model.calibration_sha256,
            },
            "sampling": dict(self.sampling),
            "seed": self.seed,
            "history": self.history,
            "horizon": self.horizon,
            "volatility_window": self.volatility_window,
            "baselines": list(self.baselines),
            "scores": list(SCORES),
            "late_after": self.late_after,
            "stop_after": self.stop_after,
        }


def series_id(protocol: Mapping[str, Any]) -> str:
    """Derive the id of a series from its protocol: 16 hexadecimal digits."""
    return hashlib.sha256(canonical_json(protocol).encode("ascii")).hexdigest()[:16]


def series_slug(protocol: Mapping[str, Any]) -> str:
    """Return a name for folders and addresses: ``btcusdt-1h-kronos-nano``."""
    text = f"{protocol['symbol']}-{protocol['interval']}-{protocol['model']['name']}".lower()
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")

"""Candles around sampled closes: what else a candle is comes from a donor, a candle of the same recent past.

Where a candle opens, how far it reaches beyond its body and its turnover are the donor's, so that sampled candles
are valid by construction and look like the market's. Random numbers come from two numpy streams a path, keyed by
(seed, path): a path doesn't depend on how many others are asked for, nor its first steps on the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kronos.typing import FloatArray

Indices = NDArray[np.int64]

_KEPT = 10_000  # numbers; draws up to this size are kept, as several baselines ask for the same ones
_SCALES = (0.25, 4.0)  # a donor's wicks shrink and grow no further, however volatility changed since


@dataclass(frozen=True)
class CandleShapes:
    """The last W candles in logs: returns, opening gaps, wicks and turnover, each `[W]`."""

    last: float
    returns: FloatArray
    gaps: FloatArray
    upper: FloatArray
    lower: FloatArray
    volume: FloatArray
    amount_per_price: FloatArray

    @classmethod
    def of(cls, candles: FloatArray) -> CandleShapes:
        """Take them from W + 1 candles `[W + 1, 6]`."""
        logs = np.log(candles[:, :4])
        opens, highs, lows, closes = logs[1:].T
        return cls(
            last=float(logs[-1, 3]),
            returns=np.diff(logs[:, 3]),
            gaps=opens - logs[:-1, 3],
            upper=highs - np.maximum(opens, closes),
            lower=np.minimum(opens, closes) - lows,
            volume=candles[1:, 4],
            amount_per_price=candles[1:, 5] / candles[1:, :4].mean(axis=1),
        )

    def tail(self, n: int) -> CandleShapes:
        """Only the last ``n`` candles."""
        cut = {part.name: getattr(self, part.name)[-n:] for part in fields(self) if part.name != "last"}
        return CandleShapes(last=self.last, **cut)

    @property
    def sigma(self) -> float:
        """Standard deviation (n - 1) of the log returns."""
        return float(self.returns.std(ddof=1))

    @property
    def gap_share(self) -> float:
        """Regression of the opening gap on the return: the share of a move that happens before the open."""
        spread = np.square(self.returns - self.returns.mean()).sum()
        if spread == 0:
            return 0.0
        return float(np.clip(self.gaps @ (self.returns - self.returns.mean()) / spread, 0.0, 1.0))

    def continue_by(self, returns: FloatArray, donors: Indices, scale: FloatArray | float = 1.0) -> FloatArray:
        """Candles `[S, H, 6]` whose closes follow ``returns`` and whose shapes are those of the ``donors``.

        The donor's gap is corrected by regression for the return being another than the donor's, so that gap
        and body keep the covariance they have in the history, instead of adding up to too much.

        Args:
            returns: Log returns of the close. [S, H]
            donors: Positions in the W candles. [S, H]
            scale: Volatility of the step over that of its donor, by which gaps and wicks are stretched, between
                a quarter and four times. [S, H]
        """
        size = np.clip(scale, *_SCALES)
        closes = self.last + np.cumsum(returns, axis=1)
        before = closes - returns
        opens = before + self.gaps[donors] * size + self.gap_share * (returns - self.returns[donors] * size)
        highs = np.maximum(opens, closes) + self.upper[donors] * size
        lows = np.minimum(opens, closes) - self.lower[donors] * size
        prices = np.exp(np.stack([opens, highs, lows, closes], axis=-1))
        amount = self.amount_per_price[donors] * prices.mean(axis=-1)
        return np.concatenate([prices, self.volume[donors][..., None], amount[..., None]], axis=-1)


def draw(seed: int, samples: int, horizon: int) -> tuple[FloatArray, FloatArray]:
    """Standard normal and uniform numbers in [0, 1), both `[S, H]`, read-only; one stream each a path."""
    return _kept(seed, samples, horizon) if samples * horizon <= _KEPT else _drawn(seed, samples, horizon)


def pick(uniforms: FloatArray, count: int) -> Indices:
    """Positions below ``count``, each as likely, of uniform numbers in [0, 1)."""
    return (uniforms * count).astype(np.int64)


def _drawn(seed: int, samples: int, horizon: int) -> tuple[FloatArray, FloatArray]:
    normals, uniforms = np.empty((samples, horizon)), np.empty((samples, horizon))
    for path in range(samples):
        normals[path] = np.random.default_rng([seed, path, 0]).standard_normal(horizon)
        uniforms[path] = np.random.default_rng([seed, path, 1]).random(horizon)
    normals.setflags(write=False)
    uniforms.setflags(write=False)
    return normals, uniforms


_kept = lru_cache(maxsize=256)(_drawn)

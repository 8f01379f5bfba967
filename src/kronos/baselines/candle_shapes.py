"""Candles around sampled closes: gap, wicks and turnover are copied from a donor, a candle of the recent past.

Sampled candles are therefore valid by construction and resemble those of the market. Random numbers come from two
NumPy streams per path, keyed by (seed, path): a path does not depend on the number of paths, nor its first steps on the
horizon.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from kronos.rng import keyed_normals_and_uniforms
from kronos.typing import FloatArray, IntArray

SHAPES = 64  # recent candles to use as donors
_MAX_CACHED = 10_000  # random numbers; smaller arrays are cached, because several baselines need the same ones
_SCALES = (0.25, 4.0)  # limits of the scaling of a donor's gaps and wicks


@dataclass(frozen=True)
class CandleShapes:
    """Shapes of the last W candles in logs: returns, opening gaps, wicks and turnover, each `[W]`."""

    last: float
    returns: FloatArray
    gaps: FloatArray
    upper: FloatArray
    lower: FloatArray
    volume: FloatArray
    amount_per_price: FloatArray

    @classmethod
    def of(cls, candles: FloatArray) -> CandleShapes:
        """Compute the shapes of candles `[W + 1, 6]`."""
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
        """Keep only the last ``n`` candles."""
        arrays = {part.name: getattr(self, part.name)[-n:] for part in fields(self) if part.name != "last"}
        return CandleShapes(last=self.last, **arrays)

    @property
    def sigma(self) -> float:
        """Standard deviation (n - 1) of the log returns."""
        return float(self.returns.std(ddof=1))

    @property
    def gap_share(self) -> float:
        """Regression coefficient of the opening gap on the return: the share of a move before the open."""
        spread = np.square(self.returns - self.returns.mean()).sum()
        if spread == 0:
            return 0.0
        return float(np.clip(self.gaps @ (self.returns - self.returns.mean()) / spread, 0.0, 1.0))

    def continue_by(self, returns: FloatArray, donors: IntArray, scale: FloatArray | float = 1.0) -> FloatArray:
        """Build candles `[S, H, 6]` whose closes follow ``returns`` and whose shapes are those of ``donors``.

        The donor's gap is corrected by regression for the difference between the step's return and the donor's, so
        that gap and body have the same covariance as in the history.

        Args:
            returns: Log returns of the close. [S, H]
            donors: Positions in the W candles. [S, H]
            scale: Volatility of the step relative to that of its donor, by which gaps and wicks are scaled, limited to
                a quarter to four times. [S, H]
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


def random_numbers(seed: int, samples: int, horizon: int) -> tuple[FloatArray, FloatArray]:
    """Return standard normal numbers and uniform numbers in [0, 1), both `[S, H]` and read-only."""
    return (_cached_numbers if samples * horizon <= _MAX_CACHED else _read_only_numbers)(seed, samples, horizon)


def pick_positions(uniforms: FloatArray, count: int) -> IntArray:
    """Convert uniform numbers in [0, 1) to equally likely positions below ``count``."""
    return (uniforms * count).astype(np.int64)


def _read_only_numbers(seed: int, samples: int, horizon: int) -> tuple[FloatArray, FloatArray]:
    normals, uniforms = keyed_normals_and_uniforms(seed, samples, horizon)
    normals.setflags(write=False)
    uniforms.setflags(write=False)
    return normals, uniforms


_cached_numbers = lru_cache(maxsize=256)(_read_only_numbers)

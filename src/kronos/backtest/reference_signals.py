"""Signals to compare with: simple rules from past prices, and random ones that trade as much as a given signal.

A strategy that earns as much on these has not earned it by the forecasts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.backtest.factors import MIN_INSTRUMENTS
from kronos.backtest.market import MarketPanel
from kronos.errors import DataError, ParameterError
from kronos.typing import FloatArray

_LEAST_SHIFT = 20  # bars by which a signal over time is moved at least, so that it is no longer about its own days


@dataclass(frozen=True, slots=True)
class NaiveWindows:
    """Lengths of the naive signals, in bars.

    Attributes:
        momentum: Bars of the return of momentum.
        reversal: Bars of the return of reversal.
        volatility: Bars of the standard deviation of log returns.
    """

    momentum: int = 20
    reversal: int = 5
    volatility: int = 20

    def __post_init__(self) -> None:
        if min(self.momentum, self.reversal) < 1 or self.volatility < 2:
            raise ParameterError("Naive signals need windows of 1 or more bars, and of 2 or more for volatility.")


def naive_signals(panel: MarketPanel, windows: NaiveWindows | None = None) -> dict[str, FloatArray]:
    """Signals that anyone has for nothing, from bars up to each row only [T, N].

    - ``momentum``: the latest return; ``reversal``: its opposite, over fewer bars;
    - ``low-volatility``: the calmest instruments first;
    - ``last-value``: zero, the forecast that no price changes. A strategy that ranks holds the first of the panel.
    """
    windows = windows or NaiveWindows()
    logs = pd.DataFrame(np.log(panel.last_close))
    found = {
        "momentum": logs - logs.shift(windows.momentum),
        "reversal": logs.shift(windows.reversal) - logs,
        "low-volatility": -logs.diff().rolling(windows.volatility).std(),
        "last-value": logs * 0.0,
    }
    no_bar = np.isnan(panel.close)
    return {name: np.where(no_bar, np.nan, frame.to_numpy(np.float64)) for name, frame in found.items()}


@dataclass(frozen=True, eq=False)
class RandomSignals:
    """Random signals in the likeness of a signal.

    Across instruments the scores of each row are dealt out to its instruments in a random order, which changes as
    slowly as that of the signal: the order of a Gaussian autoregression of first order with the signal's mean rank
    correlation between successive rows. With fewer than `MIN_INSTRUMENTS` there is nothing to deal out, and the signal
    is moved in time instead, by a random number of rows around a circle.

    Attributes:
        scores: The signal; NaN where there is no score. [T, N]
        persistence: Mean rank correlation of the scores of successive rows; 0 if the signal is moved in time.
        across_instruments: Whether scores are dealt out across instruments.
    """

    scores: FloatArray
    persistence: float
    across_instruments: bool

    @classmethod
    def like(cls, scores: FloatArray) -> RandomSignals:
        """Random signals in the likeness of scores [T, N].

        Raises:
            DataError: If there are too few rows with scores.
        """
        counts = np.sum(~np.isnan(scores), axis=1)
        rows = np.flatnonzero(counts)
        if len(rows) < 2:
            raise DataError("Random signals need scores on at least 2 days.")
        across = float(np.median(counts[rows])) >= MIN_INSTRUMENTS
        if not across and rows[-1] - rows[0] < 3 * _LEAST_SHIFT:
            raise DataError(
                f"Random signals for fewer than {MIN_INSTRUMENTS} instruments need scores over {3 * _LEAST_SHIFT} days."
            )
        return cls(scores, rank_persistence(scores) if across else 0.0, across)

    def draw(self, count: int, seed: int = 0) -> Iterator[FloatArray]:
        """Yield random signals [T, N].

        Args:
            count: Number of signals.
            seed: Random seed.
        """
        rng = np.random.default_rng(seed)
        for _ in range(count):
            yield self._dealt(rng) if self.across_instruments else self._moved(rng)

    def _dealt(self, rng: np.random.Generator) -> FloatArray:
        # The rank correlation of normal variables with correlation ρ is 6 / π · asin(ρ / 2).
        weight = 2 * np.sin(np.pi / 6 * self.persistence)
        noise = rng.standard_normal(self.scores.shape)
        for row in range(1, len(noise)):
            noise[row] = weight * noise[row - 1] + np.sqrt(1 - weight**2) * noise[row]
        order = np.argsort(np.where(np.isnan(self.scores), np.inf, noise), axis=1)
        dealt = np.full_like(self.scores, np.nan)
        np.put_along_axis(dealt, order, np.sort(self.scores, axis=1), axis=1)  # NaN is sorted to the end too
        return dealt

    def _moved(self, rng: np.random.Generator) -> FloatArray:
        rows = np.flatnonzero(~np.isnan(self.scores).all(axis=1))
        span = slice(int(rows[0]), int(rows[-1]) + 1)
        length = span.stop - span.start
        moved = np.full_like(self.scores, np.nan)
        shift = int(rng.integers(_LEAST_SHIFT, length - _LEAST_SHIFT + 1))
        moved[span] = np.roll(self.scores[span], shift, axis=0)
        return moved


def rank_persistence(scores: FloatArray) -> float:
    """Mean rank correlation of the scores of successive rows [T, N], between 0 and 0.999; 0 if it is unknown."""
    ranks = pd.DataFrame(scores).rank(axis=1)
    found = ranks.iloc[1:].corrwith(ranks.shift().iloc[1:], axis=1).to_numpy(np.float64)
    known = found[~np.isnan(found)]
    return float(np.clip(known.mean(), 0.0, 0.999)) if known.size else 0.0


__all__ = ["NaiveWindows", "RandomSignals", "naive_signals", "rank_persistence"]

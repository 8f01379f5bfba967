"""How variance moves from step to step: the recursion that EWMA, GARCH and GJR share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kronos.baselines.wrapping import Array

RISKMETRICS = 0.94  # the decay of J. P. Morgan & Reuters 1996 for daily returns

_BACKCAST = 75  # returns that tell the variance before the first of them
_FLOOR = 0.1  # of the window's root mean square: σ after a standstill, over which the first move is divided
_CEILING = 4.0  # times the largest σ of the window: what a simulated σ may reach


@dataclass(frozen=True)
class Recursion:
    """σ² of the next step is ω + (α + γ·1[r < 0]) r² + β σ².

    With γ = 0 it is GARCH(1,1) (Bollerslev 1986), else GJR (Glosten, Jagannathan & Runkle 1993); with ω = γ = 0
    and α = 1 - β the exponentially weighted moving average of RiskMetrics (J. P. Morgan & Reuters 1996, section
    5.2), whose variance is expected to stay as it is.
    """

    omega: float
    alpha: float
    beta: float
    gamma: float = 0.0

    @classmethod
    def ewma(cls, decay: float = RISKMETRICS) -> Recursion:
        """The moving average that forgets by the factor ``decay`` (λ) a step."""
        return cls(0.0, 1 - decay, decay)

    def volatility(self, returns: Array) -> Array:
        """σ of each step as it was expected one step before, and of the step after the last `[W + 1]`.

        Before the first return, squared return and variance count as the mean square of the first 75 returns with
        weights falling by .94 (arch's "backcast"). No σ falls below a tenth of the root mean square of all, so
        that the first move after a standstill is not divided by nearly nothing; it is 0 only if all returns are.
        """
        squares = np.square(returns)
        news = self.omega + np.where(returns < 0, self.alpha + self.gamma, self.alpha) * squares
        weights = RISKMETRICS ** np.arange(min(_BACKCAST, len(squares)))
        before = float(weights @ squares[:_BACKCAST] / weights.sum())
        variance = self.omega + (self.alpha + self.gamma / 2 + self.beta) * before
        variances = [variance]
        for arrived in news.tolist():
            variance = arrived + self.beta * variance
            variances.append(variance)
        floor = _FLOOR**2 * float(squares.mean())
        return np.sqrt(np.maximum(variances, floor))

    def simulate(self, sigmas: Array, shocks: Array, feedback: float = 1.0) -> tuple[Array, Array]:
        """Returns and their σ, both `[S, H]`, each step's variance moved by the return before it.

        Args:
            sigmas: Of `volatility`; the last is the first step's. A simulated one reaches at most four times the
                largest.
            shocks: What σ is multiplied by, of variance 1. [S, H]
            feedback: Factor on the shocks where they move the variance.
        """
        ceiling = (_CEILING * float(sigmas.max())) ** 2
        variance = np.full(len(shocks), float(sigmas[-1]) ** 2)
        path = np.empty(shocks.shape)
        for step in range(shocks.shape[1]):
            path[:, step] = variance
            shock = shocks[:, step]
            news = np.where(shock < 0, self.alpha + self.gamma, self.alpha) * np.square(feedback * shock)
            variance = np.minimum(self.omega + (news + self.beta) * variance, ceiling)
        sigma = np.sqrt(path)
        return sigma * shocks, sigma

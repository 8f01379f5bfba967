"""The past drawn again: blocks of returns as they were, or shocks freed of the volatility of their day."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import pandas as pd

from kronos.baselines.base import check, check_draws, ignoring_overflow, safe_divide, short_history_note, to_forecast
from kronos.baselines.candle_shapes import CandleShapes, Indices, draw, pick
from kronos.baselines.garch import GarchFit, fit_garch
from kronos.baselines.volatility import RISKMETRICS, VarianceRecursion, check_decay
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.forecasts import Forecast
from kronos.typing import FloatArray

Filter = Literal["ewma", "garch", "gjr"]


def block_bootstrap(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    window: int = 256,
    block: float | None = None,
    demean: bool = True,
) -> Forecast:
    """Stretches of recent returns, drawn again: the stationary bootstrap of Politis & Romano 1994.

    Each block begins at a random candle of the window and goes on to its neighbour with probability
    1 - 1 / ``block``; after the window's last candle comes its first. Lengths are therefore geometric with mean
    ``block``, and fat tails, clusters of volatility and short memory stay within blocks. Each drawn return brings
    its own candle.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of paths, S.
        seed: Not negative; the same seed gives the same paths.
        timestamps: Times of the future candles; from the candles' calendar if not given.
        window: Number of returns to draw from.
        block: Mean length of a block, at least 1 (single returns); the cube root of the returns' number if not
            given, the order that Hall, Horowitz & Jing 1995 derive for variances.
        demean: Whether the window's mean return is taken off, so that its trend does not go on.

    Returns:
        A forecast of S different paths.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1, ``window`` below 2, ``seed`` negative, or
            ``block`` below 1.
        DataError: If there are fewer than 3 candles, or the prices leave the range of numbers.
    """
    check(candles, horizon, samples, least=3)
    check_draws(seed, window)
    if block is not None and not block >= 1:
        raise ParameterError(f"The blocks' mean length is at least 1 return, not {block}.")
    recent = CandleShapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    used = len(recent.returns)
    length = float(np.cbrt(used)) if block is None else float(block)
    donors = _blocks(*draw(seed, samples, horizon), used, length)
    mean = float(recent.returns.mean()) if demean else 0.0
    with ignoring_overflow():
        paths = recent.continue_by(recent.returns[donors] - mean, donors)
    details = {"seed": seed, "window": window, "block": length, "demean": demean, "mean_log_return": mean}
    return to_forecast(paths, candles, timestamps, "block-bootstrap", details, short_history_note(used))


def filtered_historical_simulation(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    window: int = 512,
    filter: Filter = "ewma",
    decay: float = RISKMETRICS,
    parameters: GarchFit | None = None,
) -> Forecast:
    """Past shocks, drawn again and scaled by the volatility that each path itself arrives at.

    Barone-Adesi, Giannopoulos & Vosper 1999, "VaR without correlations for portfolios of derivative securities":
    returns are divided by the σ that the filter expected for them, the quotients drawn at random, and the filter's
    recursion is run along each path. Their mean is taken off, so that there is no drift. Where they move
    the variance they count as of variance 1: what an imperfect filter leaves over widens every step, but doesn't grow
    from step to step.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of paths, S.
        seed: Not negative; the same seed gives the same paths.
        timestamps: Times of the future candles; from the candles' calendar if not given.
        window: Number of returns to filter and draw from.
        filter: ``ewma`` (RiskMetrics' moving average, nothing fitted), ``garch`` or ``gjr``; the latter two are
            fitted as `garch_t` does it.
        decay: λ of ``ewma``, between 0 and 1.
        parameters: Of `fit_garch`, to filter by instead of fitting again; not with ``ewma``.

    Returns:
        A forecast of S different paths.

    Raises:
        ParameterError: If an argument is out of its range, or ``parameters`` are given for ``ewma``; if arch is not
            installed and ``filter`` needs it.
        DataError: If there are too few candles (3; for a fit 51), prices never move and are to be fitted, or they
            leave the range of numbers.
    """
    check(candles, horizon, samples, least=3)
    check_draws(seed, window)
    check_decay(decay)
    if filter not in ("ewma", "garch", "gjr"):
        raise ParameterError(f"'{filter}' is no filter; choose ewma, garch or gjr.")
    if filter == "ewma" and parameters is not None:
        raise ParameterError("The filter ewma has nothing fitted; leave parameters out or choose garch or gjr.")
    recent = CandleShapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    fit = None if filter == "ewma" else parameters or fit_garch(candles, window=window, asymmetric=filter == "gjr")
    recursion = VarianceRecursion.ewma(decay) if fit is None else fit.recursion
    donors = pick(draw(seed, samples, horizon)[1], len(recent.returns))
    with ignoring_overflow():
        sigmas = recursion.volatility(recent.returns)
        returns, sigma = _simulate(recursion, recent.returns, sigmas, donors)
        paths = recent.continue_by(returns, donors, safe_divide(sigma, sigmas[:-1][donors]))
    details: dict[str, Any] = {"seed": seed, "window": window, "filter": filter, "sigma": float(sigmas[-1])}
    details |= {"decay": decay} if fit is None else {"fit": asdict(fit)}
    notes = (*short_history_note(len(recent.returns)), *(() if fit is None else fit.notes))
    return to_forecast(paths, candles, timestamps, "filtered-historical-simulation", details, notes)


def _simulate(
    recursion: VarianceRecursion, returns: FloatArray, sigmas: FloatArray, donors: Indices
) -> tuple[FloatArray, FloatArray]:
    """Returns of the drawn shocks and their σ, both `[S, H]`."""
    shocks = safe_divide(returns, sigmas[:-1]) * (sigmas[:-1] > 0)
    shocks = shocks - shocks.mean()
    spread = float(shocks.std())
    return recursion.simulate(sigmas, shocks[donors], 1 / spread if spread > 0 else 1.0)


def _blocks(normals: FloatArray, uniforms: FloatArray, count: int, length: float) -> Indices:
    """Positions below ``count`` in blocks of geometric lengths, `[S, H]`."""
    from scipy.special import ndtr

    starts = pick(uniforms, count)
    fresh = ndtr(normals) * length < 1  # with probability 1 / length
    fresh[:, 0] = True
    steps = np.arange(starts.shape[1])
    begun = np.maximum.accumulate(np.where(fresh, steps, 0), axis=1)  # where the step's block began
    within: Indices = (np.take_along_axis(starts, begun, axis=1) + steps - begun) % count
    return within

"""Resampling baselines: blocks of past returns, or past shocks standardised by their volatility."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import pandas as pd

from kronos.baselines.base import (
    check_arguments,
    ignore_overflow,
    safe_divide,
    short_history_note,
    to_forecast,
)
from kronos.baselines.candle_shapes import CandleShapes, pick_positions, random_numbers
from kronos.baselines.garch import GarchFit, fit_garch
from kronos.baselines.volatility import RISKMETRICS, VarianceRecursion, check_decay
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.forecasts import Forecast
from kronos.typing import FloatArray, IntArray

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
    """Resample blocks of recent returns with the stationary bootstrap of Politis & Romano 1994.

    Each block starts at a random candle of the window and continues with probability 1 - 1 / ``block``, wrapping around
    at the end of the window. Lengths are therefore geometric with mean ``block``, and blocks preserve fat tails,
    volatility clusters and short-term dependence. Each return is sampled with its candle.

    Arguments besides those of `Baseline`:

    - ``window``: Number of returns to sample from.
    - ``block``: Mean length of a block, at least 1 (single returns). None: the cube root of the number of returns, the
      order that Hall, Horowitz & Jing 1995 derive for variances.
    - ``demean``: Whether to subtract the window's mean return, so that its trend does not continue.
    """
    check_arguments(candles, horizon, samples, min_candles=3, seed=seed, window=window)
    if block is not None and not block >= 1:
        raise ParameterError(f"Invalid mean block length {block}: choose at least 1 return.")
    recent = CandleShapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    used = len(recent.returns)
    length = float(np.cbrt(used)) if block is None else float(block)
    donors = _blocks(*random_numbers(seed, samples, horizon), used, length)
    mean = float(recent.returns.mean()) if demean else 0.0
    with ignore_overflow():
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
    """Resample standardised past returns and rescale them by the volatility along each path.

    Barone-Adesi, Giannopoulos & Vosper 1999, "VaR without correlations for portfolios of derivative securities":
    returns are divided by the σ that the filter expected, the demeaned quotients are resampled, and the recursion of
    the filter is run along each path. In the recursion the quotients are scaled to variance 1, so that the remainder of
    an imperfect filter widens every step, but does not accumulate from step to step.

    Arguments besides those of `Baseline`:

    - ``window``: Number of returns to filter and sample from.
    - ``filter``: ``ewma`` (RiskMetrics, nothing is fitted), ``garch`` or ``gjr`` (fitted by `fit_garch`, which needs 51
      candles).
    - ``decay``: λ of ``ewma``, between 0 and 1.
    - ``parameters``: Result of `fit_garch` to use instead of a new fit; not with ``ewma``.
    """
    check_arguments(candles, horizon, samples, min_candles=3, seed=seed, window=window)
    check_decay(decay)
    if filter not in ("ewma", "garch", "gjr"):
        raise ParameterError(f"Unknown filter '{filter}': choose ewma, garch or gjr.")
    if filter == "ewma" and parameters is not None:
        raise ParameterError("The filter ewma takes no parameters: leave them out, or choose garch or gjr.")
    recent = CandleShapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    fit = None if filter == "ewma" else parameters or fit_garch(candles, window=window, asymmetric=filter == "gjr")
    recursion = VarianceRecursion.ewma(decay) if fit is None else fit.recursion
    donors = pick_positions(random_numbers(seed, samples, horizon)[1], len(recent.returns))
    with ignore_overflow():
        sigmas = recursion.volatility(recent.returns)
        returns, sigma = _simulate(recursion, recent.returns, sigmas, donors)
        paths = recent.continue_by(returns, donors, safe_divide(sigma, sigmas[:-1][donors]))
    details: dict[str, Any] = {"seed": seed, "window": window, "filter": filter, "sigma": float(sigmas[-1])}
    details |= {"decay": decay} if fit is None else {"fit": asdict(fit)}
    notes = (*short_history_note(len(recent.returns)), *(() if fit is None else fit.notes))
    return to_forecast(paths, candles, timestamps, "filtered-historical-simulation", details, notes)


def _simulate(
    recursion: VarianceRecursion, returns: FloatArray, sigmas: FloatArray, donors: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return the returns of the resampled shocks and their σ, both `[S, H]`."""
    shocks = safe_divide(returns, sigmas[:-1]) * (sigmas[:-1] > 0)
    shocks = shocks - shocks.mean()
    spread = float(shocks.std())
    return recursion.simulate(sigmas, shocks[donors], 1 / spread if spread > 0 else 1.0)


def _blocks(normals: FloatArray, uniforms: FloatArray, count: int, length: float) -> IntArray:
    """Return positions below ``count`` in blocks of geometric lengths, `[S, H]`."""
    from scipy.special import ndtr

    starts = pick_positions(uniforms, count)
    new_block = ndtr(normals) * length < 1  # with probability 1 / length
    new_block[:, 0] = True
    steps = np.arange(starts.shape[1])
    first = np.maximum.accumulate(np.where(new_block, steps, 0), axis=1)  # first step of each step's block
    positions: IntArray = (np.take_along_axis(starts, first, axis=1) + steps - first) % count
    return positions

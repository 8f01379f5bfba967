"""Adapters for models of other families: conversion of sampled closes or quantiles to forecasts of candles.

Other models usually forecast one number per step. The rest of each candle is taken from recent candles, as in the
built-in baselines, so that the forecast can be scored, plotted and saved like any other:

    def chronos(candles, horizon, *, samples=100, seed=0, timestamps=None):
        pipeline = ...  # loaded once
        closes = torch.tensor(candles.frame["close"].to_numpy()[-512:])
        torch.manual_seed(seed)
        sampled = pipeline.predict(closes, horizon, num_samples=samples)[0].numpy()  # [S, H]
        return from_closes(sampled, candles, "chronos-t5-small", seed=seed, timestamps=timestamps)

    def timesfm(candles, horizon, *, samples=100, seed=0, timestamps=None):
        levels = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
        _, quantiles = model.forecast(horizon, inputs=[candles.frame["close"].to_numpy()])  # [1, H, 10], mean first
        closes = closes_of_quantiles(levels, quantiles[0, :, 1:].T, samples=samples, seed=seed)
        note = "Quantiles of single steps are joined into paths as in a random walk."
        return from_closes(closes, candles, "timesfm-2.5", seed=seed, timestamps=timestamps, notes=(note,))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from kronos.baselines.base import check_arguments, ignore_overflow, to_forecast
from kronos.baselines.candle_shapes import CandleShapes, pick_positions, random_numbers
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast
from kronos.typing import FloatArray


def from_closes(
    closes: ArrayLike,
    candles: Candles,
    name: str,
    *,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    details: Mapping[str, Any] | None = None,
    notes: tuple[str, ...] = (),
    window: int = 64,
) -> Forecast:
    """Build a forecast of candles from paths of closes.

    Gaps, wicks and turnover are those of candles sampled from the last ``window``; the closes are unchanged up to
    rounding in logarithms.

    Args:
        closes: Paths of the close in price units, finite and above 0. [S, H]
        candles: The history.
        name: Name of the forecaster in outputs.
        seed: Random seed of the candles' shapes, at least 0.
        timestamps: Times of the future candles; None takes them from the candles' calendar.
        details: Everything else needed to reproduce the forecast: versions, hashes, settings. JSON values only.
        notes: Caveats for the reader, one sentence each.
        window: Number of recent candles to sample shapes from.

    Returns:
        A forecast of S paths of the kind ``baseline``.

    Raises:
        ParameterError: If closes are not `[S, H]`, ``seed`` is negative or ``window`` below 2.
        DataError: If a close is not finite and above 0, there are fewer than 3 candles, or prices overflow.
    """
    prices = np.asarray(closes, dtype=np.float64)
    if prices.ndim != 2 or prices.size == 0:
        raise ParameterError(f"Paths of closes need the shape [samples, steps]; got {prices.shape}.")
    if not (np.isfinite(prices).all() and (prices > 0).all()):
        raise DataError(f"The closes of {name} must be finite and above 0: clip them, or forecast logarithms.")
    samples, horizon = prices.shape
    check_arguments(candles, horizon, samples, min_candles=3, seed=seed, window=window)
    recent = CandleShapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    donors = pick_positions(random_numbers(seed, samples, horizon)[1], len(recent.returns))
    returns = np.diff(np.log(prices), axis=1, prepend=recent.last)
    with ignore_overflow():
        paths = recent.continue_by(returns, donors)
    return to_forecast(paths, candles, timestamps, name, {"seed": seed, "window": window, **(details or {})}, notes)


def closes_of_quantiles(
    levels: Sequence[float], quantiles: ArrayLike, *, samples: int = 100, seed: int = 0
) -> FloatArray:
    """Sample paths of closes from quantiles of single steps.

    At each step the paths follow the quantiles: log prices are interpolated between the levels on a normal scale, and
    extrapolated linearly on it. Between steps the dependence, which the quantiles do not determine, is that of a
    random walk: the level of a path at step h is Φ(W / √h), with W the sum of h independent normal numbers.

    Args:
        levels: Increasing, strictly between 0 and 1; at least 2.
        quantiles: Prices above 0, one row per level; crossing quantiles are sorted. [levels, H]
        samples: Number of paths, S.
        seed: Random seed, at least 0.

    Returns:
        Closes. [S, H]

    Raises:
        ParameterError: If levels and quantiles differ in number, or an argument is out of range.
        DataError: If a quantile is not finite and above 0.
    """
    from scipy.special import ndtri

    grid, prices = np.asarray(levels, dtype=np.float64), np.asarray(quantiles, dtype=np.float64)
    if grid.ndim != 1 or len(grid) < 2 or not (grid[0] > 0 and grid[-1] < 1 and (np.diff(grid) > 0).all()):
        raise ParameterError(f"Invalid levels {list(levels)}: pass at least 2, increasing, between 0 and 1.")
    if prices.ndim != 2 or len(prices) != len(grid) or prices.size == 0:
        raise ParameterError(f"Quantiles need the shape [{len(grid)}, steps], one row per level; got {prices.shape}.")
    if not (np.isfinite(prices).all() and (prices > 0).all()):
        raise DataError("Quantiles of the close must be finite and above 0: clip them, or forecast logarithms.")
    if samples < 1 or seed < 0:
        raise ParameterError(f"Invalid samples {samples} or seed {seed}: choose samples ≥ 1 and seed ≥ 0.")
    steps = np.arange(1, prices.shape[1] + 1)
    ranks = np.cumsum(random_numbers(seed, samples, len(steps))[0], axis=1) / np.sqrt(steps)
    return np.exp(_interpolate(ranks, ndtri(grid), np.sort(np.log(prices), axis=0)))


def _interpolate(ranks: FloatArray, knots: FloatArray, values: FloatArray) -> FloatArray:
    """Interpolate linearly by column, and extrapolate: ranks `[S, H]`, knots `[L]`, values `[L, H]`."""
    piece = np.clip(np.searchsorted(knots, ranks) - 1, 0, len(knots) - 2)
    slopes = np.diff(values, axis=0) / np.diff(knots)[:, None]
    column = np.arange(values.shape[1])
    return values[piece, column] + slopes[piece, column] * (ranks - knots[piece])

"""Models of other families as baselines: their closes, sampled or as quantiles, made into candles.

A foreign model usually forecasts one number a step. Everything else of a candle is taken from the market's recent
candles, as our own baselines do it, so that its forecast can be scored, drawn and saved like any other:

    def chronos(candles, horizon, *, samples=100, seed=0, timestamps=None):
        pipeline = ...  # loaded once, elsewhere
        closes = torch.tensor(candles.frame["close"].to_numpy()[-512:])
        torch.manual_seed(seed)
        sampled = pipeline.predict(closes, horizon, num_samples=samples)[0].numpy()  # [S, H]
        return from_closes(sampled, candles, "chronos-t5-small", seed=seed, timestamps=timestamps)

    def timesfm(candles, horizon, *, samples=100, seed=0, timestamps=None):
        levels = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
        _, quantiles = model.forecast(horizon, inputs=[candles.frame["close"].to_numpy()])  # [1, H, 10], mean first
        closes = closes_of_quantiles(levels, quantiles[0, :, 1:].T, samples=samples, seed=seed)
        note = "Paths are joined from quantiles of single steps as a random walk's are."
        return from_closes(closes, candles, "timesfm-2.5", seed=seed, timestamps=timestamps, notes=(note,))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from kronos.baselines.base import check, check_draws, ignoring_overflow, to_forecast
from kronos.baselines.candle_shapes import CandleShapes, draw, pick
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
    """Build a forecast's candles around paths of closes.

    Where candles open, how far they reach beyond their bodies and their turnover are those of candles drawn from
    the last ``window``; the closes stay as given (to rounding, for they pass through logarithms).

    Args:
        closes: Paths of the close in price units, finite and above 0. [S, H]
        candles: The history they continue.
        name: What outputs call the forecaster.
        seed: Of the drawn shapes; not negative.
        timestamps: Times of the future candles; from the candles' calendar if not given.
        details: What else is needed to make the forecast again: versions, hashes, settings. JSON values only.
        notes: Sentences a reader must know.
        window: Number of recent candles to take shapes from.

    Returns:
        A forecast of S paths, of the kind ``baseline``.

    Raises:
        ParameterError: If closes are not `[S, H]`, ``seed`` is negative or ``window`` below 2.
        DataError: If a close is not finite and above 0, there are fewer than 3 candles, or the prices leave the
            range of numbers.
    """
    prices = np.asarray(closes, dtype=np.float64)
    if prices.ndim != 2 or prices.size == 0:
        raise ParameterError(f"Paths of closes need the shape [samples, steps], not {prices.shape}.")
    if not (np.isfinite(prices).all() and (prices > 0).all()):
        raise DataError(f"The closes of {name} must be finite and above 0; clip them, or forecast logarithms.")
    samples, horizon = prices.shape
    check(candles, horizon, samples, least=3)
    check_draws(seed, window)
    recent = CandleShapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    donors = pick(draw(seed, samples, horizon)[1], len(recent.returns))
    returns = np.diff(np.log(prices), axis=1, prepend=recent.last)
    with ignoring_overflow():
        paths = recent.continue_by(returns, donors)
    return to_forecast(paths, candles, timestamps, name, {"seed": seed, "window": window, **(details or {})}, notes)


def closes_of_quantiles(
    levels: Sequence[float], quantiles: ArrayLike, *, samples: int = 100, seed: int = 0
) -> FloatArray:
    """Paths of closes from quantiles of each single step, which alone say nothing of how steps hang together.

    At each step the paths follow the quantiles: log prices are interpolated between levels, as a normal
    distribution's are (and go on so beyond the outermost). From step to step each keeps its rank as a random walk does:
    its level at step h is Φ(W / √h), with W the sum of h independent normal numbers.

    Args:
        levels: Increasing, strictly between 0 and 1; at least 2.
        quantiles: Prices above 0, a row a level. Where they cross they are sorted. [levels, H]
        samples: Number of paths, S.
        seed: Not negative; the same seed gives the same paths.

    Returns:
        Closes. [S, H]

    Raises:
        ParameterError: If levels and quantiles don't fit together, or levels are out of their range.
        DataError: If a quantile is not finite and above 0.
    """
    from scipy.special import ndtri

    places, prices = np.asarray(levels, dtype=np.float64), np.asarray(quantiles, dtype=np.float64)
    if places.ndim != 1 or len(places) < 2 or not (places[0] > 0 and places[-1] < 1 and (np.diff(places) > 0).all()):
        raise ParameterError(f"Levels increase strictly between 0 and 1, at least 2 of them, not {list(levels)}.")
    if prices.ndim != 2 or len(prices) != len(places) or prices.size == 0:
        raise ParameterError(f"Quantiles need the shape [{len(places)}, steps], a row a level, not {prices.shape}.")
    if not (np.isfinite(prices).all() and (prices > 0).all()):
        raise DataError("Quantiles of the close must be finite and above 0; clip them, or forecast logarithms.")
    if samples < 1 or seed < 0:
        raise ParameterError(f"The paths are at least 1 and the seed at least 0, not {samples} and {seed}.")
    steps = np.arange(1, prices.shape[1] + 1)
    ranks = np.cumsum(draw(seed, samples, len(steps))[0], axis=1) / np.sqrt(steps)
    return np.exp(_interpolate(ranks, ndtri(places), np.sort(np.log(prices), axis=0)))


def _interpolate(ranks: FloatArray, knots: FloatArray, values: FloatArray) -> FloatArray:
    """Piecewise linear in each column, its outermost pieces going on: ranks `[S, H]`, knots `[L]`, values `[L, H]`."""
    piece = np.clip(np.searchsorted(knots, ranks) - 1, 0, len(knots) - 2)
    slopes = np.diff(values, axis=0) / np.diff(knots)[:, None]
    column = np.arange(values.shape[1])
    return values[piece, column] + slopes[piece, column] * (ranks - knots[piece])

"""The random walk with the volatility of the recent past: hard to beat, and honest about how far prices go.

The close is a Gaussian random walk in logs without drift, its volatility the same at every step ahead.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.baselines.recursion import RISKMETRICS, Recursion
from kronos.baselines.shapes import Shapes, draw, pick
from kronos.baselines.wrapping import check, check_draws, few, ignoring_overflow, ratio, wrap
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.forecasts import Forecast

_SHAPES = 64  # recent candles to take shapes from


def historical_volatility(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    window: int = 64,
) -> Forecast:
    """Random walk of the log close without drift, its volatility that of the last ``window`` returns.

    Steps are normal with mean 0; their standard deviation is the sample's (n - 1), of one-step log returns of
    the close. Shocks are drawn from numpy streams keyed by (seed, path), so a path doesn't depend on how many
    others are asked for, nor its first steps on the horizon.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of paths, S.
        seed: Not negative; the same seed gives the same paths.
        timestamps: Times of the future candles; from the candles' calendar if not given.
        window: Number of returns to take the volatility and the candles' shapes from.

    Returns:
        A forecast of S different paths.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1, ``window`` below 2, or ``seed`` negative.
        DataError: If there are fewer than 3 candles, or the prices leave the range of numbers.
    """
    check(candles, horizon, samples, least=3)
    check_draws(seed, window)
    recent = Shapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    shocks, uniforms = draw(seed, samples, horizon)
    with ignoring_overflow():
        paths = recent.continue_by(recent.sigma * shocks, pick(uniforms, len(recent.returns)))
    used = len(recent.returns)
    short = f"The volatility is that of {used} returns, fewer than the {window} asked for."
    details = {"seed": seed, "window": window, "sigma": recent.sigma}
    notes = (short,) if used < window else ()
    return wrap(paths, candles, timestamps, "historical-volatility", details, notes)


def ewma_volatility(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    decay: float = RISKMETRICS,
    window: int = 512,
) -> Forecast:
    """Random walk of the log close without drift, its volatility RiskMetrics' moving average.

    σ² of the next step is λ σ² + (1 - λ) r² (J. P. Morgan & Reuters 1996, "RiskMetrics Technical Document",
    section 5.2), and that of all further steps the same, as the document scales by √h. Steps are normal with
    mean 0.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of paths, S.
        seed: Not negative; the same seed gives the same paths.
        timestamps: Times of the future candles; from the candles' calendar if not given.
        decay: λ, between 0 and 1; .94 is the document's for daily returns.
        window: Number of returns to run the average over; shapes are those of its last 64 candles.

    Returns:
        A forecast of S different paths.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1, ``window`` below 2, ``seed`` negative, or
            ``decay`` not between 0 and 1.
        DataError: If there are fewer than 3 candles, or the prices leave the range of numbers.
    """
    check(candles, horizon, samples, least=3)
    check_draws(seed, window)
    check_decay(decay)
    values = candles.frame.iloc[-window - 1 :].to_numpy()
    recent = Shapes.of(values[-_SHAPES - 1 :])
    sigmas = Recursion.ewma(decay).volatility(np.diff(np.log(values[:, 3])))
    sigma, used = float(sigmas[-1]), len(recent.returns)
    shocks, uniforms = draw(seed, samples, horizon)
    donors = pick(uniforms, used)
    with ignoring_overflow():
        paths = recent.continue_by(sigma * shocks, donors, ratio(sigma, sigmas[-used - 1 : -1][donors]))
    details = {"seed": seed, "window": window, "decay": decay, "sigma": sigma}
    return wrap(paths, candles, timestamps, "ewma-volatility", details, few(len(values) - 1))


def check_decay(decay: float) -> None:
    """Refuse a decay that forgets at once or never.

    Raises:
        ParameterError: If ``decay`` is not strictly between 0 and 1.
    """
    if not 0 < decay < 1:
        raise ParameterError(f"The decay lies strictly between 0 and 1, for example 0.94, not {decay}.")

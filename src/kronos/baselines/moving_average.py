"""A random walk that drifts as two moving averages do: the fallback where no model can answer.

What technical analysis calls a trend, as a forecast with honest bands. It is in no table of baselines: rules like it
(Brock, Lakonishok & LeBaron 1992, "Simple Technical Trading Rules and the Stochastic Properties of Stock Returns") did
not keep their gains out of sample (Sullivan, Timmermann & White 1999, "Data-Snooping, Technical Trading Rule
Performance, and the Bootstrap").
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.baselines.shapes import Shapes, draw, pick
from kronos.baselines.wrapping import Array, check, check_draws, ignoring_overflow, wrap
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.forecasts import Forecast

_NOTE = (
    "A statistical fallback: its drift is that of two moving averages, which has no measured edge over none; "
    "read the bands, not the direction."
)


def moving_average_drift(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    fast: int = 12,
    slow: int = 48,
    window: int = 64,
) -> Forecast:
    """Random walk of the log close with the drift of two moving averages and the volatility of the recent past.

    The drift per step is (log SMA_fast - log SMA_slow) / ((slow - fast) / 2), SMA_n being the mean of the last n
    closes: the averages' centres lie (slow - fast) / 2 candles apart, so it is the mean slope of the log price between
    them. It is at most σ / √slow, either way. Steps around it are normal; σ is the standard deviation (n - 1) of
    the last ``window`` one-step log returns of the close. Random numbers are keyed by (seed, path), as those of
    `historical_volatility`.

    With a history shorter than ``slow`` candles both averages shrink in proportion, and a note says so.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of paths, S.
        seed: Not negative; the same seed gives the same paths.
        timestamps: Times of the future candles; from the candles' calendar if not given.
        fast: Candles in the short average.
        slow: Candles in the long average, more than ``fast``.
        window: Number of returns to take the volatility and the candles' shapes from.

    Returns:
        A forecast of S different paths.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1, ``window`` below 2, ``seed`` negative, or not
            1 ≤ ``fast`` < ``slow``.
        DataError: If there are fewer than 3 candles, or the prices leave the range of numbers.
    """
    check(candles, horizon, samples, least=3)
    check_draws(seed, window)
    if not 1 <= fast < slow:
        raise ParameterError(f"The fast average is shorter than the slow one, and at least 1, not {fast} and {slow}.")
    values = candles.frame.iloc[-max(slow, window + 1) :].to_numpy()
    recent = Shapes.of(values[-window - 1 :])
    used_slow = min(slow, len(values))
    used_fast = max(1, fast * used_slow // slow)
    slope, most = _slope(np.log(values[:, 3]), used_fast, used_slow), _most(recent.sigma, used_slow)
    drift = float(np.clip(slope, -most, most))
    shocks, uniforms = draw(seed, samples, horizon)
    with ignoring_overflow():
        paths = recent.continue_by(drift + recent.sigma * shocks, pick(uniforms, len(recent.returns)))
    details = {
        **{"seed": seed, "window": window, "fast": used_fast, "slow": used_slow},
        **{"sigma": recent.sigma, "drift": drift, "slope": slope},
    }
    notes = (_NOTE, *_shorter(len(recent.returns), window, used_fast, used_slow, slow))
    return wrap(paths, candles, timestamps, "moving-average-drift", details, notes)


def _slope(logs: Array, fast: int, slow: int) -> float:
    """Mean slope per candle between the centres of two moving averages, of log closes `[≥ slow]`."""
    short, long = (np.logaddexp.reduce(logs[-n:]) - np.log(n) for n in (fast, slow))  # logs: no price overflows
    return float((short - long) / ((slow - fast) / 2))


def _most(sigma: float, slow: int) -> float:
    """The largest drift per step that is believed: σ / √slow."""
    # On a walk without any drift the slope has the standard deviation 2 σ / √(3 slow), 1.15 times this: what noise
    # alone explains goes through, and nothing beyond. Over as many steps as the slow average is long, the middle moves
    # by one standard deviation of the walk at most: the last close stays inside the 80 % band, no spike runs away.
    return float(sigma / np.sqrt(slow))


def _shorter(returns: int, window: int, fast: int, slow: int, wanted: int) -> tuple[str, ...]:
    """What a history shorter than asked for changed, one sentence each."""
    said = []
    if slow < wanted:
        said.append(f"The averages are of {fast} and {slow} candles, as there is no more history.")
    if returns < window:
        said.append(f"The volatility is that of {returns} returns, fewer than the {window} asked for.")
    return tuple(said)

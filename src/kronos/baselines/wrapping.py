"""What all baselines share: the checks, and the way from paths to a `Forecast`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kronos.calendars import FutureTimes, future_times
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast, Made
from kronos.provenance import frame_digest

Array = NDArray[np.float64]

_FEW = 64  # returns below which a volatility is said to rest on few


def check(candles: Candles, horizon: int, samples: int, *, least: int) -> None:
    """Refuse what no baseline can work with.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1.
        DataError: If there are fewer than ``least`` candles.
    """
    if horizon < 1:
        raise ParameterError(f"The horizon is at least 1 step, not {horizon}.")
    if samples < 1:
        raise ParameterError(f"The number of sample paths is at least 1, not {samples}.")
    if len(candles) < least:
        raise DataError(f"This baseline needs at least {least} candles of history, not {len(candles)}.")


def check_draws(seed: int, window: int) -> None:
    """Refuse what cannot be drawn with or measured on.

    Raises:
        ParameterError: If ``window`` is below 2 or ``seed`` negative.
    """
    if window < 2 or seed < 0:
        raise ParameterError(f"The window is at least 2 and the seed at least 0, not {window} and {seed}.")


def few(returns: int) -> tuple[str, ...]:
    """A note if only so few returns stand behind a forecast."""
    return (f"Only {returns} returns of history stand behind it.",) if returns < _FEW else ()


def ratio(above: Array | float, below: Array) -> Array:
    """Their quotient, 1 where it is none."""
    result: Array = np.divide(above, below, out=np.ones(np.broadcast(above, below).shape), where=below > 0)
    return result


def ignoring_overflow() -> np.errstate:
    """A context without warnings of prices beyond all numbers, which `wrap` refuses."""
    return np.errstate(over="ignore", under="ignore", invalid="ignore")


def future(candles: Candles, timestamps: pd.DatetimeIndex | None, horizon: int) -> FutureTimes:
    """The times given, or those of the candles' calendar."""
    if timestamps is not None:
        return FutureTimes(pd.DatetimeIndex(timestamps), candles.calendar or "given", "given", "")
    times = pd.DatetimeIndex(candles.frame.index)
    return future_times(times, candles.interval, horizon, candles.calendar)


def wrap(
    paths: Array,
    candles: Candles,
    timestamps: pd.DatetimeIndex | FutureTimes | None,
    name: str,
    details: Mapping[str, Any],
    notes: tuple[str, ...] = (),
) -> Forecast:
    """Make a `Forecast` of the paths `[S, H, 6]`, which are valid candles already.

    Raises:
        DataError: If a price left the range of numbers, which only absurd histories cause.
        ParameterError: If timestamps are given and there is not one for each step.
    """
    if not (np.isfinite(paths).all() and (paths[..., :4] > 0).all()):
        raise DataError("The history's prices jump beyond all numbers; look for a change of units in it.")
    ahead = timestamps if isinstance(timestamps, FutureTimes) else future(candles, timestamps, paths.shape[1])
    made = Made(
        model=name,
        kind="baseline",
        details={**details, "samples": paths.shape[0], "history": _history(candles)},
        calendar=ahead.calendar,
        calendar_basis=ahead.basis,
        simulated=candles.simulated,
        notes=(*notes, ahead.note) if ahead.note else notes,
    )
    return Forecast(paths=paths, timestamps=ahead.times, history=candles, made=made)


def _history(candles: Candles) -> dict[str, Any]:
    return {
        "source": candles.source,
        "rows": len(candles),
        "start": str(candles.start),
        "end": str(candles.end),
        "sha256": frame_digest(candles.frame),
    }

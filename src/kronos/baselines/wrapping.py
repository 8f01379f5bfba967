"""What all baselines share: their signature, the checks, and the way from paths to a `Forecast`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kronos.calendars import FutureTimes, future_times
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast, Made
from kronos.provenance import frame_digest

Array = NDArray[np.float64]


class Baseline(Protocol):
    """The signature every baseline has."""

    def __call__(
        self,
        candles: Candles,
        horizon: int,
        *,
        samples: int = 100,
        seed: int = 0,
        timestamps: pd.DatetimeIndex | None = None,
    ) -> Forecast:
        """Continue ``candles`` by ``horizon`` steps."""
        ...


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


def wrap(
    paths: Array,
    candles: Candles,
    timestamps: pd.DatetimeIndex | None,
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
    future = _future(candles, timestamps, paths.shape[1])
    made = Made(
        model=name,
        kind="baseline",
        details={**details, "samples": paths.shape[0], "history": _history(candles)},
        calendar=future.calendar,
        calendar_basis=future.basis,
        simulated=candles.simulated,
        notes=(*notes, future.note) if future.note else notes,
    )
    return Forecast(paths=paths, timestamps=future.times, history=candles, made=made)


def _future(candles: Candles, timestamps: pd.DatetimeIndex | None, horizon: int) -> FutureTimes:
    if timestamps is not None:
        return FutureTimes(pd.DatetimeIndex(timestamps), candles.calendar or "given", "given", "")
    times = pd.DatetimeIndex(candles.frame.index)
    return future_times(times, candles.interval, horizon, candles.calendar)


def _history(candles: Candles) -> dict[str, Any]:
    return {
        "source": candles.source,
        "rows": len(candles),
        "start": str(candles.start),
        "end": str(candles.end),
        "sha256": frame_digest(candles.frame),
    }

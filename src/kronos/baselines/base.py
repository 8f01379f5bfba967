"""The `Baseline` protocol, argument checks, and the conversion of paths to a `Forecast`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd

from kronos.calendars import FutureTimes, future_times
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast, ForecastMetadata
from kronos.provenance import frame_digest
from kronos.typing import FloatArray

WINDOW = 513  # the most candles of history that a baseline uses: 512 returns

_SHORT_HISTORY = 64  # returns below which a forecast has a note about its short history


class Baseline(Protocol):
    """A forecaster of one series from its history alone.

    Implementations return S paths of valid candles, reproducible by seed: path i of a seed does not depend on the
    number of paths, nor its first steps on the horizon. To wrap models of other families as baselines, see
    `kronos.baselines.from_closes`.
    """

    def __call__(
        self,
        candles: Candles,
        horizon: int,
        *,
        samples: int = 100,
        seed: int = 0,
        timestamps: pd.DatetimeIndex | None = None,
    ) -> Forecast:
        """Forecast the candles that follow ``candles``.

        Args:
            candles: The history.
            horizon: Number of future candles, H.
            samples: Number of paths, S.
            seed: Random seed, at least 0.
            timestamps: Times of the future candles; None takes them from the candles' calendar.

        Raises:
            ParameterError: If an argument is out of range or a library is missing.
            DataError: If the history is unsuitable (too short, constant, not intraday), or prices overflow.
        """
        ...


class FittedBaseline(Protocol):
    """A `Baseline` with a costly fit, which can be done ahead and used for later origins of the same series."""

    def __call__(
        self,
        candles: Candles,
        horizon: int,
        *,
        samples: int = 100,
        seed: int = 0,
        timestamps: pd.DatetimeIndex | None = None,
        parameters: Any = None,
    ) -> Forecast:
        """Forecast the candles that follow ``candles``, with the ``parameters`` of an earlier fit if given."""
        ...


@dataclass(frozen=True)
class BaselineSpec:
    """A registered baseline, callable like a `Baseline`.

    An evaluation of one series may fit only at every k-th origin:

        parameters = spec.fit(candles) if spec.fit and origin % 20 == 0 else parameters
        forecast = spec(candles, horizon, parameters=parameters)

    Attributes:
        name: Name in tables.
        description: Description in one line.
        baseline: The function.
        point: Whether all paths are equal, so that there are no bands.
        needs: Name of the optional library that it needs, or None.
        fit: Function that fits the parameters to a history; None if there is no costly fit.
    """

    name: str
    description: str
    baseline: Baseline
    point: bool = False
    needs: str | None = None
    fit: Callable[[Candles], Any] | None = None

    @property
    def available(self) -> bool:
        """Whether the optional library is installed."""
        return self.needs is None or find_spec(self.needs) is not None

    def __call__(
        self,
        candles: Candles,
        horizon: int,
        *,
        samples: int = 100,
        seed: int = 0,
        timestamps: pd.DatetimeIndex | None = None,
        parameters: Any = None,
    ) -> Forecast:
        """Forecast the candles that follow ``candles``; see `Baseline` and `FittedBaseline`.

        Raises:
            ParameterError: Also if ``parameters`` are given to a baseline without a fit.
        """
        if parameters is None:
            return self.baseline(candles, horizon, samples=samples, seed=seed, timestamps=timestamps)
        if self.fit is None:
            raise ParameterError(f"{self.name} takes no parameters: leave them out.")
        fitted = cast("FittedBaseline", self.baseline)
        return fitted(candles, horizon, samples=samples, seed=seed, timestamps=timestamps, parameters=parameters)


def check_arguments(
    candles: Candles, horizon: int, samples: int, *, min_candles: int, seed: int = 0, window: int = 2
) -> None:
    """Validate the arguments that baselines share.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1, ``window`` is below 2, or ``seed`` is negative.
        DataError: If there are fewer than ``min_candles`` candles.
    """
    if horizon < 1:
        raise ParameterError(f"Invalid horizon {horizon}: choose at least 1 step.")
    if samples < 1:
        raise ParameterError(f"Invalid number of sample paths {samples}: choose at least 1.")
    if len(candles) < min_candles:
        raise DataError(f"This baseline needs at least {min_candles} candles of history; got {len(candles)}.")
    if window < 2:
        raise ParameterError(f"Invalid window {window}: choose at least 2 returns.")
    if seed < 0:
        raise ParameterError(f"Invalid seed {seed}: choose at least 0.")


def short_history_note(returns: int) -> tuple[str, ...]:
    """Return a note if a forecast is based on few returns."""
    return (f"Based on only {returns} returns of history.",) if returns < _SHORT_HISTORY else ()


def short_window_note(returns: int, window: int) -> tuple[str, ...]:
    """Return a note if the history has fewer returns than the window of the volatility."""
    note = f"The volatility is that of {returns} returns, because the history is shorter than the window of {window}."
    return (note,) if returns < window else ()


def safe_divide(above: FloatArray | float, below: FloatArray) -> FloatArray:
    """Divide; 1 where the denominator is not positive."""
    result: FloatArray = np.divide(above, below, out=np.ones(np.broadcast(above, below).shape), where=below > 0)
    return result


def ignore_overflow() -> np.errstate:
    """Suppress floating-point warnings about overflowing prices, which `to_forecast` refuses."""
    return np.errstate(over="ignore", under="ignore", invalid="ignore")


def resolve_timestamps(candles: Candles, timestamps: pd.DatetimeIndex | None, horizon: int) -> FutureTimes:
    """Return the given times, or those of the candles' calendar."""
    if timestamps is not None:
        return FutureTimes(pd.DatetimeIndex(timestamps), candles.calendar or "given", "given", "")
    return future_times(candles.index, candles.interval, horizon, candles.calendar)


def to_forecast(
    paths: FloatArray,
    candles: Candles,
    timestamps: pd.DatetimeIndex | FutureTimes | None,
    name: str,
    details: Mapping[str, Any],
    notes: tuple[str, ...] = (),
) -> Forecast:
    """Build a `Forecast` from paths of valid candles, `[S, H, 6]`.

    Raises:
        DataError: If a price overflows or underflows, which only implausible histories cause.
        ParameterError: If timestamps are given and there is not one for each step.
    """
    if not (np.isfinite(paths).all() and (paths[..., :4] > 0).all()):
        raise DataError("The forecast prices overflow: check the history for a change of units.")
    if not isinstance(timestamps, FutureTimes):
        timestamps = resolve_timestamps(candles, timestamps, paths.shape[1])
    history = {
        "source": candles.source,
        "rows": len(candles),
        "start": str(candles.start),
        "end": str(candles.end),
        "sha256": frame_digest(candles.frame),
    }
    metadata = ForecastMetadata(
        model=name,
        kind="baseline",
        details={**details, "samples": paths.shape[0], "history": history},
        calendar=timestamps.calendar,
        calendar_basis=timestamps.basis,
        simulated=candles.simulated,
        notes=(*notes, timestamps.note) if timestamps.note else notes,
    )
    return Forecast(paths=paths, timestamps=timestamps.times, history=candles, metadata=metadata)

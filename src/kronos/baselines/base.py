"""What all baselines share: the checks, and the way from paths to a `Forecast`."""

from __future__ import annotations

import hashlib
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

WINDOW = 513  # candles of history that a baseline sees at most: 512 returns


def derive_seed(seed: int, name: str) -> int:
    """A seed of an origin's own: with one for all, every origin would err with the same draws, and means with them.

    Args:
        seed: Of the model's draws.
        name: What keys them.
    """
    return int.from_bytes(hashlib.blake2b(f"{seed}|{name}".encode(), digest_size=6).digest(), "big")


class Baseline(Protocol):
    """A forecaster of one series that sees nothing but its history.

    It gives S paths of valid candles, the same for the same seed. It raises `DataError` where the history is none
    it can work with (too short, never moving, not intraday), and `ParameterError` where an argument is wrong or
    a library is missing. Models of other families fit: see `kronos.baselines.from_closes`.
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
        """Continue ``candles`` by ``horizon`` steps."""
        ...


class FittedBaseline(Protocol):
    """A `Baseline` whose costly part can be done ahead, and serves later origins of the same series too."""

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
        """Continue ``candles``; with ``parameters`` of an earlier fit, nothing is fitted again."""
        ...


@dataclass(frozen=True)
class BaselineSpec:
    """A listed baseline: call it as the `Baseline` it is.

    A walk through one series may fit at every k-th origin only, for an entry that has a fit:

        parameters = entry.fit(candles) if entry.fit and origin % 20 == 0 else parameters
        forecast = entry(candles, horizon, parameters=parameters)

    Attributes:
        name: What tables call it.
        description: What a reader should know of it, in one line.
        baseline: The function.
        point: Whether all its paths are the same, so that it has no bands.
        needs: The optional library that it needs, or None.
        fit: Gives the parameters that it fits to a history; None if it fits nothing worth keeping.
    """

    name: str
    description: str
    baseline: Baseline
    point: bool = False
    needs: str | None = None
    fit: Callable[[Candles], Any] | None = None

    @property
    def available(self) -> bool:
        """Whether the library that it needs is installed."""
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
        """Continue ``candles`` by ``horizon`` steps.

        Raises:
            ParameterError: If an argument is wrong, ``parameters`` are given to a baseline that fits none, or
                the library that it needs is not installed.
            DataError: If the history is none it can work with.
        """
        if parameters is None:
            return self.baseline(candles, horizon, samples=samples, seed=seed, timestamps=timestamps)
        if self.fit is None:
            raise ParameterError(f"{self.name} fits nothing, so it takes no parameters.")
        fitted = cast("FittedBaseline", self.baseline)
        return fitted(candles, horizon, samples=samples, seed=seed, timestamps=timestamps, parameters=parameters)


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


def short_history_note(returns: int) -> tuple[str, ...]:
    """A note if only so few returns stand behind a forecast."""
    return (f"Only {returns} returns of history stand behind it.",) if returns < _FEW else ()


def safe_divide(above: FloatArray | float, below: FloatArray) -> FloatArray:
    """Their quotient, 1 where it is none."""
    result: FloatArray = np.divide(above, below, out=np.ones(np.broadcast(above, below).shape), where=below > 0)
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


def to_forecast(
    paths: FloatArray,
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
    made = ForecastMetadata(
        model=name,
        kind="baseline",
        details={**details, "samples": paths.shape[0], "history": _history(candles)},
        calendar=ahead.calendar,
        calendar_basis=ahead.basis,
        simulated=candles.simulated,
        notes=(*notes, ahead.note) if ahead.note else notes,
    )
    return Forecast(paths=paths, timestamps=ahead.times, history=candles, metadata=made)


def _history(candles: Candles) -> dict[str, Any]:
    return {
        "source": candles.source,
        "rows": len(candles),
        "start": str(candles.start),
        "end": str(candles.end),
        "sha256": frame_digest(candles.frame),
    }

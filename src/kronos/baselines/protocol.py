"""The signature every baseline has, and what is known of those that are listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol, cast

import pandas as pd

from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.forecasts import Forecast


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
class Entry:
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

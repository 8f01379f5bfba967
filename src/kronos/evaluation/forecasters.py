"""Who is evaluated: anything that turns histories into forecasts.

    class Mine:
        name = "mine"
        description = "what a reader should know in one line"

        def identity(self):
            return {"name": self.name, "version": 3}

        def forecast(self, histories, times, *, samples, seed):
            return {name: kronos.forecasts.Forecast(…) for name in histories}

A model of another family fits as well as ours; `kronos.baselines.from_closes` makes a `Forecast` of sampled closes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from kronos.baselines import BaselineSpec
from kronos.baselines.base import WINDOW, derive_seed
from kronos.candles import Candles
from kronos.errors import DataError
from kronos.forecasts import Forecast

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor, SamplingParams

Histories = Mapping[str, Candles]
Times = Mapping[str, pd.DatetimeIndex]


class Forecaster(Protocol):
    """What an evaluation asks."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def description(self) -> str:
        """What a reader should know of it, in one line."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """What makes its forecasts the same again: weights' hash, parameters. JSON values only."""
        ...

    def forecast(self, histories: Histories, times: Times, *, samples: int, seed: int) -> Mapping[str, Forecast]:
        """Forecast many series at once; one that cannot be forecast may be left out.

        Args:
            histories: By name, which keys the draws; nothing in them is later than the origin.
            times: When the candles come that are to be forecast. [H] each
            samples: Paths of each.
            seed: Of the draws.
        """
        ...


class ModelForecaster:
    """A Kronos model in an evaluation."""

    def __init__(self, predictor: KronosPredictor, name: str, *, sampling: SamplingParams | str = "default") -> None:
        """Wrap a model.

        Args:
            predictor: The model.
            name: What tables call it.
            sampling: Temperature and filters.
        """
        self.name = name
        self._predictor = predictor
        self._sampling = sampling

    @property
    def description(self) -> str:
        """What a reader should know of it."""
        count = sum(parameter.numel() for parameter in self._predictor.model.parameters())
        return f"Kronos model of {count / 1e6:.1f} M parameters, context {self._predictor.max_context}"

    def identity(self) -> Mapping[str, Any]:
        """Its weights and how it samples."""
        from kronos.inference.metadata import sampling_details, weights_info
        from kronos.inference.sampling import SamplingParams

        params = SamplingParams.of(self._sampling, None, None)
        return {
            "name": self.name,
            "model": weights_info(self._predictor.model),
            "tokenizer": weights_info(self._predictor.tokenizer),
            "precision": self._predictor.precision,
            "sampling": sampling_details(params),
        }

    def forecast(self, histories: Histories, times: Times, *, samples: int, seed: int) -> Mapping[str, Forecast]:
        """See `Forecaster`."""
        horizon = len(next(iter(times.values())))
        return self._predictor.forecast_many(
            dict(histories), horizon, samples=samples, seed=seed, sampling=self._sampling, timestamps=dict(times)
        )


class BaselineForecaster:
    """A baseline in an evaluation."""

    def __init__(self, entry: BaselineSpec, *, window: int = WINDOW, refit: int = 10) -> None:
        """Wrap a baseline.

        Args:
            entry: The baseline, of `kronos.baselines.BASELINES` or one's own.
            window: Candles of history that it sees at most; 513 have 512 returns.
            refit: Of a baseline whose parameters are fitted: at every so many origins of a series they are fitted anew,
                and kept in between. They come from an earlier origin's past, so nothing later gets in.
        """
        self.name = entry.name
        self.description = entry.description
        self.point = entry.point
        self._entry = entry
        self._window = window
        self._refit = refit

    def identity(self) -> Mapping[str, Any]:
        """Its name and window; its version is the package's."""
        from kronos import __version__

        return {"name": self.name, "window": self._window, "refit": self._refit, "kronos": __version__}

    def forecast(self, histories: Histories, times: Times, *, samples: int, seed: int) -> Mapping[str, Forecast]:
        """See `Forecaster`; histories for which the baseline makes no sense are left out."""
        found = {}
        parameters = _Parameters(self._entry, self._refit)
        for name, history in histories.items():
            seen = history.tail(self._window)
            try:
                found[name] = self._entry(
                    seen,
                    len(times[name]),
                    samples=samples,
                    seed=derive_seed(seed, name),
                    timestamps=times[name],
                    parameters=parameters.at(name, seen),
                )
            except DataError:
                continue
        return found


class _Parameters:
    """A fitted baseline's parameters along the origins of one call: series by series, in the order of time."""

    def __init__(self, entry: BaselineSpec, refit: int) -> None:
        self._entry = entry
        self._refit = refit
        self._series = ""
        self._age = 0
        self._fitted: Mapping[str, Any] | None = None

    def at(self, name: str, history: Candles) -> Mapping[str, Any] | None:
        """The parameters to use at an origin; None of a baseline that has none.

        Raises:
            DataError: If they cannot be fitted.
        """
        if self._entry.fit is None:
            return None
        series = name.rpartition("@")[0]
        if series != self._series or self._age >= self._refit or self._fitted is None:
            self._fitted = self._entry.fit(history)
            self._series, self._age = series, 0
        self._age += 1
        return self._fitted

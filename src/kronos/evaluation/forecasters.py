"""Forecasters that can be evaluated: models, baselines, and anything else that turns histories into forecasts.

    class MyForecaster:
        name = "mine"
        description = "one line for readers"

        def identity(self):
            return {"name": self.name, "version": 3}

        def forecast(self, histories, times, *, samples, seed):
            return {name: kronos.forecasts.Forecast(…) for name in histories}

`kronos.baselines.from_closes` turns the sampled closes of any other model into a `Forecast`.

Engines send forecasters to other processes and machines, so they have to be picklable. A forecaster that uses a GPU may
say so with an attribute ``gpu = True``: Ray then gives it one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from kronos.baselines import BaselineSpec
from kronos.baselines.base import WINDOW
from kronos.candles import Candles
from kronos.errors import DataError
from kronos.forecasts import Forecast
from kronos.rng import derive_seed

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor, SamplingParams

Histories = Mapping[str, Candles]
Times = Mapping[str, pd.DatetimeIndex]


class Forecaster(Protocol):
    """The interface that `evaluate` needs."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def description(self) -> str:
        """One line for readers."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """Return what determines the forecasts, such as hashes of weights and parameters, as JSON values."""
        ...

    def forecast(self, histories: Histories, times: Times, *, samples: int, seed: int) -> Mapping[str, Forecast]:
        """Forecast many series at once; those that cannot be forecast may be left out.

        Args:
            histories: Candles up to the origin, by name. Random numbers are keyed by the name.
            times: Times of the candles to forecast, by name. [H] each
            samples: Number of sample paths per forecast.
            seed: Random seed.
        """
        ...


class ModelForecaster:
    """A Kronos model as a forecaster."""

    def __init__(self, predictor: KronosPredictor, name: str, *, sampling: SamplingParams | str = "default") -> None:
        """Wrap a model.

        Args:
            predictor: The model.
            name: Name in tables.
            sampling: Temperature and filters, or the name of a preset.
        """
        self.name = name
        self._predictor = predictor
        self._sampling = sampling

    def __getstate__(self) -> dict[str, Any]:
        """Wrap the predictor for another process or machine."""
        from kronos.inference.portable import PortablePredictor

        return {**self.__dict__, "_predictor": PortablePredictor.of(self._predictor)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _predictor=state["_predictor"].predictor)

    @property
    def gpu(self) -> bool:
        """Whether the model uses a GPU that an engine has to provide."""
        return self._predictor.device.type == "cuda"

    @property
    def description(self) -> str:
        """Number of parameters and context length."""
        count = sum(parameter.numel() for parameter in self._predictor.model.parameters())
        return f"Kronos model of {count / 1e6:.1f} M parameters, context {self._predictor.max_context}, raw"

    def identity(self) -> Mapping[str, Any]:
        """Return hashes of the weights, the precision and the sampling parameters."""
        from kronos.inference.metadata import sampling_details, weights_info
        from kronos.inference.sampling import SamplingParams

        params = SamplingParams.resolve(self._sampling, None, None)
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
            dict(histories),
            horizon,
            samples=samples,
            seed=seed,
            sampling=self._sampling,
            timestamps=dict(times),
            calibration=False,  # applied to the stored paths, see `Correction`
        )


class BaselineForecaster:
    """A baseline as a forecaster."""

    def __init__(self, entry: BaselineSpec, *, window: int = WINDOW, refit: int = 10) -> None:
        """Wrap a baseline.

        Args:
            entry: The baseline, from `kronos.baselines.BASELINES` or your own.
            window: Candles of history to use; 513 candles have 512 returns.
            refit: Number of successive origins of a series that share fitted parameters. The parameters are fitted at
                the first of them, so that nothing later than the origin is used.
        """
        self.name = entry.name
        self.description = entry.description
        self.point = entry.point
        self._entry = entry
        self._window = window
        self._refit = refit

    def identity(self) -> Mapping[str, Any]:
        """Return its name and settings, and the version of this package."""
        from kronos import __version__

        return {"name": self.name, "window": self._window, "refit": self._refit, "kronos": __version__}

    def forecast(self, histories: Histories, times: Times, *, samples: int, seed: int) -> Mapping[str, Forecast]:
        """See `Forecaster`; histories that the baseline cannot forecast are left out."""
        forecasts = {}
        parameters = _FittedParameters(self._entry, self._refit)
        for name, history in histories.items():
            window = history.tail(self._window)
            try:
                forecasts[name] = self._entry(
                    window,
                    len(times[name]),
                    samples=samples,
                    seed=derive_seed(seed, name),
                    timestamps=times[name],
                    parameters=parameters.at(name, window),
                )
            except DataError:
                continue
        return forecasts


class _FittedParameters:
    """The fitted parameters of a baseline, refitted every few origins; origins of a series come in order of time."""

    def __init__(self, entry: BaselineSpec, refit: int) -> None:
        self._entry = entry
        self._refit = refit
        self._series = ""
        self._age = 0
        self._fitted: Mapping[str, Any] | None = None

    def at(self, name: str, history: Candles) -> Mapping[str, Any] | None:
        """Return the parameters for an origin; None if the baseline has none.

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

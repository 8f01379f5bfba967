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

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from kronos.baselines import Baseline
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
        from kronos.inference.making import weights
        from kronos.inference.sampling import SamplingParams

        params = SamplingParams.of(self._sampling, None, None)
        return {
            "name": self.name,
            "model": weights(self._predictor.model),
            "tokenizer": weights(self._predictor.tokenizer),
            "precision": self._predictor.precision,
            "sampling": {"temperature": params.temperature, "top_k": params.top_k, "top_p": params.top_p},
        }

    def forecast(self, histories: Histories, times: Times, *, samples: int, seed: int) -> Mapping[str, Forecast]:
        """See `Forecaster`."""
        horizon = len(next(iter(times.values())))
        return self._predictor.forecast_many(
            dict(histories), horizon, samples=samples, seed=seed, sampling=self._sampling, timestamps=dict(times)
        )


class BaselineForecaster:
    """A baseline in an evaluation."""

    def __init__(self, baseline: Baseline, name: str, description: str, *, window: int = 512) -> None:
        """Wrap a baseline.

        Args:
            baseline: The function.
            name: What tables call it.
            description: What a reader should know of it.
            window: Candles of history that it sees at most.
        """
        self.name = name
        self.description = description
        self._baseline = baseline
        self._window = window

    def identity(self) -> Mapping[str, Any]:
        """Its name and window; its version is the package's."""
        from kronos import __version__

        return {"name": self.name, "window": self._window, "kronos": __version__}

    def forecast(self, histories: Histories, times: Times, *, samples: int, seed: int) -> Mapping[str, Forecast]:
        """See `Forecaster`; histories for which the baseline makes no sense are left out."""
        found = {}
        for name, history in histories.items():
            try:
                found[name] = self._baseline(
                    history.tail(self._window),
                    len(times[name]),
                    samples=samples,
                    seed=own_seed(seed, name),
                    timestamps=times[name],
                )
            except DataError:
                continue
        return found


def own_seed(seed: int, name: str) -> int:
    """A seed of an origin's own: with one for all, every origin would err with the same draws, and means with them."""
    return int.from_bytes(hashlib.blake2b(f"{seed}|{name}".encode(), digest_size=6).digest(), "big")

"""Past forecasts with their outcomes: the data that a calibration is fitted on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kronos.calibration.identity import ModelIdentity
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast
from kronos.metrics.forecast_score import history_sigma
from kronos.typing import FloatArray, IntArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationSet:
    """Forecasts of one model from N past origins and their outcomes, in log returns of the close.

    Attributes:
        returns: Cumulative log returns of the sample paths since the last known close. [N, S, H]
        actual: Outcomes; NaN where unknown. [N, H]
        sigma: Standard deviation (n - 1) of the history's last 64 one-step log returns; the unit is σ√h. Origins where
            it is 0 or NaN are excluded from fits. [N]
        dates: Times of the origins; neighbours in time count as dependent. [N]
        identity: The model.
        group: Label of each origin, for example ``crypto 1h``; None for one group. [N]
        level_error: Error of the tokenizer at the last known close, in logs; NaN where unknown, None for models
            without a tokenizer. [N]
        baseline: Paths of the baseline to pool with, or None. A few hundred are cheap and have more precise quantiles
            than the model's number of paths. [N, S', H]
        baseline_name: Name of the baseline.
        steps: Steps ahead, ascending from 1 or more; None: 1 to H. [H]
        known_at: Times when the last outcome of each origin was known; None: the times of the origins. [N]
        draws: Effective number of independent draws of the paths, as in `kronos.metrics.crps`; higher for pooled paths.
            None: their number. [N, H]

    Raises:
        ParameterError: If shapes disagree, or a forecast is not finite.
    """

    returns: Floats
    actual: Floats
    sigma: Floats
    dates: NDArray[np.datetime64]
    identity: ModelIdentity
    group: NDArray[np.str_] | None = None
    level_error: Floats | None = None
    baseline: Floats | None = None
    baseline_name: str = ""
    steps: NDArray[np.int64] | None = None
    known_at: NDArray[np.datetime64] | None = None
    draws: Floats | None = None

    def __post_init__(self) -> None:
        returns = np.asarray(self.returns)
        if returns.ndim != 3 or 0 in returns.shape:
            raise ParameterError(f"returns needs the shape [origins, paths, steps]; got {returns.shape}.")
        number, _, horizon = returns.shape
        shapes = {"actual": (number, horizon), "sigma": (number,), "dates": (number,), "level_error": (number,)}
        shapes |= {"group": (number,), "known_at": (number,), "steps": (horizon,), "draws": (number, horizon)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and np.shape(value) != shape:
                raise ParameterError(f"{name} needs the shape {shape}; got {np.shape(value)}.")
        self._set("returns", _check_finite("returns", returns))
        self._set("group", np.full(number, "all") if self.group is None else np.asarray(self.group, dtype=np.str_))
        self._set("steps", _check_steps(self.steps, horizon))
        self._set("dates", _naive_times(self.dates))
        self._set("known_at", self.dates if self.known_at is None else _naive_times(self.known_at))
        self._set_baseline()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _set_baseline(self) -> None:
        if self.baseline is None:
            return
        number, _, horizon = self.returns.shape
        baseline = np.asarray(self.baseline)
        if baseline.ndim != 3 or (baseline.shape[0], baseline.shape[2]) != (number, horizon):
            raise ParameterError(
                f"The baseline's paths need the shape [{number}, paths, {horizon}]; got {list(baseline.shape)}."
            )
        if not self.baseline_name:
            raise ParameterError("Pass the baseline_name of the baseline's paths, for example 'historical-volatility'.")
        self._set("baseline", _check_finite("baseline", baseline))

    def __len__(self) -> int:
        return int(self.returns.shape[0])

    @classmethod
    def of(
        cls,
        forecasts: Sequence[Forecast],
        actual: Candles,
        *,
        group: str = "all",
        baselines: Sequence[Forecast] | None = None,
    ) -> CalibrationSet:
        """Build a calibration set from forecasts of one series and its candles, matched by time.

        Args:
            forecasts: Forecasts of equal model, horizon and number of paths.
            actual: Candles of the series; steps without a candle are NaN.
            group: Label of all forecasts.
            baselines: A baseline's forecast for each, to pool with.

        Raises:
            DataError: If a forecast's last known close differs from the candles'.
            ParameterError: If there are no forecasts, or they differ in model, horizon or number of paths.
        """
        first = _check_consistent(forecasts)
        outcomes = np.stack([_outcome(forecast, actual) for forecast in forecasts])
        return cls(
            returns=np.stack([forecast.returns(cumulative=True) for forecast in forecasts]),
            actual=outcomes,
            sigma=np.array([history_sigma(forecast) for forecast in forecasts]),
            dates=np.concatenate([_naive_times(pd.DatetimeIndex([forecast.start])) for forecast in forecasts]),
            identity=ModelIdentity.of(first.metadata),
            group=np.full(len(forecasts), group),
            level_error=np.array([read_level_error(forecast) for forecast in forecasts]),
            baseline=np.stack([forecast.returns(cumulative=True) for forecast in baselines]) if baselines else None,
            baseline_name=_check_consistent(baselines).metadata.model if baselines else "",
            known_at=np.array([_known_at(f, row) for f, row in zip(forecasts, outcomes, strict=True)]),
        )

    def select(self, which: NDArray[Any]) -> CalibrationSet:
        """Select origins by a mask or positions."""
        selected: dict[str, Any] = {}
        for name in ("returns", "actual", "sigma", "dates", "group", "level_error", "baseline", "known_at", "draws"):
            value = getattr(self, name)
            selected[name] = None if value is None else np.asarray(value)[which]
        return replace(self, **selected)

    def counts(self) -> dict[str, int]:
        """Count the origins of each group, by name."""
        return dict(sorted(Counter(np.asarray(self.group).tolist()).items()))

    def digest(self) -> str:
        """Compute the SHA-256 of all data that a fit uses."""
        hashed = hashlib.sha256()
        for name in ("returns", "actual", "sigma", "dates", "group", "level_error", "baseline", "steps", "known_at"):
            value = getattr(self, name)
            hashed.update(f"{name} {None if value is None else np.shape(value)}\n".encode())
            if value is not None:
                hashed.update(_bytes(np.asarray(value)))
        return hashed.hexdigest()

    def summary(self) -> dict[str, Any]:
        """Summarise the data, ready for JSON: number of origins by group, period and digest."""
        known, labels = np.asarray(self.known_at), np.asarray(self.group)
        return {
            "origins": len(self),
            "paths": int(self.returns.shape[1]),
            "horizon": int(np.asarray(self.steps)[-1]),
            "first": str(self.dates.min()),
            "last": str(self.dates.max()),
            "known": str(known.max()),
            "known_by_group": {group: str(known[labels == group].max()) for group in self.counts()},
            "groups": self.counts(),
            "sha256": self.digest(),
        }

    def __repr__(self) -> str:
        shape = " × ".join(str(n) for n in self.returns.shape)
        return f"CalibrationSet({self.identity.model}, {shape}, {self.dates.min()} to {self.dates.max()})"


def read_level_error(forecast: Forecast) -> float:
    """Return the error of the forecast's tokenizer at the last known close, in logs; NaN if unknown."""
    error = forecast.metadata.details.get("level_error")
    return float("nan") if error is None else float(error)


def _check_consistent(forecasts: Sequence[Forecast]) -> Forecast:
    """Return the first forecast, if all are of equal model, horizon and number of paths."""
    if not forecasts:
        raise ParameterError("There are no forecasts: pass at least one.")
    first = forecasts[0]
    for forecast in forecasts:
        if (forecast.horizon, forecast.samples) != (first.horizon, first.samples):
            raise ParameterError("The forecasts differ in horizon or number of paths: pass forecasts of equal shape.")
        difference = ModelIdentity.of(first.metadata).difference_from(ModelIdentity.of(forecast.metadata))
        if difference:
            raise ParameterError(f"The forecasts must be of one model, but {difference}.")
    return first


def _outcome(forecast: Forecast, actual: Candles) -> FloatArray:
    """Return the cumulative log returns at the forecast's times `[H]`; NaN where unknown."""
    closes = actual.frame["close"]
    if forecast.start not in closes.index or closes[forecast.start] != forecast.last_close:
        raise DataError(
            f"The candles have another close at {forecast.start} than the forecast: pass those of its series."
        )
    known: FloatArray = closes.reindex(forecast.timestamps).to_numpy(dtype=np.float64)
    return np.log(known / forecast.last_close)


def _known_at(forecast: Forecast, outcome: FloatArray) -> np.datetime64:
    """Return the time of the last known outcome; that of the origin if there is none."""
    times = forecast.timestamps[np.isfinite(outcome)]
    last: np.datetime64 = _naive_times([times[-1] if len(times) else forecast.start])[0]
    return last


def _check_finite(name: str, values: Floats) -> Floats:
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ParameterError(f"{name} contains NaN or infinite values: leave out those origins.")
    return values


def _check_steps(steps: IntArray | None, horizon: int) -> IntArray:
    steps = np.arange(1, horizon + 1) if steps is None else np.asarray(steps, dtype=np.int64)
    if steps[0] < 1 or (np.diff(steps) <= 0).any():
        raise ParameterError(f"Invalid steps {steps.tolist()}: pass ascending numbers from 1.")
    return steps


def _naive_times(times: Any) -> NDArray[np.datetime64]:
    """Convert times to UTC without a timezone, to the microsecond."""
    index = pd.DatetimeIndex(times)
    utc = index if index.tz is None else index.tz_convert("UTC").tz_localize(None)
    naive: NDArray[np.datetime64] = utc.to_numpy().astype("datetime64[us]")
    return naive


def _bytes(values: NDArray[Any]) -> bytes:
    if values.dtype.kind == "U":
        return "\n".join(values.tolist()).encode()
    if values.dtype.kind in "Mi":
        return values.astype("<i8").tobytes()
    return (values.astype("<f8") + 0.0).tobytes()  # + 0.0 turns -0 into 0

"""Past forecasts beside what happened: all that a calibration is fitted on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kronos.calibration.identity import ModelIdentity
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast
from kronos.typing import FloatArray

Floats = NDArray[np.floating[Any]]

SIGMA_WINDOW = 64  # one-step log returns in the unit σ, the same as in `kronos.metrics`


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationSet:
    """Forecasts of one model from N past origins, and what came of them; all in log returns of the close.

    Attributes:
        returns: `[N, S, H]` cumulative log returns of the sample paths since the last known close.
        actual: `[N, H]` what happened; NaN where it isn't known.
        sigma: `[N]` standard deviation (n - 1) of the history's last 64 one-step log returns: the unit, as σ√h.
            Origins where it is 0 or NaN are left out of every fit.
        dates: `[N]` times of the origins; neighbours in time count as dependent.
        identity: The model that made the forecasts.
        group: `[N]` label of each origin, for example ``crypto 1h``; None for one group.
        level_error: `[N]` by how much the tokenizer misses the last known close, in logs; NaN where unknown,
            None for models without.
        baseline: `[N, S', H]` paths of the baseline to pool with; None without. A few hundred cost little and
            give steadier quantiles than the model's number.
        baseline_name: Which baseline that is.
        steps: `[H]` the steps ahead, counted from 1 and ascending; 1 to H if None.
        known_at: `[N]` when the last of an origin's outcomes was known; the origins' own times if None.
        draws: `[N, H]` how many independent draws the paths are worth, as `kronos.metrics.crps` takes it; None for
            their number. Pooled ones are worth more.

    Raises:
        ParameterError: If shapes disagree, or a forecast is no number.
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
            raise ParameterError(f"Trials need returns of the shape [origins, paths, steps], not {returns.shape}.")
        number, _, horizon = returns.shape
        shapes = {"actual": (number, horizon), "sigma": (number,), "dates": (number,), "level_error": (number,)}
        shapes |= {"group": (number,), "known_at": (number,), "steps": (horizon,), "draws": (number, horizon)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and np.shape(value) != shape:
                raise ParameterError(f"The trials' {name} needs the shape {shape}, not {np.shape(value)}.")
        self._set("returns", _paths("returns", returns))
        self._set("group", np.full(number, "all") if self.group is None else np.asarray(self.group, dtype=np.str_))
        self._set("steps", _steps(self.steps, horizon))
        self._set("dates", _times(self.dates))
        self._set("known_at", self.dates if self.known_at is None else _times(self.known_at))
        self._set_baseline()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _set_baseline(self) -> None:
        if self.baseline is None:
            return
        number, _, horizon = self.returns.shape
        baseline = np.asarray(self.baseline)
        if baseline.ndim != 3 or (baseline.shape[0], baseline.shape[2]) != (number, horizon):
            raise ParameterError(f"The baseline's paths need the shape [{number}, paths, {horizon}].")
        if not self.baseline_name:
            raise ParameterError("Name the baseline that the trials carry, for example 'historical-volatility'.")
        self._set("baseline", _paths("baseline", baseline))

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
        """Gather forecasts of one series, matched by time with the candles that came.

        Args:
            forecasts: All of one model, horizon and number of paths.
            actual: Candles of the same series; a step whose candle is not there is NaN.
            group: Label for all of them.
            baselines: A baseline's forecast for each, to pool with.

        Raises:
            DataError: If a forecast's last known close is not the candles' at that time.
            ParameterError: If there is no forecast, or they differ in model, horizon or number of paths.
        """
        first = _alike(forecasts)
        came = np.stack([_happened(one, actual) for one in forecasts])
        return cls(
            returns=np.stack([one.returns(cumulative=True) for one in forecasts]),
            actual=came,
            sigma=np.array([sigma(one) for one in forecasts]),
            dates=np.concatenate([_times(pd.DatetimeIndex([one.start])) for one in forecasts]),
            identity=ModelIdentity.of(first.metadata),
            group=np.full(len(forecasts), group),
            level_error=np.array([level_error(one) for one in forecasts]),
            baseline=np.stack([one.returns(cumulative=True) for one in baselines]) if baselines else None,
            baseline_name=_alike(baselines).metadata.model if baselines else "",
            known_at=np.array([_known_at(one, row) for one, row in zip(forecasts, came, strict=True)]),
        )

    def select(self, which: NDArray[Any]) -> CalibrationSet:
        """The origins that a mask or positions choose."""
        taken: dict[str, Any] = {}
        for name in ("returns", "actual", "sigma", "dates", "group", "level_error", "baseline", "known_at", "draws"):
            value = getattr(self, name)
            taken[name] = None if value is None else np.asarray(value)[which]
        return replace(self, **taken)

    def counts(self) -> dict[str, int]:
        """How many origins each group has, by name."""
        return dict(sorted(Counter(np.asarray(self.group).tolist()).items()))

    def digest(self) -> str:
        """SHA-256 over everything that a fit sees."""
        hashed = hashlib.sha256()
        for name in ("returns", "actual", "sigma", "dates", "group", "level_error", "baseline", "steps", "known_at"):
            value = getattr(self, name)
            hashed.update(f"{name} {None if value is None else np.shape(value)}\n".encode())
            if value is not None:
                hashed.update(_bytes(np.asarray(value)))
        return hashed.hexdigest()

    def summary(self) -> dict[str, Any]:
        """Where the trials come from, ready for JSON: how many, by group, from when to when, digest."""
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
        return f"Trials({self.identity.model}, {shape}, {self.dates.min()} to {self.dates.max()})"


def sigma(forecast: Forecast) -> float:
    """Standard deviation (n - 1) of the history's last 64 one-step log returns; NaN with fewer than two."""
    closes = forecast.history.frame["close"].to_numpy()[-SIGMA_WINDOW - 1 :]
    return float(np.diff(np.log(closes)).std(ddof=1)) if len(closes) > 2 else float("nan")


def level_error(forecast: Forecast) -> float:
    """By how much the forecast's tokenizer misses the last known close, in logs; NaN if it doesn't say."""
    found: Mapping[str, Any] = forecast.metadata.details
    error = found.get("level_error")
    return float("nan") if error is None else float(error)


def _alike(forecasts: Sequence[Forecast]) -> Forecast:
    """The first forecast, if all are of one model, horizon and number of paths."""
    if not forecasts:
        raise ParameterError("There is no forecast to learn from.")
    first = forecasts[0]
    for one in forecasts:
        if (one.horizon, one.samples) != (first.horizon, first.samples):
            raise ParameterError("The forecasts to learn from need one horizon and one number of paths.")
        if difference := ModelIdentity.of(first.metadata).differs(ModelIdentity.of(one.metadata)):
            raise ParameterError(f"The forecasts to learn from need one maker, but their {difference}.")
    return first


def _happened(forecast: Forecast, actual: Candles) -> FloatArray:
    """Cumulative log returns at the forecast's times `[H]`, NaN where they aren't known."""
    closes = actual.frame["close"]
    if forecast.start not in closes.index or closes[forecast.start] != forecast.last_close:
        raise DataError(f"The candles don't hold the close that the forecast of {forecast.start} starts from.")
    came: FloatArray = closes.reindex(forecast.timestamps).to_numpy(dtype=np.float64)
    return np.log(came / forecast.last_close)


def _known_at(forecast: Forecast, came: FloatArray) -> np.datetime64:
    """When the last outcome that is known was known; the origin's time if none is."""
    times = forecast.timestamps[np.isfinite(came)]
    last: np.datetime64 = _times([times[-1] if len(times) else forecast.start])[0]
    return last


def _paths(name: str, values: Floats) -> Floats:
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ParameterError(f"The trials' {name} hold what is no number; leave those origins out.")
    return values


def _steps(steps: NDArray[np.int64] | None, horizon: int) -> NDArray[np.int64]:
    chosen = np.arange(1, horizon + 1) if steps is None else np.asarray(steps, dtype=np.int64)
    if chosen[0] < 1 or (np.diff(chosen) <= 0).any():
        raise ParameterError(f"Steps ascend and count from 1, not {chosen.tolist()}.")
    return chosen


def _times(times: Any) -> NDArray[np.datetime64]:
    """Times in UTC to the microsecond, without a zone."""
    index = pd.DatetimeIndex(times)
    plain = index if index.tz is None else index.tz_convert("UTC").tz_localize(None)
    stamps: NDArray[np.datetime64] = plain.to_numpy().astype("datetime64[us]")
    return stamps


def _bytes(values: NDArray[Any]) -> bytes:
    if values.dtype.kind == "U":
        return "\n".join(values.tolist()).encode()
    if values.dtype.kind in "Mi":
        return values.astype("<i8").tobytes()
    return (values.astype("<f8") + 0.0).tobytes()  # -0 as 0

"""A forecaster of sktime.

    from kronos.adapters import KronosForecaster

    forecaster = KronosForecaster(seed=7)
    forecaster.fit(candles.frame)
    forecaster.predict(fh=[1, 5])
    forecaster.predict_interval(fh=[1, 5], coverage=0.8)

``fit`` trains nothing: it keeps the history, which the model reads when it forecasts.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from kronos.adapters.flat_series import find_candle_columns, flat_candles
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast, sample_quantiles
from kronos.formatting import join_names
from kronos.inference import KronosPredictor, SamplingParams
from kronos.inference.predictor import CalibrationChoice
from kronos.intervals import Interval
from kronos.typing import FloatArray
from kronos.zoo import DEFAULT_MODEL

try:
    from sktime.forecasting.base import BaseForecaster, ForecastingHorizon
except ImportError:
    raise ParameterError(
        "KronosForecaster needs sktime: install it with pip install 'kronos-forecast[sktime]'."
    ) from None

_ORIGIN = pd.Timestamp("2000-01-01")  # time of number 0 where the index holds numbers


@dataclass(frozen=True, eq=False)
class _Series:
    """What the model forecasts for some columns of ``y``.

    Attributes:
        history: The candles.
        channels: The channel that is the forecast of a column, by its label.
        offset: To be subtracted from forecasts.
    """

    history: Candles
    channels: Mapping[Hashable, str]
    offset: float = 0.0

    @classmethod
    def of_candles(cls, frame: pd.DataFrame, times: pd.DatetimeIndex, columns: Mapping[str, Hashable]) -> _Series:
        """The candles of a frame, whose labels are given by canonical name."""
        renamed = pd.DataFrame({name: frame[label].to_numpy() for name, label in columns.items()}, index=times)
        candles = Candles.from_frame(renamed)
        if candles.end != times[-1]:
            found = " ".join(str(finding.message) for finding in candles.findings)
            raise DataError(f"The last candle of y, of {times[-1]}, cannot be used. {found}")
        for finding in candles.findings:
            if finding.severity == "warning":
                warnings.warn(f"y: {finding.message}", stacklevel=2)
        return cls(candles, {label: name for name, label in columns.items()})

    @classmethod
    def of_numbers(cls, column: pd.Series[Any], times: pd.DatetimeIndex, name: str) -> _Series:
        """A column of numbers as flat candles."""
        flat = flat_candles(column.to_numpy(), times, name)
        return cls(flat.candles, {column.name: "close"}, flat.offset)

    def paths(self, forecast: Forecast, label: Hashable) -> FloatArray:
        """The sample paths of a column, `[S, H]`."""
        return forecast.channel(self.channels[label]) - self.offset


class KronosForecaster(BaseForecaster):  # type: ignore[misc]  # sktime has no types
    """Forecasts candles, or series of numbers as flat candles, with the interface of sktime.

    The frame ``y`` has the columns open, high, low and close, under any of the usual names, and volume and amount if
    they are known; forecasts have the same columns. To forecast some of the columns, such as the close alone, pass
    these as ``y`` and the others as ``X``. Only the past of ``X`` is read, so no ``X`` is needed to predict.

    Point forecasts are the median of the sample paths, quantiles and intervals theirs, and variances their sample
    variance. The numbers are those of `kronos.KronosPredictor.forecast`.

    Examples:
        >>> from kronos.adapters import KronosForecaster
        >>> forecaster = KronosForecaster(seed=7)
        >>> forecaster.fit(candles)  # doctest: +SKIP
        >>> forecaster.predict_interval(fh=[1, 5], coverage=0.8)  # doctest: +SKIP

    Args:
        model: Zoo name, hub id or folder of a model, or a predictor. Models that are named are loaded once per process.
        samples: Number of sample paths.
        seed: Random seed; None draws one in ``fit``, which ``seed_`` records.
        sampling: A preset or parameters, as for `kronos.KronosPredictor.forecast`.
        lookback: Maximum number of candles of history to use; all that fit by default.
        calibration: As for `kronos.KronosPredictor.forecast`.
        flat: Whether each column of ``y`` is a series of its own, forecast as flat candles; see
            `kronos.adapters.flat_candles`. Otherwise a ``y`` that has no candles is an error.
        index_interval: Interval such as ``"1d"`` of candles whose index holds numbers instead of times. Number 0 is
            then 2000-01-01, and the market never closes. None to require times.
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": ["Kronos developers"],
        "maintainers": ["Kronos developers"],
        "y_inner_mtype": "pd.DataFrame",
        "X_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": False,
        "capability:update": True,
        "capability:categorical_in_X": False,
        "requires-fh-in-fit": False,
        "X-y-must-have-same-index": False,
    }
    _config: ClassVar[dict[str, Any]] = {"remember_data": False}  # the history is kept here
    _y: pd.DataFrame | None = None  # sktime writes both if its user sets remember_data
    _X: pd.DataFrame | None = None

    def __init__(
        self,
        model: str | Path | KronosPredictor = DEFAULT_MODEL,
        samples: int = 100,
        seed: int | None = None,
        sampling: SamplingParams | str = "default",
        lookback: int | None = None,
        calibration: CalibrationChoice = None,
        flat: bool = False,
        index_interval: str | None = None,
    ) -> None:
        self.model = model
        self.samples = samples
        self.seed = seed
        self.sampling = sampling
        self.lookback = lookback
        self.calibration = calibration
        self.flat = flat
        self.index_interval = index_interval
        super().__init__()

    def _fit(self, y: pd.DataFrame, X: pd.DataFrame | None, fh: Any) -> KronosForecaster:
        """Keep the history, and validate that it can be forecast."""
        del fh
        self.seed_ = secrets.randbelow(2**31) if self.seed is None else self.seed
        self._labels = list(y.columns)
        self._history = self._join(y, X)
        self._series = self._read()
        return self

    def _update(self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True) -> KronosForecaster:
        """Continue the history with new rows, which replace rows at and after the first of their times."""
        del update_params  # there are no parameters
        new = self._join(y, X)
        self._history = pd.concat([self._history[self._history.index < new.index[0]], new])
        self._series = self._read()
        return self

    def _join(self, y: pd.DataFrame, X: pd.DataFrame | None) -> pd.DataFrame:
        """The rows of ``y``, with the columns of ``X`` that complete its candles, `[T, columns]`."""
        if X is None:
            return y
        new = [label for label in X.columns if label not in set(y.columns)]
        used: Sequence[Hashable] = ()
        if not self.flat:
            used = [label for label in find_candle_columns([*y.columns, *new], "y with X").values() if label in new]
        unused = [label for label in X.columns if label not in used]
        if unused:
            warnings.warn(f"Columns of X that no candle consists of are not used: {_quoted(unused)}.", stacklevel=2)
        return y.join(X[list(used)]) if used else y

    def _read(self) -> dict[str, _Series]:
        """The series of the history by name: one of candles, or one per column."""
        times = self._times(self._history.index)
        if self.flat:
            return {str(label): _Series.of_numbers(self._history[label], times, str(label)) for label in self._labels}
        columns = find_candle_columns(list(self._history.columns), "y")
        if not columns:
            raise DataError(
                f"y has no columns open, high, low and close, but {_quoted(self._history.columns)}: rename them, pass "
                "the other prices as X, or pass flat=True to forecast each column as candles without range and volume."
            )
        others = [label for label in self._labels if label not in columns.values()]
        if others:
            raise DataError(f"{_quoted(others)} of y is no column of candles: drop it, or pass it as X.")
        return {"": _Series.of_candles(self._history, times, columns)}

    def _times(self, index: pd.Index[Any]) -> pd.DatetimeIndex:
        """The index of sktime as times: periods by their start, numbers from the year 2000 on."""
        if isinstance(index, pd.PeriodIndex):
            return index.to_timestamp()
        if isinstance(index, pd.DatetimeIndex):
            return index
        if self.index_interval is None:
            raise DataError(
                "The index of y holds numbers, and the model reads times: set a DatetimeIndex or PeriodIndex, or pass "
                "the interval of the candles as index_interval, such as '1d'."
            )
        delta = Interval.parse(self.index_interval).delta
        return pd.DatetimeIndex(_ORIGIN + index.to_numpy() * delta)

    def _predict(self, fh: Any, X: pd.DataFrame | None = None) -> pd.DataFrame:
        """Median of the paths, `[len(fh), columns]`."""
        del X
        paths, index = self._paths(fh)
        return pd.DataFrame(np.median(paths, axis=0), index=index, columns=self._labels)

    def _predict_quantiles(self, fh: Any, X: pd.DataFrame | None, alpha: Sequence[float]) -> pd.DataFrame:
        """Quantiles of the paths; columns by label and level, `[len(fh), columns × levels]`."""
        del X
        paths, index = self._paths(fh)
        values = sample_quantiles(paths, alpha)  # [levels, steps, columns]
        columns = pd.MultiIndex.from_product([self._get_varnames(), alpha])
        return pd.DataFrame(np.moveaxis(values, 0, -1).reshape(len(index), -1), index=index, columns=columns)

    def _predict_var(self, fh: Any, X: pd.DataFrame | None = None, cov: bool = False) -> pd.DataFrame:
        """Sample variance of the paths, `[len(fh), columns]`."""
        del X
        if cov:
            raise ParameterError("Covariances are not computed: pass cov=False.")
        paths, index = self._paths(fh)
        return pd.DataFrame(paths.var(axis=0, ddof=1), index=index, columns=self._get_varnames())

    def _paths(self, fh: Any) -> tuple[FloatArray, pd.Index[Any]]:
        """The sample paths at the steps of a horizon, and its index, `[S, steps, columns]`."""
        steps = np.asarray(fh.to_relative(self.cutoff).to_numpy(), dtype=np.int64)
        horizon = int(steps.max())
        ahead = self._future(horizon)
        predictor = self.model if isinstance(self.model, KronosPredictor) else _load(str(self.model))
        times = None if ahead is None else dict.fromkeys(self._series, self._times(ahead))
        forecasts = predictor.forecast_many(
            {name: series.history for name, series in self._series.items()},
            horizon,
            samples=self.samples,
            seed=self.seed_,
            sampling=self.sampling,
            lookback=self.lookback,
            timestamps=times,
            calibration=self.calibration,
        )
        names = [str(label) if self.flat else "" for label in self._labels]
        paths = [
            self._series[name].paths(forecasts[name], label) for name, label in zip(names, self._labels, strict=True)
        ]
        if ahead is None:
            ahead = next(iter(forecasts.values())).timestamps.as_unit(self.cutoff.unit).rename(self.cutoff.name)
        return np.stack(paths, axis=-1)[:, steps - 1], ahead[steps - 1]

    def _future(self, horizon: int) -> pd.Index[Any] | None:
        """The index of all steps up to a horizon; None where only the calendar tells it."""
        steps = ForecastingHorizon(range(1, horizon + 1), is_relative=True, freq=self.cutoff)
        if isinstance(self.cutoff, pd.DatetimeIndex) and steps.freq is None:
            return None
        index: pd.Index[Any] = steps.to_absolute_index(self.cutoff)
        return index

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Parameters for the tests of sktime, whose series are no candles."""
        del parameter_set
        return [
            {"samples": 4, "seed": 0, "flat": True, "index_interval": "1d"},
            {"samples": 3, "seed": 1, "flat": True, "index_interval": "1h", "calibration": False, "lookback": 8},
        ]


@lru_cache(maxsize=4)
def _load(model: str) -> KronosPredictor:
    """Load a model once for all forecasters, of which sktime makes many copies."""
    return KronosPredictor.from_pretrained(model)


def _quoted(labels: Iterable[Hashable]) -> str:
    return join_names([f"'{label}'" for label in labels], 8)


__all__ = ["KronosForecaster"]

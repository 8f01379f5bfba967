"""Adaptive bands of a forecast: corrected by forecasts from earlier origins of the same history.

With ``adapt=N`` a predictor also forecasts from N earlier origins, in one batch with the forecast itself. Their whole
horizon lies within the history, so all of their outcomes are known. A new `kronos.calibration.AdaptiveConformal` is
updated with these outcomes in order, and its state corrects the forecast.

Each origin gives one outcome per step, and the bands of a step are shifted by the outcomes of that step alone. N
outcomes estimate the end of an 80 % band such that its coverage has a standard deviation of √(0.16 / N): 6 percentage
points for 50 origins, 3 for 200, more if their horizons overlap. Fewer than 50 origins are refused.

Origins are up to one horizon apart, so that horizons do not overlap, and closer in a shorter history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from kronos.calibration import MIN_OUTCOMES, AdaptiveConformal
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast
from kronos.inference.sampling import is_whole
from kronos.preprocessing import Skipped, skip_unusable

LEAST_HISTORY = 64  # candles before the earliest origin, unless context or lookback are shorter

NamedSeries = Sequence[tuple[str, Candles]]


@dataclass(frozen=True, slots=True)
class EarlierOrigins:
    """Origins within the histories of several series, with known outcomes.

    Attributes:
        series: Names and histories of the series to forecast.
        earlier: Names and histories of the earlier origins; random numbers are keyed by the name.
        times: Timestamps of the horizon of each earlier origin, by its name.
        owners: Name of the series of each earlier origin; origins of a series are in order of time.
        strides: Candles between successive origins of each series.
    """

    series: NamedSeries
    earlier: NamedSeries
    times: Mapping[str, pd.DatetimeIndex]
    owners: Mapping[str, str]
    strides: Mapping[str, int]

    @classmethod
    def of(
        cls, series: NamedSeries, horizon: int, adapt: int | None, least: int, skipped: Skipped | None = None
    ) -> EarlierOrigins:
        """Select the origins of every series; none without ``adapt``.

        Args:
            series: Names and histories.
            horizon: Candles to forecast.
            adapt: Number of earlier origins of each series.
            least: Candles of history that the earliest origin needs.
            skipped: Gets the errors of series whose history is too short; None raises the first one.

        Raises:
            ParameterError: If the number of origins is too small, or not a whole number.
            DataError: If a history is too short.
        """
        if adapt is None:
            return cls(series, (), {}, {}, {})
        if not is_whole(adapt) or adapt < MIN_OUTCOMES:
            raise ParameterError(
                f"Invalid adapt {adapt!r}: choose at least {MIN_OUTCOMES} earlier origins, as a whole number; each "
                f"gives one outcome per step, and the bands of a step need {MIN_OUTCOMES}."
            )
        usable: list[tuple[str, Candles]] = []
        earlier: list[tuple[str, Candles]] = []
        times: dict[str, pd.DatetimeIndex] = {}
        owners: dict[str, str] = {}
        strides: dict[str, int] = {}
        for name, history in series:
            with skip_unusable(name, skipped):
                strides[name] = _stride(name, len(history), horizon, int(adapt), least)
                last = len(history) - horizon  # candles known at the last origin
                for count in (last - strides[name] * i for i in reversed(range(int(adapt)))):
                    own = f"{name}@{history.index[count - 1].isoformat()}"
                    earlier.append((own, history.head(count)))
                    times[own], owners[own] = history.index[count : count + horizon], name
                usable.append((name, history))
        return cls(usable, earlier, times, owners, strides)

    def adapt(self, forecasts: Mapping[str, Forecast], skipped: Skipped | None = None) -> dict[str, Forecast]:
        """Correct the forecasts of all series by those of their earlier origins, raw or calibrated alike.

        Args:
            forecasts: Forecasts by name of the series, and of the earlier origins.
            skipped: Errors of the series that cannot be forecast.

        Returns:
            The forecasts of the series.

        Raises:
            DataError: If none of the series can be forecast.
        """
        earlier: dict[str, list[Forecast]] = {name: [] for name in self.strides}
        for origin, name in self.owners.items():
            earlier[name].append(forecasts[origin])
        own = {name: forecasts[name] for name, _ in self.series if name in forecasts}
        if skipped and not own:
            raise next(iter(skipped.values()))
        return {
            name: _adapt_forecast(forecast, earlier[name], self.strides[name]) if name in earlier else forecast
            for name, forecast in own.items()
        }


def _stride(name: str, rows: int, horizon: int, adapt: int, least: int) -> int:
    """Return the candles between origins: the horizon, or as many as the history has room for."""
    room = rows - least - horizon  # candles between the earliest and the last origin
    if room < adapt - 1:
        most = room + 1
        fix = f"choose adapt up to {most}" if most >= MIN_OUTCOMES else "give a longer history or leave out adapt"
        raise DataError(
            f"{name or 'The history'} has {rows:,} candles: to adapt to {adapt} earlier origins with a horizon of "
            f"{horizon}, at least {least + adapt - 1 + horizon:,} are needed; {fix}."
        )
    return min(horizon, room // (adapt - 1))


def _adapt_forecast(forecast: Forecast, earlier: Sequence[Forecast], stride: int) -> Forecast:
    """Correct one forecast by the outcomes of earlier ones, in order of time."""
    closes = forecast.history.frame["close"]
    state = AdaptiveConformal(forecast.horizon)
    for past in earlier:
        outcome = np.log(closes.loc[past.timestamps].to_numpy(dtype=np.float64) / past.last_close)
        state = state.update(past.returns(cumulative=True), outcome)
    adapted = state.apply(forecast)
    origins = {
        "count": len(earlier),
        "stride": stride,
        "first": str(earlier[0].start),
        "last": str(earlier[-1].start),
    }
    details = {**adapted.metadata.details["adaptive"], "origins": origins}
    return replace(adapted, metadata=adapted.metadata.with_details(adaptive=details))

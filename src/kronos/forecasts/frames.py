"""Tables of forecasts: one row per step (wide), per candle of every path (long), or in the shape of Nixtla's libraries.

`Forecasts` is what `KronosPredictor.forecast_many` returns: a dictionary by name that makes one table of all series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS
from kronos.errors import DataError, ParameterError
from kronos.forecasts.statistics import BANDS, band_levels, sample_quantiles
from kronos.notebook import SummaryTable, format_column, format_times, html_summary
from kronos.typing import FloatArray

if TYPE_CHECKING:
    from kronos.forecasts.forecast import Forecast

FrameKind = Literal["wide", "long", "nixtla"]
LEVELS = (80, 95)  # percent; the bands of a table in Nixtla's shape
_ROWS = 20  # series in a notebook
_UNNAMED = "series"  # unique_id of a forecast without a name or symbol


class Forecasts(dict[str, "Forecast"]):
    """Forecasts of several series by name, in the order given.

    Attributes:
        skipped: Why series have no forecast, by name; empty unless ``forecast_many(strict=False)`` left some out.
    """

    skipped: Mapping[str, str] = MappingProxyType({})

    def to_frame(self, kind: FrameKind = "wide", level: Sequence[float] = LEVELS) -> pd.DataFrame:
        """Convert the forecasts to one table.

        Args:
            kind: As for `Forecast.to_frame`; ``wide`` and ``long`` begin with the column ``unique_id`` too, and the
                times are a column.
            level: As for `Forecast.to_frame`.

        Returns:
            The rows of all series, in their order. Times of several timezones are in UTC.

        Raises:
            DataError: If there are no forecasts, or some times have a timezone and others have none.
            ParameterError: If an argument is invalid, or the forecasts of a ``nixtla`` table are of several models.
        """
        if not self:
            raise DataError("There are no forecasts to make a table of.")
        models = {forecast.metadata.model for forecast in self.values()}
        if kind == "nixtla" and len(models) > 1:
            raise ParameterError(
                f"These are forecasts of several models ({', '.join(sorted(models))}), which are columns of their own "
                "in a 'nixtla' table: make one table per model and merge them on unique_id and ds."
            )
        zone, time = self._common_timezone(), "ds" if kind == "nixtla" else "timestamps"
        frames = []
        for name, forecast in self.items():
            frame = to_frame(forecast, kind, level)
            if kind == "wide":
                frame = frame.reset_index()
            if kind == "nixtla":
                frame["unique_id"] = name
            else:
                frame.insert(0, "unique_id", name)
            if zone is not None:
                frame[time] = frame[time].dt.tz_convert(zone)
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def _repr_html_(self) -> str:
        """Show one row per series in notebooks."""
        rows = []
        for name, forecast in list(self.items())[:_ROWS]:
            band = forecast.range(0.8).iloc[-1]
            close, median, low, high = format_column(
                [forecast.last_close, float(np.median(forecast.channel("close")[:, -1])), band["low"], band["high"]]
            )
            (end,) = format_times([forecast.timestamps[-1]])
            simulated = " (SIMULATED)" if forecast.simulated else ""
            upside = str(forecast.upside_probability())
            rows.append((f"{name}{simulated}", str(forecast.interval), close, end, median, f"{low} – {high}", upside))
        more = [f"{len(self) - _ROWS:,} more series; to_frame() has all."] if len(self) > _ROWS else []
        columns = ("series", "interval", "last close", "last step", "median close", "80 % band", "probability up")
        return html_summary(f"Forecasts of {len(self):,} series", table=SummaryTable(columns, rows), remarks=more)

    def _common_timezone(self) -> str | None:
        """The timezone of all times, UTC if there are several; None if they have none."""
        zones = {name: forecast.timestamps.tz for name, forecast in self.items()}
        naive = next((name for name, zone in zones.items() if zone is None), None)
        aware = next((name for name, zone in zones.items() if zone is not None), None)
        if naive is not None and aware is not None:
            raise DataError(
                f"The times of {aware} have a timezone, those of {naive} have none, so they do not fit into one table: "
                "read the candles with a timezone."
            )
        texts = {str(zone) for zone in zones.values() if zone is not None}
        return None if not texts else texts.pop() if len(texts) == 1 else "UTC"


def to_frame(forecast: Forecast, kind: FrameKind = "wide", level: Sequence[float] = LEVELS) -> pd.DataFrame:
    """Convert a forecast to a table; see `Forecast.to_frame`."""
    if kind == "wide":
        return _wide(forecast)
    if kind == "long":
        return _long(forecast)
    if kind == "nixtla":
        return _nixtla(forecast, check_percents(level))
    raise ParameterError(f"Invalid kind '{kind}' of table: choose 'wide', 'long' or 'nixtla'.")


def check_percents(level: Sequence[float]) -> list[float]:
    """Return levels in percent, ascending and each once.

    Raises:
        ParameterError: If one is not between 1 and 100, both excluded; 0.8 is more likely a share than a percentage.
    """
    given = [level] if isinstance(level, str | float | int) else list(level)
    for percent in given:
        if isinstance(percent, bool | str) or not 1 < percent < 100:
            raise ParameterError(f"Invalid level {percent}: choose percentages between 1 and 100, such as [80, 95].")
    return sorted({float(percent) for percent in given})


def _wide(forecast: Forecast) -> pd.DataFrame:
    levels = sorted(end for band in (*BANDS, 0.9) for end in band_levels(band))
    values = sample_quantiles(forecast.paths, levels)  # [levels, H, 6]
    mean, median = forecast.paths.mean(axis=0), np.median(forecast.paths, axis=0)
    columns: dict[str, FloatArray] = {}
    for c, name in enumerate(COLUMNS):
        columns |= {f"{name}_mean": mean[:, c], f"{name}_median": median[:, c]}
        columns |= {f"{name}_q{level_digits(q)}": values[i, :, c] for i, q in enumerate(levels)}
    return pd.DataFrame(columns, index=forecast.timestamps)


def _long(forecast: Forecast) -> pd.DataFrame:
    frame = pd.DataFrame(forecast.paths.reshape(-1, len(COLUMNS)), columns=list(COLUMNS))
    frame.insert(0, "sample_id", np.repeat(np.arange(forecast.samples), forecast.horizon))
    frame.insert(1, "timestamps", forecast.timestamps.take(np.tile(np.arange(forecast.horizon), forecast.samples)))
    return frame


def _nixtla(forecast: Forecast, level: Sequence[float]) -> pd.DataFrame:
    """Columns as StatsForecast orders them: model, lower ends from the widest band in, upper ends from there out."""
    model = forecast.metadata.model
    bands = {percent: forecast.range(percent / 100) for percent in level}
    columns = {model: np.median(forecast.channel("close"), axis=0)}
    columns |= {f"{model}-lo-{percent:g}": bands[percent]["low"].to_numpy() for percent in reversed(level)}
    columns |= {f"{model}-hi-{percent:g}": bands[percent]["high"].to_numpy() for percent in level}
    frame = pd.DataFrame(columns)
    frame.insert(0, "unique_id", forecast.metadata.details.get("series") or forecast.symbol or _UNNAMED)
    frame.insert(1, "ds", forecast.timestamps)
    return frame


def level_digits(level: float) -> str:
    """Return a level's digits after the point, at least two: 025 for 0.025, 50 for 0.5."""
    return f"{level:.12f}".split(".")[1].rstrip("0").ljust(2, "0")

"""Saving and loading forecasts: one ``.npz`` file of plain arrays and a JSON text, exact to the last bit, no pickles.

Times are stored as integers with their unit and timezone, everything else that is not an array as JSON. Files of an
unknown format number are refused.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kronos.atomic import atomic_path
from kronos.candles import COLUMNS, Candles, Finding
from kronos.errors import DataError
from kronos.forecasts.metadata import ForecastMetadata
from kronos.forecasts.statistics import BANDS, band_levels
from kronos.intervals import Interval

if TYPE_CHECKING:
    from kronos.forecasts.forecast import Forecast

FORMAT = 1
_ARRAYS = ("paths", "timestamps", "history", "history_times")


def save(forecast: Forecast, path: Path) -> Path:
    """Write a forecast atomically; see `Forecast.save`."""
    history = forecast.history
    meta = {
        "format": FORMAT,
        "made": forecast.metadata.to_dict(),
        "mended": forecast.mended,
        "timestamps": _unit_and_zone(forecast.timestamps),
        "history": _history_fields(history) | _unit_and_zone(history.index),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            meta=np.array(json.dumps(meta)),
            paths=forecast.paths,
            timestamps=forecast.timestamps.asi8,  # in the index's own unit, UTC
            history=history.frame.to_numpy(),
            history_times=history.index.asi8,
        )
    return path


def load(path: Path) -> Forecast:
    """Load a saved forecast; see `Forecast.load`."""
    from kronos.forecasts.forecast import Forecast

    meta, arrays = _read(path)
    try:
        return Forecast(
            paths=arrays["paths"],
            timestamps=_index(arrays["timestamps"], **meta["timestamps"]),
            history=_history(arrays, meta["history"]),
            metadata=ForecastMetadata.from_dict(meta["made"]),
            mended=meta["mended"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path) from error


def to_dict(forecast: Forecast) -> dict[str, Any]:
    """Return a JSON-ready summary; see `Forecast.to_dict`."""
    levels = sorted(end for band in (*BANDS, 0.9) for end in band_levels(band))
    quantiles = forecast.quantiles([*levels, 0.5])
    return {
        "symbol": forecast.symbol,
        "interval": str(forecast.interval),
        "timezone": forecast.history.timezone,
        "as_of": forecast.start.isoformat(),
        "last_close": forecast.last_close,
        "horizon": forecast.horizon,
        "samples": forecast.samples,
        "simulated": forecast.simulated,
        "mended": forecast.mended,
        "notes": list(forecast.notes),
        "made": forecast.metadata.to_dict(),
        "timestamps": [time.isoformat() for time in forecast.timestamps],
        "mean": forecast.mean().to_dict("list"),
        "median": forecast.median().to_dict("list"),
        "close_quantiles": {f"{level:g}": quantiles[level].tolist() for level in quantiles.columns},
        "upside_probability": forecast.upside_probability().to_dict(),
        "value_at_risk": forecast.value_at_risk(),
        "expected_shortfall": forecast.expected_shortfall(),
    }


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Read the JSON part and the arrays of a file."""
    if not path.is_file():
        raise DataError(f"{path} does not exist: save a forecast there first.")
    try:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"]))
            arrays = {name: file[name] for name in _ARRAYS}
    except (ValueError, KeyError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise _damaged(path) from error
    if meta.get("format") != FORMAT:
        raise DataError(f"{path.name} has forecast format {meta.get('format')}, not {FORMAT}: use a newer kronos.")
    return meta, arrays


def _damaged(path: Path) -> DataError:
    return DataError(f"{path.name} is not a saved forecast, or it is damaged: save it again.")


def _unit_and_zone(index: pd.DatetimeIndex) -> dict[str, str | None]:
    return {"unit": index.unit, "tz": None if index.tz is None else str(index.tz)}


def _index(integers: np.ndarray[Any, Any], unit: str, tz: str | None) -> pd.DatetimeIndex:
    times = pd.DatetimeIndex(integers.astype(f"datetime64[{unit}]"), name="timestamps")
    return times if tz is None else times.tz_localize("UTC").tz_convert(tz)


def _history_fields(history: Candles) -> dict[str, Any]:
    return {
        "symbol": history.symbol,
        "interval": str(history.interval),
        "timezone": history.timezone,
        "calendar": history.calendar,
        "findings": [asdict(finding) for finding in history.findings],
        "source": history.source,
        "simulated": history.simulated,
        "has_volume": history.has_volume,
        "has_amount": history.has_amount,
    }


def _history(arrays: dict[str, np.ndarray[Any, Any]], fields: dict[str, Any]) -> Candles:
    index = _index(arrays["history_times"], fields["unit"], fields["tz"])
    return Candles(
        frame=pd.DataFrame(arrays["history"], columns=list(COLUMNS), index=index),
        symbol=fields["symbol"],
        interval=Interval.parse(fields["interval"]),
        timezone=fields["timezone"],
        calendar=fields["calendar"],
        findings=tuple(Finding(**{**f, "rows": tuple(f["rows"])}) for f in fields["findings"]),
        source=fields["source"],
        simulated=fields["simulated"],
        has_volume=fields["has_volume"],
        has_amount=fields["has_amount"],
    )

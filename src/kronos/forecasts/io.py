"""Saving and loading forecasts: one ``.npz`` file of plain arrays and a JSON text, exact to the last bit, no pickles.

Times are stored as integers with their unit and timezone, everything else that is not an array as JSON. Files of an
unknown format number are refused.
"""

from __future__ import annotations

import json
import math
import stat
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from kronos.atomic import atomic_path
from kronos.candles import COLUMNS, Candles, Finding
from kronos.errors import DataError, ParameterError
from kronos.forecasts.metadata import ForecastMetadata
from kronos.forecasts.statistics import BANDS, band_levels
from kronos.formatting import megabytes, os_error_reason, truncate
from kronos.intervals import Interval

if TYPE_CHECKING:
    from kronos.forecasts.forecast import Forecast

FORMAT = 1
_SUFFIX = ".npz"
_ARRAYS = {"paths": "f", "timestamps": "i", "history": "f", "history_times": "i"}  # with the kind of their 8-byte type
# Random paths hardly compress; constant ones do, but not beyond this size.
_SMALL, _RATIO = 64 * 10**6, 100
# What reading a damaged or altered file raises.
_DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, OSError, EOFError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SavedTimes:
    """Unit and timezone of times saved as integers."""

    unit: Literal["s", "ms", "us", "ns"]
    tz: str | None


@dataclass(frozen=True, slots=True)
class SavedHistory(SavedTimes):
    """What is saved of the history besides its numbers: fields of `Candles`, and unit and timezone of its times."""

    symbol: str | None
    interval: str
    timezone: str | None
    calendar: str | None
    findings: tuple[Finding, ...]
    source: str | None
    simulated: bool
    has_volume: bool
    has_amount: bool


@dataclass(frozen=True, slots=True)
class SavedForecast:
    """The JSON part of a file."""

    format: int
    made: ForecastMetadata
    mended: float
    timestamps: SavedTimes
    history: SavedHistory


def save(forecast: Forecast, path: Path) -> Path:
    """Write a forecast atomically; see `Forecast.save`."""
    if path.suffix.lower() != _SUFFIX:
        raise ParameterError(
            f"Invalid name {path.name}: a saved forecast is a {_SUFFIX} file; for a table, use to_frame() and its "
            "to_parquet or to_csv."
        )
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

    saved, arrays = _read(path)
    try:
        history = _history(arrays, saved.history)
        times = _index(arrays["timestamps"], saved.timestamps)
        if not (times.is_monotonic_increasing and times.is_unique and times[0] > history.end):
            raise ValueError("The timestamps do not continue the history.")
        if not 0 <= saved.mended <= 1:
            raise ValueError("The share of mended candles is no share.")
        pooled = saved.made.pooled
        if pooled is not None and len(pooled[1]) != len(times):
            raise ValueError("There is not one weight per step.")
        return Forecast(arrays["paths"], times, history, saved.made, saved.mended)
    except _DAMAGE as error:
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
        "repairs": forecast.repairs,
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


def _read(path: Path) -> tuple[SavedForecast, dict[str, np.ndarray[Any, Any]]]:
    """Read the JSON part and the arrays of a file."""
    from pydantic import TypeAdapter

    try:
        with zipfile.ZipFile(_existing_file(path)) as archive:
            _check_size(archive, path)
            text = str(_read_array(archive, "meta", "U"))
            meta = json.loads(text)
            if isinstance(meta, dict) and meta.get("format") != FORMAT:
                raise DataError(
                    f"{path.name} has forecast format {truncate(meta.get('format'))}; this release reads {FORMAT}: "
                    "upgrade kronos-forecast."
                )
            saved = TypeAdapter(SavedForecast).validate_json(text, strict=True)
            arrays = {name: _read_array(archive, name, kind) for name, kind in _ARRAYS.items()}
    except DataError:
        raise
    except _DAMAGE as error:
        raise _damaged(path) from error
    return saved, arrays


def _existing_file(path: Path) -> Path:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: save a forecast there first.") from None
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = os_error_reason(error) if isinstance(error, OSError) else str(error)
        raise DataError(f"Cannot read {truncate(path, 100)}: {reason}.") from error
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is not a file: pass a forecast saved as .npz.")
    return path


def _check_size(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse a file that unpacks to far more than the random numbers of a forecast can.

    Raises:
        DataError: If it does.
    """
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > max(_SMALL, _RATIO * path.stat().st_size):
        raise DataError(
            f"{path.name} would unpack to {megabytes(unpacked)}, far more than a forecast in a file of its size: it is "
            "damaged or made to exhaust memory; save the forecast again."
        )


def _read_array(archive: zipfile.ZipFile, name: str, kind: str) -> np.ndarray[Any, Any]:
    """Read an array whose header agrees with its size, so that memory is bounded by the size in the archive.

    Raises:
        ValueError: If it does not, or the array has another type.
    """
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as member:
        np.lib.format.read_magic(member)
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(member)
        size = dtype.itemsize * math.prod(shape)
        if dtype.kind != kind or (kind != "U" and dtype.itemsize != 8) or size != info.file_size - member.tell():
            raise ValueError(f"The array {name} has a type or size that its header does not allow.")
        data = member.read()
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C").copy(order="K")


def _damaged(path: Path) -> DataError:
    return DataError(f"{path.name} is not a saved forecast, or it is damaged: save it again.")


def _unit_and_zone(index: pd.DatetimeIndex) -> dict[str, str | None]:
    return {"unit": index.unit, "tz": None if index.tz is None else str(index.tz)}


def _index(integers: np.ndarray[Any, Any], saved: SavedTimes) -> pd.DatetimeIndex:
    times = pd.DatetimeIndex(integers.astype(f"datetime64[{saved.unit}]"), name="timestamps")
    return times if saved.tz is None else times.tz_localize("UTC").tz_convert(saved.tz)


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


def _history(arrays: dict[str, np.ndarray[Any, Any]], saved: SavedHistory) -> Candles:
    index = _index(arrays["history_times"], saved)
    if not np.isfinite(arrays["history"]).all() or (index.tz is None) != (saved.timezone is None):
        raise ValueError("The history has missing values, or another timezone than its times.")
    return Candles(
        frame=pd.DataFrame(arrays["history"], columns=list(COLUMNS), index=index),
        symbol=saved.symbol,
        interval=Interval.parse(saved.interval),
        timezone=saved.timezone,
        calendar=saved.calendar,
        findings=saved.findings,
        source=saved.source,
        simulated=saved.simulated,
        has_volume=saved.has_volume,
        has_amount=saved.has_amount,
    )

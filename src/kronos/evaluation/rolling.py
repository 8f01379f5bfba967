"""Rolling-origin forecasts: every forecaster at every origin, stored in shards, so that an interrupted run can resume.

A run is a folder. ``run.json`` records the plan and the settings, and a run resumes only if they are unchanged.
``<forecaster>/<shard>.npz`` hold the sampled cumulative log returns of the close, from which scores and calibrations
are computed, and the losses of whole candles. Shards are computed by an engine, and stored by this process. They are
independent, and random numbers are keyed by origin, so neither the engine nor its number of workers changes any result.
"""

from __future__ import annotations

import json
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kronos.atomic import atomic_path, write_text
from kronos.engines import Engine, LocalEngine, uses_gpu
from kronos.errors import DataError, ParameterError, StorageError
from kronos.evaluation.candle_losses import CandleLosses
from kronos.evaluation.forecasters import Forecaster
from kronos.evaluation.origins import Plan
from kronos.forecasts import Forecast
from kronos.progress import ProgressCallback
from kronos.provenance import now_utc, versions
from kronos.typing import FloatArray

RUN = "run.json"
SHARD = 128  # origins per file: the most that an interruption costs one forecaster
MEASURED = 16  # most forecasts from which `measure_forecasts` estimates
_IDENTITY = "forecaster.json"
_SLOW = 5.0  # seconds of a forecast after which a single one is measured
_FORMAT = 1

Shard = tuple[int, range]  # position of a forecaster, and origins


@dataclass(frozen=True, slots=True)
class RollingSettings:
    """How forecasts of a run are sampled.

    Attributes:
        samples: Number of sample paths per forecast.
        seed: Random seed.
    """

    samples: int = 50
    seed: int = 1

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ParameterError(f"Invalid number of samples {self.samples}: an evaluation needs at least 2 samples.")


@dataclass(frozen=True, slots=True, eq=False)
class ForecastPaths:
    """The sample paths of one forecaster at every origin of a run.

    Attributes:
        name: Name of the forecaster.
        returns: Cumulative log returns of the close since the last known one; NaN where it made no forecast. [N, S, H]
        level_error: Log error of the model's tokenizer at the last known close; 0 for other forecasters. [N]
        draws: Number of independent draws that the paths are worth, see `kronos.metrics.crps`; None for the number of
            paths. [N, H]
        candles: Losses of whole candles; None if they were not computed.
    """

    name: str
    returns: npt.NDArray[np.float32]
    level_error: FloatArray
    draws: FloatArray | None = None
    candles: CandleLosses | None = None


def run_rolling(
    plan: Plan,
    forecasters: Sequence[Forecaster],
    folder: Path,
    settings: RollingSettings = RollingSettings(),
    *,
    engine: Engine | None = None,
    progress: ProgressCallback | None = None,
    whole_candles: bool = True,
) -> dict[str, ForecastPaths]:
    """Forecast at every origin, skipping the shards that an earlier run has stored.

    Args:
        plan: The origins.
        forecasters: The forecasters; their names differ.
        folder: Folder of the run.
        settings: Samples and seed.
        engine: Where they are computed; by default in this process.
        progress: Called with the number of finished forecasts and their total, first with those already stored.
        whole_candles: Whether to compute the losses of whole candles too; stored forecasts keep what they have.

    Returns:
        The sample paths by forecaster name.

    Raises:
        ParameterError: If the folder belongs to another run, or two forecasters share a name.
        StorageError: If the folder cannot be written.
        DeviceError: If workers are killed again and again.
    """
    names = [forecaster.name for forecaster in forecasters]
    if len({_folder_name(name).casefold() for name in names}) < len(names):  # some file systems ignore case
        raise ParameterError(f"Forecasters need different names, not {', '.join(names)}.")
    _check_run(plan, folder, settings)
    for forecaster in forecasters:
        _check_identity(forecaster, folder)
    # Origins first: slow and fast forecasters alternate, so that the remaining time can be estimated.
    shards = [(who, origins) for origins in shard_ranges(len(plan)) for who in range(len(forecasters))]
    files = {(who, origins): _shard_path(folder, names[who], origins) for who, origins in shards}
    pending = [shard for shard in shards if not files[shard].is_file()]
    total = len(plan) * len(forecasters)
    done = total - sum(len(origins) for _, origins in pending)
    if progress is not None:
        progress(done, total)
    job = _ShardJob(plan, tuple(forecasters), settings, whole_candles)
    with closing((engine or LocalEngine()).run(job, pending, gpu=uses_gpu(forecasters))) as finished:
        for position, arrays in finished:
            with atomic_path(files[pending[position]]) as temporary, temporary.open("wb") as handle:
                np.savez(handle, **arrays)
            done += len(pending[position][1])
            if progress is not None:
                progress(done, total)
    return {name: read_run(plan, folder, name) for name in names}


@dataclass(frozen=True)
class _ShardJob:
    """Computes the arrays of one shard of one forecaster; picklable, for other processes and machines."""

    plan: Plan
    forecasters: tuple[Forecaster, ...]
    settings: RollingSettings
    whole_candles: bool = True

    def __call__(self, shard: Shard) -> dict[str, Any]:
        forecasts = _forecast_shard(
            self.plan, self.forecasters[shard[0]], shard[1], self.settings, whole_candles=self.whole_candles
        )
        arrays: dict[str, Any] = {"returns": forecasts.returns, "level_error": forecasts.level_error}
        if forecasts.candles is not None:
            arrays |= forecasts.candles.to_arrays()
        return arrays


def _forecast_shard(
    plan: Plan, forecaster: Forecaster, origins: range, settings: RollingSettings, *, whole_candles: bool = True
) -> ForecastPaths:
    """Forecast at some origins; each forecast sees only its own past."""
    histories = {plan.name(origin): plan.history(origin) for origin in origins}
    times = {plan.name(origin): plan.times(origin) for origin in origins}
    forecasts = forecaster.forecast(histories, times, samples=settings.samples, seed=settings.seed)
    returns = np.full((len(origins), settings.samples, plan.rolling.horizon), np.nan, dtype=np.float32)
    errors = np.zeros(len(origins))
    for row, name in enumerate(histories):
        forecast = forecasts.get(name)
        if forecast is not None:
            returns[row] = _cumulative_returns(forecast, settings.samples)
            errors[row] = forecast.metadata.details.get("level_error") or 0.0
    candles = _candle_losses(plan, origins, [forecasts.get(name) for name in histories]) if whole_candles else None
    return ForecastPaths(forecaster.name, returns, errors, candles=candles)


def _candle_losses(plan: Plan, origins: range, forecasts: Sequence[Forecast | None]) -> CandleLosses:
    """Score the whole candles of the forecasts; undefined where there is none."""
    known = {row: forecast for row, forecast in enumerate(forecasts) if forecast is not None}
    losses = CandleLosses.empty(len(origins), plan.rolling.horizon)
    if known:
        paths = [forecast.paths for forecast in known.values()]
        closes = np.array([forecast.last_close for forecast in known.values()])
        losses.put(list(known), CandleLosses.of(paths, closes, [plan.actual(origins[row]) for row in known]))
    return losses


def _cumulative_returns(forecast: Forecast, samples: int) -> FloatArray:
    """Cumulative log returns ``[S, H]``; the path of a point forecast is repeated."""
    logs = forecast.returns(cumulative=True)
    if len(logs) == samples:
        return logs
    if len(logs) == 1:
        return np.repeat(logs, samples, axis=0)
    raise DataError(f"{forecast.metadata.name} returned {len(logs)} paths instead of {samples}.")


def stored_forecasts(plan: Plan, folder: Path, name: str) -> int:
    """Number of forecasts of one forecaster that a run has stored."""
    return sum(len(origins) for origins in shard_ranges(len(plan)) if _shard_path(folder, name, origins).is_file())


def measure_forecasts(plan: Plan, forecaster: Forecaster, settings: RollingSettings) -> float:
    """Measure the seconds per forecast at the first origins; nothing is stored.

    Args:
        plan: The origins.
        forecaster: The forecaster; of a slow one, a single forecast is measured.
        settings: Samples and seed.
    """
    first = _time_forecasts(plan, forecaster, range(1), settings)  # also sets up, so it is not counted
    origins = range(1 if first > _SLOW else min(MEASURED, len(plan)))
    return _time_forecasts(plan, forecaster, origins, settings) / len(origins)


def _time_forecasts(plan: Plan, forecaster: Forecaster, origins: range, settings: RollingSettings) -> float:
    started = time.perf_counter()
    _forecast_shard(plan, forecaster, origins, settings)
    return time.perf_counter() - started


def check_run(plan: Plan, forecasters: Sequence[Forecaster], folder: Path, settings: RollingSettings) -> None:
    """Check that a folder can hold a run, without writing to it.

    Raises:
        ParameterError: If it belongs to another run.
        DataError: If a file of the run is damaged.
    """
    _check_run(plan, folder, settings, write=False)
    for forecaster in forecasters:
        _check_identity(forecaster, folder, write=False)


def shard_ranges(count: int) -> list[range]:
    """Split the origins of a plan into the consecutive ranges that are stored together."""
    return [range(first, min(first + SHARD, count)) for first in range(0, count, SHARD)]


def read_run(plan: Plan, folder: Path, name: str) -> ForecastPaths:
    """Read the stored paths of one forecaster.

    Raises:
        DataError: If a shard is missing or damaged.
    """
    returns, errors = [], []
    candles: list[CandleLosses | None] = []
    for origins in shard_ranges(len(plan)):
        path = _shard_path(folder, name, origins)
        try:
            with np.load(path, allow_pickle=False) as file:
                returns.append(file["returns"])
                errors.append(file["level_error"])
                candles.append(CandleLosses.from_arrays(file))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{path} cannot be read: remove it and run again.") from error
        if len(returns[-1]) != len(origins):
            raise DataError(
                f"{path} has {len(returns[-1])} forecasts instead of {len(origins)}: remove it and run again."
            )
    stored = [own for own in candles if own is not None]
    whole = CandleLosses.joined(stored) if len(stored) == len(candles) else None
    return ForecastPaths(name, np.concatenate(returns), np.concatenate(errors), candles=whole)


def discard_run(folder: Path) -> None:
    """Remove the folder of a run, if it exists.

    Raises:
        ParameterError: If the folder contains anything besides a run.
        StorageError: If it cannot be removed.
    """
    if not folder.exists():
        return
    is_run = folder.is_dir() and not folder.is_symlink() and (not any(folder.iterdir()) or (folder / RUN).is_file())
    foreign = next((path for path in folder.rglob("*") if not path.is_dir() and not _is_run_file(path)), None)
    if not is_run or foreign is not None:
        reason = "" if foreign is None else f": it contains {foreign.name}"
        raise ParameterError(f"{folder} is not the folder of a run and is not removed{reason}. Choose another folder.")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise StorageError(
            f"Cannot remove {folder}: {reason}. Change its permissions or choose another folder."
        ) from error


def _is_run_file(path: Path) -> bool:
    """Whether a run writes files of this name, including temporary ones of an interrupted write."""
    return (
        path.name in (RUN, _IDENTITY) or path.suffix == ".npz" or (path.name.startswith(".") and ".tmp-" in path.name)
    )


def _check_run(plan: Plan, folder: Path, settings: RollingSettings, *, write: bool = True) -> None:
    """Write ``run.json``, or check that the existing one has the same plan and settings."""
    expected = {
        "format": _FORMAT,
        "plan": plan.digest(),
        "origins": len(plan),
        "horizon": plan.rolling.horizon,
        "samples": settings.samples,
        "seed": settings.seed,
    }
    path = folder / RUN
    if path.is_file():
        stored = _read_json(path)
        other = next((key for key, value in expected.items() if stored.get(key) != value), None)
        if other is not None:
            raise ParameterError(
                f"{folder} has forecasts of a run with another {other}: choose another folder or remove it."
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise ParameterError(f"{folder} is not empty and not the folder of a run: choose another folder.")
    if write:
        write_text(path, json.dumps({**expected, "begun": now_utc(), "versions": versions()}, indent=2) + "\n")


def _check_identity(forecaster: Forecaster, folder: Path, *, write: bool = True) -> None:
    """Write the forecaster's identity, or check that the stored shards are of the same one."""
    path = folder / _folder_name(forecaster.name) / _IDENTITY
    identity = json.loads(json.dumps(dict(forecaster.identity())))
    if not path.is_file():
        if write:
            write_text(path, json.dumps(identity, indent=2) + "\n")
    elif _comparable(_read_json(path)) != _comparable(identity):
        raise ParameterError(
            f"{path.parent} has forecasts of a different {forecaster.name} (other weights or parameters): choose "
            f"another folder or remove it."
        )


def _comparable(value: Any) -> Any:
    """An identity without the names of weights that have a hash: the same weights may be called otherwise."""
    if not isinstance(value, dict):
        return value
    return {key: _comparable(part) for key, part in value.items() if key != "ref" or not value.get("sha256")}


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: choose another folder or remove it.") from error
    return document if isinstance(document, dict) else {}


def _shard_path(folder: Path, name: str, origins: range) -> Path:
    return folder / _folder_name(name) / f"{origins.start:07d}.npz"


def _folder_name(name: str) -> str:
    return re.sub(r"[^\w.+=@-]+", "-", name).strip("-.") or "forecaster"

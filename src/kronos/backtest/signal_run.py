"""Computation of signals: forecasts at every planned day, in batches, stored in shards so that a run can resume.

``forecasts/run.json`` in the folder of the signals records the plan and the model; ``forecasts/<first>.npz`` hold the
cumulative log returns of the close of consecutive origins. A run resumes only on the same plan and weights. Random
numbers are keyed by instrument and day, so neither an interruption nor the engine changes the signals.
"""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.atomic import atomic_path, write_text
from kronos.backtest.signal_store import Signals, assemble
from kronos.backtest.signals import SignalPlan, signal_values
from kronos.candles import Candles
from kronos.engines import Engine, LocalEngine
from kronos.errors import DataError, KronosError, ParameterError, StorageError
from kronos.evaluation.forecasters import ModelForecaster
from kronos.formatting import os_error_reason, to_json
from kronos.preprocessing import resolve_future
from kronos.progress import ProgressCallback
from kronos.provenance import now_utc, versions

if TYPE_CHECKING:
    from kronos.calibration import Calibration
    from kronos.inference import KronosPredictor
    from kronos.inference.portable import PortablePredictor

FORECASTS, RUN = "forecasts", "run.json"
_BATCHES = 4  # decoding batches per shard: what an interruption costs
_FORMAT = 1


def compute_signals(
    plan: SignalPlan,
    predictor: KronosPredictor,
    folder: Path,
    *,
    engine: Engine | None = None,
    progress: ProgressCallback | None = None,
) -> Signals:
    """Forecast every day of a plan, skipping the forecasts that an earlier run has stored, and save the signals.

    Args:
        plan: The days and instruments.
        predictor: The model.
        folder: Folder of the signals; forecasts are stored in a sub-folder.
        engine: Where the forecasts are computed; by default in this process.
        progress: Called with the number of finished forecasts and their total, first with those already stored.

    Returns:
        The signals, as `Signals.load` reads them from the folder.

    Raises:
        ParameterError: If the folder has signals of another plan or model, the model's context is too short, or it
            has no calibration for these signals.
        StorageError: If the folder cannot be written.
        DeviceError: If workers are killed again and again.
    """
    total = plan.settings.lookback + plan.settings.horizon
    if total > predictor.max_context:
        raise ParameterError(
            f"A lookback of {plan.settings.lookback} and a horizon of {plan.settings.horizon} candles exceed the "
            f"context of {predictor.max_context} candles: choose a shorter lookback."
        )
    forecasts = folder / FORECASTS
    identity = _check_run(plan, predictor, forecasts)
    job = _SignalJob.of(plan, predictor)
    shards = _shards(plan)
    files = {shard: forecasts / f"{shard.start:08d}.npz" for shard in shards}
    pending = [shard for shard in shards if not files[shard].is_file()]
    done = len(plan) - sum(map(len, pending))
    if progress is not None:
        progress(done, len(plan))
    with closing((engine or LocalEngine()).run(job, pending, gpu=job.portable.gpu)) as finished:
        for position, found in finished:
            with atomic_path(files[pending[position]]) as temporary, temporary.open("wb") as handle:
                np.savez(handle, returns=found)
            done += len(pending[position])
            if progress is not None:
                progress(done, len(plan))
    returns = np.concatenate([_read_shard(path, len(shard)) for shard, path in files.items()])
    signals = _to_signals(plan, returns, identity)
    signals.save(folder)
    return signals


def check_point_in_time(
    signals: Signals, plan: SignalPlan, predictor: KronosPredictor, *, origins: int = 16, seed: int = 0
) -> None:
    """Check that signals depend on candles up to their day only.

    The last close of every row is compared with the candles, and some signals are computed again from candles that end
    at their day.

    Args:
        signals: The signals.
        plan: The plan that they were computed from.
        predictor: The model.
        origins: Number of signals to compute again, at random.
        seed: Random seed of their selection.

    Raises:
        DataError: If a signal differs: it was computed from other candles than those up to its day.
    """
    signals.check_last_closes({instrument.name: instrument.candles for instrument in plan.instruments})
    rows = np.random.default_rng(seed).permutation(len(plan))[:origins]
    chosen = replace(plan, series=plan.series[rows], known=plan.known[rows], seen=plan.seen[rows])
    again = _to_signals(chosen, _SignalJob.of(chosen, predictor)(range(len(chosen))), signals.provenance)
    both = again.table.merge(signals.table, on=["date", "instrument"], suffixes=("", "_stored"), how="left")
    for name in again.names:
        differs = ~np.isclose(both[name], both[f"{name}_stored"], rtol=1e-4, atol=1e-6)
        if differs.any():
            row = both[differs].iloc[0]
            raise DataError(
                f"The signal '{name}' of {row['instrument']} at {row['date']} is {row[f'{name}_stored']:.6g}, but "
                f"{row[name]:.6g} from the candles up to that day: it was computed from other candles."
            )


def discard_signals(folder: Path) -> None:
    """Remove the stored forecasts of a folder, if there are any; signals and trials stay.

    Raises:
        ParameterError: If the folder of the forecasts contains anything else.
        StorageError: If they cannot be removed.
    """
    forecasts = folder / FORECASTS
    if not forecasts.exists():
        return
    foreign = next((path for path in forecasts.iterdir() if path.name != RUN and path.suffix != ".npz"), None)
    if foreign is not None and ".tmp-" not in foreign.name:
        raise ParameterError(f"{forecasts} contains {foreign.name} and is not removed: choose another folder.")
    try:
        shutil.rmtree(forecasts)
    except OSError as error:
        raise StorageError(f"Cannot remove {forecasts} ({os_error_reason(error)}): check its permissions.") from error


@dataclass(frozen=True)
class _SignalJob:
    """Forecasts one shard; picklable, for other processes and machines."""

    plan: SignalPlan
    portable: PortablePredictor
    calibration: Calibration | None

    @classmethod
    def of(cls, plan: SignalPlan, predictor: KronosPredictor) -> _SignalJob:
        """Look the calibration up here, where the files of the model are.

        Raises:
            ParameterError: If the signals are calibrated, and the model has no calibration for them.
        """
        from kronos.inference.portable import PortablePredictor

        calibration = predictor.calibration_for(plan.settings.calibrated, plan.settings.sampling())
        return cls(plan, PortablePredictor.of(predictor), calibration)

    def __call__(self, origins: range) -> npt.NDArray[np.float32]:
        """Cumulative log returns [n, S, H] at some origins, NaN where a series cannot be forecast."""
        plan, settings = self.plan, self.plan.settings
        histories = {plan.name(origin): plan.history(origin) for origin in origins}
        returns = np.full((len(origins), settings.samples, settings.horizon), np.nan, dtype=np.float32)
        try:
            forecasts = self.portable.predictor.forecast_many(
                histories,
                settings.horizon,
                sampling=settings.sampling(),
                lookback=settings.lookback,
                timestamps=_next_times(histories, settings.horizon),
                calibration=False,  # applied here: elsewhere the networks do not know their files
                strict=False,
            )
        except DataError:  # none of these histories can be forecast
            return returns
        for row, (origin, name) in enumerate(zip(origins, histories, strict=True)):
            if (forecast := forecasts.get(name)) is not None:
                with suppress(DataError):  # its history cannot be calibrated
                    if self.calibration is not None:
                        forecast = self.portable.calibrate(forecast, self.calibration, market=plan.market(origin))
                    returns[row] = forecast.returns(cumulative=True)
        return returns


def _shards(plan: SignalPlan) -> list[range]:
    """The origins that are stored together: whole decoding batches, so that none is left with a few rows."""
    from kronos.inference.batching import MAX_ROWS

    size = _BATCHES * max(1, MAX_ROWS // plan.settings.samples)
    return [range(first, min(first + size, len(plan))) for first in range(0, len(plan), size)]


def _next_times(histories: Mapping[str, Candles], horizon: int) -> dict[str, pd.DatetimeIndex]:
    """The times of the candles after each history by its calendar, detected once for histories on the same days."""
    known: dict[tuple[object, ...], pd.DatetimeIndex | None] = {}
    found = {}
    for name, history in histories.items():
        key = (history.index.asi8.tobytes(), history.index.tz, history.interval, history.calendar)
        if key not in known:
            known[key] = None
            with suppress(KronosError):  # what has no next times is skipped by the predictor, with the reason
                known[key] = resolve_future(name, history, horizon, None).times
        times = known[key]
        if times is not None:
            found[name] = times
    return found


def _to_signals(plan: SignalPlan, returns: npt.NDArray[np.float32], provenance: Mapping[str, Any]) -> Signals:
    table = plan.table()
    values = signal_values(returns, table["last_close"].to_numpy(), table["spread"].to_numpy())
    return assemble(table, values, provenance)


def signal_provenance(plan: SignalPlan, predictor: KronosPredictor) -> dict[str, Any]:
    """What signals are made from: model, sampling, candles, dates, and what the model had seen."""
    forecaster = ModelForecaster(predictor, "model", sampling=plan.settings.sampling())
    identity = {key: value for key, value in forecaster.identity().items() if key != "name"}
    table = plan.table()
    return {
        "kind": "kronos signals",
        **identity,
        "calibrated": plan.settings.calibrated,
        "settings": plan.settings.to_dict(),
        "interval": str(plan.instruments[0].candles.interval),
        "instruments": len(plan.instruments),
        "forecasts": len(plan),
        "first": str(table["date"].min()),
        "last": str(table["date"].max()),
        "data_sha256": plan.data_digest(),
        "plan_sha256": plan.digest(),
        "simulated": any(instrument.candles.simulated for instrument in plan.instruments),
        "new_from": None if plan.new_from is None else dict(plan.new_from),
        "seen_days": int(plan.seen.sum()),
        "versions": versions(),
    }


def _check_run(plan: SignalPlan, predictor: KronosPredictor, folder: Path) -> dict[str, Any]:
    """Write ``run.json``, or check that the existing one has the same plan and weights; return the provenance."""
    expected = json.loads(to_json({"format": _FORMAT, **signal_provenance(plan, predictor)}))
    path = folder / RUN
    if not path.is_file():
        write_text(path, to_json({**expected, "begun": now_utc()}) + "\n")
    else:
        try:
            stored = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: choose another folder or remove it.") from error
        keys = ("format", "settings", "data_sha256", "plan_sha256", "calibrated", "precision")
        other = next((key for key in keys if stored.get(key) != expected[key]), None)
        if other is None:
            other = next(
                (key for key in ("model", "tokenizer") if _weights(stored, key) != _weights(expected, key)), None
            )
        if other is not None:
            raise ParameterError(
                f"{folder} has forecasts of another {other.replace('_sha256', '')}: choose another folder, or discard "
                f"them with --restart."
            )
    return {key: value for key, value in expected.items() if key != "format"}


def _weights(document: Mapping[str, Any], network: str) -> Any:
    """What identifies weights: their hash, or their name if they have none."""
    info = document.get(network) or {}
    return info.get("sha256") or info.get("ref")


def _read_shard(path: Path, rows: int) -> npt.NDArray[np.float32]:
    try:
        with np.load(path, allow_pickle=False) as file:
            returns: npt.NDArray[np.float32] = file["returns"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read: remove it and run again.") from error
    if len(returns) != rows:
        raise DataError(f"{path} has {len(returns)} forecasts instead of {rows}: remove it and run again.")
    return returns


__all__ = ["check_point_in_time", "compute_signals", "discard_signals", "signal_provenance"]

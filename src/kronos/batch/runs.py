"""Runs of a batch: a plan, forecast shard by shard into a folder from which an interrupted run resumes.

The output folder, on this machine or in object storage, holds:

- ``batch.json``: the hash of the plan, the settings, the model and the versions; a folder belongs to one batch.
- ``plan.parquet``: the forecasts of the plan.
- ``forecasts/``: a Parquet file for each finished shard; together they are the table of forecasts.
- ``skipped.csv``: the forecasts that could not be made, with reasons; written at the end, if there are any.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import dataset

from kronos.batch.plan import CUTOFF, SERIES, BatchPlan, BatchSettings, digest_of
from kronos.batch.shards import FOLDER, PLAN, Shard, ShardJob, ShardRecord, read_record, split_plan
from kronos.batch.storage import Storage
from kronos.calibration import Calibration
from kronos.engines import Engine, LocalEngine
from kronos.errors import DataError, ParameterError, StorageError
from kronos.formatting import escape_formulas, to_json
from kronos.inference import KronosPredictor
from kronos.inference.engine import check_horizon
from kronos.inference.metadata import model_title, weights_info
from kronos.inference.portable import PortablePredictor
from kronos.locks import LOCK, exclusive_lock
from kronos.nn import Kronos, KronosTokenizer
from kronos.progress import ProgressCallback
from kronos.provenance import now_utc, versions

BATCH, SKIPPED = "batch.json", "skipped.csv"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class SkippedForecast:
    """A forecast that could not be made.

    Attributes:
        unique_id: Name of the series.
        cutoff: Its origin.
        reason: Why, in a sentence.
    """

    unique_id: str
    cutoff: pd.Timestamp
    reason: str


@dataclass(frozen=True)
class BatchSummary:
    """The result of a run.

    Attributes:
        folder: The output folder.
        model: Name of the model.
        calibrated: Whether the forecasts are calibrated.
        series: Number of series of the plan.
        forecasts: Number of forecasts made, by this run and earlier ones.
        simulated: Number of them that are of simulated candles.
        skipped: The forecasts that could not be made.
        found: Forecasts, made or skipped, that earlier runs had finished.
        shards: Number of files with forecasts.
        engine: Name of the engine.
        seconds: Time of this run.
    """

    folder: str
    model: str
    calibrated: bool
    series: int
    forecasts: int
    simulated: int
    skipped: tuple[SkippedForecast, ...]
    found: int
    shards: int
    engine: str
    seconds: float

    def to_frame(self) -> pd.DataFrame:
        """Read the table of forecasts; see `read_forecasts`."""
        return read_forecasts(self.folder)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary, ready for JSON."""
        skipped = [{"name": one.unique_id, "cutoff": str(one.cutoff), "problem": one.reason} for one in self.skipped]
        return {
            "kind": "kronos batch",
            "folder": self.folder,
            "model": self.model,
            "state": "calibrated" if self.calibrated else "raw",
            "series": self.series,
            "forecasts": self.forecasts,
            "simulated": self.simulated,
            "found": self.found,
            "shards": self.shards,
            "engine": self.engine,
            "seconds": round(self.seconds, 3),
            "skipped": skipped,
        }


def run(
    plan: BatchPlan,
    predictor: KronosPredictor,
    output: str | Path,
    settings: BatchSettings | None = None,
    *,
    engine: Engine | None = None,
    progress: ProgressCallback | None = None,
) -> BatchSummary:
    """Make the forecasts of a plan, without those that an earlier run has stored.

    Results depend on the plan, the model and the settings only, not on the engine or the number of its workers.

    Args:
        plan: The forecasts, from `make_plan`.
        predictor: The model.
        output: The output folder, or its address in object storage; workers of other machines write there too.
        settings: How forecasts are made, and what their table holds; the defaults of `BatchSettings` if None.
        engine: Where they are computed; by default in this process.
        progress: Called with the number of finished forecasts and their total, first with those already stored.

    Raises:
        ParameterError: If the folder belongs to another batch, or a setting is out of range.
        DataError: If the candles or a stored shard cannot be used, or, with ``strict``, a series cannot be forecast.
        StorageError: If the folder cannot be written, or another process is writing it.
        DeviceError: If workers are killed again and again.
    """
    started = time.monotonic()
    settings, engine = settings or BatchSettings(), engine or LocalEngine()
    storage = Storage.open(output)
    batch = _prepare(plan, predictor, storage, settings)
    with _locked(storage):
        storage.remove_leftovers()
        _check_folder(storage, plan, batch.facts)  # another run may have begun in the meantime
        records = _read_stored(storage, batch.shards)
        if not storage.is_file(BATCH):
            facts = {**batch.facts, "model_name": batch.model, "begun": now_utc(), "versions": versions()}
            storage.write(BATCH, (to_json({**facts, "shards": len(batch.shards)}) + "\n").encode())
        plan.save(storage, PLAN, settings.shard_size)
        found = done = sum(shard.forecasts for shard in batch.shards if shard.position in records)
        if progress is not None:
            progress(done, len(plan))
        pending = [shard for shard in batch.shards if shard.position not in records]
        for shard in _compute(pending, batch, storage, engine):
            records[shard.position] = _read_finished(storage, shard)
            done += shard.forecasts
            if progress is not None:
                progress(done, len(plan))
        storage.remove_leftovers()
        skipped = _list_skipped(plan, settings.shard_size, records)
        if skipped:
            storage.write(SKIPPED, _skipped_csv(skipped))
    return BatchSummary(
        folder=storage.address,
        model=batch.model,
        calibrated=batch.calibration is not None,
        series=plan.series,
        forecasts=sum(record.forecasts for record in records.values()),
        simulated=sum(record.simulated for record in records.values()),
        skipped=tuple(skipped),
        found=found,
        shards=len(batch.shards),
        engine=engine.name,
        seconds=time.monotonic() - started,
    )


def stored_forecasts(
    plan: BatchPlan, predictor: KronosPredictor, output: str | Path, settings: BatchSettings | None = None
) -> int:
    """Count the forecasts of a plan that earlier runs have stored; nothing is written.

    Raises:
        ParameterError: If the folder belongs to another batch, or a setting is out of range.
        DataError: If the candles or a stored shard cannot be used.
    """
    storage = Storage.open(output)
    batch = _prepare(plan, predictor, storage, settings or BatchSettings())
    records = _read_stored(storage, batch.shards)
    return sum(shard.forecasts for shard in batch.shards if shard.position in records)


def read_forecasts(
    output: str | Path, *, series: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read the table of a finished batch, sorted by series, cutoff and step.

    Args:
        output: The output folder.
        series: Names of the series to read; None for all.
        columns: Columns to read; None for all.

    Raises:
        DataError: If the folder is no batch, the batch is not finished, or a file cannot be read.
    """
    storage = Storage.open(output)
    facts = _read_facts(storage)
    names = [name for name in storage.names() if name.startswith(f"{FOLDER}/")]
    if len(names) != facts.get("shards"):
        raise DataError(
            f"{output} has {len(names)} of {facts.get('shards')} files of forecasts: run the batch again to finish it."
        )
    try:
        table = dataset.dataset([storage.path(name) for name in names], filesystem=storage.filesystem).to_table(
            columns=None if columns is None else list(columns),
            filter=None if series is None else dataset.field(SERIES).isin(list(series)),
        )
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"The forecasts in {output} cannot be read: {error}.") from error
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    return frame


def discard_batch(output: str | Path) -> None:
    """Remove the files of a batch, if there are any; other files are left alone.

    Raises:
        ParameterError: If the folder has files, but no batch.
        StorageError: If a file cannot be removed.
    """
    storage = Storage.open(output)
    names = storage.names()
    if not names:
        return
    if BATCH not in names:
        raise ParameterError(f"{output} is not the folder of a batch and is not removed: choose another folder.")
    shards = [name for name in names if name.startswith(f"{FOLDER}/") and name.endswith(".parquet")]
    for name in [*shards, *(name for name in (PLAN, SKIPPED, BATCH) if name in names)]:
        storage.delete(name)


@dataclass(frozen=True)
class _Prepared:
    """A batch before its run: what identifies it, its model and its shards."""

    facts: Mapping[str, Any]
    predictor: KronosPredictor
    settings: BatchSettings
    plan: BatchPlan
    model: str
    calibration: Calibration | None
    shards: list[Shard]


def _prepare(plan: BatchPlan, predictor: KronosPredictor, storage: Storage, settings: BatchSettings) -> _Prepared:
    """Check that a folder can hold a batch, and split the plan."""
    check_horizon(settings.horizon, predictor.max_context, predictor.least_history)
    calibration = predictor.calibration_for(settings.calibration, settings.sampling)
    if settings.market is not None and calibration is None:
        raise ParameterError(
            "market selects the factors of a calibration, and these forecasts have none: leave it out."
        )
    facts = {
        "format": _FORMAT,
        "candles and origins": plan.digest(),
        "model": _identify(predictor),
        "calibration": None if calibration is None else digest_of(calibration.to_dict()),
        "settings": settings.to_dict(),
        "shard_size": settings.shard_size,
    }
    _check_folder(storage, plan, facts)
    shards = split_plan(plan, digest_of({**facts, "shard_size": None}), settings.shard_size)
    return _Prepared(facts, predictor, settings, plan, model_title(predictor.model), calibration, shards)


def _check_folder(storage: Storage, plan: BatchPlan, facts: Mapping[str, Any]) -> None:
    """Check that a folder is empty, or belongs to the same batch, and is not read as candles.

    Raises:
        ParameterError: If it is not.
    """
    if storage.is_file():
        raise ParameterError(f"{storage} is a file: choose a folder for the forecasts.")
    inside = next((folder for folder in plan.files.folders if storage.is_within(folder)), None)
    if inside is not None:
        raise ParameterError(f"{storage} is in {inside}, whose files are read as candles: choose another folder.")
    if not storage.is_file(BATCH):
        if storage.names():
            raise ParameterError(f"{storage} is not empty and not the folder of a batch: choose another folder.")
        return
    stored, expected = _read_facts(storage), json.loads(to_json(dict(facts)))
    other = next((key for key, value in expected.items() if stored.get(key) != value), None)
    if other == "settings":
        held = stored.get("settings") or {}
        other = next((key for key, value in expected["settings"].items() if held.get(key) != value), "setting")
    if other is not None:
        raise ParameterError(
            f"{storage} has forecasts of a batch with another {other.replace('_', ' ')}: choose another folder, or "
            "remove it."
        )


def _read_facts(storage: Storage) -> Mapping[str, Any]:
    if not storage.is_file(BATCH):
        raise DataError(f"{storage} is not the folder of a batch: it has no {BATCH}.")
    try:
        facts = json.loads(storage.read(BATCH))
    except ValueError as error:
        raise DataError(f"{storage}/{BATCH} cannot be read: choose another folder, or remove it.") from error
    return facts if isinstance(facts, dict) else {}


def _identify(predictor: KronosPredictor) -> dict[str, Any]:
    """What the forecasts of a model depend on, as JSON values."""
    return {
        "model": _weights_digest(predictor.model),
        "tokenizer": _weights_digest(predictor.tokenizer),
        "context": predictor.max_context,
        "clip": predictor.clip,
        "precision": predictor.precision,
    }


def _weights_digest(network: Kronos | KronosTokenizer) -> str:
    """The hash of the file of the weights; of the weights themselves if they are not those of a file."""
    stored = weights_info(network).get("sha256")
    if stored:
        return str(stored)
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.detach().cpu().double().numpy().tobytes())
    return digest.hexdigest()


def _read_stored(storage: Storage, shards: Sequence[Shard]) -> dict[int, ShardRecord]:
    """What earlier runs have finished, by position of the shard; each file is compared with its hash.

    Raises:
        ParameterError: If there are files of another batch.
        DataError: If a file is damaged or was changed.
    """
    present = {name for name in storage.names() if name.startswith(f"{FOLDER}/")}
    foreign = sorted(present - {shard.file for shard in shards})
    if foreign:
        raise ParameterError(f"{storage}/{foreign[0]} is not of this batch: choose another folder, or remove the file.")
    return {shard.position: read_record(storage, shard, verify=True) for shard in shards if shard.file in present}


def _compute(pending: Sequence[Shard], batch: _Prepared, storage: Storage, engine: Engine) -> Iterator[Shard]:
    """Run the engine on the shards that are left."""
    if not pending:
        return
    portable = PortablePredictor.of(batch.predictor)
    job = ShardJob(storage, batch.plan.files, batch.settings, portable, batch.calibration)
    with closing(engine.run(job, pending, gpu=portable.gpu)) as finished:
        for position, _ in finished:
            yield pending[position]


def _read_finished(storage: Storage, shard: Shard) -> ShardRecord:
    if not storage.is_file(shard.file):
        raise StorageError(
            f"A worker has written {shard.file}, but it is not in {storage}: choose a folder that all workers share."
        )
    return read_record(storage, shard)


def _list_skipped(plan: BatchPlan, size: int, records: Mapping[int, ShardRecord]) -> list[SkippedForecast]:
    found = []
    for position in sorted(records):
        for row, reason in records[position].skipped:
            name, cutoff = (
                plan.table[SERIES].iloc[position * size + row],
                plan.table[CUTOFF].iloc[position * size + row],
            )
            found.append(SkippedForecast(str(name), cutoff, reason))
    return found


def _skipped_csv(skipped: Sequence[SkippedForecast]) -> bytes:
    rows = [(one.unique_id, str(one.cutoff), one.reason) for one in skipped]
    table = pd.DataFrame(rows, columns=[SERIES, CUTOFF, "reason"])
    return escape_formulas(table).to_csv(index=False, lineterminator="\n").encode("utf-8", "replace")


@contextmanager
def _locked(storage: Storage) -> Iterator[None]:
    """Hold a lock on a folder of this machine; in object storage, two runs only repeat each other's work."""
    if not storage.is_local or storage.is_file():
        yield
        return
    path = Path(storage.path(LOCK))
    with exclusive_lock(path, busy=f"{storage} is being written", fix="choose another folder"):
        yield

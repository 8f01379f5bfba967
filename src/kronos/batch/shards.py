"""Shards: slices of a plan that are forecast, written and resumed as a whole.

- A shard is named by its position and by a hash of its forecasts, the candles, the model and the settings.
- It is written under a temporary name and then renamed, so that a file of its name is complete: existence means done.
- Its footer holds the hash, the series that could not be forecast with their reasons, and a hash of the table, so that
  a changed or foreign file is recognised.
- Random numbers depend on the seed, the series and the cutoff only. Forecasts are computed in blocks that begin with
  the shard, and whoever computes it gets the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute, parquet

from kronos.batch.candle_files import CandleFiles, HistoryRows
from kronos.batch.plan import CUTOFF, SERIES, BatchPlan, BatchSettings, digest_of
from kronos.batch.storage import Storage
from kronos.calibration import Calibration
from kronos.candles import COLUMNS, Candles
from kronos.errors import CalendarError, DataError, StorageError
from kronos.forecasts import Forecast
from kronos.forecasts.frames import level_digits
from kronos.forecasts.statistics import sample_quantiles
from kronos.formatting import truncate
from kronos.inference.portable import PortablePredictor
from kronos.preprocessing import Skipped, skip_unusable
from kronos.provenance import frame_digest
from kronos.typing import FloatArray

PLAN, FOLDER = "plan.parquet", "forecasts"
_BLOCK = 64  # forecasts that are computed together
_BLOCK_CANDLES = 2_000_000  # sampled candles that are computed together, unless a single forecast has more
_KEY = b"kronos"  # of a shard's facts in its footer
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Shard:
    """A slice of a plan.

    Attributes:
        position: Number of the shard.
        forecasts: Number of its forecasts.
        digest: Hash of what determines its forecasts.
    """

    position: int
    forecasts: int
    digest: str

    @property
    def file(self) -> str:
        """Path of its file in the output folder."""
        return f"{FOLDER}/{self.position:07d}-{self.digest[:16]}.parquet"


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """What a finished shard holds.

    Attributes:
        forecasts: Number of forecasts made.
        skipped: Position in the shard and reason of those that could not be made.
        simulated: Number of forecasts of simulated candles.
    """

    forecasts: int
    skipped: tuple[tuple[int, str], ...]
    simulated: int


@dataclass(frozen=True)
class ShardJob:
    """Computes and writes shards; picklable, for other processes and machines.

    Attributes:
        output: The output folder.
        files: The candles.
        settings: How forecasts are made.
        portable: The model.
        calibration: Correction of the paths; None for raw ones.
    """

    output: Storage
    files: CandleFiles
    settings: BatchSettings
    portable: PortablePredictor
    calibration: Calibration | None = None

    def __call__(self, shard: Shard) -> None:
        """Forecast a shard and write it, unless it is there already.

        Raises:
            DataError: If the candles cannot be read or, with ``strict``, a series cannot be forecast.
            StorageError: If the plan cannot be read, or the shard not written.
        """
        if self.output.is_file(shard.file):
            return
        table, skipped = self._forecast(self._rows(shard))
        rows_each = self.settings.horizon * (self.settings.sampling.samples if self.settings.kind == "long" else 1)
        facts = {
            "format": _FORMAT,
            "shard": shard.digest,
            "forecasts": shard.forecasts - len(skipped),
            "skipped": skipped,
            "simulated": (compute.sum(table["simulated"]).as_py() or 0) // rows_each,
            "sha256": _table_digest(table),
        }
        table = table.replace_schema_metadata({_KEY: json.dumps(facts)})
        with self.output.writing(shard.file) as stream:
            parquet.write_table(table, stream, compression="zstd")

    def _rows(self, shard: Shard) -> pd.DataFrame:
        """The forecasts of a shard."""
        try:
            with self.output.filesystem.open_input_file(self.output.path(PLAN)) as stream:
                rows: pd.DataFrame = parquet.ParquetFile(stream).read_row_group(shard.position).to_pandas()
        except (pa.ArrowException, OSError) as error:
            raise StorageError(
                f"Cannot read {PLAN} in {self.output}: {truncate(error, 120)}. Use a folder that all workers share."
            ) from error
        return rows

    def _forecast(self, rows: pd.DataFrame) -> tuple[pa.Table, list[tuple[int, str]]]:
        """The table of a shard, and position and reason of the forecasts that cannot be made."""
        names, cutoffs = rows[SERIES].tolist(), pd.DatetimeIndex(rows[CUTOFF])
        histories = self.files.histories(names, cutoffs, self.settings.history)
        schema = table_schema(self.settings, self.files.zone)
        tables, skipped = [schema.empty_table()], []
        candles = self.settings.sampling.samples * self.settings.horizon
        size = max(1, min(_BLOCK, _BLOCK_CANDLES // candles))
        for start in range(0, len(rows), size):
            stop = min(start + size, len(rows))
            keys = [f"{names[i]}@{cutoffs[i].isoformat()}" for i in range(start, stop)]
            forecasts, errors = self._forecast_block(keys, names[start:stop], histories[start:stop])
            histories[start:stop] = [None] * (stop - start)  # their memory is not needed any more
            for key, i in zip(keys, range(start, stop), strict=True):
                if key in forecasts:
                    tables.append(self._table(forecasts[key], names[i], cutoffs[i], schema))
                else:
                    skipped.append((i, str(errors[key])))
        return pa.concat_tables(tables).combine_chunks(), skipped

    def _forecast_block(
        self, keys: Sequence[str], names: Sequence[str], histories: Sequence[HistoryRows | None]
    ) -> tuple[dict[str, Forecast], Skipped]:
        """The forecasts of a few series, and the errors of the others, by key of their random numbers."""
        errors: Skipped = {}
        skipped = None if self.settings.strict else errors
        usable: dict[str, Candles] = {}
        for key, name, rows in zip(keys, names, histories, strict=True):
            with skip_unusable(key, skipped):
                usable[key] = self._clean(name, key, rows)
        forecasts = self._sample(usable, errors) if usable else {}
        if self.calibration is not None:
            for key, raw in list(forecasts.items()):
                with skip_unusable(key, skipped):
                    forecasts[key] = self.portable.calibrate(raw, self.calibration, market=self.settings.market)
        return {key: forecast for key, forecast in forecasts.items() if key not in errors}, errors

    def _clean(self, name: str, key: str, rows: HistoryRows | None) -> Candles:
        """The candles of a series up to an origin: nothing later is seen, so nothing depends on it."""
        if rows is None:
            raise DataError(f"{key}: there are no candles of {name} up to the cutoff.")
        try:
            candles = Candles.from_frame(
                rows.frame.reset_index(drop=True),
                symbol=name,
                interval=self.settings.interval,
                calendar=self.settings.calendar,
            )
        except DataError as error:
            raise DataError(f"{key}: {error}") from error
        return replace(candles, source=rows.source, simulated=candles.simulated or rows.simulated)

    def _sample(self, usable: dict[str, Candles], errors: Skipped) -> dict[str, Forecast]:
        """The raw forecasts of series; reasons of those that cannot be forecast go to ``errors``."""
        settings = self.settings
        try:
            made = self.portable.predictor.forecast_many(
                usable,
                settings.horizon,
                sampling=settings.sampling,
                lookback=settings.lookback,
                calibration=False,  # applied afterwards: here the networks do not know their weights' hash
                strict=self.settings.strict,
            )
        except (DataError, CalendarError) as error:
            if self.settings.strict:
                raise
            if len(usable) == 1:
                errors |= dict.fromkeys(usable, error)
                return {}
            # None of them can be forecast. One by one, each gives its own reason.
            alone = [self._sample({key: candles}, errors) for key, candles in usable.items()]
            return {key: forecast for one in alone for key, forecast in one.items()}
        errors |= {key: DataError(reason) for key, reason in made.skipped.items()}
        return made

    def _table(self, forecast: Forecast, name: str, cutoff: pd.Timestamp, schema: pa.Schema) -> pa.Table:
        """The rows of one forecast."""
        horizon, samples = forecast.horizon, forecast.samples
        times = forecast.timestamps if self.files.zone is None else forecast.timestamps.tz_convert(self.files.zone)
        repeats = samples if self.settings.kind == "long" else 1
        rows = repeats * horizon
        columns: dict[str, Any] = {
            SERIES: pa.repeat(name, rows),
            CUTOFF: pd.DatetimeIndex([cutoff]).repeat(rows),
            "ds": times.take(np.tile(np.arange(horizon), repeats)),
            "step": np.tile(np.arange(1, horizon + 1), repeats),
            "last_close": np.full(rows, forecast.last_close),
        }
        columns |= _path_columns(forecast) if self.settings.kind == "long" else self._summary(forecast)
        columns |= {
            "model": pa.repeat(self.portable.name, rows),
            "state": pa.repeat(forecast.metadata.state, rows),
            "simulated": np.full(rows, forecast.simulated),
        }
        return pa.table({key: columns[key] for key in schema.names}).cast(schema, safe=False)

    def _summary(self, forecast: Forecast) -> dict[str, FloatArray]:
        """Mean, median and quantiles of the targets, by step."""
        found: dict[str, FloatArray] = {}
        levels = self.settings.levels
        for column in self.settings.targets:
            paths = forecast.channel(column)
            quantiles = sample_quantiles(paths, levels)
            found |= {f"{column}_mean": paths.mean(axis=0), f"{column}_median": np.median(paths, axis=0)}
            found |= {f"{column}_q{level_digits(level)}": own for level, own in zip(levels, quantiles, strict=True)}
        return found


def _path_columns(forecast: Forecast) -> dict[str, Any]:
    """Every candle of every path, path by path."""
    ids = np.repeat(np.arange(forecast.samples), forecast.horizon)
    candles = forecast.paths.reshape(-1, len(COLUMNS))
    return {"sample_id": ids, **{name: candles[:, i] for i, name in enumerate(COLUMNS)}}


def table_schema(settings: BatchSettings, zone: str | None) -> pa.Schema:
    """The columns of a table of forecasts.

    Args:
        settings: Kind, targets and levels of the table.
        zone: Timezone of the times.
    """
    time, word = pa.timestamp("us", zone), pa.dictionary(pa.int32(), pa.string())
    fields = [(SERIES, pa.string()), (CUTOFF, time), ("ds", time), ("step", pa.int32()), ("last_close", pa.float64())]
    if settings.kind == "long":
        fields += [("sample_id", pa.int32()), *((name, pa.float64()) for name in COLUMNS)]
    else:
        for column in settings.targets:
            names = ["mean", "median", *(f"q{level_digits(level)}" for level in settings.levels)]
            fields += [(f"{column}_{name}", pa.float64()) for name in names]
    return pa.schema([*fields, ("model", word), ("state", word), ("simulated", pa.bool_())])


def split_plan(plan: BatchPlan, key: str, size: int) -> list[Shard]:
    """Split a plan into shards.

    Args:
        plan: The plan.
        key: Hash of candles, model and settings.
        size: Forecasts of a shard.
    """
    slices = [plan.table.iloc[start : start + size] for start in range(0, len(plan), size)]
    return [
        Shard(position, len(rows), digest_of(key, frame_digest(rows.reset_index(drop=True))))
        for position, rows in enumerate(slices)
    ]


def read_record(output: Storage, shard: Shard, *, verify: bool = False) -> ShardRecord:
    """Read what a finished shard holds.

    Args:
        output: The output folder.
        shard: The shard.
        verify: Whether to read its whole table and compare it with its hash.

    Raises:
        DataError: If the file is missing, damaged, changed, or another shard's.
    """
    name = f"{output}/{shard.file}"
    try:
        with output.filesystem.open_input_file(output.path(shard.file)) as stream:
            file = parquet.ParquetFile(stream)
            facts = json.loads((file.schema_arrow.metadata or {})[_KEY])
            skipped = tuple((int(i), str(why)) for i, why in facts["skipped"])
            record = ShardRecord(int(facts["forecasts"]), skipped, int(facts["simulated"]))
            if facts["format"] != _FORMAT or facts["shard"] != shard.digest:
                raise DataError(f"{name} is a shard of another batch: remove it and run again.")
            if record.forecasts + len(record.skipped) != shard.forecasts:
                raise DataError(f"{name} does not have its {shard.forecasts} forecasts: remove it and run again.")
            if verify and _table_digest(file.read()) != facts["sha256"]:
                raise DataError(f"{name} was changed after it had been written: remove it and run again.")
            return record
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name} cannot be read or is no shard: remove it and run again.") from error


def _table_digest(table: pa.Table) -> str:
    return frame_digest(table.to_pandas(ignore_metadata=True))

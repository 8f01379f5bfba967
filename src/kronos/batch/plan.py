"""The plan of a batch: which forecasts to make (series and origin) and how each of them is made.

An origin is named by its cutoff, the time of the last candle that a forecast may use. The forecasts of a plan are
sorted by series and cutoff, whatever the order of files and rows.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from kronos.batch.candle_files import CandleFiles, CandlePaths
from kronos.batch.storage import Storage
from kronos.candles import COLUMNS
from kronos.candles.aliases import SYMBOL_ALIASES
from kronos.candles.columns import normalize_label
from kronos.errors import DataError, ParameterError
from kronos.evaluation.origins import MIN_HISTORY
from kronos.forecasts.statistics import check_levels
from kronos.formatting import truncate
from kronos.inference import SamplingParams
from kronos.inference.predictor import CalibrationChoice
from kronos.intervals import Interval
from kronos.provenance import frame_digest

SERIES, CUTOFF = "unique_id", "cutoff"
HISTORY = 4096  # candles
SHARD = 256  # forecasts
LEVELS = (0.025, 0.05, 0.1, 0.25, 0.75, 0.9, 0.95, 0.975)  # the ends of the 50, 80, 90 and 95 % bands
_CUTOFF_NAMES = ("cutoff", "origin", "asof")

TableKind = Literal["wide", "long"]


@dataclass(frozen=True)
class BatchSettings:
    """How each forecast of a batch is made, and what its table holds.

    Attributes:
        horizon: Candles to forecast.
        sampling: Temperature, filters, number of sample paths and seed.
        lookback: Candles of history that the model sees; None for its maximum.
        history: Candles before the cutoff that are read of a series. The calendar is detected from them.
        interval: Candle interval of all series; None to infer it.
        calendar: Trading calendar of all series; None to detect it.
        market: Group of the calibration's factors for all series; None to infer it from the calendar.
        kind: ``wide`` for mean, median and quantiles by step, ``long`` for every candle of every path.
        targets: Columns of the candles that a wide table summarises.
        levels: Quantile levels of a wide table.
        calibration: Correction of the paths, as for `KronosPredictor.forecast`.
        strict: Whether a series that cannot be forecast ends the run, instead of being skipped and listed.
        shard_size: Forecasts of a file: the most that an interruption costs a worker.

    Raises:
        ParameterError: If a value is out of range.
    """

    horizon: int = 24
    sampling: SamplingParams = field(default_factory=lambda: SamplingParams(seed=1))
    lookback: int | None = None
    history: int = HISTORY
    interval: str | None = None
    calendar: str | None = None
    market: str | None = None
    kind: TableKind = "wide"
    targets: tuple[str, ...] = ("close",)
    levels: tuple[float, ...] = LEVELS
    calibration: CalibrationChoice = None
    strict: bool = False
    shard_size: int = SHARD

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ParameterError(f"Invalid horizon {self.horizon}: choose at least 1 candle.")
        if self.sampling.seed is None:
            raise ParameterError(
                "A batch needs a seed, so that it can be resumed: set seed in its sampling parameters."
            )
        if self.history < max(2, self.lookback or 0):
            least = max(2, self.lookback or 0)
            raise ParameterError(f"Invalid history {self.history}: choose at least {least} candles, the lookback.")
        if self.kind not in ("wide", "long"):
            raise ParameterError(f"Invalid kind '{self.kind}' of table: choose 'wide' or 'long'.")
        unknown = next((name for name in self.targets if name not in COLUMNS), None)
        if unknown is not None or not self.targets:
            raise ParameterError(f"Invalid target '{unknown or ''}': choose from {', '.join(COLUMNS)}.")
        if self.shard_size < 1:
            raise ParameterError(f"Invalid shard_size {self.shard_size}: choose at least 1 forecast.")
        if self.interval is not None:
            Interval.parse(self.interval)
        object.__setattr__(self, "targets", tuple(name for name in COLUMNS if name in self.targets))
        object.__setattr__(self, "levels", tuple(sorted(set(check_levels(self.levels)))))

    def to_dict(self) -> dict[str, Any]:
        """Return what the forecasts depend on, ready for JSON; the calibration is left out."""
        sampling = self.sampling
        return {
            "horizon": self.horizon,
            "samples": sampling.samples,
            "seed": sampling.seed,
            "sampling": {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p},
            "lookback": self.lookback,
            "history": self.history,
            "interval": self.interval,
            "calendar": self.calendar,
            "market": self.market,
            "kind": self.kind,
            "targets": list(self.targets),
            "levels": list(self.levels),
        }


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """The forecasts of a batch, before any is made.

    Attributes:
        files: The candles.
        table: One row per forecast: ``unique_id`` and ``cutoff``, sorted, without repetitions. [N, 2]
    """

    files: CandleFiles
    table: pd.DataFrame = field(repr=False)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def series(self) -> int:
        """Number of series."""
        return int(self.table[SERIES].nunique())

    def digest(self) -> str:
        """Hash the candles and the origins: equal digests mean the same forecasts, if the settings are equal.

        Raises:
            DataError: If a file cannot be read.
        """
        return digest_of(self.files.digest(), frame_digest(self.table))

    def save(self, storage: Storage, name: str, size: int) -> None:
        """Write the plan as a Parquet file with a row group for each shard, so that shards are read alone.

        Args:
            storage: The folder.
            name: Name of the file.
            size: Rows of a shard.

        Raises:
            StorageError: If it cannot be written.
        """
        table = pa.Table.from_pandas(self.table, preserve_index=False)
        with storage.writing(name) as stream:
            parquet.write_table(table, stream, row_group_size=size)


def make_plan(
    candles: CandlePaths,
    *,
    origins: pd.DataFrame | str | Path | None = None,
    stride: int | None = None,
    start: pd.Timestamp | str | None = None,
    end: pd.Timestamp | str | None = None,
) -> BatchPlan:
    """Plan the forecasts of a batch: by default one for each series, after its last candle.

    Args:
        candles: Parquet files and folders of them, or their addresses.
        origins: The forecasts themselves: a table, or a Parquet or CSV file, with ``unique_id`` and ``cutoff``.
        stride: Forecast after every ``stride``-th candle of each series instead, from the 65th on.
        start: First cutoff, with ``stride``; without a timezone, in that of the candles.
        end: End of the cutoffs, exclusive, likewise: candles from here on are not used.

    Raises:
        DataError: If the candles or origins cannot be used, or nothing is to be forecast.
        ParameterError: If arguments contradict each other, or a time has a timezone and the candles have none.
    """
    if origins is not None and (stride is not None or start is not None or end is not None):
        raise ParameterError("origins lists the forecasts themselves: leave out origins, or stride, start and end.")
    if start is not None and stride is None:
        raise ParameterError("start is the first cutoff of many: give the stride between them too, or leave out start.")
    if stride is not None and stride < 1:
        raise ParameterError(f"Invalid stride {stride}: choose at least 1 candle.")
    files = CandleFiles.open(candles)
    first, before = (None if time is None else files.align(_as_times(time))[0] for time in (start, end))
    if origins is not None:
        table = _read_origins(origins)
    else:
        if stride is None:
            pairs = list(files.last_times(before).items())
        else:
            pairs = list(files.every_time(stride, MIN_HISTORY, first, before))
        table = pd.DataFrame(
            {SERIES: [name for name, _ in pairs], CUTOFF: pd.DatetimeIndex([time for _, time in pairs])}
        )
    if not len(table):
        raise DataError("There is nothing to forecast: no candle lies at or before a cutoff. Choose other times.")
    return BatchPlan(files, _normalised(table, files))


def digest_of(*parts: object) -> str:
    """Hash JSON values, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _as_times(time: pd.Timestamp | str) -> pd.DatetimeIndex:
    try:
        stamp = pd.Timestamp(time)
    except (ValueError, TypeError, OverflowError) as error:
        raise ParameterError(f"Invalid time '{truncate(time)}': write it like 2024-01-31 09:30.") from error
    if pd.isna(stamp):
        raise ParameterError("The time is missing (NaT): write it like 2024-01-31 09:30.")
    return pd.DatetimeIndex([stamp])


def _normalised(table: pd.DataFrame, files: CandleFiles) -> pd.DataFrame:
    """The forecasts in the timezone of the candles, sorted, each once."""
    cutoffs = files.align(pd.DatetimeIndex(table[CUTOFF]))
    own = pd.DataFrame({SERIES: table[SERIES].astype(str).to_numpy(dtype=object), CUTOFF: cutoffs.as_unit(files.unit)})
    return own.drop_duplicates().sort_values([SERIES, CUTOFF], kind="stable", ignore_index=True)


def _read_origins(origins: pd.DataFrame | str | Path) -> pd.DataFrame:
    """The columns of series and cutoffs of a table of origins."""
    name = "The table of origins" if isinstance(origins, pd.DataFrame) else str(origins)
    frame = origins if isinstance(origins, pd.DataFrame) else _read_table(origins)
    labels = {normalize_label(label): label for label in reversed(list(frame.columns))}
    series = next((labels[alias] for alias in SYMBOL_ALIASES if alias in labels), None)
    cutoff = next((labels[alias] for alias in _CUTOFF_NAMES if alias in labels), None)
    if series is None or cutoff is None:
        raise DataError(f"{name} needs the columns {SERIES} and {CUTOFF}; it has {', '.join(map(str, frame.columns))}.")
    try:
        times = pd.DatetimeIndex(pd.to_datetime(frame[cutoff]))
    except (ValueError, TypeError) as error:
        raise DataError(f"Column {cutoff} of {name} holds a value that is no time: {truncate(error, 120)}.") from error
    missing = times.isna() | frame[series].isna().to_numpy()
    if missing.any():
        raise DataError(f"{name}, row {int(missing.argmax()) + 1}: the series or the cutoff is missing.")
    return pd.DataFrame({SERIES: frame[series].astype(str).to_numpy(dtype=object), CUTOFF: times})


def _read_table(path: str | Path) -> pd.DataFrame:
    storage = Storage.open(path)
    if not storage.is_file():
        raise DataError(f"{path} does not exist: give a Parquet or CSV file of origins.")
    try:
        with storage.filesystem.open_input_file(storage.root) as stream:
            if str(path).lower().endswith(".csv"):
                return pd.read_csv(stream, dtype=str)
            table: pd.DataFrame = parquet.read_table(stream).to_pandas(ignore_metadata=True)
            return table
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is no Parquet or CSV file of origins: {truncate(error, 120)}.") from error

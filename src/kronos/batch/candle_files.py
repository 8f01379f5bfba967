"""Candles in Parquet files, read in parts: on this machine or in object storage, whatever the number of series.

- A path is a file, or a folder of files and sub-folders; an address is opened by `kronos.batch.storage`.
- The series of a row is named by a column such as ``unique_id`` or ``symbol``, by a folder such as ``symbol=BTC``, or
  by the path of the file without its suffix. Rows may be in any order, and a series may be spread over files.
- Only the columns of candles are read, and only row groups whose statistics allow the series and times in question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute, dataset

from kronos.batch.storage import Storage
from kronos.candles.aliases import SYMBOL_ALIASES
from kronos.candles.candles import SIMULATED_PREFIX
from kronos.candles.columns import ColumnLayout, find_layout, normalize_label
from kronos.candles.readers import SIMULATED_KEY, corrupt_error
from kronos.errors import DataError, ParameterError

SUFFIX = ".parquet"
_ROWS = 65_536  # read at a time
_HASHED = 8  # files that are hashed at the same time
_CHUNK = 2**20  # bytes hashed at a time

CandlePaths = str | Path | Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class ParquetCandleFile:
    """A Parquet file of candles.

    Attributes:
        storage: The folder in which it lies.
        name: Its path in the folder.
        series: The series of all its rows; None if a column names the series of each row.
    """

    storage: Storage
    name: str
    series: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class HistoryRows:
    """The last rows of one series up to an origin, before cleaning.

    Attributes:
        frame: The rows, in order of time.
        source: Name of a file that they are from.
        simulated: Whether a file marks them as simulated.
    """

    frame: pd.DataFrame
    source: str
    simulated: bool


@dataclass(frozen=True, eq=False)
class CandleFiles:
    """The files of a set of candles, and the meaning of their columns; picklable.

    Attributes:
        files: The files, sorted by name.
        layout: The columns of the first file.
        time_type: Arrow's type of the times.
        folders: The folders that were given, all of whose files are candles.
    """

    files: tuple[ParquetCandleFile, ...]
    layout: ColumnLayout = field(repr=False)
    time_type: pa.DataType
    folders: tuple[Storage, ...]
    _by_series: Mapping[str, list[ParquetCandleFile]] = field(repr=False)

    @classmethod
    def open(cls, paths: CandlePaths) -> CandleFiles:
        """List the files, and find the columns of the first one.

        Args:
            paths: Files and folders, or their addresses.

        Raises:
            DataError: If there is no Parquet file, two have one name, or the columns are not those of candles.
            ParameterError: If an address cannot be opened.
        """
        given = [paths] if isinstance(paths, str | Path) else list(paths)
        found = sorted((file for path in given for file in _list_files(path)), key=lambda file: file.name)
        if not found:
            raise DataError(
                f"No Parquet file in {', '.join(map(str, given)) or 'no paths'}: give such files, or folders of them; "
                "kronos.candles.write_candles writes them."
            )
        schema = _open_fragment(found[0]).physical_schema
        layout = find_layout(schema.names, None, found[0].name)
        time_type = _time_type(schema, layout, found[0].name)
        files = [_with_series(file, layout) for file in found]
        by_series: dict[str, list[ParquetCandleFile]] = {}
        for file in files:
            if file.series is not None:
                by_series.setdefault(file.series, []).append(file)
        for name, own in by_series.items():
            if len(own) > 1 and own[0].name == own[1].name:
                raise DataError(
                    f"Two files are named {own[0].name}, of series {name}: give a folder with both of them."
                )
        folders = tuple(storage for storage in map(Storage.open, given) if not storage.is_file())
        return cls(tuple(files), layout, time_type, folders, by_series)

    @property
    def zone(self) -> str | None:
        """Timezone of the times; None if they have none."""
        return getattr(self.time_type, "tz", None)

    @property
    def unit(self) -> Literal["ns", "us"]:
        """Resolution of cutoffs: microseconds, unless the times are finer."""
        return "ns" if getattr(self.time_type, "unit", "us") == "ns" else "us"

    def digest(self) -> str:
        """Hash names and content of all files, as 64 hexadecimal digits; each file is read once.

        Raises:
            DataError: If a file cannot be read.
        """
        digest = hashlib.sha256()
        with ThreadPoolExecutor(_HASHED) as pool:
            for file, content in zip(self.files, pool.map(_content_digest, self.files), strict=True):
                digest.update(f"{file.name}\n{content}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def align(self, times: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Return times in the timezone of the files; those without a timezone are taken to be in it.

        Raises:
            ParameterError: If the times have a timezone, but those of the files have none; or a time does not exist,
                or exists twice, where clocks are changed.
        """
        if times.tz is None:
            try:
                return times.tz_localize(self.zone)
            except ValueError as error:
                raise ParameterError(
                    f"A time is missing or ambiguous in {self.zone}, where clocks are changed: write it with its "
                    f"offset. ({error})"
                ) from error
        if self.zone is None and len(times):
            raise ParameterError(
                f"The time {times[0]} has a timezone, but the candles of {self.files[0].name} have none: write it "
                "without one, on the clock of the candles."
            )
        return times.tz_convert(self.zone)

    def last_times(self, before: pd.Timestamp | None = None) -> dict[str, pd.Timestamp]:
        """The time of the last candle of every series.

        Args:
            before: Only candles before this time count, in the timezone of the files; None for all.

        Raises:
            DataError: If a file cannot be read.
        """
        found: dict[str, pd.Timestamp] = {}
        for name, times in self._scan_times(before):
            last = times.max()
            found[name] = max(found.get(name, last), last)
        return found

    def every_time(
        self, stride: int, least: int, start: pd.Timestamp | None = None, before: pd.Timestamp | None = None
    ) -> Iterator[tuple[str, pd.Timestamp]]:
        """The time of every ``stride``-th candle of each series; only a few numbers per series are kept in memory.

        Args:
            stride: Candles from one to the next.
            least: Number of candles up to the first one, itself included.
            start: Earliest time, in the timezone of the files; None for no limit.
            before: End of the times, exclusive, likewise; None for no limit.

        Raises:
            DataError: If a file cannot be read, or the candles of a series are not in order of time.
        """
        counts: dict[str, int] = {}
        firsts: dict[str, int] = {}
        lasts: dict[str, pd.Timestamp] = {}
        for name, times in self._scan_times(before):
            if not times.is_monotonic_increasing or (name in lasts and times[0] < lasts[name]):
                raise DataError(
                    f"The candles of {name} are not in order of time: sort the rows, and name the files in order, or "
                    "list the origins."
                )
            times = times[times != lasts[name]].unique() if name in lasts else times.unique()
            if not len(times):
                continue
            known = counts.get(name, 0) + 1 + np.arange(len(times))
            eligible = (known >= least) & (True if start is None else np.asarray(times >= start))
            if eligible.any():
                first = firsts.setdefault(name, int(known[eligible.argmax()]))
                for position in np.flatnonzero(eligible & ((known - first) % stride == 0)).tolist():
                    yield name, times[position]
            counts[name], lasts[name] = int(known[-1]), times[-1]

    def histories(self, names: Sequence[str], cutoffs: pd.DatetimeIndex, rows: int) -> list[HistoryRows | None]:
        """The last rows of series up to their cutoffs.

        Args:
            names: Series, which may repeat. [N]
            cutoffs: The last time to read of each. [N]
            rows: Largest number of rows of each.

        Returns:
            The rows of each; None where there are none.

        Raises:
            DataError: If a file cannot be read.
        """
        spans: dict[str, tuple[pd.Timestamp, pd.Timestamp]] = {}
        for name, cutoff in zip(names, cutoffs, strict=True):
            low, high = spans.get(name, (cutoff, cutoff))
            spans[name] = min(low, cutoff), max(high, cutoff)
        found = {name: _RowWindow(str(self.layout.time), span, rows) for name, span in spans.items()}
        shared = [file for file in self.files if file.series is None]
        for file in [*shared, *(file for name in spans for file in self._by_series.get(name, ()))]:
            self._read_rows(file, found, cutoffs.max())
        return [found[name].until(cutoff) for name, cutoff in zip(names, cutoffs, strict=True)]

    def _read_rows(self, file: ParquetCandleFile, windows: Mapping[str, _RowWindow], until: pd.Timestamp) -> None:
        """Add the rows of a file up to a time to the windows of their series."""
        layout, fragment = self.layout, _open_fragment(file)
        schema = fragment.physical_schema
        simulated = _is_simulated(file, schema)
        labels = [str(label) for label in layout.used_labels if label not in (layout.symbol, layout.doubtful_symbol)]
        columns = [label for label in labels if label in schema.names]
        condition = compute.field(str(layout.time)) <= self._literal(until)
        if file.series is not None:
            for frame in self._scan(file, fragment, columns, condition):
                windows[file.series].add(frame, file.name, simulated=simulated)
            return
        symbol = str(layout.symbol)
        if symbol in schema.names:
            condition &= compute.field(symbol).isin(_typed(list(windows), schema.field(symbol).type))
        for frame in self._scan(file, fragment, [symbol, *columns], condition):
            for name, own in frame.groupby(frame[symbol].astype(str), sort=False, observed=True):
                windows[str(name)].add(own.drop(columns=symbol), file.name, simulated=simulated)

    def _scan_times(self, before: pd.Timestamp | None) -> Iterator[tuple[str, pd.DatetimeIndex]]:
        """The times of each series, a batch of rows at a time."""
        time, symbol = str(self.layout.time), str(self.layout.symbol)
        unit = pd.Timedelta(1, self.unit)
        condition = None if before is None else compute.field(time) <= self._literal(before - unit)
        for file in self.files:
            columns = [time] if file.series is not None else [symbol, time]
            for frame in self._scan(file, _open_fragment(file), columns, condition):
                known = frame.dropna()
                if file.series is not None:
                    if len(known):
                        yield file.series, pd.DatetimeIndex(known[time])
                    continue
                for name, own in known.groupby(known[symbol].astype(str), sort=False, observed=True):
                    yield str(name), pd.DatetimeIndex(own[time])

    def _scan(
        self, file: ParquetCandleFile, fragment: Any, columns: list[str], condition: Any
    ) -> Iterator[pd.DataFrame]:
        """The rows of a file that fulfil a condition, a batch at a time, in the timezone of the first file."""
        time = str(self.layout.time)
        missing = next((name for name in (time, *columns) if name not in fragment.physical_schema.names), None)
        if missing is not None:
            raise DataError(f"{file.name} has no column '{missing}', unlike {self.files[0].name}: write it alike.")
        with _reading(file):
            batches = fragment.scanner(
                columns=columns,
                filter=condition,
                batch_size=_ROWS,
                batch_readahead=1,
                fragment_readahead=1,
                use_threads=False,
            ).to_batches()
            for batch in batches:
                if batch.num_rows:
                    frame = pa.Table.from_batches([batch]).to_pandas(ignore_metadata=True)
                    frame[time] = self._in_zone(pd.DatetimeIndex(frame[time]), file)
                    yield frame

    def _in_zone(self, times: pd.DatetimeIndex, file: ParquetCandleFile) -> pd.DatetimeIndex:
        if (times.tz is None) != (self.zone is None):
            raise DataError(
                f"The times have a timezone in only one of {file.name} and {self.files[0].name}: write them alike."
            )
        return times if self.zone is None else times.tz_convert(self.zone)

    def _literal(self, time: pd.Timestamp) -> pa.Scalar:
        """A time of the files' timezone as Arrow compares it with theirs, rounded down to their resolution."""
        count = time.as_unit("ns").value // (1 if self.unit == "ns" else 1000)
        return pa.scalar(count, pa.timestamp(self.unit, self.zone)).cast(self.time_type, safe=False)


class _RowWindow:
    """Rows of one series as they are read; those that no origin needs are dropped on the way."""

    def __init__(self, time: str, span: tuple[pd.Timestamp, pd.Timestamp], rows: int) -> None:
        self._time, self._span, self._rows = time, span, rows
        self._parts: list[pd.DataFrame] = []
        self._count, self._limit, self._trimmed = 0, _ROWS, False
        self._source, self._simulated = "", False

    def add(self, frame: pd.DataFrame, source: str, *, simulated: bool) -> None:
        """Add rows of a file."""
        self._source, self._simulated = source, self._simulated or simulated
        self._parts.append(frame)
        self._count, self._trimmed = self._count + len(frame), False
        if self._count > self._limit:
            self._limit = len(self._trim()) + _ROWS

    def until(self, cutoff: pd.Timestamp) -> HistoryRows | None:
        """The last rows up to a cutoff; None if there are none."""
        if not self._parts:
            return None
        frame = self._trim()
        stop = int(frame[self._time].searchsorted(cutoff, side="right"))
        if not stop:
            return None
        return HistoryRows(frame.iloc[max(0, stop - self._rows) : stop], self._source, self._simulated)

    def _trim(self) -> pd.DataFrame:
        """All rows in order of time, from the first that an origin needs to the last."""
        frame = self._parts[0] if len(self._parts) == 1 else pd.concat(self._parts, ignore_index=True)
        if self._trimmed:
            return frame
        frame = frame.dropna(subset=[self._time])
        if not frame[self._time].is_monotonic_increasing:
            frame = frame.sort_values(self._time, kind="stable")
        start, stop = (int(frame[self._time].searchsorted(time, side="right")) for time in self._span)
        frame = frame.iloc[max(0, start - self._rows) : stop]
        self._parts, self._count, self._trimmed = [frame], len(frame), True
        return frame


def _list_files(path: str | Path) -> list[ParquetCandleFile]:
    """The Parquet files of a path."""
    storage = Storage.open(path)
    if storage.is_file():
        folder, _, name = storage.root.rpartition("/")
        return [ParquetCandleFile(replace(storage, address=str(path), root=folder), name)]
    if not storage.exists():
        raise DataError(f"{path} does not exist: give Parquet files, or folders of them.")
    return [ParquetCandleFile(storage, name) for name in storage.names() if name.lower().endswith(SUFFIX)]


def _with_series(file: ParquetCandleFile, layout: ColumnLayout) -> ParquetCandleFile:
    """The file with the series that its path names, unless a column does."""
    for part in reversed(file.name.split("/")[:-1]):
        key, separator, value = part.partition("=")
        if separator and normalize_label(key) in SYMBOL_ALIASES:
            return replace(file, series=unquote(value))
    return file if layout.symbol is not None else replace(file, series=file.name[: -len(SUFFIX)])


def _time_type(schema: pa.Schema, layout: ColumnLayout, name: str) -> pa.DataType:
    """The type of the times.

    Raises:
        DataError: If there are no times, or they are not of a type for times.
    """
    if layout.time is None or layout.clock is not None:
        raise DataError(f"{name} needs one column with the times of the candles, such as ds or timestamps.")
    kind: pa.DataType = schema.field(str(layout.time)).type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise DataError(
            f"Column '{layout.time}' of {name} is of type {kind}: write timestamps, as 'kronos data fetch' does."
        )
    return kind


def _typed(names: list[str], kind: pa.DataType) -> pa.Array:
    """Names of series as values of a column's type."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.array(names, pa.string()).cast(kind)


def _is_simulated(file: ParquetCandleFile, schema: pa.Schema) -> bool:
    marked = file.name.rpartition("/")[2].lower().startswith(SIMULATED_PREFIX)
    return marked or SIMULATED_KEY in (schema.metadata or {})


def _open_fragment(file: ParquetCandleFile) -> Any:
    """The file as Arrow scans it; its footer is read here.

    Raises:
        DataError: If it cannot be read.
    """
    with _reading(file):
        fragment = dataset.ParquetFileFormat().make_fragment(file.storage.path(file.name), file.storage.filesystem)
        fragment.ensure_complete_metadata()
        return fragment


def _content_digest(file: ParquetCandleFile) -> str:
    digest = hashlib.sha256()
    with _reading(file), file.storage.filesystem.open_input_stream(file.storage.path(file.name)) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _reading(file: ParquetCandleFile) -> Iterator[None]:
    """Turn Arrow's errors about a file into a `DataError`."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise corrupt_error(file.name, "Parquet", error) from error

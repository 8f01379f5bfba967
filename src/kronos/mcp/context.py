"""What all calls share: the data folder, the source of candles, and the loaded models.

- Nothing is downloaded for an assistant: a missing model is an error with the command that downloads it.
- Assistants choose models by name; only the user can name folders and other repositories.
- Apart from listings, calls use it one at a time, so it needs no lock.
"""

from __future__ import annotations

import difflib
import math
import tempfile
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.formatting import expand_user, join_names, truncate
from kronos.intervals import Interval
from kronos.sandbox import FileLibrary, FileNotListed, FileOptions
from kronos.settings import get_settings
from kronos.zoo import DEFAULT_MODEL, CatalogEntry, closest_name, find_cached, find_entry, resolve_checkpoint

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor
    from kronos.sources import CandleSource

_MAX_LOADED = 2  # models in memory
_DEFAULT_INTERVAL = Interval(1, "h")
_MAX_CANDLES = 20_000  # of a symbol per call
_MAX_COMPARED = 2_000  # file names to compare an unknown one with
_MAX_CLOSURE = pd.Timedelta(days=10)  # longest time without trading after `as_of`


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Options of the server.

    Attributes:
        data: Folder of the files that can be read; None for ``data`` in the working folder, if it exists.
        source: Source of symbols' candles; None for ``KRONOS_SOURCE``, without which symbols are rejected.
        model: Default model; None for ``KRONOS_MODEL``, else the bundled one.
        device: Device; None for ``KRONOS_DEVICE``, else the best available.
    """

    data: Path | None = None
    source: str | None = None
    model: str | None = None
    device: str | None = None


class ServerContext:
    """The files, source and models of a server.

    Attributes:
        settings: Options and environment.
        library: Files in the data folder.
        default: Default model: a name or a folder.
    """

    def __init__(self, options: ServerOptions) -> None:
        """Check the folder, the source and the model.

        Raises:
            ParameterError: If an option is invalid, or the model is not on this machine.
            CheckpointError: If its weights are missing or damaged.
            KronosError: If the source cannot be opened.
        """
        self.settings = get_settings({"model": options.model, "device": options.device, "source": options.source})
        self.library = _library(options.data)
        self.default = self.settings.model or DEFAULT_MODEL
        entry = self._default_entry
        if entry is not None:
            _check_available(entry)
        else:
            resolve_checkpoint(self.default, kind="model", local_files_only=True)
        self._loaded: dict[str, KronosPredictor] = {}
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if self.settings.source is not None:
            _ = self.source  # an invalid source is an error at startup

    @property
    def title(self) -> str:
        """Name of the default model, without the path of its folder."""
        entry = self._default_entry
        if entry is not None:
            return entry.name
        path = expand_user(self.default)
        return path.resolve().name if path.is_dir() else self.default

    @property
    def remote(self) -> bool:
        """Whether the source uses the network."""
        from kronos.sources import is_local

        return self.settings.source is not None and not is_local(self.settings.source)

    @cached_property
    def source(self) -> CandleSource:
        """The source of symbols' candles.

        Raises:
            ParameterError: If none is configured, or there is no such source.
        """
        from kronos.sources import open_source

        spec = self.settings.source
        if spec is None:
            raise ParameterError(
                "No source of candles is configured for symbols; use a file of list_candles, or start the server with "
                "--source, such as --source okx."
            )
        # An application that starts the server may have set a working folder that is not writable.
        store = self.scratch / "candles" if self.settings.store_dir is None and self.remote else None
        return open_source(spec, store=store, settings=self.settings)

    @property
    def scratch(self) -> Path:
        """A temporary folder, which `close` removes."""
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="kronos-mcp-")
        return Path(self._scratch.name)

    def close(self) -> None:
        """Remove the temporary folder."""
        if self._scratch is not None:
            self._scratch.cleanup()

    def predictor(self, name: str | None) -> KronosPredictor:
        """Return a model, loading it if necessary.

        Args:
            name: Name of the model; None for the default.

        Raises:
            ParameterError: If there is no such model, or it is not on this machine.
            CheckpointError: If its weights are damaged.
            DeviceError: If the device is not available.
        """
        ref = self._resolve(name)
        if ref not in self._loaded:
            while len(self._loaded) >= _MAX_LOADED:
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[ref] = self._load(ref)
        return self._loaded[ref]

    @property
    def _default_entry(self) -> CatalogEntry | None:
        """The catalogue entry of the default model; None for a folder or another repository."""
        return None if expand_user(self.default).is_dir() else find_entry(self.default)

    def _resolve(self, name: str | None) -> str:
        if name is None or name.strip().lower() == self.title.lower():
            return self.default
        entry = _find_model(name)
        _check_available(entry)
        return entry.name

    def _load(self, ref: str) -> KronosPredictor:
        import torch

        from kronos.inference import KronosPredictor

        if self.settings.threads is not None:
            torch.set_num_threads(self.settings.threads)
        return KronosPredictor.from_pretrained(
            ref, device=self.settings.device, precision=self.settings.precision, local_files_only=True
        )


def _library(folder: Path | None) -> FileLibrary:
    root = expand_user(folder or "data").resolve()
    if folder is not None and not root.is_dir():
        raise ParameterError(f"There is no folder {folder}; choose another with --data.")
    return FileLibrary(root, None, listing="call list_candles for the available files")


def _find_model(name: str) -> CatalogEntry:
    entry = find_entry(name)
    if entry is None or entry.kind != "model":
        closest = closest_name(name)
        suggestion = find_entry(closest) if closest else None
        is_model = suggestion is not None and suggestion.kind == "model"
        hint = f"did you mean {closest}?" if is_model else "call list_models for the available ones."
        raise ParameterError(f"Unknown model '{name[:80]}'; {hint}")
    return entry


def _check_available(entry: CatalogEntry) -> None:
    """Check that a model and its tokenizer are on this machine.

    Raises:
        ParameterError: With the command that downloads them.
    """
    if not entry.bundled and not entry.published:
        raise ParameterError(f"The weights of {entry.name} were never published; choose another of list_models.")
    tokenizer = find_entry(entry.tokenizer) if entry.tokenizer else None
    if find_cached(entry) is None or (tokenizer is not None and find_cached(tokenizer) is None):
        raise ParameterError(
            f"{entry.name} is not on this machine; the user can run 'kronos models download {entry.name}'."
        )


@dataclass(frozen=True, slots=True)
class SeriesArgs:
    """Which candles a call uses.

    Attributes:
        file: Name in the data folder; None for a symbol.
        symbol: Symbol of the source; None for a file.
        interval: Interval of the candles; None for the file's, or an hour.
        reading: What else the caller knows about the file; candles of a symbol need nothing of it.
    """

    file: str | None
    symbol: str | None
    interval: str | None = None
    reading: FileOptions = field(default_factory=FileOptions)

    def check(self) -> None:
        """Check the arguments.

        Raises:
            ParameterError: If not exactly one of file and symbol is given, the interval is invalid, or an argument is
                for files but a symbol is given.
        """
        if (self.file is None) == (self.symbol is None):
            raise ParameterError("Give either file (call list_candles for the available files) or symbol, not both.")
        given = [name for name, value in asdict(self.reading).items() if value not in (None, ())]
        if self.symbol is not None and given:
            raise ParameterError(
                f"{join_names(given)} can be given for files only: the candles of a symbol are described by their "
                "source. Leave it out."
            )
        if self.interval is not None:
            Interval.parse(self.interval)


def read_candles(context: ServerContext, series: SeriesArgs, records: int) -> Candles:
    """Return all candles of a file, or the latest of a symbol.

    Args:
        context: Files and source.
        series: Which candles.
        records: Largest number of candles of a symbol.

    Raises:
        KronosError: If they cannot be read or fetched.
    """
    if series.file is not None:
        return _read_file(context, series)
    interval = _resolve_interval(context, series)
    return context.source.candles(str(series.symbol), interval, records=min(records, _MAX_CANDLES))


def read_as_of(
    context: ServerContext, series: SeriesArgs, as_of: str, records: int, horizon: int
) -> tuple[Candles, Candles]:
    """Return the candles up to a time, and the candles after it.

    Args:
        context: Files and source.
        series: Which candles.
        as_of: Last time of the history.
        records: Largest number of history candles of a symbol.
        horizon: Number of candles needed after the time.

    Raises:
        ParameterError: If the time is invalid, or there are no candles before or after it.
        KronosError: If the candles cannot be read or fetched.
    """
    if series.file is not None:
        return _split(_read_file(context, series), as_of)
    interval, time = _resolve_interval(context, series), _parse_utc(as_of)
    ahead = 4 * horizon * interval.delta + _MAX_CLOSURE  # nights and weekends lie between the candles of a market
    records = min(records + math.ceil(ahead / interval.delta), _MAX_CANDLES)
    return _split(context.source.candles(str(series.symbol), interval, end=time + ahead, records=records), as_of)


def _read_file(context: ServerContext, series: SeriesArgs) -> Candles:
    name = str(series.file)
    try:
        return context.library.candles(name, replace(series.reading, interval=series.interval))
    except FileNotListed:
        names = [file.path for file in context.library.files(_MAX_COMPARED)]
        closest = difflib.get_close_matches(name, names, n=1)
        if not closest:
            raise
        raise FileNotListed(f"There is no data file '{truncate(name, 80)}'; did you mean {closest[0]}?") from None


def _resolve_interval(context: ServerContext, series: SeriesArgs) -> Interval:
    """Return the given interval, else an hour, else the shortest of the source."""
    if series.interval is not None:
        return Interval.parse(series.interval).normalized()
    available = context.source.intervals(str(series.symbol))
    return _DEFAULT_INTERVAL if available is None or _DEFAULT_INTERVAL in available else available[0]


def _parse_utc(text: str) -> pd.Timestamp:
    try:
        time = pd.Timestamp(text)
    except (ValueError, TypeError, OverflowError):
        time = None
    if time is None or pd.isna(time):
        raise ParameterError(f"Invalid time '{text[:40]}': write it like 2024-01-31 09:30.")
    return time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")


def _has_timezone(text: str) -> bool:
    """Whether a time has a timezone; False if it is invalid."""
    try:
        time = pd.Timestamp(text)
    except (ValueError, TypeError, OverflowError):
        return False
    return not pd.isna(time) and time.tz is not None


def _split(candles: Candles, as_of: str) -> tuple[Candles, Candles]:
    if candles.index.tz is None and _has_timezone(as_of):
        raise ParameterError(
            f"as_of {as_of[:40]} has a timezone, but the candles of {candles.symbol} have none; write it without one, "
            "as on the candles' clock, or also give the candles' timezone."
        )
    history = candles.until(as_of)
    actual = candles.tail(len(candles) - len(history))
    span = f"{candles.symbol} has candles from {candles.start} to {candles.end}"
    if not len(history):
        raise ParameterError(f"There are no candles up to as_of {as_of[:40]}: {span}.")
    if not len(actual):
        raise ParameterError(f"There are no candles after as_of {as_of[:40]}: {span}; choose an earlier time.")
    return history, actual

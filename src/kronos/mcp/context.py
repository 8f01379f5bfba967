"""What all calls share: the data folder, the source of candles, and the models that are loaded.

- Nothing is downloaded for an assistant: a model that is not here is refused with the command that fetches it.
- Assistants choose among the models that have a name; a folder or a stranger's repository is for who starts the server.
- Everything but the names is used by one call at a time, in its thread, and therefore needs no lock.
"""

from __future__ import annotations

import difflib
import math
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from kronos.atomic import expand_user
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.formatting import truncate
from kronos.intervals import Interval
from kronos.sandbox import FileLibrary, FileNotListed, FileOptions
from kronos.settings import get_settings
from kronos.zoo import DEFAULT_MODEL, CatalogEntry, cached, find, nearest, resolve_checkpoint

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor
    from kronos.sources import CandleSource


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How to serve.

    Attributes:
        data: The folder that files are read from; nothing outside it is. None for ``data`` in the working folder, if
            there is one.
        source: Where the candles of symbols come from; None for ``KRONOS_SOURCE``, else symbols are refused.
        model: The model to use where a call names none; None for ``KRONOS_MODEL``, else the bundled one.
        device: Where it computes; None for ``KRONOS_DEVICE``, else the best there is.
    """

    data: Path | None = None
    source: str | None = None
    model: str | None = None
    device: str | None = None


_LOADED = 2  # models kept in memory


class ServerContext:
    """Everything that a call may use.

    Attributes:
        settings: Everything that options and environment say.
        library: The files of the data folder; nothing else can be named, and nothing is handed over.
        default: The model to use where a call names none: a name, or a folder.
    """

    def __init__(self, options: ServerOptions) -> None:
        """Check what can be checked before an assistant asks: the folder, the source and the model.

        Raises:
            ParameterError: If an option is wrong, or the model is not here.
            CheckpointError: If its weights are none, or damaged.
            KronosError: If the source cannot be opened.
        """
        self.settings = get_settings({"model": options.model, "device": options.device, "source": options.source})
        self.library = _library(options.data)
        self.default = self.settings.model or DEFAULT_MODEL
        known = None if expand_user(self.default).is_dir() else find(self.default)
        if known is not None:
            _check_here(known)
        else:
            resolve_checkpoint(self.default, kind="model", local_files_only=True)
        self._loaded: dict[str, KronosPredictor] = {}
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if self.settings.source is not None:
            _ = self.source  # a wrong one is told to who starts the server

    @property
    def title(self) -> str:
        """What to call the default model: a folder's name, not the way there."""
        path = expand_user(self.default)
        entry = None if path.is_dir() else find(self.default)
        if entry is not None:
            return entry.name
        return path.resolve().name if path.is_dir() else self.default

    @property
    def remote(self) -> bool:
        """Whether candles may come over the network."""
        from kronos.sources import is_local

        return self.settings.source is not None and not is_local(self.settings.source)

    @cached_property
    def source(self) -> CandleSource:
        """Where the candles of symbols come from.

        Raises:
            ParameterError: If none is configured, or there is no such source.
        """
        from kronos.sources import open_source

        spec = self.settings.source
        if spec is None:
            raise ParameterError(
                "No source of candles is configured, so a symbol means nothing here; name a file of list_candles, or "
                "start the server with --source, such as --source okx."
            )
        return open_source(spec, store=self._store(), settings=self.settings)

    @property
    def scratch(self) -> Path:
        """A folder for what calls write, which goes with this process."""
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="kronos-mcp-")
        return Path(self._scratch.name)

    def close(self) -> None:
        """Remove the folder of what calls have written."""
        if self._scratch is not None:
            self._scratch.cleanup()

    def predictor(self, name: str | None) -> KronosPredictor:
        """A model, loaded if it is not yet.

        Args:
            name: A zoo name; None for the default.

        Raises:
            ParameterError: If there is no such model, or it is not here.
            CheckpointError: If its weights are damaged.
            DeviceError: If the device is absent.
        """
        ref = self._ref(name)
        if ref not in self._loaded:
            while len(self._loaded) >= _LOADED:
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[ref] = self._load(ref)
        return self._loaded[ref]

    def _ref(self, name: str | None) -> str:
        if name is None or name.strip().lower() == self.title.lower():
            return self.default
        entry = _entry(name)
        _check_here(entry)
        return entry.name

    def _load(self, ref: str) -> KronosPredictor:
        import torch

        from kronos.inference import KronosPredictor

        if self.settings.threads is not None:
            torch.set_num_threads(self.settings.threads)
        return KronosPredictor.from_pretrained(
            ref, device=self.settings.device, precision=self.settings.precision, local_files_only=True
        )

    def _store(self) -> Path | None:
        """Where downloads lie: where the settings say, else in a folder that goes with this process.

        Who starts the server is often an application whose working folder cannot be written to.
        """
        return self.scratch / "candles" if self.settings.store_dir is None and self.remote else None


def _library(folder: Path | None) -> FileLibrary:
    """The files of a folder, whatever the working folder is later.

    Raises:
        ParameterError: If there is no such folder, and it was asked for.
    """
    root = expand_user(folder or "data").resolve()
    if folder is not None and not root.is_dir():
        raise ParameterError(f"There is no folder {folder}; give one with --data.")
    return FileLibrary(root, None, listing="list_candles tells which there are")


def _entry(name: str) -> CatalogEntry:
    """The model of that name.

    Raises:
        ParameterError: With the nearest name, if there is none.
    """
    entry = find(name)
    if entry is None or entry.kind != "model":
        near = nearest(name)
        known = find(near) if near else None
        mend = f"did you mean {near}?" if known and known.kind == "model" else "list_models tells which there are."
        raise ParameterError(f"No model is called '{name[:80]}'; {mend}")
    return entry


def _check_here(entry: CatalogEntry) -> None:
    """Refuse a model whose weights, or whose tokenizer's, would have to be downloaded.

    Raises:
        ParameterError: With the command that fetches them.
    """
    if not entry.bundled and not entry.published:
        raise ParameterError(f"The weights of {entry.name} were never published; take another of list_models.")
    partner = find(entry.tokenizer) if entry.tokenizer else None
    if cached(entry) is None or (partner is not None and cached(partner) is None):
        raise ParameterError(f"{entry.name} is not on this machine; 'kronos models download {entry.name}' fetches it.")


_USUAL = "1h"  # the interval of symbols where a call names none and the source has it
_MOST = 20_000  # candles of a symbol that one call fetches
_MOST_NAMES = 200  # of files that a wrong one is compared with
_HOLIDAYS = pd.Timedelta(days=10)  # that may lie between a time and the candles that follow it


@dataclass(frozen=True, slots=True)
class SeriesArgs:
    """Which candles a call wants.

    Attributes:
        file: A name in the data folder; None for a symbol.
        symbol: An instrument of the source; None for a file.
        interval: A candle's length; None leaves it to the file, or takes an hour.
    """

    file: str | None
    symbol: str | None
    interval: str | None

    def check(self) -> None:
        """Refuse what says nothing, or two things.

        Raises:
            ParameterError: If not exactly one of file and symbol is named, or the interval is none.
        """
        if (self.file is None) == (self.symbol is None):
            raise ParameterError("Name either a file (list_candles tells which there are) or a symbol, and not both.")
        if self.interval is not None:
            Interval.parse(self.interval)


def read(desk: ServerContext, series: SeriesArgs, records: int) -> Candles:
    """All candles of a file, or the latest of a symbol.

    Args:
        desk: Where they come from.
        series: Which.
        records: How many of a symbol, at most.

    Raises:
        KronosError: If they cannot be had.
    """
    if series.file is not None:
        return _of_file(desk, series.file, series.interval)
    interval = _interval(desk, series)
    return desk.source.candles(str(series.symbol), interval, records=min(records, _MOST))


def read_as_of(
    desk: ServerContext, series: SeriesArgs, as_of: str, records: int, horizon: int
) -> tuple[Candles, Candles]:
    """What was known at a time, and what came after.

    Args:
        desk: Where the candles come from.
        series: Which.
        as_of: The last time to be known.
        records: Candles of a symbol's history, at most.
        horizon: Candles that shall be revealed.

    Raises:
        ParameterError: If that is no time, or nothing lies before or after it.
        KronosError: If the candles cannot be had.
    """
    if series.file is not None:
        return _cut(_of_file(desk, series.file, series.interval), as_of)
    interval, time = _interval(desk, series), _time(as_of)
    ahead = 4 * horizon * interval.delta + _HOLIDAYS  # nights and weekends lie between a market's candles
    wanted = records + math.ceil(ahead / interval.delta)
    found = desk.source.candles(str(series.symbol), interval, end=time + ahead, records=min(wanted, _MOST))
    return _cut(found, as_of)


def _of_file(desk: ServerContext, name: str, interval: str | None) -> Candles:
    """A file's candles, called as the file is where nothing in it names them; the name keys the draws."""
    try:
        return desk.library.candles(name, FileOptions(interval=interval))
    except FileNotListed:
        near = difflib.get_close_matches(name, [one.path for one in desk.library.files(_MOST_NAMES)], n=1)
        if not near:
            raise
        raise FileNotListed(f"There is no data file '{truncate(name, 80)}'; did you mean {near[0]}?") from None


def _interval(desk: ServerContext, series: SeriesArgs) -> Interval:
    """The length asked for, else an hour, else the shortest there is."""
    if series.interval is not None:
        return Interval.parse(series.interval).normalized()
    served = desk.source.intervals(str(series.symbol))
    usual = Interval.parse(_USUAL)
    return usual if served is None or usual in served else served[0]


def _time(text: str) -> pd.Timestamp:
    """A time as sources are asked for it: UTC."""
    try:
        time = pd.Timestamp(text)
    except (ValueError, TypeError, OverflowError):
        time = None
    if time is None or pd.isna(time):
        raise ParameterError(f"'{text[:40]}' is no time; write it like 2024-01-31 09:30.")
    return time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")


def _cut(candles: Candles, as_of: str) -> tuple[Candles, Candles]:
    """Hide what came after a time."""
    history = candles.until(as_of)
    actual = candles.tail(len(candles) - len(history))
    span = f"{candles.symbol} has candles from {candles.start} to {candles.end}"
    if not len(history):
        raise ParameterError(f"as_of {as_of[:40]} leaves no history: {span}.")
    if not len(actual):
        raise ParameterError(f"as_of {as_of[:40]} hides nothing: {span}; take an earlier time.")
    return history, actual

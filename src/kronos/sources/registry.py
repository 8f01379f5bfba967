"""Open sources by name, as options, configurations and environment variables write them.

``okx``, ``binance`` or any exchange of ccxt; ``coingecko``; ``yahoo``, ``baostock``, ``akshare``; ``files:FOLDER``,
``qlib:FOLDER``, ``replay:FOLDER`` (``replay`` alone uses the bundled sample), ``simulated``, ``simulated:7``,
``simulated:ashare:7``. Remote sources are cached.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kronos.errors import ParameterError, SourceError
from kronos.formatting import expand_user
from kronos.progress import ProgressCallback
from kronos.settings import Settings, SourceSettings, get_settings
from kronos.sources.base import CandleSource, PageSource
from kronos.sources.cache import CandleCache
from kronos.sources.downloads import CachedSource

if TYPE_CHECKING:
    from kronos.candles import ReadOptions

STORE = Path("data") / "candles"
_EQUITY_SOURCES = ("yahoo", "baostock", "akshare")
_SAMPLES = "samples"


def open_source(
    spec: str,
    *,
    store: Path | None = None,
    settings: Settings | None = None,
    progress: ProgressCallback | None = None,
    reading: ReadOptions | None = None,
) -> CandleSource:
    """Open a source by its name.

    Args:
        spec: Name of the source, such as ``okx``, ``files:data/csv`` or ``simulated:7``.
        store: Folder for downloads; None for ``KRONOS_STORE_DIR``, else ``data/candles``.
        settings: How to reach remote sources; None reads the environment.
        progress: Called with the number of available and of requested candles during a download.
        reading: How files are written, for ``files:FOLDER``; None infers it.

    Raises:
        ParameterError: If there is no such source, the part after its name is invalid, or ``reading`` is for files.
        SourceError: If the source needs the network and ``KRONOS_OFFLINE`` is set.
    """
    kind, _, argument = spec.strip().partition(":")
    kind = kind.lower()
    settings = get_settings() if settings is None else settings
    if reading is not None:
        if kind != "files":
            raise ParameterError(f"Options of reading apply to files, not to the source {kind}: use files:FOLDER.")
        return _open_files(argument, reading)
    if kind in _LOCAL_SOURCES:
        return _LOCAL_SOURCES[kind](argument)
    if argument:
        raise ParameterError(f"Invalid source '{spec}': {kind} takes nothing after its name; write --source {kind}.")
    if settings.offline:
        raise SourceError(f"KRONOS_OFFLINE is set, and {kind} needs the network: unset it, or use a local source.")
    pages = _open_remote(kind, settings.sources.get(kind, SourceSettings()))
    return CachedSource(pages, CandleCache(store or settings.store_dir or STORE), progress=progress)


def check_source(spec: str, settings: Settings | None = None) -> None:
    """Check that there is such a source, without using the network.

    Args:
        spec: As for `open_source`.
        settings: As for `open_source`.

    Raises:
        ParameterError: If there is none, the part after its name is invalid, or a library that it needs is missing.
        DataError: If its file or folder does not exist.
    """
    settings = get_settings() if settings is None else settings
    open_source(spec, settings=settings.model_copy(update={"offline": False}))


def is_local(spec: str) -> bool:
    """Whether a source needs no network."""
    return spec.strip().partition(":")[0].lower() in _LOCAL_SOURCES


def _open_remote(kind: str, settings: SourceSettings) -> PageSource:
    if kind == "coingecko":
        from kronos.sources.coingecko import CoinGecko

        return CoinGecko(settings, wait=settings.backoff)
    if kind in _EQUITY_SOURCES:
        from kronos.sources.equities import AkShare, Baostock, Yahoo

        sources: dict[str, Callable[..., PageSource]] = {"yahoo": Yahoo, "baostock": Baostock, "akshare": AkShare}
        return sources[kind](settings, wait=settings.backoff)
    from kronos.sources.exchanges import CcxtSource

    return CcxtSource(kind, settings, wait=settings.backoff)


def _open_files(argument: str, reading: ReadOptions | None = None) -> CandleSource:
    from kronos.sources.files import FileSource

    return FileSource(_folder(argument, "files"), reading=reading)


def _open_qlib(argument: str) -> CandleSource:
    from kronos.sources.qlib import QlibFolder

    return QlibFolder(_folder(argument, "qlib"))


def _open_replay(argument: str) -> CandleSource:
    from importlib import resources

    from kronos.sources.files import FileSource
    from kronos.sources.replay import Replay

    sample = Path(str(resources.files("kronos") / _SAMPLES))
    return Replay(FileSource(expand_user(argument) if argument else sample))


def _open_simulated(argument: str) -> CandleSource:
    from kronos.sources.simulation import SimulatedSource

    seed, market = 0, "crypto"
    for part in filter(None, argument.split(":")):
        if part.isdecimal():
            seed = int(part)
        else:
            market = part.lower()
    return SimulatedSource(seed, market=market)


def _folder(argument: str, kind: str) -> Path:
    if not argument:
        raise ParameterError(f"The source {kind} needs a folder: write {kind}:FOLDER.")
    return expand_user(argument)


_LOCAL_SOURCES: dict[str, Callable[[str], CandleSource]] = {
    "files": _open_files,
    "qlib": _open_qlib,
    "replay": _open_replay,
    "simulated": _open_simulated,
}

"""Sources by name, as flags, configurations and the environment write them.

``okx``, ``binance`` or any exchange ccxt knows; ``coingecko``; ``yahoo``, ``baostock``, ``akshare``; ``files:FOLDER``,
``qlib:FOLDER``, ``replay:FOLDER`` (``replay`` alone takes the sample that ships), ``simulated``, ``simulated:7``,
``simulated:ashare:7``. What is remote keeps what it downloads in a store.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kronos.atomic import expand_user
from kronos.errors import ParameterError, SourceError
from kronos.progress import ProgressCallback
from kronos.settings import Settings, SourceSettings, get_settings
from kronos.sources.base import CandleSource, PageSource
from kronos.sources.cache import CandleCache
from kronos.sources.downloads import CachedSource

STORE = Path("data") / "candles"
LOCAL = ("files", "qlib", "replay", "simulated")
VENDORS = ("coingecko", "yahoo", "baostock", "akshare")
_SAMPLES = "samples"


def open_source(
    spec: str,
    *,
    store: Path | None = None,
    settings: Settings | None = None,
    progress: ProgressCallback | None = None,
) -> CandleSource:
    """Open a source by its name.

    Args:
        spec: Such as ``okx``, ``files:data/csv`` or ``simulated:7``.
        store: Where downloads are kept; None for ``KRONOS_STORE_DIR``, else ``data/candles``.
        settings: How to reach it; None reads the environment.
        progress: Called with the candles there are and those wanted, while a series is downloaded.

    Raises:
        ParameterError: If there is no such source, or what follows its name is wrong.
        SourceError: If it needs the network and ``KRONOS_OFFLINE`` forbids it.
    """
    kind, _, rest = spec.strip().partition(":")
    kind = kind.lower()
    settings = get_settings() if settings is None else settings
    if kind in LOCAL:
        return _LOCAL[kind](rest)
    if rest:
        raise ParameterError(f"The source {kind} takes nothing after its name; write --source {kind}.")
    check_online(kind, settings)
    folder = store or settings.store_dir or STORE
    return CachedSource(
        _remote(kind, settings.sources.get(kind, SourceSettings())), CandleCache(folder), progress=progress
    )


def is_local(spec: str) -> bool:
    """Whether a source needs no network."""
    return spec.strip().partition(":")[0].lower() in LOCAL


def check_online(kind: str, settings: Settings) -> None:
    """Refuse to use the network where that is forbidden.

    Raises:
        SourceError: If ``KRONOS_OFFLINE`` is set.
    """
    if settings.offline:
        raise SourceError(f"KRONOS_OFFLINE is set, and {kind} needs the network; unset it, or take another source.")


def _remote(kind: str, settings: SourceSettings) -> PageSource:
    if kind == "coingecko":
        from kronos.sources.coingecko import CoinGecko

        return CoinGecko(settings, wait=settings.backoff)
    if kind in VENDORS:
        from kronos.sources.equities import AkShare, Baostock, Yahoo

        vendors: dict[str, Callable[..., PageSource]] = {"yahoo": Yahoo, "baostock": Baostock, "akshare": AkShare}
        return vendors[kind](settings, wait=settings.backoff)
    from kronos.sources.exchanges import CcxtSource

    return CcxtSource(kind, settings, wait=settings.backoff)


def _files(rest: str) -> CandleSource:
    from kronos.sources.files import FileSource

    return FileSource(_path(rest, "files"))


def _qlib(rest: str) -> CandleSource:
    from kronos.sources.qlib import QlibFolder

    return QlibFolder(_path(rest, "qlib"))


def _replay(rest: str) -> CandleSource:
    from importlib import resources

    from kronos.sources.files import FileSource
    from kronos.sources.replay import Replay

    sample = Path(str(resources.files("kronos") / _SAMPLES))
    return Replay(FileSource(expand_user(rest) if rest else sample))


def _simulated(rest: str) -> CandleSource:
    from kronos.sources.simulation import SimulatedSource

    seed, market = 0, "crypto"
    for word in filter(None, rest.split(":")):
        if word.isdecimal():
            seed = int(word)
        else:
            market = word.lower()
    return SimulatedSource(seed, market=market)


def _path(rest: str, kind: str) -> Path:
    if not rest:
        raise ParameterError(f"The source {kind} needs a folder; write {kind}:FOLDER.")
    return expand_user(rest)


_LOCAL: dict[str, Callable[[str], CandleSource]] = {
    "files": _files,
    "qlib": _qlib,
    "replay": _replay,
    "simulated": _simulated,
}

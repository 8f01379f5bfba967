"""What a server is made of, put together once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

from kronos.sandbox import FileLibrary, ReadLimits
from kronos.serve.auth import AccessPolicy, TokenBucket
from kronos.serve.batcher import InferenceQueue
from kronos.serve.executors import DaemonPool
from kronos.serve.jobs import Jobs
from kronos.serve.market_data import MarketData, read_assets
from kronos.serve.middleware import EdgePolicy
from kronos.serve.model_pool import ModelPool
from kronos.serve.observability import Metrics
from kronos.serve.predictions import PredictionService
from kronos.serve.result_store import ResultStore
from kronos.sources import open_source

if TYPE_CHECKING:
    from kronos.settings import ServeSettings, Settings
    from kronos.sources import CandleSource
    from kronos.sources.coingecko import CoinGecko

SOURCE = "binance"  # where nobody names one
_REQUESTS = 600  # a minute, where keys are needed


@dataclass(eq=False)
class AppState:
    """One server.

    Attributes:
        settings: Everything that is configured.
        models: Those in memory.
        engine: Forecasts.
        feed: Candles of the assets.
        predictions: The prediction API's answers.
        library: Data files and uploads.
        results: Saved ones.
        jobs: Running and lately ended.
        rules: What the gate holds requests to.
        pool: Threads for lists, results and exports.
        readers: Threads for reading files, of which most wait while two read.
        loader: The thread that loads models.
        closing: Set once the server is told to stop.
        streams: Event streams that are open.
        settle: Whether what is loaded by the time the model is there stays for good, in a process of its own.
    """

    settings: Settings
    models: ModelPool
    engine: InferenceQueue
    feed: MarketData
    predictions: PredictionService
    library: FileLibrary
    results: ResultStore
    jobs: Jobs
    rules: EdgePolicy
    pool: DaemonPool = field(default_factory=lambda: DaemonPool(4, "files"))
    readers: DaemonPool = field(default_factory=lambda: DaemonPool(8, "readers"))
    loader: DaemonPool = field(default_factory=lambda: DaemonPool(1, "loader"))
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    streams: int = 0
    settle: bool = False

    @property
    def serve(self) -> ServeSettings:
        """How it serves."""
        return self.settings.serve

    def close(self) -> None:
        """Begin to stop: streams end, what waits is turned away. Call it in the event loop, or from a signal."""
        self.closing.set()
        self.engine.stop()


def build_state(settings: Settings, *, source: CandleSource | None = None, settle: bool = False) -> AppState:
    """Put a server together; no model is loaded and no source asked yet.

    Args:
        settings: Everything that is configured.
        source: Where candles come from; by default the configured one.
        settle: Whether the process is the server's own: what it has loaded is then no longer looked at for garbage.

    Raises:
        ParameterError: If a setting is wrong.
        SourceError: If the source needs the network and that is forbidden.
    """
    serve = settings.serve
    spec = settings.source or SOURCE
    patient = _cap_timeouts(settings)
    store = settings.store_dir or serve.state_dir / "candles"  # not into the folder that clients read
    opened = open_source(spec, store=store, settings=patient) if source is None else source
    assets = read_assets(serve.words(serve.assets), serve.quote, spec if source is None else source.name)
    feed = MarketData(
        opened, assets, interval=serve.interval, timeout=serve.timeout, coingecko=_gecko(spec, patient, source)
    )
    models = ModelPool(settings)
    engine = InferenceQueue(models, queue=serve.queue, batch=serve.batch, threads=settings.threads)
    limits = ReadLimits(
        bytes=serve.upload_mb * 1_000_000,
        rows=serve.upload_rows,
        memory_mb=serve.parse_memory_mb,
        seconds=serve.parse_seconds,
    )
    state = AppState(
        settings=settings,
        models=models,
        engine=engine,
        feed=feed,
        predictions=PredictionService(feed, engine, models, serve),
        library=FileLibrary(serve.data_dir, serve.state_dir / "uploads", limits),
        results=ResultStore(serve.state_dir / "prediction_results"),
        jobs=Jobs(),
        rules=_rules(serve),
        settle=settle,
    )
    _watch(state)
    return state


def _rules(serve: ServeSettings) -> EdgePolicy:
    callers = AccessPolicy(
        host=serve.host,
        allowed_hosts=serve.words(serve.allowed_hosts),
        origins=serve.words(serve.origins),
        keys=serve.keys,
    )
    per_minute = serve.requests_per_minute
    if per_minute is None:
        per_minute = _REQUESTS if callers.keyed else 0
    return EdgePolicy(
        callers,
        TokenBucket(per_minute, "requests of this minute"),
        TokenBucket(serve.work_per_minute, "computing time of this minute"),
        Metrics(),
        serve.upload_mb * 1_000_000,
    )


def is_local(host: str) -> bool:
    """Whether an address is this machine's alone."""
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _cap_timeouts(settings: Settings) -> Settings:
    """The settings with no source more patient than the requests that wait for it."""
    from kronos.settings import SourceSettings

    kind = (settings.source or SOURCE).partition(":")[0].lower()
    one = settings.sources.get(kind, SourceSettings())
    capped = one.model_copy(update={"patience": min(one.patience, settings.serve.timeout)})
    return settings.model_copy(update={"sources": {**settings.sources, kind: capped}})


def _gecko(spec: str, settings: Settings, source: CandleSource | None) -> CoinGecko | None:
    """CoinGecko's own prices, where candles come from there too."""
    if source is not None or spec.strip().lower() != "coingecko":
        return None
    from kronos.sources.coingecko import CoinGecko

    return CoinGecko(settings.sources["coingecko"])


def _watch(state: AppState) -> None:
    """Let Prometheus see what the parts count themselves."""
    numbers, engine = state.rules.numbers, state.engine
    numbers.watch("kronos_queue_waiting", "Forecasts that wait.", lambda: engine.waiting)
    numbers.watch("kronos_forecasts", "Forecasts computed since the start.", lambda: engine.computed, grows=True)
    numbers.watch("kronos_batches", "Batches computed since the start.", lambda: engine.batches, grows=True)
    numbers.watch(
        "kronos_fallbacks", "Predictions by the statistical fallback.", lambda: state.predictions.fallbacks, grows=True
    )
    numbers.watch("kronos_streams", "Event streams that are open.", lambda: state.streams)
    numbers.watch(
        "kronos_model_loaded", "Whether the default model is in memory.",
        lambda: state.models.loaded(state.models.default) is not None,
    )  # fmt: skip

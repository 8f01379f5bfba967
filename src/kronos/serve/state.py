"""The parts of a server, built once from the settings."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

from kronos.sandbox import FileLibrary, ReadLimits
from kronos.serve.batcher import InferenceQueue
from kronos.serve.jobs import DaemonPool, Jobs
from kronos.serve.market_data import MarketData, parse_assets
from kronos.serve.middleware.auth import APIKeys
from kronos.serve.middleware.body import BodyLimits
from kronos.serve.middleware.rate_limit import TokenBucket
from kronos.serve.model_pool import ModelPool
from kronos.serve.observability import Metrics
from kronos.serve.predictions import PredictionService
from kronos.serve.result_store import ResultStore
from kronos.sources import open_source

if TYPE_CHECKING:
    from kronos.settings import ServeSettings, Settings
    from kronos.sources import CandleSource
    from kronos.sources.coingecko import CoinGecko

DEFAULT_SOURCE = "binance"
_REQUESTS_PER_MINUTE = 600  # default with API keys


@dataclass(eq=False)
class AppState:
    """The parts of one server.

    Attributes:
        settings: All settings.
        models: Models in memory.
        inference: Forecast queue.
        market_data: Candles of the assets.
        predictions: Responses of the prediction API.
        library: Data files and uploads.
        results: Saved results.
        jobs: Background jobs.
        api_keys: Accepted API keys.
        request_limit: Requests per client.
        work_limit: Path-steps per client.
        body_limits: Limits on request bodies.
        metrics: Prometheus metrics.
        file_pool: Threads for lists, results and exports.
        read_pool: Threads that read files; the library reads two at a time, the others wait.
        loader: Thread that loads models.
        stopping: Set when the shutdown begins.
        streams: Open event streams by client.
        freeze_gc: Whether to exempt what is loaded at startup from garbage collection; for a process of its own.
    """

    settings: Settings
    models: ModelPool
    inference: InferenceQueue
    market_data: MarketData
    predictions: PredictionService
    library: FileLibrary
    results: ResultStore
    jobs: Jobs
    api_keys: APIKeys
    request_limit: TokenBucket
    work_limit: TokenBucket
    body_limits: BodyLimits
    metrics: Metrics
    file_pool: DaemonPool = field(default_factory=lambda: DaemonPool(4, "files"))
    read_pool: DaemonPool = field(default_factory=lambda: DaemonPool(8, "readers"))
    loader: DaemonPool = field(default_factory=lambda: DaemonPool(1, "loader"))
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    streams: Counter[str] = field(default_factory=Counter)
    freeze_gc: bool = False

    @property
    def serve(self) -> ServeSettings:
        """The settings of the server."""
        return self.settings.serve

    def prepare_storage(self) -> None:
        """Create the state folder, and remove copies of files that killed servers left.

        Raises:
            StorageError: If the folder cannot be written to.
        """
        self.results.prepare()
        self.library.clear_leftovers()

    def begin_shutdown(self) -> None:
        """End streams and reject waiting forecasts; call it in the event loop."""
        self.stopping.set()
        self.inference.stop()


def build_state(settings: Settings, *, source: CandleSource | None = None, freeze_gc: bool = False) -> AppState:
    """Build a server's state; no model is loaded and nothing is fetched yet.

    Args:
        settings: All settings.
        source: Source of candles; None for the configured one.
        freeze_gc: See `AppState`.

    Raises:
        ParameterError: If a setting is invalid.
        SourceError: If the source needs the network and the settings forbid it.
    """
    serve = settings.serve
    spec = settings.source or DEFAULT_SOURCE
    coingecko = None
    if source is None:
        source_settings = _cap_timeouts(settings)
        store = settings.store_dir or serve.state_dir / "candles"  # outside the folder that clients can read
        source = open_source(spec, store=store, settings=source_settings)
        coingecko = _coingecko(spec, source_settings)
    else:
        spec = source.name
    assets = parse_assets(serve.split_list(serve.assets), serve.quote, spec)
    market_data = MarketData(source, assets, interval=serve.interval, timeout=serve.timeout, coingecko=coingecko)
    models = ModelPool(settings)
    inference = InferenceQueue(models, queue=serve.queue, batch=serve.batch, threads=settings.threads)
    limits = ReadLimits(
        bytes=serve.upload_mb * 1_000_000,
        rows=serve.upload_rows,
        memory_mb=serve.parse_memory_mb,
        seconds=serve.parse_seconds,
    )
    api_keys = APIKeys(serve.keys)
    requests = serve.requests_per_minute
    if requests is None:
        requests = _REQUESTS_PER_MINUTE if api_keys.required else 0
    state = AppState(
        settings=settings,
        models=models,
        inference=inference,
        market_data=market_data,
        predictions=PredictionService(market_data, inference, models, serve),
        library=FileLibrary(serve.data_dir, serve.state_dir / "uploads", limits, ahead=serve.warm_reader),
        results=ResultStore(serve.state_dir / "prediction_results", serve.results_mb * 1_000_000),
        jobs=Jobs(),
        api_keys=api_keys,
        request_limit=TokenBucket(requests, "requests"),
        work_limit=TokenBucket(serve.work_per_minute, "path-steps (samples × steps)"),
        body_limits=BodyLimits(serve.upload_mb * 1_000_000),
        metrics=Metrics(),
        freeze_gc=freeze_gc,
    )
    _register_metrics(state)
    return state


def is_local(host: str) -> bool:
    """Return whether an address can only be reached from this machine."""
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _cap_timeouts(settings: Settings) -> Settings:
    """Limit the source's patience to the request timeout."""
    from kronos.settings import SourceSettings

    kind = (settings.source or DEFAULT_SOURCE).partition(":")[0].lower()
    source = settings.sources.get(kind, SourceSettings())
    capped = source.model_copy(update={"patience": min(source.patience, settings.serve.timeout)})
    return settings.model_copy(update={"sources": {**settings.sources, kind: capped}})


def _coingecko(spec: str, settings: Settings) -> CoinGecko | None:
    """Create a client for current prices if CoinGecko is the source."""
    if spec.strip().lower() != "coingecko":
        return None
    from kronos.sources.coingecko import CoinGecko

    return CoinGecko(settings.sources["coingecko"])


def _register_metrics(state: AppState) -> None:
    metrics, inference, models = state.metrics, state.inference, state.models
    metrics.watch("kronos_queue_waiting", "Forecasts in the queue.", lambda: inference.waiting)
    metrics.watch("kronos_forecasts", "Forecasts computed.", lambda: inference.computed, counter=True)
    metrics.watch("kronos_batches", "Batches computed.", lambda: inference.batches, counter=True)
    metrics.watch(
        "kronos_fallbacks",
        "Predictions of the statistical fallback.",
        lambda: state.predictions.fallbacks,
        counter=True,
    )
    metrics.watch("kronos_streams", "Open event streams.", lambda: state.streams.total())
    metrics.watch(
        "kronos_model_loaded", "1 if the default model is in memory.", lambda: models.loaded(models.default) is not None
    )

"""The models in memory, and which models clients may name."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kronos.errors import ParameterError
from kronos.formatting import expand_user
from kronos.settings import Settings
from kronos.zoo import DEFAULT_MODEL, CatalogEntry, checkpoint_name, find_cached, find_entry, list_checkpoints

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor

_MAX_LOADED = 2
_RETRY_SECONDS = 30.0  # a failed load is not repeated earlier

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelKey:
    """A model on a device; ``device`` None is the configured one."""

    ref: str
    device: str | None = None


class ModelPool:
    """An LRU cache of loaded predictors; thread-safe.

    Attributes:
        default: Configured model, used by predictions.
        selected: Model of the workbench: the one loaded last, at first the default.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.default = ModelKey(settings.model or DEFAULT_MODEL)
        self.selected = self.default
        self._loaded: OrderedDict[ModelKey, KronosPredictor] = OrderedDict()
        self._failed: dict[ModelKey, tuple[float, Exception]] = {}
        self._lock = threading.Lock()
        self._load_lock = threading.Lock()  # two loads at once would need twice the memory

    @property
    def loading(self) -> bool:
        """Whether the default model is neither loaded nor failed."""
        return self.loaded(self.default) is None and self.failure(self.default) is None

    def loaded(self, key: ModelKey) -> KronosPredictor | None:
        """Return a predictor that is in memory; None if it is not."""
        with self._lock:
            return self._loaded.get(key)

    def failure(self, key: ModelKey) -> Exception | None:
        """Return the error of the last attempt to load a model; None if it succeeded, or there was none."""
        with self._lock:
            return self._failed.get(key, (0.0, None))[1]

    def get(self, key: ModelKey) -> KronosPredictor:
        """Return a predictor, loading it if necessary.

        An error of the last seconds is raised again instead of another attempt.

        Raises:
            CheckpointError: If the weights are missing or damaged.
            DeviceError: If the device is not available.
            ParameterError: If there is no such model.
        """
        predictor = self._touch(key)  # without the load lock, so a loaded model is available while another loads
        if predictor is not None:
            return predictor
        with self._load_lock:
            predictor = self._touch(key)
            if predictor is not None:
                return predictor
            with self._lock:
                failed_at, error = self._failed.get(key, (0.0, None))
            if error is not None and time.monotonic() - failed_at < _RETRY_SECONDS:
                raise error.with_traceback(None)
            try:
                predictor = self._load(key)
            except Exception as error:
                with self._lock:
                    self._failed[key] = time.monotonic(), error
                raise
            self._store(key, predictor)
            return predictor

    def retry(self, key: ModelKey) -> KronosPredictor:
        """Return a predictor as `get` does, but without regard to recent errors.

        Raises:
            KronosError: As `get`.
        """
        with self._lock:
            self._failed.pop(key, None)
        return self.get(key)

    def _touch(self, key: ModelKey) -> KronosPredictor | None:
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def _store(self, key: ModelKey, predictor: KronosPredictor) -> None:
        with self._lock:
            self._failed.pop(key, None)
            self._loaded[key] = predictor
            evictable = [loaded for loaded in self._loaded if loaded not in (self.default, self.selected, key)]
            while len(self._loaded) > _MAX_LOADED and evictable:
                del self._loaded[evictable.pop(0)]

    def _load(self, key: ModelKey) -> KronosPredictor:
        from kronos.inference import KronosPredictor

        started = time.perf_counter()
        settings = self._settings
        predictor = KronosPredictor.from_pretrained(
            key.ref,
            tokenizer=settings.tokenizer if key.ref == self.default.ref else None,
            device=key.device or settings.device,
            precision=settings.precision,
            cuda_graphs=settings.cuda_graphs,
            cache_dir=settings.cache_dir,
            local_files_only=settings.offline,
        )
        _log.info("model loaded", extra={"model": key.ref, "seconds": round(time.perf_counter() - started, 2)})
        return predictor


def resolve_model(settings: Settings, name: str, device: str | None) -> ModelKey:
    """Resolve a name from a client: a model of the zoo or the configured one, never a path or another repository.

    Raises:
        ParameterError: If there is no such model.
    """
    configured = settings.model
    if configured is not None and find_entry(configured) is None and name in (configured, display_name(configured)):
        return ModelKey(configured, device)
    entry = find_entry(name)
    if entry is None or entry.kind != "model":
        raise ParameterError("Unknown model; GET /api/available-models lists the available ones.")
    if not _has_weights(entry):
        raise ParameterError(f"The weights of {entry.title} were never published; choose another model.")
    return ModelKey(entry.name, device)


def available_models(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the facts of all models that clients may load, by key."""
    models = {
        entry.name: _facts(entry) for entry in list_checkpoints() if entry.kind == "model" and _has_weights(entry)
    }
    configured = settings.model
    if configured is not None and find_entry(configured) is None:
        name = display_name(configured)
        models[name] = {"name": name, "description": "the configured model", "available": True}
    return models


def display_name(ref: str) -> str:
    """Return the name of a model without the path of its folder; a folder's is the one that its training recorded."""
    if find_entry(ref) is None and expand_user(ref).is_dir():
        return checkpoint_name(expand_user(ref))
    return ref.replace("\\", "/").rstrip("/").rpartition("/")[2] or ref


def _has_weights(entry: CatalogEntry) -> bool:
    return entry.published or entry.bundled


def _facts(entry: CatalogEntry) -> dict[str, Any]:
    available = entry.bundled or find_cached(entry) is not None
    description = "published" if available else "published; downloads on first use"
    return {
        "name": entry.title,
        "model_id": entry.hub_id or entry.name,
        "tokenizer_id": entry.tokenizer,
        "context_length": entry.context,
        "params": f"{entry.parameters / 1e6:.1f}M",
        "parameters": entry.parameters,
        "licence": entry.licence,
        "description": "ships with Kronos" if entry.bundled else description,
        "available": available,
    }

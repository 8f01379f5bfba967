"""The models that are in memory: loaded once, kept while there is room, and gone without harm where loading fails."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kronos.errors import ParameterError
from kronos.settings import Settings
from kronos.zoo import DEFAULT_MODEL, CatalogEntry, cached, find, list_checkpoints

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor

_KEPT = 2  # models in memory
_REMEMBERED = 30.0  # seconds for which a failure is not tried again

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelKey:
    """Which model, on which device: ``device`` None is the configured one."""

    ref: str
    device: str | None = None


class ModelPool:
    """Loaded predictors by key, the least recently used leaving first; safe in threads.

    Attributes:
        default: The configured one, by which predictions are made.
        chosen: The one that the workbench uses: the one loaded last, else the default.
    """

    def __init__(self, settings: Settings) -> None:
        """Know what is configured; nothing is loaded yet."""
        self._settings = settings
        self.default = ModelKey(settings.model or DEFAULT_MODEL)
        self._loaded: OrderedDict[ModelKey, KronosPredictor] = OrderedDict()
        self._failed: dict[ModelKey, tuple[float, Exception]] = {}
        self.chosen = self.default
        self._table = threading.Lock()
        self._loading = threading.Lock()  # one at a time: two would need twice the memory

    @property
    def loading(self) -> bool:
        """Whether the default model is on its way: neither there nor failed."""
        return self.loaded(self.default) is None and self.failure(self.default) is None

    def loaded(self, key: ModelKey) -> KronosPredictor | None:
        """A predictor that is in memory; None if it is not."""
        with self._table:
            return self._loaded.get(key)

    def failure(self, key: ModelKey) -> Exception | None:
        """Why a model could not be loaded when that was last tried; None if it could, or was not tried."""
        with self._table:
            return self._failed.get(key, (0.0, None))[1]

    def get(self, key: ModelKey) -> KronosPredictor:
        """A predictor, loaded if it is not there.

        Raises:
            CheckpointError: If its weights can't be had.
            DeviceError: If its device is absent.
            ParameterError: If no model is called so.
        """
        found = self._recent(key)  # without the lock: nobody who has a model waits for another's download
        if found is not None:
            return found
        with self._loading:
            found = self._recent(key)
            if found is not None:
                return found
            self._refuse_again(key)
            try:
                predictor = self._load(key)
            except Exception as error:
                with self._table:
                    self._failed[key] = time.monotonic(), error
                raise
            self._keep(key, predictor)
            return predictor

    def anew(self, key: ModelKey) -> KronosPredictor:
        """As `get`, but tried again even if it failed a moment ago.

        Raises:
            KronosError: As `get`.
        """
        with self._table:
            self._failed.pop(key, None)
        return self.get(key)

    def _refuse_again(self, key: ModelKey) -> None:
        """Raise what loading raised a moment ago, instead of trying it for each of a crowd."""
        with self._table:
            at, error = self._failed.get(key, (0.0, None))
        if error is not None and time.monotonic() - at < _REMEMBERED:
            raise error.with_traceback(None)

    def _recent(self, key: ModelKey) -> KronosPredictor | None:
        with self._table:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def _keep(self, key: ModelKey, predictor: KronosPredictor) -> None:
        with self._table:
            self._failed.pop(key, None)
            self._loaded[key] = predictor
            spare = [one for one in self._loaded if one not in (self.default, self.chosen, key)]
            while len(self._loaded) > _KEPT and spare:
                del self._loaded[spare.pop(0)]

    def _load(self, key: ModelKey) -> KronosPredictor:
        from kronos.inference import KronosPredictor

        started = time.perf_counter()
        settings = self._settings
        predictor = KronosPredictor.from_pretrained(
            key.ref,
            tokenizer=settings.tokenizer if key.ref == self.default.ref else None,
            device=key.device or settings.device,
            precision=settings.precision,
            cache_dir=settings.cache_dir,
            local_files_only=settings.offline,
        )
        _log.info("model loaded", extra={"model": key.ref, "seconds": round(time.perf_counter() - started, 2)})
        return predictor


def named(settings: Settings, name: str, device: str | None) -> ModelKey:
    """The model that a client named: of the zoo, or the configured one; never a folder or a stranger on the hub.

    Raises:
        ParameterError: If there is no such model, or no such device.
    """
    own = settings.model
    if own is not None and find(own) is None and name in (own, title_of(own)):
        return ModelKey(own, device)
    entry = find(name)
    if entry is None or entry.kind != "model":
        raise ParameterError("There is no model of that name; GET /api/available-models lists them.")
    if not (entry.published or entry.bundled):
        raise ParameterError(f"{entry.title} was never published, so there are no weights to load.")
    return ModelKey(entry.name, device)


def offered(settings: Settings) -> dict[str, dict[str, Any]]:
    """What may be loaded, by its key: name, parameters, context, whether it is on this machine."""
    models = {
        entry.name: _facts(entry)
        for entry in list_checkpoints()
        if entry.kind == "model" and (entry.published or entry.bundled)
    }
    own = settings.model
    if own is not None and find(own) is None:
        title = title_of(own)
        models[title] = {"name": title, "description": "the configured model", "available": True}
    return models


def title_of(ref: str) -> str:
    """What to call a model: a folder's name, not the way there."""
    return ref.replace("\\", "/").rstrip("/").rpartition("/")[2] or ref


def _facts(entry: CatalogEntry) -> dict[str, Any]:
    here = entry.bundled or cached(entry) is not None
    return {
        "name": entry.title,
        "model_id": entry.hub_id or entry.name,
        "tokenizer_id": entry.tokenizer,
        "context_length": entry.context,
        "params": f"{entry.parameters / 1e6:.1f}M",
        "parameters": entry.parameters,
        "licence": entry.licence,
        "description": "ships with Kronos"
        if entry.bundled
        else "published"
        if here
        else "published; downloads on first use",
        "available": here,
    }

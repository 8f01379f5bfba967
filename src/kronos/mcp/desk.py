"""What all calls share: the data folder, the source of candles, and the models that are loaded.

- Nothing is downloaded for an assistant: a model that is not here is refused with the command that fetches it.
- Assistants choose among the models that have a name; a folder or a stranger's repository is for who starts the server.
- Everything but the names is used by one call at a time, in its thread, and therefore needs no lock.
"""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kronos.errors import ParameterError
from kronos.mcp.options import Options
from kronos.serve.files import Library
from kronos.settings import get_settings
from kronos.storage import expanded
from kronos.zoo import DEFAULT_MODEL, ZooEntry, cached, find, locate, nearest

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor
    from kronos.sources import CandleSource

_LOADED = 2  # models kept in memory


class Desk:
    """Everything that a call may use.

    Attributes:
        settings: Everything that options and environment say.
        library: The files of the data folder; nothing else can be named, and nothing is handed over.
        default: The model to use where a call names none: a name, or a folder.
    """

    def __init__(self, options: Options) -> None:
        """Check what can be checked before an assistant asks: the folder, the source and the model.

        Raises:
            ParameterError: If an option is wrong, or the model is not here.
            CheckpointError: If its weights are none, or damaged.
            KronosError: If the source cannot be opened.
        """
        self.settings = get_settings({"model": options.model, "device": options.device, "source": options.source})
        self.library = _library(options.data)
        self.default = self.settings.model or DEFAULT_MODEL
        known = None if expanded(self.default).is_dir() else find(self.default)
        if known is not None:
            _check_here(known)
        else:
            locate(self.default, kind="model", local_files_only=True)
        self._loaded: dict[str, KronosPredictor] = {}
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if self.settings.source is not None:
            _ = self.source  # a wrong one is told to who starts the server

    @property
    def title(self) -> str:
        """What to call the default model: a folder's name, not the way there."""
        path = expanded(self.default)
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


def _library(folder: Path | None) -> Library:
    """The files of a folder, whatever the working folder is later.

    Raises:
        ParameterError: If there is no such folder, and it was asked for.
    """
    root = expanded(folder or "data").resolve()
    if folder is not None and not root.is_dir():
        raise ParameterError(f"There is no folder {folder}; give one with --data.")
    return Library(root, None, listing="list_candles tells which there are")


def _entry(name: str) -> ZooEntry:
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


def _check_here(entry: ZooEntry) -> None:
    """Refuse a model whose weights, or whose tokenizer's, would have to be downloaded.

    Raises:
        ParameterError: With the command that fetches them.
    """
    if not entry.bundled and not entry.published:
        raise ParameterError(f"The weights of {entry.name} were never published; take another of list_models.")
    partner = find(entry.tokenizer) if entry.tokenizer else None
    if cached(entry) is None or (partner is not None and cached(partner) is None):
        raise ParameterError(f"{entry.name} is not on this machine; 'kronos models download {entry.name}' fetches it.")

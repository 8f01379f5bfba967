"""Loading and saving networks in the layout of published checkpoints.

- A checkpoint is a folder with ``config.json`` (the constructor's arguments) and ``model.safetensors``. Checkpoints
  saved by Kronos also have ``kronos.json``: context, tokenizer and form of the s2 attention.
- Loading is strict: every key and shape must match, and nothing is unpickled.
- Networks are built on torch's meta device first, because initialising weights that are then replaced costs time.
- Loaded networks are in evaluation mode and in float32, whatever the stored precision.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from kronos import atomic
from kronos.errors import CheckpointError, ParameterError
from kronos.formatting import join_names
from kronos.zoo import CheckpointRef, Pairing, read_config, read_normalisation, read_pairing, resolve_checkpoint

_NOT_CONFIG = ("self", "__class__", "s2_attention", "normalisation")


class PretrainedMixin(nn.Module):
    """A network with ``from_pretrained`` and ``save_pretrained``.

    Attributes:
        config: The constructor's arguments, as ``config.json`` holds them.
        located: The checkpoint it was loaded from; None if it was not loaded.
        pairing: Context, tokenizer and s2 attention that belong to the weights; None if it was not loaded.
    """

    kind: ClassVar[Literal["model", "tokenizer"]]

    def __init__(self) -> None:
        super().__init__()
        self.config: dict[str, Any] = {}
        self.located: CheckpointRef | None = None
        self.pairing: Pairing | None = None
        self._loaded: tuple[int, ...] | None = None

    @property
    def unchanged(self) -> bool:
        """Whether the parameters are still the loaded ones; writes through ``.data`` are not detected."""
        return self._loaded is not None and self._loaded == self._versions()

    def _versions(self) -> tuple[int, ...]:
        return tuple(-1 if p.is_inference() else p._version for p in self.parameters())

    def _record_config(self, arguments: dict[str, Any]) -> None:
        """Set `config` from the constructor's arguments."""
        self.config = {name: value for name, value in arguments.items() if name not in _NOT_CONFIG}

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | None = None,
    ) -> Self:
        """Load a checkpoint for inference.

        Args:
            pretrained_model_name_or_path: Zoo name (``kronos-small``), hub id (``NeoQuasar/Kronos-small``) or folder.
            revision: Branch, tag or commit of the hub repository; the zoo's pinned revision by default.
            cache_dir: Folder for downloads; the hub's own cache by default.
            force_download: Download again even if cached.
            local_files_only: Do not use the network.
            token: Access token for gated repositories.

        Returns:
            The network in evaluation mode, float32, on the CPU.

        Raises:
            CheckpointError: If the weights cannot be found, are damaged, or belong to another architecture.
        """
        located = resolve_checkpoint(
            pretrained_model_name_or_path,
            kind=cls.kind,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        return cls._load(located)

    @classmethod
    def _load(cls, located: CheckpointRef) -> Self:
        pairing = read_pairing(located) if cls.kind == "model" else None
        extra = {"s2_attention": pairing.s2_attention} if pairing else {"normalisation": read_normalisation(located)}
        try:
            with torch.device("meta"):
                network = cls(**read_config(located.folder, cls.kind), **extra)
        except (TypeError, ParameterError) as error:
            path = located.folder / "config.json"
            raise CheckpointError(f"{path} is not a {cls.kind} configuration: {error}") from error
        network._load_weights(located.folder / "model.safetensors")
        network.located, network.pairing, network._loaded = located, pairing, network._versions()
        return network.eval()

    def _load_weights(self, file: Path) -> None:
        """Load every parameter and buffer from a file that must hold exactly those."""
        try:
            stored = load_file(file)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{file} is damaged or not a safetensors file ({error}): download it again."
            ) from error
        expected = {name: tuple(value.shape) for name, value in self.state_dict().items()}
        mismatched = sorted(
            expected.keys() ^ stored.keys()
            | {name for name, shape in expected.items() if name in stored and tuple(stored[name].shape) != shape}
        )
        if mismatched:
            names = join_names(mismatched, 3)
            raise CheckpointError(f"{file} does not match its config.json: {names} missing, unexpected or misshapen.")
        broken = next((n for n, v in stored.items() if v.is_floating_point() and not v.isfinite().all()), None)
        if broken is not None:
            raise CheckpointError(f"{file}: {broken} holds NaN or infinite values; download or train it again.")
        wide = {name: value.float() if value.is_floating_point() else value for name, value in stored.items()}
        self.load_state_dict(wide, strict=True, assign=True)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        context: int | None = None,
        tokenizer: str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Path:
        """Write ``config.json``, ``model.safetensors`` and ``kronos.json``, each atomically.

        Args:
            save_directory: Folder to write to; created if missing.
            context: Longest window the network was trained for, in candles; by default the one it was loaded with.
            tokenizer: Tokenizer that belongs to a model: zoo name, hub id, or path relative to the folder.
            dtype: Type to store floating-point parameters in, for example ``torch.float16``; their own by default.
                Buffers keep their type.

        Returns:
            The folder.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        parameters = {name for name, _ in self.named_parameters()}
        state = {
            name: (value.to(dtype) if dtype is not None and name in parameters else value).detach().cpu().contiguous()
            for name, value in self.state_dict().items()
        }
        # Not save_file: its files are readable by their owner only.
        atomic.write_bytes(folder / "model.safetensors", save(state, metadata={"format": "pt"}))
        atomic.write_text(folder / "config.json", json.dumps(self.config, indent=2) + "\n")
        pairing = self._pairing(context, tokenizer)
        if pairing:
            atomic.write_text(folder / "kronos.json", json.dumps(pairing, indent=2) + "\n")
        return folder

    def _pairing(self, context: int | None, tokenizer: str | None) -> dict[str, Any]:
        """Contents of ``kronos.json``: the arguments, else the loaded values; no guesses and no absolute paths."""
        known = self.pairing if self.pairing and self.pairing.basis != "guessed" else None
        if tokenizer is None and known and known.tokenizer and not Path(known.tokenizer).is_absolute():
            tokenizer = known.tokenizer
        normalisation = getattr(self, "normalisation", "spread")
        pairing = {
            "context": context or (known.context if known else None),
            "tokenizer": tokenizer,
            "s2_attention": getattr(self, "s2_attention", None),
            "least_history": known.least_history if known and known.least_history > 1 else None,
            "normalisation": None if normalisation == "spread" else normalisation,
        }
        return {name: value for name, value in pairing.items() if value is not None}

"""Loading and saving networks in the layout of published checkpoints.

Notable here:
- a checkpoint is a folder with ``config.json`` (the constructor's arguments) and ``model.safetensors``; our own add
  ``kronos.json``, which says what the two published files cannot: context, tokenizer, form of the s2 attention;
- loading is strict: no key missing, none left over, every shape right, and nothing is ever unpickled;
- a network is built without memory on torch's meta device first, so that no time goes into weights to be replaced;
- whatever is loaded is handed over in evaluation mode, in float32 however it was stored.
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
from kronos.zoo import CheckpointRef, Pairing, normalisation_of, read_config, read_pairing, resolve_checkpoint

_NOT_CONFIG = ("self", "__class__", "s2_attention", "normalisation")


class PretrainedMixin(nn.Module):
    """A network with ``from_pretrained`` and ``save_pretrained``.

    Attributes:
        config: The constructor's arguments, as ``config.json`` holds them.
        located: Where the weights came from; None for a network constructed anew.
        pairing: The context, tokenizer and s2 attention that belong to the weights; None for one constructed anew.
        unchanged: Whether the parameters are still those that were loaded.
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
        """Whether the parameters are still those that were loaded (writes through ``.data`` go unnoticed)."""
        return self._loaded is not None and self._loaded == self._versions()

    def _versions(self) -> tuple[int, ...]:
        return tuple(-1 if p.is_inference() else p._version for p in self.parameters())

    def _remember(self, arguments: dict[str, Any]) -> None:
        """Keep the constructor's arguments as the configuration."""
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
        """Load a checkpoint, ready for inference.

        Args:
            pretrained_model_name_or_path: A zoo name (``kronos-small``), a hub id (``NeoQuasar/Kronos-small``), or a
                folder.
            revision: A branch, tag or commit of the hub repository; the zoo's pinned one by default.
            cache_dir: Where downloads are kept; the hub's own cache by default.
            force_download: Whether to download again what is cached.
            local_files_only: Whether to stay offline.
            token: An access token for gated repositories.

        Returns:
            The network in evaluation mode, float32, on the CPU.

        Raises:
            CheckpointError: If the weights can't be had, are damaged, or belong to another architecture.
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
        extra = {"s2_attention": pairing.s2_attention} if pairing else {"normalisation": normalisation_of(located)}
        try:
            with torch.device("meta"):
                network = cls(**read_config(located.folder, cls.kind), **extra)
        except (TypeError, ParameterError) as error:
            path = located.folder / "config.json"
            raise CheckpointError(f"{path} is no {cls.kind}'s configuration: {error}") from error
        network._fill(located.folder / "model.safetensors")
        network.located, network.pairing, network._loaded = located, pairing, network._versions()
        return network.eval()

    def _fill(self, file: Path) -> None:
        """Take every parameter and buffer from the file, which must hold exactly those."""
        try:
            found = load_file(file)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} is damaged or no safetensors file ({error}); download it again.") from error
        expected = {name: tuple(value.shape) for name, value in self.state_dict().items()}
        wrong = sorted(
            expected.keys() ^ found.keys()
            | {name for name, shape in expected.items() if name in found and tuple(found[name].shape) != shape}
        )
        if wrong:
            shown = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
            raise CheckpointError(f"{file} does not fit its config.json: {shown} missing, left over or misshapen.")
        broken = next((n for n, v in found.items() if v.is_floating_point() and not v.isfinite().all()), None)
        if broken is not None:
            raise CheckpointError(f"{file} holds values that are no numbers in {broken}; download or train it again.")
        wide = {name: value.float() if value.is_floating_point() else value for name, value in found.items()}
        self.load_state_dict(wide, strict=True, assign=True)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        context: int | None = None,
        tokenizer: str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Path:
        """Write ``config.json``, ``model.safetensors`` and ``kronos.json``, each whole or not at all.

        Args:
            save_directory: Created where missing.
            context: The longest window the network was trained for, in candles; kept from loading by default.
            tokenizer: The tokenizer that belongs to a model: a zoo name, a hub id, or a path relative to the folder.
            dtype: What to store floating-point parameters as, for example ``torch.float16``; as they are by default.
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
        # Through bytes: safetensors' own files can be read by their owner alone.
        atomic.write_bytes(folder / "model.safetensors", save(state, metadata={"format": "pt"}))
        atomic.write_text(folder / "config.json", json.dumps(self.config, indent=2) + "\n")
        sheet = self._pairing(context, tokenizer)
        if sheet:
            atomic.write_text(folder / "kronos.json", json.dumps(sheet, indent=2) + "\n")
        return folder

    def _pairing(self, context: int | None, tokenizer: str | None) -> dict[str, Any]:
        """What ``kronos.json`` records: what is said, else what is known; no guess, no path of this machine."""
        known = self.pairing if self.pairing and self.pairing.basis != "guessed" else None
        if tokenizer is None and known and known.tokenizer and not Path(known.tokenizer).is_absolute():
            tokenizer = known.tokenizer
        own = getattr(self, "normalisation", "spread")
        sheet = {
            "context": context or (known.context if known else None),
            "tokenizer": tokenizer,
            "s2_attention": getattr(self, "s2_attention", None),
            "least_history": known.least_history if known and known.least_history > 1 else None,
            "normalisation": None if own == "spread" else own,
        }
        return {name: value for name, value in sheet.items() if value is not None}

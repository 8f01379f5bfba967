"""Resolve a folder, zoo name or hub id to a complete checkpoint on this machine.

- A reference is tried as a folder with a checkpoint, a zoo name and a hub id, in this order.
- A *forecasting folder* has the parts ``model/`` and ``tokenizer/``; the requested kind selects one.
- `read_pairing` finds the tokenizer and context of a model in its ``kronos.json``, else in the catalog, else by its
  shape; `trained_until` finds its training cutoffs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Literal, cast, get_args

from kronos.errors import CheckpointError
from kronos.formatting import expand_user
from kronos.progress import ProgressCallback
from kronos.zoo.catalog import (
    DEFAULT_MODEL,
    CatalogEntry,
    Cutoffs,
    Normalisation,
    S2Attention,
    closest_name,
    find_entry,
    latest_cutoffs,
    list_checkpoints,
    read_cutoffs,
)
from kronos.zoo.checkpoint import (
    CALIBRATION,
    CONFIG,
    PICKLES,
    RECORD,
    Config,
    Kind,
    check_folder,
    checkpoint_name,
    is_checkpoint,
    kind_of,
    read_config,
    read_json,
    subfolder_of,
)
from kronos.zoo.hub import HubRequest, cached_folder, fetch, revision_of

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_DEFAULT_CONTEXT = 512


@dataclass(frozen=True)
class CheckpointRef:
    """A checkpoint on this machine.

    Attributes:
        folder: Folder with a complete ``config.json`` and ``model.safetensors``.
        ref: Reference as given by the user.
        entry: Entry in the catalog, if any.
        revision: Commit on the hub, if it was downloaded.
        kind: ``model`` or ``tokenizer``.
    """

    folder: Path
    ref: str
    entry: CatalogEntry | None
    revision: str | None
    kind: Kind = "model"

    @property
    def name(self) -> str:
        """Name in tables and files: that of the catalog, else that of its training, else that of its folder."""
        if self.entry is not None:
            return self.entry.name
        path = expand_user(self.ref)
        return checkpoint_name(path if path.is_dir() else self.folder) if path.exists() else PurePath(self.ref).name

    @property
    def calibration(self) -> Path | None:
        """The ``calibration.json`` next to the weights, if any."""
        path = self.folder / CALIBRATION
        return path if path.is_file() else None


@dataclass(frozen=True)
class Pairing:
    """Tokenizer and context of a model.

    Attributes:
        tokenizer: Folder, zoo name or hub id of the tokenizer that it was trained with; None if unknown.
        context: Maximum of history plus horizon, in candles.
        s2_attention: Form of the s2 cross-attention.
        basis: Origin of the values: the checkpoint's record, the catalog, or a guess by its shape.
        least_history: Minimum history that it was trained with, in candles; forecasts from less are unreliable.
    """

    tokenizer: str | None
    context: int
    s2_attention: S2Attention
    basis: Literal["recorded", "catalogue", "guessed"]
    least_history: int = 1


@dataclass(frozen=True)
class CachedCheckpoint:
    """Files of a checkpoint on this machine, unchecked.

    Attributes:
        folder: Folder of the files.
        size: Total size in bytes.
        revision: Commit on the hub, if they were downloaded.
    """

    folder: Path
    size: int
    revision: str | None


def resolve_checkpoint(
    ref: str | Path,
    *,
    kind: Kind,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    token: bool | str | None = None,
) -> CheckpointRef:
    """Find a checkpoint, download it if necessary, and check that its files are complete.

    Args:
        ref: A folder, a zoo name in any case, or a hub id.
        kind: ``model`` or ``tokenizer``.
        revision: Branch, tag or commit on the hub; None for the pinned one, else the newest.
        cache_dir: Folder for downloads; None for ``KRONOS_CACHE_DIR``, else the hub's own cache.
        local_files_only: Never use the network (as ``KRONOS_OFFLINE`` and ``HF_HUB_OFFLINE``).
        force_download: Download again even if cached.
        token: Access token for private and gated repositories, as in huggingface_hub.

    Raises:
        CheckpointError: If the checkpoint does not exist, is not available, or is corrupt.
    """
    entry, target = _resolve(ref, kind)
    if isinstance(target, Path):
        return _to_ref(target, str(ref), entry, kind)
    request = HubRequest(
        target,
        revision=revision,
        cache_dir=_path(cache_dir),
        offline=local_files_only,
        force=force_download,
        token=token,
    )
    return _to_ref(fetch(_with_defaults(request, entry)), str(ref), entry, kind)


def read_pairing(checkpoint: CheckpointRef) -> Pairing:
    """Find the tokenizer, context and form of s2 attention of a model.

    Args:
        checkpoint: A resolved model.

    Raises:
        CheckpointError: If the checkpoint's ``kronos.json`` has invalid values.
    """
    entry = checkpoint.entry or _entry_of_shape(read_config(checkpoint.folder, "model"))
    tokenizer = entry.tokenizer if entry else None
    context = (entry.context if entry else None) or _DEFAULT_CONTEXT
    s2_attention: S2Attention = entry.s2_attention if entry else "published"
    basis: Literal["recorded", "catalogue", "guessed"] = "catalogue" if checkpoint.entry else "guessed"
    sibling = checkpoint.folder.parent / "tokenizer"
    if checkpoint.folder.name == "model" and (sibling / CONFIG).is_file():
        tokenizer = str(sibling)
    path = checkpoint.folder / RECORD
    if not path.is_file():
        return Pairing(tokenizer, context, s2_attention, basis)
    record = read_json(path)
    context = _recorded_number(path, "context", record.get("context", context), 2)
    return Pairing(
        _recorded_tokenizer(path, record.get("tokenizer"), tokenizer),
        context,
        _recorded_form(path, record.get("s2_attention", s2_attention)),
        "recorded",
        _recorded_number(path, "least_history", record.get("least_history", 1), 1, context - 1),
    )


def read_normalisation(checkpoint: CheckpointRef) -> Normalisation:
    """Read the normalisation of a tokenizer from its ``kronos.json``; ``spread``, as published, if there is none.

    Args:
        checkpoint: A resolved tokenizer.

    Raises:
        CheckpointError: If the value is invalid.
    """
    path = checkpoint.folder / RECORD
    value = read_json(path).get("normalisation", "spread") if path.is_file() else "spread"
    if value not in get_args(Normalisation):
        raise CheckpointError(f"{path}: invalid normalisation {value!r}; write {', '.join(get_args(Normalisation))}.")
    return cast("Normalisation", value)


def trained_until(checkpoint: CheckpointRef) -> Cutoffs | None:
    """Find the date until which a checkpoint has used candles, for training or for model selection.

    Args:
        checkpoint: A resolved model or tokenizer. The record of the model in a forecasting folder also applies to its
            tokenizer.

    Returns:
        First date whose candles are new to it, by market or ``all``; empty if it has used none, None if unknown. A
        published shape proves nothing, since such weights may have been trained further.

    Raises:
        CheckpointError: If the checkpoint's ``kronos.json`` has invalid values.
    """
    both = trained_and_selected_until(checkpoint)
    return None if both is None else latest_cutoffs(*both)


def trained_and_selected_until(checkpoint: CheckpointRef) -> tuple[Cutoffs, Cutoffs] | None:
    """Training and selection cutoffs of a checkpoint separately; see `trained_until`."""
    records = [checkpoint.folder / RECORD]
    if checkpoint.folder.name == "tokenizer":
        records.append(checkpoint.folder.parent / "model" / RECORD)
    for path in records:
        record = read_json(path) if path.is_file() else {}
        if record.get("trained_until") is not None:
            return read_cutoffs(path, record, "trained_until"), read_cutoffs(path, record, "selected_until")
    entry = checkpoint.entry
    return (entry.trained_until, entry.selected_until) if entry is not None and entry.trained_until else None


def find_cached(entry: CatalogEntry, cache_dir: str | Path | None = None) -> CachedCheckpoint | None:
    """Find the files of a checkpoint on this machine, without the network.

    Args:
        entry: Entry in the catalog.
        cache_dir: As in `resolve_checkpoint`.

    Returns:
        The files, or None if they have to be downloaded.
    """
    if entry.folder is not None:
        return CachedCheckpoint(entry.folder, _size(entry.folder), None)
    if entry.hub_id is None:
        return None
    found = cached_folder(_with_defaults(HubRequest(entry.hub_id, cache_dir=_path(cache_dir)), entry))
    return None if found is None else CachedCheckpoint(found, _size(found), revision_of(found))


def download(
    ref: str,
    *,
    progress: ProgressCallback | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    force: bool = False,
) -> tuple[CheckpointRef, ...]:
    """Download a checkpoint and, for a model, its tokenizer.

    Args:
        ref: A zoo name in any case, or a hub id.
        progress: Called with the bytes done and the total of the current repository, from any thread.
        revision: Branch, tag or commit on the hub; None for the pinned one, else the newest.
        cache_dir: As in `resolve_checkpoint`.
        force: Download again even if cached.

    Returns:
        The checkpoint, then its tokenizer if it is a model.

    Raises:
        CheckpointError: If a checkpoint is not available or is corrupt.
    """
    entry, target = _resolve(ref, None)
    if isinstance(target, Path):
        folder = target
    else:
        request = HubRequest(target, revision=revision, cache_dir=_path(cache_dir), force=force)
        folder = fetch(_with_defaults(request, entry), progress)
    kind = entry.kind if entry else _kind_of_folder(folder)
    checkpoint = _to_ref(folder, ref, entry, kind)
    if kind == "tokenizer":
        return (checkpoint,)
    tokenizer = read_pairing(checkpoint).tokenizer
    if tokenizer is None:
        return (checkpoint,)
    if Path(tokenizer).is_dir():
        return (checkpoint, resolve_checkpoint(tokenizer, kind="tokenizer"))
    return (checkpoint, *download(tokenizer, progress=progress, cache_dir=cache_dir, force=force))


def _resolve(ref: str | Path, kind: Kind | None) -> tuple[CatalogEntry | None, Path | str]:
    """Entry of a reference, if any, and its folder or its repository on the hub."""
    text = str(ref).strip()
    if not text:
        raise CheckpointError(f"The name of the checkpoint is empty; {_choices()}.")
    path = expand_user(text)
    entry = find_entry(text) if isinstance(ref, str) else None
    if path.exists() and (entry is None or is_checkpoint(path)):
        return None, _check_is_folder(path)
    if entry is not None:
        _check_entry(entry, text, kind)
        return entry, entry.folder.parent if entry.folder is not None else str(entry.hub_id)
    if isinstance(ref, str) and _HUB_ID.fullmatch(text):
        return None, text
    raise CheckpointError(_describe_unknown(text, isinstance(ref, Path)))


def _check_is_folder(path: Path) -> Path:
    if path.is_dir():
        return path
    if path.suffix in PICKLES:
        raise CheckpointError(
            f"{path} has pickled weights, which can run code and are never loaded; save them as model.safetensors."
        )
    raise CheckpointError(f"{path} is a file; pass the folder with config.json and model.safetensors.")


def _check_entry(entry: CatalogEntry, text: str, kind: Kind | None) -> None:
    """Reject entries without weights, and entries of the other kind."""
    if not entry.published and not entry.bundled:
        raise CheckpointError(
            f"The weights of {entry.title} were never published, only its architecture; choose kronos-base, or pass "
            f"the folder of weights that you trained."
        )
    has_both = entry.bundled and entry.kind == "model"
    if kind is not None and entry.kind != kind and not has_both:
        fix = f"its tokenizer is {entry.tokenizer}" if entry.tokenizer else f"pass a model such as {DEFAULT_MODEL}"
        raise CheckpointError(f"{text} is a {entry.kind}, not a {kind}; {fix}.")


def _describe_unknown(text: str, is_path: bool) -> str:
    """Message for a reference that is no folder, name or hub id."""
    if is_path or text.startswith((".", "/", "~")) or "\\" in text or text.count("/") > 1:
        return f"There is no folder {text}; pass a folder with config.json and model.safetensors."
    if text.lower() == DEFAULT_MODEL:
        return f"The files of {DEFAULT_MODEL}, which ship with this package, are missing; install kronos again."
    near = closest_name(text)
    fix = f"did you mean {near}?" if near else f"{_choices()}."
    return f"No checkpoint is called '{text}'; {fix}"


def _choices() -> str:
    names = ", ".join(entry.name for entry in list_checkpoints() if entry.kind == "model")
    return f"pass a folder, a hub id (user/name), or one of {names}"


def _with_defaults(request: HubRequest, entry: CatalogEntry | None) -> HubRequest:
    """Add the pinned revision with its hash, and the settings, if the caller passed none."""
    from kronos.settings import get_settings

    settings = get_settings()
    revision = request.revision or (entry.revision if entry else None)
    return replace(
        request,
        revision=revision,
        sha256=entry.sha256 if entry is not None and revision == entry.revision else None,
        cache_dir=request.cache_dir or settings.cache_dir,
        offline=request.offline or settings.offline,
    )


def _to_ref(folder: Path, ref: str, entry: CatalogEntry | None, kind: Kind) -> CheckpointRef:
    """Select the part of a folder for this kind and check its files."""
    part = subfolder_of(folder, kind)
    check_folder(part, kind)
    if entry is not None and entry.kind != kind:
        entry = find_entry(entry.tokenizer) if entry.tokenizer else None
    return CheckpointRef(part, ref, entry, revision_of(folder), kind)


def _kind_of_folder(folder: Path) -> Kind:
    """Kind of a downloaded checkpoint; a forecasting folder counts as a model."""
    if (folder / CONFIG).is_file():
        return kind_of(read_json(folder / CONFIG)) or "model"
    return "model"


def _entry_of_shape(config: Config) -> CatalogEntry | None:
    """The published model of the same shape, for the tokenizer and context of fine-tuned copies."""
    shape = ("s1_bits", "s2_bits", "n_layers", "d_model", "n_heads", "ff_dim")
    for entry in list_checkpoints():
        if entry.kind == "model" and not entry.bundled and all(entry.config[key] == config[key] for key in shape):
            return entry
    return None


def _recorded_tokenizer(path: Path, value: object, default: str | None) -> str | None:
    """The recorded tokenizer: a folder relative to the checkpoint, or a name."""
    if value is None:
        return default
    if not isinstance(value, str) or not value.strip():
        raise CheckpointError(f"{path}: invalid tokenizer {value!r}; write a folder or a name.")
    folder = path.parent / value
    if folder.is_dir():
        return str(folder.resolve())
    if find_entry(value) is None and not _HUB_ID.fullmatch(value):
        if default is not None:
            return default
        raise CheckpointError(f"{path}: the tokenizer {value} does not exist; copy its folder next to the checkpoint.")
    return value


def _recorded_number(path: Path, name: str, value: object, low: int, high: int | None = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
        bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise CheckpointError(f"{path}: invalid {name} {value!r}; write a whole number {bounds}.")
    return value


def _recorded_form(path: Path, value: object) -> S2Attention:
    if value == "published":
        return "published"
    if value == "causal":
        return "causal"
    raise CheckpointError(f"{path}: invalid s2_attention {value!r}; write published or causal.")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _path(folder: str | Path | None) -> Path | None:
    return None if folder is None else expand_user(folder)

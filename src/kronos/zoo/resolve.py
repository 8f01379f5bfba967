"""From what a user calls a checkpoint to the folder that holds it, whole and of the right kind.

- A reference is tried in this order: a folder that holds a checkpoint, a zoo name, a hub id; a typo gets the
  nearest name.
- A *forecasting folder* has ``model/`` and ``tokenizer/`` inside; the kind asked for chooses the part.
- `describe` says what belongs with a model: what its own ``kronos.json`` records, else what the catalogue
  knows, else what its shape suggests, and which of these it was; `seen_until` says which candles it has seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from kronos.atomic import expand_user
from kronos.errors import CheckpointError
from kronos.progress import ProgressCallback
from kronos.zoo.catalog import (
    DEFAULT_MODEL,
    CatalogEntry,
    Cutoffs,
    Normalisation,
    S2Attention,
    find,
    latest,
    list_checkpoints,
    nearest,
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
        folder: Holds ``config.json`` and ``model.safetensors``, checked to be whole.
        ref: What the user called it.
        entry: Its catalogue entry, if it has one.
        revision: The commit on the hub, if it came from there.
        kind: ``model`` or ``tokenizer``.
    """

    folder: Path
    ref: str
    entry: CatalogEntry | None
    revision: str | None
    kind: Kind = "model"

    @property
    def calibration(self) -> Path | None:
        """The calibration that lies beside the weights; None where there is none."""
        path = self.folder / CALIBRATION
        return path if path.is_file() else None


@dataclass(frozen=True)
class Pairing:
    """What belongs with a model.

    Attributes:
        tokenizer: Folder, zoo name or hub id of the tokenizer it was trained with; None when nothing tells.
        context: Longest history plus forecast, in candles.
        s2_attention: Form of the s2 cross-attention.
        basis: Who says so: the checkpoint's own record, the catalogue, or its shape (a guess).
        least_history: Candles of history from which on it was trained to forecast; of fewer it may say anything.
    """

    tokenizer: str | None
    context: int
    s2_attention: S2Attention
    basis: Literal["recorded", "catalogue", "guessed"]
    least_history: int = 1


@dataclass(frozen=True)
class Cached:
    """A checkpoint's files on this machine, not checked.

    Attributes:
        folder: Where they lie.
        size: In bytes.
        revision: The commit on the hub, if they came from there.
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
    """Find a checkpoint, downloading it when it must be, and check that its files are whole.

    Args:
        ref: A folder, a zoo name in any case, or a hub id.
        kind: Whether the model or the tokenizer is wanted.
        revision: Branch, tag or commit on the hub; None takes the pinned one, else the newest.
        cache_dir: Where downloads are kept; None takes ``KRONOS_CACHE_DIR``, else the hub's own cache.
        local_files_only: Never use the network (as ``KRONOS_OFFLINE`` and ``HF_HUB_OFFLINE``).
        force_download: Download again even what is cached.
        token: For private and gated repositories, as huggingface_hub takes it.

    Returns:
        The checkpoint's folder and where it came from.

    Raises:
        CheckpointError: If there is no such checkpoint, its files cannot be had, or are damaged.
    """
    entry, target = _resolve(ref, kind)
    if isinstance(target, Path):
        return _checked(target, str(ref), entry, kind)
    wanted = HubRequest(
        target,
        revision=revision,
        cache_dir=_path(cache_dir),
        offline=local_files_only,
        force=force_download,
        token=token,
    )
    return _checked(fetch(_complete(wanted, entry)), str(ref), entry, kind)


def read_pairing(located: CheckpointRef) -> Pairing:
    """Tell which tokenizer, context and form of s2 attention belong with a model.

    Args:
        located: A model, as `locate` gives it.

    Returns:
        The pairing, and who says so.

    Raises:
        CheckpointError: If the checkpoint's ``kronos.json`` has values that cannot be.
    """
    entry = located.entry or _of_shape(read_config(located.folder, "model"))
    tokenizer = entry.tokenizer if entry else None
    context = (entry.context if entry else None) or _DEFAULT_CONTEXT
    s2_attention: S2Attention = entry.s2_attention if entry else "published"
    basis: Literal["recorded", "catalogue", "guessed"] = "catalogue" if located.entry else "guessed"
    beside = located.folder.parent / "tokenizer"
    if located.folder.name == "model" and (beside / CONFIG).is_file():
        tokenizer = str(beside)
    path = located.folder / RECORD
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


def normalisation_of(located: CheckpointRef) -> Normalisation:
    """Tell how a tokenizer wants its candles normalised: ``spread``, as published, unless its record says otherwise.

    Args:
        located: A tokenizer, as `locate` gives it.

    Raises:
        CheckpointError: If the checkpoint's ``kronos.json`` has a value that cannot be.
    """
    path = located.folder / RECORD
    value = read_json(path).get("normalisation", "spread") if path.is_file() else "spread"
    if value == "spread":
        return "spread"
    if value == "steps":
        return "steps"
    raise CheckpointError(f"{path} has normalisation = {value!r}, which must be spread or steps; correct it.")


def trained_until(located: CheckpointRef) -> Cutoffs | None:
    """Tell up to when a checkpoint has seen candles, in its training or in the choice of its weights.

    Args:
        located: A model or tokenizer, as `locate` gives it. The record of a forecasting folder's model is its
            tokenizer's too.

    Returns:
        By market, or ``all``, the first date whose candles are new to it, empty when it has seen none; None when
        nothing tells: the shape of published weights doesn't, for they may have been trained further.

    Raises:
        CheckpointError: If the checkpoint's ``kronos.json`` has values that cannot be.
    """
    both = trained_and_selected_until(located)
    return None if both is None else latest(*both)


def trained_and_selected_until(located: CheckpointRef) -> tuple[Cutoffs, Cutoffs] | None:
    """Tell up to when a checkpoint was trained, and up to when it was selected; like `seen_until`."""
    places = [located.folder / RECORD]
    if located.folder.name == "tokenizer":
        places.append(located.folder.parent / "model" / RECORD)
    for path in places:
        record = read_json(path) if path.is_file() else {}
        if record.get("trained_until") is not None:
            return read_cutoffs(path, record, "trained_until"), read_cutoffs(path, record, "selected_until")
    known = located.entry
    return (known.trained_until, known.selected_until) if known is not None and known.trained_until else None


def cached(entry: CatalogEntry, cache_dir: str | Path | None = None) -> Cached | None:
    """Tell whether a checkpoint lies on this machine already, without the network.

    Args:
        entry: Of the catalogue.
        cache_dir: As for `locate`.

    Returns:
        Its folder, size and revision; None when it would have to be downloaded.
    """
    if entry.folder is not None:
        return Cached(entry.folder, _size(entry.folder), None)
    if entry.hub_id is None:
        return None
    found = cached_folder(_complete(HubRequest(entry.hub_id, cache_dir=_path(cache_dir)), entry))
    return None if found is None else Cached(found, _size(found), revision_of(found))


def download(
    ref: str,
    *,
    progress: ProgressCallback | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    force: bool = False,
) -> tuple[CheckpointRef, ...]:
    """Have a checkpoint on this machine, and with a model the tokenizer it needs.

    Args:
        ref: A zoo name in any case, or a hub id.
        progress: Called with the bytes done and the bytes in all of the file set at hand, from any thread.
        revision: Branch, tag or commit on the hub; None takes the pinned one, else the newest.
        cache_dir: As for `locate`.
        force: Download again even what is cached.

    Returns:
        What is there now: the checkpoint itself, then its tokenizer if it is a model.

    Raises:
        CheckpointError: If something cannot be had or is damaged.
    """
    entry, target = _resolve(ref, None)
    if isinstance(target, Path):
        folder = target
    else:
        wanted = HubRequest(target, revision=revision, cache_dir=_path(cache_dir), force=force)
        folder = fetch(_complete(wanted, entry), progress)
    kind = entry.kind if entry else _kind_within(folder)
    first = _checked(folder, ref, entry, kind)
    if kind == "tokenizer":
        return (first,)
    tokenizer = read_pairing(first).tokenizer
    if tokenizer is None:
        return (first,)
    if Path(tokenizer).is_dir():
        return (first, resolve_checkpoint(tokenizer, kind="tokenizer"))
    return (first, *download(tokenizer, progress=progress, cache_dir=cache_dir, force=force))


def _resolve(ref: str | Path, kind: Kind | None) -> tuple[CatalogEntry | None, Path | str]:
    """Tell what a reference means: its entry, if it has one, and a folder here or a repository on the hub."""
    text = str(ref).strip()
    if not text:
        raise CheckpointError(f"An empty name is no checkpoint; {_choices()}.")
    path = expand_user(text)
    entry = find(text) if isinstance(ref, str) else None
    if path.exists() and (entry is None or is_checkpoint(path)):
        return None, _existing(path)
    if entry is not None:
        _check_entry(entry, text, kind)
        return entry, entry.folder.parent if entry.folder is not None else str(entry.hub_id)
    if isinstance(ref, str) and _HUB_ID.fullmatch(text):
        return None, text
    raise CheckpointError(_unknown(text, isinstance(ref, Path)))


def _existing(path: Path) -> Path:
    """Accept a folder; say what to give instead of a file."""
    if path.is_dir():
        return path
    if path.suffix in PICKLES:
        raise CheckpointError(
            f"{path} holds pickled weights, which can run code when loaded and are never read; save them as "
            f"model.safetensors first."
        )
    raise CheckpointError(f"{path} is a file; give the folder that holds config.json and model.safetensors.")


def _check_entry(entry: CatalogEntry, text: str, kind: Kind | None) -> None:
    """Refuse names whose weights do not exist, and names of the other kind."""
    if not entry.published and not entry.bundled:
        raise CheckpointError(
            f"The weights of {entry.title} were never published, only its architecture; take kronos-base, or "
            f"give the folder of weights you trained."
        )
    has_both = entry.bundled and entry.kind == "model"
    if kind is not None and entry.kind != kind and not has_both:
        mend = f"its tokenizer is {entry.tokenizer}" if entry.tokenizer else f"give a model such as {DEFAULT_MODEL}"
        raise CheckpointError(f"{text} is a {entry.kind}, not a {kind}; {mend}.")


def _unknown(text: str, is_path: bool) -> str:
    """Say that a reference means nothing here."""
    if is_path or text.startswith((".", "/", "~")) or "\\" in text or text.count("/") > 1:
        return f"There is no folder {text}; give a folder that holds config.json and model.safetensors."
    if text.lower() == DEFAULT_MODEL:
        return f"{DEFAULT_MODEL} should ship with this package, but its files are missing; install kronos again."
    near = nearest(text)
    mend = f"did you mean {near}?" if near else f"{_choices()}."
    return f"No checkpoint is called '{text}'; {mend}"


def _choices() -> str:
    names = ", ".join(entry.name for entry in list_checkpoints() if entry.kind == "model")
    return f"give a folder, a hub id (user/name), or one of {names}"


def _complete(wanted: HubRequest, entry: CatalogEntry | None) -> HubRequest:
    """Fill in what the caller left open: the pinned revision and its hash, and the settings."""
    from kronos.settings import get_settings

    settings = get_settings()
    revision = wanted.revision or (entry.revision if entry else None)
    return replace(
        wanted,
        revision=revision,
        sha256=entry.sha256 if entry is not None and revision == entry.revision else None,
        cache_dir=wanted.cache_dir or settings.cache_dir,
        offline=wanted.offline or settings.offline,
    )


def _checked(folder: Path, ref: str, entry: CatalogEntry | None, kind: Kind) -> CheckpointRef:
    """Choose the part of the folder that is of the right kind, and check its files."""
    part = subfolder_of(folder, kind)
    check_folder(part, kind)
    if entry is not None and entry.kind != kind:
        entry = find(entry.tokenizer) if entry.tokenizer else None
    return CheckpointRef(part, ref, entry, revision_of(folder), kind)


def _kind_within(folder: Path) -> Kind:
    """Tell what a downloaded folder holds; a forecasting folder counts as its model."""
    if (folder / CONFIG).is_file():
        return kind_of(read_json(folder / CONFIG)) or "model"
    return "model"


def _of_shape(config: Config) -> CatalogEntry | None:
    """Find the published model of the same shape, so that fine-tuned copies get its tokenizer and context."""
    shape = ("s1_bits", "s2_bits", "n_layers", "d_model", "n_heads", "ff_dim")
    for entry in list_checkpoints():
        if entry.kind == "model" and not entry.bundled and all(entry.config[key] == config[key] for key in shape):
            return entry
    return None


def _recorded_tokenizer(path: Path, value: object, otherwise: str | None) -> str | None:
    """Read the recorded tokenizer: a folder relative to the checkpoint, or a name."""
    if value is None:
        return otherwise
    if not isinstance(value, str) or not value.strip():
        raise CheckpointError(f"{path} has tokenizer = {value!r}, which must be a folder or a name; correct it.")
    folder = path.parent / value
    if folder.is_dir():
        return str(folder.resolve())
    if find(value) is None and not _HUB_ID.fullmatch(value):
        if otherwise is not None:
            return otherwise
        raise CheckpointError(f"{path} names the tokenizer {value}, which is not there; copy it there too.")
    return value


def _recorded_number(path: Path, name: str, value: object, least: int, most: int | None = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        bound = "" if most is None else f" and below {most + 1}"
        raise CheckpointError(
            f"{path} has {name} = {value!r}, which must be a whole number above {least - 1}{bound}; correct it."
        )
    return value


def _recorded_form(path: Path, value: object) -> S2Attention:
    if value == "published":
        return "published"
    if value == "causal":
        return "causal"
    raise CheckpointError(f"{path} has s2_attention = {value!r}, which must be published or causal; correct it.")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _path(folder: str | Path | None) -> Path | None:
    return None if folder is None else expand_user(folder)

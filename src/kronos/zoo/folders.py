"""Checkpoint folders: what must lie in one, and reading it without torch.

- Only ``config.json`` and ``model.safetensors`` are ever read; pickled weights can run code, so they are
  refused.
- A safetensors file says how long it must be, so a truncated download is known before any tensor is loaded.
- ``kronos.json`` beside them records what belongs together: context, tokenizer, form of the s2 attention, up
  to when its data went; a ``calibration.json`` corrects the model's forecasts where a caller asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kronos.errors import CheckpointError
from kronos.zoo.architecture import Config, Kind, check_config, kind_of

CONFIG, WEIGHTS, RECORD = "config.json", "model.safetensors", "kronos.json"
CALIBRATION = "calibration.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_MAX_JSON = 2**20
_MAX_HEADER = 100 * 2**20  # the safetensors format's own limit
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Tensor:
    """What a weights file says of one tensor.

    Attributes:
        dtype: As safetensors writes it, for example ``F32``.
        shape: Its sizes.
    """

    dtype: str
    shape: tuple[int, ...]


def is_checkpoint(folder: Path) -> bool:
    """Tell whether a folder looks like a checkpoint or a forecasting folder, broken or not."""
    names = (CONFIG, WEIGHTS, "model", "tokenizer")
    return folder.is_dir() and any((folder / name).exists() for name in names)


def part_of(folder: Path, kind: Kind) -> Path:
    """Choose the part of a forecasting folder; a checkpoint's own folder is its own part."""
    inner = folder / kind
    return inner if inner.is_dir() and not (folder / CONFIG).is_file() else folder


def check_folder(folder: Path, kind: Kind) -> Config:
    """Check that a folder holds a whole checkpoint of this kind.

    Args:
        folder: With ``config.json`` and ``model.safetensors``.
        kind: What it should hold.

    Returns:
        The constructor's arguments.

    Raises:
        CheckpointError: If a file is missing, unreadable, truncated, or of another kind or shape.
    """
    _check_present(folder, kind)
    config = read_config(folder, kind)
    tensors = read_header(folder / WEIGHTS)
    _check_fit(folder, config, kind, tensors)
    return config


def read_config(folder: Path, kind: Kind) -> Config:
    """Read and check a checkpoint's ``config.json``.

    Args:
        folder: The checkpoint's folder.
        kind: What it should describe.

    Returns:
        The constructor's arguments.

    Raises:
        CheckpointError: If it is no JSON object, of the other kind, or has values that cannot be.
    """
    path = folder / CONFIG
    content = read_json(path)
    found = kind_of(content)
    if found is not None and found != kind:
        raise CheckpointError(f"{folder} holds a {found}, not a {kind}; give the {kind}'s folder.")
    return check_config(content, kind, str(path))


def read_json(path: Path) -> Mapping[str, object]:
    """Read a small file that must hold one JSON object.

    Raises:
        CheckpointError: If it cannot be read or holds something else.
    """
    mend = "take it again from where the checkpoint came from"
    try:
        if path.stat().st_size > _MAX_JSON:
            raise CheckpointError(f"{path} is larger than 1 MB, so it is no checkpoint's JSON; {mend}.")
        content = json.loads(path.read_text("utf-8"))
    except CheckpointError:
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"{path} cannot be read ({reason}); {mend}.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({_first_line(error)}); {mend}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not {type(content).__name__}; {mend}.")
    return content


def read_header(path: Path) -> Mapping[str, Tensor]:
    """Read which tensors a safetensors file holds, and check that the file is whole.

    The format (huggingface/safetensors, README, "Format"): eight bytes with the header's length,
    little-endian; the header, a JSON object of tensors with their offsets; then exactly the bytes up to the
    last offset.

    Args:
        path: The weights file.

    Returns:
        The tensors by name.

    Raises:
        CheckpointError: If it is another format or truncated.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            start = handle.read(64)
            length = int.from_bytes(start[:8], "little")
            _check_start(path, start, length, size)
            handle.seek(8)
            header = json.loads(handle.read(length))
            tensors, end = _tensors(header)
    except CheckpointError:
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"{path} cannot be read ({reason}); check its rights.") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: its header is damaged; download it again.") from error
    if size != 8 + length + end:
        what = "is truncated" if size < 8 + length + end else "is longer than it says"
        raise CheckpointError(
            f"{path} {what}: {size:,} bytes instead of {8 + length + end:,}; delete it and download it again."
        )
    return tensors


def _check_present(folder: Path, kind: Kind) -> None:
    """Check that both files are there, and refuse pickled weights by name."""
    if not (folder / WEIGHTS).is_file():
        pickled = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES)
        if pickled:
            raise CheckpointError(
                f"{folder} holds only pickled weights ({pickled[0]}), which can run code when loaded and are "
                f"never read; save them as {WEIGHTS} first."
            )
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} has no {name}; a {kind}'s folder holds {CONFIG} and {WEIGHTS}, so copy both there."
            )


def _check_start(path: Path, start: bytes, length: int, size: int) -> None:
    """Recognise what is not safetensors by its first bytes, before trusting the header's length."""
    if start.startswith(_POINTER):
        raise CheckpointError(
            f"{path} is a git-lfs pointer, not the weights themselves; run 'git lfs pull' in its folder."
        )
    if len(start) < 8 or start[8:9] not in (b"{", b"") or length > _MAX_HEADER:
        raise CheckpointError(f"{path} is not a safetensors file, whatever its name says; download it again.")
    if 8 + length > size:
        raise CheckpointError(
            f"{path} is truncated within its header ({size:,} bytes); delete it and download it again."
        )


def _tensors(header: Any) -> tuple[dict[str, Tensor], int]:
    """Read the header's entries; give the tensors and the last byte's offset."""
    tensors, end = {}, 0
    for name, said in dict(header).items():
        if name == "__metadata__":
            continue
        begin, stop = (int(offset) for offset in said["data_offsets"])
        if not 0 <= begin <= stop:
            raise ValueError(name)
        tensors[name] = Tensor(str(said["dtype"]), tuple(int(n) for n in said["shape"]))
        end = max(end, stop)
    return tensors, end


def _check_fit(folder: Path, config: Config, kind: Kind, tensors: Mapping[str, Tensor]) -> None:
    """Check one telling tensor, so that no network is built from another checkpoint's configuration."""
    width = int(config["d_model"])
    if kind == "model":
        name, expected = "embedding.emb_s1.weight", (2 ** int(config["s1_bits"]), width)
    else:
        name, expected = "embed.weight", (width, int(config["d_in"]))
    if name not in tensors:
        raise CheckpointError(
            f"{folder / WEIGHTS} has no tensor {name}, so it is no Kronos {kind}; give a folder that {kind}s "
            f"were saved to."
        )
    if tensors[name].shape != expected:
        raise CheckpointError(
            f"{folder / WEIGHTS} and {CONFIG} do not belong together: {name} is {tensors[name].shape} but "
            f"the configuration says {expected}; take both files from one checkpoint."
        )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__

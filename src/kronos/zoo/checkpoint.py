"""Checkpoint folders: what must lie in one, and reading it without torch.

- Only ``config.json`` and ``model.safetensors`` are ever read; pickled weights can run code, so they are
  refused.
- A safetensors file says how long it must be, so a truncated download is known before any tensor is loaded.
- ``kronos.json`` beside them records what belongs together: context, tokenizer, form of the s2 attention, up
  to when its data went; a ``calibration.json`` corrects the model's forecasts where a caller asks for it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kronos.errors import CheckpointError

Kind = Literal["model", "tokenizer"]
Config = Mapping[str, int | float | bool]

S2_HEADS = 4  # of the model's s2 cross-attention, whatever n_heads is
_CALENDAR_ROWS = 60 + 24 + 7 + 32 + 13  # minute, hour, weekday, day, month
_MAX_BITS = 20  # a vocabulary of a million for each half of a token
_MAX_COUNT = 2**20

_COUNTS: dict[Kind, tuple[str, ...]] = {
    "model": ("s1_bits", "s2_bits", "n_layers", "d_model", "n_heads", "ff_dim"),
    "tokenizer": (
        *("d_in", "d_model", "n_heads", "ff_dim", "n_enc_layers", "n_dec_layers"),
        *("s1_bits", "s2_bits", "group_size"),
    ),
}
_DROPOUTS: dict[Kind, tuple[str, ...]] = {
    "model": ("ffn_dropout_p", "attn_dropout_p", "resid_dropout_p", "token_dropout_p"),
    "tokenizer": ("ffn_dropout_p", "attn_dropout_p", "resid_dropout_p"),
}
_NUMBERS: dict[Kind, tuple[str, ...]] = {"model": (), "tokenizer": ("beta", "gamma0", "gamma", "zeta")}
_FLAGS: dict[Kind, tuple[str, ...]] = {"model": ("learn_te",), "tokenizer": ()}


def config_keys(kind: Kind) -> tuple[str, ...]:
    """List the keys that a ``config.json`` of this kind must have."""
    return (*_COUNTS[kind], *_DROPOUTS[kind], *_NUMBERS[kind], *_FLAGS[kind])


def kind_of(config: Mapping[str, object]) -> Kind | None:
    """Tell a model's configuration from a tokenizer's; None when it is neither's."""
    if "n_enc_layers" in config or "d_in" in config:
        return "tokenizer"
    return "model" if "n_layers" in config else None


def check_config(config: Mapping[str, object], kind: Kind, source: str) -> Config:
    """Check a configuration's keys and values.

    Args:
        config: What ``config.json`` holds.
        kind: What it should describe.
        source: The file's name, for the error.

    Returns:
        The constructor's arguments, in the constructor's order.

    Raises:
        CheckpointError: If a key is missing or a value cannot be.
    """
    missing = [key for key in config_keys(kind) if key not in config]
    if missing:
        raise CheckpointError(
            f"{source} lacks {', '.join(missing)}, so it does not describe a Kronos {kind}; "
            f"take the config.json that was saved with the weights."
        )
    checked = {key: _value(config[key], key, kind, source) for key in config_keys(kind)}
    _check_shapes(checked, kind, source)
    return checked


def count_parameters(config: Config, kind: Kind) -> int:
    """Count a network's trainable numbers from its configuration alone.

    Args:
        config: The constructor's arguments.
        kind: Of which constructor.

    Returns:
        The number of parameters (buffers left out).
    """
    size = {key: int(config[key]) for key in _COUNTS[kind]}
    return _model_parameters(size, config) if kind == "model" else _tokenizer_parameters(size)


def _model_parameters(size: Mapping[str, int], config: Config) -> int:
    width = size["d_model"]
    rows: int = 2 ** size["s1_bits"] + 2 ** size["s2_bits"]  # of both vocabularies
    embedding = rows * width + 2 * width * width + width
    calendar = _CALENDAR_ROWS * width if config["learn_te"] else 0
    heads = rows * width + rows
    s2_attention = _attention(width) + width
    blocks = size["n_layers"] * _block(size) + width
    return embedding + calendar + blocks + s2_attention + heads


def _tokenizer_parameters(size: Mapping[str, int]) -> int:
    width, channels, s1 = size["d_model"], size["d_in"], size["s1_bits"]
    bits = s1 + size["s2_bits"]
    outer = (channels * width + width) + (width * channels + channels)
    codes = (width * bits + bits) + (bits * width + width) + (s1 * width + width)
    return outer + codes + (size["n_enc_layers"] + size["n_dec_layers"] - 2) * _block(size)


def _attention(width: int) -> int:
    return 4 * (width * width + width)


def _block(size: Mapping[str, int]) -> int:
    return 2 * size["d_model"] + _attention(size["d_model"]) + 3 * size["d_model"] * size["ff_dim"]


def _value(value: Any, key: str, kind: Kind, source: str) -> int | float | bool:
    """Check one value against what its key allows."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if key in _FLAGS[kind]:
        fits, wanted = isinstance(value, bool), "true or false"
    elif key in _COUNTS[kind]:
        limit = _MAX_BITS if key.endswith("_bits") else _MAX_COUNT
        fits = number and isinstance(value, int) and 1 <= value <= limit
        wanted = f"a whole number from 1 to {limit}"
    elif key in _DROPOUTS[kind]:
        fits, wanted = number and 0 <= value < 1, "a share from 0 to below 1"
    else:
        fits, wanted = number and math.isfinite(value), "a finite number"
    if not fits:
        raise CheckpointError(f"{source} has {key} = {value!r}, which must be {wanted}; correct that value.")
    checked: int | float | bool = value
    return checked


def _check_shapes(config: Config, kind: Kind, source: str) -> None:
    """Check that the width divides into heads of even width, as rotary embeddings need."""
    width = int(config["d_model"])
    heads = {"n_heads": int(config["n_heads"])}
    if kind == "model":
        heads["the s2 attention's heads"] = S2_HEADS
    for name, count in heads.items():
        if width % (2 * count):
            raise CheckpointError(
                f"{source} has d_model = {width}, which {name} = {count} cannot divide into heads of even "
                f"width; choose a multiple of {2 * count}."
            )


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


def subfolder_of(folder: Path, kind: Kind) -> Path:
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

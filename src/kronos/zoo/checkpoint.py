"""Checkpoint folders: their files, and checks of them without torch.

- Weights are read from ``model.safetensors`` only; pickled weights can run code and are rejected.
- The header of a safetensors file has its length, so truncated downloads are detected before tensors are loaded.
- ``kronos.json`` records the context, the tokenizer, the form of the s2 attention and the training cutoffs; an optional
  ``calibration.json`` corrects the model's forecasts.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kronos.errors import CheckpointError

Kind = Literal["model", "tokenizer"]
Config = Mapping[str, int | float | bool]

CONFIG, WEIGHTS, RECORD = "config.json", "model.safetensors", "kronos.json"
_MAX_NAME = 80  # characters of a recorded name
CALIBRATION = "calibration.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_MAX_JSON = 2**20
_MAX_HEADER = 100 * 2**20  # limit of the safetensors format
_POINTER = b"version https://git-lfs"

S2_HEADS = 4  # heads of the model's s2 cross-attention, independent of n_heads
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
    """Required keys of a ``config.json`` of this kind."""
    return (*_COUNTS[kind], *_DROPOUTS[kind], *_NUMBERS[kind], *_FLAGS[kind])


def kind_of(config: Mapping[str, object]) -> Kind | None:
    """Kind of network that a configuration describes, or None."""
    if "n_enc_layers" in config or "d_in" in config:
        return "tokenizer"
    return "model" if "n_layers" in config else None


def check_config(config: Mapping[str, object], kind: Kind, source: str) -> Config:
    """Check the keys and values of a configuration.

    Args:
        config: Content of ``config.json``.
        kind: Expected kind of network.
        source: Name of the file, for errors.

    Returns:
        Arguments of the constructor, in its order.

    Raises:
        CheckpointError: If a key is missing or a value is invalid.
    """
    missing = [key for key in config_keys(kind) if key not in config]
    if missing:
        raise CheckpointError(
            f"{source} lacks {', '.join(missing)} of a Kronos {kind}; use the config.json that was saved with the "
            f"weights."
        )
    checked = {key: _value(config[key], key, kind, source) for key in config_keys(kind)}
    _check_shapes(checked, kind, source)
    return checked


def count_parameters(config: Config, kind: Kind) -> int:
    """Compute the number of trainable parameters of a network from its configuration.

    Args:
        config: Arguments of the constructor.
        kind: Kind of network.
    """
    size = {key: int(config[key]) for key in _COUNTS[kind]}
    return _model_parameters(size, config) if kind == "model" else _tokenizer_parameters(size)


def _model_parameters(size: Mapping[str, int], config: Config) -> int:
    width = size["d_model"]
    rows: int = 2 ** size["s1_bits"] + 2 ** size["s2_bits"]  # both vocabularies
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
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if key in _FLAGS[kind]:
        fits, expected = isinstance(value, bool), "true or false"
    elif key in _COUNTS[kind]:
        limit = _MAX_BITS if key.endswith("_bits") else _MAX_COUNT
        fits = number and isinstance(value, int) and 1 <= value <= limit
        expected = f"a whole number from 1 to {limit}"
    elif key in _DROPOUTS[kind]:
        fits, expected = number and 0 <= value < 1, "a share from 0 to below 1"
    else:
        fits, expected = number and math.isfinite(value), "a finite number"
    if not fits:
        raise CheckpointError(f"{source}: invalid {key} {value!r}; it must be {expected}.")
    checked: int | float | bool = value
    return checked


def _check_shapes(config: Config, kind: Kind, source: str) -> None:
    """Check that the width divides into heads of even width, as rotary embeddings require."""
    width = int(config["d_model"])
    heads = {"n_heads": int(config["n_heads"])}
    if kind == "model":
        heads["the s2 attention's heads"] = S2_HEADS
    for name, count in heads.items():
        if width % (2 * count):
            raise CheckpointError(
                f"{source}: invalid d_model {width}; {name} = {count} needs heads of even width, so choose a multiple "
                f"of {2 * count}."
            )


@dataclass(frozen=True)
class TensorInfo:
    """Entry of a tensor in the header of a safetensors file.

    Attributes:
        dtype: Data type in the notation of safetensors, such as ``F32``.
        shape: Shape of the tensor.
    """

    dtype: str
    shape: tuple[int, ...]


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder looks like a checkpoint or a forecasting folder, complete or not."""
    names = (CONFIG, WEIGHTS, "model", "tokenizer")
    return folder.is_dir() and any((folder / name).exists() for name in names)


def subfolder_of(folder: Path, kind: Kind) -> Path:
    """The part of a forecasting folder for this kind; the folder itself if it is a checkpoint."""
    inner = folder / kind
    return inner if inner.is_dir() and not (folder / CONFIG).is_file() else folder


def checkpoint_name(folder: Path) -> str:
    """Name of a checkpoint in a folder: the recorded one, else the folder's, or its parent's if it is only a part.

    ``outputs/models/mine/model`` is a part of ``mine``, by its sibling ``tokenizer`` or the run's ``config.yaml``.

    Args:
        folder: The folder, complete or not.
    """
    real = Path(os.path.abspath(folder))  # noqa: PTH100 (no links)
    for part in (real, real / "model"):
        with suppress(CheckpointError):
            name = read_json(part / RECORD).get("name") if (part / RECORD).is_file() else None
            if isinstance(name, str) and name.isprintable() and 0 < len(name.strip()) <= _MAX_NAME:
                return name.strip()
    others = [*(real.parent / kind / CONFIG for kind in ("model", "tokenizer") if kind != real.name), _run_config(real)]
    is_part = real.name in ("model", "tokenizer") and any(path.is_file() for path in others)
    return (real.parent.name if is_part else real.name) or str(folder)


def _run_config(folder: Path) -> Path:
    """The configuration that a training leaves above a network's folder."""
    return folder.parent / "config.yaml"


def check_folder(folder: Path, kind: Kind) -> Config:
    """Check that a folder has a complete checkpoint of this kind.

    Args:
        folder: Folder with ``config.json`` and ``model.safetensors``.
        kind: Expected kind of network.

    Returns:
        Arguments of the constructor.

    Raises:
        CheckpointError: If a file is missing, unreadable, truncated, or of another kind or shape.
    """
    _check_present(folder, kind)
    config = read_config(folder, kind)
    tensors = read_header(folder / WEIGHTS)
    _check_shape(folder, config, kind, tensors)
    return config


def read_config(folder: Path, kind: Kind) -> Config:
    """Read and check the ``config.json`` of a checkpoint.

    Args:
        folder: Folder of the checkpoint.
        kind: Expected kind of network.

    Returns:
        Arguments of the constructor.

    Raises:
        CheckpointError: If it is not a JSON object, is of the other kind, or has invalid values.
    """
    path = folder / CONFIG
    content = read_json(path)
    found = kind_of(content)
    if found is not None and found != kind:
        raise CheckpointError(f"{folder} holds a {found}, not a {kind}; pass the folder of a {kind}.")
    return check_config(content, kind, str(path))


def read_json(path: Path) -> Mapping[str, object]:
    """Read a small JSON file with one object.

    Raises:
        CheckpointError: If the file cannot be read or has other content.
    """
    fix = "copy it again from the original checkpoint"
    try:
        if path.stat().st_size > _MAX_JSON:
            raise CheckpointError(f"{path} is larger than 1 MB, too large for a file of a checkpoint; {fix}.")
        content = json.loads(path.read_text("utf-8"))
    except CheckpointError:
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"{path} cannot be read ({reason}); {fix}.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({_first_line(error)}); {fix}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must contain a JSON object, not {type(content).__name__}; {fix}.")
    return content


def read_header(path: Path) -> Mapping[str, TensorInfo]:
    """Read the header of a safetensors file and check that the file is complete.

    Format (huggingface/safetensors, README, "Format"): eight bytes with the length of the header, little-endian; the
    header, a JSON object of tensors with their offsets; then exactly the bytes up to the last offset.

    Returns:
        Entries of the tensors by name.

    Raises:
        CheckpointError: If the file has another format or is truncated.
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
        raise CheckpointError(f"{path} cannot be read ({reason}); check its permissions.") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: its header is corrupt; download it again.") from error
    if size != 8 + length + end:
        fault = "is truncated" if size < 8 + length + end else "has extra bytes"
        raise CheckpointError(
            f"{path} {fault}: {size:,} bytes instead of {8 + length + end:,}; delete it and download it again."
        )
    return tensors


def _check_present(folder: Path, kind: Kind) -> None:
    """Check that both files exist; pickled weights get a message of their own."""
    if not (folder / WEIGHTS).is_file():
        pickled = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES)
        if pickled:
            raise CheckpointError(
                f"{folder} has only pickled weights ({pickled[0]}), which can run code and are never loaded; save them "
                f"as {WEIGHTS}."
            )
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} has no {name}; copy {CONFIG} and {WEIGHTS} of a {kind} to it.")


def _check_start(path: Path, start: bytes, length: int, size: int) -> None:
    """Detect other formats and truncation by the first bytes of a file."""
    if start.startswith(_POINTER):
        raise CheckpointError(f"{path} is a git-lfs pointer instead of the weights; run 'git lfs pull' in its folder.")
    if len(start) < 8 or start[8:9] not in (b"{", b"") or length > _MAX_HEADER:
        raise CheckpointError(f"{path} is not a safetensors file; download it again.")
    if 8 + length > size:
        raise CheckpointError(f"{path} is truncated in its header ({size:,} bytes); delete it and download it again.")


def _tensors(header: Any) -> tuple[dict[str, TensorInfo], int]:
    """Entries of a header, and the offset of the last byte."""
    tensors, end = {}, 0
    for name, entry in dict(header).items():
        if name == "__metadata__":
            continue
        begin, stop = (int(offset) for offset in entry["data_offsets"])
        if not 0 <= begin <= stop:
            raise ValueError(name)
        tensors[name] = TensorInfo(str(entry["dtype"]), tuple(int(n) for n in entry["shape"]))
        end = max(end, stop)
    return tensors, end


def _check_shape(folder: Path, config: Config, kind: Kind, tensors: Mapping[str, TensorInfo]) -> None:
    """Check the shape of one tensor, to detect the configuration of another checkpoint."""
    width = int(config["d_model"])
    if kind == "model":
        name, expected = "embedding.emb_s1.weight", (2 ** int(config["s1_bits"]), width)
    else:
        name, expected = "embed.weight", (width, int(config["d_in"]))
    if name not in tensors:
        raise CheckpointError(
            f"{folder / WEIGHTS} has no tensor {name}, so it is not a Kronos {kind}; pass the folder of a {kind}."
        )
    if tensors[name].shape != expected:
        raise CheckpointError(
            f"{folder / WEIGHTS} and {CONFIG} do not match: {name} has shape {tensors[name].shape} instead of "
            f"{expected}; copy both files from one checkpoint."
        )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__

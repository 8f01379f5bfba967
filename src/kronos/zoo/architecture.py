"""What a checkpoint's ``config.json`` must say, and how large a network it describes.

- The keys are the constructors' arguments; a model and a tokenizer are told apart by them.
- Every value is checked before torch hears of it, so that a broken configuration is one sentence, not a
  traceback.
- Keys that are not the constructor's (other tools leave such) are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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

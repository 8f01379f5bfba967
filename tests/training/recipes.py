"""A tiny checkpoint, a candle file, and a configuration that trains on them in seconds."""

from __future__ import annotations

from pathlib import Path

import torch

from evaluation.random_walks import candles
from kronos.nn import Kronos, KronosTokenizer
from kronos.training.config import TrainConfig

DROPOUTS = {"ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0}
MODEL = {
    **{"s1_bits": 4, "s2_bits": 4, "n_layers": 1, "d_model": 16, "n_heads": 2, "ff_dim": 32},
    **DROPOUTS,
    **{"token_dropout_p": 0.0, "learn_te": True},
}
TOKENIZER = {
    **{"d_in": 6, "d_model": 16, "n_heads": 2, "ff_dim": 32, "n_enc_layers": 2, "n_dec_layers": 2},
    **DROPOUTS,
    **{"s1_bits": 4, "s2_bits": 4, "beta": 0.05, "gamma0": 1.0, "gamma": 1.1, "zeta": 0.05, "group_size": 4},
}


def write_checkpoint(folder: Path, context: int = 64, *, model: dict | None = None) -> Path:
    """Write a tokenizer and a model with random weights."""
    torch.manual_seed(0)
    Kronos(**(MODEL | (model or {}))).save_pretrained(folder / "model", context=context, tokenizer="../tokenizer")
    KronosTokenizer(**TOKENIZER).save_pretrained(folder / "tokenizer")
    return folder


def write_candles(path: Path, rows: int = 400, seed: int = 0) -> Path:
    """Write an hourly random walk as a CSV file."""
    candles(seed, rows).frame.reset_index().to_csv(path, index=False)
    return path


def small(tmp_path: Path, **changes) -> TrainConfig:
    """Configuration of a few steps on a random walk, from a random checkpoint; writes both if they are missing."""
    start, data = tmp_path / "start", tmp_path / "walk_1h.csv"
    if not start.exists():
        write_checkpoint(start)
        write_candles(data)
    values = {
        "model_name": "Small",
        "data": str(data),
        "start": str(start),
        "stages": ["tokenizer", "model"],
        "windows": {"lookback": 16, "predict": 4},
        "quality": "none",
        "training": {"batch_size": 4, "epochs": 1, "steps_per_epoch": 2, "validation_batches": 2, "device": "cpu"},
        "output": str(tmp_path / "models"),
    }
    return TrainConfig.check(
        {name: value for name, value in (values | changes).items() if value is not None}, "small.yaml"
    )

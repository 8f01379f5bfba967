"""Fixtures of the command line: a small random checkpoint, and commands run in this process or in a new one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner, Result

import forks
from kronos.cli import app
from kronos.nn import Kronos, KronosTokenizer
from kronos.zoo import DEFAULT_MODEL

BITS = {"s1_bits": 4, "s2_bits": 4}
DROPOUTS = {"ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0}
Invoke = Callable[..., Result]
Spawn = Callable[..., "subprocess.CompletedProcess[str]"]


def make_tokenizer(s1_bits: int = 4) -> KronosTokenizer:
    return KronosTokenizer(
        **{"d_in": 6, "d_model": 16, "n_heads": 2, "ff_dim": 32, "n_enc_layers": 2, "n_dec_layers": 2},
        **DROPOUTS,
        **{"s1_bits": s1_bits, "s2_bits": 4, "beta": 0.05, "gamma0": 1.0, "gamma": 1.1, "zeta": 0.05, "group_size": 4},
    )


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A forecasting folder with random weights, context 64."""
    folder = tmp_path_factory.mktemp("checkpoint") / "random-tiny"
    torch.manual_seed(0)
    model = Kronos(**BITS, **DROPOUTS, n_layers=1, d_model=16, n_heads=2, ff_dim=32, token_dropout_p=0.0, learn_te=True)
    model.save_pretrained(folder / "model", context=64, tokenizer="../tokenizer")
    make_tokenizer().save_pretrained(folder / "tokenizer")
    return folder


def make_table(rows: int = 80, start: str = "2024-03-01", freq: str = "h", seed: int = 0) -> pd.DataFrame:
    """Valid candles of a random walk."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    opened = np.concatenate([[100.0], close[:-1]])
    table = pd.DataFrame({"timestamps": pd.date_range(start, periods=rows, freq=freq), "open": opened, "close": close})
    table["high"] = table[["open", "close"]].max(axis=1) * 1.002
    table["low"] = table[["open", "close"]].min(axis=1) * 0.998
    table["volume"] = rng.integers(10, 100, rows)
    return table.round(dict.fromkeys(("open", "high", "low", "close"), 4))


@pytest.fixture
def candle_table() -> Callable[..., pd.DataFrame]:
    return make_table


@pytest.fixture
def tokenizer_of() -> Callable[..., KronosTokenizer]:
    return make_tokenizer


@pytest.fixture
def candles_csv(tmp_path: Path) -> Path:
    path = tmp_path / "coin_1h.csv"
    make_table().to_csv(path, index=False)
    return path


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of whoever runs the tests, and forbid downloads."""
    for name in [name for name in os.environ if name.startswith("KRONOS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KRONOS_OFFLINE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of evaluations without their figures, which take half of the time of a command."""
    monkeypatch.setattr("kronos.evaluation.report.report.EvaluationReport._figure_sections", lambda _: [])


@pytest.fixture
def small_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons of trained models at 12 origins instead of 300, which cost less than their training."""
    from kronos.training import comparison_run

    few = partial(comparison_run.ComparisonSettings, origins=12, paths=4, windows=12)
    monkeypatch.setattr(comparison_run, "ComparisonSettings", few)


@pytest.fixture
def invoke() -> Invoke:
    """Run a command in this process."""

    def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin, prog_name="kronos")

    return run


@pytest.fixture
def spawn() -> Spawn:
    """Run a command in a new process."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kronos", *map(str, arguments)]
        return forks.run(command, capture_output=True, text=True, encoding="utf-8")

    return run


@pytest.fixture
def bundled(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The random checkpoint in place of the bundled model."""
    root = tmp_path / "bundled"
    shutil.copytree(checkpoint, root / DEFAULT_MODEL)
    (root / DEFAULT_MODEL / "README.md").write_text("# kronos-nano\n\nMeasured quality: none.\n")
    monkeypatch.setattr("kronos.zoo.catalog.BUNDLED", root)
    return root / DEFAULT_MODEL

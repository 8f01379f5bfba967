"""Tiny trainings on candles that never traded, for tests; also a script, to be killed or started several times.

python runs.py '{"kind": "model", "folder": "/tmp/run", "candles": "/tmp/walk.csv", "settings": {…}, …}'
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from kronos.datasets.training_data import WindowSettings, open_training_data
from kronos.datasets.windows import WindowDataset
from kronos.nn import Kronos, KronosTokenizer
from kronos.training.callbacks import TrainingCallback
from kronos.training.config import TrainingArguments
from kronos.training.objectives import ModelObjective, TokenizerObjective
from kronos.training.trainer import TrainResult, fit

BITS = 4
WINDOWS = WindowSettings(lookback=16, predict=4, shortest=12)
SMALL = {
    **{"batch_size": 8, "epochs": 2, "steps_per_epoch": 5, "learning_rate": 3e-3},
    **{"precision": "float32", "device": "cpu", "threads": 1},
}


def write_walk(path: Path, rows: int = 600) -> Path:
    """An hourly random walk as a CSV file."""
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    opened = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
    volume = rng.lognormal(3, 1, rows)
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    frame = pd.DataFrame({"timestamps": times, "open": opened, "high": high, "low": low, "close": close})
    frame.assign(volume=volume, amount=volume * close).to_csv(path, index=False)
    return path


def tokenizer(seed: int = 1, dropout: float = 0.0) -> KronosTokenizer:
    torch.manual_seed(seed)
    return KronosTokenizer(6, 16, 2, 24, 2, 2, dropout, dropout, dropout, BITS, BITS, 0.05, 1.0, 1.1, 0.05, 4).eval()


def model(seed: int = 2, dropout: float = 0.0) -> Kronos:
    torch.manual_seed(seed)
    return Kronos(BITS, BITS, 1, 16, 2, 24, dropout, dropout, dropout, dropout, True, "causal").eval()


def objective(kind: str, dropout: float = 0.0, **options: Any) -> ModelObjective | TokenizerObjective:
    if kind == "tokenizer":
        return TokenizerObjective(tokenizer(dropout=dropout), **options)
    return ModelObjective(model(dropout=dropout), tokenizer(), **options)


def small(**changes: Any) -> TrainingArguments:
    return TrainingArguments.model_validate({**SMALL, **changes})


def datasets(candles: Path, settings: TrainingArguments) -> tuple[WindowDataset, WindowDataset]:
    data = open_training_data(candles, windows=WINDOWS, cache=candles.parent / "cache", quality="none")
    train = WindowDataset(data, "train", WINDOWS)
    train = WindowDataset(data, "train", WINDOWS, samples=settings.samples(train.available))
    return train, WindowDataset(data, "val", WINDOWS, samples=21)


def train(
    candles: Path, folder: Path, kind: str = "model", *, monitors=(), resume=True, options=None, **changes
) -> TrainResult:
    """Train a tiny network from end to end; ``options`` are the objective's, ``changes`` the settings'."""
    settings = small(**changes)
    parts = datasets(candles, settings)
    return fit(objective(kind, **(options or {})), *parts, settings, folder, monitors=monitors, resume=resume)


class Killer(TrainingCallback):
    """Kills its process, as ``kill -9`` does, after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, step: int, logs: Mapping[str, float]) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_while_writing(number: int) -> None:
    """Have this process killed when it has written so many files, and is about to put the next in its place."""
    from kronos import atomic

    publish, count = atomic._publish, [0]

    def publish_or_die(temporary: Path, final: Path) -> None:
        count[0] += 1
        if count[0] > number:
            os.kill(os.getpid(), signal.SIGKILL)
        publish(temporary, final)

    atomic._publish = publish_or_die


def main(asked: Mapping[str, Any]) -> None:
    """Do the runs; in a process of its own for each of ``deaths``, and tell what these ended with."""
    if "deaths" not in asked:
        run(asked, {})
        return
    ends = []
    for death in asked["deaths"]:
        child = os.fork()  # what takes long, to import everything, is done
        if not child:
            run(asked, death)
            os._exit(0)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    sys.stdout.write(json.dumps(ends) + "\n")


def run(asked: Mapping[str, Any], death: Mapping[str, int]) -> None:
    monitors = (Killer(death["at_step"]),) if "at_step" in death else ()
    if "at_file" in death:
        kill_while_writing(death["at_file"])
    for one in asked["runs"]:
        told = dict(one)
        train(Path(asked["candles"]), Path(told.pop("folder")), told.pop("kind"), monitors=monitors, **told)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

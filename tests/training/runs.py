"""Tiny trainings on a random walk; also a script that can be killed, or started in several processes.

python runs.py '{"kind": "model", "folder": "/tmp/run", "candles": "/tmp/walk.csv", "settings": {…}, …}'
"""

import atexit
import json
import os
import signal
import sys
import threading
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
    """Write an hourly random walk as a CSV file."""
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    opens = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(opens, close) * 1.002, np.minimum(opens, close) * 0.998
    volume = rng.lognormal(3, 1, rows)
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    frame = pd.DataFrame({"timestamps": times, "open": opens, "high": high, "low": low, "close": close})
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
    candles: Path, folder: Path, kind: str = "model", *, callbacks=(), resume=True, options=None, **changes
) -> TrainResult:
    """Train a tiny network; ``options`` are those of the objective, ``changes`` those of the settings."""
    settings = small(**changes)
    parts = datasets(candles, settings)
    return fit(objective(kind, **(options or {})), *parts, settings, folder, callbacks=callbacks, resume=resume)


class Killer(TrainingCallback):
    """Kills its process after a step, like ``kill -9``."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, step: int, logs: Mapping[str, float]) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_while_writing(files: int) -> None:
    """Kill this process after it has written that many files, just before the next one is moved into place."""
    from kronos import atomic

    publish, count = atomic._publish, [0]

    def publish_or_die(temporary: Path, final: Path) -> None:
        count[0] += 1
        if count[0] > files:
            os.kill(os.getpid(), signal.SIGKILL)
        publish(temporary, final)

    atomic._publish = publish_or_die


def main(request: Mapping[str, Any]) -> None:
    """Run the trainings; with ``deaths``, once per death in a forked process, and print the exit statuses."""
    if "deaths" not in request:
        run(request, {})
        return
    statuses = []
    for death in request["deaths"]:
        child = os.fork()  # the slow imports are done
        if not child:
            run(request, death)
            os._exit(0)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    sys.stdout.write(json.dumps(statuses) + "\n")


def record_samples(folder: Path) -> None:
    """Write the training samples that this process reads, when it ends."""
    indexes: list[int] = []
    read = WindowDataset.__getitem__

    def record(dataset: WindowDataset, index: int) -> Any:
        if dataset.part == "train" and threading.current_thread() is not threading.main_thread():  # it prefetches
            indexes.append(index)
        return read(dataset, index)

    WindowDataset.__getitem__ = record
    file = folder / f"samples-{os.environ['RANK']}.json"
    atexit.register(lambda: file.write_text(json.dumps(indexes)))


def run(request: Mapping[str, Any], death: Mapping[str, int]) -> None:
    if "trace" in request:
        record_samples(Path(request["trace"]))
    callbacks = (Killer(death["at_step"]),) if "at_step" in death else ()
    if "at_file" in death:
        kill_while_writing(death["at_file"])
    for arguments in request["runs"]:
        options = dict(arguments)
        folder, kind = Path(options.pop("folder")), options.pop("kind")
        train(Path(request["candles"]), folder, kind, callbacks=callbacks, **options)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

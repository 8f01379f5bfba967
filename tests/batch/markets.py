"""Candles in Parquet files, a small predictor, and jobs that other processes can import."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd

from kronos.batch import BatchSettings
from kronos.inference import KronosPredictor, SamplingParams
from networks import random_model, random_tokenizer


def walk(seed, rows=100, start="2024-01-01"):
    """Hourly candles of a random walk."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    times = pd.date_range(start, periods=rows, freq="h", tz="UTC", name="ds")
    volume = rng.uniform(1, 9, rows)
    values = {"open": close, "high": close * 1.002, "low": close * 0.998, "close": close, "volume": volume}
    return pd.DataFrame(values, index=times).reset_index()


def long_table(count, rows=100):
    """The candles of several series in order of time, as a feed writes them."""
    series = [walk(seed, rows).assign(unique_id=f"S{seed}") for seed in range(count)]
    return pd.concat(series).sort_values(["ds", "unique_id"], ignore_index=True)


def write(table, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False)
    return path


def tiny_predictor(seed=3):
    return KronosPredictor(random_model(seed), random_tokenizer(seed), device="cpu", max_context=64)


def few(**changes):
    """Settings of forecasts that take milliseconds."""
    options = {"horizon": 4, "sampling": SamplingParams(samples=5, seed=1), "shard_size": 3}
    return BatchSettings(**options | changes)


class PicklingEngine:
    """Computes with a copy of the job, as other processes do."""

    name, workers = "pickling", None

    def run(self, job, shards, *, gpu):
        copy = pickle.loads(pickle.dumps(job))  # noqa: S301 (of this process)
        for position in reversed(range(len(shards))):
            yield position, pickle.loads(pickle.dumps(copy(shards[position])))  # noqa: S301 (of this process)

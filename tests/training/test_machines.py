"""Training on two machines: two launches of torchrun that meet on a port, each with a process of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kronos import Kronos
from training import runs
from training.runs import train

TESTS = Path(__file__).resolve().parents[1]
OPTIONS = {"accumulation_steps": 2, "ema": 0.8}


def launch(arguments: list[str], request: dict) -> subprocess.Popen:
    """Start torchrun as on one machine."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *arguments, runs.__file__, json.dumps(request)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_together(launches: list[list[str]], walk: Path, folder: Path) -> Path:
    """Train in all launches; the folder of the training."""
    runs_of = [{**OPTIONS, "kind": "model", "folder": str(folder / "run")}]
    started = [
        launch(arguments, {"candles": str(walk), "runs": runs_of, "trace": str(folder)}) for arguments in launches
    ]
    outputs = [process.communicate(timeout=1500)[0] for process in started]
    for process, output in zip(started, outputs, strict=True):
        assert process.returncode == 0, output[-3000:]
    return folder / "run"


def read_indexes(folder: Path) -> list[list[int]]:
    """The training samples that each process read, in its order."""
    return [json.loads((folder / f"samples-{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun has no rendezvous on Windows")
def test_two_machines_train_the_weights_of_one(walk, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = ["--master-addr", "127.0.0.1", "--master-port", port, "--local-addr", "127.0.0.1"]
    machines = [["--nnodes", "2", "--node-rank", rank, "--nproc-per-node", "1", *address] for rank in ("0", "1")]
    for folder in ("apart", "together"):
        (tmp_path / folder).mkdir()
    apart = run_together(machines, walk, tmp_path / "apart")
    together = run_together([["--standalone", "--nproc-per-node", "2"]], walk, tmp_path / "together")
    expected, actual = (load_file(folder / "best" / "model.safetensors") for folder in (together, apart))
    assert all(torch.equal(actual[name], value) for name, value in expected.items())

    first, second = read_indexes(tmp_path / "apart")
    assert [first, second] == read_indexes(tmp_path / "together")
    size, epochs = runs.SMALL["batch_size"], runs.SMALL["epochs"]
    assert sorted(first + second) == sorted([*range(size * runs.SMALL["steps_per_epoch"])] * epochs)
    assert not set(first) & set(second)

    # Its checkpoints are those of any training: another machine loads them, and finds nothing left to train.
    moved = shutil.copytree(apart, tmp_path / "elsewhere")
    loaded = Kronos.from_pretrained(moved / "best").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())
    resumed = train(walk, moved, **OPTIONS)
    assert resumed.stopped == "finished"
    assert resumed.best == json.loads((apart / "resume" / "latest.json").read_text())["progress"]["best"]

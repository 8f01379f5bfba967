"""Training in two processes, or in a process that is killed, ends with the weights of one uninterrupted process."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import forks
from kronos.errors import ParameterError
from kronos.training import Process, process
from kronos.training.distributed import average_over_processes
from training import runs
from training.runs import objective, train

TESTS = Path(__file__).resolve().parents[1]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}


def launch(request: Mapping[str, Any], processes: int = 1) -> list[subprocess.CompletedProcess[str]]:
    """Run the trainings in processes with the variables that torchrun sets; cli/test_train_command.py has torchrun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(processes)}
    started = []
    for rank in map(str, range(processes)):
        member = {**together, "RANK": rank, "LOCAL_RANK": rank} if processes > 1 else {}
        process = forks.Popen(
            [sys.executable, runs.__file__, json.dumps(request)],
            preload=(*forks.TRAINING, "training.runs"),
            env={**os.environ, **ENVIRONMENT, **member},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
    done = []
    for process in started:
        out, errors = process.communicate(timeout=200)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, out, errors))
    return done


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "best" / "model.safetensors")


def flat(values: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """All floating-point values, in the order of their names."""
    return torch.cat([value.flatten() for _, value in sorted(values.items()) if value.is_floating_point()])


TRAININGS = [
    {"kind": "model", "accumulation_steps": 2, "ema": 0.8},
    {"kind": "tokenizer"},
]


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(walk, tmp_path):
    """For both networks, with and without gradient accumulation; the validation samples do not divide by two."""
    requests = [{**options, "folder": str(tmp_path / "two" / options["kind"])} for options in TRAININGS]
    for done in launch({"candles": str(walk), "runs": requests}, processes=2):
        assert done.returncode == 0, done.stderr[-2000:]
    for options in TRAININGS:
        first, second = (tmp_path / processes / options["kind"] for processes in ("one", "two"))
        result = train(walk, first, **options)
        expected, actual = flat(weights(first)), flat(weights(second))
        change = expected - flat(objective(options["kind"]).network.state_dict())
        assert (actual - expected).norm() <= 1e-5 * expected.norm(), options
        assert (actual - expected).norm() <= 1e-3 * change.norm(), options
        state = json.loads((second / "resume" / "latest.json").read_text())["progress"]
        assert state["best"] == pytest.approx(result.best, rel=1e-5)
        assert state["history"][-1]["train_loss"] == pytest.approx(result.history[-1]["train_loss"], rel=1e-5)


@pytest.mark.slow
def test_killed_training_resumes_to_the_same_weights(walk, tmp_path):
    """Killed between two steps, or after writing a checkpoint, its pointer or the best weights, before moving it."""
    options = {"options": {"dropout": 0.3}, "log_steps": 1, "checkpoint_minutes": 1e-9}
    request = {"candles": str(walk), "runs": [{**options, "kind": "model", "folder": str(tmp_path / "killed")}]}
    (done,) = launch({**request, "deaths": [{"at_step": 3}, {"at_file": 3}, {"at_file": 9}]})
    assert done.stdout.split("\n")[-2:] == [str([-signal.SIGKILL.value] * 3), ""], done.stderr[-2000:]
    train(walk, tmp_path / "killed", **options)
    train(walk, tmp_path / "whole", **options)
    actual, expected = weights(tmp_path / "killed"), weights(tmp_path / "whole")
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_single_process_changes_nothing():
    with process("cpu") as member:
        assert (member.rank, member.world_size, member.is_first) == (0, 1, True)
        value = torch.tensor([1.0, 2.0])
        assert average_over_processes(value) is value
        assert torch.equal(member.all_reduce(value.clone()), value)


def test_invalid_environment_raises(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(ParameterError, match="WORLD_SIZE"), process("cpu"):
        pass


def test_indivisible_batch_raises():
    with pytest.raises(ParameterError, match="multiple"):
        Process(0, 3, torch.device("cpu")).per_process(8, "A micro-batch")

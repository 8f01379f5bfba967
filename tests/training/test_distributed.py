"""Two processes end with the weights that one ends with, and a killed one with those of an uninterrupted one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from kronos.errors import ParameterError
from kronos.training import Process, process
from kronos.training.distributed import average_over_processes
from training import runs
from training.runs import objective, train

TESTS = Path(__file__).resolve().parents[1]
ONE = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}


def launch(asked: Mapping[str, Any], processes: int = 1) -> subprocess.CompletedProcess[str]:
    """Train in processes of its own; by torchrun if there are several."""
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(several if processes > 1 else []), runs.__file__, json.dumps(asked)]
    return subprocess.run(command, env={**os.environ, **ONE}, capture_output=True, text=True, timeout=200, check=False)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "best" / "model.safetensors")


def flat(values: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """All floating-point values, in the order of their names."""
    return torch.cat([one.flatten() for _, one in sorted(values.items()) if one.is_floating_point()])


SHARED = [
    {"kind": "model", "accumulation_steps": 2, "ema": 0.8},
    {"kind": "tokenizer"},
]


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(walk, tmp_path):
    """Of either network, with micro-batches and without; a validation of as many samples as don't divide by two."""
    told = [{**one, "folder": str(tmp_path / "two" / str(number))} for number, one in enumerate(SHARED)]
    done = launch({"candles": str(walk), "runs": told}, processes=2)
    assert done.returncode == 0, done.stderr[-2000:]
    for number, one in enumerate(SHARED):
        asked = dict(one)
        fitted = train(walk, tmp_path / "one" / str(number), asked.pop("kind"), **asked)
        mine, theirs = (flat(weights(tmp_path / which / str(number))) for which in ("one", "two"))
        learnt = mine - flat(objective(one["kind"]).network.state_dict())
        assert (theirs - mine).norm() <= 1e-5 * mine.norm(), one
        assert (theirs - mine).norm() <= 1e-3 * learnt.norm(), one
        told = json.loads((tmp_path / "two" / str(number) / "resume" / "latest.json").read_text())["progress"]
        assert told["best"] == pytest.approx(fitted.best, rel=1e-5)
        assert told["history"][-1]["train_loss"] == pytest.approx(fitted.history[-1]["train_loss"], rel=1e-5)


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_weights(walk, tmp_path):
    """Between two steps, and when a state, its pointer or the best weights are whole but not in their place yet."""
    told = {"options": {"dropout": 0.3}, "log_steps": 1, "checkpoint_minutes": 1e-9}
    asked = {"candles": str(walk), "runs": [{**told, "kind": "model", "folder": str(tmp_path / "killed")}]}
    done = launch({**asked, "deaths": [{"at_step": 3}, {"at_file": 3}, {"at_file": 9}]})
    assert done.stdout.split("\n")[-2:] == [str([-signal.SIGKILL.value] * 3), ""], done.stderr[-2000:]
    train(walk, tmp_path / "killed", **told)
    train(walk, tmp_path / "whole", **told)
    got, want = weights(tmp_path / "killed"), weights(tmp_path / "whole")
    assert all(torch.equal(got[name], value) for name, value in want.items())


def test_alone_nothing_is_shared():
    with process("cpu") as ours:
        assert (ours.rank, ours.world, ours.first) == (0, 1, True)
        value = torch.tensor([1.0, 2.0])
        assert average_over_processes(value) is value
        assert torch.equal(ours.add_up(value.clone()), value)


def test_a_strange_environment_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(ParameterError, match="WORLD_SIZE"), process("cpu"):
        pass


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ParameterError, match="multiple"):
        Process(0, 3, torch.device("cpu")).share(8, "A micro-batch")

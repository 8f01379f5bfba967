"""Environment of torchrun: rank, number of processes, first process."""

import pytest

from kronos.errors import ParameterError
from kronos.training.torchrun import is_first, rank, world_size


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"RANK": "0", "WORLD_SIZE": "2"}, True),
        ({"RANK": "1", "WORLD_SIZE": "2"}, False),
        ({"RANK": "1"}, True),  # left over from something else: there is only one process
    ],
)
def test_is_first(monkeypatch, environment, first):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first() is first


@pytest.mark.parametrize(("name", "call"), [("RANK", rank), ("WORLD_SIZE", world_size)])
def test_invalid_environment_raises(monkeypatch, name, call):
    monkeypatch.setenv(name, "many")
    with pytest.raises(ParameterError, match=name):
        call()

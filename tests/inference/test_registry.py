"""The registry of classes: users' own beside the published three, none taken over by accident."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import kronos
from kronos.errors import ParameterError
from networks import random_model


class Wider(kronos.Kronos):
    """A user's own model."""


@pytest.fixture(autouse=True)
def _registry_as_before() -> Iterator[None]:
    before = dict(kronos.model_dict)
    yield
    kronos.model_dict.clear()
    kronos.model_dict.update(before)


def test_a_registered_class_is_found_by_its_name_and_loads_checkpoints(tmp_path: Path) -> None:
    kronos.register_model("wider", Wider)
    assert kronos.get_model_class("wider") is Wider
    assert list(kronos.model_dict) == ["kronos_tokenizer", "kronos", "kronos_predictor", "wider"]
    base = random_model(1)
    base.save_pretrained(tmp_path, context=32)
    loaded = kronos.get_model_class("wider").from_pretrained(tmp_path)
    assert isinstance(loaded, Wider)
    torch.testing.assert_close(loaded.state_dict(), base.state_dict(), rtol=0, atol=0)


def test_no_name_is_taken_over_without_saying_so() -> None:
    kronos.register_model("wider", Wider)
    kronos.register_model("wider", Wider)  # the same again, as when a notebook's cell runs twice
    for name in ("wider", "kronos"):
        with pytest.raises(ParameterError, match=f"'{name}' is registered for .*replace=True"):
            kronos.register_model(name, kronos.KronosPredictor)
    assert kronos.get_model_class("kronos") is kronos.Kronos
    kronos.register_model("wider", kronos.KronosPredictor, replace=True)
    assert kronos.get_model_class("wider") is kronos.KronosPredictor


@pytest.mark.parametrize(("name", "cls"), [("", Wider), ("  ", Wider), ("wider", random_model), ("wider", None)])
def test_what_is_no_class_or_has_no_name_is_refused(name: str, cls: type) -> None:
    with pytest.raises(ParameterError):
        kronos.register_model(name, cls)
    assert "wider" not in kronos.model_dict

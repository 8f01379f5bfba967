"""Registry of classes: the published three, and users' own."""

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


def test_registered_class_loads_checkpoints(tmp_path: Path) -> None:
    kronos.register_model("wider", Wider)
    assert kronos.get_model_class("wider") is Wider
    assert list(kronos.model_dict) == ["kronos_tokenizer", "kronos", "kronos_predictor", "wider"]
    base = random_model(1)
    base.save_pretrained(tmp_path, context=32)
    loaded = kronos.get_model_class("wider").from_pretrained(tmp_path)
    assert isinstance(loaded, Wider)
    torch.testing.assert_close(loaded.state_dict(), base.state_dict(), rtol=0, atol=0)


def test_names_are_only_replaced_on_request() -> None:
    kronos.register_model("wider", Wider)
    kronos.register_model("wider", Wider)  # repeating it is harmless, as when a notebook cell runs twice
    for name in ("wider", "kronos"):
        with pytest.raises(ParameterError, match=f"'{name}' is registered for .*replace=True"):
            kronos.register_model(name, kronos.KronosPredictor)
    assert kronos.get_model_class("kronos") is kronos.Kronos
    kronos.register_model("wider", kronos.KronosPredictor, replace=True)
    assert kronos.get_model_class("wider") is kronos.KronosPredictor


@pytest.mark.parametrize(("name", "cls"), [("", Wider), ("  ", Wider), ("wider", random_model), ("wider", None)])
def test_invalid_registrations(name: str, cls: type) -> None:
    with pytest.raises(ParameterError):
        kronos.register_model(name, cls)
    assert "wider" not in kronos.model_dict


def test_published_classes() -> None:
    assert kronos.get_model_class("kronos") is kronos.Kronos
    assert kronos.get_model_class("kronos_tokenizer") is kronos.KronosTokenizer
    assert kronos.get_model_class("kronos_predictor") is kronos.KronosPredictor
    with pytest.raises(NotImplementedError, match="'chronos'"):
        kronos.get_model_class("chronos")

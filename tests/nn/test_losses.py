"""Training losses and gradients, compared with the published code; tests/golden has everything else."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from kronos.nn import Kronos, KronosTokenizer

TOLERANCE = 1e-4  # of an array's scale


class Golden(NamedTuple):
    tokenizer: KronosTokenizer
    model: Kronos
    expected: dict[str, np.ndarray]

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.expected[name])


@pytest.fixture(scope="module", params=["tiny", "tiny_fixed_time"])
def golden(request: pytest.FixtureRequest, shared: Path) -> Golden:
    folder = shared / "golden" / request.param
    with np.load(folder / "expected.npz") as file:
        expected = dict(file)
    return Golden(KronosTokenizer.from_pretrained(folder), Kronos.from_pretrained(folder), expected)


def assert_close(actual: torch.Tensor | float, expected: np.ndarray) -> None:
    array = np.asarray(actual.detach() if isinstance(actual, torch.Tensor) else actual)
    assert array.shape == expected.shape
    assert np.abs(array - expected).max() <= TOLERANCE * np.abs(expected).max()


def grad_norm(module: torch.nn.Module) -> torch.Tensor:
    return torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm()


def test_tokenizer_loss_and_gradients(golden: Golden) -> None:
    golden.tokenizer.zero_grad()
    loss = golden.tokenizer.compute_loss(golden.tensor("x"))
    loss.total.backward()
    assert_close(torch.stack((loss.total, loss.quantizer.total)), golden.expected["tok_train_loss"])
    assert_close(grad_norm(golden.tokenizer), golden.expected["tok_train_grad_norm"])


@pytest.mark.parametrize("training", [True, False])
def test_model_loss_and_gradients_in_the_training_form(golden: Golden, training: bool) -> None:
    expected = golden.expected
    s1, s2, stamp = (golden.tensor(n) for n in ("s1_ids", "s2_ids", "stamp"))
    golden.model.train(training).zero_grad()  # these checkpoints have no dropout, and the mode changes nothing else
    s1_logits, s2_logits = golden.model(
        s1[:, :-1], s2[:, :-1], stamp[:, :-1], use_teacher_forcing=True, s1_targets=s1[:, 1:]
    )
    losses = golden.model.head.compute_loss(s1_logits, s2_logits, s1[:, 1:], s2[:, 1:])
    losses[0].backward()
    golden.model.eval()
    assert_close(s1_logits, expected["train_s1_logits"])
    assert_close(s2_logits, expected["train_s2_logits_teacher_forced"])
    assert_close(torch.stack(losses), expected["train_loss"])
    assert_close(grad_norm(golden.model), expected["train_grad_norm"])

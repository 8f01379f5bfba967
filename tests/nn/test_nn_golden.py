"""The networks give the numbers that the published code gives on the same weights."""

import json
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


def assert_close(got: torch.Tensor | float, want: np.ndarray) -> None:
    array = np.asarray(got.detach() if isinstance(got, torch.Tensor) else got)
    assert array.shape == want.shape
    assert np.abs(array - want).max() <= TOLERANCE * np.abs(want).max()


def grad_norm(module: torch.nn.Module) -> torch.Tensor:
    return torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm()


def test_tokens_are_equal(golden: Golden) -> None:
    x = golden.tensor("x")
    s1, s2 = golden.tokenizer.encode(x, half=True)
    np.testing.assert_array_equal(s1, golden.expected["s1_ids"])
    np.testing.assert_array_equal(s2, golden.expected["s2_ids"])
    np.testing.assert_array_equal(golden.tokenizer.encode(x), golden.expected["full_ids"])


def test_tokenizer_reconstructs_and_decodes(golden: Golden) -> None:
    want = golden.expected
    (coarse, full), loss, quantized, ids = golden.tokenizer(golden.tensor("x"))
    assert_close(coarse, want["recon_s1"])
    assert_close(full, want["recon"])
    assert_close(quantized, want["quantized"])
    assert_close(loss, want["bsq_loss"])
    np.testing.assert_array_equal(ids, want["full_ids"])
    pair = [golden.tensor("s1_ids"), golden.tensor("s2_ids")]
    assert_close(golden.tokenizer.decode(pair, half=True), want["decode_half"])
    assert_close(golden.tokenizer.decode(golden.tensor("full_ids")), want["decode_full"])
    assert_close(golden.tokenizer.decode_coarse(pair[0]), want["recon_s1"])


def test_tokenizer_loss_and_gradients(golden: Golden) -> None:
    golden.tokenizer.zero_grad()
    loss = golden.tokenizer.compute_loss(golden.tensor("x"))
    loss.total.backward()
    assert_close(torch.stack((loss.total, loss.quantizer.total)), golden.expected["tok_train_loss"])
    assert_close(grad_norm(golden.tokenizer), golden.expected["tok_train_grad_norm"])


def test_model_logits_in_the_inference_form(golden: Golden) -> None:
    want = golden.expected
    s1, s2, stamp = (golden.tensor(n) for n in ("s1_ids", "s2_ids", "stamp"))
    s1_logits, context = golden.model.decode_s1(s1, s2, stamp)
    assert_close(s1_logits, want["s1_logits"])
    assert_close(context, want["context"])
    chosen = s1_logits[:, -1:].argmax(-1)
    assert_close(golden.model.decode_s2(context, chosen)[:, -1], want["s2_logits_last"])
    assert_close(golden.model.decode_s1(s1, s2)[0], want["s1_logits_no_stamp"])


@pytest.mark.parametrize("training", [True, False])
def test_model_loss_and_gradients_in_the_training_form(golden: Golden, training: bool) -> None:
    want = golden.expected
    s1, s2, stamp = (golden.tensor(n) for n in ("s1_ids", "s2_ids", "stamp"))
    golden.model.train(training).zero_grad()  # these checkpoints have no dropout, and the mode changes nothing else
    s1_logits, s2_logits = golden.model(
        s1[:, :-1], s2[:, :-1], stamp[:, :-1], use_teacher_forcing=True, s1_targets=s1[:, 1:]
    )
    losses = golden.model.head.compute_loss(s1_logits, s2_logits, s1[:, 1:], s2[:, 1:])
    losses[0].backward()
    golden.model.eval()
    assert_close(s1_logits, want["train_s1_logits"])
    assert_close(s2_logits, want["train_s2_logits_teacher_forced"])
    assert_close(torch.stack(losses), want["train_loss"])
    assert_close(grad_norm(golden.model), want["train_grad_norm"])


def test_configuration_is_kept(golden: Golden, shared: Path) -> None:
    for network, kind in ((golden.model, "model"), (golden.tokenizer, "tokenizer")):
        folder = shared / "golden" / ("tiny" if golden.model.s1_bits == 4 else "tiny_fixed_time") / kind
        assert network.config == json.loads((folder / "config.json").read_text())
        assert not network.training

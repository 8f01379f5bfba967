"""The tokenizer with constructed weights rounds exactly to its grids, in every window."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kronos import KronosTokenizer
from kronos.errors import ParameterError
from kronos.normalisation import STEPS, normalise
from kronos.training.scalar_quantizer import Grid, ScalarCode, gray_signs, scalar_tokenizer

CODE = ScalarCode()
TOKENIZER = scalar_tokenizer(CODE)


def candles(rows: int, seed: int) -> np.ndarray:
    """A random walk with steps of the size that the normalisation expects."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.standard_t(4, rows)) * 0.007)
    opens = np.concatenate(([100.0], close[:-1])) * np.exp(rng.normal(size=rows) * 0.0005)
    top, bottom = np.maximum(opens, close), np.minimum(opens, close)
    high, low = top + rng.exponential(0.4, rows), bottom - rng.exponential(0.4, rows)
    volume = rng.lognormal(3, 0.7, rows)
    return np.column_stack((opens, high, low, close, volume, volume * close))


def reconstruct(x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return TOKENIZER.decode(TOKENIZER.encode(x, half=True), half=True)


@given(st.floats(-39.9, 39.2), st.floats(-2.5, 2.5), st.floats(0.03, 3.9), st.floats(0.03, 3.9), st.floats(-0.7, 2.1))
def test_numbers_are_rounded_to_the_nearest_grid_value(close, body, upper, lower, volume):
    opens = close - body
    x = torch.tensor([opens, max(opens, close) + upper, min(opens, close) - lower, close], dtype=torch.float64)
    x = torch.cat((x / STEPS, torch.tensor([volume, volume]))).float()[None, None]
    decoded = reconstruct(x)[0, 0].double().numpy()
    prices = decoded[:4] * STEPS
    actuals = [prices[3], prices[3] - prices[0], prices[1] - prices[[0, 3]].max(), prices[[0, 3]].min() - prices[2]]
    for actual, value, grid in zip(
        [*actuals, decoded[4]], [close, body, upper, lower, volume], CODE.grids, strict=True
    ):
        best = np.abs(grid.values - value).min()
        assert abs(actual - value) <= best + 2e-3 * max(1.0, abs(value)), grid


def test_values_beyond_the_grid_are_clipped():
    x = torch.zeros(1, 2, 6)
    x[0, 0], x[0, 1] = 5.0, -5.0
    decoded = reconstruct(x)[0, :, 3] * STEPS
    np.testing.assert_allclose(decoded.numpy(), [CODE.close.values[-1], -40.0], rtol=1e-3)


def test_last_known_close_is_exact():
    x, _ = normalise(candles(64, 4), 5, normalisation="steps")
    assert reconstruct(torch.tensor(x)[None])[0, -1, 3] == pytest.approx(0, abs=1e-6)


def test_steps_are_accurate_to_a_tenth_of_their_volatility():
    x, _ = normalise(candles(400, 3), 5, normalisation="steps")
    decoded = reconstruct(torch.tensor(x)[None])[0].numpy()
    step = np.diff(x[:, 3]).std()
    errors = np.diff(decoded[:, 3] - x[:, 3])
    assert errors[-48:].std() < 0.1 * step  # near the last close, where forecasts are
    assert errors.std() < 0.2 * step
    assert abs(decoded[-1, 3] - x[-1, 3]) < 0.1 * step


def test_coarse_token_is_the_close():
    x, _ = normalise(candles(60, 5), 5, normalisation="steps")
    with torch.no_grad():
        s1, _ = TOKENIZER.encode(torch.tensor(x)[None], half=True)
        coarse = TOKENIZER.decode_coarse(s1)
    np.testing.assert_allclose(coarse[..., 3], reconstruct(torch.tensor(x)[None])[..., 3], atol=1e-4)


def test_candles_are_encoded_independently():
    x, _ = normalise(candles(64, 8), 5, normalisation="steps")
    whole = TOKENIZER.encode(torch.tensor(x)[None])
    alone = TOKENIZER.encode(torch.tensor(x)[:, None])
    assert torch.equal(whole[0], alone[:, 0])


def test_gray_code_neighbours_differ_in_one_bit():
    signs = gray_signs(6)
    assert len(np.unique(signs, axis=0)) == 64
    assert set((np.diff(signs, axis=0) != 0).sum(1)) == {1}


def test_saved_tokenizer_loads(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = KronosTokenizer.from_pretrained(tmp_path)
    assert loaded.normalisation == "steps"
    x, _ = normalise(candles(64, 2), 5, normalisation="steps")
    assert torch.equal(loaded.encode(torch.tensor(x)[None]), TOKENIZER.encode(torch.tensor(x)[None]))


def test_bundled_tokenizer_is_the_constructed_one():
    bundled = KronosTokenizer.from_pretrained("kronos-tokenizer-nano")
    assert bundled.normalisation == TOKENIZER.normalisation
    constructed = TOKENIZER.state_dict()
    assert bundled.state_dict().keys() == constructed.keys()
    for name, weights in bundled.state_dict().items():
        torch.testing.assert_close(weights, constructed[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bits", [(1, 1, 1, 1), (6, 2, 1, 3), (9, 4, 3, 1)])
def test_other_grids(bits):
    close, body, wick, volume = bits
    code = ScalarCode(Grid(close, -30, 30, 5), Grid(body, -2, 2, 0.5), Grid(wick, 0.05, 3, 0.5), Grid(volume, -1, 2, 1))
    tokenizer = scalar_tokenizer(code)
    assert (tokenizer.s1_bits, tokenizer.s2_bits) == (close, body + 2 * wick + volume)
    ids = torch.arange(2**close)[:, None]
    with torch.no_grad():
        levels = tokenizer.decode_coarse(ids)[:, 0, 3] * STEPS
    np.testing.assert_allclose(np.sort(levels.numpy()), code.close.values, rtol=2e-3, atol=2e-3)


def test_invalid_grid_raises():
    with pytest.raises(ParameterError, match="1 to 12 bits"):
        Grid(3, 2.0, 1.0, 0.5)
    with pytest.raises(ParameterError, match="low = -high"):
        Grid(3, -1.0, 2.0, 0.5, with_zero=True)

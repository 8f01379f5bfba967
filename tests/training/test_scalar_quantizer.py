"""The tokenizer with constructed weights rounds exactly to its grids, for every market."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kronos import KronosPredictor, KronosTokenizer
from kronos.errors import ParameterError
from kronos.normalisation import NO_VOLUME, normalise
from kronos.training.scalar_quantizer import COLUMN_ORDER, Grid, ScalarCode, gray_signs, scalar_tokenizer
from networks import random_model
from test_normalisation import walk

CODE = ScalarCode()
TOKENIZER = scalar_tokenizer(CODE)


def reconstruct(x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        tokens = TOKENIZER.encode(torch.tensor(x, dtype=torch.float32)[None], half=True)
        return TOKENIZER.decode(tokens, half=True)[0].double().numpy()


@given(st.floats(-4.1, 3.9), st.floats(-4.6, 4.1), st.floats(0, 4.48), st.floats(0, 4.48), st.floats(-2.9, 2.9))
def test_every_part_is_rounded_to_the_nearest_value(change, gap, upper, lower, volume):
    x = np.zeros((1, 6))
    x[0, COLUMN_ORDER] = change, gap, upper, lower, volume
    decoded = reconstruct(x)
    for column, grid in zip(COLUMN_ORDER, CODE.grids, strict=True):
        value = x[0, column]
        assert abs(decoded[0, column] - value) <= np.abs(grid.values - value).min() + 2e-3, column


def test_no_change_is_exact():
    decoded = reconstruct(np.array([[0, 0, 0, 0, NO_VOLUME, 0]]))
    np.testing.assert_allclose(decoded[0, [0, 1, 2, 3, 4]], [0, 0, 0, 0, NO_VOLUME], atol=1e-3)


def test_values_beyond_the_grids_are_clipped():
    decoded = reconstruct(np.array([[5.0] * 6, [-5.0] * 6]))
    for column, grid in zip(COLUMN_ORDER, CODE.grids, strict=True):
        np.testing.assert_allclose(decoded[:, column], [grid.values[-1], grid.values[0]], atol=1e-2)


def test_changes_are_accurate_to_a_twentieth_of_their_volatility():
    candles = walk(400, 3)
    x, scaler = normalise(candles[:300], 5, normalisation="changes")
    x = scaler.transform(candles)[300:]
    restored = scaler.inverse_transform(reconstruct(np.clip(x, -5, 5)))
    actual, rounded = (np.diff(np.log(values[:, 3])) for values in (candles[300:], restored))
    assert (rounded - actual).std() < 0.06 * actual.std()


def test_candles_are_encoded_independently():
    x, _ = normalise(walk(64, 8), 5, normalisation="changes")
    whole = TOKENIZER.encode(torch.tensor(x)[None])
    alone = TOKENIZER.encode(torch.tensor(x)[:, None])
    assert torch.equal(whole[0], alone[:, 0])


def test_coarse_token_is_return_and_gap():
    x, _ = normalise(walk(60, 5), 5, normalisation="changes")
    with torch.no_grad():
        s1, _ = TOKENIZER.encode(torch.tensor(x)[None], half=True)
        coarse = TOKENIZER.decode_coarse(s1)[0].numpy()
    np.testing.assert_allclose(coarse[:, [0, 3]], reconstruct(x)[:, [0, 3]], atol=1e-3)


def test_predictor_continues_from_the_last_close(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = KronosTokenizer.from_pretrained(tmp_path)
    assert loaded.normalisation == "changes"
    predictor = KronosPredictor(random_model(3, bits=10, s2_attention="causal"), loaded, "cpu", 64)
    times = pd.date_range("2026-01-05", periods=50, freq="h", tz="UTC")
    frame = pd.DataFrame(walk(50), columns=["open", "high", "low", "close", "volume", "amount"], index=times)
    forecast = predictor.forecast(frame, 6, samples=16, seed=1)
    volatility = normalise(frame.to_numpy(), 5, normalisation="changes")[1].volatility
    returns = np.log(forecast.paths[:, 0, 3] / frame["close"].iloc[-1]) / volatility
    values = 0.4 * np.sinh(CODE.change.values)
    assert np.abs(returns[:, None] - values).min(1).max() < 1e-2, "the first close is a grid value away from the last"
    assert forecast.mended == 0
    assert len(np.unique(forecast.paths[:, 0, 4])) > 12
    doubled = predictor.forecast(frame * [2, 2, 2, 2, 5, 10], 6, samples=16, seed=1)
    np.testing.assert_allclose(doubled.paths[..., :4], 2 * forecast.paths[..., :4], rtol=1e-6)


def test_bundled_tokenizer_is_the_constructed_one():
    bundled = KronosTokenizer.from_pretrained("kronos-tokenizer-nano")
    assert bundled.normalisation == "changes"
    constructed = TOKENIZER.state_dict()
    assert bundled.state_dict().keys() == constructed.keys()
    for name, weights in bundled.state_dict().items():
        torch.testing.assert_close(weights, constructed[name], rtol=1e-6, atol=1e-6)


def test_gray_code_neighbours_differ_in_one_bit():
    signs = gray_signs(6)
    assert len(np.unique(signs, axis=0)) == 64
    assert set((np.diff(signs, axis=0) != 0).sum(1)) == {1}


@pytest.mark.parametrize("bits", [(1, 1, 1, 2), (7, 4, 2, 3), (9, 2, 3, 4)])
def test_other_grids(bits):
    change, gap, wick, volume = bits
    code = ScalarCode(
        Grid(change, -4, 4, with_zero=True),
        Grid(gap, -4, 4, with_zero=True),
        Grid(wick, 0, 4),
        Grid(volume, -2, 2, below=NO_VOLUME),
    )
    tokenizer = scalar_tokenizer(code)
    assert (tokenizer.s1_bits, tokenizer.s2_bits) == (change + gap, 2 * wick + volume)
    ids = torch.arange(2 ** (change + gap))[:, None]
    with torch.no_grad():
        levels = tokenizer.decode_coarse(ids)[:, 0, 3].numpy()
    np.testing.assert_allclose(np.unique(levels.round(3)), code.change.values, atol=2e-3)


def test_invalid_grid_raises():
    with pytest.raises(ParameterError, match="1 to 12 bits"):
        Grid(3, 2.0, 1.0)
    with pytest.raises(ParameterError, match="low = -high"):
        Grid(3, -1.0, 2.0, with_zero=True)
    with pytest.raises(ParameterError, match="below needs"):
        Grid(3, -1.0, 2.0, below=0.0)

"""Seed derivations: known values, which must never change, and independence of the streams."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kronos.rng import (
    derive_seed,
    keyed_normals_and_uniforms,
    keyed_uniforms,
    named_generator,
    named_seed,
    window_generator,
)


def test_known_values():
    """Stored forecasts, simulated candles and training runs depend on these numbers."""
    assert derive_seed(1, "BTC") == 205327085213414
    assert named_seed("uniforms", 7) == 5017016159401099464
    assert named_generator(3, "crypto market").random(2).tolist() == [0.38678231464110713, 0.30987974994112766]
    assert window_generator(100, 4, 9).random(2).tolist() == [0.3196810095082201, 0.41990504015191654]
    assert keyed_uniforms(5, "BTC", range(1, 2), 1).tolist() == [[[0.9596907685853292, 0.1441820808621297]]]
    normals, uniforms = keyed_normals_and_uniforms(2, 2, 2)
    np.testing.assert_allclose(normals, [[0.189053381793, -0.522748441481], [0.197870189660, -1.999615026830]], 1e-9)
    assert uniforms.tolist() == [[0.45788796046309277, 0.9882967992426548], [0.15820942876004573, 0.23415136083832633]]


@given(seed=st.integers(-(2**63), 2**63), paths=st.integers(1, 20), horizon=st.integers(1, 20))
def test_keyed_uniforms_depend_only_on_seed_series_path_and_step(seed: int, paths: int, horizon: int) -> None:
    whole = keyed_uniforms(seed, "BTC", range(paths), horizon)
    assert whole.shape == (paths, horizon, 2)
    assert ((whole >= 0) & (whole < 1)).all()
    np.testing.assert_array_equal(keyed_uniforms(seed, "BTC", range(paths), horizon + 5)[:, :horizon], whole)
    np.testing.assert_array_equal(keyed_uniforms(seed, "BTC", range(paths - 1, paths), horizon)[0], whole[-1])
    assert not np.array_equal(keyed_uniforms(seed, "ETH", range(paths), horizon), whole)
    assert not np.array_equal(keyed_uniforms(seed + 1, "BTC", range(paths), horizon), whole)


def test_keyed_uniforms_are_uniform_and_uncorrelated() -> None:
    numbers = keyed_uniforms(1, "X", range(2000), 12).reshape(2000, -1)
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 1e-4
    correlations = np.corrcoef(numbers, rowvar=False)[np.triu_indices(24, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)


def test_more_paths_and_steps_do_not_change_the_first_ones() -> None:
    for few, many in zip(keyed_normals_and_uniforms(3, 4, 5), keyed_normals_and_uniforms(3, 9, 8), strict=True):
        np.testing.assert_array_equal(few, many[:4, :5])


@given(seed=st.integers(0, 2**80) | st.sampled_from([2**32 - 1, 2**32, np.int64(5)]), path=st.integers(0, 20))
def test_streams_of_paths_are_those_of_numpys_seed_sequence(seed: int, path: int) -> None:
    normals, uniforms = keyed_normals_and_uniforms(seed, path + 1, 3)
    np.testing.assert_array_equal(normals[path], np.random.default_rng([seed, path, 0]).standard_normal(3))
    np.testing.assert_array_equal(uniforms[path], np.random.default_rng([seed, path, 1]).random(3))


def test_streams_differ_by_every_name() -> None:
    assert len({derive_seed(seed, name) for seed in range(3) for name in "abc"}) == 9
    assert len({named_seed(1, step, micro) for step in range(3) for micro in range(3)}) == 9
    windows = {window_generator(seed, epoch, index).random() for seed in (0, 1) for epoch in (0, 1) for index in (0, 1)}
    assert len(windows) == 8
    assert named_generator(1, "a").random() != named_generator(1, "b").random()

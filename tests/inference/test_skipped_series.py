"""A series that cannot be forecast ends a batch only if it is strict."""

import numpy as np
import pandas as pd
import pytest

from kronos import KronosPredictor
from kronos.errors import DataError
from networks import random_model, random_tokenizer


@pytest.fixture(scope="module")
def predictor() -> KronosPredictor:
    return KronosPredictor(random_model(3), random_tokenizer(3), device="cpu", max_context=48)


def walk(seed: int, rows: int = 40) -> pd.DataFrame:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, rows)))
    index = pd.date_range("2024-01-01", periods=rows, freq="h", tz="UTC")
    return pd.DataFrame({"open": close, "high": close, "low": close, "close": close}, index=index)


BAD = {
    "prices missing": walk(1).assign(close=np.nan),
    "one row": walk(2).iloc[:1],
    "no close": walk(3).drop(columns="close"),
}


def test_unusable_series_are_skipped_with_their_reasons(predictor: KronosPredictor) -> None:
    series = {"a": walk(4), **BAD, "b": walk(5)}
    options = {"horizon": 3, "samples": 2, "seed": 1, "calibration": False}
    forecasts = predictor.forecast_many(series, strict=False, **options)
    assert list(forecasts) == ["a", "b"]
    assert list(forecasts.skipped) == list(BAD)
    assert all(forecasts.skipped.values())
    alone = predictor.forecast_many({"b": walk(5)}, **options)
    assert not alone.skipped
    np.testing.assert_allclose(forecasts["b"].paths, alone["b"].paths, rtol=1e-5)


@pytest.mark.parametrize("name", BAD)
def test_a_strict_batch_ends_at_the_first(predictor: KronosPredictor, name: str) -> None:
    with pytest.raises(DataError):
        predictor.forecast_many({"a": walk(4), name: BAD[name]}, 3, samples=2)
    with pytest.raises(DataError):
        predictor.forecast_many({name: BAD[name]}, 3, samples=2, strict=False)


def test_one_instrument_of_a_long_frame_is_skipped(predictor: KronosPredictor) -> None:
    parts = {"A": walk(1), "B": walk(2).assign(high=np.nan), "C": walk(3)}
    long = pd.concat([frame.rename_axis("ds").reset_index().assign(unique_id=name) for name, frame in parts.items()])
    forecasts = predictor.forecast_many(long, 3, samples=2, strict=False)
    assert list(forecasts) == ["A", "C"]
    assert list(forecasts.skipped) == ["B"]

"""Official regression numbers of the published Kronos-small; tests/golden has the exactness of forecasts."""

import os
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch

import kronos
from kronos import KronosPredictor, zoo


@pytest.fixture(scope="module")
def official(machine_certificates: Mapping[str, str]) -> KronosPredictor:
    # Only missing weights are skipped; weights that are there but do not load are a failure.
    try:
        with mock.patch.dict(os.environ, machine_certificates):
            for name, kind in (("kronos-small", "model"), ("kronos-tokenizer-base", "tokenizer")):
                zoo.resolve_checkpoint(name, kind=kind)  # type: ignore[arg-type]
    except kronos.errors.CheckpointError as error:
        pytest.skip(f"needs published weights: {error}")
    return KronosPredictor.from_pretrained("kronos-small", device="cpu")


@pytest.mark.hub
@pytest.mark.parametrize("context", [512, 256])
def test_official_forecast(official: KronosPredictor, shared: Path, context: int) -> None:
    candles = pd.read_csv(shared / "golden/official/regression_input.csv", parse_dates=["timestamps"])
    expected = pd.read_csv(shared / f"golden/official/regression_output_{context}.csv")
    past, future = candles.iloc[:context], candles.iloc[context : context + 8]
    torch.manual_seed(123)
    actual = official.predict(
        past, past["timestamps"], future["timestamps"], 8, T=1.0, top_k=1, top_p=1.0, sample_count=1, verbose=False
    )
    columns = [c for c in actual.columns if c in expected.columns]
    assert columns
    np.testing.assert_allclose(actual[columns].to_numpy(), expected[columns].to_numpy(), rtol=1e-5)


@pytest.mark.hub
@pytest.mark.parametrize(("context", "expected"), [(512, 0.008979), (256, 0.003741)])
def test_official_error(official: KronosPredictor, shared: Path, context: int, expected: float) -> None:
    candles = pd.read_csv(shared / "golden/official/regression_input.csv", parse_dates=["timestamps"])
    starts = candles.iloc[context : len(candles) - 30].sample(4, random_state=123).sort_index().index
    errors = []
    torch.manual_seed(123)
    for start in starts:
        past, future = candles.iloc[start - context : start], candles.iloc[start : start + 30]
        actual = official.predict(past, past["timestamps"], future["timestamps"], 30, top_k=1, top_p=1.0, verbose=False)
        prices = ["open", "high", "low", "close"]
        errors.append(((actual[prices].to_numpy() - future[prices].to_numpy()) ** 2).mean())
    assert np.mean(errors) == pytest.approx(expected, abs=1e-6)

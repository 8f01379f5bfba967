"""Forecasts say which channels of their sampled candles were repaired."""

from __future__ import annotations

import pandas as pd
import pytest

from kronos import Candles, KronosPredictor
from kronos.forecasts import Forecasts
from networks import random_model, random_tokenizer


@pytest.fixture(scope="module")
def forecasts() -> Forecasts:
    """Forecasts of a random network, whose candles are rarely valid: with volume, and without."""
    predictor = KronosPredictor(random_model(3), random_tokenizer(3), "cpu", max_context=48)
    times = pd.date_range("2024-01-01", periods=40, freq="1h", name="timestamps")
    # Four equal prices and a volume that is mostly zero: any noise makes a candle that is not valid.
    closes = [100 + 0.5 * (-1) ** i for i in range(40)]
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), closes), times)
    volume = frame.assign(volume=[float(i % 10 == 0) for i in range(40)])
    series = {"volume": volume, "none": frame}
    named = {name: Candles.from_frame(own, symbol=name, interval="1h") for name, own in series.items()}
    return predictor.forecast_many(named, 4, samples=20, seed=1, calibration=False)


def test_reasons_explain_the_share_of_repaired_candles(forecasts: Forecasts):
    for forecast in forecasts.values():
        assert forecast.mended > 0
        assert max(forecast.repairs.values()) <= forecast.mended <= sum(forecast.repairs.values()) + 1e-12
        assert forecast.repairs == forecast.metadata.details["repairs"]
        assert next(iter(forecast.repairs)) in forecast.describe_repairs()


def test_candles_without_volume_have_no_reasons_of_volume(forecasts: Forecasts):
    assert not [reason for reason in forecasts["none"].repairs if reason.startswith(("volume", "amount"))]
    assert isinstance(forecasts, Forecasts)
    assert forecasts.to_frame("nixtla")["unique_id"].unique().tolist() == ["volume", "none"]

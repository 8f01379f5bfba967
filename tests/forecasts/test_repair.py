from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kronos.candles import COLUMNS, Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast, ForecastMetadata, repair_candles, repair_reasons
from kronos.forecasts.repair import describe_repairs, valid_candles

GOOD = [10.0, 12.0, 9.0, 11.0, 5.0, 50.0]
numbers = st.floats(-1e12, 1e12) | st.sampled_from([0.0, -0.0, 5e-324, np.inf, -np.inf, np.nan])
shapes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.just(6))


@given(hnp.arrays(np.float64, shapes, elements=numbers))
def test_result_is_valid_and_repair_is_idempotent(raw):
    if not np.isfinite(raw[..., :4]).any(axis=(1, 2)).all():
        with pytest.raises(DataError, match="no finite price"):
            repair_candles(raw)
        return
    before = raw.copy()
    repaired, share = repair_candles(raw)
    assert valid_candles(repaired).all()
    assert np.array_equal(raw, before, equal_nan=True)
    assert share >= 1 - valid_candles(raw).mean() - 1e-12
    again, none = repair_candles(repaired)
    assert np.array_equal(again, repaired)
    assert none == 0.0


@given(hnp.arrays(np.float64, (3, 4, 6), elements=st.floats(1, 1e3)))
def test_valid_candles_are_unchanged(raw):
    raw[..., 1] = raw[..., :4].max(-1)
    raw[..., 2] = raw[..., :4].min(-1)
    repaired, share = repair_candles(raw)
    assert np.array_equal(repaired, raw)
    assert share == 0.0


def test_high_and_low_include_open_and_close():
    repaired, share = repair_candles([[[10, 9, 11, 12, 5, 1], GOOD]])
    assert repaired[0, 0, :4].tolist() == [10, 12, 9, 12]
    assert repaired[0, 1].tolist() == GOOD
    assert share == 0.5


def test_negative_and_missing_turnover_becomes_zero():
    repaired, share = repair_candles([[[*GOOD[:4], -3, np.nan]]])
    assert repaired[0, 0].tolist() == [*GOOD[:4], 0, 0]
    assert share == 1.0


def test_prices_are_raised_to_a_ten_thousandth_of_the_highest():
    repaired, _ = repair_candles([[[10, 20, -5, 0, 0, 0]], [[-1, -1, -1, -1, 0, 0]]])
    assert repaired[0, 0, :4] == pytest.approx([10, 20, 0.002, 0.002])
    assert repaired[1, 0, :4] == pytest.approx([1e-8] * 4)


def test_missing_prices_become_the_previous_close():
    repaired, share = repair_candles([[GOOD, [np.nan, np.inf, np.nan, 13, 1, 1]]])
    assert repaired[0, 1, :4].tolist() == [11, 13, 11, 13]
    assert share == 0.5


@pytest.mark.parametrize("shape", [(3, 6), (0, 4, 6), (2, 3, 5)])
def test_invalid_shapes_are_refused(shape):
    with pytest.raises(ParameterError, match="shape"):
        repair_candles(np.ones(shape))


@given(hnp.arrays(np.float64, shapes, elements=numbers))
def test_every_repaired_candle_has_a_reason(raw):
    if not np.isfinite(raw[..., :4]).any(axis=(1, 2)).all():
        with pytest.raises(DataError, match="no finite price"):
            repair_reasons(raw)
        return
    _, share = repair_candles(raw)
    reasons = repair_reasons(raw)
    assert bool(reasons) == (share > 0)
    assert all(0 < part <= share + 1e-12 for part in reasons.values())
    assert sum(reasons.values()) >= share - 1e-12
    assert list(reasons.values()) == sorted(reasons.values(), reverse=True)
    for candle in raw.reshape(-1, 6):  # each candle by itself, as long as it has a finite price
        if np.isfinite(candle[:4]).any():
            assert bool(repair_reasons([[candle]])) == (repair_candles([[candle]])[1] > 0)


@pytest.mark.parametrize(
    ("candle", "reasons"),
    [
        (GOOD, set()),
        ([10, 12, 9, 11, -5, 50], {"volume below 0"}),
        ([10, 12, 9, 11, np.nan, -1], {"volume not finite", "amount below 0"}),
        ([10, 9, 8, 11, 5, 50], {"high below another price"}),
        ([10, 12, 10.5, 11, 5, 50], {"low above another price"}),
        ([10, 12, -1, 11, 5, 50], {"low not above 0"}),
        ([10, 12, 1e-9, 11, 5, 50], {"low close to 0"}),
        ([10, 12, 9, np.inf, 5, 50], {"close not finite"}),
    ],
)
def test_reasons_name_the_channel(candle, reasons):
    paths = [[GOOD, GOOD, GOOD, candle]]
    assert repair_reasons(paths) == dict.fromkeys(reasons, 0.25)


def test_repairs_are_described_in_one_phrase():
    assert describe_repairs(0.0, {}) == ""
    assert describe_repairs(0.726, {"volume below 0": 0.726}) == "72.6 % of the sampled candles: volume below 0"
    assert describe_repairs(0.726, {}) == "72.6 % of the sampled candles"
    two = describe_repairs(0.741, {"volume below 0": 0.726, "high below another price": 0.0301})
    assert two == "74.1 % of the sampled candles: volume below 0 (72.6 %) and high below another price (3.0 %)"
    assert describe_repairs(1e-5, {"low close to 0": 1e-5}).startswith("< 0.1 % of")
    assert describe_repairs(0.5, dict.fromkeys("abcde", 0.1)).endswith("c (10.0 %) and 2 more")


def test_reasons_survive_saving(tmp_path):
    times = pd.date_range("2024-01-01", periods=3, freq="1h", name="timestamps")
    history = Candles.from_frame(pd.DataFrame([GOOD] * 2, columns=list(COLUMNS), index=times[:2]), interval="1h")
    metadata = ForecastMetadata("toy", details={"repairs": {"volume below 0": 0.25, "high below another price": 0.125}})
    saved = Forecast([[GOOD]], times[2:], history, metadata, 0.375)
    loaded = Forecast.load(saved.save(tmp_path / "f.npz"))
    assert list(loaded.repairs.items()) == [("volume below 0", 0.25), ("high below another price", 0.125)]
    assert loaded.describe_repairs() == saved.describe_repairs()
    assert loaded.describe_repairs().startswith("37.5 % of the sampled candles: volume below 0 (25.0 %) and high")
    assert loaded.to_dict()["repairs"] == {"volume below 0": 0.25, "high below another price": 0.125}


def test_forecasts_saved_without_reasons_have_none():
    loaded = Forecast.load(Path(__file__).parents[1] / "golden" / "formats" / "forecast.npz")
    assert loaded.repairs == {}
    assert loaded.describe_repairs() == describe_repairs(loaded.mended, {})
    assert loaded._repr_html_()
    assert len(loaded.to_frame("nixtla")) == loaded.horizon

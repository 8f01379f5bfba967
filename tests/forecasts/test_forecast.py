import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.candles import COLUMNS, Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import BANDS, Forecast, ForecastMetadata, sample_quantiles


def history(closes=None, tz=None):
    closes = np.asarray(closes if closes is not None else 100 + np.sin(np.arange(60)))
    opens = np.concatenate([closes[:1], closes[:-1]])
    frame = pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes) + 0.5,
            "low": np.minimum(opens, closes) - 0.5,
            "close": closes,
            "volume": 10.0,
            "amount": 1000.0,
        },
        index=pd.date_range("2024-01-01", periods=len(closes), freq="1h", tz=tz, name="timestamps"),
    )
    return Candles.from_frame(frame, symbol="TEST", interval="1h")


def forecast(closes, past=None, **fields):
    """A forecast with these closes [S, H], wicks of 1 and a volume of 5."""
    closes = np.asarray(closes, dtype=float)
    past = past or history()
    paths = np.stack([closes, closes + 1, closes - 1, closes, closes * 0 + 5, closes * 5], axis=-1)
    times = pd.date_range(past.end, periods=closes.shape[1] + 1, freq="1h")[1:]
    metadata = fields.pop("metadata", ForecastMetadata("toy"))
    return Forecast(paths, times, past, metadata, **fields)


@pytest.fixture
def ladder():
    """99 paths whose closes end at 51 … 149, half-way there at the first of two steps, from 100."""
    past = history(np.r_[99 + np.sin(np.arange(40)), 100.0])
    last = np.arange(51.0, 150.0)
    return forecast(np.column_stack([(last + 100) / 2, last]), past)


def test_properties_and_repr(ladder):
    assert (ladder.samples, ladder.horizon, ladder.symbol, str(ladder.interval)) == (99, 2, "TEST", "1h")
    assert ladder.last_close == 100.0
    assert ladder.start == ladder.history.end
    assert "99 paths" in repr(ladder)
    assert "toy" in repr(ladder)


def test_paths_are_a_read_only_copy():
    closes = np.full((3, 2), 50.0)
    paths = np.stack([closes] * 4 + [closes * 0] * 2, axis=-1)
    result = forecast(closes)
    copy = Forecast(paths, result.timestamps, result.history, result.metadata)
    paths[:] = 1
    assert copy.paths[0, 0, 0] == 50.0
    with pytest.raises(ValueError, match="read-only"):
        copy.paths[0, 0, 0] = 1


def test_quantiles_interpolate_at_k_over_s_plus_one(ladder):
    """The k-th of 99 paths is the k % quantile: closes 51 … 149 make the 10 % quantile the tenth, 60."""
    quantiles = ladder.quantiles([0.1, 0.5, 0.9])
    assert quantiles.iloc[-1].tolist() == pytest.approx([60.0, 100.0, 140.0])
    assert list(quantiles.columns) == [0.1, 0.5, 0.9]
    assert quantiles.index.equals(ladder.timestamps)
    assert ladder.range(0.8).iloc[-1].tolist() == pytest.approx([60.0, 140.0])


def test_mean_median_and_samples_are_frames_of_six_columns(ladder):
    for frame in (ladder.mean(), ladder.median(), ladder.sample(7), ladder.quantile_candles(0.2)):
        assert list(frame.columns) == list(COLUMNS)
        assert frame.index.equals(ladder.timestamps)
    assert ladder.mean()["close"].iloc[-1] == pytest.approx(100.0)
    assert ladder.sample(7).to_numpy() == pytest.approx(ladder.paths[7])


def test_probabilities_count_paths_and_smooth_them(ladder):
    above = ladder.probability_above(120.0)
    assert (above.count, above.paths) == (29, 99)
    assert float(above) == pytest.approx(29.5 / 100)
    assert ladder.probability_below(120.0).count == 69  # one path ends at 120 exactly
    assert ladder.probability_above(120.0, step=1).count == 9
    assert ladder.upside_probability().count == 49
    assert 0 < ladder.probability_above(1e6) < 1e-2
    assert 0.99 < ladder.probability_below(1e6) < 1


def test_touch_uses_highs_above_the_last_close_and_lows_below(ladder):
    assert ladder.probability_touch(121.0).count == 30  # closes 120 … 149, with highs one above
    assert ladder.probability_touch(79.0).count == 30  # closes 51 … 80, with lows one below
    assert ladder.probability_touch(121.0, step=1).count == 10
    # The last close itself: both first candles' ranges around (last + 100) / 2 must contain 100.
    assert ladder.probability_touch(100.0).count == 5


def test_path_range_bounds_whole_paths(ladder):
    low, high = ladder.path_range(0.8)
    lows, highs = ladder.channel("low").min(axis=1), ladder.channel("high").max(axis=1)
    assert ((lows >= low) & (highs <= high)).mean() >= 0.8
    assert low < 100 < high


def test_value_at_risk_and_expected_shortfall(ladder):
    """Losses of 49 % … : the 5 % quantile is the fifth worst, the worst 4.95 lie beyond it."""
    assert ladder.value_at_risk(0.95) == pytest.approx(0.45)
    worst = (0.49 + 0.48 + 0.47 + 0.46 + 0.95 * 0.45) / 4.95
    assert ladder.expected_shortfall(0.95) == pytest.approx(worst)
    assert ladder.value_at_risk(0.95, kind="log") == pytest.approx(-math.log(0.55))
    assert ladder.value_at_risk(0.95, step=1) == pytest.approx(0.225)


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_shortfall_is_never_less_than_value_at_risk(closes, level):
    result = forecast(np.asarray(closes)[:, None] + 2)
    assert result.expected_shortfall(level) >= result.value_at_risk(level) - 1e-12


def test_volatility_amplification_compares_with_the_last_window():
    past = history(100 * np.exp(np.cumsum(np.r_[[0.1, -0.1] * 20, [0.01, -0.01] * 12])))
    steps = np.tile([1, -1], 6)
    wild, calm = 0.05 * steps, 0.001 * steps
    closes = past.frame["close"].iloc[-1] * np.exp(np.cumsum([wild, calm, calm], axis=1))
    result = forecast(closes, past)
    assert result.volatility_amplification(24).count == 1
    assert result.volatility_amplification(60).count == 0
    with pytest.raises(DataError, match="65 candles"):
        result.volatility_amplification(64)
    with pytest.raises(ParameterError):
        result.volatility_amplification(1)


def test_returns_start_from_the_last_known_close(ladder):
    cumulative = ladder.returns(cumulative=True)
    assert cumulative[:, -1] == pytest.approx(np.log(np.arange(51.0, 150.0) / 100))
    assert ladder.returns().sum(axis=1) == pytest.approx(cumulative[:, -1])


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 10_000))
def test_representative_is_the_medoid(samples, horizon, seed):
    closes = np.exp(np.random.default_rng(seed).normal(4, 1, (samples, horizon))) + 2
    logs = np.log(closes)
    totals = np.linalg.norm(logs[:, None] - logs[None], axis=-1).sum(axis=1)
    assert totals[forecast(closes).representative()] == pytest.approx(totals.min())


def test_wide_frame_names_and_orders_its_quantiles(ladder):
    wide = ladder.to_frame()
    assert wide["close_q10"].iloc[-1] == pytest.approx(60.0)
    names = ("q025", "q05", "q10", "q25", "median", "q75", "q90", "q95", "q975")
    values = wide[[f"close_{name}" for name in names]].to_numpy()
    assert (np.diff(values, axis=1) >= 0).all()
    assert {name.split("_")[0] for name in wide.columns} == set(COLUMNS)
    assert wide["close_mean"].tolist() == pytest.approx(ladder.mean()["close"].tolist())


def test_long_frame_contains_every_path(ladder):
    long = ladder.to_frame("long")
    assert list(long.columns) == ["sample_id", "timestamps", *COLUMNS]
    assert len(long) == ladder.samples * ladder.horizon
    seventh = long[long["sample_id"] == 7]
    assert seventh[list(COLUMNS)].to_numpy() == pytest.approx(ladder.paths[7])
    assert seventh["timestamps"].tolist() == ladder.timestamps.tolist()


def test_summary_is_json(ladder):
    text = json.dumps(ladder.to_dict(), allow_nan=False)
    summary = json.loads(text)
    assert summary["samples"] == 99
    assert summary["close_quantiles"]["0.1"][-1] == pytest.approx(60.0)
    assert summary["upside_probability"]["count"] == 49
    assert len(summary["timestamps"]) == 2


def test_few_paths_add_a_note(ladder):
    assert ladder.notes == ()
    (note,) = forecast(np.full((5, 3), 90.0)).notes
    assert "Only 5 paths" in note


def test_simulated_metadata_makes_the_forecast_simulated(ladder):
    assert not ladder.simulated
    assert forecast([[9.0]], metadata=ForecastMetadata("toy", simulated=True)).simulated


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda f: f.quantiles([0, 0.5]), "levels"),
        (lambda f: f.quantiles([]), "levels"),
        (lambda f: f.quantiles([0.5], column="clsoe"), "clsoe"),
        (lambda f: f.range(1.0), "levels"),
        (lambda f: f.sample(99), "path 99"),
        (lambda f: f.probability_above(-1), "price -1"),
        (lambda f: f.probability_touch(math.nan), "price"),
        *(
            (lambda f, step=step: f.probability_above(100, step=step), f"step {step}: choose 1")
            for step in (0, 3, -3, 1.0)
        ),
        (lambda f: f.value_at_risk(0.95, step=0), "step 0: choose 1"),
        (lambda f: f.value_at_risk(95), "levels"),
        (lambda f: f.value_at_risk(0.95, kind="percent"), "percent"),
        (lambda f: f.to_frame("tall"), "tall"),
    ],
)
def test_invalid_arguments_are_refused(ladder, call, word):
    with pytest.raises(ParameterError, match=word):
        call(ladder)


def test_invalid_forecasts_are_refused(ladder):
    good, times, past, metadata = ladder.paths, ladder.timestamps, ladder.history, ladder.metadata
    with pytest.raises(ParameterError, match="shape"):
        Forecast(good[0], times, past, metadata)
    with pytest.raises(ParameterError, match="timestamps"):
        Forecast(good, times[:1], past, metadata)
    with pytest.raises(ParameterError, match="timezone"):
        Forecast(good, times.tz_localize("UTC"), past, metadata)
    broken = good.copy()
    broken[3, 1, 1] = 1.0  # a high below the low
    with pytest.raises(ParameterError, match="repair_candles"):
        Forecast(broken, times, past, metadata)


@pytest.mark.parametrize("samples", [9, 30, 100])
def test_bands_have_nominal_coverage_for_exchangeable_outcomes(samples):
    """Exchangeable draws: the share of truths inside the 80 % band, within 4 standard errors."""
    draws = np.random.default_rng(5).normal(size=(samples + 1, 4000))
    low, high = sample_quantiles(draws[:-1], [0.1, 0.9])
    covered = ((low <= draws[-1]) & (draws[-1] <= high)).mean()
    assert covered == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / 4000))


def test_bands_are_nested():
    assert sorted(BANDS) == list(BANDS)
    result = forecast(np.exp(np.random.default_rng(0).normal(4, 0.1, (50, 5))))
    widths = [(result.range(level)["high"] - result.range(level)["low"]).to_numpy() for level in BANDS]
    assert (np.diff(widths, axis=0) > 0).all()

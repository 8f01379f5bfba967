"""Calibrations applied to whole forecasts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.forecasts import candles, toy, walk
from calibration.markets import MODEL, trials
from kronos.calibration import PARTS, Calibration, Curve, fit
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast, repair_candles

WITHOUT_POOLING = ("anchor", "drift", "dispersion", "conformal")


@pytest.fixture(scope="module")
def past():
    return trials(origins=300, groups=("a 1h", "b 1h"), spread=(0.4, 0.8), level=0.5, leaves=0.95)


@pytest.fixture(scope="module")
def whole(past):
    return fit(past)


@pytest.fixture(scope="module")
def history():
    return candles()


def make(parts, **factors):
    """A calibration with the given factors, constant over steps."""
    curves = {name: Curve((1, 24), (value, value)) for name, value in factors.items()}
    fitted_on = {"origins": 100, "first": "2024-01-01", "last": "2024-05-01", "known": "2024-05-02", "groups": {}}
    return Calibration(MODEL, parts, curves, "walk" if "pooling" in parts else "", fitted_on, {}, {}, "now")


def test_without_parts_the_same_object_is_returned(whole, past, history):
    forecast = toy(history)
    assert whole.apply(forecast, parts=()) is forecast
    assert whole.apply_set(past, parts=()) is past
    assert whole.apply_paths(past.returns, parts=()) is past.returns
    assert make(()).apply(forecast) is forecast


def test_corrected_forecast_contains_the_corrected_paths(whole, history):
    forecast, baseline = toy(history, spread=0.4, level_error=0.005), walk(history)
    result = whole.apply(forecast, baseline=baseline, group="a 1h")
    returns = whole.apply_paths(
        forecast.returns(cumulative=True),
        level_error=0.005,
        baseline=baseline.returns(cumulative=True),
        group="a 1h",
    )
    assert result.returns(cumulative=True) == pytest.approx(returns, abs=1e-12)
    assert repair_candles(result.paths)[1] == 0.0
    assert result.metadata.calibrated
    assert "calibrated" in result.metadata.describe()
    assert (result.history, result.mended) == (forecast.history, forecast.mended)
    assert result.range(0.8).iloc[-1].diff()["high"] > 1.5 * forecast.range(0.8).iloc[-1].diff()["high"]
    assert not forecast.metadata.calibrated


def test_metadata_describe_the_calibration(whole, history, tmp_path):
    result = whole.apply(toy(history), baseline=walk(history), group="a 1h")
    details = result.metadata.details["calibration"]
    assert details["parts"] == list(PARTS)
    assert details["group"] == "a 1h"
    assert details["baseline"] == "walk"
    assert len(details["factors"]["dispersion"]) == 24
    assert details["fitted_on"]["groups"] == {"a 1h": 300, "b 1h": 300}
    assert details["fitted_on"]["sha256"]
    notes = " ".join(result.notes)
    assert "Calibrated (anchor, drift, dispersion, pooling, conformal) on 600 past forecasts" in notes
    assert "Pooled with walk; the model's weight is" in notes
    again = Forecast.load(result.save(tmp_path / "forecast.npz"))
    assert again.metadata == result.metadata


@settings(max_examples=25)
@given(
    spread=st.floats(0.05, 4),
    level=st.floats(-0.05, 0.05),
    anchor=st.floats(0, 1),
    drift=st.floats(0, 1),
    dispersion=st.floats(0.125, 8),
    weight=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_candles_stay_valid_and_ranks_are_preserved(spread, level, anchor, drift, dispersion, weight, seed):
    history = candles(100)
    forecast = toy(history, 12, 20, seed, spread, level)
    calibration = make(PARTS[:4], anchor=anchor, drift=drift, dispersion=dispersion, pooling=weight)
    result = calibration.apply(forecast, baseline=walk(history, 12, 30))
    assert repair_candles(result.paths)[1] == 0.0
    order = np.argsort(forecast.channel("close"), axis=0, kind="stable")
    assert (np.diff(np.take_along_axis(result.channel("close"), order, axis=0), axis=0) >= -1e-9).all()
    assert np.array_equal(result.channel("volume"), forecast.channel("volume"))


def test_common_shift_moves_whole_candles(history):
    """Gaps, wicks and bodies are unchanged, except the first gap."""
    forecast = toy(history, level_error=0.02)
    result = make(("anchor",), anchor=1.0).apply(forecast)
    assert result.paths[..., :4] == pytest.approx(forecast.paths[..., :4] * np.exp(-0.02))
    assert result.channel("amount") == pytest.approx(forecast.channel("amount") * np.exp(-0.02))


def shape(forecast):
    """Mean gap, wicks and body in logs, in units of the steps' spread."""
    opens, highs, lows, closes = np.moveaxis(np.log(forecast.paths[..., :4]), -1, 0)
    before = np.concatenate([np.full((len(opens), 1), np.log(forecast.last_close)), closes[:, :-1]], axis=1)
    upper, lower = highs - np.maximum(opens, closes), np.minimum(opens, closes) - lows
    parts = np.array([abs(opens - before).mean(), upper.mean(), lower.mean(), abs(closes - opens).mean()])
    return parts / forecast.returns().std()


def test_scaled_candles_keep_their_proportions(history):
    narrow = toy(history, samples=200, spread=0.4)
    stretched = make(("dispersion",), dispersion=2.5).apply(narrow)
    assert shape(stretched) == pytest.approx(shape(narrow), rel=0.05)
    assert shape(stretched) == pytest.approx(shape(toy(history, samples=200)), rel=0.1)


def test_statistics_of_a_corrected_forecast_are_consistent(whole, history):
    forecast = whole.apply(toy(history, spread=0.4), baseline=walk(history))
    closes = forecast.channel("close")
    assert forecast.upside_probability().count == (closes[:, -1] > forecast.last_close).sum()
    assert forecast.quantiles([0.1]).iloc[-1, 0] == pytest.approx(forecast.range(0.8)["low"].iloc[-1])


def test_neutral_factors_leave_candles_unchanged(history):
    forecast = toy(history, level_error=0.01)
    neutral = make(PARTS[:3], anchor=0.0, drift=1.0, dispersion=1.0)
    assert neutral.apply(forecast).paths == pytest.approx(forecast.paths, rel=1e-12)


def test_calibration_ignores_rows_after_the_origin(whole):
    rows = candles(300)
    other = rows.frame.copy()
    other.iloc[200:] *= 7
    origin = rows.frame.index[199]
    perturbed = Candles.from_frame(other, symbol="WALK", interval="1h").until(origin)
    first, second = (
        whole.apply(toy(known, level_error=0.003), baseline=walk(known)) for known in (rows.until(origin), perturbed)
    )
    assert np.array_equal(first.paths, second.paths)
    assert first.metadata == second.metadata


def test_unknown_groups_use_the_pooled_factors_with_a_note(whole, history):
    forecast, baseline = toy(history), walk(history)
    unknown = whole.apply(forecast, baseline=baseline, group="mars 1h")
    assert np.array_equal(unknown.paths, whole.apply(forecast, baseline=baseline).paths)
    assert not np.array_equal(unknown.paths, whole.apply(forecast, baseline=baseline, group="a 1h").paths)
    assert any("'mars 1h'" in note for note in unknown.notes)
    assert unknown.metadata.details["calibration"]["group"] is None


def test_steps_beyond_the_fit_use_the_last_factors(whole, history):
    long = toy(history, horizon=30)
    forecast = whole.apply(long, baseline=walk(history, 30))
    assert any("fitted up to step 24" in note for note in forecast.notes)
    stretched = make(("dispersion",), dispersion=2.0).apply_paths(long.returns(cumulative=True))
    middle = np.median(long.returns(cumulative=True), axis=0)
    assert stretched == pytest.approx(middle + 2 * (long.returns(cumulative=True) - middle))


def test_missing_level_error_adds_a_note(history):
    forecast = toy(history)
    without = replace(forecast, metadata=forecast.metadata.with_details(level_error=None))
    result = make(("anchor",), anchor=1.0).apply(without)
    assert np.array_equal(result.paths, forecast.paths)
    assert any("not anchored" in note for note in result.notes)


def test_look_ahead_adds_a_note(history, whole):
    early = replace(whole, fitted_on={**whole.fitted_on, "known": "2024-12-31T00:00:00"})
    late = replace(whole, fitted_on={**whole.fitted_on, "known": "2033-01-01T00:00:00"})
    notes = [" ".join(c.apply(toy(history), baseline=walk(history)).notes) for c in (early, late)]
    assert "Look-ahead" not in notes[0]
    assert "Look-ahead" in notes[1]


def test_small_group_uses_the_pooled_factors(past, history):
    times = np.where(past.group == "b 1h", np.datetime64("2040-01-01"), past.known_at)
    few = np.flatnonzero(past.group == "a 1h")[:20]
    fitted = fit(
        replace(past, known_at=times).select(np.r_[few, np.flatnonzero(past.group == "b 1h")]), WITHOUT_POOLING
    )
    assert "a 1h" not in fitted.curves["drift"].groups
    assert fitted.known_until("a 1h") == fitted.known_until() == np.datetime64("2040-01-01")
    notes = " ".join(fitted.apply(toy(history), group="a 1h").notes)
    assert "only 20 past forecasts of 'a 1h'" in notes
    assert "Look-ahead" in notes
    both = fit(replace(past, known_at=times), WITHOUT_POOLING)
    assert both.known_until("a 1h") < both.known_until("b 1h") == both.known_until()
    assert any("Partial look-ahead" in note for note in both.apply(toy(history), group="a 1h").notes)


def test_weight_zero_gives_the_baselines_distribution(history):
    forecast, baseline = toy(history, spread=0.3), walk(history)
    nothing = make(("pooling",), pooling=0.0)
    result = nothing.apply(forecast, baseline=baseline)
    assert np.sort(result.channel("close"), axis=0) == pytest.approx(np.sort(baseline.channel("close"), axis=0))
    assert nothing.adds_nothing()
    assert result.metadata.details["calibration"]["model_adds_nothing"]
    assert any("adds nothing" in note for note in result.notes)
    assert "adds nothing" in nothing.describe()
    more = nothing.apply(forecast, baseline=walk(history, samples=199))
    assert more.range(0.8).to_numpy() == pytest.approx(walk(history, samples=199).range(0.8).to_numpy(), rel=1e-3)


def test_description_covers_all_parts(whole):
    text = whole.describe("a 1h")
    assert "factors of a 1h" in text
    assert all(f"- {part}: " in text for part in PARTS)
    assert "factors of all groups together" in whole.describe("mars")
    assert "no parts" in make(()).describe()
    assert make(()).weights() == {1: 1.0}
    own = fit(trials(origins=100), ("conformal",), symmetric=False).describe()
    assert "the median up by" in own
    assert "lower end of the 80 % band" in own


def test_only_leading_parts_can_be_applied(whole, history):
    forecast = toy(history, spread=0.4)
    result = whole.apply(forecast, parts=("drift", "anchor"))
    assert result.metadata.details["calibration"]["parts"] == ["anchor", "drift"]
    assert not any("Pooled" in note for note in result.notes)
    with pytest.raises(ParameterError, match="from the end only"):
        whole.apply(forecast, parts=("dispersion",))
    with pytest.raises(ParameterError, match="everything"):
        whole.apply(forecast, parts=("everything",))


def test_other_models_are_refused_unless_allowed(whole, history, past):
    forecast = toy(history)
    changed = {
        "weights": forecast.metadata.with_details(model={"sha256": "c" * 64}),
        "tokenizers": forecast.metadata.with_details(tokenizer={"sha256": "c" * 64}),
        "sampling": forecast.metadata.with_details(sampling={"temperature": 0.6, "top_k": 0, "top_p": 0.9}),
        "models": replace(forecast.metadata, model="other", details={"level_error": 0.0}),
    }
    for word, result in changed.items():
        other = replace(forecast, metadata=result)
        with pytest.raises(ParameterError, match=f"{word} differ"):
            whole.apply(other, baseline=walk(history))
        allowed = whole.apply(other, baseline=walk(history), other_model=True)
        assert any("fitted for other forecasts" in note for note in allowed.notes)
    renamed = replace(forecast, metadata=replace(forecast.metadata, model="a copy elsewhere"))
    assert whole.apply(renamed, baseline=walk(history)).metadata.calibrated
    with pytest.raises(ParameterError, match="weights differ"):
        whole.apply_set(replace(past, identity=replace(MODEL, sha256="d" * 64)))


def test_wrong_baselines_and_calibrated_forecasts_are_refused(whole, history):
    forecast, baseline = toy(history), walk(history)
    with pytest.raises(ParameterError, match="pools with walk"):
        whole.apply(forecast)
    with pytest.raises(ParameterError, match="not with 'toy'"):
        whole.apply(forecast, baseline=forecast)
    with pytest.raises(ParameterError, match="same last candle"):
        whole.apply(forecast, baseline=walk(history.head(150)))
    with pytest.raises(ParameterError, match="already calibrated"):
        whole.apply(whole.apply(forecast, baseline=baseline), baseline=baseline)


def test_mismatched_shapes_are_refused(whole):
    paths = np.zeros((3, 10, 24))
    with pytest.raises(ParameterError, match="shape"):
        whole.apply_paths(np.zeros(24))
    with pytest.raises(ParameterError, match="baseline's paths need"):
        whole.apply_paths(paths, baseline=np.zeros((3, 10, 5)))
    with pytest.raises(ParameterError, match="24 steps"):
        whole.apply_paths(paths, baseline=paths, steps=[1, 2])


def test_single_origin_equals_the_same_origin_in_a_batch(whole, past):
    many = whole.apply_set(past).returns
    one = whole.apply_paths(
        past.returns[7], level_error=past.level_error[7], baseline=past.baseline[7], group=str(past.group[7])
    )
    assert np.array_equal(one, many[7])
    single = whole.apply_paths(past.returns.astype(np.float32), baseline=past.baseline, group=past.group)
    assert single.dtype == np.float32


def test_save_and_load_round_trip(whole, tmp_path):
    file = whole.save(tmp_path / "deep" / "calibration.json")
    assert Calibration.load(file) == whole
    assert Calibration.from_dict(whole.to_dict()) == whole
    file.write_text(file.read_text("utf-8").replace('"format": 1', '"format": 9'), "utf-8")
    with pytest.raises(DataError, match="format 9"):
        Calibration.load(file)


def test_files_too_large_or_too_deep_are_refused(whole, tmp_path):
    file = whole.save(tmp_path / "calibration.json")
    text = file.read_text("utf-8")
    for deep in ("[" * 100_000 + "]" * 100_000, "1e999"):
        file.write_text(text.replace('"settings": {', f'"settings": {{"x": {deep}, ', 1), "utf-8")
        with pytest.raises(DataError, match="not a saved calibration"):
            Calibration.load(file)
    file.write_text(text + " " * 2**24, "utf-8")
    with pytest.raises(DataError, match="larger than 16 MB"):
        Calibration.load(file)


@pytest.mark.parametrize("symmetric", [True, False])
def test_all_combinations_of_parts_round_trip(past, tmp_path, symmetric):
    for parts in ((), ("conformal",), WITHOUT_POOLING):
        fitted = fit(past, parts, symmetric=symmetric, settings={"stride": 24})
        assert Calibration.load(fitted.save(tmp_path / "calibration.json")) == fitted
        assert fitted.settings == {"symmetric": symmetric, "stride": 24}


def test_damaged_files_are_refused(whole, tmp_path):
    file = tmp_path / "calibration.json"
    with pytest.raises(DataError, match="does not exist"):
        Calibration.load(file)
    for text in ("", "[]", "{}", "nonsense", "[" * 100_000):
        file.write_text(text, "utf-8")
        with pytest.raises(DataError, match="not a saved calibration"):
            Calibration.load(file)
    for damage in (
        lambda d: d.pop("curves"),
        lambda d: d["curves"].pop("drift"),
        lambda d: d["curves"]["anchor"].update(pooled=[2.0] * 6),
        lambda d: d["curves"]["dispersion"].update(pooled=[-1.0] * 6),
        lambda d: d["curves"]["dispersion"].update(pooled=[1.0]),
        lambda d: d["curves"]["dispersion"].update(pooled=[float("nan")] * 6),
        lambda d: d["curves"]["dispersion"].update(knots=[1, 1, 4, 8, 16, 24]),
        lambda d: d["curves"]["dispersion"].update(groups=7),
        lambda d: d.update(parts=["magic"]),
        lambda d: d.update(baseline=""),
        lambda d: d.update(fitted_on={}),
        lambda d: d["identity"].update(colour="red"),
        lambda d: d["identity"].update(model=["toy"]),
        lambda d: d["identity"].update(sampling=["temperature"]),
        lambda d: d["identity"].update(sampling={"temperature": {"deep": []}}),
        lambda d: d["curves"]["dispersion"].update(knots=[1, 2, 4, 8, 16, float("inf")]),
        lambda d: d["curves"]["dispersion"].update(knots=[1, 2, 4, 8, 16, 10**30]),
        lambda d: d["fitted_on"].update(origins="many"),
        lambda d: d["fitted_on"].update(origins=float("inf")),
        lambda d: d["fitted_on"].update(groups=["a 1h"]),
        lambda d: d["fitted_on"].update(groups={"a 1h": "many"}),
        lambda d: d["fitted_on"].update(known="soon"),
        lambda d: d["fitted_on"].update(first=20240101),
        lambda d: d["fitted_on"].update(known_by_group=["a 1h"]),
        lambda d: d["fitted_on"].update(known_by_group={"a 1h": "NaT"}),
        lambda d: d["fitted_on"].update(more={"deeper": {}}),
        lambda d: d["settings"].update(stride=float("nan")),
    ):
        fields = pd.io.json.ujson_loads(pd.io.json.ujson_dumps(whole.to_dict()))
        damage(fields)
        with pytest.raises(DataError, match="not a saved calibration"):
            Calibration.from_dict(fields)

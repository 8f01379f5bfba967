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


def by_hand(parts, **factors):
    """A calibration with chosen factors, flat in the steps."""
    curves = {name: Curve((1, 24), (value, value)) for name, value in factors.items()}
    fitted_on = {"origins": 100, "first": "2024-01-01", "last": "2024-05-01", "known": "2024-05-02", "groups": {}}
    return Calibration(MODEL, parts, curves, "walk" if "pooling" in parts else "", fitted_on, {}, {}, "now")


def test_off_gives_the_very_same(whole, past, history):
    forecast = toy(history)
    assert whole.apply(forecast, parts=()) is forecast
    assert whole.apply_trials(past, parts=()) is past
    assert whole.apply_paths(past.returns, parts=()) is past.returns
    assert by_hand(()).apply(forecast) is forecast


def test_a_corrected_forecast_holds_the_corrected_paths(whole, history):
    forecast, baseline = toy(history, spread=0.4, level_error=0.005), walk(history)
    made = whole.apply(forecast, baseline=baseline, group="a 1h")
    returns = whole.apply_paths(
        forecast.returns(cumulative=True),
        level_error=0.005,
        baseline=baseline.returns(cumulative=True),
        group="a 1h",
    )
    assert made.returns(cumulative=True) == pytest.approx(returns, abs=1e-12)
    assert repair_candles(made.paths)[1] == 0.0
    assert made.metadata.calibrated
    assert "calibrated" in made.metadata.describe()
    assert (made.history, made.mended) == (forecast.history, forecast.mended)
    assert made.range(0.8).iloc[-1].diff()["high"] > 1.5 * forecast.range(0.8).iloc[-1].diff()["high"]
    assert not forecast.metadata.calibrated


def test_it_says_what_was_done(whole, history, tmp_path):
    made = whole.apply(toy(history), baseline=walk(history), group="a 1h")
    told = made.metadata.details["calibration"]
    assert told["parts"] == list(PARTS)
    assert told["group"] == "a 1h"
    assert told["baseline"] == "walk"
    assert len(told["factors"]["dispersion"]) == 24
    assert told["fitted_on"]["groups"] == {"a 1h": 300, "b 1h": 300}
    assert told["fitted_on"]["sha256"]
    notes = " ".join(made.notes)
    assert "Calibrated (anchor, drift, dispersion, pooling, conformal) on 600 past forecasts" in notes
    assert "Pooled with walk; the model's weight is" in notes
    again = Forecast.load(made.save(tmp_path / "forecast.npz"))
    assert again.metadata == made.metadata


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
def test_candles_stay_valid_and_paths_keep_their_order(spread, level, anchor, drift, dispersion, weight, seed):
    history = candles(100)
    forecast = toy(history, 12, 20, seed, spread, level)
    calibration = by_hand(PARTS[:4], anchor=anchor, drift=drift, dispersion=dispersion, pooling=weight)
    made = calibration.apply(forecast, baseline=walk(history, 12, 30))
    assert repair_candles(made.paths)[1] == 0.0
    order = np.argsort(forecast.channel("close"), axis=0, kind="stable")
    assert (np.diff(np.take_along_axis(made.channel("close"), order, axis=0), axis=0) >= -1e-9).all()
    assert np.array_equal(made.channel("volume"), forecast.channel("volume"))


def test_candles_open_where_they_did_after_the_close_before(history):
    """A shift of all paths alike moves candles as wholes: gaps, wicks and bodies but the first stay."""
    forecast = toy(history, level_error=0.02)
    made = by_hand(("anchor",), anchor=1.0).apply(forecast)
    assert made.paths[..., :4] == pytest.approx(forecast.paths[..., :4] * np.exp(-0.02))
    assert made.channel("amount") == pytest.approx(forecast.channel("amount") * np.exp(-0.02))


def shape(forecast):
    """Mean gap, wicks and body in logs, in units of the steps' spread."""
    opens, highs, lows, closes = np.moveaxis(np.log(forecast.paths[..., :4]), -1, 0)
    before = np.concatenate([np.full((len(opens), 1), np.log(forecast.last_close)), closes[:, :-1]], axis=1)
    upper, lower = highs - np.maximum(opens, closes), np.minimum(opens, closes) - lows
    parts = np.array([abs(opens - before).mean(), upper.mean(), lower.mean(), abs(closes - opens).mean()])
    return parts / forecast.returns().std()


def test_stretched_candles_keep_their_proportions(history):
    narrow = toy(history, samples=200, spread=0.4)
    stretched = by_hand(("dispersion",), dispersion=2.5).apply(narrow)
    assert shape(stretched) == pytest.approx(shape(narrow), rel=0.05)
    assert shape(stretched) == pytest.approx(shape(toy(history, samples=200)), rel=0.1)


def test_statistics_of_a_corrected_forecast_agree(whole, history):
    made = whole.apply(toy(history, spread=0.4), baseline=walk(history))
    closes = made.channel("close")
    assert made.upside_probability().count == (closes[:, -1] > made.last_close).sum()
    assert made.quantiles([0.1]).iloc[-1, 0] == pytest.approx(made.range(0.8)["low"].iloc[-1])


def test_neutral_factors_leave_the_candles_as_they_are(history):
    forecast = toy(history, level_error=0.01)
    neutral = by_hand(PARTS[:3], anchor=0.0, drift=1.0, dispersion=1.0)
    assert neutral.apply(forecast).paths == pytest.approx(forecast.paths, rel=1e-12)


def test_rows_after_the_origin_change_nothing(whole):
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


def test_unknown_groups_take_the_pooled_factors_and_say_so(whole, history):
    forecast, baseline = toy(history), walk(history)
    unheard = whole.apply(forecast, baseline=baseline, group="mars 1h")
    assert np.array_equal(unheard.paths, whole.apply(forecast, baseline=baseline).paths)
    assert not np.array_equal(unheard.paths, whole.apply(forecast, baseline=baseline, group="a 1h").paths)
    assert any("doesn't know 'mars 1h'" in note for note in unheard.notes)
    assert unheard.metadata.details["calibration"]["group"] is None


def test_steps_beyond_the_fitted_ones_take_the_last_factors(whole, history):
    long = toy(history, horizon=30)
    made = whole.apply(long, baseline=walk(history, 30))
    assert any("fitted up to step 24" in note for note in made.notes)
    stretched = by_hand(("dispersion",), dispersion=2.0).apply_paths(long.returns(cumulative=True))
    middle = np.median(long.returns(cumulative=True), axis=0)
    assert stretched == pytest.approx(middle + 2 * (long.returns(cumulative=True) - middle))


def test_a_missing_level_error_is_said(history):
    forecast = toy(history)
    silent = replace(forecast, metadata=forecast.metadata.with_details(level_error=None))
    made = by_hand(("anchor",), anchor=1.0).apply(silent)
    assert np.array_equal(made.paths, forecast.paths)
    assert any("nothing was anchored" in note for note in made.notes)


def test_a_calibration_from_the_future_is_no_fair_test(history, whole):
    early = replace(whole, fitted_on={**whole.fitted_on, "known": "2024-12-31T00:00:00"})
    late = replace(whole, fitted_on={**whole.fitted_on, "known": "2033-01-01T00:00:00"})
    told = [" ".join(one.apply(toy(history), baseline=walk(history)).notes) for one in (early, late)]
    assert "no fair test" not in told[0]
    assert "no fair test" in told[1]


def test_a_group_too_small_for_factors_knows_what_all_know(past, history):
    times = np.where(past.group == "b 1h", np.datetime64("2040-01-01"), past.known_at)
    few = np.flatnonzero(past.group == "a 1h")[:20]
    trained = fit(
        replace(past, known_at=times).select(np.r_[few, np.flatnonzero(past.group == "b 1h")]), WITHOUT_POOLING
    )
    assert "a 1h" not in trained.curves["drift"].groups
    assert trained.known_until("a 1h") == trained.known_until() == np.datetime64("2040-01-01")
    notes = " ".join(trained.apply(toy(history), group="a 1h").notes)
    assert "had only 20 past forecasts of 'a 1h'" in notes
    assert ": no fair test" in notes
    both = fit(replace(past, known_at=times), WITHOUT_POOLING)
    assert both.known_until("a 1h") < both.known_until("b 1h") == both.known_until()
    assert any("not quite a fair test" in note for note in both.apply(toy(history), group="a 1h").notes)


def test_at_weight_zero_the_baselines_distribution_comes_out(history):
    forecast, baseline = toy(history, spread=0.3), walk(history)
    nothing = by_hand(("pooling",), pooling=0.0)
    made = nothing.apply(forecast, baseline=baseline)
    assert np.sort(made.channel("close"), axis=0) == pytest.approx(np.sort(baseline.channel("close"), axis=0))
    assert nothing.adds_nothing()
    assert made.metadata.details["calibration"]["model_adds_nothing"]
    assert any("adds nothing" in note for note in made.notes)
    assert "adds nothing" in nothing.describe()
    more = nothing.apply(forecast, baseline=walk(history, samples=199))
    assert more.range(0.8).to_numpy() == pytest.approx(walk(history, samples=199).range(0.8).to_numpy(), rel=1e-3)


def test_it_describes_itself(whole):
    text = whole.describe("a 1h")
    assert "factors of a 1h" in text
    assert all(f"- {part}: " in text for part in PARTS)
    assert "factors of all groups together" in whole.describe("mars")
    assert "no part" in by_hand(()).describe()
    assert by_hand(()).weights() == {1: 1.0}
    own = fit(trials(origins=100), ("conformal",), symmetric=False).describe()
    assert "the median up by" in own
    assert "lower end of the 80 % band" in own


def test_leading_parts_only(whole, history):
    forecast = toy(history, spread=0.4)
    made = whole.apply(forecast, parts=("drift", "anchor"))
    assert made.metadata.details["calibration"]["parts"] == ["anchor", "drift"]
    assert not any("Pooled" in note for note in made.notes)
    with pytest.raises(ParameterError, match="from the end"):
        whole.apply(forecast, parts=("dispersion",))
    with pytest.raises(ParameterError, match="no part of a calibration"):
        whole.apply(forecast, parts=("everything",))


def test_refuses_other_models_unless_told(whole, history, past):
    forecast = toy(history)
    changed = {
        "weights": forecast.metadata.with_details(model={"sha256": "c" * 64}),
        "tokenizers": forecast.metadata.with_details(tokenizer={"sha256": "c" * 64}),
        "sampling": forecast.metadata.with_details(sampling={"temperature": 0.6, "top_k": 0, "top_p": 0.9}),
        "models": replace(forecast.metadata, model="other", details={"level_error": 0.0}),
    }
    for word, made in changed.items():
        other = replace(forecast, metadata=made)
        with pytest.raises(ParameterError, match=f"{word} differ"):
            whole.apply(other, baseline=walk(history))
        told = whole.apply(other, baseline=walk(history), other_model=True)
        assert any("fitted for other forecasts" in note for note in told.notes)
    renamed = replace(forecast, metadata=replace(forecast.metadata, model="a copy elsewhere"))
    assert whole.apply(renamed, baseline=walk(history)).metadata.calibrated
    with pytest.raises(ParameterError, match="weights differ"):
        whole.apply_trials(replace(past, identity=replace(MODEL, sha256="d" * 64)))


def test_refuses_wrong_baselines_and_second_helpings(whole, history):
    forecast, baseline = toy(history), walk(history)
    with pytest.raises(ParameterError, match="pools with walk"):
        whole.apply(forecast)
    with pytest.raises(ParameterError, match="not with 'toy'"):
        whole.apply(forecast, baseline=forecast)
    with pytest.raises(ParameterError, match="same last candle"):
        whole.apply(forecast, baseline=walk(history.head(150)))
    with pytest.raises(ParameterError, match="already"):
        whole.apply(whole.apply(forecast, baseline=baseline), baseline=baseline)


def test_refuses_shapes_that_disagree(whole):
    paths = np.zeros((3, 10, 24))
    with pytest.raises(ParameterError, match="shape"):
        whole.apply_paths(np.zeros(24))
    with pytest.raises(ParameterError, match="baseline's paths need"):
        whole.apply_paths(paths, baseline=np.zeros((3, 10, 5)))
    with pytest.raises(ParameterError, match="one step ahead"):
        whole.apply_paths(paths, baseline=paths, steps=[1, 2])


def test_one_origin_is_treated_as_one_of_many(whole, past):
    many = whole.apply_trials(past).returns
    one = whole.apply_paths(
        past.returns[7], level_error=past.level_error[7], baseline=past.baseline[7], group=str(past.group[7])
    )
    assert np.array_equal(one, many[7])
    single = whole.apply_paths(past.returns.astype(np.float32), baseline=past.baseline, group=past.group)
    assert single.dtype == np.float32


def test_files_give_back_what_they_got(whole, tmp_path):
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
        with pytest.raises(DataError, match="no saved calibration"):
            Calibration.load(file)
    file.write_text(text + " " * 2**24, "utf-8")
    with pytest.raises(DataError, match="larger than 16 MB"):
        Calibration.load(file)


@pytest.mark.parametrize("symmetric", [True, False])
def test_every_choice_of_parts_survives_a_file(past, tmp_path, symmetric):
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
        with pytest.raises(DataError, match="no saved calibration"):
            Calibration.load(file)
    for break_it in (
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
        break_it(fields)
        with pytest.raises(DataError, match="no saved calibration"):
            Calibration.from_dict(fields)

"""Signals: their definitions, point in time, resume, days that the model has seen, and the count of trials."""

import json
from dataclasses import replace
from threading import Timer

import numpy as np
import pandas as pd
import pytest

from backtest.candles import candles, instruments, predictor
from kronos.backtest import signal_run
from kronos.backtest.market import MarketPanel
from kronos.backtest.signal_run import check_point_in_time, compute_signals, discard_signals
from kronos.backtest.signal_store import PROVENANCE, TABLE, Signals
from kronos.backtest.signals import SIGNALS, SignalSettings, plan_signals, signal_values
from kronos.backtest.trials import Trial, TrialsLog
from kronos.backtest.universe import Universe
from kronos.errors import DataError, ParameterError
from kronos.evaluation.origins import Instrument
from kronos.locks import exclusive_lock

SETTINGS = SignalSettings(lookback=20, horizon=3, samples=4)


@pytest.fixture(scope="module")
def model():
    return predictor()


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(signal_run, "_BATCHES", 1)
    monkeypatch.setattr("kronos.inference.batching.MAX_ROWS", 40)


def seen_until(monkeypatch, day):
    cutoff = pd.Timestamp(day)
    monkeypatch.setattr(
        "kronos.backtest.signals.cutoffs", lambda _, plan: {one.group: cutoff for one in plan.instruments}
    )


def test_values_by_hand():
    last, spread = np.array([100.0]), np.array([4.0])
    closes = np.array([[[110.0, 90.0], [106.0, 98.0], [96.0, 112.0]]])  # 3 paths of 2 steps
    found = signal_values(np.log(closes / 100), last, spread)
    path = np.array([104.0, 100.0])  # the mean path
    assert found["last"][0] == pytest.approx((path[-1] - 100) / 4)
    assert found["mean"][0] == pytest.approx((path.mean() - 100) / 4)
    assert found["max"][0] == pytest.approx((path.max() - 100) / 4)
    assert found["min"][0] == pytest.approx((path.min() - 100) / 4, abs=1e-12)
    returns = np.log([0.9, 0.98, 1.12])
    assert found["return"][0] == pytest.approx(np.log(0.98))
    assert found["risk_adjusted"][0] == pytest.approx(np.log(0.98) / returns.std(ddof=1))
    assert found["probability"][0] == pytest.approx(1 / 3 - 0.5)
    assert set(found) == set(SIGNALS)


def test_a_missing_forecast_has_no_signal():
    found = signal_values(np.full((1, 2, 3), np.nan), np.array([1.0]), np.array([1.0]))
    assert all(np.isnan(values).all() for values in found.values())


def test_the_published_unit_is_the_deviation_of_the_lookback(model):
    (one,) = instruments(1)
    table = plan_signals([one], model, SETTINGS).table()
    close = one.candles.frame["close"].to_numpy()
    assert table["last_close"].tolist() == close[19:].tolist()
    assert table["spread"].iloc[-1] == pytest.approx(close[-20:].std() + 1e-5)
    assert table["date"].iloc[0] == one.candles.index[19]


@pytest.mark.slow
def test_the_future_does_not_matter(model, tmp_path):
    series = instruments()
    signals = compute_signals(plan_signals(series, model, SETTINGS), model, tmp_path / "whole")
    known = 45
    changed = []
    for one in series:
        frame = one.candles.frame.copy()
        frame.iloc[known:] *= 3
        changed.append(replace(one, candles=replace(one.candles, frame=frame)))
    perturbed = compute_signals(plan_signals(changed, model, SETTINGS), model, tmp_path / "perturbed")
    day = series[0].candles.index[known - 1]
    before, after = (own.table[own.table["date"] <= day].drop(columns="seen") for own in (signals, perturbed))
    pd.testing.assert_frame_equal(before, after)
    assert not signals.table.equals(perturbed.table)
    ended = [replace(one, candles=one.candles.head(known)) for one in series]
    cut = compute_signals(plan_signals(ended, model, SETTINGS), model, tmp_path / "cut")
    assert np.allclose(cut.table[list(SIGNALS)], before[list(SIGNALS)], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_shift_by_a_bar_is_caught(model, tmp_path):
    plan = plan_signals(instruments(), model, SETTINGS)
    signals = compute_signals(plan, model, tmp_path)
    check_point_in_time(signals, plan, model)
    table = signals.table.copy()
    columns = ["last_close", "spread", *SIGNALS]
    table[columns] = table.groupby("instrument")[columns].shift(-1)
    with pytest.raises(DataError, match="shifted"):
        check_point_in_time(Signals(table.dropna(ignore_index=True), {}), plan, model)
    table = signals.table.copy()
    table[list(SIGNALS)] = table.groupby("instrument")[list(SIGNALS)].shift(-1)  # the closes stay right
    with pytest.raises(DataError, match="from the candles up to that day"):
        check_point_in_time(Signals(table.dropna(ignore_index=True), {}), plan, model, origins=100)


@pytest.mark.slow
@pytest.mark.usefixtures("small_shards")
def test_a_killed_run_resumes_to_the_same_file(model, tmp_path):
    plan = plan_signals(instruments(), model, SETTINGS)
    compute_signals(plan, model, tmp_path / "whole")
    ticks = []

    def stop(done, total):
        ticks.append(done)
        if done >= total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute_signals(plan, model, tmp_path / "killed", progress=stop)
    assert not (tmp_path / "killed" / TABLE).exists()
    (tmp_path / "killed" / "forecasts" / ".half.npz.tmp-1").write_bytes(b"half")
    again = []
    compute_signals(plan, model, tmp_path / "killed", progress=lambda done, _: again.append(done))
    assert again[0] == ticks[-1] > 0
    assert (tmp_path / "whole" / TABLE).read_bytes() == (tmp_path / "killed" / TABLE).read_bytes()
    whole, killed = (json.loads((tmp_path / name / PROVENANCE).read_text()) for name in ("whole", "killed"))
    assert whole == killed


def test_another_plan_or_model_is_refused(model, tmp_path):
    series = instruments(1)
    compute_signals(plan_signals(series, model, SETTINGS), model, tmp_path)
    with pytest.raises(ParameterError, match="another settings"):
        compute_signals(plan_signals(series, model, replace(SETTINGS, seed=2)), model, tmp_path)
    discard_signals(tmp_path)
    compute_signals(plan_signals(series, model, replace(SETTINGS, seed=2)), model, tmp_path)
    (tmp_path / "forecasts" / "notes.txt").write_text("mine")
    with pytest.raises(ParameterError, match=r"notes\.txt"):
        discard_signals(tmp_path)
    with pytest.raises(ParameterError, match="exceed the context of 64"):
        compute_signals(plan_signals(instruments(1, 90), model, replace(SETTINGS, lookback=62)), model, tmp_path / "x")


def test_stored_signals_are_read_and_changes_of_them_noticed(model, tmp_path):
    signals = compute_signals(plan_signals(instruments(2), model, SETTINGS), model, tmp_path)
    loaded = Signals.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.table, signals.table)
    assert loaded.provenance["settings"] == SETTINGS.to_dict()
    assert {"model", "tokenizer", "data_sha256", "first", "last", "new_from", "sampling"} <= set(loaded.provenance)
    loaded.table.assign(last=0.0).to_parquet(tmp_path / TABLE, index=False)
    with pytest.raises(DataError, match="is not the table"):
        Signals.load(tmp_path)


def test_scores_are_aligned_with_a_panel(model, tmp_path):
    series = instruments(2)
    signals = compute_signals(plan_signals(series, model, SETTINGS), model, tmp_path)
    panel = MarketPanel.from_candles({one.name: one.candles for one in reversed(series)} | {"Z": candles("Z", 80)})
    scores = signals.scores("last", panel)
    assert scores.shape == panel.close.shape
    assert np.isnan(scores[:19]).all()
    assert np.isnan(scores[:, 2]).all()
    row = signals.table[signals.table["instrument"] == "S1"].iloc[-1]
    assert scores[panel.dates.get_loc(row["date"]), 0] == row["last"]
    with pytest.raises(ParameterError, match="no candles of S0"):
        signals.scores("last", panel.select(["S1", "Z"]))
    with pytest.raises(ParameterError, match="no signal 'first'"):
        signals.scores("first", panel)
    with pytest.raises(ParameterError, match="no bars on"):
        signals.scores("last", panel.between("2024-03-01"))


def test_days_seen_in_training_are_refused_marked_or_left_out(model, monkeypatch, tmp_path):
    series = instruments(2)
    index = series[0].candles.index
    seen_until(monkeypatch, index[40])
    with pytest.raises(ParameterError, match="may have been trained on 18 days"):
        plan_signals(series, model, SETTINGS, start=index[30], seen="refuse")
    marked = plan_signals(series, model, SETTINGS, start=index[30], seen="mark")
    table = marked.table()
    # The signal of the day before the cutoff forecasts new candles only.
    assert table.loc[~table["seen"], "date"].min() == index[39]
    assert table["seen"].sum() == 2 * 9
    default = plan_signals(series, model, SETTINGS)
    assert default.table()["date"].min() == index[39]
    assert not default.seen.any()
    signals = compute_signals(marked, model, tmp_path)
    assert signals.seen_days == 18
    assert signals.provenance["new_from"] == {"S0": str(index[40]), "S1": str(index[40])}


def test_markets_have_their_own_cutoffs(model, monkeypatch):
    series = [*instruments(1), Instrument("C", "crypto", candles("C"))]
    index = series[0].candles.index
    days = {"us_equity 1d": index[50], "crypto 1d": index[25]}
    monkeypatch.setattr("kronos.backtest.signals.cutoffs", lambda *_: days)
    table = plan_signals(series, model, SETTINGS, start=index[30], seen="mark").table()
    assert table.loc[table["seen"], "instrument"].unique().tolist() == ["S0"]


def test_membership_limits_the_forecasts(model):
    series = instruments(2)
    index = series[0].candles.index
    universe = Universe("index", {"S0": [(f"{index[30]:%Y-%m-%d}", f"{index[35]:%Y-%m-%d}")]})
    table = plan_signals(series, model, SETTINGS, universe=universe).table()
    assert table["instrument"].unique().tolist() == ["S0"]
    assert table["date"].tolist() == index[30:36].tolist()
    with pytest.raises(DataError, match="None of S0 and S1 belongs to other"):
        plan_signals(series, model, SETTINGS, universe=Universe("other", {"AAPL": [("2020-01-01", "2030-01-01")]}))


def test_dates_are_inclusive_and_a_whole_horizon_may_be_needed(model):
    (one,) = instruments(1)
    index = one.candles.index
    table = plan_signals([one], model, SETTINGS, start=index[30], end=f"{index[33]:%Y-%m-%d}").table()
    assert table["date"].tolist() == index[30:34].tolist()
    assert plan_signals([one], model, SETTINGS).table()["date"].max() == index[-1]
    assert plan_signals([one], model, SETTINGS, whole_horizon=True).table()["date"].max() == index[-4]


def test_what_cannot_be_planned_is_refused(model):
    with pytest.raises(ParameterError, match="no instrument"):
        plan_signals([], model, SETTINGS)
    with pytest.raises(DataError, match="No day is left"):
        plan_signals(instruments(1, 10), model, SETTINGS)
    with pytest.raises(ParameterError, match="Two instruments are named 'S0'"):
        plan_signals(instruments(1) * 2, model, SETTINGS)
    with pytest.raises(ParameterError, match="lookback"):
        SignalSettings(lookback=1)


def test_trials_are_counted_by_their_settings(tmp_path):
    log = TrialsLog(tmp_path)
    assert len(log) == 0
    log.append([Trial({"signal": "last", "top": 50}, {"sharpe": 0.5}), Trial({"signal": "mean", "top": 50})])
    log.append([Trial({"top": 50, "signal": "last"}, {"sharpe": 0.6})])  # the same settings, run again
    assert len(log) == 2
    assert len(log.read()) == 3
    assert [trial.figures.get("sharpe") for trial in log.distinct()] == [0.6, None]
    with log.path.open("a") as file:
        file.write('{"made": "2024')  # a write that was cut off
    log.append([Trial({"signal": "max"})])
    assert len(log) == 3
    log.path.write_text("nonsense\n" + log.path.read_text())
    with pytest.raises(DataError, match="line 1"):
        log.read()


def test_a_collision_in_the_trials_log_is_waited_for(tmp_path):
    """Forecasts of hours must not be lost because another run writes its line at that moment."""
    log = TrialsLog(tmp_path)
    lock = exclusive_lock(tmp_path / ".trials.jsonl.lock", busy="busy", fix="wait")
    lock.__enter__()
    release = Timer(0.3, lock.__exit__, (None, None, None))
    release.start()
    log.append([Trial({"signal": "last"})])
    release.join()
    assert len(log) == 1

"""The Qlib road: a folder, the published pre-processing, the panel, and a backtest in both modes."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtest.candles import candles, predictor
from kronos.backtest.comparison import Benchmark
from kronos.backtest.config import load_backtest_config
from kronos.backtest.experiment import run_experiment
from kronos.backtest.qlib_dataset import QlibPeriods, prepared_rows, read_qlib_dataset
from kronos.backtest.signal_run import compute_signals
from kronos.backtest.tradable import load_market, plan_market, qlib_folder
from kronos.backtest.trials import TrialsLog
from kronos.errors import DataError, ParameterError

DAYS = pd.bdate_range("2024-01-01", periods=120)
CODES = [f"SH60000{i}" for i in range(5)]
PERIODS = QlibPeriods(
    train=("2024-01-01", "2024-02-29"),
    validation=("2024-02-01", "2024-03-29"),
    test=("2024-03-01", "2024-06-14"),
    backtest=("2024-04-15", "2024-06-14"),
)
KNOBS = {"lookback": 20, "predict": 3}


def write_field(folder, code, name, values, start=0):
    path = folder / "features" / code.lower() / f"{name}.day.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.concatenate([[start], values]).astype("<f4").tofile(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five members, one of which leaves and one of which has a suspension; an index; a stock that never belonged."""
    root = tmp_path_factory.mktemp("qlib") / "cn_data"
    (root / "calendars").mkdir(parents=True)
    (root / "instruments").mkdir()
    (root / "calendars" / "day.txt").write_text("\n".join(f"{day:%Y-%m-%d}" for day in DAYS))
    everyone = [*CODES, "SH688999"]
    lines = [f"{code}\t2024-01-01\t2024-12-31" for code in everyone]
    (root / "instruments" / "all.txt").write_text("\n".join(lines))
    members = [f"{code}\t2024-01-01\t2024-12-31" for code in CODES[:3]]
    members += [f"{CODES[3]}\t2024-01-01\t2024-05-15", f"{CODES[4]}\t2024-06-10\t2024-12-31"]
    (root / "instruments" / "csi300.txt").write_text("\n".join(members))
    for code in everyone:
        frame = candles(code, len(DAYS)).frame
        if code == CODES[1]:
            frame.iloc[60:63] = np.nan  # suspended
        if code == CODES[2]:
            frame.iloc[70, frame.columns.get_loc("volume")] = np.nan
        factor = 0.5
        for name in ("open", "high", "low", "close"):
            write_field(root, code, name, frame[name].to_numpy() * factor)
        write_field(root, code, "volume", frame["volume"].to_numpy() / factor)
        write_field(root, code, "factor", np.where(frame["close"].isna(), np.nan, factor))
        write_field(root, code, "change", frame["close"].pct_change(fill_method=None).to_numpy())
    write_field(root, "SH000300", "close", candles("index", len(DAYS)).frame["close"].to_numpy())
    return root


def test_the_published_preprocessing(folder):
    dataset = read_qlib_dataset(folder, "csi300", PERIODS, **KNOBS)
    assert set(dataset.rows) == set(CODES[:4])
    assert dataset.left_out == {CODES[4]: "5 complete rows; 24 are needed"}
    rows = dataset.rows[CODES[0]]
    assert rows.columns.tolist() == ["open", "high", "low", "close", "volume", "amount"]
    mean = rows[["open", "high", "low", "close"]].mean(axis=1)
    assert rows["amount"].to_numpy() == pytest.approx((mean * rows["volume"]).to_numpy())
    assert len(dataset.rows[CODES[1]]) == len(rows) - 3
    assert len(dataset.rows[CODES[2]]) == len(rows) - 1  # a row without volume is dropped
    assert dataset.rows[CODES[3]].index[-1] == pd.Timestamp("2024-05-15")  # the rows of its membership only


def test_the_panel_has_all_bars_with_factors_and_membership(folder):
    dataset = read_qlib_dataset(folder, "csi300", PERIODS, **KNOBS)
    panel = dataset.panel
    assert panel.instruments == tuple(CODES)
    left = panel.dates.get_loc(pd.Timestamp("2024-05-16"))
    assert not np.isnan(panel.close[left, 3])  # a holding that leaves the index still has a price
    assert not panel.membership[left, 3]
    assert panel.factor[0, 0] == 0.5
    assert np.isnan(panel.close[60:63, 1]).all()
    assert np.isnan(panel.volume[70, 2])
    assert not np.isnan(panel.close[70, 2])
    assert dataset.change.shape == panel.close.shape
    index = candles("index", len(DAYS)).frame["close"].pct_change().to_numpy()[1 : len(panel)]
    assert dataset.benchmark_returns()[1:] == pytest.approx(index, abs=1e-5)
    assert read_qlib_dataset(folder, "csi300", PERIODS, benchmark="SH000999", **KNOBS).benchmark is None


@pytest.mark.parametrize("part", [slice(None, 100), slice(110, None)], ids=["begins late", "ends early"])
def test_an_index_with_a_part_of_the_days_is_no_benchmark_of_all(folder, part):
    dataset = read_qlib_dataset(folder, "csi300", PERIODS, benchmark="SH000300", **KNOBS)
    index = dataset.benchmark.copy()
    index.iloc[part] = np.nan
    returns = replace(dataset, benchmark=index).benchmark_returns()
    assert np.isnan(returns[part]).all()
    days = dataset.panel.dates
    with pytest.raises(DataError, match="choose dates within"):
        Benchmark("SH000300", pd.Series(returns, index=days)).on(days[80:])


def test_the_periods_overlap_and_are_written(folder, tmp_path):
    dataset = read_qlib_dataset(folder, "csi300", PERIODS, **KNOBS)
    files = dataset.save(tmp_path / "prepared")
    assert [path.name for path in files] == ["train.parquet", "validation.parquet", "test.parquet", "dataset.json"]
    train, validation = (pd.read_parquet(path) for path in files[:2])
    assert train["timestamps"].max() == pd.Timestamp("2024-02-29")
    assert validation["timestamps"].min() == pd.Timestamp("2024-02-01")
    document = json.loads(files[3].read_text())
    assert document["parts"]["train"]["rows"] == len(train)
    assert document["left_out"] == dict(dataset.left_out)


def test_histories_for_forecasts(folder):
    dataset = read_qlib_dataset(folder, "csi300", PERIODS, **KNOBS)
    published, full = dataset.candles("published"), dataset.candles("full")
    assert published[CODES[0]].start == pd.Timestamp("2024-03-01")  # the rows of the test period only
    assert full[CODES[0]].start == DAYS[0]
    assert full[CODES[3]].end > published[CODES[3]].end
    with pytest.raises(ParameterError, match="history"):
        dataset.candles("some")


def test_incomplete_rows_are_dropped():
    dates = DAYS[:3]
    fields = {name: np.array([1.0, np.nan, 3.0]) for name in ("open", "high", "low", "close")}
    rows = prepared_rows(dates, {**fields, "volume": np.array([5.0, 5.0, np.nan])})
    assert rows.index.tolist() == [dates[0]]
    assert rows["amount"].tolist() == [5.0]


def test_what_is_no_folder_of_daily_bars_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match="no folder"):
        read_qlib_dataset(tmp_path / "none", "csi300")
    earlier = ("2011-01-01", "2011-02-01")
    with pytest.raises(DataError, match="no days from 2011-01-01"):
        read_qlib_dataset(folder, "csi300", QlibPeriods(earlier, earlier, earlier, earlier))
    with pytest.raises(ParameterError, match="no market 'csi500'"):
        read_qlib_dataset(folder, "csi500", PERIODS)
    with pytest.raises(ParameterError, match="end comes before"):
        QlibPeriods(train=("2024-01-01", "2023-01-01"))
    assert qlib_folder(f"qlib:{folder}:csi300") == (folder, "csi300")
    assert qlib_folder(f"qlib:{folder}") == (folder, "all")


@pytest.mark.slow
def test_the_same_signals_in_both_modes(folder, tmp_path):
    config = load_backtest_config(
        overrides={
            ("data", "paths"): f"qlib:{folder}:csi300",
            ("data", "benchmark"): "SH000300",
            **{("periods", name): list(getattr(PERIODS, name)) for name in ("train", "validation", "test", "backtest")},
            **{("signals", name): value for name, value in (("lookback", 20), ("horizon", 3), ("samples", 2))},
            **{("strategy", name): value for name, value in (("top", 2), ("drop", 1), ("hold", 1))},
            ("signals", "names"): "last,mean",
            ("study", "random_signals"): 0,
            ("study", "repetitions"): 100,
        },
        environment={},
    )
    market = load_market(config)
    assert market.markets == ("cn_ashare",)
    assert any("too few complete rows" in warning for warning in market.warnings)
    model = predictor()
    plan = plan_market(config, market, model)
    table = plan.table()
    assert table["date"].min() == pd.Timestamp("2024-04-12")  # traded on the first day of the backtest
    assert table["date"].max() == DAYS[DAYS <= "2024-06-14"][-4]  # a whole horizon is needed, as published
    assert table.loc[table["instrument"] == CODES[3], "date"].max() <= pd.Timestamp("2024-05-15")
    signals = compute_signals(plan, model, tmp_path)
    log = TrialsLog(tmp_path)
    experiment = run_experiment(config, market, signals, log)
    assert [(run.signal, run.mode) for run in experiment.runs] == [
        ("last", "corrected"), ("last", "published"), ("mean", "corrected"), ("mean", "published"),
    ]  # fmt: skip
    assert experiment.trials == len(log) == 4
    published = experiment.run("last", "published")
    assert published.result.dates[0] == pd.Timestamp("2024-04-15")
    assert {"qlib_annualised_return", "qlib_information_ratio", "qlib_max_drawdown"} <= set(published.figures)
    (study, _) = experiment.studies
    assert study.published is not None
    assert study.benchmark == "SH000300"
    assert study.settings.performance.trials == 4
    assert run_experiment(config, market, signals, log).trials == 4  # run again, it is no other variant
    files = experiment.save(tmp_path / "out")
    document = json.loads(files[0].read_text())
    assert document["trials"] == 4
    assert pd.read_parquet(files[1]).groupby(["signal", "mode"]).ngroups == 4

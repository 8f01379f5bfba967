"""``kronos backtest``: data and configurations, overrides, refusals, resume, and the files it writes."""

import json
import signal
import subprocess
import sys
import time
from importlib import resources

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import forks
from backtest.candles import candles
from kronos.backtest.config import find_backtest_config, is_backtest_config, load_backtest_config
from kronos.backtest.report.figures import BacktestFigures
from kronos.cli import app
from kronos.errors import ParameterError
from kronos.locks import LOCK, exclusive_lock
from networks import random_model, random_tokenizer

LIBRARIES = (*forks.FORECASTING, "kronos.backtest.report")
QUICK = ("--lookback", "20", "--horizon", "3", "--samples", "2")


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="kronos")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with daily candles of three instruments and a checkpoint with random weights."""
    monkeypatch.chdir(tmp_path)
    for name in ("KRONOS_MODEL", "KRONOS_DEVICE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KRONOS_OFFLINE", "1")
    monkeypatch.setenv("KRONOS_THREADS", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("KRONOS_BACKTEST__STUDY__RANDOM_SIGNALS", "0")
    monkeypatch.setenv("KRONOS_BACKTEST__STUDY__REPETITIONS", "100")
    random_model(1).save_pretrained(tmp_path / "tiny" / "model", context=64, tokenizer="../tokenizer")
    random_tokenizer(2).save_pretrained(tmp_path / "tiny" / "tokenizer")
    (tmp_path / "daily").mkdir()
    for name in ("A", "B", "C"):
        candles(name, 45).frame.to_csv(tmp_path / "daily" / f"{name}_1d.csv")
    return tmp_path


@pytest.fixture(autouse=True)
def figures_in_two_tests(request, monkeypatch):
    """Draws the figures of a report in two tests only; they take a fifth of the time of a command."""
    if request.function not in (test_from_candles_to_a_report_and_again, test_a_configuration_with_overrides):
        for name in ("wealth", "drawdown", "coefficients", "decay", "chance", "costs"):
            monkeypatch.setattr(BacktestFigures, name, lambda _: [])


@pytest.mark.slow
def test_from_candles_to_a_report_and_again(place):
    command = ("backtest", "daily", "--model", "tiny/model", "--signal", "last", "--signal", "probability", *QUICK)
    done = invoke(*command, "--top", "1", "--drop", "1", "--hold", "1", "--market", "us_equity", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["trials"] == 2
    assert [(run["signal"], run["mode"]) for run in document["runs"]] == [
        ("last", "corrected"), ("probability", "corrected"),
    ]  # fmt: skip
    assert document["signals"]["settings"]["lookback"] == 20
    assert any("training dates of the model are unknown" in warning for warning in document["warnings"])
    assert any("membership by date" in warning for warning in document["warnings"])
    folder = place / "outputs" / "backtest_results" / "daily"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "backtest.json", "daily.parquet", "trades.parquet", "report.html", "report-probability.html", "signals",
    }  # fmt: skip
    (signals,) = folder.glob("signals/*/signals.parquet")
    before = signals.read_bytes()
    again = invoke(*command, "--top", "2", "--drop", "1", "--hold", "1", "--market", "us_equity", "--mode", "corrected")
    assert again.exit_code == 0, again.output
    assert signals.read_bytes() == before
    assert "4 variants tried" in again.stdout
    assert len((folder / "signals" / "trials.jsonl").read_text().splitlines()) == 4


@pytest.mark.slow
def test_a_configuration_with_overrides(place, monkeypatch):
    members = "instrument,start,end\nA_1d,2020-01-01,\nB_1d,2020-01-01,\n"
    (place / "members.csv").write_text(members)
    config = {
        "data": {"paths": "daily", "market": "us_equity", "universe": "members.csv"},
        "signals": {"lookback": 20, "horizon": 3, "samples": 2},
        "strategy": {"top": 2, "drop": 1},
        "model": {"name": "tiny/model"},
        "output": "out",
    }
    (place / "mine.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KRONOS_BACKTEST__STRATEGY__TOP", "1")
    loaded = load_backtest_config("mine.yaml", overrides={("strategy", "hold"): 2})
    assert (loaded.strategy.top, loaded.strategy.drop, loaded.strategy.hold) == (1, 1, 2)
    done = invoke(
        "backtest",
        "mine.yaml",
        "--from",
        "2024-02-15",
        "--mode",
        "both",
        "--report",
        "page.html",
        "--language",
        "zh",
        "--json",
    )
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [run["mode"] for run in document["runs"]] == ["corrected", "published"]
    assert document["runs"][0]["first"].startswith("2024-02-15")
    assert document["data"]["universe"] == "members"
    assert 'lang="zh' in (place / "page.html").read_text()
    trades = pd.read_parquet(place / "out" / "trades.parquet")
    assert set(trades["instrument"]) <= {"A_1d", "B_1d"}


@pytest.mark.slow
def test_signals_only_and_dry_run(place):
    plan = invoke("backtest", "daily", "--model", "tiny/model", *QUICK, "--dry-run", "--json")
    assert plan.exit_code == 0, plan.output
    assert json.loads(plan.stdout)["forecasts"] == 3 * 26
    assert not (place / "outputs").exists()
    done = invoke("backtest", "daily", "--model", "tiny/model", *QUICK, "--signals-only", "--quiet", "--output", "out")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert len(list(place.glob("out/signals/*/signals.json"))) == 1
    assert not (place / "out" / "backtest.json").exists()


def test_one_instrument_is_held_or_not(place):
    done = invoke("backtest", "daily/A_1d.csv", "--model", "tiny/model", *QUICK, "--signal", "return", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["runs"][0]["settings"]["strategy"]["name"] == "ThresholdLongFlat"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("daily", "--signal", "lst"), "the nearest is last."),
        (("daily", "--slippage", "-5"), "Invalid slippage -5.0"),
        (("daily", "--from", "2024-02-01", "--to", "2024-01-01"), "--from 2024-02-01 is after --to 2024-01-01"),
        (("backtest_csi30.yaml",), "no configuration file"),
        (("backtest_csi300", "daily"), "names its candles"),
        (("daily", "--to", "2024-03-01"), "--to needs --from"),
        (("daily", "--from", "soon"), "--from"),
        (("daily", "--strategy", "deciles", "--mode", "both"), "topk only"),
        (("daily", "--report", "page.pdf"), ".html"),
        (("daily", "--universe", "none.csv"), "cannot be read"),
        (("daily", "--benchmark", "SPY"), "no instrument 'SPY'"),
        (("nowhere",), "nowhere"),
        (("daily", "-v", "-q"), "contradict"),
        (("daily", "--lookback", "62", "--horizon", "3"), "No day is left"),
    ],
)
def test_misuse_is_one_sentence_and_status_2(arguments, problem):
    done = invoke("backtest", *arguments, *(() if "daily" not in arguments else ("--model", "tiny/model")))
    assert done.exit_code == 2, done.output
    assert problem in " ".join(done.stderr.split())


def test_unknown_keys_are_refused_with_the_nearest(place):
    (place / "bad.yaml").write_text("data: {paths: daily}\nstrategy: {tpo: 5}\n")
    done = invoke("backtest", "bad.yaml")
    assert done.exit_code == 2
    assert "unknown key 'strategy.tpo'; did you mean 'top'?" in done.stderr
    with pytest.raises(ParameterError, match="did you mean backtest_csi300"):
        find_backtest_config("backtest_csi30")
    (place / "mine.yaml").write_text("data: {paths: daily}\nstrategy: 5\n")
    with pytest.raises(ParameterError, match=r"'strategy' in mine\.yaml"):
        load_backtest_config("mine.yaml", overrides={("strategy", "top"): 3})


def test_the_configurations_that_ship_are_valid():
    folder = resources.files("kronos") / "configs"
    names = [name for name in ("backtest_csi300", "backtest_us_daily") if is_backtest_config(name)]
    assert len(names) == 2
    for name in names:
        assert (folder / f"{name}.yaml").is_file()
        assert load_backtest_config(name, environment={}).description
    published = load_backtest_config("backtest_csi300", environment={})
    assert published.signals.names == ("last", "mean", "max", "min")
    assert (published.strategy.top, published.strategy.drop, published.strategy.hold) == (50, 5, 5)
    sampling = published.signals.settings()
    assert (sampling.temperature, sampling.top_p, sampling.samples, sampling.lookback, sampling.horizon) == (
        0.6, 0.9, 5, 90, 10,
    )  # fmt: skip
    periods = published.qlib_periods()
    assert (periods.train, periods.backtest) == (("2011-01-01", "2022-12-31"), ("2024-07-01", "2025-06-05"))
    costs = published.trading.trading_costs(["cn_ashare"])
    assert (costs.open_rate, costs.close_rate, costs.minimum, published.trading.cash) == (0.001, 0.0015, 5, 1e8)


@pytest.mark.slow
def test_the_published_mode_alone_says_that_it_has_no_page(place):
    command = ("backtest", "daily", "--model", "tiny/model", "--market", "us_equity", *QUICK, "--top", "1")
    done = invoke(*command, "--mode", "published")
    assert done.exit_code == 0, done.output
    assert "no report page" in " ".join(done.stdout.split())
    assert "membership by date" in " ".join(done.stdout.split())
    assert not list(place.glob("outputs/backtest_results/daily/*.html"))


@pytest.mark.slow
def test_the_published_mode_trades_on_the_next_bar_only(place, monkeypatch):
    monkeypatch.setenv("KRONOS_BACKTEST__TRADING__LAG", "2")
    done = invoke(
        "backtest", "daily", "--model", "tiny/model", "--market", "us_equity", *QUICK, "--top", "1", "--mode", "both"
    )
    assert done.exit_code == 2
    assert "choose lag 1" in " ".join(done.output.split())


@pytest.mark.slow
def test_other_instruments_are_another_trial(place):
    """Of three baskets of one size the best is one of three variants, not of one."""
    command = ("--model", "tiny/model", "--market", "us_equity", *QUICK, "--top", "1", "--output", "out")
    baskets = (("A_1d.csv", "B_1d.csv"), ("A_1d.csv", "C_1d.csv"), ("A_1d.csv", "B_1d.csv"))
    counts = []
    for basket in baskets:
        done = invoke("backtest", *(f"daily/{name}" for name in basket), *command, "--json")
        assert done.exit_code == 0, done.output
        counts.append(json.loads(done.stdout)["trials"])
    assert counts == [1, 2, 2]


def test_a_price_limit_of_0_is_refused_rather_than_replaced(monkeypatch):
    monkeypatch.setenv("KRONOS_BACKTEST__TRADING__PRICE_LIMIT", "0")
    with pytest.raises(ParameterError, match="Invalid price_limit 0"):
        load_backtest_config(overrides={("data", "paths"): "daily"})


# One folder, one run ----------------------------------------------------------

BASE = ("backtest", "daily", "--model", "tiny/model", "--market", "us_equity", *QUICK, "--top", "1", "--output", "out")


@pytest.mark.slow
def test_a_run_replaces_the_results_of_an_earlier_one(place):
    both = invoke(*BASE, "--signal", "last", "--signal", "probability")
    assert both.exit_code == 0, both.output
    (place / "out" / "notes.html").write_text("mine")
    alone = invoke(*BASE, "--mode", "published", "--top", "2")
    assert alone.exit_code == 0, alone.output
    names = {path.name for path in (place / "out").iterdir()}
    assert names == {"backtest.json", "daily.parquet", "trades.parquet", "signals", "notes.html"}
    document = json.loads((place / "out" / "backtest.json").read_text())
    assert [run["mode"] for run in document["runs"]] == ["published"]
    assert set(pd.read_parquet(place / "out" / "daily.parquet")["mode"]) == {"published"}


@pytest.mark.slow
def test_a_run_that_fails_leaves_the_results_of_an_earlier_one(place):
    assert invoke(*BASE).exit_code == 0
    before = {path.name: path.read_bytes() for path in (place / "out").iterdir() if path.is_file()}
    assert invoke(*BASE, "--from", "2024-02-15", "--benchmark", "SPY").exit_code == 2
    assert invoke(*BASE, "--strategy", "deciles", "--mode", "both").exit_code == 2
    assert {path.name: path.read_bytes() for path in (place / "out").iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_a_folder_belongs_to_one_run_at_a_time(place):
    with exclusive_lock(place / "out" / LOCK, busy="out is being written", fix="choose another folder"):
        done = invoke(*BASE)
    assert done.exit_code == 1
    assert "out is being written by process" in " ".join(done.stderr.split())
    assert "another folder with --output" in " ".join(done.stderr.split())
    assert list((place / "out").iterdir()) == []  # nothing was forecast
    assert invoke(*BASE).exit_code == 0
    assert not (place / "out" / LOCK).exists()


def test_a_damaged_trials_log_is_refused_before_anything_is_forecast(place):
    log = place / "out" / "signals" / "trials.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("nonsense\n")
    done = invoke(*BASE)
    assert done.exit_code == 2
    assert "line 1, is damaged" in " ".join(done.stderr.split())
    assert list(log.parent.iterdir()) == [log]


# Intervals --------------------------------------------------------------------


@pytest.mark.slow
def test_files_of_other_intervals_are_left_out_and_counted(place):
    for name in ("A", "H"):
        hours = candles(name, 100).frame
        hours.index = pd.date_range("2024-01-01", periods=100, freq="h", name="timestamps")
        hours.to_csv(place / "daily" / f"{name}_1h.csv")
    done = invoke(*BASE, "--interval", "1d", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["data"]["instruments"] == ["A_1d", "B_1d", "C_1d"]
    assert document["data"]["skipped"] == []
    assert any("2 series of other intervals than 1d left out: A_1h and H_1h." in one for one in document["warnings"])
    (place / "daily" / "broken_1d.csv").write_text("open,high,low,close\n1,2,3,x\n")
    assert invoke(*BASE, "--interval", "1d").exit_code == 3  # what cannot be read is still reported
    none = invoke(*BASE, "--interval", "1w")
    assert none.exit_code == 2


# Ctrl-C -----------------------------------------------------------------------


# Files of a few forecasts, so that there is something left to do after the first.
SMALL_FILES = """
from kronos.backtest import signal_run
from kronos.cli import main
from kronos.inference import batching

signal_run._BATCHES, batching.MAX_ROWS = 1, 40
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent in another way there")
def test_an_interrupted_run_says_how_to_go_on_and_ends_the_same(place):
    command = [sys.executable, "-c", SMALL_FILES, *BASE[:-1]]
    with forks.Popen([*command, "cut"], stderr=subprocess.PIPE, text=True, preload=LIBRARIES) as process:
        while process.poll() is None and not list(place.glob("cut/signals/*/forecasts/*.npz")):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        message = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Stopped. Finished forecasts are in cut/signals/" in message
    assert "the same command resumes the run" in message
    assert not (place / "cut" / "backtest.json").exists()
    assert not (place / "cut" / LOCK).exists()
    for folder in ("cut", "whole"):
        forks.run([*command, folder, "--quiet"], check=True, preload=LIBRARIES)
    for name in ("signals/*/signals.parquet", "signals/*/signals.json", "daily.parquet", "trades.parquet"):
        (cut,), (whole,) = (list(place.glob(f"{folder}/{name}")) for folder in ("cut", "whole"))
        assert cut.read_bytes() == whole.read_bytes(), name

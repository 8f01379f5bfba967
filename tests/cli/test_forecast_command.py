"""`kronos forecast`: output and files."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from calibration.markets import trials
from kronos.calibration import fit
from kronos.cli import options
from kronos.cli.completion import PRESET_NAMES
from kronos.cli.forecast.view import steps_shown
from kronos.evaluation import ModelForecaster, identity_of
from kronos.forecasts import Forecast
from kronos.inference import KronosPredictor


@pytest.fixture(scope="session")
def calibration_file(checkpoint, tmp_path_factory) -> Path:
    """A calibration of the random checkpoint, which pools with a random walk."""
    predictor = KronosPredictor.from_pretrained(checkpoint, device="cpu")
    past = trials(origins=120, horizon=10, groups=("crypto 1h", "fx 1h"), spread=0.5, signal=0.5, heard=0.5)
    identity = identity_of(ModelForecaster(predictor, "random-tiny"))
    fitted = fit(replace(past, identity=identity, baseline_name="historical-volatility"))
    return fitted.save(tmp_path_factory.mktemp("calibration") / "mine.json")


def test_terminal_view(invoke, checkpoint, candles_csv):
    done = invoke("forecast", candles_csv, "--model", checkpoint, "--horizon", 12, "--samples", 30, "--seed", 1)
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    for words in ("coin_1h", "1h", "12 steps ahead", "30 paths", "random-tiny", "52 of 80 candles", "2024-03-04 07:00"):
        assert words in done.stdout
    for label in ("median", "50 %", "80 %", "95 %", "probability up", "expected range", "more volatile", "repaired"):
        assert label in done.stdout
    rows = re.findall(r"^\s*(\d+)  03-04 \d\d:00", done.stdout, re.MULTILINE)
    assert [int(row) for row in rows] == steps_shown(12)
    assert "SIMULATED" not in done.stdout


def test_numbers_equal_those_of_the_python_api(invoke, checkpoint, candles_csv):
    import kronos

    done = invoke("forecast", candles_csv, "--model", checkpoint, "--horizon", 5, "--samples", 8, "--seed", 3, "--json")
    told = json.loads(done.stdout)["forecasts"][0]
    candles = kronos.read_candles(candles_csv, symbol="coin_1h")
    forecast = kronos.KronosPredictor.from_pretrained(checkpoint, device="cpu").forecast(candles, 5, samples=8, seed=3)
    assert told["median"]["close"] == forecast.median()["close"].tolist()
    assert told["upside_probability"]["value"] == float(forecast.upside_probability())
    assert told["unique_id"] == "coin_1h"
    assert told["made"]["details"]["seed"] == 3


@pytest.mark.slow
def test_json_is_one_document(spawn, checkpoint, candles_csv, tmp_path):
    picture = tmp_path / "picture.png"
    done = spawn("forecast", candles_csv, "--model", checkpoint, "-n", 4, "--samples", 3, "--json", "--plot", picture)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["forecasts"][0]["files"] == [str(picture)]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert done.stderr == ""


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".json", ".npz"])
def test_table_formats(invoke, checkpoint, candles_csv, tmp_path, ending):
    path = tmp_path / f"table{ending}"
    done = invoke(
        "forecast", candles_csv, "--model", checkpoint, "-n", 4, "--samples", 6, "--seed", 1, "--output", path, "-q"
    )
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    if ending == ".npz":
        assert Forecast.load(path).paths.shape == (6, 4, 6)
    elif ending == ".json":
        assert json.loads(path.read_text("utf-8"))["forecasts"][0]["horizon"] == 4
    else:
        table = pd.read_parquet(path) if ending == ".parquet" else pd.read_csv(path)
        assert len(table) == 4
        assert {"unique_id", "timestamps", "close_median", "close_q10", "model", "simulated"} <= set(table.columns)
        assert not table["simulated"].any()
    assert [p.name for p in tmp_path.iterdir() if ".tmp" in p.name] == []


def test_long_table_has_every_path(invoke, checkpoint, candles_csv, tmp_path):
    path = tmp_path / "paths.parquet"
    options = ("--model", checkpoint, "-n", 4, "--samples", 6, "--seed", 1, "--output", path, "--format", "long", "-q")
    assert invoke("forecast", candles_csv, *options).exit_code == 0
    table = pd.read_parquet(path)
    assert len(table) == 24
    assert table["sample_id"].nunique() == 6
    assert table.attrs["kronos"]["coin_1h"]["details"]["seed"] == 1


@pytest.mark.slow
def test_several_files(invoke, checkpoint, tmp_path, candle_table):
    for folder, rows in (("a", 70), ("b", 40)):
        (tmp_path / folder).mkdir()
        candle_table(rows, seed=rows).to_csv(tmp_path / folder / "coin.csv", index=False)
    files = (tmp_path / "a" / "coin.csv", tmp_path / "b" / "coin.csv")
    output, pictures = tmp_path / "all.csv", tmp_path / "pictures"
    done = invoke(
        *("forecast", *files, "--model", checkpoint, "-n", 4, "--samples", 5, "--output", output, "--plot", pictures)
    )
    assert done.exit_code == 0, done.stderr
    assert pd.read_csv(output)["unique_id"].unique().tolist() == ["coin", "coin-2"]
    assert sorted(path.name for path in pictures.iterdir()) == ["coin-2.png", "coin.png"]
    picture = tmp_path / "one.svg"
    assert invoke("forecast", *files, "--model", checkpoint, "-n", 4, "--samples", 5, "--plot", picture).exit_code == 0
    assert sorted(path.name for path in tmp_path.glob("one*")) == ["one-coin-2.svg", "one-coin.svg"]


def test_long_file_is_forecast_by_series(invoke, checkpoint, tmp_path, candle_table):
    parts = [candle_table(50, seed=i).assign(symbol=name) for i, name in enumerate(("BTC/USD", "ETH/USD"))]
    path = tmp_path / "long.csv"
    pd.concat(parts).to_csv(path, index=False)
    done = invoke("forecast", path, "--model", checkpoint, "-n", 3, "--samples", 4, "--seed", 1, "--json")
    assert [f["unique_id"] for f in json.loads(done.stdout)["forecasts"]] == ["BTC/USD", "ETH/USD"]


def test_symbol_option(invoke, checkpoint, candles_csv):
    done = invoke("forecast", candles_csv, "--symbol", "ABC", "--model", checkpoint, "-n", 3, "--samples", 2, "--json")
    assert json.loads(done.stdout)["forecasts"][0]["symbol"] == "ABC"


def test_demo_is_labelled_simulated(invoke, checkpoint, tmp_path):
    table = tmp_path / "t.csv"
    shown = invoke("forecast", "--demo", "--model", checkpoint, "-n", 4, "--samples", 5, "--output", table)
    assert shown.exit_code == 0, shown.stderr
    assert "SIMULATED" in shown.stdout
    assert pd.read_csv(table)["simulated"].all()
    told = invoke("forecast", "--demo", "--model", checkpoint, "-n", 4, "--samples", 5, "--json")
    assert json.loads(told.stdout)["forecasts"][0]["simulated"] is True


def test_file_named_simulated_is_labelled(invoke, checkpoint, tmp_path, candle_table):
    path = tmp_path / "simulated_share.csv"
    candle_table().to_csv(path, index=False)
    assert "SIMULATED" in invoke("forecast", path, "--model", checkpoint, "-n", 3, "--samples", 2).stdout


def test_options_override_the_preset(invoke, checkpoint, candles_csv):
    options = ("--model", checkpoint, "-n", 3, "--preset", "conservative", "--top-p", "0.5", "--samples", 4, "--json")
    details = json.loads(invoke("forecast", candles_csv, *options).stdout)["forecasts"][0]["made"]["details"]
    assert details["sampling"] == {"temperature": 0.6, "top_p": 0.5, "top_k": 0}
    assert details["samples"] == 4


def test_lookback_calendar_and_timezone_options(invoke, checkpoint, candles_csv):
    options = ("--lookback", 33, "--calendar", "24/7", "--timezone", "Asia/Shanghai", "-n", 3, "--samples", 2, "--json")
    told = json.loads(invoke("forecast", candles_csv, "--model", checkpoint, *options).stdout)["forecasts"][0]
    assert told["made"]["details"]["lookback"] == 33
    assert (told["made"]["calendar"], told["timezone"]) == ("24/7", "Asia/Shanghai")


def test_model_option_overrides_the_environment(invoke, checkpoint, candles_csv, monkeypatch):
    monkeypatch.setenv("KRONOS_MODEL", str(checkpoint))
    done = invoke("forecast", candles_csv, "-n", 3, "--samples", 2)
    assert done.exit_code == 0
    assert "KRONOS_MODEL" in done.stderr
    monkeypatch.setenv("KRONOS_MODEL", "/nowhere/at/all")
    assert invoke("forecast", candles_csv, "-n", 3, "--samples", 2, "--model", checkpoint).exit_code == 0


@pytest.mark.slow
def test_replay_is_scored(invoke, checkpoint, candles_csv, tmp_path):
    picture = tmp_path / "replay.png"
    options = ("--model", checkpoint, "-n", 10, "--samples", 20, "--seed", 1, "--as-of", "2024-03-03 08:00")
    done = invoke("forecast", candles_csv, *options, "--plot", picture)
    assert done.exit_code == 0, done.stderr
    for words in ("Actual", "last-value", "drift", "historical-volatility", "random-tiny", "CRPS, step 10"):
        assert words in done.stdout
    assert picture.stat().st_size > 10_000
    replay = json.loads(invoke("forecast", candles_csv, *options, "--json").stdout)["forecasts"][0]
    assert replay["as_of"].startswith("2024-03-03T08:00")
    assert replay["replay"]["known_steps"] == 10
    assert set(replay["replay"]["scores"]["drift"]["horizons"]) == {"1", "8", "10"}


def test_replay_uses_only_the_history(invoke, checkpoint, candles_csv):
    options = ("--model", checkpoint, "-n", 5, "--samples", 4, "--seed", 1, "--as-of", "2024-03-03 08:00", "--json")
    before = json.loads(invoke("forecast", candles_csv, *options).stdout)["forecasts"][0]
    table = pd.read_csv(candles_csv)
    table.loc[table["timestamps"] > "2024-03-03 08:00:00", ["open", "high", "low", "close"]] *= 3
    table.to_csv(candles_csv, index=False)
    after = json.loads(invoke("forecast", candles_csv, *options).stdout)["forecasts"][0]
    assert after["mean"] == before["mean"]
    assert after["replay"] != before["replay"]


def test_replay_near_the_end_is_scored_on_known_steps(invoke, checkpoint, candles_csv):
    options = ("--model", checkpoint, "-n", 10, "--samples", 5, "--as-of", "2024-03-04 04:00")
    assert "step 3 of 10" in invoke("forecast", candles_csv, *options).stdout


def test_findings_are_counted_and_listed(invoke, checkpoint, tmp_path, candle_table):
    table = candle_table()
    path = tmp_path / "dirty.csv"
    pd.concat([table, table.iloc[[5]]]).to_csv(path, index=False)
    options = ("--model", checkpoint, "-n", 3, "--samples", 2)
    assert "-v lists them" in invoke("forecast", path, *options).stdout
    shown = invoke("forecast", path, *options, "-v").stdout
    assert "dirty.csv" in shown
    assert "82" in shown  # the line of the duplicate
    assert "seed" in shown


def test_constant_prices_are_forecast_with_a_note(invoke, checkpoint, tmp_path, candle_table):
    path = tmp_path / "flat.csv"
    table = candle_table(40)
    table[["open", "high", "low", "close"]] = 5.0
    table.drop(columns="volume").to_csv(path, index=False)
    done = invoke("forecast", path, "--model", checkpoint, "-n", 1, "--samples", 1)
    assert done.exit_code == 0, done.stderr
    assert "notes" in done.stdout


def test_output_fits_the_terminal(invoke, checkpoint, candles_csv, monkeypatch):
    for width in (60, 80, 100, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        shown = invoke("forecast", candles_csv, "--model", checkpoint, "-n", 24, "--samples", 30, "--seed", 1).stdout
        assert max(map(len, shown.splitlines())) <= width
        table = next(line for line in shown.splitlines() if "80 %" in line)
        assert "median" in table
        assert "…" not in shown


@pytest.mark.parametrize("horizon", [1, 2, 8, 9, 24, 48, 120, 487, 2000])
def test_steps_shown(horizon):
    steps = steps_shown(horizon)
    assert steps[0] == 1
    assert steps[-1] == horizon
    assert steps == sorted(set(steps))
    assert len(steps) <= 11


def test_choices_match_the_library():
    from kronos.inference import PRESETS, Precision
    from kronos.plotting import Palette, Theme

    assert tuple(PRESETS) == PRESET_NAMES
    assert get_args(options.ThemeName) == get_args(Theme)
    assert set(get_args(options.PaletteName)) == set(get_args(Palette))
    assert get_args(options.PrecisionName) == get_args(Precision)


def test_threads_are_restored(invoke, checkpoint, candles_csv):
    import torch

    before = torch.get_num_threads()
    options = ("--model", checkpoint, "-n", 2, "--samples", 2, "--seed", 1, "--json")
    one = json.loads(invoke("forecast", candles_csv, *options, "--threads", 1).stdout)
    assert torch.get_num_threads() == before
    many = json.loads(invoke("forecast", candles_csv, *options).stdout)
    closes = [np.array(run["forecasts"][0]["mean"]["close"]) for run in (one, many)]
    np.testing.assert_allclose(closes[0], closes[1], rtol=1e-5)


@pytest.mark.slow
def test_real_candles_of_five_markets(invoke, checkpoint, shared: Path, tmp_path):
    folder = shared / "data" / "candles"
    names = (
        *("crypto/BTCUSD_bitfinex_1h", "fx/EURUSD_oanda_5m", "us_equity/AAPL_lean_1d"),
        *("cn_ashare/SH600519_15m", "cn_futures/CZCE.AP_5m"),
    )
    files = [folder / f"{name}.parquet" for name in names]
    done = invoke("forecast", *files, "--model", checkpoint, "-n", 20, "--samples", 20, "--plot", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    calendars = [f["made"]["calendar"] for f in json.loads(done.stdout)["forecasts"]]
    assert calendars[:4] == ["24/7", "FX", "XNYS", "XSHG"]
    assert calendars[4].startswith("CN-FUTURES")
    assert len(list(tmp_path.glob("*.png"))) == 5


def test_bundled_model_is_the_default_and_announced(invoke, bundled, candles_csv):
    done = invoke("forecast", candles_csv, "-n", 3, "--samples", 2, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["forecasts"][0]["made"]["model"] == "kronos-nano"
    assert done.stderr.startswith("Model: kronos-nano (bundled, ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert invoke("forecast", candles_csv, "-n", 3, "--samples", 2, "-q").stderr == ""


def test_error_is_printed_without_the_announcement(invoke, bundled, candles_csv):
    done = invoke("forecast", candles_csv, "-n", 1000)
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_missing_model_is_downloaded_before_loading(invoke, checkpoint, candles_csv, monkeypatch, tmp_path):
    """The loader gets the name, not the folder: the zoo finds it in the cache."""
    calls = []
    monkeypatch.setenv("KRONOS_OFFLINE", "0")
    monkeypatch.setenv("KRONOS_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(
        "kronos.cli.model_loading.download_with_progress",
        lambda ref, *, show_progress: calls.append((ref, show_progress)),
    )
    from kronos.inference import KronosPredictor

    real = KronosPredictor.from_pretrained

    def loaded(ref, **options):
        calls.append(ref)
        return real(checkpoint, **options)

    monkeypatch.setattr(KronosPredictor, "from_pretrained", loaded)
    done = invoke("forecast", candles_csv, "--model", "Kronos-mini", "-n", 2, "--samples", 2)
    assert done.exit_code == 0, done.stderr
    assert calls == [("Kronos-mini", True), "Kronos-mini"]
    calls.clear()
    assert invoke("forecast", candles_csv, "--model", checkpoint, "-n", 2, "--samples", 2).exit_code == 0
    assert calls == [str(checkpoint)]


def test_progress_in_a_terminal(invoke, checkpoint, candles_csv, monkeypatch):
    for module in ("kronos.progress", "kronos.cli.console"):
        monkeypatch.setattr(f"{module}.is_interactive", lambda: True)
    done = invoke("forecast", candles_csv, "--model", checkpoint, "-n", 4, "--samples", 2, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["forecasts"]


def test_terminal_without_unicode(spawn, checkpoint, candles_csv, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    chinese = candles_csv.rename(tmp_path / "比特币.csv")
    options = ("--model", checkpoint, "-n", 2, "--samples", 2)
    shown = spawn("forecast", chinese, *options)
    assert shown.returncode == 0, shown.stderr
    assert "median" in shown.stdout
    told = spawn("forecast", chinese, *options, "--json")
    assert json.loads(told.stdout)["forecasts"][0]["unique_id"] == "比特币"


@pytest.mark.slow
def test_calibrated_forecasts_are_labelled(invoke, checkpoint, candles_csv, calibration_file, tmp_path):
    options = ("forecast", candles_csv, "--model", checkpoint, "-n", 10, "--samples", 20, "--seed", 1)
    asked = (*options, "--calibration", calibration_file, "--market", "crypto")
    shown = invoke(*asked, "-v")
    assert shown.exit_code == 0, shown.stderr
    for words in ("random-tiny, calibrated", "Calibrated (anchor", "Pooled with historical-volatility", "crypto 1h"):
        assert words in shown.stdout
    told = json.loads(invoke(*asked, "--json").stdout)["forecasts"][0]
    assert told["made"]["calibrated"] is True
    weights = told["made"]["details"]["calibration"]["factors"]["pooling"]
    for ending in (".csv", ".parquet"):
        path = tmp_path / f"table{ending}"
        assert invoke(*asked, "-q", "--output", path).exit_code == 0
        table = pd.read_csv(path) if ending == ".csv" else pd.read_parquet(path)
        assert set(table["state"]) == {"calibrated"}
        np.testing.assert_allclose(table["model_weight"], weights)
    long = tmp_path / "long.csv"
    assert invoke(*asked, "-q", "--output", long, "--format", "long").exit_code == 0
    np.testing.assert_allclose(pd.read_csv(long)["model_weight"], weights * 20)
    saved = tmp_path / "all.npz"
    assert invoke(*asked, "-q", "--output", saved).exit_code == 0
    assert Forecast.load(saved).metadata.pooled == ("historical-volatility", tuple(weights))
    raw = tmp_path / "raw.csv"
    assert "random-tiny, raw" in invoke(*options, "--output", raw).stdout
    table = pd.read_csv(raw)
    assert set(table["state"]) == {"raw"}
    assert "model_weight" not in table


@pytest.mark.slow
def test_calibrate_applies_the_models_own_calibration(invoke, checkpoint, candles_csv, calibration_file, tmp_path):
    options = ("forecast", candles_csv, "-n", 4, "--samples", 8, "--seed", 1, "--json")
    without = invoke(*options, "--model", checkpoint, "--calibrate")
    assert without.exit_code == 2
    assert "'kronos calibrate'" in without.stderr
    folder = shutil.copytree(checkpoint, tmp_path / "random-tiny")
    shutil.copy(calibration_file, folder / "model" / "calibration.json")
    asked = {
        "own": ("--model", folder, "--calibrate"),
        "other": ("--model", checkpoint, "--calibration", calibration_file),
        "default": ("--model", folder),
        "raw": ("--model", folder, "--no-calibrate"),
        "cold": ("--model", folder, "--temperature", "0.5"),
    }
    told = {name: json.loads(invoke(*options, *more).stdout)["forecasts"][0] for name, more in asked.items()}
    assert told["own"]["made"]["calibrated"]
    assert not told["raw"]["made"]["calibrated"]
    assert told["default"]["median"] == told["own"]["median"]
    assert not told["cold"]["made"]["calibrated"]
    assert any(note.startswith("Raw: ") for note in told["cold"]["made"]["notes"])
    assert told["own"]["median"] == told["other"]["median"] != told["raw"]["median"]
    assert told["own"]["made"]["details"]["calibration"]["group"] == "crypto 1h"  # a weekend of hourly candles


def test_replay_scores_raw_and_calibrated(invoke, checkpoint, candles_csv, calibration_file):
    options = ("--model", checkpoint, "-n", 10, "--samples", 20, "--seed", 1, "--as-of", "2024-03-03 08:00")
    asked = ("forecast", candles_csv, *options, "--calibration", calibration_file)
    shown = invoke(*asked).stdout
    assert "random-tiny, raw" in shown.split("Actual")[1]
    assert "random-tiny, calibrated" in shown.split("Actual")[1]
    scores = json.loads(invoke(*asked, "--json").stdout)["forecasts"][0]["replay"]["scores"]
    plain = json.loads(invoke("forecast", candles_csv, *options, "--json").stdout)["forecasts"][0]["replay"]["scores"]
    assert scores["random-tiny, raw"] == plain["random-tiny"]
    assert scores["random-tiny, calibrated"] != plain["random-tiny"]


def test_calibrated_replay_uses_only_the_history(invoke, checkpoint, candles_csv, calibration_file):
    options = ("--model", checkpoint, "-n", 5, "--samples", 4, "--seed", 1, "--as-of", "2024-03-03 08:00", "--json")
    asked = ("forecast", candles_csv, *options, "--calibration", calibration_file)
    before = json.loads(invoke(*asked).stdout)["forecasts"][0]
    table = pd.read_csv(candles_csv)
    table.loc[table["timestamps"] > "2024-03-03 08:00:00", ["open", "high", "low", "close"]] *= 3
    table.to_csv(candles_csv, index=False)
    after = json.loads(invoke(*asked).stdout)["forecasts"][0]
    assert after["mean"] == before["mean"]
    assert after["made"]["notes"] == before["made"]["notes"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--calibrate", "--calibration", "a.json"), "leave one out"),
        (("--market", "crypto"), "add --calibration FILE"),
        (("--market", "crypto", "--no-calibrate"), "leave out --market"),
        (("--calibration", "nowhere.json"), "nowhere.json does not exist"),
        (("--preset", "published"), "sampling differs"),
    ],
)
def test_invalid_calibrations(invoke, checkpoint, candles_csv, calibration_file, options, words):
    given = options if "--preset" not in options else (*options, "--calibration", calibration_file)
    done = invoke("forecast", candles_csv, "--model", checkpoint, "-n", 3, "--samples", 2, *given)
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1

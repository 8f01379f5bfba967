"""Files that an earlier version saved load, and continue, with the same numbers."""

import json
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import kronos
from kronos.calibration import Calibration
from kronos.cli import app
from kronos.datasets import open_dataset
from kronos.evaluation import ModelForecaster, identity_of
from kronos.sources.cache import CandleCache, SeriesKey

FORMATS = Path(__file__).parent / "formats"
BUNDLED = Path(str(resources.files("kronos.zoo") / "bundled" / "kronos-nano" / "model"))


def rounded(value):
    """JSON values whose numbers have ten digits: sums may differ in the last ones between processors."""
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.10g}") if isinstance(value, float) else value


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "sample.csv"
    path.write_bytes((resources.files("kronos.samples") / "simulated_btc_1h.csv").read_bytes())
    return path


def test_a_saved_forecast_loads():
    saved = kronos.Forecast.load(FORMATS / "forecast.npz")
    assert (saved.symbol, saved.metadata.model, saved.paths.shape) == ("SIM", "kronos-nano", (12, 4, 6))
    assert saved.median()["close"].iloc[0] == pytest.approx(66829, rel=0.01)


def test_the_bundled_model_still_samples_the_same_paths(sample):
    saved = kronos.Forecast.load(FORMATS / "bundled.npz")
    candles = kronos.read_candles(sample, symbol="SIM", timezone="UTC")
    again = kronos.KronosPredictor.from_pretrained(device="cpu").forecast(
        candles, 4, samples=12, seed=7, lookback=64, calibration=False
    )
    assert saved.symbol == again.symbol == "SIM"
    assert saved.timestamps.equals(again.timestamps)
    np.testing.assert_allclose(saved.paths, again.paths, rtol=1e-4)
    assert saved.metadata.model == again.metadata.model == "kronos-nano"


def test_a_saved_forecast_is_written_with_the_same_arrays(tmp_path):
    kronos.Forecast.load(FORMATS / "forecast.npz").save(tmp_path / "again.npz")
    with np.load(FORMATS / "forecast.npz") as old, np.load(tmp_path / "again.npz") as new:
        assert old.files == new.files
        assert all(np.array_equal(old[name], new[name]) for name in old.files)


@pytest.mark.parametrize("path", [FORMATS / "calibration.json", BUNDLED / "calibration.json"], ids=["old", "bundled"])
def test_a_saved_calibration_is_written_byte_for_byte(path, tmp_path):
    Calibration.load(path).save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_an_evaluation_continues_from_saved_forecasts_with_the_same_figures(sample, tmp_path):
    output = tmp_path / "evaluation"
    shutil.copytree(FORMATS / "evaluation", output)
    # The saved forecasts are of other weights, which no longer ship: let those of today stand for them.
    record = output / "run" / "kronos-nano" / "forecaster.json"
    identity = json.loads(record.read_text("utf-8"))
    today = identity_of(ModelForecaster(kronos.KronosPredictor.from_pretrained(device="cpu"), "kronos-nano"))
    identity["model"]["sha256"], identity["tokenizer"]["sha256"] = today.sha256, today.tokenizer_sha256
    record.write_text(json.dumps(identity), "utf-8")
    shards = {path: path.stat().st_mtime_ns for path in output.rglob("*.npz")}
    options = ["--timezone", "UTC", "--horizon", "4", "--from", "2025-01-29", "--to", "2025-01-30", "--samples", "8"]
    options += ["--seed", "3", "--baseline", "last-value", "--baseline", "historical-volatility", "--no-calibrate"]
    done = CliRunner().invoke(app, ["evaluate", str(sample), *options, "--output", str(output), "-q"])
    assert done.exit_code == 0, done.output
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.npz")} == shards  # nothing was forecast again
    old, new = (
        json.loads((folder / "evaluation.json").read_text("utf-8")) for folder in (FORMATS / "evaluation", output)
    )
    assert set(old) <= set(new)  # a later version may add keys
    assert len(old["figures"]) == len(new["figures"])
    for before, after in zip(old["figures"], new["figures"], strict=True):
        assert rounded(before) == rounded(after)
    pd.testing.assert_frame_equal(
        pd.read_parquet(FORMATS / "evaluation" / "scores.parquet"), pd.read_parquet(output / "scores.parquet")
    )


def test_a_prepared_dataset_opens():
    dataset = open_dataset(FORMATS / "prepared")
    assert dataset.summary["splits"]["train"]["rows"] == len(
        pd.read_parquet(FORMATS / "prepared" / "train_data.parquet")
    )


def test_cached_downloads_are_read(tmp_path):
    shutil.copytree(FORMATS / "store", tmp_path / "store")
    cached = CandleCache(tmp_path / "store").read(SeriesKey("binance", "BTC/USDT", kronos.Interval(1, "h")))
    assert len(cached.frame) == 48
    assert len(cached.covered) == 1

"""``kronos calibrate``: from files to a calibration that the other commands apply."""

import json

import pytest

from kronos.calibration import Calibration

FEW = ("--horizon", "4", "--stride", "5", "--samples", "8", "--workers", "1")


@pytest.fixture
def candles(tmp_path, candle_table):
    """A folder with two markets of hourly candles, next to a splits.csv."""
    for market, seed in (("crypto", 1), ("fx", 2)):
        (tmp_path / "candles" / market).mkdir(parents=True)
        candle_table(400, seed=seed).to_parquet(tmp_path / "candles" / market / f"{market}_1h.parquet")
    lines = ["market,validation_from,test_from"]
    lines += [f"{market},2024-03-05,2024-03-14" for market in ("crypto", "fx")]
    (tmp_path / "splits.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "candles"


@pytest.mark.slow
def test_it_fits_to_validation_dates_and_forecast_applies_it(candles, checkpoint, tmp_path, invoke):
    result = invoke(
        *("calibrate", candles, "--model", checkpoint, *FEW, "--output", tmp_path / "mine.json"),
    )
    assert result.exit_code == 0, result.output
    assert "validation dates" in result.stdout
    assert "Mean over all groups" in result.stdout
    for word in ("raw", "calibrated", "filtered-historical-simulation", "kronos forecast FILE --calibration"):
        assert word in result.stdout
    calibration = Calibration.load(tmp_path / "mine.json")
    assert calibration.fitted_on["groups"].keys() == {"crypto 1h", "fx 1h"}
    assert calibration.known_until("fx 1h").astype(str) < "2024-03-14"
    assert calibration.settings["stride"] == 5
    file = candles / "crypto" / "crypto_1h.parquet"
    used = invoke(
        *("forecast", str(file), "--model", str(checkpoint), "--horizon", "4"),
        *("--calibration", str(tmp_path / "mine.json"), "--market", "crypto", "--json"),
    )
    assert used.exit_code == 0, used.output
    assert json.loads(used.stdout)["forecasts"][0]["made"]["calibrated"] is True


@pytest.mark.slow
def test_json_has_the_ablation(candles, checkpoint, tmp_path, invoke):
    command = ("calibrate", candles, "--model", checkpoint, *FEW, "--output", tmp_path / "run", "--json")
    result = invoke(*command, "--ablation", "--part", "anchor", "--part", "dispersion")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["calibration"]["parts"] == ["anchor", "dispersion"]
    assert found["file"] == str(tmp_path / "run" / "calibration.json")
    settings = {row["setting"] for row in found["effects"]}
    assert {"raw", "calibrated", "anchor alone", "all"} <= settings
    assert not any("pooling" in name for name in settings)
    again = invoke(*command, "--no-pool")
    assert "pooling" not in json.loads(again.stdout)["calibration"]["parts"]


@pytest.mark.slow
def test_unknown_training_dates_give_a_warning_and_invalid_options_discard_no_run(
    candles, checkpoint, tmp_path, invoke
):
    command = (
        "calibrate",
        str(candles),
        "--model",
        str(checkpoint),
        *FEW,
        "--output",
        str(tmp_path / "run"),
        "--no-pool",
    )
    found = json.loads(invoke(*command, "--json").stdout)
    assert found["warnings"][0].startswith("The training dates of random-tiny are unknown")
    shown = invoke(*command).stdout
    assert "! The training dates of random-tiny are unknown" in shown
    stored = sorted((tmp_path / "run").rglob("*.npz"))
    assert invoke(*command[:-1], "--restart", "--pool-with", "nobody").exit_code == 2
    assert sorted((tmp_path / "run").rglob("*.npz")) == stored != []
    (tmp_path / "folder.json").mkdir()
    refused = invoke(*command[:-2], str(tmp_path / "folder.json"))
    assert (refused.exit_code, "folder.json" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--part", "anchr"), "'anchor'"),
        (("--part", "anchor", "--no-pool"), "leave one out"),
        (("--pool-with", "nobody"), "baseline 'nobody'"),
        (("-v", "-q"), "contradict"),
        (("--from", "2024-03-05", "--split", "test"), "--split"),
        (("--horizon", "4", "--stride", "100"), "50"),
    ],
)
def test_invalid_options_are_refused(options, words, candles, checkpoint, tmp_path, invoke):
    result = invoke("calibrate", str(candles), "--model", str(checkpoint), *FEW, "--output", str(tmp_path), *options)
    assert result.exit_code == 2, result.output
    assert words in result.stderr

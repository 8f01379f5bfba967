"""Options that say how candle files are written, and messages that name options instead of Python arguments."""

import json

import pandas as pd
import pytest

from kronos.cli.reading_options import name_options
from kronos.datasets import build_store
from kronos.errors import ParameterError
from kronos.training.config import TrainConfig, config_differences, load_config

DAYS = pd.bdate_range("2024-01-02", periods=200)


@pytest.fixture
def open_file(tmp_path):
    """A file whose prices may be 1,234 or 1.234."""
    path = tmp_path / "acme.csv"
    lines = ["Wann;Erster;Hoch;Tief;Endwert", *(f"{day:%Y-%m-%d};1,234;1,240;1,230;1,236" for day in DAYS)]
    path.write_text("\n".join(lines))
    return path


READING = ["--column", "timestamps=Wann", "--column", "close=Endwert", "--decimal", ","]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("give thousands=',' or decimal=',' for all", "give --thousands , or --decimal , for all"),
        ("give date_format='%d/%m/%Y %H:%M'.", "give --date-format '%d/%m/%Y %H:%M'."),
        ("map it with columns={'close': '…'}.", "map it with --column close=…."),
        ("drop one or pass columns=.", "drop one or pass --column."),
        ("pass interval=, or a series", "pass --interval, or a series"),
        ("interval=1h contradicts a.csv", "--interval 1h contradicts a.csv"),
        ("give timezone='Asia/Tokyo'", "give --timezone Asia/Tokyo"),
        ("header=3 is not there", "--header 3 is not there"),
        ("x=1 and my_interval=2 stay", "x=1 and my_interval=2 stay"),
    ],
)
def test_messages_name_options(message, expected):
    assert name_options(message) == expected


def test_a_refusal_names_the_options(invoke, open_file):
    done = invoke("data", "check", open_file, *READING[:4])
    assert done.exit_code == 2
    assert "--decimal ," in done.stdout
    assert "decimal=" not in done.stdout
    done = invoke("data", "check", open_file)
    assert "--column" in done.stdout


def test_options_decide(invoke, open_file):
    assert invoke("data", "check", open_file, *READING).exit_code == 0
    done = invoke("data", "check", open_file, *READING[:4], "--decimal", "x")
    assert done.exit_code == 2
    assert "--decimal x" in done.stderr
    done = invoke("data", "check", open_file, "--column", "close")
    assert "close=Schlusskurs" in done.stderr


def test_forecasts_take_the_same_options(invoke, open_file):
    done = invoke("forecast", open_file, *READING[:4], "-n", "2", "--samples", "2", "--seed", "1")
    assert done.exit_code == 2
    assert "--decimal ," in done.stderr
    assert invoke("forecast", open_file, *READING, "-n", "2", "--samples", "2", "--seed", "1", "-q").exit_code == 0


@pytest.mark.parametrize("command", [["forecast"], ["evaluate"], ["calibrate"], ["paper"], ["data", "check"]])
def test_every_command_that_reads_files_has_them(invoke, command):
    shown = invoke(*command, "--help").stdout
    for option in ("--column", "--decimal", "--thousands", "--date-format", "--header"):
        assert option in shown


def test_columns_by_their_position(invoke, tmp_path):
    path = tmp_path / "acme.csv"
    path.write_text("\n".join(f"x,y,z,{day:%Y-%m-%d},{i % 9 + 100},120,90,{i % 7 + 100}" for i, day in enumerate(DAYS)))
    refused = invoke("data", "check", path)
    assert refused.exit_code == 2
    assert "--column open=2" in refused.stderr + refused.stdout
    places = [
        f"{name}={place}"
        for name, place in zip(("timestamps", "open", "high", "low", "close"), range(4, 9), strict=True)
    ]
    options = [word for place in places for word in ("--column", place)]
    assert invoke("data", "check", path, *options).exit_code == 0
    assert invoke("data", "check", path, *options[:-1], "close=9").exit_code == 2


@pytest.mark.parametrize("stage", ["model", "tokenizer"])
def test_training_takes_the_options_of_reading(invoke, open_file, tmp_path, monkeypatch, stage):
    monkeypatch.chdir(tmp_path)
    command = ["train", stage, "--data", open_file.name, "--quality", "none", "--lookback", "16", "--predict", "4"]
    refused = invoke(*command, "--dry-run")
    assert refused.exit_code == 2
    assert "--column" in refused.stdout + refused.stderr
    planned = invoke(*command, *READING, "--timezone", "Europe/Berlin", "--dry-run", "--json")
    assert planned.exit_code == 0, planned.output
    assert json.loads(planned.stdout)["runs"][0]["windows"]["train_available"] > 50
    wrong = invoke(*command, *READING, "--thousands", ",", "--dry-run")
    assert wrong.exit_code == 2
    assert "same sign" in wrong.stderr


def test_a_training_records_how_its_files_are_written(open_file, tmp_path):
    values = {"columns": {"timestamps": 1, "close": "Endwert"}, "decimal": ","}
    config = TrainConfig.check({"model_name": "m", "data": str(open_file), "reading": values}, "m.yaml")
    config.save(tmp_path / "m.yaml")
    assert load_config(tmp_path / "m.yaml").reading == config.reading
    store = build_store(open_file, tmp_path / "cache", config.reading.options())
    assert store.candles[0, 0] == 1.234
    other = build_store(open_file, tmp_path / "cache", config.changed({"reading": {"decimal": "."}}).reading.options())
    assert other.candles[0, 0] == 1234
    assert config_differences(config, config.changed({"reading": {"decimal": "."}})) == ["reading"]
    for wrong in ({"decimal": "x"}, {"header": -1}, {"sign": ","}):
        with pytest.raises(ParameterError, match="reading"):
            config.changed({"reading": wrong})


@pytest.mark.parametrize("command", [("data", "prepare", "--config"), ("pipeline",)])
def test_sources_of_files_take_the_options_of_reading(invoke, open_file, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    open_file.rename(tmp_path / "ACME_1d.csv")
    config = "model_name: acme\ntarget_symbols: [ACME_1D]\nrecords_per_timeframe: 200\nquality: none\n"
    (tmp_path / "acme.yaml").write_text(f"{config}source: files:ACME_1d.csv\n")
    if command[0] == "pipeline":
        config = "model_name: acme\ndata: ACME_1d.csv\nquality: none\nwindows: {lookback: 500, predict: 4}\n"
        (tmp_path / "acme.yaml").write_text(config)
    refused = invoke(*command, "acme.yaml")
    assert refused.exit_code == 2
    assert "--column" in refused.stderr
    read = invoke(*command, "acme.yaml", *READING)
    if command[0] == "pipeline":
        assert "--column" not in read.stderr
        assert "500" in read.stderr  # candles of a sample: what was read is too short, but was read
        return
    assert read.exit_code == 0, read.output
    train = pd.read_parquet(tmp_path / "data" / "kronos_datasets" / "acme" / "train_data.parquet")
    assert train["open"].iloc[0] == 1.234
    other = invoke(*command, "acme.yaml", "--source", "simulated", "--decimal", ",", "--force")
    assert other.exit_code == 2
    assert "files:FOLDER" in other.stderr

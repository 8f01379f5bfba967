"""``kronos data`` prepare, fetch and simulate: options, environment variables, priorities, folders."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.cells import cell_len

from kronos.candles import read_candles
from kronos.datasets import open_dataset
from kronos.provenance import sha256_file

END = ("--end", "2026-01-01")


@pytest.fixture(scope="session")
def recording(tmp_path_factory):
    """Half a year of simulated hours of two instruments, recorded once."""
    from typer.testing import CliRunner

    from kronos.cli import app

    folder = tmp_path_factory.mktemp("recording")
    words = ["data", "simulate", "BTC-USDT-SWAP", "ETH-USDT-SWAP", "--records", "4400", *END, "--output", str(folder)]
    assert CliRunner().invoke(app, words).exit_code == 0
    return folder


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("LOG_LEVEL", "OKX_API_KEY", "OKX_API_SECRET", "OKX_API_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def prepare(invoke, recording, workplace):
    """Prepare datasets from the recording and return the printed summaries."""

    def run(*words, source=f"replay:{recording}"):
        from_where = () if source is None else ("--source", source)
        result = invoke("data", "prepare", *words, *from_where, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["datasets"]

    return run


def test_configurations_are_listed(invoke, workplace):
    listed = json.loads(invoke("data", "prepare", "--list-configs", "--json").stdout)
    assert [one["name"] for one in listed] == ["model_a_4h", "model_b_1d"]
    assert all(Path(one["path"]).is_file() for one in listed)
    text = invoke("data", "prepare", "--list-configs").stdout
    assert "model_a_4h" in text
    assert "windows 120 + 15" in text


def test_dry_run_needs_no_network_and_writes_nothing(invoke, workplace):
    result = invoke("data", "prepare", "--config", "model_a_4h", "model_b_1d", "--dry-run", "--json")
    plans = json.loads(result.stdout)["datasets"]
    assert [plan["model_name"] for plan in plans] == ["Model_A_4H", "Model_B_1D"]
    assert [plan["source"] for plan in plans] == ["okx", "okx"]
    assert plans[1]["series"][0] == {"symbol": "BTC-USDT-SWAP", "timeframe": "1D", "records": 3000, "days": 3000.0}
    assert plans[0]["output_directory"] == "data/kronos_datasets/model_a_4h"
    assert not list(workplace.iterdir())
    shown = invoke("data", "prepare", "--config", "model_a_4h", "--dry-run")
    assert "okx, cached in data/candles" in shown.stdout
    assert "nothing was fetched or written" in shown.stdout


def test_prepare_a_dataset(prepare, invoke, workplace):
    [summary] = prepare("--config", "model_a_4h", "--records-per-timeframe", "1000")
    folder = workplace / "data" / "kronos_datasets" / "model_a_4h"
    assert {path.name for path in folder.iterdir()} == {one["filename"] for one in summary["files"]} | {
        "data_summary.json"
    }
    assert summary["simulated"] is True
    assert summary["output_directory"] == "data/kronos_datasets/model_a_4h"
    assert [series["resampled_from"] for series in summary["series"]] == ["1h", "1h"]
    assert open_dataset("model_a_4h").summary == summary


def test_text_output(invoke, recording, workplace):
    words = (
        "data",
        "prepare",
        "-c",
        "model_a_4h",
        "--records-per-timeframe",
        "1000",
        "--source",
        f"replay:{recording}",
    )
    result = invoke(*words)
    assert "SIMULATED: these candles never traded" in result.stdout
    assert "validation" in result.stdout
    assert "→ data/kronos_datasets/model_a_4h" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 120
    again = invoke(*words)
    assert again.exit_code == 2
    assert "exists" in again.stderr
    assert "--force" in again.stderr
    verbose = invoke(*words, "--force", "-v")
    assert verbose.exit_code == 0
    assert "were resampled to" in verbose.stdout
    assert "Model_A_4H: 1000 candles (4h) of BTC-USDT-SWAP." in verbose.stderr


def test_each_configuration_has_its_own_folder(prepare, workplace):
    base = ("--output-dir", "both", "--records-per-timeframe", "180")
    changes = Path("configs")
    changes.mkdir()
    for name in ("first", "second"):
        symbol = {"first": "BTC-USDT-SWAP_4H", "second": "ETH-USDT-SWAP_1D"}[name]
        text = f"model_name: {name}\ntarget_symbols: [{symbol}]\nwindows: {{lookback: 10, predict: 2}}\n"
        (changes / f"{name}.yaml").write_text(text)
    prepare("--config", "first", *base)
    before = {path: sha256_file(path) for path in Path("both/first").iterdir()}
    prepare("--config", "second", *base)
    assert {path: sha256_file(path) for path in Path("both/first").iterdir()} == before
    assert {path.name for path in Path("both").iterdir()} == {"first", "second"}
    first, second = prepare("--config", "first", "second", *base, "--force")
    assert (first["timeframes"], second["timeframes"]) == (["4H"], ["1D"])


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_output_fits_the_terminal(invoke, workplace, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    name = "BTC-USDT-SWAP-OF-A-VERY-LONG-NAME"
    Path("long.yaml").write_text(
        f"model_name: Long\ntarget_symbols: [{name}_4H, 比特币/USDT_1D]\nsource: simulated:1\n"
        "records_per_timeframe: 1500\n"
    )
    for words in (
        ("prepare", "--config", "long.yaml", "--dry-run"),
        ("prepare", "--config", "long.yaml"),
        ("fetch", name, "比特币/USDT", "--source", "simulated:1", "--records", "1500"),
    ):
        shown = invoke("data", *words).stdout
        assert max(map(cell_len, shown.splitlines())) <= width
        assert "…" not in shown.replace("… and", "")
        assert name in "".join(line.split()[0] for line in shown.splitlines() if line.strip())
        assert "1,500" in shown


def test_invalid_configuration_is_listed_with_its_error(invoke, workplace):
    Path("configs").mkdir()
    Path("configs/mine.yaml").write_text("model_name: Mine\ntarget_symbols: [BTC_4H]\nwindws: {}\n")
    sentence = "mine.yaml has the unknown key 'windws'; did you mean 'windows'?"
    shown = invoke("data", "prepare", "--list-configs")
    assert (shown.exit_code, sentence in shown.stdout, "model_b_1d" in shown.stdout) == (0, True, True)
    mine, *others = json.loads(invoke("data", "prepare", "--list-configs", "--json").stdout)
    assert mine == {"name": "mine", "path": "configs/mine.yaml", "shipped": False, "error": sentence}
    assert [one["name"] for one in others] == ["model_a_4h", "model_b_1d"]


def test_a_dataset_never_replaces_another(invoke, recording, workplace):
    for name, folder in (("outer", "sets"), ("inner", "sets/inner")):
        Path(f"{name}.yaml").write_text(
            f"model_name: {name}\ntarget_symbols: [BTC-USDT-SWAP_4H]\ndataset_path: {folder}\n"
            f"source: replay:{recording}\nrecords_per_timeframe: 600\n"
        )
    both = invoke("data", "prepare", "--config", "outer.yaml", "inner.yaml", "--dry-run")
    assert (both.exit_code, "inner" in both.stderr, "folder sets" in both.stderr) == (2, True, True)
    assert invoke("data", "prepare", "--config", "inner.yaml").exit_code == 0
    for flags, reason in (((), "--force"), (("--force",), "no dataset")):
        refused = invoke("data", "prepare", "--config", "outer.yaml", *flags)
        assert (refused.exit_code, reason in refused.stderr) == (2, True), refused.stderr
        plan = invoke("data", "prepare", "--config", "outer.yaml", *flags, "--dry-run").stdout
        assert "sets (refused)" in plan
        assert reason in plan.split("! sets")[1]
    again = invoke("data", "prepare", "--config", "inner.yaml", "--force", "--dry-run").stdout
    assert "sets/inner (exists, to be replaced)" in again
    assert open_dataset("sets/inner").name == "inner"


PLAN = ("timeframes", "records_per_timeframe", "source", "output_directory")


@pytest.mark.parametrize(
    ("variables", "flags", "expected"),
    [
        ({}, (), (["4H"], 2000, "okx", "data/kronos_datasets/model_a_4h")),
        (
            {"TIMEFRAMES": "1H,1D", "RECORDS_PER_TF": "70", "OUTPUT_DIR": "env", "SOURCE": "binance"},
            (),
            (["1H", "1D"], 70, "binance", "env/model_a_4h"),
        ),
        (
            {"TIMEFRAMES": "1H,1D", "RECORDS_PER_TF": "70", "OUTPUT_DIR": "env", "SOURCE": "binance"},
            (
                "--timeframes",
                "15m",
                "1w",
                "--records-per-timeframe",
                "99",
                "--output-dir",
                "flag",
                "--source",
                "kraken",
            ),
            (["15m", "1W"], 99, "kraken", "flag/model_a_4h"),
        ),
        ({"TIMEFRAMES": ""}, ("--timeframes", "4H,1D"), (["4H", "1D"], 2000, "okx", "data/kronos_datasets/model_a_4h")),
    ],
)
def test_options_override_the_environment_and_it_overrides_the_file(
    invoke, workplace, monkeypatch, variables, flags, expected
):
    for name, value in variables.items():
        monkeypatch.setenv(f"KRONOS_{name}", value)
    result = invoke("data", "prepare", "--config", "model_a_4h", "--dry-run", "--json", *flags)
    [plan] = json.loads(result.stdout)["datasets"]
    assert tuple(plan[key] for key in PLAN) == expected


@pytest.mark.parametrize(("variable", "value"), [("LOG_LEVEL", "info"), ("KRONOS_LOG_LEVEL", "INFO")])
def test_log_level(invoke, recording, workplace, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    words = ("data", "prepare", "-c", "model_a_4h", "--records-per-timeframe", "300", "--source", f"replay:{recording}")
    assert "Model_A_4H: 300 candles (4h) of ETH-USDT-SWAP." in invoke(*words).stderr
    monkeypatch.setenv(variable, "error")
    assert invoke(*words, "--force").stderr == ""
    monkeypatch.setenv(variable, "loud")
    result = invoke(*words, "--force")
    assert result.exit_code == 2
    assert f"{variable} 'LOUD'" in result.stderr


@pytest.mark.slow
def test_log_messages_are_printed_above_the_progress_bar(recording, workplace):
    master, slave = os.openpty()
    words = ("data", "prepare", "-c", "model_a_4h", "--records-per-timeframe", "300", "--source", f"replay:{recording}")
    command = [sys.executable, "-m", "kronos", *words, "-v"]
    environment = os.environ | {"TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, env=environment) as process:
        os.close(slave)
        output = read_to_the_end(master)
        assert process.wait() == 0
        assert "Model_A_4H  from replay" in process.stdout.read().decode()
    signs = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output)
    assert re.search(r"[\r\n]Model_A_4H: 300 candles \(4h\) of BTC-USDT-SWAP\.", signs), output
    assert "\x1b[?25h" in output


def read_to_the_end(master):
    parts = []
    with contextlib.suppress(OSError):  # Linux: input/output error after the writer has exited
        while part := os.read(master, 65_536):
            parts.append(part)
    os.close(master)
    return b"".join(parts).decode()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "--config NAME"),
        (("--config", "model_c"), "'model_c'; did you mean model_"),
        (("--config", "model_a_4h", "--timeframes", "4X"), "Invalid interval '4X'"),
        (("--config", "model_a_4h", "--format", "csv"), "'csv'"),
        (("--config", "model_a_4h", "--source", "files"), "files:FOLDER"),
        (("--config", "model_a_4h", "--source", "okx:x"), "okx"),
        (("--config", "model_a_4h", "--dry-run", "--source", "files:nowhere"), "nowhere"),
        (("--config", "model_a_4h", "--timeframes", "15M"), "write 15m"),
    ],
)
def test_invalid_arguments_of_prepare(invoke, workplace, words, sentence):
    result = invoke("data", "prepare", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(workplace.iterdir())


def test_offline_setting_forbids_the_network(invoke, workplace):
    result = invoke("data", "prepare", "--config", "model_a_4h")
    assert result.exit_code == 1
    assert "KRONOS_OFFLINE" in result.stderr
    assert "okx" in result.stderr


def test_configurations_with_the_same_folder_are_refused(invoke, workplace):
    for name in ("one.yaml", "two.yaml"):
        Path(name).write_text("model_name: Same\ntarget_symbols: [BTC_4H]\n")
    result = invoke("data", "prepare", "--config", "one.yaml", "two.yaml", "--dry-run")
    assert result.exit_code == 2
    assert "data/kronos_datasets/same" in result.stderr


def test_failed_dataset_does_not_stop_the_others(invoke, recording, workplace):
    Path("bad.yaml").write_text("model_name: Bad\ntarget_symbols: [NOPE-USDT_4H]\n")
    Path("good.yaml").write_text("model_name: Good\ntarget_symbols: [BTC-USDT-SWAP_4H]\nrecords_per_timeframe: 600\n")
    words = ("data", "prepare", "--config", "bad.yaml", "good.yaml", "--source", f"replay:{recording}")
    result = invoke(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: Bad: ")
    assert "NOPE-USDT" in result.stderr
    assert open_dataset("good").name == "Good"
    assert not Path("data/kronos_datasets/bad").exists()


def test_fetch_into_a_file_and_a_folder(invoke, recording, workplace):
    words = ("data", "fetch", "BTC-USDT-SWAP", "--source", f"files:{recording}", "--records", "100")
    result = invoke(*words, "--output", "simulated_btc.parquet", "--json")
    [series] = json.loads(result.stdout)["series"]
    assert (series["candles"], series["simulated"], series["file"]) == (100, True, "simulated_btc.parquet")
    candles = read_candles("simulated_btc.parquet")
    assert (len(candles), candles.simulated, candles.end) == (100, True, pd.Timestamp("2025-12-31 23:00", tz="UTC"))
    shown = invoke(*words, "--output", "folder")
    assert "SIMULATED" in shown.stdout
    assert read_candles("folder/simulated_BTC-USDT-SWAP_1h.csv").frame.equals(candles.frame)


def test_failed_symbol_does_not_stop_the_others(invoke, recording, workplace):
    words = ("data", "fetch", "BTC-USDT-SWAP", "NOPE", "ETH-USDT-SWAP", "--source", f"files:{recording}")
    shown = invoke(*words, "--records", "50", "--output", "out")
    assert shown.exit_code == 2
    assert shown.stderr.startswith("Error: NOPE: ")
    assert len(shown.stderr.splitlines()) == 1
    assert {path.name for path in Path("out").iterdir()} == {
        "simulated_BTC-USDT-SWAP_1h.csv", "simulated_ETH-USDT-SWAP_1h.csv",
    }  # fmt: skip
    document = json.loads(invoke(*words, "--json").stdout)
    assert [series["symbol"] for series in document["series"]] == ["BTC-USDT-SWAP", "ETH-USDT-SWAP"]
    assert [error["symbol"] for error in document["errors"]] == ["NOPE"]
    neither = invoke("data", "fetch", "NOPE", "NEITHER", "--source", f"files:{recording}")
    assert (neither.exit_code, neither.stdout, len(neither.stderr.splitlines())) == (2, "", 2)


def test_symbols_with_the_same_file_name_are_refused(invoke, workplace):
    for pair in (("A/B", "A-B"), ("a", "A")):
        result = invoke("data", "simulate", *pair, "--records", "5", "--output", "out")
        assert result.exit_code == 2
        assert f"{pair[0]} and {pair[1]} would both be written to out/simulated_" in result.stderr
    assert not list(workplace.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--output", "btc.csv"), "simulated_btc.csv"),
        (("--output", "simulated_btc.xlsx"), "is neither a folder nor a .csv, .parquet, .feather file"),
        (("--interval", "1q"), "Invalid interval '1q'"),
        (("--start", "yesterdays"), "Invalid --start 'yesterdays'"),
        (("--start", "3000-01-01"), "Invalid --start '3000-01-01'"),
        (("--start", "2025-12-02", "--end", "2025-12-01"), "after the start"),
        (("--interval", "5m"), "no 5m candles of BTC-USDT-SWAP"),
    ],
)
def test_invalid_arguments_of_fetch(invoke, recording, workplace, words, sentence):
    result = invoke("data", "fetch", "BTC-USDT-SWAP", "--source", f"files:{recording}", *words)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(workplace.iterdir())


def test_fetch_a_time_range(invoke, recording, workplace):
    words = ("data", "fetch", "BTC-USDT-SWAP", "--source", f"files:{recording}", "--json")
    result = invoke(*words, "--start", "2025-12-01", "--end", "2025-12-02")
    [series] = json.loads(result.stdout)["series"]
    assert (series["candles"], series["first"]) == (24, "2025-12-01T00:00:00+00:00")


def test_simulation_is_reproducible_and_labelled(invoke, workplace):
    digests = []
    for folder in ("a", "b"):
        result = invoke("data", "simulate", "X", "--records", "50", *END, "--output", folder, "--json")
        [series] = json.loads(result.stdout)["series"]
        digests.append(series["sha256"])
        assert series["file"] == f"{folder}/simulated_X_1h.csv"
    assert digests[0] == digests[1]
    assert read_candles("a/simulated_X_1h.csv").simulated
    other = invoke("data", "simulate", "X", "--records", "50", *END, "--seed", "1", "--output", "c", "--json")
    assert json.loads(other.stdout)["series"][0]["sha256"] != digests[0]
    wrong = invoke("data", "simulate", "--market", "cryptoo")
    assert wrong.exit_code == 2
    assert "did you mean crypto" in wrong.stderr

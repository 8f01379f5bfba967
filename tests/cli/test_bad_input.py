"""Invalid input: one message on stderr, the right status, nothing on stdout, no partial files."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def error_message(done) -> str:
    """Return the one line that a failed command prints on stderr; with ``--json`` stdout has a document of it."""
    stderr, stdout = done.stderr, done.stdout
    assert "Traceback" not in stderr
    if stdout:
        assert json.loads(stdout)["message"] == stderr.removeprefix("Error: ").strip()
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("Error: ")
    assert lines[0].endswith((".", "?"))
    return lines[0]


def write(folder: Path, text: str | bytes, name: str = "bad.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


HEADER = "timestamps,open,high,low,close,volume\n"
CONTENTS = {
    "empty": "",
    "header only": HEADER,
    "one candle": HEADER + "2024-01-01,1,2,1,2,3\n",
    "misnamed columns": "timestamps,alpha,high,low,omega\n2024-01-01,1,2,1,2\n2024-01-02,1,2,1,2\n",
    "no times": "open,high,low,close\n1,2,1,2\n1,2,1,2\n",
    "unparsable times": HEADER + "yesterday,1,2,1,2,3\ntomorrow,1,2,1,2,3\n",
    "letters as prices": HEADER + "2024-01-01,a,b,c,d,3\n2024-01-02,a,b,c,d,3\n",
    "only NaN": HEADER + "2024-01-01,nan,nan,nan,nan,3\n2024-01-02,,,,,3\n",
    "only negative prices": HEADER + "2024-01-01,-1,-1,-2,-1,3\n2024-01-02,-1,-1,-2,-1,3\n",
    "zero prices": HEADER + "2024-01-01,0,0,0,0,3\n2024-01-02,0,0,0,0,3\n",
    "infinite prices": HEADER + "2024-01-01,inf,inf,inf,inf,3\n2024-01-02,inf,inf,inf,inf,3\n",
    "binary rubbish": bytes(range(256)) * 8,
    "html": "<!doctype html><html><body>502 Bad Gateway</body></html>",
}


@pytest.mark.parametrize("what", CONTENTS)
def test_files_without_candles(invoke, checkpoint, tmp_path, what):
    path = write(tmp_path, CONTENTS[what])
    done = invoke("forecast", path, "--model", checkpoint)
    assert "bad.csv" in error_message(done)
    assert done.exit_code == 2


@pytest.mark.parametrize("name", ["bad.parquet", "bad.feather", "bad.csv.gz", "bad.zip", "bad.xlsx"])
def test_content_that_does_not_match_the_suffix(invoke, checkpoint, tmp_path, name):
    path = write(tmp_path, b"PK\x03\x04 this is none of it", name)
    done = invoke("forecast", path, "--model", checkpoint)
    assert name in error_message(done)
    assert done.exit_code == 2


def test_symbol_for_a_file_of_several_instruments(invoke, checkpoint, tmp_path, candle_table):
    path = tmp_path / "long.csv"
    pd.concat([candle_table().assign(symbol=name) for name in ("A", "B")]).to_csv(path, index=False)
    done = invoke("forecast", path, "--symbol", "A", "--model", checkpoint)
    message = error_message(done)
    assert "long.csv" in message
    assert "--symbol" in message
    assert done.exit_code == 2


def test_missing_files_and_folders(invoke, checkpoint, tmp_path):
    for path in (tmp_path / "missing.csv", tmp_path):
        done = invoke("forecast", path, "--model", checkpoint)
        assert path.name in error_message(done)
        assert done.exit_code == 2


OPTIONS = {
    "horizon 0": (("--horizon", 0), "horizon"),
    "negative horizon": (("--horizon", -3), "horizon"),
    "horizon beyond the context": (("--horizon", 64), "64"),
    "no samples": (("--samples", 0), "samples"),
    "too many samples": (("--samples", 10**9), "samples"),
    "temperature 0": (("--temperature", 0), "temperature"),
    "temperature infinite": (("--temperature", "inf"), "temperature"),
    "temperature NaN": (("--temperature", "nan"), "temperature"),
    "top_p 0": (("--top-p", 0), "top_p"),
    "top_p above 1": (("--top-p", 1.5), "top_p"),
    "negative top_k": (("--top-k", -1), "top_k"),
    "unknown preset": (("--preset", "bold"), "conservative"),
    "lookback 1": (("--lookback", 1), "lookback"),
    "unknown timezone": (("--timezone", "Mars/Olympus"), "Mars/Olympus"),
    "unknown calendar": (("--calendar", "XNYX"), "XNYS"),
    "no interval": (("--interval", "soon"), "soon"),
    "another interval": (("--interval", "4h"), "4h"),
    "no time": (("--as-of", "teatime"), "teatime"),
    "a time before all": (("--as-of", "1999-01-01"), "1999-01-01"),
    "a time after all": (("--as-of", "2099-01-01"), "2099-01-01"),
    "threads 0": (("--threads", 0), "threads"),
    "two symbols for one file": (("--symbol", "A", "--symbol", "B"), "symbol"),
    "output without ending": (("--output", "table"), ".parquet"),
    "output of an unknown kind": (("--output", "table.xlsx"), ".parquet"),
    "picture of an unknown kind": (("--plot", "picture.bmpx"), ".png"),
    "loud and quiet": (("-v", "-q"), "-q"),
}


@pytest.mark.parametrize("what", OPTIONS)
def test_invalid_options(invoke, checkpoint, candles_csv, what):
    options, expected = OPTIONS[what]
    done = invoke("forecast", candles_csv, "--model", checkpoint, *options)
    assert expected in error_message(done)
    assert done.exit_code == 2
    assert [path.name for path in candles_csv.parent.iterdir()] == [candles_csv.name]


def test_demo_excludes_files_and_intervals(invoke, candles_csv):
    for arguments in ((), (candles_csv, "--demo"), ("--demo", "--interval", "1h")):
        done = invoke("forecast", *arguments)
        assert "--demo" in error_message(done)
        assert done.exit_code == 2


def test_unknown_option_suggests_nearest(invoke):
    done = invoke("forecast", "--demo", "--horizont", "3")
    assert done.exit_code == 2
    assert "--horizon" in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_model_suggests_nearest(invoke, candles_csv):
    done = invoke("forecast", candles_csv, "--model", "kronos-smal")
    assert "kronos-small" in error_message(done)
    assert done.exit_code == 2


@pytest.mark.parametrize(
    "ref", ["kronos-small", "NeoQuasar/Kronos-base", "someone/something", "kronos-large", "./nowhere"]
)
def test_unavailable_weights(invoke, candles_csv, ref, monkeypatch, tmp_path):
    monkeypatch.setenv("KRONOS_CACHE_DIR", str(tmp_path / "cache"))
    done = invoke("forecast", candles_csv, "--model", ref)
    error_message(done)
    assert done.exit_code == 1


def test_damaged_weights(invoke, checkpoint, candles_csv, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(checkpoint, copy)
    weights = copy / "model" / "model.safetensors"
    whole = weights.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"version https://git-lfs.github.com/spec/v1\n", whole[::-1]):
        weights.write_bytes(content)
        done = invoke("forecast", candles_csv, "--model", copy)
        assert "model.safetensors" in error_message(done)
        assert done.exit_code == 1


def test_tokenizer_of_another_model(invoke, checkpoint, candles_csv, tmp_path, tokenizer_of):
    other = tokenizer_of(s1_bits=5).save_pretrained(tmp_path / "other")
    done = invoke("forecast", candles_csv, "--model", checkpoint, "--tokenizer", other)
    assert "tokenizer" in error_message(done)
    assert done.exit_code == 2


@pytest.mark.parametrize("device", ["cuda:7", "quantum", "mps:3"])
def test_unavailable_devices(invoke, checkpoint, candles_csv, device):
    done = invoke("forecast", candles_csv, "--model", checkpoint, "--device", device)
    assert device in error_message(done)
    assert done.exit_code == 1


def test_invalid_environment_setting(invoke, checkpoint, candles_csv, monkeypatch):
    monkeypatch.setenv("KRONOS_PRECISION", "sloppy")
    done = invoke("forecast", candles_csv, "--model", checkpoint)
    assert "KRONOS_PRECISION" in error_message(done)
    assert done.exit_code == 2


def test_unwritable_outputs(invoke, checkpoint, candles_csv):
    options = ("--model", checkpoint, "-n", 2, "--samples", 2)
    for option, name in (("--output", "table.csv"), ("--plot", "picture.png"), ("--output", "table.npz")):
        done = invoke("forecast", candles_csv, *options, option, candles_csv / name)
        assert name in error_message(done)
        assert done.exit_code == 1
    (candles_csv.parent / "folder.csv").mkdir()
    done = invoke("forecast", candles_csv, *options, "--output", candles_csv.parent / "folder.csv")
    assert "folder" in error_message(done)
    assert done.exit_code == 2


def test_full_disk_leaves_the_old_file(invoke, checkpoint, candles_csv, tmp_path, monkeypatch):
    target = tmp_path / "old.csv"
    target.write_text("what was there before")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    done = invoke("forecast", candles_csv, "--model", checkpoint, "-n", 2, "--samples", 2, "--output", target)
    assert "disk is full" in error_message(done)
    assert done.exit_code == 1
    assert target.read_text() == "what was there before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coin_1h.csv", "old.csv"]


def test_out_of_memory(invoke, checkpoint, candles_csv, monkeypatch):
    from kronos.inference import KronosPredictor

    def greedy(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(KronosPredictor, "forecast_many", greedy)
    done = invoke("forecast", candles_csv, "--model", checkpoint)
    assert "memory" in error_message(done)
    assert done.exit_code == 1


@pytest.mark.slow
def test_unreachable_hub(spawn, candles_csv, monkeypatch, tmp_path):
    monkeypatch.setenv("KRONOS_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("KRONOS_CACHE_DIR", str(tmp_path / "cache"))
    done = spawn("forecast", candles_csv, "--model", "kronos-mini")
    assert "127.0.0.1:9" in error_message(done)
    assert done.returncode == 1


def dirty(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """Return the candles with one defect that cleaning repairs."""
    middle = len(table) // 2
    if what == "unsorted":
        return table.iloc[::-1]
    if what == "duplicates":
        return pd.concat([table, table.iloc[[middle]]])
    if what == "a gap":
        return table.drop(table.index[middle : middle + 5])
    if what == "high below low":
        return table.assign(high=table["high"].where(table.index != middle, 1.0))
    bad = {"NaN": float("nan"), "infinity": float("inf"), "a negative price": -1.0, "a price of zero": 0.0}[what]
    return table.assign(close=table["close"].where(table.index != middle, bad))


@pytest.mark.parametrize(
    "what",
    ["unsorted", "duplicates", "a gap", "high below low", "NaN", "infinity", "a negative price", "a price of zero"],
)
def test_repairable_candles_are_forecast_with_findings(invoke, checkpoint, candles_csv, candle_table, what):
    dirty(candle_table(), what).to_csv(candles_csv, index=False)
    done = invoke("forecast", candles_csv, "--model", checkpoint, "-n", 2, "--samples", 2, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["forecasts"][0]["findings"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_full_stdout(checkpoint, candles_csv):
    command = [sys.executable, "-m", "kronos", "forecast", candles_csv, "--model", checkpoint, "-n", "2", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("Error: ")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_interrupt_prints_no_traceback(tmp_path):
    program = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
import kronos.cli.forecast.run
def interrupted(*args):
    os.kill(os.getpid(), signal.SIGINT)
kronos.cli.forecast.run.read_series = interrupted
from kronos.cli import main
sys.argv = ["kronos", "forecast", "--demo"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGINT
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_errors_of_a_new_process(spawn, checkpoint, candles_csv, tmp_path):
    bad_file = spawn("forecast", tmp_path / "missing.csv", "--model", checkpoint, "--json")
    assert "missing.csv" in error_message(bad_file)
    assert bad_file.returncode == 2
    failed = spawn("forecast", candles_csv, "--model", checkpoint, "--device", "cuda:7")
    assert "cuda:7" in error_message(failed)
    assert failed.returncode == 1
    misused = spawn("models", "show", "kronos-bse", "--json")
    assert "kronos-base" in error_message(misused)
    assert misused.returncode == 2


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda t: (HEADER + t).encode("utf-8"))))
def test_any_content_is_forecast_or_reported(invoke, checkpoint, tmp_path, content):
    path = write(tmp_path, content, "any.csv")
    done = invoke("forecast", path, "--model", checkpoint, "-n", 1, "--samples", 1, "--json")
    if done.exit_code == 0:
        assert json.loads(done.stdout)["forecasts"]
    else:
        assert done.exit_code == 2
        error_message(done)

"""``kronos live``: the command, as a person, cron and systemd use it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pandas as pd
import pytest
from typer.testing import CliRunner

import forks
from kronos.cli import app
from live.replays import recorded_candles

BASELINE = ("--model", "ewma-volatility")


def invoke(*arguments):
    return CliRunner().invoke(app, ["live", *map(str, arguments)], prog_name="kronos")


def spawn(*arguments, folder):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return forks.Popen(
        [sys.executable, "-m", "kronos", "live", *map(str, arguments)],
        preload=("kronos.cli.live", "kronos.live.service", "kronos.sources.simulation"),
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder of its own; `kronos live` writes below it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def recording(here):
    """A folder with candles of one symbol."""
    folder = here / "candles"
    folder.mkdir()
    recorded_candles(hours=24 * 12).frame.to_parquet(folder / "BTCUSDT_1h.parquet")
    return folder


@pytest.fixture(scope="module")
def after_a_cycle(tmp_path_factory):
    """A working folder after one cycle; tests go on in a copy."""
    folder = tmp_path_factory.mktemp("after-a-cycle")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        recorded_candles(hours=24 * 12).frame.to_parquet("BTCUSDT_1h.parquet")
        assert invoke("run", "--source", "replay:BTCUSDT_1h.parquet", *BASELINE, "--once").exit_code == 0
    return folder


@pytest.mark.slow
def test_one_cycle_with_the_sample_gives_all_files_and_a_record_in_order(here):
    done = invoke("run", "--source", "replay", "--once")
    assert done.exit_code == 0, done.output
    page = here / "outputs" / "live"
    for name in ("index.html", "index.zh.html", "style.css", "live.js", "prediction_chart.png", "forecast.json"):
        assert (page / name).stat().st_size > 100, name
    document = json.loads((page / "forecast.json").read_text("utf-8"))
    assert document["simulated"] is True
    assert document["model"] == "kronos-nano" or document["model"]["name"] == "kronos-nano"
    assert "SIMULATED" in (page / "index.html").read_text("utf-8")
    verified = invoke("verify", "--json")
    assert verified.exit_code == 0
    assert json.loads(verified.stdout)["ok"] is True
    assert json.loads(verified.stdout)["head"] == document["head"]


@pytest.mark.slow
def test_a_replay_runs_on_and_its_record_can_be_scored_exported_and_copied(here, recording):
    (here / "config.yaml").write_text("data:\n  forecast_horizon: 3\n", "utf-8")
    done = invoke("run", "--source", f"replay:{recording}", *BASELINE, "--replay-start", "2026-03-10", "--cycles", 5)
    assert done.exit_code == 0, done.output
    status = invoke("status", "--json")
    shown = json.loads(status.stdout)
    assert (shown["entries"]["forecast"], shown["entries"]["score"]) == (5, 2)
    assert (status.exit_code, shown["state"]) == (1, "stale")  # a replay of the past, by the clock of today
    scored = invoke("score", "--source", f"replay:{recording}", "--json")
    assert scored.exit_code == 0, scored.output
    assert json.loads(scored.stdout)["score"] == 3
    assert invoke("verify").exit_code == 0
    exported = invoke("export", here / "tables", "--format", "csv")
    assert exported.exit_code == 0, exported.output
    assert len(pd.read_csv(here / "tables" / "rows.csv")) == 1 + 5 + 5
    assert invoke("backup", here / "copy.sqlite").exit_code == 0
    assert sqlite3.connect(here / "copy.sqlite").execute("SELECT count(*) FROM record").fetchone() == (11,)
    verified = invoke("verify", "--record", here / "copy.sqlite", "--json")
    assert verified.exit_code == 0, verified.output
    assert json.loads(verified.stdout)["rows"] == 11


@pytest.mark.slow
def test_a_change_of_the_record_is_found_with_status_1(here, recording):
    invoke("run", "--source", f"replay:{recording}", *BASELINE, "--replay-start", "2026-03-10", "--cycles", 2)
    record = here / "outputs" / "live-record" / "record.sqlite"
    other = sqlite3.connect(record)
    for (name,) in other.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        other.execute(f'DROP TRIGGER "{name}"')
    other.execute("DELETE FROM record WHERE seq = (SELECT max(seq) FROM record)")
    other.commit()
    other.close()
    found = invoke("verify")
    assert found.exit_code == 1
    assert "not in order" in found.output
    assert "head" in found.output.lower() or "published" in found.output.lower()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--profile", "staging"), "development or production"),
        (("run", "--source", "replay:nowhere", "--once"), "nowhere"),
        (("run", "--source", "replay", "--symbol", "NOPE", "--once"), "NOPE"),
        (("run", "--source", "replay", "--interval", "7m", "--once"), "7m"),
        (("run", "--source", "replay", "--replay-start", "soon", "--once"), "soon"),
        (("run", "--source", "replay,simulated", "--once"), "only source"),
        (("verify",), "record"),
        (("verify", "--head", "12"), "Invalid head"),
        (("export", "tables"), "record"),
        (("score", "--config", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_mistakes_get_one_sentence(here, arguments, message):
    done = invoke(*arguments)
    assert done.exit_code in (1, 2), done.output
    assert message in done.output
    assert "Traceback" not in done.output
    assert not (here / "outputs" / "live").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heartbeat.json", "anchored.json", "site.json"])
@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"interval_seconds": 3600, "next_cycle_at": null, "series": []}'])
def test_damaged_files_of_state_get_one_sentence(here, after_a_cycle, name, text):
    shutil.copytree(after_a_cycle / "outputs", here / "outputs")
    (here / "outputs/live-record" / name).write_text(text, "utf-8")
    for command, expected in (("status", 1), ("verify", 2 if name == "anchored.json" else 0)):
        done = invoke(command)
        assert done.exit_code == expected, done.output
        assert "Traceback" not in done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)


def test_before_the_first_run_the_status_says_so(here):
    done = invoke("status")
    assert (done.exit_code, "has not run" in done.output) == (1, True)


@pytest.mark.slow
def test_a_signal_ends_it_cleanly_and_a_second_process_is_refused(here):
    process = spawn("run", "--source", "simulated", *BASELINE, folder=here)
    try:
        heartbeat = here / "outputs" / "live-record" / "heartbeat.json"
        deadline = time.monotonic() + 60
        while not heartbeat.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        assert heartbeat.exists(), process.communicate(timeout=5)
        second = invoke("run", "--source", "simulated", *BASELINE, "--once")
        assert second.exit_code == 1
        assert "is being written" in second.output
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert invoke("verify").exit_code == 0


@pytest.mark.slow
def test_a_replay_that_starts_before_its_record_is_refused(here, recording):
    arguments = ("run", "--source", f"replay:{recording}", *BASELINE, "--replay-start")
    assert invoke(*arguments, "2026-03-10", "--cycles", 1).exit_code == 0
    done = invoke(*arguments, "2026-03-09", "--cycles", 1)
    assert done.exit_code == 2
    assert "--record FOLDER --output FOLDER" in " ".join(done.output.split())

"""The page of a running forecaster: rebuilt from the record, whatever lies in its folder."""

import json
import threading
from pathlib import Path

import pandas as pd
import pytest

from kronos.live.clock import ReplayClock
from kronos.live.service import LiveSite
from live.replays import make_config, open_world, replay

BEGIN = pd.Timestamp("2026-03-10", tz="UTC")
HOUR = pd.Timedelta(hours=1)


def run(folder: Path, hours: int, *, begin: pd.Timestamp = BEGIN, symbols: str = "BTCUSDT", model: str = "") -> None:
    """Run cycles, each followed by the page, as one process does."""
    config = make_config(
        folder, model={"model_name": model or "ewma-volatility"}, data={"symbol": symbols, "forecast_horizon": 2}
    )
    source = replay(begin, *symbols.split(","))
    clock = ReplayClock(source)
    with open_world(config, source, clock=clock) as (cycle, record):
        site = LiveSite(cycle, record, clock)
        for _ in range(hours):
            site.update(cycle.run())
            source.sleep_until(source.now() + HOUR, threading.Event())


def origins(file: Path) -> list[int]:
    """Hours of the past forecasts that a document lists, the oldest first."""
    listed = json.loads(file.read_text("utf-8"))["forecasts"]
    return sorted(int((pd.Timestamp(past["origin"]) - BEGIN) / HOUR) for past in listed)


def test_another_model_does_not_take_over_past_forecasts(tmp_path):
    run(tmp_path, 3)
    run(tmp_path, 2, begin=BEGIN + 3 * HOUR, model="historical-volatility")
    for name in ("forecasts.json", "archive/2026-03.json"):
        assert origins(tmp_path / "page" / name) == [3, 4]
    run(tmp_path, 1, begin=BEGIN + 5 * HOUR)  # the first one again, with what it missed
    assert origins(tmp_path / "page" / "forecasts.json") == list(range(6))


def test_another_order_of_the_symbols_keeps_their_archives(tmp_path):
    run(tmp_path, 3, symbols="BTCUSDT,ETHUSDT")
    run(tmp_path, 1, begin=BEGIN + 3 * HOUR, symbols="ETHUSDT,BTCUSDT")
    root, other = tmp_path / "page", tmp_path / "page" / "btcusdt-1h-ewma-volatility"
    for folder, symbol in ((root, "ETHUSDT"), (other, "BTCUSDT")):
        assert json.loads((folder / "forecasts.json").read_text("utf-8"))["symbol"] == symbol
        assert origins(folder / "archive" / "2026-03.json") == [0, 1, 2, 3]


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"forecasts": [1]}', '{"forecasts": [{}], "id": "x"}'])
def test_a_damaged_archive_is_built_from_the_record(tmp_path, text):
    run(tmp_path, 3)
    (tmp_path / "page/archive/2026-03.json").write_text(text, "utf-8")
    run(tmp_path, 1, begin=BEGIN + 3 * HOUR)
    assert origins(tmp_path / "page/archive/2026-03.json") == [0, 1, 2, 3]


@pytest.mark.parametrize("text", ["", "[1]", "null", '{"%s": "x"}'])
def test_a_damaged_note_of_what_was_written_stops_nothing(tmp_path, text):
    run(tmp_path, 2)
    file = tmp_path / "record/site.json"
    series = next(iter(json.loads(file.read_text("utf-8"))))
    file.write_text(text.replace("%s", series), "utf-8")
    run(tmp_path, 1, begin=BEGIN + 2 * HOUR)
    assert origins(tmp_path / "page/forecasts.json") == [0, 1, 2]


@pytest.mark.parametrize("changes", [{"as_of": "x", "steps": None}, {"format": 2}])
def test_a_damaged_forecast_is_replaced(tmp_path, changes):
    run(tmp_path, 1)
    file = tmp_path / "page/forecast.json"
    document = {name: json.loads(file.read_text("utf-8"))[name] for name in ("format", "id")}
    file.write_text(json.dumps(document | changes), "utf-8")
    for path in (tmp_path / "record/forecasts").rglob("*.npz"):
        path.unlink()  # without it, the page has nothing but the document
    run(tmp_path, 1)
    assert "kronos live verify" in (tmp_path / "page/index.html").read_text("utf-8")

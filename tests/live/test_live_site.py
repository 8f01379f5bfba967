"""The page of a running forecaster: rebuilt from the record, whatever lies in its folder."""

import json
import shutil
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


@pytest.fixture(scope="module")
def three_hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page and the record after three cycles; tests go on in a copy."""
    folder = tmp_path_factory.mktemp("three-hours")
    run(folder, 3)
    return folder


@pytest.fixture
def folder(three_hours: Path, tmp_path: Path) -> Path:
    """A copy of the page and the record after three cycles."""
    return Path(shutil.copytree(three_hours, tmp_path / "copy"))


def test_another_model_does_not_take_over_past_forecasts(folder):
    run(folder, 2, begin=BEGIN + 3 * HOUR, model="historical-volatility")
    for name in ("forecasts.json", "archive/2026-03.json"):
        assert origins(folder / "page" / name) == [3, 4]
    run(folder, 1, begin=BEGIN + 5 * HOUR)  # the first one again, with what it missed
    assert origins(folder / "page" / "forecasts.json") == list(range(6))


@pytest.mark.slow
def test_another_order_of_the_symbols_keeps_their_archives(tmp_path):
    run(tmp_path, 2, symbols="BTCUSDT,ETHUSDT")
    run(tmp_path, 1, begin=BEGIN + 2 * HOUR, symbols="ETHUSDT,BTCUSDT")
    root, other = tmp_path / "page", tmp_path / "page" / "btcusdt-1h-ewma-volatility"
    for folder, symbol in ((root, "ETHUSDT"), (other, "BTCUSDT")):
        assert json.loads((folder / "forecasts.json").read_text("utf-8"))["symbol"] == symbol
        assert origins(folder / "archive" / "2026-03.json") == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"forecasts": [1]}', '{"forecasts": [{}], "id": "x"}'])
def test_a_damaged_archive_is_built_from_the_record(folder, text):
    (folder / "page/archive/2026-03.json").write_text(text, "utf-8")
    run(folder, 1, begin=BEGIN + 3 * HOUR)
    assert origins(folder / "page/archive/2026-03.json") == [0, 1, 2, 3]


@pytest.mark.parametrize("text", ["", "[1]", "null", '{"%s": "x"}'])
def test_a_damaged_note_of_what_was_written_stops_nothing(folder, text):
    file = folder / "record/site.json"
    series = next(iter(json.loads(file.read_text("utf-8"))))
    file.write_text(text.replace("%s", series), "utf-8")
    run(folder, 1, begin=BEGIN + 3 * HOUR)
    assert origins(folder / "page/forecasts.json") == [0, 1, 2, 3]


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

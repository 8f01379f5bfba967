from importlib import resources
from pathlib import Path

import pandas as pd
import pytest

from kronos.candles import read_candles
from scripts import make_sample_data

DATA = Path(__file__).resolve().parents[2] / "examples" / "data"


def test_the_packaged_sample_is_the_examples():
    packaged = resources.files("kronos") / "samples" / "simulated_btc_1h.csv"
    assert packaged.read_bytes() == (DATA / "simulated_btc_1h.csv").read_bytes()


def test_the_samples_are_what_the_simulator_makes():
    for name, make in (
        (make_sample_data.COIN, make_sample_data.coin),
        (make_sample_data.SHARE, make_sample_data.share),
    ):
        assert (DATA / name).read_text("utf-8") == make_sample_data.text(make())


@pytest.mark.parametrize(("name", "interval"), [("simulated_btc_1h.csv", "1h"), ("simulated_xshg_5m.csv", "5m")])
def test_the_samples_are_clean_candles(name, interval):
    candles = read_candles(DATA / name)
    assert len(candles) == 600
    assert str(candles.interval) == interval
    assert not [finding for finding in candles.findings if finding.severity == "warning"]
    frame = candles.frame
    assert (frame["low"] <= frame[["open", "close"]].min(axis=1)).all()
    assert (frame["high"] >= frame[["open", "close"]].max(axis=1)).all()
    assert (frame["volume"] > 0).all()
    assert (frame["low"] * frame["volume"] <= frame["amount"] + 0.01).all()
    assert (frame["high"] * frame["volume"] >= frame["amount"] - 0.01).all()


def test_the_share_has_lunch_breaks():
    times = pd.read_csv(DATA / "simulated_xshg_5m.csv", parse_dates=["timestamps"])["timestamps"]
    minutes = times.dt.hour * 60 + times.dt.minute
    assert set(minutes) == {*range(9 * 60 + 35, 11 * 60 + 31, 5), *range(13 * 60 + 5, 15 * 60 + 1, 5)}


def test_files_say_that_they_are_simulated():
    for path in DATA.glob("*.csv"):
        assert path.name.startswith("simulated_")
    assert "simulated" in (DATA / "README.md").read_text("utf-8")

"""One table of candles, stamped in several ways: the same paths."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from kronos import KronosPredictor, read_candles
from networks import random_model, random_tokenizer

ZONE = "America/New_York"
WRITTEN: dict[str, Callable[[pd.DatetimeIndex], list[str]]] = {
    "local": lambda times: times.strftime("%Y-%m-%d %H:%M").tolist(),
    "offsets": lambda times: [time.isoformat() for time in times.tz_localize(ZONE)],
    "utc": lambda times: times.tz_localize(ZONE).tz_convert("UTC").strftime("%Y-%m-%dT%H:%M:%SZ").tolist(),
    "naive utc": lambda times: times.tz_localize(ZONE).tz_convert("UTC").strftime("%Y-%m-%d %H:%M:%S").tolist(),
    "epoch": lambda times: (times.tz_localize(ZONE).as_unit("s").asi8).astype(str).tolist(),
    "milliseconds": lambda times: (times.tz_localize(ZONE).as_unit("ms").asi8).astype(str).tolist(),
}


@pytest.fixture(scope="module")
def predictor() -> KronosPredictor:
    return KronosPredictor(random_model(3), random_tokenizer(3), device="cpu", max_context=64)


def table(times: pd.DatetimeIndex) -> pd.DataFrame:
    """A random walk at these times, which become the first column as text."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(times))))
    opened = np.append(100.0, close[:-1])
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) / 1.001
    return pd.DataFrame(
        {"open": opened, "high": high, "low": low, "close": close, "volume": rng.uniform(1, 9, len(times))}
    )


@pytest.mark.parametrize("start", ["2024-02-26", "2024-07-08"])
def test_the_same_candles_give_the_same_paths_however_they_are_stamped(tmp_path, predictor, start) -> None:
    days = pd.bdate_range(start, periods=14)
    times = pd.DatetimeIndex([day + pd.Timedelta(minutes=570 + 30 * bar) for day in days for bar in range(13)])
    frame, paths = table(times), {}
    for name, write in WRITTEN.items():
        file = tmp_path / f"{name}.csv"
        frame.assign(time=write(times))[["time", *frame.columns]].to_csv(file, index=False)
        paths[name] = predictor.forecast(read_candles(file, symbol="X"), 8, samples=4, seed=1, calibration=False).paths
    for name, own in paths.items():
        assert np.array_equal(own, paths["local"]), name


def test_given_times_are_read_on_the_same_clock(predictor) -> None:
    days = pd.bdate_range("2024-03-04", periods=14)
    times = pd.DatetimeIndex([day + pd.Timedelta(minutes=570 + 30 * bar) for day in days for bar in range(13)])
    aware = times.tz_localize(ZONE).tz_convert("UTC")
    local, utc = (table(times).set_index(index) for index in (times, aware))
    expected = predictor.forecast(local.iloc[:-4], 4, samples=3, seed=1, calibration=False)
    got = predictor.forecast(utc.iloc[:-4], 4, samples=3, seed=1, timestamps=aware[-4:], calibration=False)
    assert np.array_equal(got.paths, expected.paths)

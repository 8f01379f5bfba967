"""Tables of forecasts: Nixtla's shape, and one table of several series."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.candles import COLUMNS, Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast, ForecastMetadata, Forecasts


def make(
    symbol: str | None = "BTC",
    *,
    samples: int = 99,
    horizon: int = 3,
    tz: str | None = None,
    model: str = "kronos-nano",
    seed: int = 0,
) -> Forecast:
    """A forecast of random closes around 100."""
    rng = np.random.default_rng(seed)
    times = pd.date_range("2024-01-01", periods=20 + horizon, freq="1h", tz=tz, name="timestamps")
    past = pd.DataFrame(100.0, index=times[:20], columns=list(COLUMNS))
    closes = 100 * np.exp(rng.normal(0, 0.02, (samples, horizon)).cumsum(axis=1))
    paths = np.stack([closes] * 4 + [np.ones_like(closes)] * 2, axis=-1)
    history = Candles.from_frame(past, symbol=symbol, interval="1h")
    return Forecast(paths, times[20:], history, ForecastMetadata(model))


def test_nixtla_frame_has_the_columns_that_utilsforecast_looks_up():
    forecast = make(tz="UTC")
    frame = forecast.to_frame("nixtla", level=[95, 80])
    assert list(frame.columns) == [
        *("unique_id", "ds", "kronos-nano"),
        *("kronos-nano-lo-95", "kronos-nano-lo-80", "kronos-nano-hi-80", "kronos-nano-hi-95"),
    ]
    assert frame["unique_id"].tolist() == ["BTC"] * 3
    assert frame["ds"].tolist() == forecast.timestamps.tolist()
    assert frame["ds"].dt.tz is not None
    assert frame["kronos-nano"].tolist() == forecast.median()["close"].tolist()
    for level in (80, 95):
        band = forecast.range(level / 100)
        assert frame[f"kronos-nano-lo-{level}"].tolist() == band["low"].tolist()
        assert frame[f"kronos-nano-hi-{level}"].tolist() == band["high"].tolist()


def test_nixtla_levels_are_percentages_named_as_given():
    frame = make(None).to_frame("nixtla", level=[90, 99.5, 90.0])
    assert list(frame.columns)[3:] == [f"kronos-nano-{end}" for end in ("lo-99.5", "lo-90", "hi-90", "hi-99.5")]
    assert frame["unique_id"].unique().tolist() == ["series"]
    assert list(make().to_frame("nixtla", level=[]).columns) == ["unique_id", "ds", "kronos-nano"]


@pytest.mark.parametrize("level", [[0.8], [80, 100], [0], [-5], [True], ["80"], "80", 0.8, [float("nan")]])
def test_levels_that_are_no_percentages_are_refused(level):
    with pytest.raises(ParameterError, match="level"):
        make().to_frame("nixtla", level=level)


def test_forecasts_are_a_dictionary():
    one = make()
    forecasts = Forecasts({"BTC": one})
    assert forecasts == {"BTC": one}
    assert forecasts["BTC"] is one
    assert list(copy.copy(forecasts)) == ["BTC"]
    assert isinstance(forecasts, dict)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=4), st.data())
def test_one_frame_has_the_rows_of_all_series(sizes, data):
    kind = data.draw(st.sampled_from(["wide", "long", "nixtla"]))
    forecasts = Forecasts(
        (f"series {i}", make(samples=samples, horizon=horizon, seed=i)) for i, (samples, horizon) in enumerate(sizes)
    )
    frame = forecasts.to_frame(kind)
    assert list(frame["unique_id"].unique()) == list(forecasts)
    assert frame.index.tolist() == list(range(len(frame)))
    for name, forecast in forecasts.items():
        own = forecast.to_frame(kind)
        own = own.reset_index() if kind == "wide" else own.drop(columns="unique_id", errors="ignore")
        joined = frame[frame["unique_id"] == name].drop(columns="unique_id").reset_index(drop=True)
        pd.testing.assert_frame_equal(joined, own)


@pytest.mark.parametrize(("kind", "column"), [("wide", "timestamps"), ("long", "timestamps"), ("nixtla", "ds")])
def test_times_of_several_timezones_are_in_utc(kind, column):
    frame = Forecasts({"a": make(tz="Asia/Tokyo"), "b": make(tz="America/New_York")}).to_frame(kind)
    assert str(frame[column].dt.tz) == "UTC"
    assert frame.groupby("unique_id")[column].min().tolist() == [
        pd.Timestamp("2024-01-01 20:00", tz="Asia/Tokyo"),
        pd.Timestamp("2024-01-01 20:00", tz="America/New_York"),
    ]
    same = Forecasts({"a": make(tz="Asia/Tokyo"), "b": make(tz="Asia/Tokyo")}).to_frame(kind)
    assert str(same[column].dt.tz) == "Asia/Tokyo"


def test_forecasts_that_fit_no_table_are_refused():
    with pytest.raises(DataError, match="no forecasts"):
        Forecasts().to_frame()
    with pytest.raises(DataError, match="times of a have a timezone, those of b have none"):
        Forecasts({"a": make(tz="UTC"), "b": make()}).to_frame()
    mixed = Forecasts({"a": make(), "b": make(model="kronos-small")})
    assert len(mixed.to_frame("long")) == 2 * 99 * 3
    with pytest.raises(ParameterError, match="kronos-nano, kronos-small"):
        mixed.to_frame("nixtla")
    with pytest.raises(ParameterError, match="tall"):
        Forecasts({"a": make()}).to_frame("tall")

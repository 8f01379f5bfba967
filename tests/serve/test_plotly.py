"""The plotly figure of a forecast."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from kronos.baselines import historical_volatility, last_value
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.serve.plotly import plotly_document


def candles(rows=150, tz="UTC", freq="1h", symbol="BTC", start="2024-03-01"):
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, rows)))
    opens = np.r_[closes[0], closes[:-1]]
    frame = pd.DataFrame(
        {"open": opens, "high": np.maximum(opens, closes) * 1.002, "low": np.minimum(opens, closes) * 0.998},
        index=pd.date_range(start, periods=rows, freq=freq, tz=tz),
    ).assign(close=closes, volume=5.0)
    return Candles.from_frame(frame, symbol=symbol, interval=freq)


def make(samples=40, horizon=12, rows=150, baseline=historical_volatility, **options):
    past = candles(rows, **options)
    times = pd.date_range(past.end, periods=horizon + 1, freq=options.get("freq", "1h"))[1:]
    return baseline(past, horizon, samples=samples, timestamps=times)


def traces(document, kind="candlestick"):
    return [trace for trace in document["data"] if trace["type"] == kind]


def title(forecast):
    return plotly_document(forecast)["layout"]["title"]["text"]


def test_the_document_is_plain_json():
    result = make()
    document = plotly_document(result, actual=replace(result.history, frame=result.sample(0)))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert set(document) == {"data", "layout"}


def test_history_and_forecast_are_candles_of_different_hues():
    result = make()
    document = plotly_document(result, history_bars=100)
    history, ahead = traces(document)
    assert (len(history["x"]), len(ahead["x"])) == (100, 12)
    assert history["close"] == result.history.frame["close"].iloc[-100:].tolist()
    for price in ("open", "high", "low", "close"):
        assert ahead[price] == result.quantile_candles(0.5)[price].tolist()
    assert history["increasing"]["fillcolor"] == "#26a69a"
    assert history["decreasing"]["fillcolor"] == "#ef5350"
    hues = {ahead[way]["line"]["color"] for way in ("increasing", "decreasing")}
    assert hues.isdisjoint({"#26a69a", "#ef5350"})
    assert "median" in ahead["name"]
    assert document["layout"]["xaxis"]["rangeslider"] == {"visible": False}  # plotly adds one to candlesticks


def test_bands_are_nested_labelled_and_start_at_the_last_close():
    result = make()
    document = plotly_document(result)
    bands = traces(document, "scatter")
    assert [band["name"].split()[0] for band in bands] == ["95", "80", "50"]
    assert len({band["fillcolor"] for band in bands}) == 1
    outlines = []
    for band, level in zip(bands, (0.95, 0.8, 0.5), strict=True):
        high, low = np.array(band["y"][:13]), np.array(band["y"][13:])[::-1]
        assert band["x"][:13] == band["x"][13:][::-1]
        assert high[0] == low[0] == result.last_close
        assert low[1:] == pytest.approx(result.range(level)["low"].to_numpy())
        assert high[1:] == pytest.approx(result.range(level)["high"].to_numpy())
        outlines.append((low, high))
    for (low, high), (inner_low, inner_high) in pairwise(outlines):
        assert (low <= inner_low).all()
        assert (high >= inner_high).all()
    words = traces(document)[1]["text"]
    assert len(words) == 12
    assert all(f"{level} % of closes" in words[0] for level in (50, 80, 95))


@pytest.mark.parametrize("samples", [1, 2, 19])
def test_few_paths_show_a_representative_path_without_bands(samples):
    result = make(samples=samples)
    document = plotly_document(result)
    assert traces(document, "scatter") == []
    _, ahead = traces(document)
    assert ahead["close"] == result.sample(result.representative())["close"].tolist()
    assert ("single path" if samples == 1 else f"of {samples}, the most central") in ahead["name"]
    assert "median" not in ahead["name"]


def test_a_point_forecast_has_no_bands():
    assert traces(plotly_document(make(samples=40, baseline=last_value)), "scatter") == []


def test_actual_candles_are_drawn_at_the_times_of_the_forecast():
    result = make(horizon=12)
    frame = pd.concat([result.history.frame.iloc[-3:], result.sample(3).iloc[[1, 0, 5]].sort_index()])
    document = plotly_document(result, actual=replace(result.history, frame=frame))
    _, ahead, actual = traces(document)
    assert actual["x"] == [ahead["x"][step] for step in (0, 1, 5)]
    assert actual["close"] == result.sample(3)["close"].iloc[[0, 1, 5]].tolist()
    assert ahead["opacity"] < 1
    line = traces(document, "scatter")[-1]
    assert line["y"] == [result.last_close, *ahead["close"]]


def test_actual_candles_must_share_times_and_timezone():
    result = make()
    with pytest.raises(DataError, match="No actual candle"):
        plotly_document(result, actual=result.history)
    with pytest.raises(DataError, match="timezone"):
        plotly_document(result, actual=candles(tz=None))


@pytest.mark.parametrize("tz", [None, "UTC", "Asia/Shanghai"])
def test_times_are_ordered_categories_in_iso_format(tz):
    result = make(tz=tz)
    document = plotly_document(result)
    axis = document["layout"]["xaxis"]
    assert axis["type"] == "category"
    order = [pd.Timestamp(text) for text in axis["categoryarray"]]
    assert order == [*result.history.index, *result.timestamps]
    known = set(axis["categoryarray"])
    assert all(set(trace["x"]) <= known for trace in document["data"])
    assert document["layout"]["shapes"][0]["x0"] == result.start.isoformat()


def test_a_repeated_hour_is_shown_twice():
    result = make(rows=30, tz="America/New_York", start="2024-11-02 20:00")
    named = plotly_document(result)["layout"]["xaxis"]["categoryarray"]
    assert len(set(named)) == len(named) == 42


def test_the_title_describes_the_forecast():
    result = make()
    text = title(result)
    for word in ("BTC", "1h", "historical-volatility (baseline)", "12 steps", "40 paths", "raw", "UTC"):
        assert word in text
    assert "SIMULATED" not in text
    assert "SIMULATED" in title(replace(result, metadata=replace(result.metadata, simulated=True)))
    assert "· calibrated ·" in title(replace(result, metadata=replace(result.metadata, calibrated=True)))
    assert "1 path " in title(make(samples=1))
    assert "1 step " in title(make(horizon=1))


def test_names_are_escaped():
    odd = make(symbol='<a href="javascript:alert(1)">A&amp;$x$</a>')
    odd = replace(odd, metadata=replace(odd.metadata, model="<img src=x onerror=alert(1)>"))
    text = json.dumps(plotly_document(odd), ensure_ascii=False)
    for mark in ("<a", "<img", "$", "A&amp;&#"):
        assert mark not in text
    assert "&lt;a href=" in text
    assert "A&amp;amp;&#36;x&#36;" in text


def test_an_unnamed_series_has_a_placeholder():
    assert title(make(symbol=None)).startswith("Unnamed series · 1h")


def test_history_bars_must_be_positive():
    with pytest.raises(ParameterError, match="at least 1"):
        plotly_document(make(), history_bars=0)

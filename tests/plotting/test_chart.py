from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from kronos.baselines import historical_volatility, last_value
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.plotting import plot_forecast, plot_many


def make(samples=40, horizon=12, rows=150, tz="UTC", volume=True, symbol="BTC", freq="1h"):
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, rows)))
    opens = np.r_[closes[0], closes[:-1]]
    frame = pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes) * 1.002,
            "low": np.minimum(opens, closes) * 0.998,
            "close": closes,
            "volume": 5.0 if volume else 0.0,
        },
        index=pd.date_range("2024-03-01", periods=rows, freq=freq, tz=tz),
    )
    past = Candles.from_frame(frame, symbol=symbol, interval=freq)
    times = pd.date_range(past.end, periods=horizon + 1, freq=freq)[1:]
    return historical_volatility(past, horizon, samples=samples, timestamps=times)


def words(figure: Figure) -> str:
    """All text of a figure, legend included."""
    texts = [t.get_text() for t in figure.texts]
    texts += [t.get_text() for legend in figure.legends for t in legend.get_texts()]
    texts += [t.get_text() for axes in figure.axes for t in (*axes.texts, axes.title)]
    return "\n".join(texts)


def bodies(figure: Figure) -> list[int]:
    """Number of candles in each group of candles on the price pane."""
    groups = [c for c in figure.axes[0].collections if type(c) is PolyCollection]
    return [len(group.get_paths()) for group in groups]


def bands(figure: Figure) -> list[np.ndarray]:
    """Outlines of the bands, the widest first."""
    fills = [c for c in figure.axes[0].collections if type(c).__name__ == "FillBetweenPolyCollection"]
    return [fill.get_paths()[0].vertices for fill in fills]


def test_texts():
    text = words(plot_forecast(make()))
    for word in ("BTC · 1h · historical-volatility (baseline)", "12 steps", "40 paths", "raw", "UTC"):
        assert word in text
    assert "as of 2024-03-07 05:00" in text
    assert "median of 40 paths" in text
    assert all(f"{level} %" in text for level in (50, 80, 95))
    assert "SIMULATED" not in text


def test_subtitle_has_the_models_weight_if_pooled():
    raw = make()
    weights = [0.1] * 6 + [0.35] * 6
    calibration = {"baseline": "garch-t", "factors": {"pooling": weights}}
    pooled = replace(raw, metadata=replace(raw.metadata.with_details(calibration=calibration), calibrated=True))
    assert "calibrated, model's weight 0.10 to 0.35, pooled with garch-t" in words(plot_forecast(pooled))
    alone = replace(raw, metadata=replace(raw.metadata.with_details(calibration={"baseline": None}), calibrated=True))
    assert "· calibrated ·" in words(plot_forecast(alone))


def test_bands_are_nested_and_start_at_the_last_close():
    forecast = make()
    widest, middle, inner = bands(plot_forecast(forecast))
    for outline, level in ((widest, 0.95), (middle, 0.8), (inner, 0.5)):
        start = outline[outline[:, 0] == 0][:, 1]
        assert start == pytest.approx(forecast.last_close)
        end = outline[outline[:, 0] == forecast.horizon][:, 1]
        low, high = forecast.range(level).iloc[-1]
        assert (end.min(), end.max()) == pytest.approx((low, high))


def test_candles_are_history_and_the_representative_path():
    forecast = make()
    figure = plot_forecast(forecast, history_bars=70)
    assert bodies(figure) == [70, 12]
    drawn = [c for c in figure.axes[0].collections if type(c) is PolyCollection][1]
    path = forecast.paths[forecast.representative()]
    tops = [body.vertices[:, 1].max() for body in drawn.get_paths()]
    assert tops == pytest.approx(path[:, [0, 3]].max(axis=1).tolist())


def test_few_paths_are_drawn_instead_of_bands():
    figure = plot_forecast(make(samples=5))
    assert bands(figure) == []
    assert "close of each path" in words(figure)
    assert "95 %" not in words(figure)


def test_point_forecast_has_no_bands():
    forecast = make()
    figure = plot_forecast(last_value(forecast.history, 12, timestamps=forecast.timestamps))
    assert bands(figure) == []
    assert "point forecast" in words(figure)


def test_actual_candles_replace_the_path():
    forecast = make()
    truth = make(rows=157).history
    figure = plot_forecast(forecast, actual=truth)
    assert bodies(figure)[1] == 7
    assert "actual: up" in words(figure)
    with pytest.raises(DataError, match="open"):
        plot_forecast(forecast, actual=truth.frame[["close"]])
    with pytest.raises(DataError, match="compare"):
        plot_forecast(forecast, actual=forecast.history)


def test_actual_candles_may_be_any_frame_that_can_be_forecast():
    forecast = make()
    truth = make(rows=157).history.frame
    expected = bodies(plot_forecast(forecast, actual=truth))
    values = truth.to_numpy().copy()
    values.setflags(write=False)
    fixed = pd.DataFrame(values, index=truth.index, columns=truth.columns, copy=False)
    exact = fixed.reindex(forecast.timestamps).iloc[:7]
    vendor = truth.rename(columns=str.title).reset_index().rename(columns={"timestamps": "Date"})
    for frame in (fixed, exact, vendor, vendor.astype(str)):
        assert bodies(plot_forecast(forecast, actual=frame)) == expected
    with pytest.raises(DataError, match="list"):
        plot_forecast(forecast, actual=[1.0])


def test_simulated_projected_and_repaired_are_labelled():
    forecast = make()
    marked = replace(forecast.metadata, simulated=True, calendar="XNYS", calendar_basis="projected")
    text = words(plot_forecast(replace(forecast, metadata=marked, mended=0.25)))
    assert "SIMULATED" in text
    assert "projected (XNYS)" in text
    assert "25.0 %" in text


def test_no_volume_pane_without_volume():
    with_volume, without = plot_forecast(make()), plot_forecast(make(volume=False))
    assert (len(with_volume.axes), len(without.axes)) == (2, 1)
    assert "no volume" in words(without)


def test_unknown_timezone():
    assert "timezone unknown" in words(plot_forecast(make(tz=None)))


def test_names_with_missing_glyphs_or_dollars_give_no_warning(tmp_path, recwarn):
    plot_forecast(make(symbol="贵州茅台 $A_b$ 😀"), path=tmp_path / "f.png")
    assert [str(w.message) for w in recwarn if "lyph" in str(w.message)] == []


def test_palettes_colour_the_same_candles_differently():
    forecast = make()
    rising = (forecast.history.frame["close"] >= forecast.history.frame["open"]).to_numpy()[-60:]
    for palette, up, down in (
        ("green-up", "#26a69a", "#ef5350"),
        ("red-up", "#ef5350", "#26a69a"),
        ("colour-blind", "#0173b2", "#de8f05"),
    ):
        figure = plot_forecast(forecast, palette=palette, history_bars=60)
        history = next(c for c in figure.axes[0].collections if type(c) is PolyCollection)
        assert [to_hex(colour) for colour in history.get_edgecolor()] == [up if r else down for r in rising]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_suffix_sets_the_file_format(tmp_path: Path, ending):
    file = tmp_path / "new" / f"f.{ending}"
    make().plot(path=file, theme="dark")
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert file.read_bytes().startswith(start)
    assert [f.name for f in file.parent.iterdir()] == [file.name]


def test_invalid_options(tmp_path):
    forecast = make()
    for options in (
        {"theme": "sepia"},
        {"palette": "grey"},
        {"history_bars": 0},
        {"path": tmp_path / "f.txt"},
    ):
        with pytest.raises(ParameterError):
            plot_forecast(forecast, **options)
    assert list(tmp_path.iterdir()) == []


def test_matplotlib_settings_are_unchanged(tmp_path):
    before = dict(mpl.rcParams)
    plot_forecast(make(), path=tmp_path / "f.png", theme="dark")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(("samples", "horizon", "rows"), [(1, 1, 3), (1, 30, 4), (300, 1, 100), (25, 120, 500)])
def test_any_size_can_be_drawn(tmp_path, samples, horizon, rows):
    file = tmp_path / "f.png"
    plot_forecast(make(samples, horizon, rows), path=file)
    assert file.stat().st_size > 10_000


def test_constant_prices_can_be_drawn():
    forecast = make()
    frame = forecast.history.frame.copy()
    frame.loc[:, ["open", "high", "low", "close"]] = 7.0
    flat = last_value(Candles.from_frame(frame, interval="1h"), 3, timestamps=forecast.timestamps[:3])
    low, high = plot_forecast(flat).axes[0].get_ylim()
    assert low < 7 < high


def test_plot_many(tmp_path):
    forecast = make()
    marked = replace(forecast, metadata=replace(forecast.metadata, simulated=True))
    figure = plot_many([forecast, marked, make(samples=3)], path=tmp_path / "g.png")
    assert len(figure.axes) == 3
    assert "SIMULATED" in figure.axes[1].get_title(loc="left")
    assert "SIMULATED" not in figure.axes[0].get_title(loc="left")
    with pytest.raises(ParameterError):
        plot_many([])

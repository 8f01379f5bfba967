"""Figures of evaluations and their SVG."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from kronos.errors import ParameterError
from kronos.plotting.evaluation_canvas import PlotSeries
from kronos.plotting.evaluation_plots import plot_coverage, plot_cumulative_ic, plot_fan, plot_pit, plot_reliability
from kronos.plotting.skill_plot import plot_skill, skill_limits
from kronos.plotting.svg import css_variables, inline_svg

RAW, CALIBRATED = PlotSeries("nano", 0, False), PlotSeries("nano calibrated", 0, True)
HOSTILE = "<script>alert('x')</script> $\\frac{1}{0}$ & 比特币 \x00"
COVERAGE = ["step", "band", "coverage", "low", "high"]
CALLS = ["forecast", "observed", "n", "low", "high"]


def words(figure: Figure) -> list[str]:
    """All text of a figure."""
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in (*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels())]
    return found


def svg(figure: Figure, key: str = "x", **more) -> ElementTree.Element:
    """Convert a figure to SVG and check what holds for every one."""
    text = inline_svg(figure, key, "a figure", **more)
    assert not re.search(r"\bnan\b|\binf\b", re.sub(r"<(title|desc|text)[^>]*>[^<]*</\1>", "", text))
    assert "style=" not in text
    assert "<style" not in text
    assert "http" not in text
    root = ElementTree.fromstring(text)
    assert root.tag == "svg"
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "a figure"
    assert root[0].tag == "title"
    return root


def skills(*rows) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["group", "forecaster", "skill", "low", "high"])


TABLE = skills(
    ("crypto 1h", "nano", -0.1, -0.12, -0.08),
    ("crypto 1h", "nano calibrated", 0.01, -0.01, 0.03),
    ("all groups", "nano", -0.08, -0.1, -0.06),
    ("all groups", "nano calibrated", 0.02, 0.01, 0.03),
)


def test_plot_skill_has_groups_markers_and_reference():
    others = pd.DataFrame({"group": ["crypto 1h", "crypto 1h"], "skill": [0.0, -9.0]})
    figure = plot_skill(
        TABLE, [RAW, CALIBRATED], title="24 candles ahead", reference="a walk", others=others, first="all groups"
    )
    texts = words(figure)
    for word in ("24 candles ahead", "skill against a walk", "all groups", "crypto 1h", "nano", "nano calibrated"):
        assert word in texts
    assert texts.index("all groups") < texts.index("crypto 1h")
    assert "the other baselines" in texts
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert marks[0].get_xdata().tolist() == [-0.08, -0.1]
    assert marks[0].get_markerfacecolor() != marks[1].get_markerfacecolor()  # raw is hollow
    low, high = figure.axes[0].get_xlim()
    assert -0.2 < low < -0.12
    assert 0.03 < high < 0.1
    svg(figure)


def test_skill_axis_has_zero_and_every_interval():
    low, high = skill_limits(TABLE)
    assert low < -0.12
    assert high > 0.03
    assert all(math.isnan(end) for end in skill_limits(TABLE.iloc[:0]))


def test_wide_interval_does_not_extend_the_axis():
    rows = [(f"group {i}", "nano", 0.02, 0.01, 0.03) for i in range(6)]
    table = skills(*rows, ("tiny", "nano", -0.05, -2.0, 1.5))
    low, high = skill_limits(table)
    assert -0.1 < low < -0.05
    assert 0.03 < high < 0.05
    figure = plot_skill(table, [RAW], title="t", reference="r")
    assert {line.get_marker() for line in figure.axes[0].lines} >= {"<", ">"}
    svg(figure)


@pytest.mark.parametrize("table", [skills(), skills(("g", "nano", math.nan, math.nan, math.nan))])
def test_skill_without_data(table):
    figure = plot_skill(table, [RAW], title="t", reference="r")
    assert "No skill available." in words(figure)
    svg(figure)


def test_skill_without_interval():
    figure = plot_skill(skills(("g", "nano", 0.1, math.nan, math.nan)), [RAW, CALIBRATED], title="t", reference="r")
    assert "g" in words(figure)
    svg(figure)


def test_plot_coverage():
    rows = [(step, band, band - 0.1, band - 0.12, band - 0.08) for step in (1, 24) for band in (0.5, 0.8, 0.95)]
    figure = plot_coverage(pd.DataFrame(rows, columns=COVERAGE), RAW)
    texts = words(figure)
    for word in ("nano", "95 % band", "80 % band", "50 % band", "40 %", "70 %", "85 %", "1", "24"):
        assert word in texts
    svg(figure)


def test_plot_pit():
    shares = np.array([0.3, 0.1, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.1, 0.2])
    figure = plot_pit(shares, (0.08, 0.12), RAW, subtitle="PIT, 1 candle ahead")
    bars = [patch.get_height() for patch in figure.axes[0].patches if patch.get_width() < 0.1]
    assert bars == pytest.approx(shares.tolist())
    assert "PIT, 1 candle ahead" in words(figure)
    assert {"0", "median", "1"} <= set(words(figure))
    svg(figure)


def test_plot_reliability():
    table = pd.DataFrame([(0.4, 0.45, 1200, 0.37, 0.43), (0.6, 0.55, 300, 0.55, 0.65)], columns=CALLS)
    figure = plot_reliability(table, CALIBRATED)
    assert "1,200" in words(figure)
    marks = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    assert marks.get_xydata().tolist() == [[0.4, 0.45], [0.6, 0.55]]
    svg(figure)


def test_plot_cumulative_ic_ends_at_the_sum():
    times = pd.date_range("2024-01-01", periods=50)
    lines = {"nano": pd.Series(0.1, times), "nano calibrated": pd.Series(-0.2, times[::2])}
    figure = plot_cumulative_ic(lines, [RAW, CALIBRATED], title="us 1d", error=0.3)
    texts = words(figure)
    assert "+5.0" in texts
    assert "−5.0" in texts
    assert "us 1d" in texts
    assert "grey: 95 % range of chance" in texts
    svg(figure)


def fan(samples=40, horizon=12, actual=None, title="BTC · 2024-01-02"):
    history = pd.Series(np.linspace(90, 100, 30), pd.date_range("2024-01-01", periods=30, freq="h"))
    times = pd.date_range(history.index[-1], periods=horizon + 1, freq="h")[1:]
    moves = np.random.default_rng(0).normal(0, 0.01, (samples, horizon))
    actual = np.full(horizon, 101.0) if actual is None else actual
    paths = 100 * np.exp(np.cumsum(moves, axis=1))
    return plot_fan(history, paths, pd.Series(actual, times), RAW, title=title, subtitle="CRPS 1.93 σ√h")


def test_plot_fan():
    figure = fan()
    assert {"BTC · 2024-01-02", "CRPS 1.93 σ√h"} <= set(words(figure))
    assert len([c for c in figure.axes[0].collections if "FillBetween" in type(c).__name__]) == 3
    truth = [line for line in figure.axes[0].lines if len(line.get_ydata()) == 13 and line.get_ydata()[-1] == 101]
    assert len(truth) == 1
    svg(figure)


@pytest.mark.parametrize(
    "figure",
    [
        lambda: plot_coverage(pd.DataFrame(columns=COVERAGE), RAW),
        lambda: plot_coverage(pd.DataFrame([(1, 0.8, 0.7, math.nan, math.nan)], columns=COVERAGE), RAW),
        lambda: plot_pit([math.nan] * 10, (math.nan, math.nan), RAW),
        lambda: plot_pit([1.0], (math.nan, math.nan), RAW),
        lambda: plot_reliability(pd.DataFrame(columns=CALLS), RAW),
        lambda: plot_reliability(pd.DataFrame([(0.5, 1.0, 1, math.nan, math.nan)], columns=CALLS), RAW),
        lambda: plot_reliability(pd.DataFrame([(0.5, 1.0, 1, 0.2, 0.8)], columns=CALLS), RAW),
        lambda: plot_cumulative_ic({}, [RAW], title="t"),
        lambda: plot_cumulative_ic({"nano": pd.Series([0.1], pd.DatetimeIndex(["2024-01-01"]))}, [RAW], title="t"),
        lambda: plot_cumulative_ic({"nano": pd.Series([math.nan], pd.DatetimeIndex(["2024-01-01"]))}, [RAW], title="t"),
        lambda: fan(samples=1),
        lambda: fan(horizon=1),
        lambda: fan(actual=np.full(12, np.nan)),
        lambda: plot_fan(pd.Series(dtype=float), np.empty((0, 0)), pd.Series(dtype=float), RAW, title="t"),
    ],
)
def test_little_or_no_data(figure):
    svg(figure())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_become_css_variables(theme):
    figure = plot_pit(np.full(10, 0.1), (0.08, 0.12), RAW, theme=theme)
    text = inline_svg(figure, "x", "t", theme=theme)
    for name in ("ground", "text", "muted", "grid"):
        assert f"var(--{name}, {css_variables(theme, 'green-up')[name]})" in text
    assert not re.search(r'(fill|stroke)="#(?!000000)', text)


def test_names_are_escaped_and_not_parsed_as_math():
    figure = plot_skill(
        skills((HOSTILE, HOSTILE, 0.1, 0.0, 0.2)), [PlotSeries(HOSTILE)], title=HOSTILE, reference=HOSTILE
    )
    text = inline_svg(figure, "x", HOSTILE, HOSTILE)
    assert "<script" not in text
    root = ElementTree.fromstring(text)
    assert root.attrib["aria-label"].startswith("<script>alert('x')</script> $")
    assert any("比特币" in (element.text or "") for element in root.iter("text"))


def test_ids_have_the_prefix_of_the_figure():
    first, second = (svg(fan(), key) for key in ("one", "two"))
    ids = [{element.attrib["id"] for element in root.iter() if "id" in element.attrib} for root in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for root, prefix in ((first, "one-"), (second, "two-")):
        used = re.findall(r'(?:url\(#|href="#)([^")]+)', ElementTree.tostring(root, "unicode"))
        known = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
        assert set(used) <= known
        assert all(name.startswith(prefix) for name in known)


def test_svg_is_reproducible():
    assert inline_svg(fan(), "x", "t") == inline_svg(fan(), "x", "t")


def test_unknown_theme():
    with pytest.raises(ParameterError, match="theme"):
        plot_pit(np.full(10, 0.1), (0.1, 0.1), RAW, theme="sepia")


@pytest.mark.slow
@settings(max_examples=15)
@given(name=st.text(max_size=80), values=st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_any_name_and_number_can_be_drawn(name, values):
    table = skills((name, name, *values))
    svg(plot_skill(table, [PlotSeries(name)], title=name, reference=name))


@pytest.mark.parametrize("reach", [0.006, 0.03, 0.05, 0.062, 0.11, 0.3])
def test_percent_ticks_match_their_positions(reach):
    table = pd.DataFrame({"group": ["a"], "forecaster": ["one"], "skill": [0.0], "low": [-reach], "high": [reach]})
    figure = plot_skill(table, [PlotSeries("one", 0, True)], title="t", reference="r", limits=(-reach, reach))
    figure.canvas.draw()
    axis = figure.axes[0].xaxis
    labels = [float(label.get_text().removesuffix(" %").replace("−", "-")) for label in axis.get_ticklabels()]
    np.testing.assert_allclose(labels, 100 * np.array(axis.get_ticklocs()), atol=1e-9)
    assert len(labels) >= 3

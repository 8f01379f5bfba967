"""The charts: what is drawn is what the documents say, and hostile names stay text."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from kronos.live.page.documents import Moment, forecast_document, past_forecast
from kronos.live.page.forecast_figure import NARROW, WIDE, draw_forecast, draw_outcome
from kronos.live.page.svg import Drawing, LinearScale, polyline, round_ticks
from kronos.live.page.track_charts import (
    Bounded,
    FigureCurve,
    FigureTexts,
    draw_reliability,
    draw_sequences,
    draw_steps,
)
from kronos.reports import Translator
from live.sites import HEAD, HORIZON, MISSED, make_site

HOSTILE = "<script>alert(1)</script>\"'&"
TEXTS = FigureTexts("coverage", "Coverage", "By step", "Step")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("figures"))


@pytest.fixture(scope="module")
def document(site):
    return forecast_document(site.result, None, {}, Moment(site.now, HEAD))


def texts(markup):
    return [element.text for element in ET.fromstring(markup).iter() if element.tag == "text"]


def numbers(markup):
    return [float(number) for number in re.findall(r'(?:x|y|x1|x2|y1|y2|cx|cy)="(-?[\d.]+)"', markup)]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_chart_is_described_labelled_and_within_its_frame(document, size, language):
    markup = draw_forecast(document, Translator(language), size)
    svg = ET.fromstring(markup)
    title, description = svg[0].text, svg[1].text
    assert (svg.get("role"), svg.get("aria-labelledby")) == ("img", svg[0].get("id"))
    assert svg[0].get("id") == f"chart-{size.name}-t"
    assert "BTCUSDT" in title
    assert str(HORIZON) in description
    assert "2026-03-08 02:00 UTC" in description
    found = texts(markup)
    assert {"50 %", "80 %", "95 %", "UTC"} <= set(found)
    assert any("2026-03-08 02:00 UTC" in text for text in found)
    assert all(0 <= value <= max(size.width, size.height) for value in numbers(markup))
    assert "nan" not in markup


def test_the_price_axis_carries_the_last_close_and_the_mean(document):
    found = texts(draw_forecast(document, Translator("en"), WIDE))
    for price in (document["last_close"], document["steps"][-1]["mean"]):
        assert any(abs(float(text.replace(",", "")) - price) < 0.06 for text in found if re.fullmatch(r"[\d,.]+", text))


def test_bands_are_nested_and_begin_at_the_last_close(document):
    paths = re.findall(r'd="(M[^"]+Z)" fill="var\(--forecast\)"', draw_forecast(document, Translator("en"), WIDE))
    assert len(paths) == 3
    starts = {path[1:].split("L")[0] for path in paths}
    assert len(starts) == 1
    heights = []
    for path in paths:
        ys = [float(point.split()[1]) for point in path[1:-1].split("L")]
        heights.append(max(ys) - min(ys))
    assert heights == sorted(heights, reverse=True)


def test_few_paths_are_drawn_instead_of_bands(document):
    closes = [[step["median"] * (1 + k / 1000) for step in document["steps"]] for k in range(8)]
    markup = draw_forecast({**document, "closes": closes}, Translator("en"), WIDE)
    assert markup.count('stroke-opacity="0.5"') == 8
    assert "80 %" not in texts(markup)


def test_labels_of_bands_that_meet_stay_in_order(document):
    steps = [{**step, "bands": {**step["bands"], "95": step["bands"]["80"]}} for step in document["steps"]]
    markup = draw_forecast({**document, "steps": steps}, Translator("en"), WIDE)
    places = {e.text: float(e.get("y")) for e in ET.fromstring(markup).iter("text") if "%" in e.text}
    assert places["95 %"] < places["80 %"] < places["50 %"]


def test_simulated_stands_across_the_chart_twice(document):
    simulated = {**document, "simulated": True}
    assert texts(draw_forecast(simulated, Translator("en"), WIDE)).count("SIMULATED") == 2
    assert texts(draw_forecast(simulated, Translator("zh"), NARROW)).count("模拟数据") == 2
    assert "SIMULATED" not in texts(draw_forecast(document, Translator("en"), WIDE))


def test_hostile_names_stay_text(document):
    hostile = {**document, "symbol": HOSTILE}
    markup = draw_forecast(hostile, Translator("en"), WIDE)
    assert "<script" not in markup
    assert HOSTILE in ET.fromstring(markup)[0].text


def test_no_style_or_script_is_inline(document):
    markup = draw_forecast(document, Translator("en"), WIDE)
    assert "style=" not in markup
    assert "#" not in markup.replace("&#x27;", "")  # colours are the page's


def test_a_constant_price_and_no_volume_are_drawn(document):
    price = document["last_close"]
    history = {name: [price] * 60 for name in ("open", "high", "low", "close")}
    history |= {"volume": [0.0] * 60, "time": document["history"]["time"][-60:] * 2}
    history["time"] = (document["history"]["time"] * 2)[:60]
    steps = [
        {**step, "mean": price, "median": price, "bands": {key: [price, price] for key in ("50", "80", "95")}}
        for step in document["steps"]
    ]
    flat = {**document, "history": {**history, "time": sorted(history["time"])}, "steps": steps}
    markup = draw_forecast(flat, Translator("en"), WIDE)
    ET.fromstring(markup)
    assert "Volume" not in texts(markup)
    assert "nan" not in markup


# Past forecasts -------------------------------------------------------------


def test_a_picture_shows_band_median_and_what_came(site):
    scored = ET.fromstring(draw_outcome(past_forecast(*site.recent[0])))
    pending = ET.fromstring(draw_outcome(past_forecast(*site.recent[-1])))
    assert scored.get("aria-hidden") == "true"
    assert len(scored) == len(pending) + 2  # the closes that came, and their end


def test_the_actual_line_ends_where_the_last_close_is(site):
    past = past_forecast(*site.recent[0])
    svg = ET.fromstring(draw_outcome(past))
    dot = next(element for element in svg if element.tag == "circle")
    line = [element for element in svg if element.get("stroke") == "var(--text)"][-1]
    assert line.get("d").endswith(f"{dot.get('cx')} {dot.get('cy')}")
    band = svg.find("path").get("d")
    ys = [float(point.split()[1]) for point in band[1:-1].split("L")]
    upper, lower = ys[HORIZON], ys[HORIZON + 1]
    inside = upper - 0.06 <= float(dot.get("cy")) <= lower + 0.06
    assert past["outcome"]["inside"]["80"][-1] == str(int(inside))


# Track record ---------------------------------------------------------------


def test_coverage_is_drawn_against_its_nominal_value():
    points = [Bounded(step, 0.7 + 0.01 * step, 0.6, 0.9) for step in range(1, 13)]
    markup = draw_steps([FigureCurve("80 %", "forecast", points, 0.8)], TEXTS)
    svg = ET.fromstring(markup)
    dashed = [line for line in svg.iter("line") if line.get("stroke-dasharray")]
    dots = [float(dot.get("cy")) for dot in svg.iter("circle")]
    assert len(dots) == 12
    # The eleventh step covers 81 %: just above the dashed line, the tenth lies on it.
    assert dots[9] == pytest.approx(float(dashed[0].get("y1")), abs=0.1)
    assert dots[10] < dots[9]


def test_skill_shows_zero_and_cuts_wide_intervals():
    points = [Bounded(n, 0.02, -5.0, 5.0) for n in (1, 50, 100)]
    texts_of = replace(TEXTS, first="2026-03-01", last="now")
    markup = draw_sequences([FigureCurve("skill", "forecast", points)], texts_of)
    assert "0 %" in texts(markup)
    assert {"2026-03-01", "now"} <= set(texts(markup))
    assert all(-1 <= value <= 520 for value in numbers(markup))


def test_reliability_draws_each_bin_with_its_interval_and_count():
    bins = [Bounded(0.3, 0.25, 0.1, 0.5, 20), Bounded(0.6, 0.7, 0.4, 0.9, 5)]
    svg = ET.fromstring(draw_reliability(bins, TEXTS, "forecasts"))
    dots = list(svg.iter("circle"))
    bars = [float(bar.get("height")) for bar in svg.iter("rect")]
    assert len(dots) == 2
    assert bars[0] == pytest.approx(4 * bars[1], abs=0.2)


# Drawing --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 1, 4, [0, 0.25, 0.5, 0.75, 1]),
        (97, 103, 3, [98, 100, 102]),
        (5, 5, 3, [5]),
        (float("nan"), 1, 3, []),
    ],
)
def test_ticks_are_round(low, high, count, expected):
    assert round_ticks(low, high, count) == pytest.approx(expected)


def test_a_scale_without_extent_draws_in_the_middle():
    assert LinearScale(3, 3, 0, 100)(3) == 50


def test_elements_escape_texts_and_attributes():
    drawing = Drawing(10, 10, name="a", title=HOSTILE, description=HOSTILE)
    drawing.text((1, 1), HOSTILE)
    drawing.element("path", d=HOSTILE)
    svg = ET.fromstring(drawing.markup())
    assert [svg[0].text, svg[1].text, svg[2].text, svg[3].get("d")] == [HOSTILE] * 4


def test_coordinates_are_short():
    assert polyline([(1.04, 2.0), (-0.01, 3.26)], closed=True) == "M1 2L0 3.3Z"


def test_an_origin_without_a_forecast_has_no_picture(site):
    assert "low80" not in past_forecast(*site.recent[MISSED])

"""The track record on the page: the figures of the record, in words and charts, in both languages."""

import re
from xml.etree import ElementTree as ET

import pytest

from kronos.live.page.track_view import TrackView
from kronos.live.verdicts import _SENTENCES
from kronos.reports import Translator
from live.sites import HORIZON, make_site

LANGUAGES = ["en", "zh"]
NUMBERS = ("price", "upside", "amplification", "next", "age", "model")


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("track")).track


def view(track, language="en"):
    return TrackView(track, Translator(language))


def test_late_missed_and_unresolved_are_counted_in_plain_sight(track):
    assert dict(view(track).counts) == {
        "Scored": "36",
        "Open": str(HORIZON),
        "Late": "1",
        "Missed": "1",
        "Unresolved": "1",
        "Revised candles": "0",
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_number_has_how_it_has_fared(track, language):
    realised = view(track, language).realised()
    assert set(realised) == set(NUMBERS)
    none = Translator(language)("live.track.none")
    assert none not in realised.values()
    brier = next(each for each in track["brier"] if (each["event"], each["reference"]) == ("upside", "coin"))
    assert f"{brier['score']:.3f}" in realised["upside"]
    assert "0.250" in realised["upside"]
    covered = next(each for each in track["coverage"] if (each["level"], each["step"]) == (80, HORIZON))
    assert f"{100 * covered['estimate']:.1f} %" in realised["price"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_verdicts_are_those_of_the_record(track, language):
    verdicts = view(track, language).verdicts
    assert [each.key for each in verdicts] == [each["key"] for each in track["verdicts"]]
    early = next(each for each in verdicts if each.key == "skill.early")
    assert early.answer == {"en": "Too early to tell", "zh": "为时尚早，无法判断"}[language]
    assert early.tone == "unknown"
    assert "historical-volatility" in early.name
    assert "3" in early.reason


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("key", sorted(_SENTENCES))
def test_every_verdict_has_an_answer(track, language, key):
    values = {"contender": "raw", "baseline": "garch-t", "level": 80, "target": 0.8, "reference": "coin", "blocks": 0}
    tone = "early" if key.endswith("early") else "good"
    verdict = {"key": key, "tone": tone, "values": values}
    [found] = view({**track, "verdicts": [verdict]}, language).verdicts
    assert found.answer
    assert found.reason == Translator(language)("live.track.evidence.none")
    known = verdict | {"values": values | {"estimate": 0.1, "lower": -0.2, "upper": 0.3, "blocks": 7}}
    [found] = view({**track, "verdicts": [known]}, language).verdicts
    assert "7" in found.reason


def test_calibrated_forecasts_are_judged_and_the_raw_ones_tabulated(track):
    def both(figures):
        return [*({**each, "contender": "calibrated"} for each in figures), *figures]

    groups = ("coverage", "skill", "brier", "reliability", "curves")
    calibrated = {**track, **{name: both(track[name]) for name in groups}}
    verdict = track["verdicts"][0]
    calibrated["verdicts"] = [{**verdict, "values": {**verdict["values"], "contender": "calibrated"}}, verdict]
    shown = view(calibrated)
    assert len(shown.verdicts) == 1
    assert [row.label for row in shown.tables[0].rows][::3] == ["calibrated · 50 %", "raw · 50 %"]


def test_charts_show_the_figures(track):
    plots = {plot.title: ET.fromstring(plot.picture) for plot in view(track).plots}
    coverage = plots["Do the bands cover what they should?"]
    steps = {each["step"] for each in track["coverage"] if each["step"] is not None}
    assert len(list(coverage.iter("circle"))) == 3 * len(steps)
    ids = [svg[0].get("id") for svg in plots.values()]
    assert len(ids) == len(set(ids)) == 5


def test_tables_have_every_figure(track):
    coverage, skill, brier, increments = view(track).tables
    assert len(coverage.rows) == 3
    assert len(skill.rows) == 1
    assert len(brier.rows) == 4
    assert {row.label for row in increments.rows} == {"raw", "historical-volatility"}
    figure = next(each for each in track["coverage"] if each["level"] == 80 and each["step"] is None)
    cell = next(row for row in coverage.rows if "80 %" in row.label).cells[0]
    assert cell.text == f"{100 * figure['estimate']:.1f} %"
    assert re.fullmatch(r"[\d.]+ % – [\d.]+ %", cell.detail)


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_a_record_nothing_is_claimed(language):
    empty = view({}, language)
    assert (empty.counts, empty.verdicts, empty.plots, empty.tables) == ([], [], [], [])
    assert set(empty.realised().values()) == {Translator(language)("live.track.none")} == {empty.intro}


def test_a_record_without_scores_says_so(tmp_path):
    from kronos.live.track_record import TrackRecordData

    site = make_site(tmp_path)
    data = TrackRecordData(site.result.series.protocol)
    data.extend([site.recent[0][0]])
    shown = view(data.summarize().to_dict())
    assert shown.intro == "No forecast has been scored yet."
    assert shown.plots == []
    assert shown.realised()["age"] == "So far 0 late and 0 missed, of 1 forecasts due."
    assert shown.realised()["model"] == "No forecast has been scored yet."

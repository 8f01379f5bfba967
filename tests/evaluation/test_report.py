"""The report tells an evaluation whole: its verdicts, its figures as they are, its pictures, in one safe file."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from evaluation.walks import Walker, instruments
from kronos.calibration import fit
from kronos.errors import ParameterError
from kronos.evaluation import (
    ALL,
    Actuals,
    Correction,
    Evaluation,
    RollingSettings,
    WalkForward,
    baseline_forecasters,
    baseline_paths,
    calibration_set_of,
    evaluate,
    identity_of,
    make_plan,
    run_rolling,
)
from kronos.evaluation.plan import Instrument
from kronos.evaluation.report.figures import ReportFigures, series_of
from kronos.evaluation.report.report import report, write_report

SCRIPT = "<script>alert('x')</script>"
RAW, CALIBRATED = f"walker {SCRIPT}", "walker & its calibration"


def plan():
    few = [Instrument(f"{SCRIPT} {one.name}", f"fx {SCRIPT}", one.candles) for one in instruments(1, 300)]
    return make_plan([*instruments(5, 300, "crypto"), *few], WalkForward(8))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Evaluation:
    folder = tmp_path_factory.mktemp("report") / "run"
    walker, asked, settings = Walker(RAW, width=0.5), plan(), RollingSettings(samples=20)
    baselines = baseline_forecasters(["last-value", "historical-volatility"])
    paths = run_rolling(asked, [walker], folder, settings)[RAW]
    pooled = baseline_paths(asked, "historical-volatility", folder, settings.seed)
    calibration = fit(calibration_set_of(asked, Actuals.of(asked), paths, identity_of(walker), pooled))
    correction = Correction(CALIBRATED, RAW, calibration)
    return evaluate(asked, [walker], folder, settings, baselines=baselines, corrections=[correction])


@pytest.fixture(scope="module")
def page(evaluated) -> str:
    return report(evaluated)


class Words(HTMLParser):
    """All text, rows of tables, and tags, checked for balance."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.ids, self.values, self.words, self.rows = [], [], [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.note(tag, attrs)
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.note(tag, attrs)

    def note(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.values += [(name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def words(page) -> Words:
    return Words(page)


def test_it_is_one_well_formed_file_that_loads_nothing(page, words):
    assert not {"script", "link", "img", "iframe", "object"} & set(words.tags)
    assert not [name for name, _ in words.values if name in ("src", "style", "srcset") or name.startswith("on")]
    assert [value for name, value in words.values if name == "href" and not value.startswith("#")] == []
    assert "http:" not in page
    assert "https:" not in page
    assert len(words.ids) == len(set(words.ids))
    assert len(page.encode()) < 1_500_000
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert references <= set(words.ids)


def test_what_users_named_is_escaped(page, words):
    assert "<script" not in page
    assert SCRIPT in "".join(words.words)


def test_every_verdict_and_warning_is_told(evaluated, words):
    text = "\n".join(words.words)
    assert evaluated.verdicts
    for one in evaluated.verdicts:
        assert one.sentence in text
    for warning in evaluated.warnings:
        assert warning in text


def test_no_evidence_is_as_large_as_better(page):
    answers = re.findall(r'<span class="answer (\w+)">([^<]+)</span>', page)
    assert ("neutral", "No evidence that it knows the direction") in answers
    assert ("bad", "Worse than historical-volatility") in answers


def test_numbers_are_the_figures(evaluated, words):
    last = max(one.step for one in evaluated.figures)
    at = {(one.forecaster, one.step): one for one in evaluated.figures if one.group == ALL}
    marks = {RAW: "raw", CALIBRATED: "calibrated", "historical-volatility": "reference", "last-value": "baseline"}
    steps = sorted({one.step for one in evaluated.figures})
    for name, mark in marks.items():
        row = next(row for row in words.rows if row[0] == name + mark)
        crps = [text.removesuffix(" (best)") for text in row[1 : 1 + len(steps)]]
        assert crps == [f"{at[name, step].crps:.3f}" for step in steps]
        found = at[name, last]
        if found.skill is not None:
            rate, low, high = (
                f"{round(100 * one, 1) + 0.0:.1f}" for one in (found.skill.estimate, found.skill.low, found.skill.high)
            )
            assert row[1 + len(steps)] == f"{rate} %{low} to {high}".replace("-", "−")
        shares = ["–"] * 3 if name == "last-value" else [f"{100 * x.estimate:.1f} %" for x in found.coverage.values()]
        assert row[2 + len(steps) : 5 + len(steps)] == shares
    best = min((at[name, last].crps, name) for name in marks)[1]
    row = next(row for row in words.rows if row[0] == best + marks[best])
    assert row[len(steps)].endswith("(best)")


def test_the_models_weight_is_stated(evaluated, words):
    text = "\n".join(words.words)
    [told] = [one.calibration for one in evaluated.subjects if one.calibration]
    assert "weight" in told
    for line in told.splitlines():
        assert line in text


def test_it_says_what_was_evaluated_and_how(evaluated, words):
    text = " ".join(words.words)
    for told in (
        f"{len(evaluated.plan):,} forecasts of the next 8 candles",
        evaluated.made["plan"],
        evaluated.made["created"],
        f"torch {evaluated.made['versions']['torch']}",
        "Pesaran and Timmermann",
        "A forecast is no investment advice.",
        "Who may be the best",
    ):
        assert told in text


def test_groups_with_few_instruments_are_named_instead_of_drawn(words):
    assert f"Not drawn, because too few dates have five instruments to rank: fx {SCRIPT} 1h." in words.words
    assert ("aria-label", "Cumulative rank correlation in crypto 1h, 8 candles ahead") in words.values


def test_the_worst_forecasts_are_the_worst(evaluated):
    few, more = ReportFigures(evaluated).worst()
    scores = [float(found) for picture in few + more for found in re.findall(r"<desc>CRPS (\d+\.\d\d) σ√h", picture)]
    rows = evaluated.scores.steps
    for place, name in enumerate(evaluated.evaluated):
        own = rows[(rows["forecaster"] == name) & (rows["step"] == 8)]
        assert scores[3 * place] == pytest.approx(own["crps"].max(), abs=0.006)
        series = own.groupby("series")["crps"].max().nlargest(3)
        assert scores[3 * place : 3 * place + 3] == pytest.approx(series.tolist(), abs=0.006)


def test_a_calibrated_forecaster_looks_like_its_own(evaluated):
    looks = series_of(evaluated.subjects, evaluated.reference)
    assert looks[RAW].hue == looks[CALIBRATED].hue
    assert (looks[RAW].filled, looks[CALIBRATED].filled) == (False, True)
    assert looks["last-value"].hue != looks[RAW].hue


def test_writing_is_all_or_nothing(evaluated, tmp_path):
    path = tmp_path / "deep" / "report.html"
    bare = replace(evaluated, comparison=[], volatility=evaluated.volatility.iloc[:0], warnings=[])
    assert write_report(bare, path, title="Mine <b>", look="dark", palette="red-up", language="zh") == path
    text = path.read_text("utf-8")
    assert "<title>Mine &lt;b&gt;</title>" in text
    assert 'lang="zh-Hans"' in text
    assert "没有需要警告的问题" in text
    assert "谁可能是最好的" not in text
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]
    with pytest.raises(ParameterError, match="sepia"):
        write_report(evaluated, path, look="sepia")
    assert path.read_text("utf-8") == text


def test_groups_that_differ_are_said_to(evaluated):
    """A forecaster that spoke in small markets only has no verdict over all of them."""
    words = iter(["better", "worse"] * 20)
    apart = [replace(one, word=next(words)) for one in evaluated.verdicts if one.group != ALL and one.about == "price"]
    assert "It depends on the market" in report(replace(evaluated, verdicts=apart))


def test_baselines_alone_can_be_told_too(tmp_path):
    asked = make_plan(instruments(1, 100), WalkForward(4))
    baselines = baseline_forecasters(["historical-volatility", "last-value"])
    found = evaluate(asked, [], tmp_path / "run", RollingSettings(samples=5), baselines=baselines)
    page = Words(report(found))
    assert "What the baselines can do" in page.words
    assert "No market has five instruments at enough dates to rank." in page.words

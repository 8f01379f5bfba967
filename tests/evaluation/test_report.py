"""The report has all verdicts, warnings and figures of an evaluation, in own safe file."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from evaluation.random_walks import GaussianForecaster, instruments
from kronos.calibration import fit
from kronos.errors import ParameterError
from kronos.evaluation import (
    ALL,
    Actuals,
    Correction,
    Evaluation,
    RollingOrigins,
    RollingSettings,
    baseline_forecasters,
    baseline_paths,
    calibration_set_of,
    evaluate,
    identity_of,
    make_plan,
    run_rolling,
)
from kronos.evaluation.origins import Instrument
from kronos.evaluation.report import EvaluationReport
from kronos.evaluation.report.figures import ReportFigures, series_of
from kronos.reports import PageOptions

pytestmark = pytest.mark.slow

SCRIPT = "<script>alert('x')</script>"
RAW, CALIBRATED = f"gaussian {SCRIPT}", "gaussian & its calibration"


def plan():
    fx = [Instrument(f"{SCRIPT} {own.name}", f"fx {SCRIPT}", own.candles) for own in instruments(1, 300)]
    return make_plan([*instruments(5, 300, "crypto"), *fx], RollingOrigins(8))


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory) -> Evaluation:
    folder = tmp_path_factory.mktemp("report") / "run"
    forecaster, origins, settings = GaussianForecaster(RAW, width=0.5), plan(), RollingSettings(samples=20)
    baselines = baseline_forecasters(["last-value", "historical-volatility"])
    paths = run_rolling(origins, [forecaster], folder, settings)[RAW]
    pooled = baseline_paths(origins, "historical-volatility", folder, settings.seed)
    calibration = fit(calibration_set_of(origins, Actuals.of(origins), paths, identity_of(forecaster), pooled))
    correction = Correction(CALIBRATED, RAW, calibration)
    return evaluate(origins, [forecaster], folder, settings, baselines=baselines, corrections=[correction])


@pytest.fixture(scope="module")
def page(evaluation) -> str:
    return EvaluationReport(evaluation).render()


def with_few_figures(evaluation: Evaluation) -> Evaluation:
    """The evaluation of one contender, whose page takes less time."""
    kept = [own for own in evaluation.contenders if own.name in (RAW, evaluation.reference)]
    return replace(evaluation, contenders=tuple(kept))


class Parsed(HTMLParser):
    """Text, table rows and tags of a page, checked for balance."""

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
def parsed(page) -> Parsed:
    return Parsed(page)


def test_the_page_is_one_well_formed_file_that_loads_nothing(page, parsed):
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    assert not [name for name, _ in parsed.values if name in ("src", "style", "srcset") or name.startswith("on")]
    assert [value for name, value in parsed.values if name == "href" and not value.startswith("#")] == []
    assert "http:" not in page
    assert "https:" not in page
    assert len(parsed.ids) == len(set(parsed.ids))
    assert len(page.encode()) < 1_500_000
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert references <= set(parsed.ids)


def test_names_are_escaped(page, parsed):
    assert "<script" not in page
    assert SCRIPT in "".join(parsed.words)


def test_every_verdict_and_warning_is_on_the_page(evaluation, parsed):
    text = "\n".join(parsed.words)
    assert evaluation.verdicts
    for own in evaluation.verdicts:
        assert own.sentence in text
    for warning in evaluation.warnings:
        assert warning in text


def test_no_evidence_is_as_prominent_as_better(page):
    answers = re.findall(r'<span class="answer (\w+)">([^<]+)</span>', page)
    assert ("neutral", "No evidence that it predicts the direction") in answers
    assert ("bad", "Worse than historical-volatility") in answers


def test_numbers_equal_the_figures(evaluation, parsed):
    last = max(own.step for own in evaluation.aggregates)
    at = {(own.forecaster, own.step): own for own in evaluation.aggregates if own.group == ALL}
    marks = {RAW: "raw", CALIBRATED: "calibrated", "historical-volatility": "reference", "last-value": "baseline"}
    steps = sorted({own.step for own in evaluation.aggregates})
    for name, mark in marks.items():
        row = next(row for row in parsed.rows if row[0] == name + mark)
        crps = [text.removesuffix(" (best)") for text in row[1 : 1 + len(steps)]]
        assert crps == [f"{at[name, step].crps:.3f}" for step in steps]
        found = at[name, last]
        if found.skill is not None:
            rate, low, high = (
                f"{round(100 * own, 1) + 0.0:.1f}" for own in (found.skill.estimate, found.skill.low, found.skill.high)
            )
            assert row[1 + len(steps)] == f"{rate} %{low} to {high}".replace("-", "−")
        shares = ["–"] * 3 if name == "last-value" else [f"{100 * x.estimate:.1f} %" for x in found.coverage.values()]
        assert row[2 + len(steps) : 5 + len(steps)] == shares
    best = min((at[name, last].crps, name) for name in marks)[1]
    row = next(row for row in parsed.rows if row[0] == best + marks[best])
    assert row[len(steps)].endswith("(best)")


def test_the_weight_of_a_pooled_model_is_stated(evaluation, parsed):
    text = "\n".join(parsed.words)
    [description] = [own.calibration for own in evaluation.contenders if own.calibration]
    assert "weight" in description
    for line in description.splitlines():
        assert line in text


def test_settings_and_provenance_are_on_the_page(evaluation, parsed):
    text = " ".join(parsed.words)
    for expected in (
        f"{len(evaluation.plan):,} forecasts of the next 8 candles",
        evaluation.provenance["plan"],
        evaluation.provenance["created"],
        f"torch {evaluation.provenance['versions']['torch']}",
        "Pesaran",
        "investment advice",
        "Who may be the best",
    ):
        assert expected in text


def test_groups_with_few_instruments_are_named_instead_of_drawn(parsed):
    assert f"Not drawn, because too few dates have five instruments to rank: fx {SCRIPT} 1h." in parsed.words
    assert ("aria-label", "Cumulative rank correlation in crypto 1h, 8 candles ahead") in parsed.values


def test_the_worst_forecasts_have_the_largest_scores(evaluation):
    first, more = ReportFigures(evaluation).worst()
    scores = [float(found) for picture in first + more for found in re.findall(r"<desc>CRPS (\d+\.\d\d) σ√h", picture)]
    rows = evaluation.scores.steps
    for place, name in enumerate(evaluation.evaluated):
        own = rows[(rows["forecaster"] == name) & (rows["step"] == 8)]
        assert scores[3 * place] == pytest.approx(own["crps"].max(), abs=0.006)
        series = own.groupby("series")["crps"].max().nlargest(3)
        assert scores[3 * place : 3 * place + 3] == pytest.approx(series.tolist(), abs=0.006)


def test_a_calibrated_contender_has_the_hue_of_its_raw_one(evaluation):
    looks = series_of(evaluation.contenders, evaluation.reference)
    assert looks[RAW].hue == looks[CALIBRATED].hue
    assert (looks[RAW].filled, looks[CALIBRATED].filled) == (False, True)
    assert looks["last-value"].hue != looks[RAW].hue


def test_the_file_is_replaced_atomically(evaluation, tmp_path):
    path = tmp_path / "deep" / "report.html"
    bare = replace(with_few_figures(evaluation), comparison=[], volatility=evaluation.volatility.iloc[:0], warnings=[])
    options = PageOptions("dark", "red-up", "zh")
    assert EvaluationReport(bare, options).save(path, title="Mine <b>") == path
    text = path.read_text("utf-8")
    assert "<title>Mine &lt;b&gt;</title>" in text
    assert 'lang="zh-Hans"' in text
    assert "没有需要警告的问题" in text
    assert "谁可能是最好的" not in text
    assert [own.name for own in path.parent.iterdir()] == ["report.html"]
    with pytest.raises(ParameterError, match="sepia"):
        EvaluationReport(evaluation, PageOptions(look="sepia")).save(path)
    assert path.read_text("utf-8") == text


def test_verdicts_that_differ_between_groups_are_reported(evaluation):
    """A forecaster with forecasts in small markets only has no verdict over all of them."""
    words = iter(["better", "worse"] * 20)
    apart = [replace(own, word=next(words)) for own in evaluation.verdicts if own.group != ALL and own.about == "price"]
    assert (
        "It depends on the market" in EvaluationReport(replace(with_few_figures(evaluation), verdicts=apart)).render()
    )


def test_baselines_alone_can_be_reported(tmp_path):
    origins = make_plan(instruments(1, 100), RollingOrigins(4))
    baselines = baseline_forecasters(["historical-volatility", "last-value"])
    found = evaluate(origins, [], tmp_path / "run", RollingSettings(samples=5), baselines=baselines)
    page = Parsed(EvaluationReport(found).render())
    assert "What the baselines can do" in page.words
    assert "No market has five instruments at enough dates to rank." in page.words

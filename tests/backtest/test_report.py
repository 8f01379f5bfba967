"""The report has all verdicts, figures and sources of a study in a safe file of its own; JSON has no NaN."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from backtest.studies import foresight, noise, random_market, setup_of, study_of
from kronos.backtest import ThresholdLongFlat, TradingCosts, TradingRules
from kronos.backtest.comparison import BacktestSetup, Benchmark, ScoredSignal, StudySettings, run_study
from kronos.backtest.performance import PerformanceSettings
from kronos.backtest.published import PublishedSettings, run_published
from kronos.backtest.report import BacktestReport, BacktestTables, study_document, study_lines
from kronos.backtest.report.tables import TONES
from kronos.formatting import format_number, percent, to_json
from kronos.reports import PageOptions, Translator

NUMBER = re.compile(r"−?\d+\.?\d*")
SCRIPT = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def study():
    market = random_market(days=300, count=25)
    scores = foresight(market, 0.05)
    settings = PublishedSettings(k=5, drop=1, hold_days=1, cash=1e7, lot_size=1)
    published = run_published(market, scores, settings, start=market.dates[20])
    found = study_of(market, scores, random_signals=15, published=published)
    signal = replace(found.signal, name=f"mean {SCRIPT}", metadata={"model": SCRIPT, "digest": "abc123"})
    portfolios = (replace(found.portfolio, name=signal.name), *found.portfolios[1:])
    return replace(found, signal=signal, portfolios=portfolios, warnings=(f"3 days of {SCRIPT} were seen.",))


@pytest.fixture(scope="module")
def single():
    """One instrument and no random signals: most figures are unknown."""
    market = random_market(days=100, count=1)
    rules = TradingRules.unrestricted(share_size=1e-6)
    setup = BacktestSetup(market, ThresholdLongFlat(5.0), TradingCosts.free(), rules, 1e4, start=market.dates[5])
    settings = StudySettings(PerformanceSettings(repetitions=50), random_signals=0)
    return run_study(setup, ScoredSignal("own", noise(market)), settings)


class Parsed(HTMLParser):
    """Texts, tags, ids and attributes of a page, checked for balance."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.ids, self.values, self.words = [], [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.values += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def page(study) -> str:
    return BacktestReport(study).render()


@pytest.fixture(scope="module")
def parsed(page) -> Parsed:
    return Parsed(page)


def test_the_page_is_one_well_formed_file_that_loads_nothing(page, parsed):
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    assert not [name for name, _ in parsed.values if name in ("src", "style", "srcset") or name.startswith("on")]
    assert "http:" not in page
    assert "https:" not in page
    assert len(parsed.ids) == len(set(parsed.ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(parsed.ids)
    assert len(page.encode()) < 600_000
    assert "nan" not in " ".join(parsed.words).split()


def test_names_are_escaped(page, parsed):
    assert "<script" not in page
    assert SCRIPT in "".join(parsed.words)


def test_verdicts_warnings_and_metadata_are_on_the_page(study, parsed):
    text = "\n".join(parsed.words)
    for own in study.verdicts:
        assert set(NUMBER.findall(own.sentence)) <= set(NUMBER.findall(text)), own.sentence
    assert "Information ratio " + format_number(study.performance.information_ratio.estimate, 2) in text
    for warning in study.warnings:
        assert warning in text
    assert "abc123" in text
    assert study.provenance["created"] in text


def test_the_line_on_trials_is_on_every_page(study, parsed):
    text = "\n".join(parsed.words)
    expected = f"{study.performance.expected_max_sharpe:.2f}"
    assert f"The best of 4 trials without any skill is expected to show a Sharpe ratio of {expected}" in text
    one = replace(study.performance, trials=1)
    alone = replace(study, portfolios=(replace(study.portfolio, performance=one), *study.portfolios[1:]))
    assert "One variant was counted" in BacktestReport(alone).render()


def test_figures_are_those_of_the_study(study, parsed):
    text = "\n".join(parsed.words)
    own = study.performance
    for value in (own.annual_return, own.annual_return_compounded, own.excess_return, own.deflated_sharpe):
        assert percent(value) in text
    for other in study.portfolios[1:]:
        assert percent(other.performance.annual_return) in text
    assert parsed.values.count(("class", "picture")) == 10


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("look", ["auto", "dark"])
def test_all_languages_and_looks_render(study, single, language, look):
    for own in (study, single):
        html = BacktestReport(own, PageOptions(look=look, language=language, palette="colour-blind")).render()
        Parsed(html)
    if language == "zh":
        words = "".join(word for word in Parsed(html).words if not word.isascii())
        assert "夏普比率" in words
        assert "periods a year" not in html
        assert not own.verdicts or "折减后的概率" in words


def test_an_unknown_figure_is_a_dash(single):
    text = "\n".join(Parsed(BacktestReport(single).render()).words)
    assert "nan" not in text.lower().split()
    assert "correlated over time" in text


def test_every_word_has_a_tone_and_an_answer():
    t = {language: Translator(language) for language in ("en", "zh")}
    allowed = {
        "edge": ["evidence", "within trials", "no evidence", "worse", "suspected", "too few days"],
        "trials": ["beyond chance", "within trials", "too few days"],
        "random": ["better", "worse", "no evidence", "too few days"],
        "leak": ["suspected", "no sign"],
        "costs": ["costs eat it", "survives costs", "nothing before costs", "too few days"],
        "ranking": ["better", "worse", "no evidence", "too few days"],
        "factors": ["own information", "known factors", "no evidence", "too few days"],
        "fills": ["same sign", "depends on fill", "too few days"],
        "published": ["rules add", "little difference"],
    }
    assert {word for words in allowed.values() for word in words} == set(TONES)
    for translate in t.values():
        for about, words in allowed.items():
            for word in words:
                assert translate(f"backtest.answers.{about}.{word.replace(' ', '_')}", trials=4)


def test_json_has_no_nan_and_the_same_figures(study, single):
    for own in (study, single):
        text = to_json(study_document(own))
        document = json.loads(text, parse_constant=lambda name: pytest.fail(name))
        assert document["performance"]["annual_return"] == pytest.approx(own.performance.annual_return)
        assert len(document["daily"]["net_asset_value"]) == len(own.dates)
    document = study_document(study)
    json.dumps(document, allow_nan=False)
    assert document["performance"]["trials"] == 4
    assert document["published"]["qlib_figures"]["published"]["annualised_return"] is not None
    assert document["setup"]["strategy"]["name"] == "TopkDropout"
    assert document["setup"]["costs"]["slippage"] == 2.0
    assert document["signal"]["metadata"]["digest"] == "abc123"
    wealth = np.cumprod(1 + np.array(document["daily"]["returns"])) * 1e7
    np.testing.assert_allclose(wealth, document["daily"]["net_asset_value"])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_terminal_has_verdicts_and_tables(study, language):
    console = Console(width=160, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(*study_lines(study, verbose=True, language=language), sep="\n")
    text = " ".join(capture.get().split())
    for own in study.verdicts:
        assert " ".join(own.sentence.split()) in text
    assert percent(study.performance.excess_return) in text
    short = study_lines(study)
    assert len(short) < len(study_lines(study, verbose=True))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_narrow_terminal_drops_columns_and_cuts_no_number(study, width):
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(*study_lines(study, width=width)[-4:], sep="\n")
    text = capture.get()
    assert max(map(len, text.splitlines())) <= width
    assert "…" in text or width < 100
    assert re.search(r"RankIC\s+−?0\.\d{3}", text)


def test_tables_of_refused_orders_add_up():
    market = random_market(days=120, count=12)
    setup = setup_of(market, rules=TradingRules.unrestricted())
    poor = replace(setup, cash=500.0)
    settings = StudySettings(PerformanceSettings(repetitions=50), random_signals=0)
    found = run_study(poor, ScoredSignal("own", noise(market)), settings)
    table = BacktestTables(found, Translator("en")).refused()
    counts = [int(cell.text.replace(",", "")) for row in table.rows for cell in row.cells]
    assert sum(counts) == len(found.result.refused) + len(found.result.trades)
    Parsed(BacktestReport(found).render())


def test_the_page_is_saved(study, tmp_path):
    path = BacktestReport(study).save(tmp_path / "backtest.html")
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")


def test_an_index_has_the_ratio_and_the_drawdown_of_its_returns():
    market = random_market(days=120, count=12)
    returns = pd.Series(np.random.default_rng(5).normal(0.001, 0.01, 120), index=market.dates)
    found = study_of(market, noise(market), random_signals=0, benchmark=Benchmark("INDEX", returns))
    row = next(row for row in BacktestTables(found, Translator("en")).comparison().rows if row.label == "INDEX")
    own = returns.reindex(found.dates)
    sharpe = own.mean() / own.std() * 252**0.5
    wealth = np.concatenate([[1.0], (1 + own).cumprod()])
    depth = (wealth / np.maximum.accumulate(wealth)).min() - 1
    assert [cell.text for cell in row.cells[4:6]] == [format_number(sharpe, 2), percent(depth)]

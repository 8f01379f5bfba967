"""The backtest report in a real Chromium: accessible in both languages and themes, and readable on a phone."""

from __future__ import annotations

import pytest

from backtest.studies import foresight, random_market, study_of
from kronos.backtest.report import BacktestReport
from kronos.reports import PageOptions
from web import workbench


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The report of one study, in every language and palette that is looked at."""
    market = random_market(days=150, count=20)
    study = study_of(market, foresight(market, 0.05), random_signals=10)
    folder = tmp_path_factory.mktemp("backtest")
    for language, palette in (("en", "green-up"), ("zh", "red-up")):
        BacktestReport(study, PageOptions(language=language, palette=palette)).save(folder / f"{language}.html")
    return folder


@pytest.fixture
def open_report(new_tab, folder):
    def open_at(language, **options):
        tab = new_tab(folder.as_uri(), **options)
        tab.page.goto(f"{tab.address}/{language}.html")
        return tab

    return open_at


@pytest.mark.slow
@pytest.mark.parametrize(("language", "scheme"), [("en", "dark"), ("zh", "light")])
def test_the_report_has_no_fault_of_accessibility(open_report, language, scheme):
    tab = open_report(language)
    for details in tab.page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    workbench.check_looks(tab.page, scheme)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_is_wider_than_a_phone(open_report, language):
    tab = open_report(language, viewport={"width": 360, "height": 740})
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 360

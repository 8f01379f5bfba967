"""The site: every file whole, none removed, both languages, every past forecast in the archive."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from kronos.errors import ParameterError, StorageError
from kronos.live.entries import ScoreEntry
from kronos.live.page import site as site_module
from live.sites import HEAD, HORIZON, LATE, MISSED, UNRESOLVED, make_site

FILES = {
    *("index.html", "index.zh.html", "style.css", "live.js", "prediction_chart.png"),
    *("forecast.json", "track_record.json", "forecasts.json"),
    *("archive/2026-03.html", "archive/2026-03.zh.html", "archive/2026-03.json"),
}
HOSTILE = "</title><script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """Elements and attributes of a page; its tags must be balanced."""

    VOID = ("meta", "link", "br")

    def __init__(self, path):
        super().__init__()
        self.open, self.elements, self.ids, self.words = [], [], [], []
        self.feed(path.read_text("utf-8"))
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids)), "an id is repeated"

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def with_attribute(self, name):
        return [attributes for _, attributes in self.elements if name in attributes]

    @property
    def addresses(self):
        return [value for _, each in self.elements for name, value in each.items() if name in ("href", "src")]


def files_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def site(tmp_path):
    return make_site(tmp_path)


def test_all_files_are_written_and_the_page_last(site):
    written = site.write()
    assert files_in(site.folder) == FILES
    assert written[-1] == site.folder / "index.html"
    assert {str(path.relative_to(site.folder)) for path in written} == FILES


def test_the_page_is_complete_without_other_files(site):
    site.write()
    page = Page(site.folder / "index.html")
    assert page.elements[0] == ("html", {"lang": "en", "data-look": "auto", "data-palette": "green-up"})
    document = json.loads((site.folder / "forecast.json").read_text("utf-8"))
    assert f"{document['last_close']:,.1f}" in page.text
    assert "As of 2026-03-08 02:00 UTC" in page.text
    assert HEAD[1] in page.text
    assert page.text.count("not investment advice") == 1
    assert page.text.count("never trades") == 1
    assert [each["class"] for each in page.with_attribute("viewbox") if "chart" in each["class"].split()] == [
        "picture chart wide",
        "picture chart narrow",
    ]


def test_nothing_is_inline_that_the_policy_forbids(site):
    site.write()
    for path in site.folder.rglob("*.html"):
        page, text = Page(path), path.read_text("utf-8")
        assert not page.with_attribute("style"), path
        assert "<style" not in text
        assert re.findall(r"<script[^>]*>(?!</script>)", text) == []
        assert not [each for _, each in page.elements if any(name.startswith("on") for name in each)]
        policy = next(each["content"] for each in page.with_attribute("http-equiv"))
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy


def test_every_link_leads_somewhere(site, tmp_path):
    other = make_site(tmp_path / "other", symbol="ETHUSDT")
    site.write(other)
    for path in site.folder.rglob("*.html"):
        for address in Page(path).addresses:
            if address.startswith(("#", "data:")):
                continue
            assert (path.parent / address).resolve().is_file(), f"{path}: {address}"


def test_the_other_language_has_its_own_page_and_palette(site):
    site.write()
    page = Page(site.folder / "index.zh.html")
    assert page.elements[0][1] == {"lang": "zh-Hans", "data-look": "auto", "data-palette": "red-up"}
    assert "未来 12 根K线" in page.text
    links = {each["hreflang"]: each["href"] for each in page.with_attribute("hreflang")}
    assert links == {"en": "index.html"}


def test_the_configured_language_is_the_index(tmp_path):
    site = make_site(tmp_path, output={"folder": str(tmp_path / "page"), "language": "zh", "palette": "colour-blind"})
    site.write()
    assert Page(site.folder / "index.html").elements[0][1]["lang"] == "zh-Hans"
    page = Page(site.folder / "index.en.html")
    assert page.elements[0][1] == {"lang": "en", "data-look": "auto", "data-palette": "colour-blind"}


def test_simulated_is_named_in_title_page_chart_and_json(tmp_path):
    site = make_site(tmp_path, simulated=True)
    site.write()
    page = Page(site.folder / "index.html")
    assert page.text.startswith("[SIMULATED]")
    assert page.with_attribute("data-simulated")
    assert page.text.count("SIMULATED") >= 4
    for name in ("forecast", "track_record", "forecasts", "archive/2026-03"):
        assert json.loads((site.folder / f"{name}.json").read_text("utf-8"))["simulated"] is True
    assert "[SIMULATED]" in Page(site.folder / "archive/2026-03.html").text


def test_stand_ins_are_marked_and_the_record_is_not(site, tmp_path):
    simulated = make_site(tmp_path / "simulated", simulated=True).result
    site.result = replace(
        site.result, status="stand-in", live=simulated.live, entry=None, reason="No source has the latest candles."
    )
    site.write()
    page = Page(site.folder / "index.html")
    assert "No exchange could be reached" in page.text
    assert "No source has the latest candles." in page.text
    assert json.loads((site.folder / "forecast.json").read_text("utf-8"))["simulated"] is True
    assert json.loads((site.folder / "track_record.json").read_text("utf-8"))["simulated"] is False


def test_a_cycle_without_a_forecast_keeps_the_last_one(site):
    site.write()
    before = Page(site.folder / "index.html")
    site.result = replace(
        site.result, status="waiting", live=None, entry=None, fetched=None, reason="No source answers."
    )
    site.now += pd.Timedelta("1h")
    site.write()
    after = Page(site.folder / "index.html")
    assert "No source answers. The last forecast is shown" in after.text
    [first], [second] = before.with_attribute("data-as-of"), after.with_attribute("data-as-of")
    assert first["data-as-of"] == second["data-as-of"]


def test_a_page_before_the_first_forecast_says_so(site):
    site.result = replace(
        site.result, status="waiting", live=None, entry=None, fetched=None, reason="No source answers."
    )
    site.recent = []
    site.write()
    page = Page(site.folder / "index.html")
    assert "There is no forecast yet" in page.text
    assert "No source answers." in page.text
    assert "last forecast is shown" not in page.text
    assert files_in(site.folder) == FILES - {
        "prediction_chart.png",
        *(f"archive/2026-03{suffix}" for suffix in (".html", ".zh.html", ".json")),
    }


@pytest.mark.slow
def test_hostile_names_stay_text(tmp_path):
    site = make_site(tmp_path, symbol=HOSTILE)
    site.write()
    for path in site.folder.rglob("*.html"):
        page = Page(path)
        assert [each for tag, each in page.elements if tag == "script"] == [
            {"src": "../live.js" if path.parent.name == "archive" else "live.js"}
        ]
        assert HOSTILE in " ".join(page.words)


def test_several_series_have_folders_and_a_navigation(site, tmp_path):
    other = make_site(tmp_path / "other", symbol="ETHUSDT")
    written = site.write(other)
    slug = "ethusdt-1h-historical-volatility"
    assert written[-1] == site.folder / "index.html"
    assert (site.folder / slug / "forecast.json").is_file()
    assert not (site.folder / slug / "style.css").exists()
    for path, current in ((site.folder, "index.html"), (site.folder / slug, "../" + slug + "/index.html")):
        page = Page(path / "index.html")
        marked = [each["href"] for each in page.with_attribute("aria-current")]
        assert [(path / each).resolve() for each in marked] == [(path / current).resolve()]


@pytest.mark.slow
def test_symbols_that_are_written_alike_do_not_share_a_folder(tmp_path):
    first, second, third = (make_site(tmp_path / str(n), symbol=name) for n, name in enumerate(("A B", "A/B", "A-B")))
    first.write(second, third)
    symbols = {json.loads(path.read_text("utf-8"))["symbol"] for path in first.folder.rglob("forecast.json")}
    assert symbols == {"A B", "A/B", "A-B"}


# Past forecasts -------------------------------------------------------------


def month(site):
    return json.loads((site.folder / "archive/2026-03.json").read_text("utf-8"))["forecasts"]


def test_the_archive_has_every_origin_however_it_ended(site):
    site.write()
    found = month(site)
    assert [past["origin"] for past in found] == [entry.origin for entry, _ in reversed(site.recent)]
    kinds = [each["data-kind"] for each in Page(site.folder / "archive/2026-03.html").with_attribute("data-kind")]
    assert len(kinds) == len(site.recent)
    counts = {kind: kinds.count(kind) for kind in ("late", "missed", "unresolved", "pending")}
    assert counts == {"late": 1, "missed": 1, "unresolved": 1, "pending": HORIZON}
    oldest = list(reversed(kinds))
    assert (oldest[LATE], oldest[MISSED], oldest[UNRESOLVED]) == ("late", "missed", "unresolved")
    page = Page(site.folder / "archive/2026-03.html")
    assert "51 origins: 36 scored, 12 open, 1 late, 1 missed, 1 unresolved." in page.text


def test_what_is_new_is_merged_into_the_archive(site):
    everything = site.recent
    site.recent = [(entry, None) for entry, _ in everything[:10]]
    site.write()
    assert {past["outcome"] for past in month(site) if past["kind"] == "forecast"} == {None}
    site.recent = everything[5:20]
    site.write()
    found = {past["origin"]: past for past in month(site)}
    assert len(found) == 20
    settled = [entry.origin for entry, outcome in everything[5:20] if isinstance(outcome, ScoreEntry)]
    assert all(found[origin]["outcome"]["kind"] == "score" for origin in settled)


def test_only_months_that_changed_are_written_again(site):
    site.write()
    path = site.folder / "archive/2026-03.html"
    before = path.stat().st_mtime_ns
    written = site.write()
    assert path.stat().st_mtime_ns == before
    assert not [each for each in written if each.parent.name == "archive"]
    assert site.folder / "style.css" not in written


def test_a_damaged_archive_is_built_anew(site):
    site.write()
    (site.folder / "archive/2026-03.json").write_text("{", "utf-8")
    site.write()
    assert len(month(site)) == len(site.recent)


def test_minutes_have_a_page_a_day():
    from pathlib import Path

    from kronos.live.page.archive import Archive

    site = make_site(Path("unused"))
    days = {"2026-03-06", "2026-03-07", "2026-03-08"}
    assert set(Archive(Path("missing"), 60, "5e").merge(site.recent)) == days
    assert set(Archive(Path("missing"), 3600, "5e").merge(site.recent)) == {"2026-03"}


# Trouble --------------------------------------------------------------------


def test_files_of_others_stay(site):
    (site.folder / "archive").mkdir(parents=True)
    for name in ("CNAME", "archive/notes.html", "archive/2019-notes.json"):
        (site.folder / name).write_text("mine", "utf-8")
    site.write()
    for name in ("CNAME", "archive/notes.html", "archive/2019-notes.json"):
        assert (site.folder / name).read_text("utf-8") == "mine"


def test_the_page_survives_a_picture_that_cannot_be_drawn(site, monkeypatch):
    def fail(*_, **__):
        raise ParameterError("no")

    monkeypatch.setattr(site_module, "plot_forecast", fail)
    site.write()
    assert (site.folder / "index.html").is_file()


def test_when_the_disk_is_full_the_old_page_stays_whole(site, monkeypatch):
    site.write()
    before = (site.folder / "index.html").read_text("utf-8")
    write = site_module.write_text

    def fail(path, text):
        if path.name == "index.zh.html":
            raise StorageError("the disk is full")
        write(path, text)

    monkeypatch.setattr(site_module, "write_text", fail)
    site.now += pd.Timedelta("1min")
    with pytest.raises(StorageError):
        site.write()
    assert (site.folder / "index.html").read_text("utf-8") == before

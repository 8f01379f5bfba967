"""Pages are self-contained, escape text from users, and have messages in two languages."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from string import Formatter

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from kronos.errors import ParameterError
from kronos.plotting import svg
from kronos.reports import (
    Table,
    TableCell,
    TableColumn,
    TableRow,
    Translator,
    css_variables,
    linked_style,
    render,
    render_linked,
)
from kronos.reports.i18n import _read_messages

TABLE = Table(
    "<b>caption</b>",
    [TableColumn("who"), TableColumn("1", "over"), TableColumn("2", "over"), TableColumn("word", number=False)],
    [
        TableRow(
            "<i>nano</i>",
            [TableCell("0.1", best=True), TableCell("0.2", "0.1 to 0.3"), TableCell("worse", tone="bad")],
            "raw",
            "raw",
        ),
        TableRow(
            "walk", [TableCell("0.3"), TableCell("–"), TableCell("anything")], "reference", "reference", separator=True
        ),
    ],
    note="a note",
)


class ParsedPage(HTMLParser):
    """Tags, attributes and text of a page; its tags must be balanced."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Render a page with a table, a figure and some text."""
    from jinja2 import ChoiceLoader, DictLoader

    from kronos.reports import html as module

    source = (
        '{% extends "base.html" %}{% import "parts.html" as parts %}{% block body %}<p>{{ words }}</p>'
        "{{ parts.table(table, t) }}{{ parts.figures([picture]) }}{% endblock %}"
    )
    environment = module._environment().overlay(
        loader=ChoiceLoader([DictLoader({"one.html": source}), module._environment().loader])
    )
    monkeypatch.setattr(module, "_environment", lambda: environment)

    def make(words="", **more):
        content = {"words": words, "table": TABLE, "picture": Markup("<svg><title>p</title></svg>")}
        return render("one.html", content, title=more.pop("title", "a title"), **more)

    return make


def test_page_is_well_formed_and_self_contained(page):
    html = page("hello")
    parsed = ParsedPage(html)
    assert parsed.tags.count("table") == 1
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(parsed.tags)
    assert not [value for name, value in parsed.attributes if name in ("src", "style") or name.startswith("on")]
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert "url(" not in html


@pytest.mark.parametrize("look", ["auto", "light", "dark"])
def test_policy_allows_only_the_inline_style(page, look):
    html = page(look=look)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    [policy] = [value for name, value in ParsedPage(html).attributes if name == "content" and "src" in value]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "unsafe" not in policy
    assert ("prefers-color-scheme" in style) == (look == "auto")


def test_text_from_users_is_escaped(page):
    html = page("<script>alert(1)</script>", title="</title><script>")
    assert "<script" not in html
    words = "".join(ParsedPage(html).words)
    for text in ("<script>alert(1)</script>", "</title><script>", "<b>caption</b>", "<i>nano</i>"):
        assert text in words


def test_tables_mark_best_values_kinds_and_tones(page):
    html = page()
    assert re.search(r'<td class="number best">0.1<span class="hidden"> \(best\)</span></td>', html)
    assert '<span class="kind raw">raw</span>' in html
    assert '<span class="badge bad">worse</span>' in html
    assert '<th colspan="2" class="centre" scope="colgroup">over</th>' in html
    assert "<small>0.1 to 0.3</small>" in html


def test_every_page_has_a_disclaimer(page):
    assert "A forecast is not investment advice." in page()
    chinese = page(language="zh")
    assert "预测不构成投资建议。" in chinese
    assert '<html lang="zh-Hans"' in chinese


def test_both_languages_have_the_same_messages():
    english, chinese = _read_messages("en"), _read_messages("zh")
    assert list(english) == list(chinese)
    for name, sentence in english.items():
        places = [{field for _, field, _, _ in Formatter().parse(text) if field} for text in (sentence, chinese[name])]
        assert places[0] == places[1], name


def test_missing_message_or_value_raises():
    t = Translator("en")
    assert t("evaluation.dates", first="a", last="b") == "a to b"
    with pytest.raises(KeyError):
        t("evaluation.dates", first="a")
    with pytest.raises(KeyError):
        t("evaluation.no_such")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("palette", ["green-up", "red-up", "colour-blind"])
def test_pages_and_figures_have_the_same_colours(theme, palette):
    colors, figure_colors = css_variables(theme, palette), svg.css_variables(theme, palette)
    assert {name: colors[name] for name in figure_colors} == figure_colors


def luminance(color):
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("palette", ["green-up", "red-up", "colour-blind"])
def test_text_and_marks_have_enough_contrast(theme, palette):
    colors = css_variables(theme, palette)
    for ink, ground in (
        *((ink, ground) for ink in ("text", "muted", "good", "bad", "link") for ground in ("ground", "page")),
        *((ink, f"{ink}-ground") for ink in ("good", "bad", "neutral")),
        ("text", "notice-ground"),
        ("text", "best-ground"),
    ):
        assert contrast(colors[ink], colors[ground]) >= 4.5, (ink, ground)
    for place in range(1, 7):
        assert contrast(colors[f"hue-{place}"], colors["ground"]) >= 3, place


@pytest.mark.parametrize(
    ("option", "value"), [("language", "fr"), ("look", "sepia"), ("palette", "pastel"), ("look", "green-up")]
)
def test_unknown_options_raise(page, option, value):
    with pytest.raises(ParameterError, match=value):
        page(**{option: value})


def test_missing_template_variable_raises():
    with pytest.raises(UndefinedError):
        render("evaluation.html", {}, title="t")


# Sites ----------------------------------------------------------------------

LINKED = {"root": "../", "languages": [], "series": []}


def test_a_linked_page_allows_its_own_origin_and_nothing_inline():
    page = render_linked("live_base.html", LINKED, title="t", palette="red-up")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1]
    assert "default-src &#39;none&#39;" in policy
    assert "script-src &#39;self&#39;" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert 'data-palette="red-up"' in page
    assert '<link rel="stylesheet" href="../style.css">' in page
    assert "<style" not in page


def test_the_style_of_a_site_has_every_palette_in_both_themes():
    sheet = linked_style(".own { color: red }")
    for palette in ("green-up", "red-up", "colour-blind"):
        for theme in ("light", "dark"):
            assert f"--up: {css_variables(theme, palette)['up']}" in sheet
        assert f':root[data-palette="{palette}"][data-theme="dark"]' in sheet
    assert sheet.endswith(".own { color: red }")


def test_a_linked_page_needs_a_known_palette():
    with pytest.raises(ParameterError, match="palette"):
        render_linked("live_base.html", LINKED, title="t", palette="pink")

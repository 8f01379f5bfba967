"""The page at /docs: Swagger UI without other hosts and without inline scripts."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from kronos.serve.pages import docs_html
from serve.raw_http import get
from serve.servers import run_server, settings_in

KEY = "a-right-key-of-some-length"
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "connect-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
}
TYPES = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "docs.js": "text/javascript"}


class Parsed(HTMLParser):
    """A parsed page: title, tags, attributes, and the text of its scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.attributes, self.tags, self.inline, self.title, self._tag = [], [], "", "", ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self._tag = tag
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, _):
        self._tag = ""

    def handle_data(self, data):
        if self._tag in ("script", "style"):
            self.inline += data
        elif self._tag == "title":
            self.title += data

    def values(self, *names):
        return [value for name, value in self.attributes if name in names]


def policy(answer):
    parts = answer.headers["content-security-policy"].split("; ")
    return dict(part.split(" ", 1) for part in parts)


def assets(page):
    """Paths of the page's scripts and style sheets."""
    found = [value for value in Parsed(page).values("src", "href") if value.startswith("docs/")]
    return [f"/{value}" for value in found]


def test_the_page_has_a_title_and_an_element_for_swagger_ui(client):
    answer = client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Parsed(answer.text)
    assert page.title == "Kronos: reference"
    assert "swagger-ui" in page.values("id")
    assert page.tags.count("script") == 2


def test_the_page_has_no_inline_or_remote_resources(client):
    page = Parsed(client.get("/docs").text)
    assert page.inline == ""
    assert page.values("style") == []
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    loaded = page.values("src", "href")
    assert all(re.fullmatch(r"docs/[\w.-]+\?v=[0-9a-f]{12}|openapi\.json|data:,", item) for item in loaded), loaded


def test_only_the_page_may_run_scripts(client):
    page = client.get("/docs")
    assert policy(page) == POLICY
    for target in (*assets(page.text), "/openapi.json", "/health", "/docs/nothing"):
        assert "script-src" not in policy(client.get(target)), target


def test_assets_have_media_types_and_cache_headers(client):
    page = client.get("/docs").text
    targets = assets(page)
    assert len(targets) == len(TYPES)
    for target in targets:
        answer = client.get(target)
        name = target.partition("?")[0].removeprefix("/docs/")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == f"{TYPES[name]}; charset=utf-8"
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_asset_addresses_change_only_with_their_content(client):
    page = client.get("/docs").text
    assert len({target.partition("?")[2] for target in assets(page)}) == len(TYPES)
    assert assets(docs_html("Another title")) == assets(page)


def test_the_style_sheet_loads_no_resources(client):
    css = client.get("/docs/swagger-ui.css").text
    assert "@import" not in css
    assert "@font-face" not in css
    loaded = re.findall(r"url\(\s*[\"']?([^)\"']*)", css)
    assert loaded
    assert all(item.startswith("data:") for item in loaded)


def test_swagger_ui_loads_this_servers_document_without_a_validator(client):
    script = client.get("/docs/docs.js").text
    assert re.search(r'\burl: "openapi\.json"', script)
    assert "validatorUrl: null" in script
    assert not re.search(r"https?://|[\"']//", script)
    assert client.get("/openapi.json").json()["info"]["title"] == "Kronos"
    assert "SwaggerUIBundle" in client.get("/docs/swagger-ui-bundle.js").text


@pytest.mark.parametrize("name", ["nothing.js", "redoc.standalone.js", "..%2fcore.py", "docs.html", ""])
def test_no_other_file_is_served(client, name):
    answer = client.get(f"/docs/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"


def test_titles_are_escaped():
    page = docs_html("<script>alert(1)</script>")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;: reference" in page
    assert Parsed(page).inline == ""


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    """A server with an API key."""
    with run_server(settings_in(tmp_path_factory.mktemp("keyed"), api_keys=KEY)) as server:
        yield server


@pytest.mark.parametrize("target", ["/docs", *(f"/docs/{name}" for name in TYPES), "/docs/nothing"])
def test_the_page_and_its_assets_need_a_key_if_configured(keyed, target):
    assert get(keyed.address, target).status == 401
    expected = 404 if target == "/docs/nothing" else 200
    assert get(keyed.address, target, b"X-API-Key: " + KEY.encode()).status == expected


@pytest.mark.parametrize("target", ["/docs", *(f"/docs/{name}" for name in TYPES)])
def test_host_and_origin_are_checked_for_assets(live, target):
    link = (b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document")
    assert get(live.address, target, *link).status == 200
    assert get(live.address, target, *link, method="POST").status == 403
    assert get(live.address, target, b"Origin: http://evil.example").status == 403
    with live.client(headers={"Host": "evil.example"}) as client:
        assert client.get(target).status_code == 421

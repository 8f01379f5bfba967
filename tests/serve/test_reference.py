"""The reference page names everything in the OpenAPI document, loads nothing from elsewhere, and escapes it all."""

import shlex
from collections.abc import AsyncIterable
from enum import StrEnum
from html.parser import HTMLParser
from itertools import pairwise
from typing import Annotated, Literal

import pytest
from fastapi import Cookie, Depends, FastAPI, Form, Header, Path, Query, UploadFile
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel, Field

from kronos.serve.reference import STYLESHEET, reference_css, reference_html
from kronos.serve.reference_schemas import Schemas

VOID = {"meta", "link", "br"}


class Parsed(HTMLParser):
    """What is in a page: tags balanced, attributes, headings, the words of articles."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.articles = [], [], [], {}
        self.words = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "article":
            self.article = dict(attrs)["id"]
            self.articles[self.article] = ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if "article" in self.open:
            self.articles[self.article] += data

    def values(self, name):
        return [value for key, value in self.attributes if key == name]


class Side(StrEnum):
    buy = "buy"
    sell = "sell"


class Node(BaseModel):
    """A tree, which contains itself."""

    name: str = Field(description="What it is called, as in `name`.")
    children: list["Node"] = []


class Candle(BaseModel):
    close: float


class Order(BaseModel):
    symbol: str
    interval: Literal["1h", "1d"] = "1h"
    count: Annotated[int, Field(ge=1, le=512)] = 24
    share: Annotated[float, Field(gt=0, lt=1)]
    pair: tuple[float, int]
    maybe: Annotated[str, Field(max_length=9, pattern="^[a-z]+$")] | None = None
    side: Side = Side.buy
    tree: Node | None = None
    either: Node | Candle | None = None
    extra: dict[str, Candle] = {}


def make():
    app = FastAPI(title="Small", version="7.8", description="What it is.\n\nWith `code`.")
    levels = Annotated[list[float], Query(description="Levels <b>between</b> 0 and 1.")]

    @app.post("/orders", tags=["Orders"], dependencies=[Depends(APIKeyHeader(name="X-API-Key"))])
    def place(order: Order, trace: Annotated[str | None, Header()] = None) -> Node:
        """Place it.

        It stays until `cancel`.
        """

    @app.get("/orders/{number}", tags=["Orders"], responses={404: {"model": Candle, "description": "There is none."}})
    def look(
        number: Annotated[int, Path(ge=1)],
        wanted: Annotated[str, Query(examples=["a b&c"])],
        session: Annotated[str, Cookie()],
        levels: levels = [0.1, 0.9],  # noqa: B006
    ) -> list[tuple[str, float]]: ...

    @app.get("/events", response_class=EventSourceResponse, deprecated=True)
    async def events() -> AsyncIterable[Candle]:
        yield Candle(close=1.0)

    @app.post("/files", tags=["Files"])
    def upload(file: UploadFile, note: Annotated[str, Form()], more: list[UploadFile] = []) -> None:  # noqa: B006
        """Send a file."""

    @app.get(
        "/odd", tags=["<script>tag</script>"], summary="<script>alert(1)</script>", description="It`s odd & <i>so</i>"
    )
    def odd(value: Annotated[str, Query(alias="<script>name</script>", description="<script>x</script>")] = "<s>"): ...

    @app.get("/plain", response_class=EventSourceResponse, dependencies=[Depends(HTTPBearer())])
    async def plain():
        yield 1

    return app


@pytest.fixture(scope="module")
def page():
    return reference_html(make().openapi(), "kronos-nano")


@pytest.fixture(scope="module")
def parsed(page):
    return Parsed(page)


def test_every_operation_is_in_the_contents_and_on_the_page(parsed):
    orders, others = ["post-orders", "get-orders-number"], ["get-events", "get-plain"]
    assert list(parsed.articles) == [*orders, *others, "post-files", "get-odd"]
    assert {f"#{name}" for name in parsed.articles} <= set(parsed.values("href"))
    words = "".join(parsed.words)
    for word in ("Small · kronos-nano", "Version 7.8", "What it is.", "Orders", "Files", "Other"):
        assert word in words


def test_parameters_say_where_type_range_default_and_meaning(parsed):
    words = parsed.articles["get-orders-number"]
    for word in ("number", "path", "integer", "≥ 1", "wanted", "query", "session", "cookie"):
        assert word in words
    assert "list of number" in words
    assert "[0.1, 0.9]" in words
    assert "Levels <b>between</b> 0 and 1." in words
    assert "string or null" in parsed.articles["post-orders"]
    assert "header" in parsed.articles["post-orders"]


def test_fields_of_bodies_are_told_down_to_the_leaves(parsed):
    words = parsed.articles["post-orders"]
    for name in ("symbol", "interval", "count", "share", "pair", "maybe", "side", "tree.name", "extra.{name}.close"):
        assert name in words
    for told in ('"1h" | "1d"', "1 to 512", "> 0; < 1", "[number, integer]", '"buy" | "sell"', "map of Candle"):
        assert told in words
    assert "≤ 9 characters" in words
    assert 'matches "^[a-z]+$"' in words
    assert "list of Node" in words  # where it comes again it is named
    assert "tree.children[]" not in words
    assert "either (Node).name" in words
    assert "either (Candle).close" in words
    assert "Node or Candle or null" in words
    assert "It stays until cancel." in words


def test_responses_and_errors_are_told_by_status(parsed):
    words = parsed.articles["get-orders-number"]
    assert "list of [string, number]" in words
    assert words.index("Responses") < words.index("200") < words.index("Errors") < words.index("404")
    assert "There is none." in words
    assert "close" in words
    assert "422" in words
    assert "detail[].loc" in words


def test_streams_say_what_each_event_holds(parsed):
    words = parsed.articles["get-events"]
    for told in ("text/event-stream: stream of object", "string: JSON of Candle", "data.close", "deprecated"):
        assert told in words
    assert "curl -N http" in words


def test_uploads_are_forms_with_files(parsed):
    words = parsed.articles["post-files"]
    for told in ("multipart/form-data: form", "file", "list of file", "note"):
        assert told in words


def curl(parsed, name):
    """The words of the curl line, as a shell would cut them."""
    return shlex.split(parsed.articles[name].split("With curl")[1])


def test_curl_lines_give_what_is_required_and_survive_a_shell(parsed):
    here = "http://127.0.0.1:5000"
    assert curl(parsed, "get-orders-number") == ["curl", f"{here}/orders/1?wanted=a+b%26c", "-b", "session=text"]
    assert curl(parsed, "post-files") == [
        *("curl", "-X", "POST", f"{here}/files", "-F", "file=@FILE", "-F", "note=text"),
    ]
    place = curl(parsed, "post-orders")
    assert place[:6] == ["curl", "-X", "POST", f"{here}/orders", "-H", "X-API-Key: KEY"]
    assert Order.model_validate_json(place[-1]) == Order(symbol="text", share=0.5, pair=(1, 1))
    assert "Authorization: Bearer KEY" in curl(parsed, "get-plain")


def test_keys_that_are_needed_are_named(parsed):
    assert "Needs a key: header X-API-Key" in parsed.articles["post-orders"]
    assert "Needs a key: header Authorization: Bearer" in parsed.articles["get-plain"]
    assert "Needs a key" not in parsed.articles["get-events"]


def test_a_server_of_the_document_is_used():
    app = make()
    app.servers = [{"url": "https://api.example/v1/"}]
    assert "curl -N https://api.example/v1/events" in reference_html(app.openapi())
    app = make()
    app.servers = [{"url": "/v1"}]
    assert "http://127.0.0.1:5000/v1/events" in reference_html(app.openapi())


def test_names_are_escaped(page, parsed):
    assert "script" not in parsed.tags
    assert not {"b", "i", "s"} & set(parsed.tags)
    for text in ("tag", "alert(1)", "name", "x"):
        assert f"&lt;script&gt;{text}&lt;/script&gt;" in page
    assert "It`s odd & <i>so</i>" in parsed.articles["get-odd"]  # one backtick is none


def test_nothing_is_loaded_but_the_style_sheet(page, parsed):
    assert not {"script", "style", "img", "iframe", "object", "form"} & set(parsed.tags)
    assert parsed.values("src") == []
    assert all(value.startswith("#") or value in (STYLESHEET, "openapi.json") for value in parsed.values("href"))
    assert parsed.values("rel") == ["stylesheet"]
    assert parsed.values("style") == []
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    for loads in ("url(", "@import", "http"):
        assert loads not in reference_css()


def test_the_page_can_be_walked_by_landmarks_headings_and_links(parsed):
    for landmark in ("header", "nav", "main", "footer"):
        assert parsed.tags.count(landmark) == 1
    levels = [int(tag[1]) for tag in parsed.tags if tag in ("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    places = parsed.values("id")
    assert len(set(places)) == len(places)
    assert {value[1:] for value in parsed.values("href") if value.startswith("#")} <= set(places)
    assert set(parsed.values("aria-labelledby")) <= set(places)
    assert parsed.tags.count("caption") == parsed.tags.count("table") == parsed.values("role").count("region")


def test_paths_that_differ_by_a_mark_have_places_of_their_own():
    app = FastAPI()
    for path in ("/a-b", "/a/b", "/a/b/title"):
        app.get(path, operation_id=path)(lambda: None)
    found = Parsed(reference_html(app.openapi()))
    assert len(found.articles) == 3
    assert len(set(found.values("id"))) == len(found.values("id"))


def test_the_style_follows_the_readers_system():
    css = reference_css()
    assert css.startswith(":root { color-scheme: light dark;")
    assert "@media (prefers-color-scheme: dark)" in css
    defined = {part.split(":")[0] for part in css.split("--")[1:]}
    used = {part.split(")")[0] for part in css.split("var(--")[1:]}
    assert used <= defined


def test_a_document_that_says_little_is_a_page_too():
    assert Parsed(reference_html({})).articles == {}
    bare = {"paths": {"/x": {"get": {}}}}
    assert list(Parsed(reference_html(bare)).articles) == ["get-x"]


SELF = {
    "components": {
        "schemas": {
            "Json": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/components/schemas/Json"}}]},
            "Circle": {"$ref": "#/components/schemas/Circle"},
            "All": {"allOf": [{"$ref": "#/components/schemas/All"}], "properties": {"a": {"type": "integer"}}},
            "a/b": {"type": "integer"},
            "Base": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
            "More": {"allOf": [{"$ref": "#/components/schemas/Base"}], "properties": {"x": {"type": "null"}}},
        }
    }
}


@pytest.mark.parametrize(
    ("name", "told", "fields"),
    [
        ("Json", "string or list of Json", []),
        ("Circle", "anything", []),
        ("All", "All", ["a"]),
        ("a~1b", "integer", []),
        ("More", "More", ["id", "x"]),
        ("Nowhere", "anything", []),
    ],
)
def test_references_are_followed_once(name, told, fields):
    schemas = Schemas(SELF)
    schema = {"$ref": f"#/components/schemas/{name}"}
    assert schemas.type(schema) == told
    assert [one.name for one in schemas.fields(schema)] == fields
    assert schemas.field("x", schema, required=True).limits == ""
    schemas.example(schema)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": ["string", "null"]}, "string or null"),
        ({"type": "string", "format": "date-time"}, "string (date-time)"),
        ({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "list of (string or null)"),
        ({"type": "array"}, "list"),
        ({"properties": {}}, "object"),
        ({"items": {"type": "integer"}}, "list of integer"),
        ({"type": "string", "format": "binary"}, "file"),
        (True, "anything"),
    ],
)
def test_types_in_words(schema, told):
    assert Schemas({}).type(schema) == told


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "minimum": 5, "maximum": 10}, 5),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "integer", "exclusiveMinimum": 1}, 2),
        ({"type": "number", "maximum": -3}, -3),
        ({"type": "boolean"}, True),
        ({"type": "string", "format": "date"}, "2024-01-31"),
        ({"type": "string", "examples": ["BTC"]}, "BTC"),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": 3}, 3),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"type": ["null", "string"]}, None),
    ],
)
def test_examples_fit(schema, value):
    assert Schemas({}).example(schema) == value

"""The reference of the API as one page, made from its OpenAPI document; it loads a style sheet and nothing else.

FastAPI's own page loads Swagger UI from a CDN, which a machine without network cannot and a strict
content-security policy must not. This one has no script and no inline style: ``default-src 'none'; style-src 'self'``
suffices. All words of the document are escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from kronos.reports import css_variables
from kronos.serve.reference_curl import FORMS, curl_line
from kronos.serve.reference_schemas import Field, Schemas

STYLESHEET = "docs.css"  # where the page looks for `reference_css`, beside itself: behind a proxy's prefix too

_METHODS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")


@dataclass(frozen=True)
class Content:
    """A body of one media type: its type in words, and its fields where it is an object."""

    media: str
    type: str
    fields: list[Field]


@dataclass(frozen=True)
class Reply:
    """What comes back under one status."""

    status: str
    description: str
    contents: list[Content]
    headers: list[Field]


@dataclass(frozen=True)
class Operation:
    """One method of one path; its ``anchor`` is unique on the page."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    deprecated: bool
    keys: list[str]
    parameters: list[Field]
    body: list[Content]
    body_required: bool
    replies: list[Reply]
    errors: list[Reply]
    curl: str


@dataclass(frozen=True)
class Group:
    """The operations of one tag."""

    anchor: str
    name: str
    description: str
    operations: list[Operation]


def reference_html(openapi: dict[str, Any], title_extra: str = "") -> str:
    """Make the reference page.

    Args:
        openapi: The document, as ``app.openapi()`` gives it.
        title_extra: What follows the API's title, such as the name of the model it serves.

    Returns:
        The whole page; it loads `STYLESHEET`, which is `reference_css`.
    """
    info = openapi.get("info", {})
    page = _environment().get_template("reference.html")
    title = " · ".join(part for part in (info.get("title", "API"), title_extra) if part)
    made = page.render(
        title=title,
        version=info.get("version", ""),
        description=info.get("description", ""),
        groups=_groups(openapi),
        stylesheet=STYLESHEET,
    )
    return re.sub(r"\n[ \t]*(?=\n)", "", made) + "\n"  # without the empty lines that templates leave


def reference_css() -> str:
    """The style sheet of `reference_html`: the colours of reports, light or dark as the reader's system is."""
    light, dark = (
        " ".join(f"--{name}: {value};" for name, value in css_variables(theme).items()) for theme in ("light", "dark")
    )
    sheet = (resources.files("kronos.serve") / "templates" / "reference.css").read_text("utf-8")
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{sheet}"
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("kronos.serve"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["paragraphs"] = _paragraphs
    return environment


def _paragraphs(text: str) -> list[list[str]]:
    """Paragraphs of a description, each cut at its backticks if they come in pairs: every second piece is code."""
    parts = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    cut = [re.split(r"`+", part) for part in parts]
    return [pieces if len(pieces) % 2 else [part] for part, pieces in zip(parts, cut, strict=True)]


# Operations ------------------------------------------------------------


def _groups(openapi: Mapping[str, Any]) -> list[Group]:
    """All operations by their first tag: tags in the document's order, then as they come."""
    described = {tag["name"]: tag.get("description", "") for tag in openapi.get("tags", [])}
    schemas, anchors = Schemas(openapi), _Anchors()
    members: dict[str, list[Operation]] = {name: [] for name in described}
    for path, item in openapi.get("paths", {}).items():
        for method in (method for method in _METHODS if method in item):
            told = {**item[method], "parameters": [*item.get("parameters", []), *item[method].get("parameters", [])]}
            tag = (told.get("tags") or ["Other"])[0]
            anchor = anchors.take(f"{method} {path}")
            members.setdefault(tag, []).append(_operation(openapi, schemas, anchor, method, path, told))
    return [
        Group(anchors.take(f"group {name}"), name, described.get(name, ""), operations)
        for name, operations in members.items()
        if operations
    ]


class _Anchors:
    """Names of places on the page, each given once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, text: str) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "place"
        count, anchor = 1, slug
        while anchor in self._taken:
            count += 1
            anchor = f"{slug}-{count}"
        self._taken.add(anchor)
        return anchor


def _operation(
    openapi: Mapping[str, Any], schemas: Schemas, anchor: str, method: str, path: str, told: Mapping[str, Any]
) -> Operation:
    parameters = [schemas.resolve(parameter) for parameter in told["parameters"]]
    body = schemas.resolve(told.get("requestBody", {}))
    replies = [_reply(schemas, str(status), reply) for status, reply in told.get("responses", {}).items()]
    security = _keys(openapi, told)
    return Operation(
        anchor=anchor,
        method=method.upper(),
        path=path,
        summary=told.get("summary", ""),
        description=told.get("description", ""),
        deprecated=bool(told.get("deprecated")),
        keys=[name for name, _ in security],
        parameters=[_parameter(schemas, one) for one in parameters],
        body=[_content(schemas, *one) for one in body.get("content", {}).items()],
        body_required=bool(body.get("required")),
        replies=[reply for reply in replies if reply.status[0] in "123"],
        errors=[reply for reply in replies if reply.status[0] not in "123"],
        curl=curl_line(openapi, method, path, told, [key for _, key in security]),
    )


def _parameter(schemas: Schemas, one: Mapping[str, Any]) -> Field:
    words = {"where": one["in"], "description": one.get("description", "")}
    return schemas.field(one["name"], one.get("schema", {}), required=bool(one.get("required")), **words)


def _content(schemas: Schemas, media: str, told: Mapping[str, Any]) -> Content:
    """A body in words; a stream's schema is that of each of its items."""
    item = told.get("itemSchema")
    schema = item if item is not None else told.get("schema")
    if schema is None:
        return Content(media, "", [])
    kind = "form" if media in FORMS else schemas.type(schema)  # the name of a form's type is FastAPI's own invention
    return Content(media, f"stream of {kind}" if item is not None else kind, schemas.fields(schema))


def _reply(schemas: Schemas, status: str, told: Any) -> Reply:
    reply = schemas.resolve(told)
    headers = {name: schemas.resolve(header) for name, header in reply.get("headers", {}).items()}
    return Reply(
        status=status,
        description=reply.get("description", ""),
        contents=[_content(schemas, *one) for one in reply.get("content", {}).items()],
        headers=[_parameter(schemas, {"name": name, "in": "header", **header}) for name, header in headers.items()],
    )


def _keys(openapi: Mapping[str, Any], told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The keys that one way of being let in needs: each in words, and as curl's header."""
    schemes = openapi.get("components", {}).get("securitySchemes", {})
    ways = told.get("security", openapi.get("security")) or [{}]
    found = []
    for name in ways[0]:
        scheme = schemes.get(name, {})
        if scheme.get("type") == "apiKey" and scheme.get("in") == "header":
            found.append((f"header {scheme['name']}", f"{scheme['name']}: KEY"))
        else:
            kind = str(scheme.get("scheme", "bearer")).capitalize()
            found.append((f"header Authorization: {kind}", f"Authorization: {kind} KEY"))
    return found

"""One line for curl that calls an operation of an OpenAPI document, with examples for what is required."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from kronos.serve.reference_schemas import Schemas

FORMS = {"multipart/form-data": "-F", "application/x-www-form-urlencoded": "--data-urlencode"}  # and curl's options

_HERE = "http://127.0.0.1:5000"  # where the document names no server: the default address of ``kronos serve``
_STREAM = "text/event-stream"


def curl_line(
    openapi: Mapping[str, Any], method: str, path: str, told: Mapping[str, Any], keys: Iterable[str] = ()
) -> str:
    """Write the line, quoted for a shell.

    Args:
        openapi: The document.
        method: In small letters.
        path: As the document has it, with its parameters in braces.
        told: The operation, with the parameters of its path.
        keys: Headers that let the caller in, such as ``X-API-Key: KEY``.
    """
    schemas = Schemas(openapi)
    values = _required(schemas, told)
    url = _server(openapi) + path
    for name, value in values.get("path", []):
        url = url.replace(f"{{{name}}}", quote(_text(value), safe=""))
    if pairs := [(name, one) for name, value in values.get("query", []) for one in _texts(value)]:
        url = f"{url}?{urlencode(pairs)}"
    words = {"get": [], "head": ["-I"]}.get(method, ["-X", method.upper()])
    replies = (schemas.resolve(reply) for reply in told.get("responses", {}).values())
    if any(_STREAM in reply.get("content", {}) for reply in replies):
        words.append("-N")  # shows events as they come
    words.append(url)
    for header in (*keys, *(f"{name}: {_text(value)}" for name, value in values.get("header", []))):
        words += ["-H", header]
    for name, value in values.get("cookie", []):
        words += ["-b", f"{name}={_text(value)}"]
    return shlex.join(["curl", *words, *_body(schemas, told)])


def _server(openapi: Mapping[str, Any]) -> str:
    """Where the API is: the document's first server, a bare path being one on this machine."""
    url = str((openapi.get("servers") or [{}])[0].get("url", "")).rstrip("/")
    return url if "://" in url else _HERE + url


def _required(schemas: Schemas, told: Mapping[str, Any]) -> dict[str, list[tuple[str, Any]]]:
    """Names and examples of the parameters that have to be given, by where they stand."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for one in (schemas.resolve(parameter) for parameter in told.get("parameters", [])):
        if one.get("required"):
            found.setdefault(one["in"], []).append((one["name"], _example(schemas, one)))
    return found


def _example(schemas: Schemas, told: Mapping[str, Any]) -> Any:
    """The example given with a parameter or a body, else one of its schema."""
    given = [told["example"]] if "example" in told else []
    given += [example["value"] for example in map(schemas.resolve, told.get("examples", {}).values())]
    return given[0] if given else schemas.example(told.get("schema", {}))


def _body(schemas: Schemas, told: Mapping[str, Any]) -> list[str]:
    """Curl's options for an example of the body, if there is one."""
    contents = schemas.resolve(told.get("requestBody", {})).get("content", {})
    if not contents:
        return []
    media, content = next(iter(contents.items()))
    value = _example(schemas, content)
    if media in FORMS and isinstance(value, dict):
        files = {field.name for field in schemas.fields(content.get("schema", {})) if "file" in field.type.split()}
        pairs = [
            (name, one) for name, given in value.items() for one in (["@FILE"] if name in files else _texts(given))
        ]
        return [word for name, one in pairs for word in (FORMS[media], f"{name}={one}")]
    if media == "application/json" or media.endswith("+json"):
        return ["-H", f"Content-Type: {media}", "-d", json.dumps(value, ensure_ascii=False)]
    return ["-H", f"Content-Type: {media}", "--data-binary", "@FILE"]


def _texts(value: Any) -> list[str]:
    """A list's values each by itself, as addresses and forms repeat them."""
    return [_text(one) for one in (value if isinstance(value, list) else [value])]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

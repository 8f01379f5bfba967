"""JSON schemas of an OpenAPI document in words: types, ranges, fields, examples.

References are followed, and followed once only: a schema that contains itself is named where it comes again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]
Seen = frozenset[str]  # references on the way from the top to here

_NONE: Seen = frozenset()


@dataclass(frozen=True)
class Field:
    """A parameter, a header, or a field of a body.

    Attributes:
        name: Its name; inside others ``book.bids[].price``, and ``{name}`` for any key.
        type: Such as ``list of number``.
        required: Whether it has to be given, or always comes.
        limits: What its values are confined to; empty if nothing.
        default: What holds if it is not given, as JSON; empty if nothing.
        description: In words; may be empty.
        where: ``path``, ``query``, ``header`` or ``cookie`` of a parameter; else empty.
    """

    name: str
    type: str
    required: bool
    limits: str = ""
    default: str = ""
    description: str = ""
    where: str = ""


class Schemas:
    """Reads the schemas of one OpenAPI document."""

    def __init__(self, document: Schema) -> None:
        self._document = document

    def resolve(self, schema: Any, seen: Seen = _NONE) -> dict[str, Any]:
        """The schema itself: references followed, ``allOf`` joined; empty if there is none.

        ``$from`` keeps the last reference followed. What stands beside a reference wins over what it refers to.
        """
        found = dict(schema) if isinstance(schema, Mapping) else {}
        while (reference := found.pop("$ref", None)) is not None and reference not in seen:
            seen |= {reference}
            found = {**self._at(reference), **found, "$from": reference}
        for part in found.pop("allOf", []):
            other = self.resolve(part, seen)
            both = {
                "properties": {**other.get("properties", {}), **found.get("properties", {})},
                "required": [*other.get("required", []), *found.get("required", [])],
            }
            found = {**other, **found, **{name: value for name, value in both.items() if value}}
        return found

    def field(self, name: str, schema: Any, *, required: bool, where: str = "", description: str = "") -> Field:
        """One field in words. The description of a type that it refers to is not its own."""
        own = schema.get("description", "") if isinstance(schema, Mapping) else ""
        node = self.resolve(schema)
        default = _json(node["default"]) if "default" in node else ""
        limits = "; ".join(dict.fromkeys(self._limits(schema, _NONE)))
        return Field(name, self.type(schema), required, limits, default, description or own, where)

    def fields(self, schema: Any, prefix: str = "", seen: Seen = _NONE) -> list[Field]:
        """All fields of an object, those inside others too; none for what has no fields."""
        node = self.resolve(schema)
        if node.get("$from") in seen:
            return []
        inner = _with(seen, node)
        if variants := _variants(node):
            found = {position: self.fields(variant, prefix, inner) for position, variant in enumerate(variants)}
            telling = [variants[position] for position, rows in found.items() if rows]
            if len(telling) > 1:  # fields of several types: each says whose it is
                names = [f"{prefix} ({self.type(variant)})".lstrip() for variant in telling]
                pairs = zip(telling, names, strict=True)
                return [row for variant, name in pairs for row in self.fields(variant, name, inner)]
            return [row for rows in found.values() for row in rows]
        rows = []
        required = node.get("required", [])
        for key, value in node.get("properties", {}).items():
            name = f"{prefix}.{key}" if prefix else key
            rows += [self.field(name, value, required=key in required), *self.fields(value, name, inner)]
        for place, part in _parts(node):
            rows += self.fields(part, f"{prefix}{place}".lstrip("."), inner)
        return rows

    def type(self, schema: Any, seen: Seen = _NONE) -> str:
        """The type in words: ``integer or null``, ``list of Candle``, ``[string, number]``."""
        node = self.resolve(schema)
        if node.get("$from") in seen:
            return _name(node)
        inner = _with(seen, node)
        kinds = node.get("type", [])
        if variants := _variants(node):
            words = [self.type(variant, inner) for variant in variants]
        else:
            words = [self._kind(kind, node, inner) for kind in ([kinds] if isinstance(kinds, str) else kinds)]
        words = list(dict.fromkeys(words or [self._kind(_implied(node), node, inner)]))
        return " or ".join([word for word in words if word != "null"] + ["null"] * ("null" in words))

    def example(self, schema: Any, seen: Seen = _NONE) -> Any:
        """A value that fits: the schema's own example or default, else the least that is allowed."""
        node = self.resolve(schema)
        given = [*node.get("examples", []), *(node[key] for key in ("example", "const", "default") if key in node)]
        if given or node.get("enum"):
            return given[0] if given else node["enum"][0]
        if node.get("$from") in seen:
            return None
        inner = _with(seen, node)
        if variants := _variants(node):
            return self.example(variants[0], inner)
        kind = node.get("type") or _implied(node)
        kind = kind if isinstance(kind, str) else kind[0]
        if kind == "object":
            wanted = [key for key in node.get("properties", {}) if key in node.get("required", [])]
            return {key: self.example(node["properties"][key], inner) for key in wanted}
        if kind == "array":
            items = node.get("prefixItems") or [node.get("items", {})] * max(1, node.get("minItems", 1))
            return [self.example(item, inner) for item in items]
        return _scalar(kind, node)

    def _at(self, reference: str) -> dict[str, Any]:
        """What a reference inside the document points to; nothing if it points elsewhere."""
        found: Any = self._document
        for part in reference.removeprefix("#/").split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
        return dict(found) if isinstance(found, Mapping) else {}

    def _kind(self, kind: str, node: Schema, seen: Seen) -> str:
        """One of the types of a schema without variants, in words."""
        if kind == "array":
            if "prefixItems" in node:
                return f"[{', '.join(self.type(part, seen) for part in node['prefixItems'])}]"
            item = self.type(node["items"], seen) if node.get("items") else ""
            return f"list of ({item})" if " or " in item else f"list of {item}" if item else "list"
        if kind == "object":
            if "properties" not in node and isinstance(node.get("additionalProperties"), Mapping):
                return f"map of {self.type(node['additionalProperties'], seen)}"
            return _name(node) if "$from" in node else "object"
        if kind == "string":
            if node.get("format") == "binary" or node.get("contentMediaType") == "application/octet-stream":
                return "file"
            if "contentSchema" in node:
                return f"string: JSON of {self.type(node['contentSchema'], seen)}"
        return f"{kind} ({node['format']})" if "format" in node else kind

    def _limits(self, schema: Any, seen: Seen) -> list[str]:
        """What the values are confined to, one entry each."""
        node = self.resolve(schema)
        if node.get("$from") in seen:
            return []
        inner = _with(seen, node)
        found = [limit for variant in _variants(node) for limit in self._limits(variant, inner)]
        if "enum" in node or "const" in node:
            found.append(" | ".join(_json(value) for value in node.get("enum", [node.get("const")])))
        found += _span(node.get("minimum"), node.get("maximum"))
        found += [f"{sign} {_json(node[key])}" for key, sign in _SIGNS.items() if key in node]
        found += _span(node.get("minLength"), node.get("maxLength"), " characters")
        found += _span(node.get("minItems"), node.get("maxItems"), " items")
        if "items" in node:
            found += [f"each {limit}" for limit in self._limits(node["items"], inner)]
        return found


_SIGNS = {"exclusiveMinimum": ">", "exclusiveMaximum": "<", "multipleOf": "multiple of", "pattern": "matches"}


def _variants(node: Schema) -> list[Any]:
    return list(node.get("anyOf") or node.get("oneOf") or [])


def _parts(node: Schema) -> Iterable[tuple[str, Any]]:
    """What an array, a map, or a text that holds JSON consists of, and how its place is written."""
    yield from ((f"[{place}]", part) for place, part in enumerate(node.get("prefixItems", [])))
    yield from ((place, node[key]) for key, place in _PLACES.items() if isinstance(node.get(key), Mapping))


_PLACES = {"items": "[]", "additionalProperties": ".{name}", "contentSchema": ""}


def _with(seen: Seen, node: Schema) -> Seen:
    return seen | {node["$from"]} if "$from" in node else seen


def _name(node: Schema) -> str:
    """The name of a type; pydantic tells what a type takes and what it gives apart by an ending."""
    return str(node["$from"]).rsplit("/", 1)[-1].removesuffix("-Input").removesuffix("-Output")


def _implied(node: Schema) -> str:
    """The type of a schema that names none."""
    if "properties" in node or "additionalProperties" in node:
        return "object"
    return "array" if "items" in node or "prefixItems" in node else "anything"


def _span(low: float | None, high: float | None, unit: str = "") -> list[str]:
    """A range in words, of ends that belong to it."""
    if low is None and high is None:
        return []
    if low is None or high is None:
        return [f"≤ {_json(high)}{unit}" if low is None else f"≥ {_json(low)}{unit}"]
    return [f"{_json(low)}{unit}" if low == high else f"{_json(low)} to {_json(high)}{unit}"]


def _scalar(kind: str, node: Schema) -> Any:
    """A value of a plain type."""
    if kind in ("integer", "number"):
        return _number(kind, node)
    texts = {"date-time": "2024-01-31T09:30:00Z", "date": "2024-01-31"}
    return {"boolean": True, "null": None}.get(kind, texts.get(node.get("format", ""), "text"))


def _number(kind: str, node: Schema) -> float:
    """A number inside the range: 1, an end that belongs to it, or one between or beside its ends."""
    least, most = node.get("minimum", float("-inf")), node.get("maximum", float("inf"))
    above, below = node.get("exclusiveMinimum", float("-inf")), node.get("exclusiveMaximum", float("inf"))
    low, high = max(least, above), min(most, below)
    for value in (1, low, high, low + 1, high - 1, (low + high) / 2):
        if least <= value <= most and above < value < below and abs(value) != float("inf"):
            return int(value) if kind == "integer" else value
    return 1


def _json(value: Any) -> str:
    """JSON in one line; 512, not 512.0, as schemas write the ends of ranges of whole numbers."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)

"""Inline SVG of a figure for an HTML page: it inherits the fonts and colours of the page, and is accessible.

- Colours of the style become CSS variables (``--text``, ``--ground``, ``--hue-1`` …) with the figure's own colours as
  fallbacks: one SVG works on the light and the dark page.
- Text stays text, in the font of the page. There is no style sheet and no style attribute, for a strict content
  security policy, and ids have a prefix, as a page has several figures.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import matplotlib as mpl

from kronos.plotting.style import Palette, Theme, hues, make_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOCK = threading.Lock()  # matplotlib's settings are global
_SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "kronos"}
_REMOVED_TAGS = {"metadata", "style"}
_REFERENCES = re.compile(r"url\(#([^)]+)\)")
_NUMBERS = re.compile(r"-?\d+\.\d+")
_NO_ROTATION = re.compile(r"rotate\(-?0(\.0*)?[ ,]")
_COLORED = ("fill", "stroke")


def inline_svg(
    figure: Figure,
    key: str,
    title: str,
    description: str = "",
    *,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> str:
    """Convert a figure to SVG for an HTML page.

    Args:
        figure: A figure of this package.
        key: Prefix of ids, unique on the page; letters, digits and hyphens.
        title: Accessible name.
        description: Accessible description; may be empty.
        theme: Theme of the figure, whose colours become variables.
        palette: Palette of the figure.
    """
    root = ElementTree.fromstring(_render(figure))
    for parent in root.iter():
        for child in [child for child in parent if _local(child.tag) in _REMOVED_TAGS]:
            parent.remove(child)
    colors = css_variables(theme, palette)
    variables = {value: f"var(--{name}, {value})" for name, value in reversed(colors.items())}
    used = set(_REFERENCES.findall(" ".join(v for e in root.iter() for v in e.attrib.values())))
    used |= {v[1:] for e in root.iter() for k, v in e.attrib.items() if _local(k) == "href"}
    for element in root.iter():
        _simplify(element, key, used, variables)
    _flatten(root)
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update(
        {"viewBox": box, "role": "img", "aria-label": _printable(title), "stroke-linejoin": "round", "class": "picture"}
    )
    texts = [("title", title), *([("desc", description)] if description else [])]
    for i, (tag, text) in enumerate(texts):
        element = ElementTree.Element(tag)
        element.text = _printable(text)
        root.insert(i, element)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def css_variables(theme: Theme, palette: Palette) -> dict[str, str]:
    """Return the names and values of the colours that become CSS variables.

    Raises:
        ParameterError: If either is unknown.
    """
    style = make_style(theme, palette)
    colors = {
        "ground": style.ground,
        "grid": style.grid,
        "text": style.text,
        "muted": style.muted,
        "up": style.up,
        "down": style.down,
        "forecast": style.forecast,
        "warning": style.warning,
    }
    return colors | {f"hue-{i}": color for i, color in enumerate(hues(theme, palette), start=1)}


def _render(figure: Figure) -> str:
    """Render a figure as matplotlib's SVG."""
    with _LOCK, mpl.rc_context(_SETTINGS), warnings.catch_warnings(), io.StringIO() as buffer:
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the fonts of the page may have it
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()


def _local(name: str) -> str:
    """Return a tag or attribute without its namespace."""
    return name.rpartition("}")[2]


def _simplify(element: ElementTree.Element, key: str, used: set[str], variables: dict[str, str]) -> None:
    """Convert styles to attributes, drop fonts and unused ids, round numbers, prefix ids."""
    element.tag = _local(element.tag)
    if element.tag != "text" and not (element.text or "").strip():
        element.text = None
    element.tail = None
    attributes = {_local(name): value for name, value in element.attrib.items()}
    rules = (rule.partition(":") for rule in attributes.pop("style", "").split(";") if rule.strip())
    attributes |= {name.strip(): value.strip() for name, _, value in rules}
    element.attrib.clear()
    for name, value in attributes.items():
        if name == "font-family" or (name == "id" and value not in used):
            continue
        if name == "transform" and _NO_ROTATION.match(value):
            continue
        element.set(name, _attribute(name, value, key, variables))


def _attribute(name: str, value: str, key: str, variables: dict[str, str]) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name == "href":
        return f"#{key}-{value[1:]}"
    if name in _COLORED:
        return variables.get(value.lower(), value)
    if name in ("d", "x", "y", "width", "height"):
        value = _NUMBERS.sub(lambda found: f"{float(found.group()):.1f}".removesuffix(".0"), value)
        return " ".join(value.split())
    return _REFERENCES.sub(lambda found: f"url(#{key}-{found.group(1)})", value)


def _flatten(parent: ElementTree.Element) -> None:
    """Remove groups without attributes and empty definitions."""
    children: list[ElementTree.Element] = []
    for child in parent:
        _flatten(child)
        if child.tag in ("g", "defs") and not child.attrib and (child.tag == "g" or not len(child)):
            children.extend(child)
        else:
            children.append(child)
    parent[:] = children


def _printable(text: str) -> str:
    """Replace characters that XML cannot represent."""
    return "".join(char if char.isprintable() else " " for char in text)

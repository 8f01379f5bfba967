"""A figure as a part of a page: SVG that takes the page's fonts and colours, and that assistive technology can name.

- Colours of the style become CSS variables (``--text``, ``--ground``, ``--hue-1`` …), so one picture serves the light
  and the dark page; the figure's own colours are their fallbacks.
- Text stays text, in the page's font. There is no style sheet and no style attribute, so that a strict
  content-security policy holds, and ids are the picture's own, so that many fit in one page.
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

_LOCK = threading.Lock()  # matplotlib reads the settings below from one place for all threads
_SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "kronos"}
_UNWANTED = {"metadata", "style"}
_REFERENCES = re.compile(r"url\(#([^)]+)\)")
_NUMBERS = re.compile(r"-?\d+\.\d+")
_NO_TURN = re.compile(r"rotate\(-?0(\.0*)?[ ,]")
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
    """Turn a figure into SVG for the inside of an HTML page.

    Args:
        figure: Of this package.
        key: Tells the picture from others of the page; letters, digits and hyphens.
        title: What it shows, for people who do not see it.
        description: What is to be read off it, likewise; may be empty.
        theme: Of the figure: which colours become variables.
        palette: Likewise.
    """
    root = ElementTree.fromstring(_drawn(figure))
    for parent in root.iter():
        for child in [one for one in parent if _local(one.tag) in _UNWANTED]:
            parent.remove(child)
    colors = css_variables(theme, palette)
    named = {value: f"var(--{name}, {value})" for name, value in reversed(colors.items())}
    used = set(_REFERENCES.findall(" ".join(v for e in root.iter() for v in e.attrib.values())))
    used |= {v[1:] for e in root.iter() for k, v in e.attrib.items() if _local(k) == "href"}
    for element in root.iter():
        _tidy(element, key, used, named)
    _flatten(root)
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update(
        {"viewBox": box, "role": "img", "aria-label": _printable(title), "stroke-linejoin": "round", "class": "picture"}
    )
    words = [("title", title), *([("desc", description)] if description else [])]
    for place, (tag, text) in enumerate(words):
        element = ElementTree.Element(tag)
        element.text = _printable(text)
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def css_variables(theme: Theme, palette: Palette) -> dict[str, str]:
    """Names and values of the colours that pictures leave to the page.

    Raises:
        ParameterError: If either is unknown.
    """
    style = make_style(theme, palette)
    named = {
        "ground": style.ground,
        "grid": style.grid,
        "text": style.text,
        "muted": style.muted,
        "up": style.up,
        "down": style.down,
        "forecast": style.forecast,
        "warning": style.warning,
    }
    return named | {f"hue-{place}": color for place, color in enumerate(hues(theme, palette), start=1)}


def _drawn(figure: Figure) -> str:
    """The figure as matplotlib writes it."""
    with _LOCK, mpl.rc_context(_SETTINGS), warnings.catch_warnings(), io.StringIO() as buffer:
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the page's fonts may have it
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()


def _local(name: str) -> str:
    """A tag or attribute without its namespace."""
    return name.rpartition("}")[2]


def _tidy(element: ElementTree.Element, key: str, used: set[str], named: dict[str, str]) -> None:
    """An element with plain attributes: no style, no foreign fonts, few digits, ids of its own."""
    element.tag = _local(element.tag)
    if element.tag != "text" and not (element.text or "").strip():
        element.text = None
    element.tail = None
    old = {_local(name): value for name, value in element.attrib.items()}
    rules = (rule.partition(":") for rule in old.pop("style", "").split(";") if rule.strip())
    old |= {name.strip(): value.strip() for name, _, value in rules}
    element.attrib.clear()
    for name, value in old.items():
        if name == "font-family" or (name == "id" and value not in used):
            continue
        if name == "transform" and _NO_TURN.match(value):
            continue
        element.set(name, _attribute(name, value, key, named))


def _attribute(name: str, value: str, key: str, named: dict[str, str]) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name == "href":
        return f"#{key}-{value[1:]}"
    if name in _COLORED:
        return named.get(value.lower(), value)
    if name in ("d", "x", "y", "width", "height"):
        value = _NUMBERS.sub(lambda found: f"{float(found.group()):.1f}".removesuffix(".0"), value)
        return " ".join(value.split())
    return _REFERENCES.sub(lambda found: f"url(#{key}-{found.group(1)})", value)


def _flatten(parent: ElementTree.Element) -> None:
    """Take out groups that say nothing."""
    children: list[ElementTree.Element] = []
    for child in parent:
        _flatten(child)
        if child.tag in ("g", "defs") and not child.attrib and (child.tag == "g" or not len(child)):
            children.extend(child)
        else:
            children.append(child)
    parent[:] = children


def _printable(text: str) -> str:
    """A text without characters that XML has no way to write."""
    return "".join(char if char.isprintable() else " " for char in text)

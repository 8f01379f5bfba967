"""Drawings as inline SVG in the colours of the page: elements, scales and round ticks.

Colours are CSS variables in presentation attributes, so that one drawing fits both themes, and a content-security
policy without inline styles allows it. Texts are escaped; a drawing has a title and a description for screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

Point = tuple[float, float]


def css(name: str) -> str:
    """A colour of the page by the name of its CSS variable."""
    return f"var(--{name})"


def number(value: float) -> str:
    """A coordinate with one decimal at most."""
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def polyline(points: Iterable[Point], *, closed: bool = False) -> str:
    """Path data of a line through points."""
    text = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return f"M{text}{'Z' if closed else ''}"


@dataclass(frozen=True, slots=True)
class LinearScale:
    """Values to coordinates.

    Attributes:
        low: Value at ``start``.
        high: Value at ``stop``.
        start: Coordinate of ``low``.
        stop: Coordinate of ``high``.
    """

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value."""
        span = self.high - self.low
        return self.start + (self.stop - self.start) * ((value - self.low) / span if span else 0.5)

    def ticks(self, count: int) -> list[float]:
        """Return at most ``count`` + 1 round values within the scale."""
        return round_ticks(self.low, self.high, count)


def round_ticks(low: float, high: float, count: int) -> list[float]:
    """Return multiples of 1, 2, 2.5 or 5 times a power of ten between two values.

    Args:
        low: Smallest value.
        high: Largest value.
        count: Number of intervals to aim at.
    """
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low] if math.isfinite(low) else []
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(unit * power for unit in (1.0, 2.0, 2.5, 5.0, 10.0) if unit * power * count >= span * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


class Drawing:
    """An SVG element under construction.

    Args:
        width: Width of the view box.
        height: Height of the view box.
        name: Prefix of ids, unique in the page; empty for a picture that is described by the text around it.
        title: Title for screen readers.
        description: What the drawing shows, for screen readers.
        classes: Classes of the element.
    """

    def __init__(
        self,
        width: float,
        height: float,
        *,
        name: str = "",
        title: str = "",
        description: str = "",
        classes: str = "picture",
    ) -> None:
        self.width, self.height = width, height
        self._name, self._title, self._description, self._classes = name, title, description, classes
        self._parts: list[str] = []

    def element(self, tag: str, text: str | None = None, /, **attributes: str | float | None) -> None:
        """Add an element; underscores in names of attributes become hyphens, and None is left out."""
        written = "".join(
            f' {name.replace("_", "-")}="{escape(value) if isinstance(value, str) else number(value)}"'
            for name, value in attributes.items()
            if value is not None
        )
        self._parts.append(f"<{tag}{written}/>" if text is None else f"<{tag}{written}>{escape(text)}</{tag}>")

    def line(self, start: Point, end: Point, color: str, *, width: float = 1, dash: str | None = None) -> None:
        """Add a straight line."""
        self.element(
            "line",
            x1=start[0],
            y1=start[1],
            x2=end[0],
            y2=end[1],
            stroke=css(color),
            stroke_width=str(width),
            stroke_dasharray=dash,
        )

    def curve(
        self, points: Sequence[Point], color: str, *, width: float = 1.6, dash: str | None = None, opacity: float = 1
    ) -> None:
        """Add a line through points."""
        if points:
            self.element(
                "path",
                d=polyline(points),
                fill="none",
                stroke=css(color),
                stroke_width=str(width),
                stroke_dasharray=dash,
                stroke_linejoin="round",
                stroke_opacity=_opacity(opacity),
            )

    def area(self, upper: Sequence[Point], lower: Sequence[Point], color: str, *, opacity: float) -> None:
        """Add a filled area between two lines."""
        if upper:
            outline = polyline([*upper, *reversed(lower)], closed=True)
            self.element("path", d=outline, fill=css(color), fill_opacity=_opacity(opacity))

    def box(self, corner: Point, size: Point, color: str, *, opacity: float = 1, radius: float = 0) -> None:
        """Add a filled rectangle."""
        self.element(
            "rect",
            x=corner[0],
            y=corner[1],
            width=size[0],
            height=size[1],
            rx=radius or None,
            fill=css(color),
            fill_opacity=_opacity(opacity),
        )

    def dot(self, place: Point, color: str, *, radius: float = 3) -> None:
        """Add a filled circle."""
        self.element("circle", cx=place[0], cy=place[1], r=radius, fill=css(color))

    def text(
        self,
        place: Point,
        text: str,
        color: str = "muted",
        *,
        size: float = 12,
        anchor: str = "start",
        weight: str | None = None,
    ) -> None:
        """Add a text; its place is on the baseline."""
        self.element(
            "text",
            text,
            x=place[0],
            y=place[1],
            fill=css(color),
            font_size=size,
            text_anchor=None if anchor == "start" else anchor,
            font_weight=weight,
        )

    def markup(self) -> Markup:
        """Return the element."""
        head = f'<svg class="{self._classes}" viewBox="0 0 {number(self.width)} {number(self.height)}"'
        if not self._name:
            return Markup(f'{head} aria-hidden="true" focusable="false">{"".join(self._parts)}</svg>')
        name = escape(self._name)
        labels = f'<title id="{name}-t">{escape(self._title)}</title>'
        labels += f'<desc id="{name}-d">{escape(self._description)}</desc>'
        head += f' role="img" aria-labelledby="{name}-t" aria-describedby="{name}-d"'
        return Markup(f"{head}>{labels}{''.join(self._parts)}</svg>")


def _opacity(value: float) -> str | None:
    return None if value == 1 else f"{value:g}"

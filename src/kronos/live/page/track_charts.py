"""Charts of the track record: values by step, reliability of probabilities, skill as the record grows.

Every estimate is drawn with its interval. Values are shares, and are labelled in percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from kronos.formatting import format_number
from kronos.live.page.svg import Drawing, LinearScale, Point
from kronos.plotting.ticks import spread_apart

_WIDTH, _HEIGHT, _FONT = 520.0, 300.0, 13.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 84.0, 14.0, 44.0
_COUNTS = 46.0  # height of the bars that count forecasts


@dataclass(frozen=True, slots=True)
class Bounded:
    """An estimate with its interval at a place.

    Attributes:
        x: The place: a step, a probability or a number of forecasts.
        value: The estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
        count: Number of forecasts behind it.
    """

    x: float
    value: float
    low: float
    high: float
    count: int = 0


@dataclass(frozen=True, slots=True)
class FigureCurve:
    """Estimates that belong together.

    Attributes:
        label: Label at the right end.
        color: Name of the colour.
        points: The estimates, in the order of their places.
        target: Nominal value, drawn as a dashed line; None for none.
    """

    label: str
    color: str
    points: Sequence[Bounded]
    target: float | None = None


@dataclass(frozen=True, slots=True)
class FigureTexts:
    """Texts of a figure.

    Attributes:
        name: Prefix of ids, unique in the page.
        title: Title for screen readers.
        description: What it shows, for screen readers.
        x_label: Label of the horizontal axis.
        first: Label of its first tick instead of a number; empty for none.
        last: Label of its last tick instead of a number; empty for none.
    """

    name: str
    title: str
    description: str
    x_label: str
    first: str = ""
    last: str = ""


def draw_steps(curves: Sequence[FigureCurve], texts: FigureTexts, *, zero: bool = False) -> Markup:
    """Draw estimates at a few steps, evenly spaced, with their intervals as bars side by side.

    Args:
        curves: The curves; each needs a point.
        texts: Texts.
        zero: Whether the values are skills around zero instead of shares between 0 and 100 %.
    """
    steps = sorted({point.x for curve in curves for point in curve.points})
    drawing = _drawing(texts)
    x = LinearScale(0, max(len(steps) - 1, 1), _LEFT + 26, _WIDTH - _RIGHT - 26)
    y = _share_scale(curves, zero=zero)
    _draw_shares(drawing, y, zero=zero)
    for place, step in enumerate(steps):
        drawing.text((x(place), _HEIGHT - _BOTTOM + 17), f"{step:.0f}", size=_FONT, anchor="middle")
    _label_axis(drawing, texts)
    for number, curve in enumerate(curves):
        shift = 9.0 * (number - (len(curves) - 1) / 2)  # so that bars do not cover one another
        if curve.target is not None:
            drawing.line((_LEFT, y(curve.target)), (_WIDTH - _RIGHT, y(curve.target)), curve.color, dash="4 4")
        for point in curve.points:
            bar = x(steps.index(point.x)) + shift
            low, high = y(_within(point.low, y)), y(_within(point.high, y))
            drawing.line((bar, low), (bar, high), curve.color, width=1.4)
        marks = [(x(steps.index(point.x)) + shift, y(_within(point.value, y))) for point in curve.points]
        drawing.curve(marks, curve.color, width=1.6)
        for mark in marks:
            drawing.dot(mark, curve.color, radius=3.6)
    _label_curves(drawing, curves, y)
    return drawing.markup()


def draw_sequences(curves: Sequence[FigureCurve], texts: FigureTexts) -> Markup:
    """Draw skills as the record grows, each within its confidence sequence.

    Args:
        curves: The curves; each needs a point.
        texts: Texts.
    """
    drawing = _drawing(texts)
    places = [point.x for curve in curves for point in curve.points]
    x = LinearScale(min(places), max(places), _LEFT + 6, _WIDTH - _RIGHT - 6)
    y = _share_scale(curves, zero=True)
    _draw_shares(drawing, y, zero=True)
    drawing.text((x.start, _HEIGHT - _BOTTOM + 17), texts.first, size=_FONT)
    drawing.text((x.stop, _HEIGHT - _BOTTOM + 17), texts.last, size=_FONT, anchor="end")
    _label_axis(drawing, texts)
    for curve in curves:

        def line(name: str, curve: FigureCurve = curve) -> list[Point]:
            return [(x(point.x), y(_within(getattr(point, name), y))) for point in curve.points]

        drawing.area(line("high"), line("low"), curve.color, opacity=0.11)
        drawing.curve(line("value"), curve.color, width=2)
    _label_curves(drawing, curves, y)
    return drawing.markup()


def draw_reliability(bins: Sequence[Bounded], texts: FigureTexts, count_label: str) -> Markup:
    """Draw how often an event happened, by the probability that it was given.

    Args:
        bins: Mean probability, frequency with its interval, and number of forecasts.
        texts: Texts.
        count_label: Label of the bars that count the forecasts.
    """
    drawing = _drawing(texts)
    bottom = _HEIGHT - _BOTTOM - _COUNTS
    x = LinearScale(0, 1, _LEFT + 6, _WIDTH - _RIGHT + 30)
    y = LinearScale(0, 1, bottom, _TOP)
    _draw_shares(drawing, y, right=x.stop, steps=4)
    drawing.line((x(0), y(0)), (x(1), y(1)), "muted", dash="5 4")
    most = max((each.count for each in bins), default=0)
    for each in bins:
        place = (x(each.x), y(each.value))
        drawing.line((place[0], y(each.low)), (place[0], y(each.high)), "forecast", width=1.6)
        drawing.dot(place, "forecast", radius=4)
        height = (_COUNTS - 20) * each.count / most if most else 0
        drawing.box((place[0] - 3, _HEIGHT - _BOTTOM - height), (6, height), "muted", opacity=0.55)
    drawing.text((_LEFT + 4, bottom + 16), count_label, size=_FONT - 1.5)
    drawing.line((_LEFT, _HEIGHT - _BOTTOM), (x.stop, _HEIGHT - _BOTTOM), "border")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawing.text((x(share), _HEIGHT - _BOTTOM + 17), _percent(share), size=_FONT, anchor="middle")
    drawing.text((x(0.5), _HEIGHT - 8), texts.x_label, size=_FONT, anchor="middle")
    return drawing.markup()


def _drawing(texts: FigureTexts) -> Drawing:
    return Drawing(_WIDTH, _HEIGHT, name=texts.name, title=texts.title, description=texts.description)


def _share_scale(curves: Sequence[FigureCurve], *, zero: bool) -> LinearScale:
    points = [point for curve in curves for point in curve.points]
    low, high = _skill_limits(points) if zero else (0.0, 1.0)
    return LinearScale(low, high, _HEIGHT - _BOTTOM, _TOP)


def _draw_shares(
    drawing: Drawing, y: LinearScale, *, right: float = _WIDTH - _RIGHT, steps: int = 5, zero: bool = False
) -> None:
    for share in y.ticks(steps):
        drawing.line((_LEFT, y(share)), (right, y(share)), "grid")
        drawing.text((_LEFT - 8, y(share) + 4), _percent(share), size=_FONT, anchor="end")
    drawing.line((_LEFT, y.start), (right, y.start), "border")
    if zero:
        drawing.line((_LEFT, y(0)), (right, y(0)), "text", width=1.2)


def _label_axis(drawing: Drawing, texts: FigureTexts) -> None:
    drawing.text(((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8), texts.x_label, size=_FONT, anchor="middle")


def _label_curves(drawing: Drawing, curves: Sequence[FigureCurve], y: LinearScale) -> None:
    ends = sorted((y(_within(curve.points[-1].value, y)), curve.label, curve.color) for curve in curves)
    for place, (_, label, color) in zip(spread_apart([end for end, _, _ in ends], 15), ends, strict=True):
        drawing.text((_WIDTH - _RIGHT + 4, place + 4), label, color, size=_FONT - 0.5, weight="600")


def _skill_limits(points: Sequence[Bounded]) -> tuple[float, float]:
    """Limits around zero that show the estimates; wide intervals of a young record are cut at twice of that."""
    values = np.array([point.value for point in points])
    ends = np.array([[point.low, point.high] for point in points])
    reach = max(0.05, 2.5 * float(np.abs(values).max()))
    low, high = max(float(np.nanmin(ends)), -reach), min(float(np.nanmax(ends)), reach)
    margin = 0.08 * (high - low)
    return min(low - margin, -0.02), max(high + margin, 0.02)


def _within(value: float, scale: LinearScale) -> float:
    return min(max(value, scale.low), scale.high)


def _percent(share: float) -> str:
    percents = round(100 * share, 6)
    return f"{format_number(percents, 0 if percents == round(percents) else 1)} %"

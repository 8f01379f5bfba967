"""The chart of a live forecast, and small pictures of past forecasts beside what came.

Both are drawn from the published documents: what is seen is what the JSON says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from kronos.formatting import format_price
from kronos.live.entries import LEVELS, parse_time
from kronos.live.page.svg import Drawing, LinearScale, Point, css, number
from kronos.plotting.ticks import format_volume, price_decimals, spread_apart, tick_decimals, time_ticks
from kronos.reports import Translator
from kronos.typing import FloatArray

_OPACITY = {95: 0.15, 80: 0.2, 50: 0.28}
_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class ChartSize:
    """Measures of the chart, in units of its view box.

    Attributes:
        name: Class of the drawing: the style sheet shows one size at a time.
        width: Width.
        height: Height.
        axis: Width of the price axis.
        volume: Height of the volume pane.
        candles: Largest number of history candles.
        ticks: Largest number of time ticks.
        font: Size of the labels.
    """

    name: str
    width: float
    height: float
    axis: float
    volume: float
    candles: int
    ticks: int
    font: float


WIDE = ChartSize("wide", 1120, 520, 84, 76, 240, 12, 12.5)
NARROW = ChartSize("narrow", 400, 430, 78, 54, 36, 4, 12)
_TOP, _BOTTOM, _GAP, _LABELS = 30.0, 40.0, 14.0, 40.0


class _Chart:
    """One chart: scales, and the steps of drawing it."""

    def __init__(self, document: Mapping[str, Any], t: Translator, size: ChartSize) -> None:
        self.t, self.size, self.document = t, size, document
        columns = document["history"]
        self.times = pd.DatetimeIndex(
            [parse_time(time) for time in [*columns["time"][-size.candles :], *_column(document, "time")]]
        )
        self.times = self.times.tz_convert(document["timezone"] or "UTC")
        self.history: FloatArray = np.array([columns[name][-size.candles :] for name in _PRICES], dtype=float)
        self.volume: FloatArray = np.array(columns["volume"][-size.candles :], dtype=float)
        self.last_close = float(document["last_close"])
        self.horizon, self.count = len(document["steps"]), self.history.shape[1]
        self.bands = {level: _band(document, level) for level in LEVELS}
        has_volume = bool(self.volume.size and self.volume.max() > 0)
        self.bottom = size.height - _BOTTOM - (size.volume + _GAP if has_volume else 0)
        self.right = size.width - size.axis
        self.x = LinearScale(-max(self.count, 1) + 0.2, self.horizon + 0.8, 6, self.right - _LABELS)
        low, high = self._limits()
        self.y = LinearScale(low, high, self.bottom, _TOP)
        self.decimals = price_decimals(self.history) if self.count else price_decimals(np.array([self.last_close]))
        self.has_volume = has_volume
        self.drawing = Drawing(
            size.width,
            size.height,
            name=f"chart-{size.name}",
            title=t("live.chart.title", symbol=document["symbol"], interval=document["interval"]),
            description=self._describe(),
            classes=f"picture chart {size.name}",
        )

    def draw(self) -> Markup:
        self._draw_axes()
        self._draw_future()
        if self.has_volume:
            self._draw_volume()
        self._draw_history()
        self._draw_forecast()
        self._label_levels()
        self._tag_prices()
        if self.document["simulated"]:
            self._mark_simulated()
        return self.drawing.markup()

    def _limits(self) -> tuple[float, float]:
        outer = np.array(self.document["closes"]) if self.document["closes"] else self.bands[LEVELS[-1]]
        shown = np.concatenate([self.history[1:3].ravel(), outer.ravel(), [self.last_close]])
        low, high = float(shown.min()), float(shown.max())
        margin = 0.05 * (high - low) or 0.01 * abs(high)  # a constant price needs an axis too
        return low - margin, high + margin

    def _describe(self) -> str:
        last = self.document["steps"][-1]
        low, high = last["bands"]["80"]
        return self.t(
            "live.chart.description",
            as_of=format_minute(self.document["as_of"]),
            price=format_price(self.last_close, self.decimals),
            horizon=self.horizon,
            low=format_price(low, self.decimals),
            high=format_price(high, self.decimals),
            median=format_price(last["median"], self.decimals),
        )

    # Axes -----------------------------------------------------------------

    def _draw_axes(self) -> None:
        drawing, font = self.drawing, self.size.font
        ticks = self.y.ticks(6)
        needed = tick_decimals(np.array(ticks), self.decimals)
        tagged = [self.y(price) for price in self._tagged().values()]
        for price in ticks:
            y = self.y(price)
            drawing.line((0, y), (self.right, y), "grid")
            if min(abs(y - tag) for tag in tagged) > 16:  # a tag covers it otherwise
                drawing.text((self.right + 8, y + 4), format_price(price, needed), size=font)
        bottom = self.size.height - _BOTTOM
        marks = time_ticks(self.times, self.size.ticks)
        for position, label in zip(marks.positions, marks.labels, strict=True):
            x = self.x(position - self.count + 1)
            drawing.line((x, _TOP), (x, bottom), "grid")
            rows = label.split("\n")
            anchor = "start" if x < 0.32 * font * max(map(len, rows)) else "middle"  # half of its width
            for row, text in enumerate(rows):
                drawing.text((x, bottom + 16 + 15 * row), text, size=font, anchor=anchor)
        drawing.line((0, bottom), (self.right, bottom), "border")
        drawing.line((self.right, _TOP), (self.right, bottom), "border")
        zone = self.document["timezone"] or "UTC"
        drawing.text((self.size.width - 2, bottom + 16), zone, size=font, anchor="end")

    def _draw_future(self) -> None:
        start, bottom = self.x(0.5), self.size.height - _BOTTOM
        self.drawing.box((start, _TOP), (self.right - start, bottom - _TOP), "forecast", opacity=0.05)
        self.drawing.line((start, _TOP - 4), (start, bottom), "forecast", dash="3 3")
        label = self.t("live.chart.start", time=format_minute(self.document["as_of"]))
        # On a phone the label does not fit to the right of the line.
        if self.right - start > 230:
            self.drawing.text((start + 2, _TOP - 10), label, "text", size=self.size.font)
        else:
            self.drawing.text((self.right, _TOP - 10), label, "text", size=self.size.font, anchor="end")

    # Prices ---------------------------------------------------------------

    def _draw_history(self) -> None:
        """Candles in blue, hollow where the close is not below the open: direction without a second colour."""
        half = max(0.8, 0.34 * (self.x(1) - self.x(0)))
        wicks: list[str] = []
        hollow: list[str] = []
        filled: list[str] = []
        for index in range(self.count):
            opened, high, low, close = self.history[:, index]
            x = self.x(index - self.count + 1)
            upper, lower = self.y(max(opened, close)), self.y(min(opened, close))
            wicks.append(f"M{number(x)} {number(self.y(high))}V{number(upper)}M{number(x)} {number(lower)}")
            wicks.append(f"V{number(self.y(low))}")
            body = f"M{number(x - half)} {number(upper)}H{number(x + half)}V{number(max(lower, upper + 0.6))}"
            (hollow if close >= opened else filled).append(f"{body}H{number(x - half)}Z")
        self.drawing.element("path", d="".join(wicks) or None, stroke=css("history"), fill="none")
        self.drawing.element("path", d="".join(hollow) or None, stroke=css("history"), fill=css("ground"))
        self.drawing.element("path", d="".join(filled) or None, stroke=css("history"), fill=css("history"))

    def _draw_volume(self) -> None:
        """Volume below, by direction."""
        bottom = self.size.height - _BOTTOM
        scale = LinearScale(0, float(self.volume.max()), bottom, bottom - self.size.volume)
        half = max(0.6, 0.34 * (self.x(1) - self.x(0)))
        bars: dict[str, list[str]] = {"up": [], "down": []}
        for index, volume in enumerate(self.volume):
            x, rose = self.x(index - self.count + 1), self.history[3, index] >= self.history[0, index]
            top = number(scale(volume))
            outline = f"M{number(x - half)} {number(bottom)}V{top}H{number(x + half)}V{number(bottom)}Z"
            bars["up" if rose else "down"].append(outline)
        for name, parts in bars.items():
            self.drawing.element("path", d="".join(parts) or None, fill=css(name), fill_opacity="0.55")
        font = self.size.font
        self.drawing.text((self.right + 8, bottom - self.size.volume + 8), format_volume(scale.high), size=font)
        self.drawing.text((8, bottom - self.size.volume + 8), self.t("live.chart.volume"), size=font)

    def _draw_forecast(self) -> None:
        start = (self.x(0), self.y(self.last_close))

        def points(values: Sequence[float]) -> list[Point]:
            return [start, *((self.x(step), self.y(value)) for step, value in enumerate(values, 1))]

        for path in self.document["closes"] or ():
            self.drawing.curve(points(path), "forecast", width=1, opacity=0.5)
        for level in reversed(LEVELS) if not self.document["closes"] else ():
            low, high = self.bands[level]
            self.drawing.area(points(high.tolist()), points(low.tolist()), "forecast", opacity=_OPACITY[level])
        self.drawing.curve(points(_column(self.document, "median")), "forecast", width=1.9, dash="6 4")
        self.drawing.curve(points(_column(self.document, "mean")), "hue-2", width=2.2)

    def _label_levels(self) -> None:
        """The level of each band at its upper end, apart from one another."""
        if self.document["closes"]:
            return
        widest_first = sorted(LEVELS, reverse=True)
        edges = [self.y(float(self.bands[level][1, -1])) for level in widest_first]
        for place, level in zip(spread_apart(edges, self.size.font + 2), widest_first, strict=True):
            self.drawing.text(
                (self.x(self.horizon) + 5, place + 4), f"{level} %", "forecast", size=self.size.font - 0.5, weight="600"
            )

    def _tagged(self) -> dict[str, float]:
        return {"text": self.last_close, "hue-2": float(self.document["steps"][-1]["mean"])}

    def _tag_prices(self) -> None:
        """The last close and the end of the mean on the price axis."""
        last = self.y(self.last_close)
        self.drawing.line((0, last), (self.right, last), "muted", dash="1 4")
        tags = sorted((self.y(price), color, price) for color, price in self._tagged().items())
        places = spread_apart([place for place, _, _ in tags], 20)
        for place, (_, color, price) in zip(places, tags, strict=True):
            self.drawing.box((self.right + 1, place - 10), (self.size.axis - 2, 20), color, radius=3)
            text = format_price(price, self.decimals)
            self.drawing.text((self.right + 8, place + 4), text, "ground", size=self.size.font, weight="600")

    def _mark_simulated(self) -> None:
        """Across the chart, so that no picture of it can be taken for a market."""
        text = self.t("live.simulated.word")
        middle = (self.x(0.5 - self.count / 2), (self.bottom + _TOP) / 2)
        letters = sum(0.72 if letter.isascii() else 1.0 for letter in text)
        size = min(96.0, 0.8 * self.x(0.5) / letters)
        self.drawing.element(
            "text",
            text,
            x=middle[0],
            y=middle[1],
            fill=css("warning"),
            fill_opacity="0.3",
            font_size=size,
            font_weight="700",
            text_anchor="middle",
            transform=f"rotate(-18 {number(middle[0])} {number(middle[1])})",
        )
        width = 13.5 * letters + 14
        self.drawing.box((4, 3), (width, 21), "warning", radius=3)
        self.drawing.element(
            "text", text, x=4 + width / 2, y=18, fill="#131722", font_size=13, font_weight="700", text_anchor="middle"
        )


def draw_forecast(document: Mapping[str, Any], t: Translator, size: ChartSize) -> Markup:
    """Draw the chart of a forecast document.

    Args:
        document: A document of `kronos.live.page.documents.forecast_document` with a forecast.
        t: Messages.
        size: ``WIDE`` or ``NARROW``.
    """
    return _Chart(document, t, size).draw()


def format_minute(time: str) -> str:
    """A recorded time to the minute: ``2026-03-01 12:00 UTC``."""
    return f"{time[:10]} {time[11:16]} UTC"


def draw_outcome(past: Mapping[str, Any]) -> Markup:
    """Draw a past forecast: its 80 % band and median, and the closes that came; described by the text around it.

    Args:
        past: A document of `kronos.live.page.documents.past_forecast`.
    """
    outcome = past["outcome"] or {}
    return _draw_outcome(
        past["last_close"],
        tuple(past["low80"]),
        tuple(past["high80"]),
        tuple(past["median"]),
        tuple(outcome.get("close", ())),
    )


@lru_cache(maxsize=4096)  # a month of hourly forecasts is drawn again in every cycle
def _draw_outcome(
    last_close: float,
    low: tuple[float, ...],
    high: tuple[float, ...],
    median: tuple[float, ...],
    close: tuple[float, ...],
) -> Markup:
    width, height = 220.0, 104.0
    drawing = Drawing(width, height, classes="outcome")
    values = [last_close, *low, *high, *close]
    bottom, top = min(values), max(values)
    margin = 0.06 * (top - bottom) or 0.01 * abs(top)
    y = LinearScale(bottom - margin, top + margin, height - 2, 2)
    x = LinearScale(0, len(median), 3, width - 4)

    def points(line: Sequence[float]) -> list[Point]:
        return [(x(step), y(value)) for step, value in enumerate([last_close, *line])]

    drawing.line((0, y(last_close)), (width, y(last_close)), "muted", dash="1 4")
    drawing.area(points(high), points(low), "forecast", opacity=0.24)
    drawing.curve(points(median), "forecast", width=1.4, dash="5 4")
    if close:
        drawing.curve(points(close), "text", width=1.7)
        end = points(close)[-1]
        drawing.dot(end, "text", radius=2.6)
    return drawing.markup()


def _column(document: Mapping[str, Any], name: str) -> list[Any]:
    return [step[name] for step in document["steps"]]


def _band(document: Mapping[str, Any], level: int) -> FloatArray:
    """Lower and upper end by step `[2, H]`."""
    ends: FloatArray = np.array([step["bands"][str(level)] for step in document["steps"]], dtype=float).T
    return ends

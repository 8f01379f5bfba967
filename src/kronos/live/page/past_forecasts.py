"""Past forecasts beside what came, in words and pictures; none is left out, whatever came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from kronos.formatting import format_price, format_signed, percent
from kronos.live.page.forecast_figure import draw_outcome, format_minute
from kronos.reports import Translator

Tone = Literal["hit", "outside", "open", "missed", "void"]
_BADGES = {"late": "unknown", "missed": "bad", "unresolved": "unknown", "pending": "neutral"}


@dataclass(frozen=True)
class PastView:
    """A past forecast as the template shows it.

    Attributes:
        origin: Its origin, as recorded.
        time: The origin to the minute.
        kind: ``scored``, ``pending``, ``late``, ``missed`` or ``unresolved``.
        tone: Whether the close ended within the 80 % band.
        badge: The kind in words; empty if it was scored.
        badge_tone: Class of the badge.
        picture: The picture; None for an origin without a forecast.
        words: What was forecast and what came.
    """

    origin: str
    time: str
    kind: str
    tone: Tone
    badge: str
    badge_tone: str
    picture: Markup | None
    words: str


def kind_of(past: Mapping[str, Any]) -> str:
    """Return ``scored``, ``pending``, ``late``, ``missed`` or ``unresolved``."""
    if past["kind"] != "forecast":
        return str(past["kind"])
    outcome = past["outcome"]
    if outcome is None:
        return "pending"
    return "scored" if outcome["kind"] == "score" else "unresolved"


def count_kinds(pasts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count past forecasts by kind, in the order of importance."""
    kinds = [kind_of(past) for past in pasts]
    return {kind: kinds.count(kind) for kind in ("scored", "pending", "late", "missed", "unresolved")}


def view_past(past: Mapping[str, Any], t: Translator, decimals: int) -> PastView:
    """Describe a past forecast.

    Args:
        past: A document of `kronos.live.page.documents.past_forecast`.
        t: Messages.
        decimals: Decimals of the market.
    """
    kind = kind_of(past)
    return PastView(
        origin=past["origin"],
        time=format_minute(past["origin"]),
        kind=kind,
        tone=_tone(kind, past),
        badge="" if kind == "scored" else t(f"live.kinds.{kind}"),
        badge_tone=_BADGES.get(kind, ""),
        picture=None if kind == "missed" else draw_outcome(past),
        words=_words(kind, past, t, decimals),
    )


def _tone(kind: str, past: Mapping[str, Any]) -> Tone:
    if kind == "scored":
        return "hit" if past["outcome"]["inside"]["80"].endswith("1") else "outside"
    if kind == "missed":
        return "missed"
    return "open" if kind == "pending" else "void"


def _words(kind: str, past: Mapping[str, Any], t: Translator, decimals: int) -> str:
    if kind == "missed":
        return t("live.past.missed", reason=past["reason"])
    said = t(
        "live.past.said",
        upside=percent(past["upside"]["estimate"], 0),
        low=format_price(past["low80"][-1], decimals),
        high=format_price(past["high80"][-1], decimals),
    )
    if kind == "scored":
        outcome = past["outcome"]
        end = outcome["close"][-1]
        return t(
            "live.past.came_inside" if outcome["inside"]["80"].endswith("1") else "live.past.came_outside",
            said=said,
            close=format_price(end, decimals),
            change=f"{format_signed(100 * (end / past['last_close'] - 1), 2)} %",
        )
    if kind == "unresolved":
        return t("live.past.unresolved", said=said, reason=past["outcome"]["reason"])
    return t("live.past.late" if kind == "late" else "live.past.pending", said=said)

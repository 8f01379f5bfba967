"""Text for people and values for JSON: the helpers that messages, tables and documents share."""

from __future__ import annotations


def truncate(value: object, width: int = 30) -> str:
    """Shorten a cell, a label or a name so that a message can quote it: one line of at most ``width`` characters."""
    text = "".join(c if c.isprintable() else " " for c in str(value)[: 4 * width])
    return " ".join(text.split())[:width]


def format_price(price: float, decimals: int) -> str:
    """A price with thousands grouped: ``67,200`` or ``1.08345``."""
    return f"{price:,.{decimals}f}"

"""Which stretches of time a store knows: sorted, disjoint, half-open spans of microseconds since 1970, UTC."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]


def add(spans: Iterable[Span], new: Span) -> tuple[Span, ...]:
    """The spans with one more; spans that touch become one, and empty ones vanish."""
    merged: list[Span] = []
    for start, end in sorted([*spans, new]):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)


def before(spans: Iterable[Span], stop: int) -> tuple[Span, ...]:
    """What lies before a time of sorted, disjoint spans."""
    return tuple((start, min(end, stop)) for start, end in spans if start < stop)


def missing(spans: Iterable[Span], wanted: Span) -> tuple[Span, ...]:
    """The parts of a wanted span that no span covers.

    Args:
        spans: Sorted and disjoint, as `add` gives them.
        wanted: Half-open.
    """
    cursor, stop = wanted
    gaps: list[Span] = []
    for start, end in spans:
        if start >= stop:
            break
        if start > cursor:
            gaps.append((cursor, start))
        cursor = max(cursor, end)
    if cursor < stop:
        gaps.append((cursor, stop))
    return tuple(gaps)

"""Why a part has no window: its dates, the filters, or stretches that are too short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kronos.datasets.splitting import TITLES
from kronos.datasets.stretches import Part

if TYPE_CHECKING:
    from kronos.datasets.training_data import TrainingData
    from kronos.datasets.window_settings import WindowSettings


def shortage(data: TrainingData, part: Part, settings: WindowSettings) -> str:
    """Say why a part has no window, how many candles there are, how many one takes, and what mends it."""
    subject = f"The {TITLES[part]} part of {data.name}"
    needed = f"a window takes {settings.total} ({settings.lookback} known, {settings.predict} to predict)"
    candles, rows = data.parts.candles[part], data.span_rows(part)
    if not candles:
        return (
            f"{subject} is empty: none of its {len(data.store):,} candles lie {_dates(data, part)}, and {needed}; move "
            f"the dates, or give candles of that time."
        )
    if not len(rows):
        return (
            f"{subject} is empty: the quality filters leave none of its {candles:,} candles, and {needed}; give longer "
            f"unbroken histories, or set quality to none."
        )
    longest = int((rows[:, 2] - rows[:, 1]).max())
    kept = int((rows[:, 2] - rows[:, 3]).sum())
    if longest >= settings.total:
        most = int((rows[:, 2] - rows[:, 3]).max())
        return (
            f"{subject} has no window: at most {most:,} candles of one stretch may be predicted, and {needed}; predict "
            f"fewer, or give the part more time."
        )
    return (
        f"{subject} has no window: of its {candles:,} candles {kept:,} are fit to use, the longest unbroken stretch "
        f"has {longest:,}, and {needed}; give longer histories, a shorter window or the part a larger share."
    )


def _dates(data: TrainingData, part: Part) -> str:
    """When a part is, for the middle of a sentence."""
    cuts = list(data.cuts.values())
    if len(set(cuts)) != 1:
        return "in its dates"
    if part == "train":
        return f"before {cuts[0].validation:%Y-%m-%d}"
    later = f"{data.embargo} candles or more " if data.embargo else ""
    if part == "val":
        return f"{later}after {cuts[0].validation:%Y-%m-%d} and before {cuts[0].test:%Y-%m-%d}"
    return f"{later}after {cuts[0].test:%Y-%m-%d}"

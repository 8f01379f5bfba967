"""Which end of a candle its stamp names: Chinese vendors write when a candle closed, most others when it opened."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from kronos.calendars.guess import guess
from kronos.calendars.plans import SessionPlan
from kronos.intervals import Interval


def stamped_at(history: pd.DatetimeIndex, interval: Interval) -> Literal["open", "close"]:
    """Tell from a history's clock times whether stamps name the opening or the close.

    Only sessions tell: a first stamp at 09:45 of a market that opens at 09:30 is the close of a 15-minute candle. Where
    nothing tells, stamps are taken for openings, as exchanges that trade around the clock write them.

    Args:
        history: Times in increasing order, naive or with a timezone.
        interval: The candles' interval.
    """
    if not interval.intraday or len(history) < 2:
        return "open"
    plan = guess(history, interval).plan
    return "close" if isinstance(plan, SessionPlan) and plan.grid.side == "end" else "open"

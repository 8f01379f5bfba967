"""The asset class of a history, inferred from its trading calendar.

Calibrations have factors for each market and interval (a *group*, such as ``crypto 1h``). If no market is given, it
follows from the calendar:

| calendar | market |
|---|---|
| ``24/7`` | ``crypto`` |
| ``FX`` | ``fx`` |
| ``XNYS``, and ``XNAS``, which has the same sessions | ``us_equity`` |
| ``XSHG``, and ``XSHE``, which has the same sessions | ``cn_ashare`` |
| ``CN-FUTURES`` and its variants | ``cn_futures`` |

The result can be wrong: metals trade in the hours of foreign exchange, and daily candles of Chinese futures have the
days of the Shanghai exchange. Pass the market explicitly if it matters.
"""

from __future__ import annotations

import pandas as pd

from kronos.calendars.future import future_times
from kronos.calendars.sessions import ALWAYS, FUTURES, FX
from kronos.intervals import Interval

MARKETS = {ALWAYS: "crypto", FX: "fx", "XNYS": "us_equity", "XSHG": "cn_ashare", FUTURES: "cn_futures"}


def market_of(index: pd.DatetimeIndex, interval: Interval, calendar: str | None = None) -> str | None:
    """Infer the market of a history from its calendar.

    Intraday histories without gaps count as crypto only if they include a weekend.

    Args:
        index: Times of the candles, at least one.
        interval: Interval of the candles.
        calendar: Name of the calendar; None detects it.

    Returns:
        A market of `MARKETS`, or None if the calendar belongs to none.

    Raises:
        CalendarError: If ``calendar`` is unknown.
    """
    future = future_times(index, interval, 1, calendar)
    if future.calendar == ALWAYS and future.basis == "inferred":  # no weekend in the history
        return None
    return MARKETS.get(FUTURES if future.calendar.startswith(FUTURES) else future.calendar)

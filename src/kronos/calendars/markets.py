"""The asset class of a history, inferred from its trading calendar.

A calibration has factors for each market and interval, its *groups*, such as ``crypto 1h``. Where nobody names the
market, the calendar decides:

| calendar | market |
|---|---|
| ``24/7`` | ``crypto`` |
| ``FX`` | ``fx`` |
| ``XNYS``, and ``XNAS``, which has the same sessions | ``us_equity`` |
| ``XSHG``, and ``XSHE``, which has the same sessions | ``cn_ashare`` |
| ``CN-FUTURES`` and its variants | ``cn_futures`` |

This is a guess: metals trade in the hours of foreign exchange, and daily candles of Chinese futures have the days of
the Shanghai exchange. Pass the market explicitly where it matters.
"""

from __future__ import annotations

import pandas as pd

from kronos.calendars.future import future_times
from kronos.intervals import Interval

_ALWAYS, _FUTURES = "24/7", "CN-FUTURES"
MARKETS = {_ALWAYS: "crypto", "FX": "fx", "XNYS": "us_equity", "XSHG": "cn_ashare", _FUTURES: "cn_futures"}


def market_of(index: pd.DatetimeIndex, interval: Interval, calendar: str | None = None) -> str | None:
    """Infer the market of a history from its calendar.

    Intraday histories without a gap count as crypto only if they include a weekend.

    Args:
        index: Times of the candles; at least one.
        interval: Their interval.
        calendar: Name of their calendar; None detects it from the times.

    Returns:
        A market of `MARKETS`; None if the calendar belongs to no known market.

    Raises:
        CalendarError: If ``calendar`` is unknown.
    """
    following = future_times(index, interval, 1, calendar)
    if following.calendar == _ALWAYS and following.basis == "inferred":  # no weekend in the history
        return None
    return MARKETS.get(_FUTURES if following.calendar.startswith(_FUTURES) else following.calendar)

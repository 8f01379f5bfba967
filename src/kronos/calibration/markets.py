"""Which market candles are from, where nobody says: told from their calendar.

A calibration has factors of its own for each market and interval, its *groups*, such as ``crypto 1h``. What trades
round the clock counts as crypto, the week of foreign exchange as fx, and so on:

| calendar | market |
|---|---|
| ``24/7`` | ``crypto`` |
| ``FX`` | ``fx`` |
| ``XNYS``, and ``XNAS``, which is the same | ``us_equity`` |
| ``XSHG``, and ``XSHE``, which is the same | ``cn_ashare`` |
| ``CN-FUTURES`` and its variants | ``cn_futures`` |

It is a guess: metals keep the hours of foreign exchange, and daily candles of Chinese futures the days of the Shanghai
exchange. Whoever knows better names the market.
"""

from __future__ import annotations

from kronos.calendars import future_times
from kronos.candles import Candles

_ALWAYS, _FUTURES = "24/7", "CN-FUTURES"
MARKETS = {_ALWAYS: "crypto", "FX": "fx", "XNYS": "us_equity", "XSHG": "cn_ashare", _FUTURES: "cn_futures"}


def market_of(candles: Candles) -> str | None:
    """The market that candles are from: by the calendar they name, else by the one they keep.

    Only their times are looked at. Intraday candles without a break are not taken for crypto before they have been
    seen to trade through a weekend.

    Args:
        candles: At least one.

    Returns:
        A market of `MARKETS`; None if their calendar is no known market's.

    Raises:
        CalendarError: If they name a calendar that there is not.
    """
    following = future_times(candles.index, candles.interval, 1, candles.calendar)
    if following.calendar == _ALWAYS and following.basis == "inferred":  # no weekend seen
        return None
    return MARKETS.get(_FUTURES if following.calendar.startswith(_FUTURES) else following.calendar)

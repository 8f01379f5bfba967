"""Requests to CoinGecko: its hosts and keys, its clock, and its refusals in plain words."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS, PRICES
from kronos.errors import ParameterError, SourceError
from kronos.intervals import Interval
from kronos.sources.http import (
    RequestFailedError,
    ServerClock,
    broken,
    call_with_retry,
    checked_base,
    checked_proxy,
    refused,
    unreachable,
    variable,
)

if TYPE_CHECKING:
    import httpx2

    from kronos.settings import SourceSettings

_HOSTS = {"demo": "https://api.coingecko.com", "pro": "https://pro-api.coingecko.com"}
_KEY_HEADERS = {"demo": "x-cg-demo-api-key", "pro": "x-cg-pro-api-key"}
_KEY = "COINGECKO_API_KEY"
_ROOT = "/api/v3"

# What its numbers of errors mean; the others are told as they come.
_BAD_KEY = (10002, 10010, 10011)
_NOT_IN_PLAN = (10005, 10012)


class Api:
    """CoinGecko's interface as JSON.

    Attributes:
        plan: ``demo`` or ``pro``.
        clock: The time that its answers tell.
    """

    def __init__(self, settings: SourceSettings, wait: float) -> None:
        """Prepare to ask; see `kronos.sources.coingecko.CoinGecko`."""
        key = settings.api_key.get_secret_value() if settings.api_key else os.environ.get(_KEY, "").strip()
        if settings.plan == "pro" and not key and settings.base_url is None:
            raise ParameterError(f"CoinGecko's pro plan needs a key; set {_KEY}, or take the demo plan.")
        self.plan = settings.plan
        self.clock = ServerClock()
        self._settings = settings
        self._wait = wait
        self._headers = {_KEY_HEADERS[settings.plan]: key} if key else {}
        base = checked_base(settings.base_url or _HOSTS[settings.plan], "coingecko")
        self._base = base if base.endswith(_ROOT) else base + _ROOT
        self._proxy = None if settings.proxy is None else checked_proxy(settings.proxy, "coingecko")
        self._client: httpx2.Client | None = None

    def get(self, path: str, params: Mapping[str, object] | None = None) -> Any:
        """Ask, and ask again where that may help.

        Raises:
            SourceError: If it cannot be reached in time, or refuses.
            ParameterError: If it does not know the coin or the currency.
        """
        one = self._settings
        return call_with_retry(
            lambda: self._ask(path, {name: str(value) for name, value in (params or {}).items()}),
            name="CoinGecko",
            attempts=one.attempts,
            patience=one.patience,
            wait=self._wait,
        )

    def _ask(self, path: str, params: dict[str, str]) -> Any:
        import httpx2

        try:
            answer = self._open().get(self._base + path, params=params, headers=self._headers)
        except httpx2.TimeoutException as error:
            raise unreachable(f"no answer within {self._settings.timeout:g} s", name="coingecko") from error
        except httpx2.TransportError as error:
            raise unreachable(str(error) or type(error).__name__, name="coingecko") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise broken(f"sent what cannot be read ({error})") from error
        self.clock.note(answer.headers.get("date"))
        body = _json(answer)
        code, text = _told(body)
        if answer.status_code != 200 or code or text:
            raise self._refusal(answer, code, text)
        if body is None:
            raise broken("sent no usable JSON")
        return body

    def _open(self) -> httpx2.Client:
        if self._client is None:
            import httpx2

            try:
                self._client = httpx2.Client(proxy=self._proxy, timeout=self._settings.timeout)
            except ImportError as error:
                mend = "install it with pip install socksio"
                raise ParameterError(f"The SOCKS proxy of CoinGecko needs socksio; {mend}.") from error
            except (ValueError, httpx2.InvalidURL) as error:
                # The address may hold a password: the message does not repeat it.
                mend = "write it like http://host:8080 or socks5://host:1080"
                raise ParameterError(f"{variable('coingecko', 'proxy')} cannot be used; {mend}.") from error
        return self._client

    def _refusal(self, answer: httpx2.Response, code: int | None, text: str) -> Exception:
        """What to raise for an answer that is not the one asked for."""
        status = 429 if code == 429 else answer.status_code
        if code in _BAD_KEY:
            mend = f"see to {_KEY} and {variable('coingecko', 'plan')}"
            return RequestFailedError(
                f"does not take the key for its {self.plan} plan ({code}: {text})", mend, status=status
            )
        if code in _NOT_IN_PLAN:
            mend = "ask for something later or coarser, or take the pro plan"
            return RequestFailedError(
                f"does not serve this on its {self.plan} plan ({code}: {text})", mend, status=status
            )
        if "vs_currency" in text:
            return ParameterError("CoinGecko has no prices in that currency; take one such as usd, eur or btc.")
        if "coin not found" in text.lower() or "could not find coin" in text.lower():
            return ParameterError("CoinGecko has no coin of that id; look the id up on the coin's page.")
        if status < 400:
            return RequestFailedError(
                f"refuses the request ({text or status})", "check what was asked for", status=status
            )
        fault = refused(status, name="coingecko", retry_after=answer.headers.get("retry-after"))
        if status == 429 and not self._headers:
            fault.mend = f"wait a minute, or set {_KEY} for a share of your own"
        return fault


def _json(answer: httpx2.Response) -> Any:
    """The answer's JSON; None if it is none."""
    try:
        return answer.json()
    except ValueError:
        return None


def _told(body: object) -> tuple[int | None, str]:
    """CoinGecko's number and words of an error, in any of the three shapes it uses; (None, "") if it is none."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str):
        return None, error
    status = error.get("status") if isinstance(error, dict) else body.get("status") if isinstance(body, dict) else None
    if not isinstance(status, dict) or not isinstance(status.get("error_code"), int):
        return None, ""
    return status["error_code"], str(status.get("error_message", ""))


# Answers are up to 15 minutes old, and a finished day shows 35 minutes later: until then the last candle may change.
_LAG, _DAILY_LAG = pd.Timedelta(minutes=20), pd.Timedelta(minutes=40)
_LATEST = 1e14  # milliseconds: far beyond any time that could be meant
_CHART_STEPS = (Interval(5, "m"), Interval(1, "h"), Interval(1, "d"))


def candle_rows(told: Any, interval: Interval, now: pd.Timestamp) -> pd.DataFrame:
    """CoinGecko's rows [milliseconds of the close, open, high, low, close] as candles by their opening time.

    Args:
        told: The rows, in any order; some may be doubled.
        interval: What was asked for.
        now: The time on CoinGecko's clock. Candles that closed too shortly before it may still change: left out.

    Returns:
        The columns of a `Page`, volume and amount NaN, in order, without rows between the grid's times.

    Raises:
        SourceError: If these are no such rows, or candles of another length.
    """
    table = _table(told, 1 + len(PRICES), "candles")
    table = table[np.isfinite(table).all(axis=1)]
    close = table[:, 0].astype(np.int64) // 1000
    _, first = np.unique(close, return_index=True)
    close, prices = close[first], table[first, 1:]
    obtained, on_grid = _spacing(close, interval.seconds)
    if obtained != interval.seconds:
        raise SourceError(
            f"CoinGecko answered with candles of {Interval.from_seconds(obtained)} where {interval} were asked for; "
            f"take another interval or span."
        )
    lag = _LAG if interval.intraday else _DAILY_LAG
    keep = on_grid & (close <= (now - lag).timestamp())
    frame = pd.DataFrame(np.nan, index=_moments(close[keep] - interval.seconds), columns=list(COLUMNS))
    frame[list(PRICES)] = prices[keep]
    return frame


def _spacing(close: np.ndarray, wanted: int) -> tuple[int, np.ndarray]:
    """Seconds between candles that close at these times (ascending, distinct), and which lie on their common grid."""
    if len(close) < 2:
        return wanted, close % wanted == 0
    offset = Counter((close % wanted).tolist()).most_common(1)[0][0]
    on_grid = close % wanted == offset
    steps = np.diff(close if on_grid[-1] else close[:-1])  # only the forming candle may be stamped with the moment
    if not len(steps):
        return wanted, on_grid
    usual = Counter(steps.tolist()).most_common(1)[0][0]
    # A coin that seldom trades leaves candles out, which makes steps longer but never shorter.
    return (wanted if int(np.gcd.reduce(steps)) == wanted else int(usual)), on_grid


def series(told: Any, name: str) -> pd.Series[float]:
    """Pairs [milliseconds, value] as a series by time."""
    table = _table(told, 2, name)
    series = pd.Series(table[:, 1], index=_moments(table[:, 0] / 1000), name=name, dtype=np.float64)
    return series[~series.index.duplicated(keep="last")].sort_index()


def chart_step(prices: pd.Series[float], coin: str) -> Interval:
    """What is nearest to the usual distance of a chart's moments."""
    if len(prices) < 2:
        raise SourceError(f"CoinGecko has fewer than two prices of {coin} in that time; ask for more days.")
    usual = float(np.median(np.diff(prices.index.to_numpy()) / np.timedelta64(1, "s")))
    return min(_CHART_STEPS, key=lambda step: abs(math.log(max(usual, 1) / step.seconds)))


def _table(told: Any, width: int, what: str) -> np.ndarray:
    """Rows of numbers as an array [rows, width], each with a time in milliseconds at its head."""
    refusal = SourceError(f"CoinGecko sent {what} that are not rows of {width} numbers with a time; try again later.")
    if not isinstance(told, list):
        raise refusal
    try:
        table = np.array(told, dtype=np.float64).reshape(-1, width)
    except (TypeError, ValueError, OverflowError) as error:
        raise refusal from error
    if len(table) != len(told) or not bool(((table[:, 0] > 0) & (table[:, 0] < _LATEST)).all()):
        raise refusal
    return table


def _moments(seconds: np.ndarray) -> pd.DatetimeIndex:
    """Seconds since 1970 as UTC times in microseconds."""
    stamps = np.asarray(np.asarray(seconds, dtype=np.float64) * 1e6, dtype="datetime64[us]")
    return pd.DatetimeIndex(stamps, tz="UTC", name="timestamps")


def numbers(row: object) -> dict[str, float]:
    """The finite numbers of a JSON object."""
    if not isinstance(row, dict):
        return {}
    return {
        key: float(value)
        for key, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }

"""Requests to the CoinGecko API: hosts and keys, error responses, and parsing of its rows."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS, PRICES
from kronos.errors import ParameterError, SourceError
from kronos.intervals import Interval
from kronos.network import is_unresolved
from kronos.sources.http import (
    RequestFailedError,
    ServerClock,
    call_with_retry,
    check_environment,
    connection_error,
    environment_error,
    invalid_response_error,
    setting_variable,
    status_error,
    unresolved_error,
    validate_base_url,
    validate_proxy,
)

if TYPE_CHECKING:
    import httpx2

    from kronos.settings import SourceSettings

_HOSTS = {"demo": "https://api.coingecko.com", "pro": "https://pro-api.coingecko.com"}
_KEY_HEADERS = {"demo": "x-cg-demo-api-key", "pro": "x-cg-pro-api-key"}
_KEY_VARIABLE = "COINGECKO_API_KEY"
_ROOT = "/api/v3"
# CoinGecko's error codes; errors with other codes are described by their HTTP status.
_INVALID_KEY = (10002, 10010, 10011)
_NOT_IN_PLAN = (10005, 10012)
# Responses are up to 15 minutes old, and a finished day appears 35 minutes later: the last candle may change until
# then.
_LAG, _DAILY_LAG = pd.Timedelta(minutes=20), pd.Timedelta(minutes=40)
_MAX_MILLIS = 1e14  # far beyond any valid time
_CHART_STEPS = (Interval(5, "m"), Interval(1, "h"), Interval(1, "d"))


class CoinGeckoClient:
    """The CoinGecko API.

    Attributes:
        plan: ``demo`` or ``pro``.
        clock: Time by the dates of the responses.
    """

    def __init__(self, settings: SourceSettings, wait: float) -> None:
        """Configure the client; no request is made. See `kronos.sources.coingecko.CoinGecko`."""
        key = settings.api_key.get_secret_value() if settings.api_key else os.environ.get(_KEY_VARIABLE, "").strip()
        if settings.plan == "pro" and not key and settings.base_url is None:
            raise ParameterError(f"CoinGecko's pro plan needs an API key: set {_KEY_VARIABLE}, or use the demo plan.")
        self.plan = settings.plan
        self.clock = ServerClock()
        self._settings = settings
        self._wait = wait
        self._headers = {_KEY_HEADERS[settings.plan]: key} if key else {}
        base = validate_base_url(settings.base_url or _HOSTS[settings.plan], "coingecko")
        self._base = base if base.endswith(_ROOT) else base + _ROOT
        self._proxy = None if settings.proxy is None else validate_proxy(settings.proxy, "coingecko")
        self._http: httpx2.Client | None = None

    def get(self, path: str, params: Mapping[str, object] | None = None) -> Any:
        """Request JSON, with retries.

        Raises:
            SourceError: If the API cannot be reached in time, or rejects the request.
            ParameterError: If it does not have the coin or the currency.
        """
        check_environment("CoinGecko", "httpx", proxies=self._proxy is None)
        query = {name: str(value) for name, value in (params or {}).items()}
        return call_with_retry(
            lambda: self._get_once(path, query),
            name="CoinGecko",
            attempts=self._settings.attempts,
            patience=self._settings.patience,
            wait=self._wait,
        )

    def _get_once(self, path: str, params: dict[str, str]) -> Any:
        import httpx2

        try:
            response = self._client().get(self._base + path, params=params, headers=self._headers)
        except httpx2.TimeoutException as error:
            raise connection_error(f"no response within {self._settings.timeout:g} s", name="coingecko") from error
        except httpx2.TransportError as error:
            explained = None if self._proxy else environment_error(error, self._base, "httpx")
            if explained is not None:
                raise explained from error
            if is_unresolved(error):
                raise unresolved_error(urlsplit(self._base).hostname or "", name="coingecko") from error
            raise connection_error(str(error) or type(error).__name__, name="coingecko") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise invalid_response_error(f"sent an unreadable response ({error})") from error
        self.clock.update(response.headers.get("date"))
        body = _json(response)
        code, message = _error_of(body)
        if response.status_code != 200 or code or message:
            raise self._error(response, code, message)
        if body is None:
            raise invalid_response_error("sent no usable JSON")
        return body

    def _client(self) -> httpx2.Client:
        if self._http is None:
            import httpx2

            try:
                self._http = httpx2.Client(proxy=self._proxy, timeout=self._settings.timeout)
            except ImportError as error:
                raise ParameterError(
                    "The SOCKS proxy of CoinGecko needs a package; pip install 'kronos-forecast[socks]'."
                ) from error
            except (ValueError, httpx2.InvalidURL) as error:
                # The URL may hold a password, so that the message does not repeat it.
                raise ParameterError(
                    f"{setting_variable('coingecko', 'proxy')} is not a usable proxy URL: write it like "
                    f"http://host:8080 or socks5://host:1080."
                ) from error
        return self._http

    def _error(self, response: httpx2.Response, code: int | None, message: str) -> Exception:
        """The exception for an error response."""
        status = 429 if code == 429 else response.status_code
        if code in _INVALID_KEY:
            hint = f"check {_KEY_VARIABLE} and {setting_variable('coingecko', 'plan')}"
            return RequestFailedError(
                f"does not accept the key for its {self.plan} plan ({code}: {message})", hint, status=status
            )
        if code in _NOT_IN_PLAN:
            hint = "request later or coarser candles, or use the pro plan"
            return RequestFailedError(
                f"does not include this in its {self.plan} plan ({code}: {message})", hint, status=status
            )
        if "vs_currency" in message:
            return ParameterError("CoinGecko has no prices in that currency: use one such as usd, eur or btc.")
        if "coin not found" in message.lower() or "could not find coin" in message.lower():
            return ParameterError("CoinGecko has no coin with that id: look the id up on the coin's page.")
        if status < 400:
            return RequestFailedError(f"rejected the request ({message or status})", "check the request", status=status)
        error = status_error(status, name="coingecko", retry_after=response.headers.get("retry-after"))
        if status == 429 and not self._headers:
            error.hint = f"wait a minute, or set {_KEY_VARIABLE} for a rate limit of your own"
        return error


def _json(response: httpx2.Response) -> Any:
    """The response's JSON; None if it is not JSON."""
    try:
        return response.json()
    except ValueError:
        return None


def _error_of(body: object) -> tuple[int | None, str]:
    """Code and message of an error in any of the API's three formats; (None, "") if it is not an error."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str):
        return None, error
    status = error.get("status") if isinstance(error, dict) else body.get("status") if isinstance(body, dict) else None
    if not isinstance(status, dict) or not isinstance(status.get("error_code"), int):
        return None, ""
    return status["error_code"], str(status.get("error_message", ""))


def parse_candles(rows: Any, interval: Interval, now: pd.Timestamp) -> pd.DataFrame:
    """Convert rows [milliseconds of the close, open, high, low, close] to candles by opening time.

    Args:
        rows: The rows, in any order; some may be duplicated.
        interval: The requested interval.
        now: Time on CoinGecko's clock. Candles that closed shortly before it may still change and are dropped.

    Returns:
        The columns of a `Page`, volume and amount NaN, in order, without rows between the times of the grid.

    Raises:
        SourceError: If the rows are invalid, or candles of another interval.
    """
    table = _table(rows, 1 + len(PRICES), "candles")
    table = table[np.isfinite(table).all(axis=1)]
    close = table[:, 0].astype(np.int64) // 1000
    _, first = np.unique(close, return_index=True)
    close, prices = close[first], table[first, 1:]
    spacing, on_grid = _spacing(close, interval.seconds)
    if spacing != interval.seconds:
        raise SourceError(
            f"CoinGecko sent candles of {Interval.from_seconds(spacing)} instead of {interval}: request another "
            f"interval or range."
        )
    lag = _LAG if interval.intraday else _DAILY_LAG
    keep = on_grid & (close <= (now - lag).timestamp())
    frame = pd.DataFrame(np.nan, index=_to_index(close[keep] - interval.seconds), columns=list(COLUMNS))
    frame[list(PRICES)] = prices[keep]
    return frame


def _spacing(close: np.ndarray, requested: int) -> tuple[int, np.ndarray]:
    """Seconds between candles with these closing times (ascending, distinct), and which lie on their common grid."""
    if len(close) < 2:
        return requested, close % requested == 0
    offset = Counter((close % requested).tolist()).most_common(1)[0][0]
    on_grid = close % requested == offset
    steps = np.diff(close if on_grid[-1] else close[:-1])  # only the forming candle may be off the grid
    if not len(steps):
        return requested, on_grid
    most_frequent = Counter(steps.tolist()).most_common(1)[0][0]
    # A rarely traded coin has gaps, which make steps longer but never shorter.
    return (requested if int(np.gcd.reduce(steps)) == requested else int(most_frequent)), on_grid


def parse_series(rows: Any, name: str) -> pd.Series[float]:
    """Convert pairs [milliseconds, value] to a series by time."""
    table = _table(rows, 2, name)
    series = pd.Series(table[:, 1], index=_to_index(table[:, 0] / 1000), name=name, dtype=np.float64)
    return series[~series.index.duplicated(keep="last")].sort_index()


def infer_granularity(prices: pd.Series[float], coin: str) -> Interval:
    """Interval nearest to the median distance of a chart's times: 5m, 1h or 1d."""
    if len(prices) < 2:
        raise SourceError(f"CoinGecko has fewer than two prices of {coin} in that range: request more days.")
    median = float(np.median(np.diff(prices.index.to_numpy()) / np.timedelta64(1, "s")))
    return min(_CHART_STEPS, key=lambda step: abs(math.log(max(median, 1) / step.seconds)))


def _table(rows: Any, width: int, noun: str) -> np.ndarray:
    """Convert rows of numbers, each with a time in milliseconds first, to an array [rows, width]."""
    invalid = SourceError(f"CoinGecko sent {noun} that are not rows of {width} numbers with a time; try again later.")
    if not isinstance(rows, list):
        raise invalid
    try:
        table = np.array(rows, dtype=np.float64).reshape(-1, width)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid from error
    if len(table) != len(rows) or not bool(((table[:, 0] > 0) & (table[:, 0] < _MAX_MILLIS)).all()):
        raise invalid
    return table


def _to_index(seconds: np.ndarray) -> pd.DatetimeIndex:
    """UTC times in microseconds of seconds since 1970."""
    stamps = np.asarray(np.asarray(seconds, dtype=np.float64) * 1e6, dtype="datetime64[us]")
    return pd.DatetimeIndex(stamps, tz="UTC", name="timestamps")


def finite_numbers(row: object) -> dict[str, float]:
    """The finite numbers of a JSON object."""
    if not isinstance(row, dict):
        return {}
    return {
        key: float(value)
        for key, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }

"""Access to one ccxt exchange, configured by the settings, with retries.

- API keys are used if they are set, and never needed. Hosts, proxy and timeout come from the settings.
- A response that is not JSON, or an empty object, is an error: ccxt would take a cut response or a gateway's page for
  an empty list of candles.
- Candles keep the amount (quote volume), which ccxt drops, of exchanges that are known to report it.
"""

from __future__ import annotations

import difflib
import importlib.util
import logging
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from kronos.errors import ParameterError
from kronos.formatting import truncate
from kronos.network import causes_of, is_unresolved
from kronos.sources.http import (
    RequestFailedError,
    ServerClock,
    UnreachableError,
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
    from pydantic import SecretStr

    from kronos.settings import SourceSettings

T = TypeVar("T")
MarketKind = Literal["spot", "linear", "inverse"]
Column = int | str

OLDEST, NEWEST = 10**11, 10**13  # 1973 and 2286 in milliseconds: times outside are invalid, or in another unit
_ALL: tuple[MarketKind, ...] = ("spot", "linear", "inverse")
_NOT_INVERSE: tuple[MarketKind, ...] = ("spot", "linear")
_HOST = re.compile(r"^https?://[^/]+")
_MESSAGE = re.compile(r'"(?:msg|message|retMsg|err-msg|error_message|error|label)"\s*:\s*"([^"]+)"')
_CHECK_REQUEST = "check the symbol, the interval and the requested range"
# What ccxt raises for a response in an unexpected shape.
_PARSE_ERRORS = (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError)

log = logging.getLogger("kronos.sources")


@dataclass(frozen=True, slots=True)
class ExchangeQuirks:
    """How an exchange differs from others.

    Attributes:
        amount: Place of the quote volume in a raw candle: an index of a list, or a key of a mapping.
        amount_of: The kinds of markets for which that is so; for others the same place may hold something else.
        onward: The kinds for which a page holds the first rows from a time on, however late they are. For others a
            request covers a window, and an empty page does not mean that nothing comes after it.
        recent: Range, in intervals before now, of the endpoint for recent candles, if older ones have their own.
        only_spot: Timeframes that contracts do not have.
        spare: Alternative hosts, by the host that they replace.
    """

    amount: Column | None = None
    amount_of: tuple[MarketKind, ...] = _NOT_INVERSE
    onward: tuple[MarketKind, ...] = ()
    recent: int | None = None
    only_spot: tuple[str, ...] = ()
    spare: dict[str, str] = field(default_factory=dict)


# COIN-M candles hold contracts and coins, but no quote volume.
_BINANCE = ExchangeQuirks(amount=7, onward=_NOT_INVERSE, only_spot=("1s",))
# `volCcyQuote` is in dollars for coin-margined swaps too. The endpoint for recent candles reaches back 1,440 bars.
_OKX = ExchangeQuirks(amount=7, amount_of=_ALL, recent=1_400)
_HITBTC = ExchangeQuirks(amount="volume_quote", amount_of=("spot",))
_HTX = ExchangeQuirks(amount="vol", amount_of=("spot",))

# Places as in the samples of raw candles in ccxt's source, confirmed by their prices and volumes.
QUIRKS: dict[str, ExchangeQuirks] = {
    "aster": ExchangeQuirks(amount=7, amount_of=("spot",)),
    "bequant": _HITBTC,
    "binance": replace(_BINANCE, spare={"api.binance.com": "data-api.binance.vision"}),
    "binanceus": _BINANCE,
    "binanceusdm": _BINANCE,
    "bingx": ExchangeQuirks(amount=7, amount_of=("spot",)),
    "bitget": ExchangeQuirks(amount=6),
    "bittrade": _HTX,
    "blofin": ExchangeQuirks(amount=7),
    "bybit": ExchangeQuirks(amount=6),
    "gate": ExchangeQuirks(amount=1, amount_of=("spot",)),
    "hitbtc": _HITBTC,
    "htx": _HTX,
    "kucoin": ExchangeQuirks(amount=6, amount_of=("spot",)),
    "myokx": _OKX,
    "okx": _OKX,
    "okxus": _OKX,
    "poloniex": ExchangeQuirks(amount=4, amount_of=("spot",)),
    "tokocrypto": ExchangeQuirks(amount=7, amount_of=("spot",)),
    "whitebit": ExchangeQuirks(amount=6, amount_of=("spot",)),
}


class InvalidRowsError(ValueError):
    """Rows that cannot be candles; the message follows the word ``sent``."""


def classify_error(error: Exception, name: str, timeout: float, url: str | None = None) -> RequestFailedError:
    """Convert an exception of ccxt, or of parsing its result, to a `RequestFailedError`.

    Args:
        error: The exception.
        name: Name of the exchange in the settings.
        timeout: Seconds until a request times out.
        url: What was requested, if it went through a proxy of the environment if it has one.
    """
    import ccxt

    update = "update ccxt, or use another source"
    if isinstance(error, InvalidRowsError):
        return RequestFailedError(f"sent {error}", update)
    if not isinstance(error, ccxt.BaseError):
        return RequestFailedError("sent a response that cannot be read", update)
    status, retry_after = _http_status(error)
    if status is not None and status not in (400, 409, 422):
        return status_error(status, name=name, retry_after=retry_after)
    if status is not None:
        return RequestFailedError(f"rejected the request ({_description(error)})", _CHECK_REQUEST, status=status)
    if url is not None and isinstance(error, ccxt.NetworkError):
        explained = environment_error(error, url, "requests")
        if explained is not None:
            return explained
    if isinstance(error, ccxt.RequestTimeout):
        return connection_error(f"no response within {timeout:g} s", name=name)
    if isinstance(error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded)):
        return status_error(429, name=name)
    if isinstance(error, ccxt.ExchangeNotAvailable):
        return RequestFailedError(f"is not available ({_description(error)})", "try again later", retryable=True)
    if isinstance(error, ccxt.NetworkError):
        return _classify_network_error(error, name, urlsplit(url or "").hostname or "")
    if isinstance(error, ccxt.OperationFailed):
        return invalid_response_error("sent no usable JSON")
    if isinstance(error, ccxt.AuthenticationError):
        hint = f"set or correct {name.upper()}_API_KEY and {name.upper()}_API_SECRET"
        return RequestFailedError(f"requires valid API keys ({_description(error)})", hint)
    return RequestFailedError(f"rejected the request ({_description(error)})", _CHECK_REQUEST)


def _http_status(error: Exception) -> tuple[int | None, str | None]:
    """Status and ``Retry-After`` of the HTTP error response that caused an exception, if any."""
    for cause in causes_of(error):
        response = getattr(cause, "response", None)
        if response is not None and response.status_code >= 400:
            return int(response.status_code), response.headers.get("Retry-After")
    return None, None


def _description(error: Exception) -> str:
    """The exchange's own message, or else ccxt's name of the error: ``Invalid symbol``, ``bad request``."""
    message = _MESSAGE.search(str(error))
    if message:
        return truncate(message[1], 100).rstrip(".")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()


def _classify_network_error(error: Exception, name: str, host: str) -> RequestFailedError:
    causes = list(causes_of(error))
    kinds = {type(cause).__name__ for cause in causes}
    if "SSLCertVerificationError" in kinds:
        hint = "if a proxy replaces certificates, set REQUESTS_CA_BUNDLE to its own"
        return RequestFailedError("could not be reached securely (its certificate cannot be verified)", hint)
    if "ProxyError" in kinds:
        hint = f"check {setting_variable(name, 'proxy')} and the variables HTTPS_PROXY and HTTP_PROXY"
        return UnreachableError(f"could not be reached through the proxy ({_reason(causes)})", hint, retryable=True)
    if "IncompleteRead" in kinds or "ChunkedEncodingError" in kinds:
        return invalid_response_error("sent an incomplete response")
    if is_unresolved(error):
        return unresolved_error(host, name=name)
    return connection_error(_reason(causes), name=name)


def _reason(causes: list[BaseException]) -> str:
    """The system's description of a lost connection."""
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.errno and cause.strerror:
            return truncate(cause.strerror).lower()
    return "the connection was cut"


class CcxtClient:
    """An exchange of ccxt.

    Attributes:
        name: ccxt's name of the exchange.
        api: ccxt's object; use it through `call`.
        clock: Time by the dates of the responses.
        quirks: What ccxt does not know about the exchange.
    """

    def __init__(self, name: str, settings: SourceSettings, wait: float) -> None:
        """Configure the exchange; no request is made. See `kronos.sources.exchanges.CcxtSource`."""
        exchange_class = _exchange_class(name)
        self.name = name
        self.api: Any = exchange_class(_config(name, settings))
        if self.api.has.get("fetchOHLCV") is not True:
            raise ParameterError(f"{name} has no candles: use another exchange, such as binance, okx or kraken.")
        self.api.has["fetchCurrencies"] = False
        self.api.options["fetchMargins"] = False  # with keys, ccxt would request the margins of Binance's account
        self.quirks = QUIRKS.get(name, ExchangeQuirks())
        self._settings = settings
        self._wait = wait
        self.clock = ServerClock()
        self._spare = dict(self.quirks.spare) if settings.base_url is None else {}
        if settings.base_url is not None:
            self.api.urls["api"] = _replace_host(self.api.urls["api"], validate_base_url(settings.base_url, name))
        _check_responses(self.api, self.clock)
        _keep_amounts(self.api, self.quirks)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function of `api`, with retries.

        Raises:
            SourceError: If the exchange cannot be reached, rejects the request, or its response is unusable.
        """
        check_environment(self.name, "requests", proxies=self._settings.proxy is None)
        return call_with_retry(
            lambda: self._call_any_host(function),
            name=self.name,
            attempts=self._settings.attempts,
            patience=self._settings.patience,
            wait=self._wait,
        )

    def _call_any_host(self, function: Callable[[], T]) -> T:
        """Call a function; use the spare host if the main one has never answered."""
        try:
            result = self._call_once(function)
        except RequestFailedError as failure:
            host = self._last_host()
            unusable = isinstance(failure, UnreachableError) or failure.status in (403, 451)
            if host not in self._spare or not unusable:
                raise
            return self._call_spare_host(function, host, failure)
        if self._last_host() in self._spare:
            self._spare = {}
        return result

    def _call_spare_host(self, function: Callable[[], T], host: str, failure: RequestFailedError) -> T:
        """Call a function on the spare host, and keep using it if it answers."""
        main, spare = self.api.urls["api"], self._spare[host]
        self.api.urls["api"] = _replace_host(main, f"https://{spare}", only=host)
        try:
            result = self._call_once(function)
        except RequestFailedError:
            self.api.urls["api"] = main
            raise failure from None
        self._spare = {}
        log.info("%s %s at %s; using %s instead.", self.name, failure.reason, host, spare)
        return result

    def _call_once(self, function: Callable[[], T]) -> T:
        import ccxt

        try:
            return function()
        except (ccxt.BaseError, *_PARSE_ERRORS) as error:
            url = None if self._settings.proxy else self.api.last_request_url
            raise classify_error(error, self.name, self._settings.timeout, url) from error

    def _last_host(self) -> str:
        return urlsplit(self.api.last_request_url or "").hostname or ""


def market_kind(market: dict[str, Any]) -> MarketKind:
    """Kind of a ccxt market."""
    if market.get("spot"):
        return "spot"
    return "inverse" if market.get("inverse") else "linear"


def _exchange_class(name: str) -> Callable[[dict[str, Any]], Any]:
    try:
        import ccxt
    except ImportError:
        raise ParameterError(
            f"The source {name} needs ccxt; install it with pip install 'kronos-forecast[exchange]'."
        ) from None
    if name not in ccxt.exchanges:
        near = difflib.get_close_matches(name, [*ccxt.exchanges, "coingecko", "files", "simulated"], n=1)
        hint = f"did you mean {near[0]}?" if near else "use one that ccxt knows, such as binance, okx or kraken."
        raise ParameterError(f"There is no exchange '{name}'; {hint}")
    exchange_class: Callable[[dict[str, Any]], Any] = getattr(ccxt, name)
    return exchange_class


def _config(name: str, settings: SourceSettings) -> dict[str, Any]:
    """Configuration of the ccxt object."""
    config: dict[str, Any] = {
        "timeout": max(1, round(settings.timeout * 1000)),
        "enableRateLimit": True,
        "requests_trust_env": True,  # the usual HTTPS_PROXY, NO_PROXY and REQUESTS_CA_BUNDLE
    }
    if settings.proxy is not None:
        proxy = validate_proxy(settings.proxy, name)
        if proxy.startswith("socks") and importlib.util.find_spec("socks") is None:
            raise ParameterError(f"The SOCKS proxy of {name} needs a package; pip install 'kronos-forecast[socks]'.")
        config["proxies"] = {"http": proxy, "https": proxy}
    for setting, option in (("api_key", "apiKey"), ("api_secret", "secret"), ("api_passphrase", "password")):
        secret: SecretStr | None = getattr(settings, setting)
        variable = f"{name.upper()}_{setting.upper()}"
        value = secret.get_secret_value() if secret else os.environ.get(variable, "").strip()
        if value:
            config[option] = value
    return config


def _replace_host(urls: Any, base: str, only: str | None = None) -> Any:
    """Replace scheme and host of all of an exchange's URLs, or of those of one host; paths stay."""
    if isinstance(urls, dict):
        return {key: _replace_host(value, base, only) for key, value in urls.items()}
    if isinstance(urls, str) and only in (None, urlsplit(urls).hostname):
        return _HOST.sub(lambda _: base, urls)
    return urls


def _check_responses(api: Any, clock: ServerClock) -> None:
    """Update the clock by every response, and reject responses that are not JSON, or an empty object."""
    from ccxt import BadResponse

    fetch = api.fetch

    def fetch_json(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        response = fetch(url, method, headers, body)
        if not isinstance(response, (dict, list)) or response == {}:
            raise BadResponse(api.id)
        clock.update((api.last_response_headers or {}).get("Date"))
        return response

    api.fetch = fetch_json


def _keep_amounts(api: Any, quirks: ExchangeQuirks) -> None:
    """Make ccxt append the amount to each parsed candle, and reject candles without a valid time."""
    parse = api.parse_ohlcv

    def parse_with_amount(raw: Any, market: Any = None) -> list[Any]:
        row = parse(raw, market)
        time = row[0]
        if not isinstance(time, (int, float)) or not OLDEST < time < NEWEST:
            raise InvalidRowsError("a candle without a valid time")
        has_amount = market is not None and market_kind(market) in quirks.amount_of
        return [*row[:6], _amount(raw, quirks.amount) if has_amount else math.nan]

    api.parse_ohlcv = parse_with_amount


def _amount(raw: Any, column: Column | None) -> float:
    try:
        return float(raw[column])
    except (TypeError, ValueError, KeyError, IndexError):
        return math.nan

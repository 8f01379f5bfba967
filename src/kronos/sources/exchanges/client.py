"""One exchange of ccxt, set up as the settings say, and asked with retries.

- Keys are used where there are any, and never needed; hosts, proxy and timeout are the settings'.
- What is no JSON, or holds nothing, is a fault: ccxt would take a cut answer, or a gateway's page, for an empty list of
  candles.
- Each candle keeps the amount (quote volume) where the exchange is known to tell it, which ccxt leaves out.
"""

from __future__ import annotations

import difflib
import importlib.util
import logging
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from kronos.errors import ParameterError
from kronos.formatting import truncate
from kronos.sources.http import (
    RequestFailedError,
    ServerClock,
    UnreachableError,
    broken,
    call_with_retry,
    checked_base,
    checked_proxy,
    refused,
    unreachable,
    variable,
)

if TYPE_CHECKING:
    from pydantic import SecretStr

    from kronos.settings import SourceSettings

Kind = Literal["spot", "linear", "inverse"]
Column = int | str

_ANY: tuple[Kind, ...] = ("spot", "linear", "inverse")
_DIRECT: tuple[Kind, ...] = ("spot", "linear")


@dataclass(frozen=True, slots=True)
class ExchangeQuirks:
    """How an exchange differs.

    Attributes:
        amount: Where the quote volume stands in a raw candle: a position in a list, or a name in a mapping.
        amount_of: The kinds of markets of which that is so; the same place may hold another thing for others.
        onward: The kinds of which it sends the first rows from a time on, however late they are. Else a request
            is about a window, and an empty answer says nothing about what comes after it.
        recent: How many intervals back its endpoint for recent candles reaches, where older ones have their own.
        only_spot: Timeframes that contracts don't have.
        spare: Hosts that serve the same, by the host that they stand in for.
    """

    amount: Column | None = None
    amount_of: tuple[Kind, ...] = _DIRECT
    onward: tuple[Kind, ...] = ()
    recent: int | None = None
    only_spot: tuple[str, ...] = ()
    spare: dict[str, str] = field(default_factory=dict)


# COIN-M candles hold contracts and coins, but no quote volume.
_BINANCE = ExchangeQuirks(amount=7, onward=_DIRECT, only_spot=("1s",))
# `volCcyQuote` counts dollars for coin-margined swaps too. The recent endpoint reaches back 1,440 bars.
_OKX = ExchangeQuirks(amount=7, amount_of=_ANY, recent=1_400)
_HITBTC = ExchangeQuirks(amount="volume_quote", amount_of=("spot",))
_HTX = ExchangeQuirks(amount="vol", amount_of=("spot",))

# Positions as in the samples of raw candles in ccxt's source, whose prices and volumes confirm them.
DIALECTS: dict[str, ExchangeQuirks] = {
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


_SAYS = re.compile(r'"(?:msg|message|retMsg|err-msg|error_message|error|label)"\s*:\s*"([^"]+)"')
_CHECK = "check the symbol, the interval and the times asked for"


class NonsenseError(ValueError):
    """Rows that cannot be candles; the message follows the word ``answered``."""


def classify_error(error: Exception, name: str, timeout: float) -> RequestFailedError:
    """The fault that an exception of ccxt, or one from reading what it gave, stands for.

    Args:
        error: What was raised.
        name: The exchange, as its settings call it.
        timeout: Seconds that one answer may take.
    """
    import ccxt

    if isinstance(error, NonsenseError):
        return RequestFailedError(
            f"answered {error}", "it cannot be used as it is: update ccxt, or take another source"
        )
    if not isinstance(error, ccxt.BaseError):
        return RequestFailedError("answered what cannot be read", "update ccxt, or take another source")
    status, retry_after = _answered(error)
    if status is not None and status not in (400, 409, 422):
        return refused(status, name=name, retry_after=retry_after)
    if status is not None:
        return RequestFailedError(f"refuses the request ({_words(error)})", _CHECK, status=status)
    if isinstance(error, ccxt.RequestTimeout):
        return unreachable(f"no answer within {timeout:g} s", name=name)
    if isinstance(error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded)):
        return refused(429, name=name)
    if isinstance(error, ccxt.ExchangeNotAvailable):
        return RequestFailedError(f"is not available ({_words(error)})", "try again later", again=True)
    if isinstance(error, ccxt.NetworkError):
        return _lost(error, name)
    if isinstance(error, ccxt.OperationFailed):
        return broken("sent no usable JSON")
    if isinstance(error, ccxt.AuthenticationError):
        mend = f"set or mend {name.upper()}_API_KEY, and its secret beside it"
        return RequestFailedError(f"wants keys, or other ones ({_words(error)})", mend)
    return RequestFailedError(f"refuses the request ({_words(error)})", _CHECK)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what led to it, the latest first."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
            yield one


def _answered(error: Exception) -> tuple[int | None, str | None]:
    """The status of the HTTP answer that was an error, and its ``Retry-After``."""
    for one in _causes(error):
        response = getattr(one, "response", None)
        if response is not None and response.status_code >= 400:
            return int(response.status_code), response.headers.get("Retry-After")
    return None, None


def _words(error: Exception) -> str:
    """What the exchange said, or else ccxt's name of it: ``Invalid symbol``, ``bad request``."""
    said = _SAYS.search(str(error))
    if said:
        return truncate(said[1], 100).rstrip(".")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()


def _lost(error: Exception, name: str) -> RequestFailedError:
    """What became of a connection."""
    causes = list(_causes(error))
    kinds = {type(one).__name__ for one in causes}
    if "SSLCertVerificationError" in kinds:
        mend = "if a proxy changes certificates, name its own with REQUESTS_CA_BUNDLE"
        return RequestFailedError("could not be reached safely (its certificate cannot be verified)", mend)
    if "ProxyError" in kinds:
        mend = f"check {variable(name, 'proxy')} and the variables HTTPS_PROXY and HTTP_PROXY"
        return UnreachableError(f"could not be reached through the proxy ({_why(causes)})", mend, again=True)
    if "IncompleteRead" in kinds or "ChunkedEncodingError" in kinds:
        return broken("sent half an answer")
    if "gaierror" in kinds:
        return unreachable("its name cannot be resolved", name=name)
    return unreachable(_why(causes), name=name)


def _why(causes: list[BaseException]) -> str:
    """The system's words for a lost connection."""
    for one in reversed(causes):
        if isinstance(one, OSError) and one.errno and one.strerror:
            return truncate(one.strerror).lower()
    return "the connection was cut"


T = TypeVar("T")

OLDEST, NEWEST = 10**11, 10**13  # 1973 and 2286, in milliseconds: a time outside is none, or in another unit
_HOST = re.compile(r"^https?://[^/]+")
_UNREADABLE = (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError)

log = logging.getLogger("kronos.sources")


class Client:
    """An exchange behind ccxt.

    Attributes:
        name: ccxt's name of it.
        api: ccxt's object; call it through `ask`.
        clock: The time that its answers tell.
        dialect: What ccxt does not tell about it.
    """

    def __init__(self, name: str, settings: SourceSettings, wait: float) -> None:
        """Set the exchange up; nothing is asked yet. See `kronos.sources.exchanges.source.CcxtSource`."""
        kind = _class_of(name)
        self.name = name
        self.api: Any = kind(_config(name, settings))
        if self.api.has.get("fetchOHLCV") is not True:
            raise ParameterError(f"{name} serves no candles; take another exchange, such as binance, okx or kraken.")
        self.api.has["fetchCurrencies"] = False
        self.api.options["fetchMargins"] = False  # with keys, Binance's account would be asked about its margins
        self.dialect = DIALECTS.get(name, ExchangeQuirks())
        self._settings = settings
        self._wait = wait
        self.clock = ServerClock()
        self._spare = dict(self.dialect.spare) if settings.base_url is None else {}
        if settings.base_url is not None:
            self.api.urls["api"] = _moved(self.api.urls["api"], checked_base(settings.base_url, name))
        _watch(self.api, self.clock)
        _keep_amounts(self.api, self.dialect)

    def ask(self, call: Callable[[], T]) -> T:
        """The result of a call to `api`, with retries.

        Raises:
            SourceError: If it cannot be reached, refuses, or answers nonsense.
        """
        one = self._settings
        return call_with_retry(
            lambda: self._here_or_there(call),
            name=self.name,
            attempts=one.attempts,
            patience=one.patience,
            wait=self._wait,
        )

    def _here_or_there(self, call: Callable[[], T]) -> T:
        """Make a call; while the usual host has not answered yet, a spare one may."""
        try:
            answer = self._once(call)
        except RequestFailedError as fault:
            host = self._host()
            if host not in self._spare or not (isinstance(fault, UnreachableError) or fault.status in (403, 451)):
                raise
            return self._there(call, host, fault)
        if self._host() in self._spare:
            self._spare = {}
        return answer

    def _there(self, call: Callable[[], T], host: str, fault: RequestFailedError) -> T:
        """Make a call to the spare host, and stay there if it answers."""
        usual, spare = self.api.urls["api"], self._spare[host]
        self.api.urls["api"] = _moved(usual, f"https://{spare}", only=host)
        try:
            answer = self._once(call)
        except RequestFailedError:
            self.api.urls["api"] = usual
            raise fault from None
        self._spare = {}
        log.info("%s %s at %s; %s serves the same.", self.name, fault.reason, host, spare)
        return answer

    def _once(self, call: Callable[[], T]) -> T:
        import ccxt

        try:
            return call()
        except (ccxt.BaseError, *_UNREADABLE) as error:
            raise classify_error(error, self.name, self._settings.timeout) from error

    def _host(self) -> str:
        """The host asked last."""
        return urlsplit(self.api.last_request_url or "").hostname or ""


def kind_of(market: dict[str, Any]) -> Kind:
    """The kind of one of ccxt's markets."""
    if market.get("spot"):
        return "spot"
    return "inverse" if market.get("inverse") else "linear"


def _class_of(name: str) -> Callable[[dict[str, Any]], Any]:
    try:
        import ccxt
    except ImportError:
        mend = "install it with pip install 'kronos[exchange]'"
        raise ParameterError(f"The source {name} needs ccxt; {mend}.") from None
    if name not in ccxt.exchanges:
        near = difflib.get_close_matches(name, [*ccxt.exchanges, "coingecko", "files", "simulated"], n=1)
        mend = f"did you mean {near[0]}?" if near else "take one that ccxt knows, such as binance, okx or kraken."
        raise ParameterError(f"There is no exchange '{name}'; {mend}")
    chosen: Callable[[dict[str, Any]], Any] = getattr(ccxt, name)
    return chosen


def _config(name: str, settings: SourceSettings) -> dict[str, Any]:
    """What ccxt is told at the start."""
    config: dict[str, Any] = {
        "timeout": max(1, round(settings.timeout * 1000)),
        "enableRateLimit": True,
        "requests_trust_env": True,  # the usual HTTPS_PROXY, NO_PROXY and REQUESTS_CA_BUNDLE
    }
    if settings.proxy is not None:
        proxy = checked_proxy(settings.proxy, name)
        if proxy.startswith("socks") and importlib.util.find_spec("socks") is None:
            raise ParameterError(f"The SOCKS proxy of {name} needs PySocks; install it with pip install pysocks.")
        config["proxies"] = {"http": proxy, "https": proxy}
    for ours, theirs in (("api_key", "apiKey"), ("api_secret", "secret"), ("api_passphrase", "password")):
        secret: SecretStr | None = getattr(settings, ours)
        value = secret.get_secret_value() if secret else os.environ.get(f"{name.upper()}_{ours.upper()}", "").strip()
        if value:
            config[theirs] = value
    return config


def _moved(urls: Any, base: str, only: str | None = None) -> Any:
    """The addresses of an exchange with another scheme and host, all or those of one host; paths stay."""
    if isinstance(urls, dict):
        return {key: _moved(value, base, only) for key, value in urls.items()}
    if isinstance(urls, str) and only in (None, urlsplit(urls).hostname):
        return _HOST.sub(lambda _: base, urls)
    return urls


def _watch(api: Any, clock: ServerClock) -> None:
    """Note the time of every answer, and refuse those that are no JSON, or an object without anything in it."""
    from ccxt import BadResponse

    fetch = api.fetch

    def fetch_json(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        answer = fetch(url, method, headers, body)
        if not isinstance(answer, (dict, list)) or answer == {}:
            raise BadResponse(api.id)
        clock.note((api.last_response_headers or {}).get("Date"))
        return answer

    api.fetch = fetch_json


def _keep_amounts(api: Any, dialect: ExchangeQuirks) -> None:
    parse = api.parse_ohlcv

    def parse_with_amount(raw: Any, market: Any = None) -> list[Any]:
        row = parse(raw, market)
        time = row[0]
        if not isinstance(time, (int, float)) or not OLDEST < time < NEWEST:
            raise NonsenseError("a candle without a time")
        told = market is not None and kind_of(market) in dialect.amount_of
        return [*row[:6], _amount(raw, dialect.amount) if told else math.nan]

    api.parse_ohlcv = parse_with_amount


def _amount(raw: Any, column: int | str | None) -> float:
    try:
        return float(raw[column])
    except (TypeError, ValueError, KeyError, IndexError):
        return math.nan

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
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from kronos.errors import ParameterError
from kronos.sources.addresses import checked_base, checked_proxy
from kronos.sources.clocks import AnswerClock
from kronos.sources.exchanges.dialects import DIALECTS, Dialect, Kind
from kronos.sources.exchanges.faults import NonsenseError, fault_of
from kronos.sources.retrying import AttemptError, UnreachableError, retrying

if TYPE_CHECKING:
    from pydantic import SecretStr

    from kronos.settings import SourceSettings

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
        """Set the exchange up; nothing is asked yet. See `kronos.sources.exchanges.exchange.Exchange`."""
        kind = _class_of(name)
        self.name = name
        self.api: Any = kind(_config(name, settings))
        if self.api.has.get("fetchOHLCV") is not True:
            raise ParameterError(f"{name} serves no candles; take another exchange, such as binance, okx or kraken.")
        self.api.has["fetchCurrencies"] = False
        self.api.options["fetchMargins"] = False  # with keys, Binance's account would be asked about its margins
        self.dialect = DIALECTS.get(name, Dialect())
        self._settings = settings
        self._wait = wait
        self.clock = AnswerClock()
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
        return retrying(
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
        except AttemptError as fault:
            host = self._host()
            if host not in self._spare or not (isinstance(fault, UnreachableError) or fault.status in (403, 451)):
                raise
            return self._there(call, host, fault)
        if self._host() in self._spare:
            self._spare = {}
        return answer

    def _there(self, call: Callable[[], T], host: str, fault: AttemptError) -> T:
        """Make a call to the spare host, and stay there if it answers."""
        usual, spare = self.api.urls["api"], self._spare[host]
        self.api.urls["api"] = _moved(usual, f"https://{spare}", only=host)
        try:
            answer = self._once(call)
        except AttemptError:
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
            raise fault_of(error, self.name, self._settings.timeout) from error

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


def _watch(api: Any, clock: AnswerClock) -> None:
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


def _keep_amounts(api: Any, dialect: Dialect) -> None:
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

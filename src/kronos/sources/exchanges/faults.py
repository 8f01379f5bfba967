"""What ccxt raises, told as faults in plain words: which of them may pass, and what to do about the others.

ccxt's classes alone do not say: it calls a refusal by location unavailability, and a cut connection an error.
The HTTP answer, and the cause of a lost connection, are found along the chain of exceptions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kronos.candles.findings import shown
from kronos.sources.retrying import AttemptError, UnreachableError, broken, refused, unreachable, variable

_SAYS = re.compile(r'"(?:msg|message|retMsg|err-msg|error_message|error|label)"\s*:\s*"([^"]+)"')
_CHECK = "check the symbol, the interval and the times asked for"


class NonsenseError(ValueError):
    """Rows that cannot be candles; the message follows the word ``answered``."""


def fault_of(error: Exception, name: str, timeout: float) -> AttemptError:
    """The fault that an exception of ccxt, or one from reading what it gave, stands for.

    Args:
        error: What was raised.
        name: The exchange, as its settings call it.
        timeout: Seconds that one answer may take.
    """
    import ccxt

    if isinstance(error, NonsenseError):
        return AttemptError(f"answered {error}", "it cannot be used as it is: update ccxt, or take another source")
    if not isinstance(error, ccxt.BaseError):
        return AttemptError("answered what cannot be read", "update ccxt, or take another source")
    status, retry_after = _answered(error)
    if status is not None and status not in (400, 409, 422):
        return refused(status, name=name, retry_after=retry_after)
    if status is not None:
        return AttemptError(f"refuses the request ({_words(error)})", _CHECK, status=status)
    if isinstance(error, ccxt.RequestTimeout):
        return unreachable(f"no answer within {timeout:g} s", name=name)
    if isinstance(error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded)):
        return refused(429, name=name)
    if isinstance(error, ccxt.ExchangeNotAvailable):
        return AttemptError(f"is not available ({_words(error)})", "try again later", again=True)
    if isinstance(error, ccxt.NetworkError):
        return _lost(error, name)
    if isinstance(error, ccxt.OperationFailed):
        return broken("sent no usable JSON")
    if isinstance(error, ccxt.AuthenticationError):
        mend = f"set or mend {name.upper()}_API_KEY, and its secret beside it"
        return AttemptError(f"wants keys, or other ones ({_words(error)})", mend)
    return AttemptError(f"refuses the request ({_words(error)})", _CHECK)


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
        return shown(said[1], 100).rstrip(".")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()


def _lost(error: Exception, name: str) -> AttemptError:
    """What became of a connection."""
    causes = list(_causes(error))
    kinds = {type(one).__name__ for one in causes}
    if "SSLCertVerificationError" in kinds:
        mend = "if a proxy changes certificates, name its own with REQUESTS_CA_BUNDLE"
        return AttemptError("could not be reached safely (its certificate cannot be verified)", mend)
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
            return shown(one.strerror).lower()
    return "the connection was cut"

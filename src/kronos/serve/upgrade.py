"""Requests that offer another protocol, such as HTTP/2 by ``Upgrade: h2c``, served with HTTP/1.1.

A server may ignore the offer (RFC 9110, section 7.8). The parser `httptools` stops at the end of such a request's head
and takes the body for the other protocol, so the body would be lost. Java's HTTP client makes the offer in every
request.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httptools

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kronos.serve.server import StrictHTTPProtocol

_OFFER = frozenset({b"connection", b"http2-settings", b"upgrade"})


class OfferIgnoringParser(httptools.HttpRequestParser):
    """A parser of requests that continues with HTTP/1.1 when a request offers another protocol.

    Args:
        protocol: Receives the parts of the requests.
    """

    def __init__(self, protocol: StrictHTTPProtocol) -> None:
        super().__init__(protocol)
        self._protocol = protocol
        with suppress(AttributeError):  # before httptools 0.6.3
            self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own parser

    def feed_data(self, data: Any) -> None:
        """Parse data; after the head of a request with an offer, a new parser takes its place and reads it again."""
        protocol, parser = self._protocol, self
        while True:  # not by recursion: many such requests may have arrived together
            try:
                super(OfferIgnoringParser, parser).feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if not protocol.offers_upgrade:
                    raise
                method, version = parser.get_method(), parser.get_http_version()
                head = _head_without_offer(method, protocol.url, version, protocol.headers)
                data = head + data[upgrade.args[0] :]
                protocol.parser = parser = OfferIgnoringParser(protocol)
            else:
                return


def _head_without_offer(method: bytes, url: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a request without the offer of another protocol."""
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    for name, value in headers:
        if name == b"connection":  # may say that the connection is to be closed, too
            value = b", ".join(part for part in map(bytes.strip, value.split(b",")) if part.lower() not in _OFFER)
        elif name in _OFFER:
            continue
        lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*lines, b"", b""])

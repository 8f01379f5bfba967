"""HTTP requests over plain sockets, for input that HTTP clients do not send."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Reply:
    """A response: status, headers, body, whether the server closed the connection, and the seconds."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    closed: bool
    seconds: float

    def header(self, name: str) -> str | None:
        """Return a header that occurs at most once."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) < 2, found
        return found[0] if found else None

    def json(self) -> Any:
        """Parse the body as JSON."""
        return json.loads(self.body)


def connect(address: str, *, seconds: float = 10) -> socket.socket:
    """Connect to a server."""
    place = urlsplit(address)
    assert place.hostname is not None
    return socket.create_connection((place.hostname, place.port), timeout=seconds)


def host_of(address: str) -> bytes:
    """Return the Host header for an address."""
    return urlsplit(address).netloc.encode()


def head_of(address: str, target: str, *headers: bytes, method: str = "POST") -> bytes:
    """Return the head of a request."""
    return b"\r\n".join([f"{method} {target} HTTP/1.1".encode(), b"Host: " + host_of(address), *headers, b"", b""])


def raw(
    address: str, *parts: bytes, pause: float = 0, endless: Iterable[bytes] = (), seconds: float = 10
) -> Reply | None:
    """Send parts with pauses, then an endless rest; return the response, None if the server only closed."""
    started = time.monotonic()
    with connect(address, seconds=seconds) as wire:
        with suppress(OSError):  # the server may close before it has read everything
            for part in parts:
                wire.sendall(part)
                time.sleep(pause)
            for part in endless:
                wire.sendall(part)
                if time.monotonic() - started > seconds:
                    break
        return read(wire, started)


def get(address: str, target: str, *headers: bytes, method: str = "GET", host: bytes | None = None) -> Reply:
    """Send a request without a body; the target is not normalized."""
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: " + (host_of(address) if host is None else host)]
    reply = raw(address, b"\r\n".join([*lines, *headers, b"Connection: close", b"", b""]))
    assert reply is not None
    return reply


def post(address: str, target: str, body: bytes, *headers: bytes) -> Reply:
    """Send a JSON body."""
    head = [f"POST {target} HTTP/1.1".encode(), b"Host: " + host_of(address), b"Content-Type: application/json"]
    head += [b"Content-Length: %d" % len(body), b"Connection: close", *headers]
    reply = raw(address, b"\r\n".join([*head, b"", body]))
    assert reply is not None
    return reply


def read(wire: socket.socket, started: float) -> Reply | None:
    """Read a response; None if the connection ends without one."""
    data, closed = b"", False
    while not _is_complete(data):
        try:
            piece = wire.recv(65_536)
        except ConnectionError:
            piece = b""
        if not piece:
            closed = True
            break
        data += piece
    if not closed and b"connection: close" in data.partition(b"\r\n\r\n")[0].lower():
        with suppress(OSError):
            closed = not wire.recv(1)
    seconds = time.monotonic() - started
    if not data:
        return None
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = tuple((name.lower(), value.strip()) for name, _, value in pairs)
    return Reply(int(first.split()[1]), headers, body, closed, seconds)


def _is_complete(data: bytes) -> bool:
    head, ends, body = data.partition(b"\r\n\r\n")
    if not ends:
        return False
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    if lengths:
        return len(body) >= int(lengths[0])
    return head.split()[1] == b"204" or (b"chunked" in head.lower() and body.endswith(b"0\r\n\r\n"))

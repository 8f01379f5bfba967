"""Running the server: its socket, its signals, its end.

- One process: several workers would hold a copy of the model each and could not batch together.
- A first signal ends streams, turns away what waits and stops what is computed; what is saved is saved. A connection
  that stays open all the same is cut after a moment.
- Connections that never finish their headers, or leave unread what they are sent, are cut too, which uvicorn leaves to
  a proxy. What a proxy says of its client (X-Forwarded-For) counts only where FORWARDED_ALLOW_IPS names the proxy.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from kronos.errors import ParameterError
from kronos.serve.app import create_app
from kronos.serve.errors import ApiError
from kronos.serve.middleware import STANDARD
from kronos.serve.state import AppState, build_state, is_local
from kronos.settings import Settings

GRACE = 1.5  # seconds for open connections once the server is told to stop
_LEAST_KEY = 16  # characters
_FRAMING = 16  # bytes that a chunk may take for each of its body's: one of a single byte takes six
_counted = hasattr(AutoHTTPProtocol, "on_body")  # h11 tells no body's bytes, and bounds headers and trailers itself

_log = logging.getLogger(__name__)


class KronosServer(uvicorn.Server):
    """Uvicorn's server, which tells the application at once that it is to stop."""

    def __init__(self, config: uvicorn.Config, state: AppState) -> None:
        """Serve a state's application."""
        super().__init__(config)
        self._state = state
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal comes."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections, and say where."""
        await super().startup(sockets)
        for listening in sockets or ():
            _log.info("listening", extra={"address": address_of(listening), "source": self._state.feed.source.name})

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came; a second one changes nothing, since it ends within seconds as it is."""
        if self.should_exit:
            return
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop)
        super().handle_exit(sig, frame)

    def _stop(self) -> None:
        _log.info("stopping")
        self._state.close()


class StrictHTTPProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type] # one of two classes, by what is installed
    """The HTTP protocol with an end to waiting, and a bound for what comes beside bodies.

    Attributes:
        head_seconds: For the headers of a request, from their first byte on.
        head_bytes: Of a request beside its body: headers, the framing of chunks, trailers.
        read_seconds: For which a client may leave unread what it is sent.
    """

    head_seconds, head_bytes, read_seconds = 15.0, 65_536, 30.0
    _waiting: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    _beside = 0

    def connection_made(self, transport: Any) -> None:
        """Give the connection some seconds for its first headers."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came; headers that go on and on are cut, as are the trailers of a body."""
        before = self.cycle
        self._beside += len(data)
        super().data_received(data)
        if self.cycle is not before:
            self._beside = 0
            self._waited()
        elif self._beside > self.head_bytes and (_counted or self._idle):
            self._refuse(431, "The headers are longer than is taken here; send fewer.")
        elif self._idle and self._waiting is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """A target with a host of its own, ``GET http://host/path``, overrules the header that names it."""
        if not self.url.startswith((b"/", b"*")):
            host = urlsplit(self.url.decode("latin-1")).netloc.encode("latin-1")
            self.headers[:] = [*((name, value) for name, value in self.headers if name != b"host"), (b"host", host)]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body; the gate counts those."""
        self._beside = max(0, self._beside - _FRAMING * len(body))
        super().on_body(body)

    def shutdown(self) -> None:
        """The server stops: whoever is still sending a request's body is not waited for."""
        super().shutdown()
        if not self._idle and self.cycle.more_body:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (uvicorn's words are not ours)
        """Answer what is no HTTP."""
        self._refuse(400, "The request is no valid HTTP; mend what sends it.")

    def pause_writing(self) -> None:
        """The client does not read; it may for a while."""
        super().pause_writing()
        self._stuck = self.loop.call_later(self.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._waited()
        super().connection_lost(exc)
        if self._stuck is not None:
            self._stuck.cancel()

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(self.head_seconds, self._cut)

    def _waited(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _cut(self) -> None:
        self._waiting = None
        if self._idle and not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        """Answer, unless another answer is under way, and end the connection."""
        if self.transport.is_closing():
            return
        if self._idle:
            body = json.dumps(ApiError(status, message).document).encode()
            told = {b"content-type": b"application/json", b"content-length": b"%d" % len(body), b"connection": b"close"}
            lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
            lines += [b"%s: %s" % line for line in (*STANDARD, *told.items())]
            self.transport.write(b"\r\n".join([*lines, b"", body]))
        self.transport.close()


def check_exposure(settings: Settings) -> None:
    """Refuse to listen beyond this machine without a key, or with one that can be guessed.

    Raises:
        ParameterError: If that is asked for.
    """
    serve = settings.serve
    if is_local(serve.host):
        return
    if not serve.keys:
        raise ParameterError(
            f"Listening on {serve.host} opens the server to other machines, which needs a key: set "
            f"KRONOS_SERVE__API_KEYS, or leave --host out."
        )
    if min(map(len, serve.keys)) < _LEAST_KEY:
        raise ParameterError(
            f"A key of KRONOS_SERVE__API_KEYS is shorter than {_LEAST_KEY} characters, which can be guessed; "
            f"'openssl rand -hex 24' makes a good one."
        )


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ParameterError: If the address is taken, not this machine's, or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, UnicodeError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ParameterError(f"Cannot listen on {host} port {port}: {reason}; choose another with --port.") from None
    listening.set_inheritable(True)
    return listening


def address_of(listening: socket.socket) -> str:
    """Where a browser finds a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def configured(state: AppState) -> uvicorn.Config:
    """How uvicorn serves a state's application."""
    return uvicorn.Config(create_app(state), **_options())


def _options() -> dict[str, Any]:
    return {
        "http": StrictHTTPProtocol,
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": "FORWARDED_ALLOW_IPS" in os.environ,
        "timeout_graceful_shutdown": GRACE,
        "timeout_keep_alive": 30,
    }


def run(settings: Settings) -> None:
    """Serve until a signal comes.

    Raises:
        ParameterError: If a setting is wrong, or the port is taken.
        SourceError: If the source needs the network and that is forbidden.
    """
    check_exposure(settings)
    state = build_state(settings, settle=True)
    listening = bind(settings.serve.host, settings.serve.port)
    KronosServer(configured(state), state).run(sockets=[listening])


def run_reloading(settings: Settings) -> None:
    """Serve, and start anew whenever a source file changes; for development.

    Each new process reads the variables again, so what flags said becomes some.

    Raises:
        ParameterError: If a setting is wrong.
    """
    check_exposure(settings)
    serve = settings.serve
    told = {"MODEL": settings.model, "DEVICE": settings.device, "SOURCE": settings.source} | {
        f"SERVE__{name.upper()}": getattr(serve, name) for name in ("host", "port", "data_dir", "state_dir")
    }
    os.environ.update({f"KRONOS_{name}": str(value) for name, value in told.items() if value is not None})
    uvicorn.run(
        "kronos.serve.app:from_environment",
        factory=True,
        reload=True,
        reload_dirs=[str(Path(__file__).resolve().parents[1])],
        host=settings.serve.host,
        port=settings.serve.port,
        **_options(),
    )

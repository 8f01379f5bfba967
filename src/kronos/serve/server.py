"""The server process: its socket, HTTP protocol, signals and graceful shutdown.

- One process: several workers would each hold a copy of the model and could not batch together.
- The first signal ends streams, rejects waiting requests and stops computation; saved results stay. Connections that
  are still open after a moment are closed.
- Clients that do not finish their headers, or do not read their response, are disconnected: uvicorn leaves this to a
  proxy.
- A flood of connections does not lock out other clients: beyond a number per address, and in all, the connections that
  have been idle longest are closed. The limit of open files is raised to what the system allows.
- X-Forwarded-For is trusted only from the proxy in FORWARDED_ALLOW_IPS.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from kronos.serve.middleware import SECURITY_HEADERS
from kronos.serve.middleware.base import address_block, plain_address
from kronos.serve.middleware.cached_predictions import PREDICT_PATH
from kronos.serve.state import AppState, build_state, is_local
from kronos.settings import ServeSettings, Settings

GRACEFUL_SHUTDOWN_SECONDS = 1.5
_MIN_KEY_LENGTH = 16
_MAX_FILES = 65_536  # open files of this process, even if the system allows more
_RESERVED_FILES = 128  # open files that are not connections: files, pipes to readers, requests to sources
_MAX_FRAMING = 16  # bytes of chunk framing allowed per byte of body; a chunk of one byte needs six
# httptools reports body bytes; h11 does not, but limits headers and trailers itself.
_reports_body = hasattr(AutoHTTPProtocol, "on_body")

_log = logging.getLogger(__name__)


class UvicornServer(uvicorn.Server):
    """Uvicorn with a graceful shutdown that begins at the signal, not when the connections are closed."""

    def __init__(self, config: uvicorn.Config, state: AppState) -> None:
        super().__init__(config)
        self._state = state
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal arrives."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and log the address."""
        await super().startup(sockets)
        for listener in sockets or ():
            extra = {"address": address_of(listener), "source": self._state.market_data.source.name}
            _log.info("listening", extra=extra)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Also shut down gracefully when the terminal is closed, unless the hangup is ignored, as by ``nohup``."""
        with super().capture_signals():
            hangup = getattr(signal, "SIGHUP", None)
            in_main_thread = threading.current_thread() is threading.main_thread()
            if hangup is None or not in_main_thread or signal.getsignal(hangup) is signal.SIG_IGN:
                yield
                return
            original = signal.signal(hangup, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(hangup, original)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown; further signals have no effect, since it takes seconds only."""
        if self.should_exit:
            return
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin_shutdown)
        super().handle_exit(sig, frame)

    def _begin_shutdown(self) -> None:
        _log.info("shutting down")
        self._state.begin_shutdown()


class ConnectionLimit:
    """Largest numbers of open connections: of one address, and in all.

    Args:
        per_client: Largest number of one address.
        total: Largest number in all.
    """

    def __init__(self, per_client: int, total: int) -> None:
        self._per_client, self._total = min(per_client, total), total

    def admit(self, protocol: StrictHTTPProtocol) -> bool:
        """Return whether a new connection may stay; close idle connections if it needs their place."""
        everyone: list[StrictHTTPProtocol] = list(protocol.connections)
        if len(everyone) > self._total and not self._close_idle(everyone, protocol):
            return False
        if len(everyone) <= self._per_client:
            return True
        same = [other for other in everyone if other.address == protocol.address]
        return len(same) <= self._per_client or self._close_idle(same, protocol)

    @staticmethod
    def _close_idle(connections: list[StrictHTTPProtocol], newcomer: StrictHTTPProtocol) -> bool:
        """Close some of the connections that have been idle longest; False if none is idle."""
        idle = sorted(
            (other for other in connections if other is not newcomer and other.idle), key=lambda o: o.idle_until
        )
        for other in idle[: 1 + len(connections) // 32]:  # several: a flood does not pay for a search each time
            other.connections.discard(other)
            other.transport.abort()
        return bool(idle)


def raise_file_limit() -> None:
    """Raise the limit of open files of this process to what the system allows."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _file_limit() -> int:
    if sys.platform == "win32":
        return _MAX_FILES
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MAX_FILES if soft == resource.RLIM_INFINITY else min(soft, _MAX_FILES)


class StrictHTTPProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type] # depends on the installed parser
    """Uvicorn's HTTP protocol with timeouts, and a limit on headers, chunk framing and trailers.

    Attributes:
        head_seconds: Time for the headers of a request.
        head_bytes: Largest size of a request without its body.
        read_seconds: Time for which a client may not read its response.
        limit: Limit on connections; None for no limit.
    """

    limit: ConnectionLimit | None = None
    client: tuple[str, int] | None = None
    head_seconds, head_bytes, read_seconds = 15.0, 65_536, 30.0
    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None
    _overhead = 0  # bytes received besides the body

    def connection_made(self, transport: Any) -> None:
        """Start the timeout of the first headers, if there is room for the connection."""
        super().connection_made(transport)
        if self.client is not None:
            self.client = (plain_address(self.client[0]), self.client[1])
        if _reports_body:
            from kronos.serve.upgrade import OfferIgnoringParser

            self.parser = OfferIgnoringParser(self)
        self._start_head_timer()
        if self.limit is not None and not self.limit.admit(self):
            self._reject(503, "Too many connections are open; close some, or retry shortly.")

    def data_received(self, data: bytes) -> None:
        """Parse data, and enforce the limit on headers and trailers."""
        cycle = self.cycle
        self._overhead += len(data)
        super().data_received(data)
        if self.cycle is not cycle:
            self._overhead = 0
            self._stop_head_timer()
        elif self._overhead > self.head_bytes and (_reports_body or self.idle):
            self._reject(431, "The request headers are too large; send fewer.")
        elif self.idle and self._head_timer is None:
            self._start_head_timer()

    def eof_received(self) -> bool:
        """Answer a client that has closed its side after a complete request, unless its departure cancels the work.

        A client that has left altogether looks the same until something is sent to it.
        """
        cycle = self.cycle
        if (
            cycle is None
            or cycle.response_complete
            or cycle.response_started
            or cycle.more_body
            or getattr(self, "pipeline", None)
        ):
            return False
        cycle.keep_alive = False
        return (cycle.scope["method"], cycle.scope["path"]) != ("POST", PREDICT_PATH)

    def on_headers_complete(self) -> None:
        """Let the host of an absolute target, ``GET http://host/path``, replace the Host header."""
        if self.offers_upgrade:
            return  # the parser will read the head again, without the offer
        if not self.url.startswith((b"/", b"*")):
            host = urlsplit(self.url.decode("latin-1")).netloc.encode("latin-1")
            self.headers[:] = [*((name, value) for name, value in self.headers if name != b"host"), (b"host", host)]
        super().on_headers_complete()
        # Trailers of a chunked body are added here: they must not count as headers, such as a key.
        self.headers: list[tuple[bytes, bytes]] = []

    def on_body(self, body: bytes) -> None:
        """Subtract a part of the body, which the middleware limits, and the framing it may have."""
        self._overhead = max(0, self._overhead - _MAX_FRAMING * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body, unless the parser will read the request again."""
        if not self.offers_upgrade:
            super().on_message_complete()

    def shutdown(self) -> None:
        """Close the connection if its request body is incomplete."""
        super().shutdown()
        if not self.idle and self.cycle.more_body:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (details of the parser)
        """Respond to invalid HTTP."""
        self._reject(400, "The request is not valid HTTP.")

    def pause_writing(self) -> None:
        """Start the timeout of a client that does not read."""
        super().pause_writing()
        self._read_timer = self.loop.call_later(self.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timeout of a client that reads again."""
        super().resume_writing()
        self._stop_read_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timeouts."""
        self._stop_head_timer()
        super().connection_lost(exc)
        self._stop_read_timer()

    @property
    def address(self) -> str | None:
        """Address of the other side, of the client or of a reverse proxy, as the limits count it."""
        return address_block(self.client[0]) if self.client else None

    @property
    def idle(self) -> bool:
        """Whether no request is in progress."""
        return self.cycle is None or bool(self.cycle.response_complete)

    @property
    def idle_until(self) -> float:
        """When the connection will be closed if it stays idle, by the time of the event loop."""
        timers = (self._head_timer, self.timeout_keep_alive_task)
        return min((timer.when() for timer in timers if timer is not None), default=0.0)

    @property
    def offers_upgrade(self) -> bool:
        """Whether the current request offers another protocol, which is ignored; CONNECT demands it, and is refused."""
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    @property
    def _has_pipeline(self) -> bool:
        """Whether further requests wait for the one in progress; h11 reads them later."""
        return bool(getattr(self, "pipeline", None))

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._close_idle)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()

    def _close_idle(self) -> None:
        self._head_timer = None
        if self.idle and not self.transport.is_closing():
            self.transport.close()

    def _reject(self, status: int, message: str) -> None:
        """Send an error, unless another response is expected or in progress, and close the connection."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        in_body = not self.idle and cycle.more_body and not cycle.response_started and not self._has_pipeline
        if in_body:
            cycle.disconnected = True  # what the application sends now is dropped
        if self.idle or in_body:
            body = json.dumps(ApiError(status, message).document).encode()
            headers = [
                *SECURITY_HEADERS,
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
            lines += [b"%s: %s" % header for header in headers]
            self.transport.write(b"\r\n".join([*lines, b"", body]))
        self.transport.close()


def check_exposure(settings: Settings) -> None:
    """Check that a server for other machines has API keys that cannot be guessed.

    Raises:
        ParameterError: If it has none, or a short one.
    """
    serve = settings.serve
    if is_local(serve.host):
        return
    if not serve.keys:
        raise ParameterError(
            f"Listening on {serve.host} needs a key, because other machines can connect: set KRONOS_SERVE__API_KEYS, "
            f"or omit --host."
        )
    if min(map(len, serve.keys)) < _MIN_KEY_LENGTH:
        raise ParameterError(
            f"A key in KRONOS_SERVE__API_KEYS has fewer than {_MIN_KEY_LENGTH} characters; create one with "
            f"'openssl rand -hex 24'."
        )


def bind(host: str, port: int) -> socket.socket:
    """Bind a socket.

    Raises:
        ParameterError: If the address is in use, not of this machine, or not permitted.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform != "win32":  # there, it would let a second server take requests of the first
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, UnicodeError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ParameterError(f"Cannot listen on {host} port {port}: {reason}; choose another --port.") from None
    listener.set_inheritable(True)
    return listener


def address_of(listener: socket.socket) -> str:
    """Return the URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def uvicorn_config(state: AppState) -> uvicorn.Config:
    """Return uvicorn's configuration for the application of a state."""
    # A proxy's connections all come from one address.
    per_client = _MAX_FILES if "FORWARDED_ALLOW_IPS" in os.environ else state.serve.connections_per_client
    files = _file_limit()
    limit = ConnectionLimit(per_client, files - min(_RESERVED_FILES, files // 4))
    protocol = type("LimitedHTTPProtocol", (StrictHTTPProtocol,), {"limit": limit})
    return uvicorn.Config(create_app(state), **{**_uvicorn_options(state.serve), "http": protocol})


def _uvicorn_options(serve: ServeSettings) -> dict[str, Any]:
    return {
        "http": StrictHTTPProtocol,
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # see ProxyMiddleware
        "timeout_graceful_shutdown": GRACEFUL_SHUTDOWN_SECONDS,
        "timeout_keep_alive": serve.keep_alive,
    }


def run(settings: Settings) -> None:
    """Serve until a signal arrives.

    Raises:
        ParameterError: If a setting is invalid, or the port is in use.
        SourceError: If the source needs the network and the settings forbid it.
        StorageError: If the state folder cannot be written to.
    """
    check_exposure(settings)
    raise_file_limit()
    state = build_state(settings, freeze_gc=True)
    state.prepare_storage()
    listener = bind(settings.serve.host, settings.serve.port)
    UvicornServer(uvicorn_config(state), state).run(sockets=[listener])


def run_with_reload(settings: Settings) -> None:
    """Serve for development, with a restart after each change of the code.

    Each new process reads the environment, so the settings of the command line are stored there.

    Raises:
        ParameterError: If a setting is invalid.
    """
    check_exposure(settings)
    serve = settings.serve
    variables = {"MODEL": settings.model, "DEVICE": settings.device, "SOURCE": settings.source} | {
        f"SERVE__{name.upper()}": getattr(serve, name) for name in ("host", "port", "data_dir", "state_dir")
    }
    os.environ.update({f"KRONOS_{name}": str(value) for name, value in variables.items() if value is not None})
    uvicorn.run(
        "kronos.serve.app:from_environment",
        factory=True,
        reload=True,
        reload_dirs=[str(Path(__file__).resolve().parents[1])],
        host=serve.host,
        port=serve.port,
        **_uvicorn_options(serve),
    )

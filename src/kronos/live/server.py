"""``kronos live serve``: the published files over HTTP, and ``/health``.

The files are public, so other machines may be let in with ``--host``; nothing but files of the output folder of the
types that are published can be read, and nothing can be written. Each response is read from one open file, so that a
cycle that replaces a file in between cannot tear it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from kronos.errors import KronosError, ParameterError
from kronos.formatting import json_safe
from kronos.live.config import LiveConfig
from kronos.live.record import Record
from kronos.live.service import configure_logging
from kronos.live.status import heartbeat_state, read_heartbeat

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
}
_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
_HEADER_SECONDS = 15.0
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")  # what the page writes
_GRACEFUL_SHUTDOWN_SECONDS = 2
_CONNECTIONS = 512

_log = logging.getLogger(__name__)


def utc_now() -> pd.Timestamp:
    """UTC time of this machine."""
    return pd.Timestamp.now("UTC")


def create_app(config: LiveConfig, clock: Callable[[], pd.Timestamp] = utc_now) -> Starlette:
    """Create the application.

    Args:
        config: The configuration.
        clock: Clock by which ``/health`` judges.
    """

    def health(request: Request) -> Response:  # noqa: ARG001 (Starlette passes it)
        document, healthy = read_health(config, clock())
        return JSONResponse(json_safe(document), 200 if healthy else 503, headers=_HEADERS)

    def file(request: Request) -> Response:
        return _file_response(config.output.folder, config.output.html_filename, request)

    return Starlette(routes=[Route("/health", health), Route("/{path:path}", file)])


def read_health(config: LiveConfig, now: pd.Timestamp) -> tuple[dict[str, object], bool]:
    """Read whether the forecaster is up to date.

    Args:
        config: The configuration.
        now: UTC time.

    Returns:
        ``status`` (``fresh``, ``late``, ``stale``, or ``unknown`` before the first cycle), the heartbeat, and the head
        of the record, null if it cannot be read; and whether a monitor should be content, which is if it is fresh.
    """
    beat = read_heartbeat(config.record.folder)
    state = heartbeat_state(beat, now)
    names = ("cycle_at", "next_cycle_at", "interval_seconds", "series")
    document: dict[str, object] = {
        "status": state,
        "time": now.isoformat(),
        **{name: None if beat is None else beat.get(name) for name in names},
        "head": _read_head(config),
    }
    return document, state == "fresh"


def serve(config: LiveConfig, *, host: str = "127.0.0.1") -> None:
    """Serve until a signal arrives.

    Raises:
        ParameterError: If the address cannot be listened on.
    """
    configure_logging(config.logging)
    listener = _bind(host, config.output.web_server_port)
    name, port = listener.getsockname()[:2]
    if host not in ("127.0.0.1", "::1", "localhost"):
        _log.warning("other machines can read the page on %s: its files are public, and nothing else is served", name)
    _log.info("listening on http://%s:%s", f"[{name}]" if ":" in name else name, port)
    uvicorn.Server(server_config(config)).run(sockets=[listener])


class HeaderTimeoutProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type] # depends on the installed parser
    """Uvicorn's HTTP protocol, which closes connections that do not complete their first headers in time."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the timer."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(_HEADER_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Stop the timer once there is a request."""
        super().data_received(data)
        if self.cycle is not None:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer of a connection that has ended."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def server_config(config: LiveConfig) -> uvicorn.Config:
    """Return uvicorn's configuration."""
    return uvicorn.Config(
        create_app(config),
        http=HeaderTimeoutProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_GRACEFUL_SHUTDOWN_SECONDS,
    )


def _read_head(config: LiveConfig) -> dict[str, object] | None:
    """Number and hash of the record's last row; None if there is none, or it cannot be read."""
    if config.record.url is None and not Path(config.record.database).exists():
        return None
    try:
        with Record.open(config.record.database, read_only=True) as record:
            seq, digest = record.head()
    except KronosError as error:
        _log.warning("the record cannot be read: %s", error)
        return None
    return {"seq": seq, "hash": digest} if seq else None


def _file_response(folder: Path, index: str, request: Request) -> Response:
    """A published file, a redirect to a folder's page, or 404."""
    path = _resolve(folder, request.path_params["path"])
    if path is not None and path.is_dir():
        if not request.url.path.endswith("/"):  # relative links need it
            return RedirectResponse(URL(f"{request.url.path}/"), 307, headers=_HEADERS)
        path = path / index
    media_type = None if path is None else _TYPES.get(path.suffix)
    try:
        content = path.read_bytes() if path is not None and media_type is not None else None
    except OSError:
        content = None
    if content is None:
        return PlainTextResponse("There is no such page.\n", 404, headers=_HEADERS)
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {**_HEADERS, "ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


def _resolve(folder: Path, name: str) -> Path | None:
    """The path of a name in the folder; None if it is hidden, or lies outside, be it by a symbolic link."""
    parts = name.removesuffix("/").split("/") if name.strip("/") else []
    if any(part.startswith(".") or not _NAME.fullmatch(part) for part in parts):
        return None
    try:
        base = folder.resolve()
        path = base.joinpath(*parts).resolve()
    except (OSError, RuntimeError):  # a symbolic link to itself
        return None
    return path if path.is_relative_to(base) else None


def _bind(host: str, port: int) -> socket.socket:
    """Bind a socket.

    Raises:
        ParameterError: If the address is in use, not of this machine, or not permitted.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":  # there, it would let a second server take requests of the first
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, UnicodeError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ParameterError(f"Cannot listen on {host} port {port}: {reason}; choose another --port.") from None
    return listener

"""Exchanges as local HTTP servers with their own clock, which fail on demand.

    world = World({"BTC/USDT": walk("2024-01-01", 2_000)}, now="2024-03-01 12:30")
    with serve(world) as server:
        ...  # request server.url; server.requests_to("klines") lists requests; world.now = ... sets the clock

- Symbols are written as ``BTC/USDT`` (spot) and ``BTC/USDT:USDT`` (perpetual); frames hold base candles, and longer
  intervals aggregate them on the UTC grid. A frame's first row is the listing; missing rows are halts.
- The API of an exchange is a handler: ``(World, Request) -> Answer | None``. Binance and OKX are the defaults
  (`binance_wire`, `okx_wire`); `serve` accepts others, with the same clock, faults and recorded requests.
- ``serve_apart`` runs the server in a separate process: ``python -m sources.wire --help``.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pandas as pd

import forks
from sources.market_data import at, closed, millis, utc, visible, walk

__all__ = [
    "Answer", "Faults", "Handler", "Request", "Server", "World", "at", "closed", "free_port", "millis", "serve",
    "serve_apart", "utc", "visible", "walk",
]  # fmt: skip

STATUSES = ("400", "401", "403", "404", "418", "429", "451", "500", "502", "503", "504")
BREAKS = ("timeout", "reset", "cut", "truncated", "html")
ROWS = ("doubled", "shuffled")


@dataclass(frozen=True)
class Request:
    """A request of a client: ``GET path?query``."""

    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Answer:
    """Response of a handler.

    Attributes:
        body: A JSON document, or bytes.
        rows: The list of candles within the body, which faults duplicate or shuffle in place.
    """

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    rows: list[Any] | None = None


@dataclass
class Faults:
    """Failures of a server.

    Attributes:
        script: Kinds for the next requests, in order, ``""`` for none: a status (``"429"``), ``timeout`` (no response
            within ``stall``), ``reset`` (closed without one), ``cut`` (a body shorter than its Content-Length),
            ``truncated`` (half a JSON text), ``html`` (a page instead of JSON, status 200), ``doubled`` rows,
            ``shuffled`` rows.
        rate: Share of the later requests that fail with one of ``kinds``.
        kinds: Kinds of failures for ``rate``.
        seed: Random seed.
        only: Part of the path of requests that fail.
        in_a_row: Maximum number of consecutive failures by ``rate``, so that a patient client succeeds.
        retry_after: ``Retry-After`` of 418, 429 and 503; None for none.
        stall: Seconds until ``timeout`` closes the connection.
    """

    script: list[str] = field(default_factory=list)
    rate: float = 0.0
    kinds: Sequence[str] = ("429", "502", "cut", "reset", "doubled", "shuffled")
    seed: int = 0
    only: str = ""
    in_a_row: int = 3
    retry_after: str | None = None
    stall: float = 2.0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._row = 0

    def next(self, path: str) -> str:
        """Kind of failure for this request, ``""`` for none."""
        if self.only not in path:
            return ""
        if self.script:
            return self.script.pop(0)
        if self._row >= self.in_a_row or self._random.random() >= self.rate:
            self._row = 0
            return ""
        kind = self._random.choice(list(self.kinds))
        self._row = 0 if kind in ROWS else self._row + 1
        return kind

    def disturb(self, rows: list[Any], kind: str) -> None:
        """Duplicate some rows, or shuffle them, in place."""
        if kind == "doubled":
            rows[:] = [row for row in rows for _ in range(1 + (self._random.random() < 0.3))]
        else:
            self._random.shuffle(rows)


@dataclass
class World:
    """Candles to serve, and the behaviour of the server.

    Attributes:
        candles: Base candles by unified symbol.
        now: Time on the server's clock, which stands still.
        faults: Failures.
        delay: Seconds before each response.
        okx_history_cap: Maximum number of rows of OKX's history endpoint.
    """

    candles: dict[str, pd.DataFrame]
    now: str | pd.Timestamp
    faults: Faults = field(default_factory=Faults)
    delay: float = 0.0
    okx_history_cap: int = 300

    @property
    def time(self) -> pd.Timestamp:
        """UTC time on the server's clock."""
        return utc(self.now)

    def shows(self, symbol: str, interval: str, *, shift_hours: int = 0) -> pd.DataFrame:
        """Current candles of an instrument, including the forming one."""
        return _shown(Key(self.candles[symbol]), interval, self.time, shift_hours)

    def closed(self, symbol: str, interval: str) -> pd.DataFrame:
        """Closed candles of an instrument."""
        return closed(self.candles[symbol], interval, self.time)


class Key:
    """A frame as a cache key, by identity."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and other.frame is self.frame

    def __hash__(self) -> int:
        return id(self.frame)


@lru_cache(maxsize=64)
def _shown(key: Key, interval: str, now: pd.Timestamp, shift_hours: int) -> pd.DataFrame:
    return visible(key.frame, interval, now, shift_hours=shift_hours)


Handler = Callable[[World, Request], Answer | None]


@dataclass
class Server:
    """A running server.

    Attributes:
        url: ``http://127.0.0.1:PORT``.
        world: The served world; may be changed while the server runs.
        requests: All requests so far, in order.
    """

    url: str
    world: World
    requests: list[Request] = field(default_factory=list)

    def requests_to(self, part: str = "") -> list[Request]:
        """Requests so far whose path contains a part."""
        return [request for request in list(self.requests) if part in request.path]


@contextmanager
def serve(
    world: World, handlers: Sequence[Handler] | None = None, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """Serve a world until the block ends.

    Args:
        world: The world to serve.
        handlers: Handlers in order; None for Binance and OKX.
        port: Port; 0 for any free one.
        tls: Context with a certificate for external hosts. The server is then an HTTP proxy that answers in their
            place: set it as a client's proxy, and distinguish hosts by ``request.headers["Host"]``.
    """
    listening = ThreadingHTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler)
    listening.daemon_threads = True
    server = Server(f"http://127.0.0.1:{listening.server_address[1]}", world)
    listening.RequestHandlerClass = _request_handler(server, handlers or default_handlers(), tls)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def default_handlers() -> tuple[Handler, ...]:
    """Binance (spot, USDT-M and COIN-M futures) and OKX."""
    from sources.binance_wire import binance
    from sources.okx_wire import okx

    return (binance, okx)


def free_port() -> int:
    """A free local port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _request_handler(
    server: Server, handlers: Sequence[Handler], tls: ssl.SSLContext | None
) -> type[BaseHTTPRequestHandler]:
    """Class that handles the requests of one connection."""
    lock = threading.Lock()

    class RequestHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            request = Request(parts.path, dict(parse_qsl(parts.query)), dict(self.headers.items()))
            with lock:
                if not request.path.startswith("/wire/"):
                    server.requests.append(request)
                fault = "" if request.path.startswith("/wire/") else server.world.faults.next(request.path)
            time.sleep(server.world.delay)
            answer = with_fault(server.world.faults, fault, request, lambda: _answer(server, handlers, request))
            self.send(answer, fault, server.world.faults.stall)

        def do_CONNECT(self) -> None:
            """Act as the host that a client connects to through this proxy."""
            if tls is None:
                self.send_error(405)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            self.connection = tls.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
            self.close_connection = False

        def send(self, answer: Answer, fault: str, stall: float) -> None:
            if fault in ("timeout", "reset"):
                time.sleep(stall if fault == "timeout" else 0)
                self.hang_up()
                return
            raw = isinstance(answer.body, bytes)
            body = answer.body if raw else json.dumps(answer.body, separators=(",", ":")).encode()
            body = body[: len(body) // 2] if fault == "truncated" else body
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)
            if fault == "cut":
                self.hang_up()

        def hang_up(self) -> None:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the client has disconnected, or was cut off
                self.close_connection = True

        def finish(self) -> None:
            try:
                super().finish()
            except OSError:
                self.close_connection = True
            self.connection.close()

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing: the server records the requests."""

    return RequestHandler


def _answer(server: Server, handlers: Sequence[Handler], request: Request) -> Answer:
    if request.path == "/wire/requests":
        return Answer([[one.path, one.query] for one in list(server.requests)])
    if request.path == "/wire/now":
        server.world.now = request.query["to"]
        return Answer({"now": str(server.world.time)})
    for handler in handlers:
        answer = handler(server.world, request)
        if answer is not None:
            return answer
    return Answer(b"<html><body>404 Not Found</body></html>", 404, {"Content-Type": "text/html"})


def with_fault(faults: Faults, fault: str, request: Request, answer: Callable[[], Answer]) -> Answer:
    """The response to a request, modified by a failure."""
    if fault in STATUSES:
        return _refusal(fault, request, faults.retry_after)
    if fault == "html":
        return Answer(b"<html><body>Checking your browser</body></html>", 200, {"Content-Type": "text/html"})
    given = answer()
    if fault in ROWS and given.rows is not None:
        faults.disturb(given.rows, fault)
    return given


def _refusal(status: str, request: Request, retry_after: str | None) -> Answer:
    """Error response of an exchange or its gateway."""
    headers = {"Retry-After": retry_after} if retry_after is not None and status in ("418", "429", "503") else {}
    if status.startswith("5"):
        page = f"<html><head><title>{status}</title></head><body>{status} from the gateway</body></html>".encode()
        return Answer(page, int(status), {"Content-Type": "text/html", **headers})
    if request.path.startswith("/api/v5/"):
        code = {"429": "50011", "401": "50111"}.get(status, "50000")
        return Answer({"code": code, "msg": f"refused with {status}", "data": []}, int(status), headers)
    words = "Service unavailable from a restricted location" if status == "451" else f"refused with {status}"
    code = {"429": -1003, "418": -1003, "401": -2015, "400": -1100}.get(status, 0)
    return Answer({"code": code, "msg": words}, int(status), headers)


def main() -> None:
    """Serve random walks until this process is killed; the first line of output is the URL."""
    options = _options()
    count, step, start = options.count, options.step, options.start
    candles = {
        symbol: walk(start, count, step, seed=options.seed + number, price=100.0 * (number + 1))
        for number, symbol in enumerate(options.symbols.split(","))
    }
    faults = Faults(
        script=[one for one in options.script.split(",") if options.script],
        rate=options.fault_rate,
        kinds=options.faults.split(","),
        seed=options.seed,
        only=options.only,
        retry_after=options.retry_after,
    )
    last = next(iter(candles.values())).index[-1]
    world = World(candles, options.now or last, faults, options.delay)
    with serve(world, port=options.port) as server:
        print(server.url, flush=True)  # noqa: T201
        threading.Event().wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--symbols", default="BTC/USDT,ETH/USDT", help="Unified symbols, separated by commas.")
    parser.add_argument("--start", default="2024-01-01", help="Time of the first candle, UTC.")
    parser.add_argument("--count", type=int, default=3_000, help="Number of base candles of each symbol.")
    parser.add_argument("--step", default="1h", help="Interval of the base candles.")
    parser.add_argument("--now", help="Time on the server's clock (default: opening of the last candle).")
    parser.add_argument(
        "--seed", type=int, default=0, help="Random seed of candles and failures; symbol number n uses seed + n."
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="Seconds before each response.")
    parser.add_argument("--fault-rate", type=float, default=0.0)
    parser.add_argument(
        "--faults", default="429,502,cut,reset,doubled,shuffled", help="Kinds of failures for --fault-rate."
    )
    parser.add_argument("--script", default="", help="Kinds of failures of the first requests, in order.")
    parser.add_argument("--only", default="", help="Part of the path of requests that fail.")
    parser.add_argument("--retry-after", help="Retry-After of 418, 429 and 503, in seconds.")
    return parser.parse_args()


@contextmanager
def serve_apart(*options: str) -> Iterator[str]:
    """Serve in a separate process, with the options of ``python -m sources.wire``; yields its URL."""
    tests = Path(__file__).resolve().parents[1]
    code = f"import sys; sys.path.insert(0, {str(tests)!r}); from sources.wire import main; main()"
    command = [sys.executable, "-c", code, *options]
    process = forks.Popen(command, preload=("sources.wire",), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, "the server exited before it printed its URL"
        yield url
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    main()

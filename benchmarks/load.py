"""A load generator for HTTP/1.1: open loop, one process, no event loop.

- Requests go out by a schedule, whatever has been answered; latency counts from the scheduled moment, so a server that
  stalls is charged for everything that had to wait (no coordinated omission).
- Sockets and `epoll` by hand, spinning when the next request is near: event loops round their timers to milliseconds,
  which is longer than what is measured here, and cost as much for a request as the server does.
"""

from __future__ import annotations

import gc
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np
import numpy.typing as npt

_SPIN = 0.002  # seconds before a scheduled moment from which on there is no sleeping
_CONNECTIONS = 1024
_PART = 65_536

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of a load, request by request.

    Attributes:
        latency: Seconds from the scheduled moment to the answer's last byte; NaN where none came.
        status: HTTP status; 0 where none came.
        retry: Whether it carried ``Retry-After``.
        late: Seconds from the scheduled moment until the request was on its way.
        seconds: Of the whole load.
    """

    latency: Floats
    status: npt.NDArray[np.int64]
    retry: npt.NDArray[np.bool_]
    late: Floats
    seconds: float

    def percentile(self, share: float) -> float:
        """Of the latency of what was answered, in seconds."""
        return float(np.nanpercentile(self.latency, share))

    def only(self, chosen: npt.NDArray[np.bool_]) -> Answers:
        """The part that is chosen."""
        return Answers(self.latency[chosen], self.status[chosen], self.retry[chosen], self.late[chosen], self.seconds)

    def count(self, *statuses: int) -> int:
        """Requests that were answered so."""
        return int(np.isin(self.status, statuses).sum())


def together(parts: Sequence[Answers]) -> Answers:
    """Several loads as one."""
    columns = (np.concatenate([getattr(one, name) for one in parts]) for name in ("latency", "status", "retry", "late"))
    return Answers(*columns, sum(one.seconds for one in parts))


def poisson(rate: float, seconds: float, seed: int) -> Floats:
    """Moments at which independent clients ask, from 0 up to the given seconds."""
    rng = np.random.default_rng(seed)
    number = rng.poisson(rate * seconds)
    return np.sort(rng.uniform(0.0, seconds, number))


def get(path: str, host: str = "127.0.0.1") -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nUser-Agent: benchmark\r\n\r\n".encode()


def post(path: str, body: bytes, host: str = "127.0.0.1") -> bytes:
    """A POST request with JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class _Connection:
    """A connection that is kept alive: one request at a time."""

    __slots__ = ("got", "number", "socket", "want")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.got, self.want, self.number = b"", 0, -1

    def ask(self, number: int, request: bytes) -> None:
        """Send a request, which is small enough for the socket's buffer."""
        self.number, self.got, self.want = number, b"", 0
        self.socket.send(request)

    def read(self) -> bytes | None:
        """The answer if it is whole, b"" if the connection ended, else None."""
        try:
            part = self.socket.recv(_PART)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        if not part:
            return b""
        got = self.got = self.got + part if self.got else part
        if not self.want:
            end = got.find(b"\r\n\r\n")
            if end < 0:
                return None
            self.want = end + 4 + _length(got[:end])
        return got if len(got) >= self.want else None


def _length(head: bytes) -> int:
    """What the head says of the body's length."""
    at = head.lower().find(b"\r\ncontent-length:")
    return 0 if at < 0 else int(head[at + 17 :].split(b"\r\n", 1)[0])


class _Pool:
    """Connections to one server, opened as they are needed; and what was answered."""

    def __init__(self, port: int, number: int, ready: int) -> None:
        self._port, self._poll = port, select.epoll()
        self._all: dict[int, _Connection] = {}
        self.idle = [self._open() for _ in range(ready)]
        self.finished = np.full(number, np.nan)
        self.status, self.retry = np.zeros(number, np.int64), np.zeros(number, np.bool_)
        self.open = 0  # requests on their way

    def close(self) -> None:
        for one in self._all.values():
            one.socket.close()
        self._poll.close()

    def ask(self, number: int, request: bytes) -> bool:
        """Send a request; False if every connection is taken."""
        if not self.idle and len(self._all) >= _CONNECTIONS:
            return False
        connection = self.idle.pop() if self.idle else self._open()
        connection.ask(number, request)
        self.open += 1
        return True

    def wait(self, seconds: float) -> list[_Connection]:
        """Read what has come; the connections that are free again."""
        freed = []
        for descriptor, _ in self._poll.poll(seconds):
            connection = self._all[descriptor]
            answer = connection.read()
            if answer is None:
                continue
            number, connection.number = connection.number, -1
            if number >= 0:
                self.open -= 1
            if answer and number >= 0:
                self.finished[number], self.status[number] = perf_counter(), int(answer[9:12])
                self.retry[number] = self.status[number] >= 400 and b"\r\nretry-after:" in answer.lower()
                freed.append(connection)
            else:
                self._drop(descriptor, connection)
        self.idle += freed
        return freed

    def _open(self) -> _Connection:
        connection = _Connection(self._port)
        self._all[connection.socket.fileno()] = connection
        self._poll.register(connection.socket.fileno(), select.EPOLLIN)
        return connection

    def _drop(self, descriptor: int, connection: _Connection) -> None:
        del self._all[descriptor]
        connection.socket.close()
        if connection in self.idle:
            self.idle.remove(connection)


def drive(
    port: int, request: Callable[[int], bytes], moments: Floats, *, patience: float = 30.0, ready: int = 64
) -> Answers:
    """Send requests by a schedule.

    Args:
        port: Of a server on loopback.
        request: Gives the request of each number.
        moments: Seconds from the start at which each is due, rising.
        patience: Seconds after the last moment in which answers are still awaited.
        ready: Connections that are opened beforehand.
    """
    number, sent = len(moments), np.full(len(moments), np.nan)
    requests = [request(i) for i in range(number)]
    pool = _Pool(port, number, ready)
    with _undisturbed():
        start = perf_counter() + 0.01
        due = (moments + start).tolist()
        end, following = due[-1] + patience, 0
        while following < number or pool.open:
            now = perf_counter()
            while following < number and due[following] <= now and pool.ask(following, requests[following]):
                sent[following] = perf_counter()
                following += 1
            ahead = (due[following] if following < number else end) - perf_counter()
            pool.wait(max(0.0, ahead - _SPIN))
            if now > end:
                break
    pool.close()
    return Answers(
        pool.finished - start - moments, pool.status, pool.retry, sent - start - moments, perf_counter() - start
    )


def saturate(port: int, request: bytes, seconds: float, clients: int) -> tuple[float, float]:
    """Answers a second when clients ask again as soon as they are answered, and the generator's share of a core."""
    pool = _Pool(port, clients, clients)
    with _undisturbed():
        start, used, answered = perf_counter(), process_time(), 0
        for client in range(clients):
            pool.ask(client, request)
        while perf_counter() - start < seconds:
            freed = pool.wait(1.0)
            answered += len(freed)
            for client in range(len(freed)):
                pool.ask(client, request)
        took, used = perf_counter() - start, process_time() - used
    pool.close()
    return answered / took, used / took


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No garbage collection meanwhile."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

"""The serving benchmark runs, and its load generator counts what it should. No time of the server is asserted."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
if sys.platform != "linux":
    pytest.skip("the generator needs epoll", allow_module_level=True)

from benchmarks.load import Answers, drive, get, poisson, post, saturate, together

ROOT = Path(__file__).resolve().parents[2]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy"


@contextmanager
def answering(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A server that handles one request after another, whatever the connection; its port."""
    turn = threading.Lock()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the load may end first
            while request := connection.recv(65_536):
                with turn:
                    said = answer(request)
                if not said:
                    return
                for part in (said[:20], said[20:]):  # in two parts, as answers may come
                    connection.sendall(part)

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def test_moments_are_those_of_independent_clients() -> None:
    moments = poisson(1000, 20.0, 5)
    np.testing.assert_array_equal(moments, poisson(1000, 20.0, 5))
    assert len(moments) != len(poisson(1000, 20.0, 6))
    assert (np.diff(moments) >= 0).all()
    assert 0 <= moments[0] < moments[-1] < 20.0
    gaps = np.diff(moments)
    assert gaps.mean() == pytest.approx(1e-3, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # as of an exponential distribution, not of a clock


def test_who_waits_behind_a_stall_is_counted_from_when_it_was_due() -> None:
    """A server that stalls once for 0.4 s: requests due meanwhile waited for the rest of the stall."""
    stalled = threading.Event()

    def answer(_: bytes) -> bytes:
        if not stalled.is_set():
            stalled.set()
            time.sleep(0.4)
        return OK

    moments = np.arange(20) * 0.01
    with answering(answer) as port:
        answers = drive(port, lambda _: get("/"), moments, ready=4)
    assert answers.count(200) == 20
    assert (answers.latency >= 0.4 - moments).all()
    assert np.median(answers.late) < 0.15  # the generator itself did not wait for answers


def test_statuses_hints_and_lost_connections_are_told_apart() -> None:
    def answer(request: bytes) -> bytes:
        if request.startswith(b"POST"):
            return BUSY
        return b"" if b"/lost" in request else OK

    requests = [get("/"), post("/", b"{}"), get("/lost")]
    with answering(answer) as port:
        answers = drive(port, lambda i: requests[i % 3], np.arange(30) * 0.001, patience=5.0, ready=2)
    assert [answers.count(status) for status in (200, 503, 0)] == [10, 10, 10]
    np.testing.assert_array_equal(answers.retry, answers.status == 503)
    np.testing.assert_array_equal(np.isnan(answers.latency), answers.status == 0)
    chosen = answers.only(answers.status > 0)
    assert len(together([chosen, chosen]).latency) == 40


def test_what_is_never_answered_ends_the_load() -> None:
    with answering(lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok") as port:
        answers = drive(port, lambda _: get("/"), np.zeros(3), patience=0.3, ready=3)
    assert isinstance(answers, Answers)
    assert answers.count(0) == 3
    assert 0.3 <= answers.seconds < 3


def test_a_closed_loop_counts_answers() -> None:
    counted = []

    def answer(_: bytes) -> bytes:
        counted.append(1)
        return OK

    with answering(answer) as port:
        rate, share = saturate(port, get("/"), 0.3, 4)
    assert share > 0
    assert 0 < rate * 0.3 <= len(counted)


@pytest.mark.slow
def test_a_quick_run_writes_its_page(tmp_path: Path) -> None:
    output = tmp_path / "performance-serving.md"
    command = [sys.executable, "-m", "benchmarks.serving", "--quick", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = output.read_text("utf-8")
    assert "its numbers mean nothing" in page
    promises = page.split("## Requirements", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("| ").split(" | ") for line in promises.splitlines() if line.startswith("|")][2:]
    met = {row[0]: row[-1] for row in rows}
    assert len(met) == 8
    counted = [name for name in met if name.startswith(("Cold cache", "Overload: "))]
    assert len(counted) == 4
    assert {met[name] for name in counted} == {"yes"}, page  # times and memory mean nothing in so short a run

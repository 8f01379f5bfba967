"""The pool of daemon threads."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.serve.errors import ApiError
from kronos.serve.jobs import DaemonPool


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.lists(st.sampled_from(["value", "error", "exit", "cancel"]), max_size=30))
def test_every_task_finishes(threads, kinds):
    pool = DaemonPool(threads, "test")
    peak, running, lock = 0, 0, threading.Lock()

    def work(kind):
        nonlocal peak, running
        with lock:
            running += 1
            peak = max(peak, running)
        time.sleep(0.001)
        with lock:
            running -= 1
        if kind == "error":
            raise ValueError(kind)
        if kind == "exit":
            raise SystemExit(kind)
        return kind

    futures = [(kind, pool.submit(work, kind)) for kind in kinds]
    cancelled = [future for kind, future in futures if kind == "cancel" and future.cancel()]
    for kind, future in futures:
        if future in cancelled:
            assert future.cancelled()
        elif kind in ("error", "exit"):
            assert isinstance(future.exception(5), Exception)
        else:
            assert future.result(5) == kind
    assert peak <= threads
    assert pool.submit(lambda: 1).result(5) == 1


def test_threads_do_not_keep_the_process_alive():
    code = (
        "import time; from kronos.serve.jobs import DaemonPool\n"
        "pool = DaemonPool(2, 'x'); [pool.submit(time.sleep, 60) for _ in range(5)]; time.sleep(0.2)"
    )
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code], timeout=30, check=True)
    assert time.monotonic() - started < 20


# Threads that cannot be started ---------------------------------------------


@pytest.fixture
def refusing(monkeypatch):
    """A switch that makes the system refuse new threads."""
    start, refused = threading.Thread.start, threading.Event()

    def start_or_fail(thread):
        if refused.is_set():
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_fail)
    return refused


def test_a_pool_recovers_from_threads_that_cannot_be_started(refusing):
    pool = DaemonPool(4, "test")
    refusing.set()
    for _ in range(10):
        with pytest.raises(ApiError) as refused:
            pool.submit(int)
        assert (refused.value.status, bool(refused.value.retry_after)) == (503, True)
    refusing.clear()
    barrier = threading.Barrier(4)  # passed only by four threads together
    futures = [pool.submit(barrier.wait, 5) for _ in range(4)]
    assert sorted(future.result(10) for future in futures) == [0, 1, 2, 3]


def test_tasks_wait_for_the_threads_that_there_are(refusing):
    pool = DaemonPool(4, "test")
    gate = threading.Event()
    first = pool.submit(gate.wait, 10)
    refusing.set()
    later = [pool.submit(int, number) for number in range(5)]
    gate.set()
    assert first.result(5)
    assert [future.result(5) for future in later] == list(range(5))

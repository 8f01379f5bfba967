"""Helpers to wait for a server and to print measurements."""

from __future__ import annotations

import os
import time

SYMBOLS = ("BTC", "ETH", "DOT", "SOL", "ADA", "MATIC", "LINK", "AVAX")
SHUTDOWN_SECONDS = 10 if os.environ.get("CI") else 5  # limit of a graceful shutdown


def wait(condition, seconds=20, document=""):
    """Wait until a condition is true; return its value."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, document
        time.sleep(0.01)
    return found


def finished(client, job, seconds=60):
    """Wait for the end of a job; return it."""
    return wait(lambda: (found := client.get(f"/api/jobs/{job['id']}").json())["finished"] and found, seconds)


def report(capsys, text):
    """Print a measurement even if the test passes."""
    with capsys.disabled():
        print(f"\n{text}")  # noqa: T201

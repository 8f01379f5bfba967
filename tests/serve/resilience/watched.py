"""Waiting for what a server does, and saying how long it took."""

from __future__ import annotations

import os
import time

SYMBOLS = ("BTC", "ETH", "DOT", "SOL", "ADA", "MATIC", "LINK", "AVAX")
WITHIN = 10 if os.environ.get("CI") else 5  # seconds for an end; the measured ones are printed


def wait(condition, seconds=20, told=""):
    """Wait until a condition is true, and give what it gave."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, told
        time.sleep(0.01)
    return found


def finished(client, job, seconds=60):
    """A job when it has ended."""
    return wait(lambda: (found := client.get(f"/api/jobs/{job['id']}").json())["finished"] and found, seconds)


def say(capsys, text):
    """Print a measurement, whether the test passes or not."""
    with capsys.disabled():
        print(f"\n{text}")  # noqa: T201

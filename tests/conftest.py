"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Processes that share the cores have one thread each; more would wait for each other. Set before torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Speed is measured in benchmarks/, never asserted: a busy machine must not fail a test.
settings.register_profile("kronos", deadline=None, print_blob=True)
settings.load_profile("kronos")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden numbers and real candles, which a user's clone does not have."""
    if not (SHARED / "golden").is_dir():
        reason = "needs the golden numbers and candles in ../shared, which are not part of the repository"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return SHARED

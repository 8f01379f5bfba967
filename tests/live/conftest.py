"""Fixtures of the live forecaster."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from live.databases import new_database, postgresql_cluster


@pytest.fixture
def stop() -> threading.Event:
    """The event that ends a runner."""
    return threading.Event()


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """A cluster of PostgreSQL: the folder of its socket."""
    with postgresql_cluster() as folder:
        yield folder


@pytest.fixture
def postgresql(cluster: str) -> str:
    """The URL of an empty database of PostgreSQL."""
    return new_database(cluster)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind: a path, or a URL."""
    if request.param == "sqlite":
        return str(tmp_path / "record.db")
    return request.getfixturevalue("postgresql")

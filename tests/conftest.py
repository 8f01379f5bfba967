"""Fixtures that every test may use."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import certifi
import pytest
from hypothesis import settings

# Processes that share the cores have one thread each; more would wait for each other. Set before torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Speed is measured in benchmarks/, never asserted: a busy machine must not fail a test.
settings.register_profile("kronos", deadline=None, print_blob=True)
settings.load_profile("kronos")

CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
MACHINE: dict[str, str] = {}
FSYNC = os.fsync
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure(config: pytest.Config) -> None:
    """Replace the machine's certificates by a single one, and don't wait for the disk.

    A client of HTTP reads all certificates, which takes longer than most tests; servers of the tests use none.
    """
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        return  # tests run in the workers, which inherit this environment
    folder = tempfile.TemporaryDirectory(prefix="certificate-")
    config.add_cleanup(folder.cleanup)
    certificates, end = Path(certifi.where()).read_text("utf-8"), "-----END CERTIFICATE-----\n"
    one = Path(folder.name, "one.pem")
    one.write_text(certificates.partition(end)[0] + end, "utf-8")
    os.fsync = os.fstat  # no test survives a failure of power, and the disk takes longer than the rest of a write
    MACHINE.update({name: os.environ.pop(name) for name in CERTIFICATES if name in os.environ})
    os.environ |= {"SSL_CERT_FILE": str(one), "REQUESTS_CA_BUNDLE": str(one)}


@pytest.fixture
def real_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes that wait for the disk, as they do outside of tests."""
    monkeypatch.setattr(os, "fsync", FSYNC)


@pytest.fixture(scope="session")
def machine_certificates() -> Mapping[str, str]:
    """The variables of the machine's certificates, for tests that use its network."""
    return MACHINE


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden numbers and real candles, which a user's clone does not have."""
    if not (SHARED / "golden").is_dir():
        reason = "needs the golden numbers and candles in ../shared, which are not part of the repository"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return SHARED

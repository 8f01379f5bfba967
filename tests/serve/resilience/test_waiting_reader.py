"""The reader that waits for the next file ends with its server, however that ends."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from serve.processes import start_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


def readers(server: int) -> set[int]:
    """Identifiers of the reader processes of a server."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == server and b"sandbox/worker.py" in (path / "cmdline").read_bytes():
                found.add(int(path.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_leaves_no_reader(tmp_path, sent):
    (tmp_path / "data").mkdir()
    with start_process(tmp_path) as server:
        server.wait_ready()
        until = time.monotonic() + 30
        while not (waiting := readers(server.process.pid)):
            assert time.monotonic() < until
            time.sleep(0.1)
        server.stop(sent)
    until = time.monotonic() + 10
    while any(Path(f"/proc/{reader}/exe").exists() for reader in waiting):
        assert time.monotonic() < until
        time.sleep(0.05)

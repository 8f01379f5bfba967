"""Assistants' files are read by the HTTP server's code, but nothing of what only that server needs is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import importlib, importlib.abc, pkgutil, sys

REFUSED = {"fastapi", "prometheus_client"}  # starlette, uvicorn and python_multipart come with the SDK itself

class Refusing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Refusing())
for name in REFUSED:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} is not refused")

import kronos.mcp, kronos.sandbox
for room in (kronos.mcp, kronos.sandbox):
    for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
        importlib.import_module(module.name)

import anyio
from pathlib import Path
from kronos.mcp.context import Desk
from kronos.mcp.context import Series, read
from kronos.mcp.server import make_server

desk = Desk(kronos.mcp.ServerOptions(Path(sys.argv[1])))
listed = anyio.run(make_server(desk).call_tool, "list_candles", {})
assert "coin_1h.csv" in [one["file"] for one in listed.structured_content["files"]]
print(len(read(desk, Series("coin_1h.csv", None, None), 400)), *sorted(REFUSED & set(sys.modules)))
"""


def test_files_are_listed_and_read_without_the_servers_libraries(data: Path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(data)], env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "400\n"

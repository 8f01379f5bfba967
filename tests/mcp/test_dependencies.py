"""The MCP server works without the packages of the ``serve`` extra."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import importlib, importlib.abc, pkgutil, sys

BLOCKED = {"fastapi", "prometheus_client"}  # starlette, uvicorn and python_multipart come with the SDK itself

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Blocker())
for name in BLOCKED:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} is not blocked")

import kronos.mcp, kronos.sandbox
for package in (kronos.mcp, kronos.sandbox):
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)

import anyio
from pathlib import Path
from kronos.mcp.context import SeriesArgs, ServerContext, read_candles
from kronos.mcp.server import create_server

context = ServerContext(kronos.mcp.ServerOptions(Path(sys.argv[1])))
listed = anyio.run(create_server(context).call_tool, "list_candles", {})
assert "coin_1h.csv" in [file["file"] for file in listed.structured_content["files"]]
print(len(read_candles(context, SeriesArgs("coin_1h.csv", None, None), 400)), *sorted(BLOCKED & set(sys.modules)))
"""


@pytest.mark.slow
def test_files_are_read_without_the_serve_extra(data: Path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(data)], env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "400\n"

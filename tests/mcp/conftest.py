"""A folder of candles, a server in this process, and the command of a server process."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pandas as pd
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.types import CallToolResult
from tests.mcp.results import Call

from kronos.mcp import ServerOptions
from kronos.mcp.context import ServerContext
from kronos.mcp.server import create_server


def walk(rows: int, start: str = "2024-03-01", seed: int = 0) -> pd.DataFrame:
    """Hourly candles of a random walk."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    opened = np.concatenate([[100.0], close[:-1]])
    table = pd.DataFrame({"timestamps": pd.date_range(start, periods=rows, freq="h"), "open": opened, "close": close})
    table["high"] = table[["open", "close"]].max(axis=1) * 1.002
    table["low"] = table[["open", "close"]].min(axis=1) * 0.998
    table["volume"] = rng.integers(10, 100, rows)
    return table


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the user's settings, and forbid network access."""
    for name in [name for name in os.environ if name.startswith("KRONOS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KRONOS_OFFLINE", "1")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with valid and invalid files, and a file outside that must not be read."""
    outside = tmp_path_factory.mktemp("outside")
    root = outside / "data"
    (root / "crypto").mkdir(parents=True)
    walk(400).to_csv(root / "coin_1h.csv", index=False)
    walk(150).to_parquet(root / "crypto" / "eth_1h.parquet", index=False)
    walk(150).to_csv(root / "simulated_coin_1h.csv", index=False)
    walk(6).to_csv(root / "short_1h.csv", index=False)
    walk(150).to_csv(root / "packed.csv", index=False, compression="gzip")
    walk(150).to_pickle(root / "pickled.csv")
    (root / ".hidden.csv").write_text("a,b\n1,2\n")
    (root / "notes.txt").write_text("a secret\n")
    (root / "readme.md").write_text("a secret\n")
    walk(150).to_csv(outside / "secret.csv", index=False)
    (root / "link.csv").symlink_to(outside / "secret.csv")
    (root / "inward.csv").symlink_to(root / "coin_1h.csv")
    (root / "loop.csv").symlink_to(root / "loop.csv")
    (root / "way_out").symlink_to(outside)
    (root / "folder.csv").mkdir()
    return root


@pytest.fixture(scope="session")
def first_context(data: Path) -> Callable[[], ServerContext]:
    """Create the context on the first call, in the environment of a test, and return the same one from then on."""
    return cache(lambda: ServerContext(ServerOptions(data, source="simulated")))


@pytest.fixture
def server_context(first_context: Callable[[], ServerContext]) -> ServerContext:
    """A context of its own, with the models and the files that tests before it have loaded."""
    return copy.copy(first_context())


@pytest.fixture
def call(server_context: ServerContext) -> Call:
    """Call a tool of a server in this process."""

    def run(name: str, **arguments: Any) -> CallToolResult:
        async def session() -> CallToolResult:
            async with Client(create_server(server_context)) as client:
                return await client.call_tool(name, arguments)

        return anyio.run(session)

    return run


@pytest.fixture
def spawned(data: Path, tmp_path: Path) -> StdioServerParameters:
    """The command that starts a server process."""
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "kronos", "mcp", "--data", str(data), "--source", "simulated"],
        env={"KRONOS_OFFLINE": "1", "PYTHONWARNINGS": "ignore"},
        cwd=tmp_path,
    )

"""The server in a separate process, with the SDK's client on stdin and stdout."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from tests.mcp.results import content_of, text_of

TOOLS = ["list_models", "list_candles", "forecast", "evaluate"]


def test_a_client_lists_forecasts_and_evaluates(spawned: StdioServerParameters):
    events: list[tuple[float, float | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        events.append((done, total))

    async def session() -> None:
        async with Client(spawned) as client:
            assert client.server_info is not None
            assert client.server_info.name == "kronos"
            assert [tool.name for tool in (await client.list_tools()).tools] == TOOLS
            models = content_of(await client.call_tool("list_models"))
            assert models["default"] == "kronos-nano"
            requests = {"file": "coin_1h.csv", "horizon": 6, "samples": 20, "seed": 3}
            result = content_of(await client.call_tool("forecast", requests, progress_callback=progress))
            assert len(result["steps"]) == 6
            assert events[-1] == (120, 120)
            wrong = await client.call_tool("forecast", {"file": "../secret.csv"})
            assert wrong.is_error
            events.clear()
            judged = await client.call_tool(
                "evaluate", {"file": "coin_1h.csv", "horizon": 4, "origins": 3}, progress_callback=progress
            )
            assert content_of(judged)["origins"] == 3
            assert events[-1] == (600, 600)

    anyio.run(session)


def test_the_legacy_handshake_works_and_simulated_data_are_named_first(spawned: StdioServerParameters):
    async def session() -> None:
        async with Client(spawned, mode="legacy") as client:
            result = await client.call_tool("forecast", {"symbol": "BTC/USDT", "horizon": 2, "samples": 5})
            assert content_of(result)["simulated"] is True
            assert text_of(result).startswith("SIMULATED")

    anyio.run(session)


def test_stdout_is_empty_at_start_and_end(data: Path):
    done = subprocess.run(
        [sys.executable, "-m", "kronos", "mcp", "--data", str(data)], stdin=subprocess.DEVNULL, capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_ctrl_c_exits_while_stdin_is_open(data: Path):
    hello = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n'
    command = [sys.executable, "-m", "kronos", "mcp", "--data", str(data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(hello)
        process.stdin.flush()
        assert process.stdout.readline()  # it is serving
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "/nowhere"], "There is no folder /nowhere"),
        (["--model", "kronos-smal"], "did you mean kronos-small?"),
        (["--source", "files:/nowhere"], "There is no file or folder /nowhere"),
    ],
)
def test_invalid_options_are_one_line_on_stderr(options: list[str], message: str):
    command = [sys.executable, "-m", "kronos", "mcp", *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout

"""The server in a separate process, with the SDK's client on stdin and stdout."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from tests.mcp.results import content_of, text_of

import forks
from kronos.mcp.context import ServerContext
from kronos.mcp.server import create_server

TOOLS = ["list_models", "list_candles", "forecast", "evaluate"]
SERVER = (*forks.FORECASTING, "kronos.mcp.server", "kronos.mcp.stdio")
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "client", "version": "1"}}


def lines_of(*messages: dict[str, Any]) -> bytes:
    """Messages of JSON-RPC as a client writes them."""
    return b"".join(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n" for message in messages)


@pytest.mark.slow
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
                "evaluate", {"file": "coin_1h.csv", "horizon": 4, "origins": 2}, progress_callback=progress
            )
            assert content_of(judged)["origins"] == 2
            assert events[-1] == (400, 400)

    anyio.run(session)


@pytest.mark.slow
def test_the_legacy_handshake_works_and_simulated_data_are_named_first(server_context: ServerContext):
    async def session() -> None:
        async with Client(create_server(server_context), mode="legacy") as client:
            result = await client.call_tool("forecast", {"symbol": "BTC/USDT", "horizon": 2, "samples": 5})
            assert content_of(result)["simulated"] is True
            assert text_of(result).startswith("SIMULATED")

    anyio.run(session)


@pytest.mark.slow
def test_stdout_is_empty_at_start_and_end(data: Path):
    command = [sys.executable, "-m", "kronos", "mcp", "--data", str(data)]
    done = forks.run(command, preload=SERVER, stdin=subprocess.DEVNULL, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"")


UNREADABLE: list[tuple[bytes, int, int | str | None]] = [
    (b"not json", -32700, None),
    (b'{"jsonrpc": "2.0", "id": 2, "method": "ping"', -32700, None),
    (rb'{"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "\ud800"}}', -32700, 3),
    (rb'{"jsonrpc": "2.0", "id": "a4", "method": "ping", "params": {"x": "\udc00\ud800"}}', -32700, "a4"),
    (rb'{"jsonrpc": "2.0", "id": "\ud800", "method": "ping"}', -32700, None),
    (b'{"jsonrpc": "2.0", "id": 5, "method": "ping", "params": {"x": ' + b"[" * 10_000 + b"}}", -32700, None),
    (b"\xff\xfe", -32700, None),
    (b"[]", -32600, None),
    (b'[{"jsonrpc": "2.0", "id": 6, "method": "ping"}]', -32600, None),
    (b'{"id": 7, "method": "ping"}', -32600, 7),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "ping", "params": [1]}', -32600, 8),
    (b'{"jsonrpc": "2.0", "id": 9.0, "method": "ping"}', -32600, None),
    (b'{"jsonrpc": "2.0", "id": null, "method": "tools/list"}', -32600, None),
    (b'{"jsonrpc": "2.0", "id": true, "method": "no/such/method"}', -32600, None),
    (b'{"jsonrpc": "2.0", "method": "ping"}', -32600, None),
    (b'\xef\xbb\xbf{"jsonrpc": "2.0", "id": 10, "method": "ping"', -32700, None),
    (b"\xef\xbb\xbf[]", -32600, None),
    (b'"hello"', -32600, None),
    (b"17", -32600, None),
]


@contextmanager
def mcp_process(data: Path) -> Iterator[Any]:
    """A server process with pipes, which is killed at the end."""
    command, pipe = [sys.executable, "-m", "kronos", "mcp", "--data", str(data)], subprocess.PIPE
    with forks.Popen(command, preload=SERVER, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_without_docstrings_unreadable_messages_are_answered_and_tools_described(data: Path):
    """One process that has neither docstrings nor assertions, because it compiles all modules anew."""
    tools = [
        {"id": "hello", "method": "initialize", "params": HELLO},
        {"method": "notifications/initialized"},
        {"id": "tools", "method": "tools/list"},
        {"id": "candles", "method": "tools/call", "params": {"name": "list_candles", "arguments": {}}},
    ]
    unreadable = b"\n".join([b"", b"   ", *(line for line, _, _ in UNREADABLE)]) + b"\n"
    command = [sys.executable, "-OO", "-m", "kronos", "mcp", "--data", str(data)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(unreadable + lines_of({"id": "last", "method": "ping"}, *tools))
        process.stdin.flush()
        # The end of stdin would cancel what follows the errors, so it is read first.
        answers = [json.loads(process.stdout.readline()) for _ in range(len(UNREADABLE) + 4)]
        process.stdin.close()
        assert (process.wait(timeout=60), process.stdout.read(), process.stderr.read()) == (0, b"", b"")
    errors = [(answer["error"]["code"], answer["id"]) for answer in answers[: len(UNREADABLE)]]
    assert errors == [(code, id_) for _, code, id_ in UNREADABLE]
    results = {answer["id"]: answer["result"] for answer in answers[len(UNREADABLE) :]}
    assert results.keys() == {"last", "hello", "tools", "candles"}
    assert [tool["name"] for tool in results["tools"]["tools"]] == TOOLS
    assert all(len(tool.get("description", "")) > 60 for tool in results["tools"]["tools"])
    assert "coin_1h.csv" in [item["file"] for item in results["candles"]["structuredContent"]["files"]]


@pytest.mark.slow
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_byte_order_mark_before_a_message_is_skipped(data: Path, end: bytes):
    ping = b'\xef\xbb\xbf{"jsonrpc": "2.0", "id": %d, "method": "ping"}'
    with mcp_process(data) as process:
        process.stdin.write(b"".join(ping % number + end for number in (1, 2)))
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [(answer["id"], "error" in answer) for answer in answers] == [(1, False), (2, False)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_client_that_dies_during_a_call_leaves_no_process_and_no_traceback(data: Path):
    call = {"name": "evaluate", "arguments": {"file": "coin_1h.csv", "origins": 20}, "_meta": {"progressToken": 1}}
    messages: list[dict[str, Any]] = [
        {"id": 0, "method": "initialize", "params": HELLO},
        {"method": "notifications/initialized"},
        {"id": 1, "method": "tools/call", "params": call},
    ]
    with mcp_process(data) as process:
        process.stdin.write(lines_of(*messages))
        process.stdin.flush()
        while b"progress" not in process.stdout.readline():
            pass
        process.stdout.close()  # as the system does for a process that was killed
        process.stdin.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_ctrl_c_exits_while_stdin_is_open(data: Path):
    with mcp_process(data) as process:
        process.stdin.write(lines_of({"id": 1, "method": "ping"}))
        process.stdin.flush()
        assert process.stdout.readline()  # it is serving
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130


@pytest.mark.slow
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
    streams = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "encoding": "utf-8"}
    done = forks.run(command, preload=SERVER, **streams)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout

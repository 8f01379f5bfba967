"""The server on stdin and stdout; importable without the MCP SDK, to report that it is missing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager

from kronos.errors import ParameterError
from kronos.mcp.context import ServerContext, ServerOptions


def run(options: ServerOptions) -> None:
    """Serve on stdin and stdout until the client closes stdin.

    Args:
        options: Files, source and model.

    Raises:
        ParameterError: If the SDK is not installed, or an option is invalid.
        KronosError: If the folder, the source or the model cannot be used.
    """
    try:
        from mcp.server import mcpserver  # noqa: F401  (version 1 does not have it)
    except ImportError as error:
        raise ParameterError(
            'kronos mcp needs the MCP SDK, version 2 or newer; install it with python -m pip install "mcp>=2.0".'
        ) from error
    from kronos.mcp.server import create_server

    context = ServerContext(options)
    with closing(context), _exit_on_signals(context):
        try:
            create_server(context).run("stdio")
        except* BrokenPipeError:
            pass  # the client has left without closing stdin first


@contextmanager
def _exit_on_signals(context: ServerContext) -> Iterator[None]:
    """Exit immediately on SIGINT and SIGTERM: a thread that reads stdin would keep the process alive."""

    def end(number: int, _: object) -> None:
        context.close()
        os._exit(128 + number)

    handlers = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)

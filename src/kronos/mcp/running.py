"""The way into the server: the SDK is imported here and not before, and where it is missing, a sentence says so."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from kronos.errors import ParameterError
from kronos.mcp.options import Options

if TYPE_CHECKING:
    from kronos.mcp.desk import Desk


def run(options: Options) -> None:
    """Serve on stdin and stdout until the assistant hangs up.

    Args:
        options: What may be read, and with which model.

    Raises:
        ParameterError: If the SDK is missing, or an option is wrong.
        KronosError: If the folder, the source or the model cannot be used.
    """
    try:
        from mcp.server import mcpserver  # noqa: F401  (version 1 has none)
    except ImportError as error:
        raise ParameterError(
            'kronos mcp needs the MCP SDK, version 2 or newer; install it with python -m pip install "mcp>=2.0".'
        ) from error
    from kronos.mcp.desk import Desk
    from kronos.mcp.server import make_server

    desk = Desk(options)
    with closing(desk), _ended_by_signals(desk):
        make_server(desk).run("stdio")


@contextmanager
def _ended_by_signals(desk: Desk) -> Iterator[None]:
    """End at once at Ctrl-C and SIGTERM: a thread that waits for stdin would otherwise keep the process alive."""

    def end(number: int, _: object) -> None:
        desk.close()
        os._exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

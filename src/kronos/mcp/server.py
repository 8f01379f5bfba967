"""The MCP server: which tools it has, and what an assistant reads when a call goes wrong.

- A `KronosError` is its one sentence, wrong arguments are told by their names, and anything else is a sentence that
  says nothing of this machine; tracebacks go to stderr only.
- What libraries print while it serves goes to stderr, because stdout is the protocol's.
"""

from __future__ import annotations

import difflib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, redirect_stdout
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import ValidationError

from kronos import __version__
from kronos.errors import KronosError, ParameterError
from kronos.formatting import truncate
from kronos.mcp.context import ServerContext, ServerOptions
from kronos.mcp.tools import Tools
from kronos.sandbox.data_dir import redact_paths


def run(options: ServerOptions) -> None:
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
    from kronos.mcp.context import ServerContext

    desk = ServerContext(options)
    with closing(desk), _ended_by_signals(desk):
        make_server(desk).run("stdio")


@contextmanager
def _ended_by_signals(desk: ServerContext) -> Iterator[None]:
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


logger = logging.getLogger(__name__)

INSTRUCTIONS = (
    "Kronos forecasts financial candlesticks and measures how good its forecasts were. Call list_candles for what "
    "there is, then forecast; evaluate tells whether a model's forecasts of a series deserve trust. All tools only "
    "read. Pass on what the answers say about simulated data, uncertainty and how little was looked at."
)


class KronosServer(MCPServer[None]):
    """An MCP server whose errors are sentences."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[None, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; what is wrong becomes a result that says so."""
        try:
            await self._check_names(name, arguments)
            return await super().call_tool(name, arguments, context)
        except (KronosError, ToolError) as error:
            cause = error if isinstance(error, KronosError) else error.__cause__
            return CallToolResult(content=[TextContent(type="text", text=sentence(cause))], is_error=True)

    async def _check_names(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Refuse tools and arguments that there are not; the SDK would pass over the latter.

        Raises:
            ParameterError: With the nearest name.
        """
        tools = {tool.name: list(tool.input_schema["properties"]) for tool in await self.list_tools()}
        if name not in tools:
            raise ParameterError(f"There is no tool '{truncate(name)}'; there are {', '.join(tools)}.")
        unknown = next((one for one in arguments if one not in tools[name]), None)
        if unknown is None:
            return
        near = difflib.get_close_matches(unknown, tools[name], n=1)
        listed = f"it takes {', '.join(tools[name])}" if tools[name] else "it takes none"
        mend = f"did you mean {near[0]}?" if near else f"{listed}."
        raise ParameterError(f"{name} has no argument '{truncate(unknown)}'; {mend}")


def make_server(desk: ServerContext) -> KronosServer:
    """A server of the tools on a desk."""
    tools = Tools(desk)
    titles: list[tuple[Callable[..., Any], str]] = [
        (tools.list_models, "List models"),
        (tools.list_candles, "List candles"),
        (tools.forecast, "Forecast candles"),
        (tools.evaluate, "Evaluate forecasts"),
    ]
    made = []
    for function, title in titles:
        hints = ToolAnnotations(
            title=title,
            read_only_hint=True,
            destructive_hint=False,
            idempotent_hint=True,
            open_world_hint=desk.remote and function != tools.list_models,
        )
        tool = Tool.from_function(function, title=title, description=_description(function.__doc__), annotations=hints)
        tool.parameters["additionalProperties"] = False
        made.append(tool)
    return KronosServer(
        "kronos",
        title="Kronos",
        instructions=INSTRUCTIONS,
        version=__version__,
        tools=made,
        lifespan=_stdout_is_the_protocols,
        log_level="WARNING",
    )


def sentence(error: BaseException | None) -> str:
    """What an assistant reads of an error: one sentence without a path of this machine."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        return f"{name} cannot be {truncate(repr(first['input']))}: {first['msg'][0].lower()}{first['msg'][1:]}."
    if isinstance(error, KronosError):
        return redact_paths(" ".join(str(error).split()))
    if isinstance(error, OSError):
        reason = (error.strerror or type(error).__name__).lower()
        return f"The system refused to read or write ({reason}); check space and rights."
    if isinstance(error, MemoryError):
        return "Memory ran out; ask for fewer samples or a shorter horizon."
    logger.error("A call failed, which is a fault of Kronos", exc_info=error)
    return "Kronos failed at this call, which is a fault of its own; the server's log on stderr says more."


def _description(doc: str | None) -> str:
    """A docstring as plain paragraphs."""
    paragraphs = (doc or "").strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


@asynccontextmanager
async def _stdout_is_the_protocols(_: MCPServer[None]) -> AsyncIterator[None]:
    """Send what libraries print to stderr; the transport has taken the real stdout by now."""
    with redirect_stdout(sys.stderr):
        yield

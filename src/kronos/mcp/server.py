"""The MCP server: its tools and its error messages.

- Errors are one sentence: of a `KronosError` its message, of invalid arguments their names, of other exceptions a
  message without details of this machine. Tracebacks go to stderr.
- stdout belongs to the protocol, so output of libraries is redirected to stderr.
"""

from __future__ import annotations

import difflib
import logging
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, redirect_stdout
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import ValidationError

from kronos import __version__
from kronos.errors import KronosError, ParameterError
from kronos.formatting import truncate
from kronos.mcp.context import ServerContext
from kronos.mcp.tools import Tools
from kronos.sandbox.data_dir import redact_paths

INSTRUCTIONS = (
    "Kronos forecasts financial candlesticks and measures the quality of its forecasts. Call list_candles for the "
    "available candles, then forecast. Call evaluate to find out whether a model's forecasts of a series are "
    "reliable. All tools are read-only. Tell the user what the results say about simulated data, uncertainty and small "
    "evaluations."
)

logger = logging.getLogger(__name__)


class KronosMCPServer(MCPServer[None]):
    """An MCP server whose errors are single sentences."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[None, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; an error becomes the result."""
        try:
            await self._check_names(name, arguments)
            return await super().call_tool(name, arguments, context)
        except (KronosError, ToolError) as error:
            cause = error if isinstance(error, KronosError) else error.__cause__
            return CallToolResult(content=[TextContent(type="text", text=error_message(cause))], is_error=True)

    async def _check_names(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Check the names of the tool and its arguments; the SDK ignores unknown arguments.

        Raises:
            ParameterError: With the closest name.
        """
        tools = {tool.name: list(tool.input_schema["properties"]) for tool in await self.list_tools()}
        if name not in tools:
            raise ParameterError(f"Unknown tool '{truncate(name)}'; choose {', '.join(tools)}.")
        known = tools[name]
        unknown = next((argument for argument in arguments if argument not in known), None)
        if unknown is None:
            return
        closest = difflib.get_close_matches(unknown, known, n=1)
        available = f"its arguments are {', '.join(known)}." if known else "it has none."
        hint = f"did you mean {closest[0]}?" if closest else available
        raise ParameterError(f"{name} has no argument '{truncate(unknown)}'; {hint}")


def create_server(context: ServerContext) -> KronosMCPServer:
    """Create a server with all tools."""
    tools = Tools(context)
    titles: list[tuple[Callable[..., Any], str]] = [
        (tools.list_models, "List models"),
        (tools.list_candles, "List candles"),
        (tools.forecast, "Forecast candles"),
        (tools.evaluate, "Evaluate forecasts"),
    ]
    registered = []
    for function, title in titles:
        annotations = ToolAnnotations(
            title=title,
            read_only_hint=True,
            destructive_hint=False,
            idempotent_hint=True,
            open_world_hint=context.remote and function != tools.list_models,
        )
        description = _description(function.__doc__)
        tool = Tool.from_function(function, title=title, description=description, annotations=annotations)
        tool.parameters["additionalProperties"] = False
        registered.append(tool)
    return KronosMCPServer(
        "kronos",
        title="Kronos",
        instructions=INSTRUCTIONS,
        version=__version__,
        tools=registered,
        lifespan=_redirect_stdout,
        log_level="WARNING",
    )


def error_message(error: BaseException | None) -> str:
    """Return an error as one sentence without paths of this machine."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        return f"Invalid {name} {truncate(repr(first['input']))}: {first['msg'][0].lower()}{first['msg'][1:]}."
    if isinstance(error, KronosError):
        return redact_paths(" ".join(str(error).split()))
    if isinstance(error, OSError):
        reason = (error.strerror or type(error).__name__).lower()
        return f"Cannot read or write a file ({reason}); check disk space and permissions."
    if isinstance(error, MemoryError):
        return "Out of memory; choose fewer samples or a shorter horizon."
    logger.error("unexpected error in a call", exc_info=error)
    return "Internal error of Kronos; the details are in the server's log on stderr."


def _description(doc: str | None) -> str:
    """Unwrap the paragraphs of a docstring."""
    paragraphs = (doc or "").strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


@asynccontextmanager
async def _redirect_stdout(_: MCPServer[None]) -> AsyncIterator[None]:
    """Send output of libraries to stderr; the transport already holds the real stdout."""
    with redirect_stdout(sys.stderr):
        yield

"""The MCP server: its tools, what it accepts from clients, and its error messages.

- Clients and models differ. Empty arguments are absent, unknown ones are ignored and named in the answer, and the
  schemas of arguments use plain types only, because function declarations of Gemini and OpenAI refuse others.
- A message that cannot be read is answered with an error of the protocol, so that no client waits for ever.
- Errors are one sentence: of a `KronosError` its message, of invalid arguments their names, of other exceptions a
  message without details of this machine. Tracebacks go to stderr.
- stdout belongs to the protocol, so output of libraries is redirected to stderr.
"""

from __future__ import annotations

import difflib
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, redirect_stdout
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from anyio import EndOfStream
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    CallToolResult,
    ErrorData,
    InputRequiredResult,
    JSONRPCError,
    JSONRPCNotification,
    TextContent,
    ToolAnnotations,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from kronos import __version__
from kronos.errors import KronosError, ParameterError
from kronos.formatting import join_names, truncate
from kronos.mcp.context import ServerContext
from kronos.mcp.responses import protocol_words
from kronos.mcp.tools import EVALUATE, FORECAST, LIST_CANDLES, LIST_MODELS, Tools
from kronos.sandbox.data_dir import redact_paths

if TYPE_CHECKING:
    from mcp.shared._stream_protocols import ReadStream, WriteStream

INSTRUCTIONS = (
    "Kronos forecasts financial candlesticks and measures the quality of its forecasts. Call list_candles for the "
    "available candles, then forecast. Call evaluate to find out whether a model's forecasts of a series are "
    "reliable. All tools are read-only. Tell the user what the results say about simulated data, uncertainty and small "
    "evaluations."
)

logger = logging.getLogger(__name__)


class KronosMCPServer(MCPServer[None]):
    """An MCP server that accepts what clients send, and whose errors are single sentences."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[None, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; an error becomes the result."""
        remark, unknown = "", list[str]()
        try:
            known = await self._argument_names(name)
            given = {argument: value for argument, value in arguments.items() if not _is_absent(value)}
            unknown = [argument for argument in given if argument not in known]
            remark = _ignored_remark(unknown, known)
            used = {argument: value for argument, value in given.items() if argument in known}
            result = await super().call_tool(name, used, context)
        except (KronosError, ToolError) as error:
            cause = error if isinstance(error, KronosError) else error.__cause__
            text = " ".join(filter(None, (error_message(cause), remark)))
            return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
        if unknown and isinstance(result, CallToolResult):
            result.content.append(TextContent(type="text", text=remark))
            (result.structured_content or {})["ignored"] = [truncate(argument) for argument in unknown]
        return result

    async def run_stdio_async(self) -> None:
        """Serve on stdin and stdout; messages that cannot be read are answered."""
        async with stdio_server() as (incoming, outgoing):
            options = self._lowlevel_server.create_initialization_options()
            await self._lowlevel_server.run(_ReadableMessages(incoming, outgoing), outgoing, options)

    async def _argument_names(self, name: str) -> list[str]:
        """Return the names of a tool's arguments.

        Raises:
            ParameterError: If there is no such tool.
        """
        tools = {tool.name: list(tool.input_schema["properties"]) for tool in await self.list_tools()}
        if name not in tools:
            raise ParameterError(f"Unknown tool '{truncate(name)}'; choose {', '.join(tools)}.")
        return tools[name]


class _ReadableMessages:
    """The incoming messages that can be read; others are answered with an error of the protocol.

    The SDK passes the latter on as exceptions, which its server drops, so that their senders would wait for ever.
    """

    def __init__(self, incoming: ReadStream[SessionMessage | Exception], outgoing: WriteStream[SessionMessage]) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    @property
    def last_context(self) -> Any:
        """The sender's context of the last message."""
        return getattr(self._incoming, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        while True:
            item = await self._incoming.receive()
            if isinstance(item, Exception):
                item = _without_byte_order_mark(item)
            if isinstance(item, Exception):
                answer = unreadable_message_error(item)
            elif (answer := _missing_id_error(item)) is None:
                return item
            if answer is not None:
                await self._outgoing.send(SessionMessage(answer))

    async def aclose(self) -> None:
        await self._incoming.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        await self._incoming.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._incoming.__aexit__(kind, error, traceback)


def create_server(context: ServerContext) -> KronosMCPServer:
    """Create a server with all tools."""
    tools = Tools(context)
    texts: list[tuple[Callable[..., Any], str, str]] = [
        (tools.list_models, "List models", LIST_MODELS),
        (tools.list_candles, "List candles", LIST_CANDLES),
        (tools.forecast, "Forecast candles", FORECAST),
        (tools.evaluate, "Evaluate forecasts", EVALUATE),
    ]
    registered = []
    for function, title, description in texts:
        annotations = ToolAnnotations(
            title=title,
            read_only_hint=True,
            destructive_hint=False,
            idempotent_hint=True,
            open_world_hint=context.remote and function != tools.list_models,
        )
        tool = Tool.from_function(function, title=title, description=description, annotations=annotations)
        tool.parameters = plain_schema(tool.parameters)
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
        return redact_paths(protocol_words(" ".join(str(error).split())))
    if isinstance(error, OSError):
        reason = (error.strerror or type(error).__name__).lower()
        return f"Cannot read or write a file ({reason}); check disk space and permissions."
    if isinstance(error, MemoryError):
        return "Out of memory; choose fewer samples or a shorter horizon."
    logger.error("unexpected error in a call", exc_info=error)
    return "Internal error of Kronos; the details are in the server's log on stderr."


def unreadable_message_error(error: Exception) -> JSONRPCError | None:
    """Return the protocol's error for a message that cannot be read; None for an empty line.

    It has the id of the request if that can be found: without one, a client does not know which request failed.

    Args:
        error: What the transport raised for the message.
    """
    if not isinstance(error, ValidationError):
        logger.error("unexpected error of the transport", exc_info=error)
        return JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=PARSE_ERROR, message="Parse error."))
    details = error.errors(include_url=False)
    first = details[0]
    if first["type"] != "json_invalid":
        # A message lacks a field of at least one kind of message, and that detail has the message itself.
        message = next((detail["input"] for detail in details if isinstance(detail["input"], dict)), None)
        text = "Invalid request: not a JSON-RPC 2.0 message; send one object with jsonrpc, id, method and params."
        return JSONRPCError(jsonrpc="2.0", id=_request_id(message), error=ErrorData(code=INVALID_REQUEST, message=text))
    line = str(first["input"])
    if not line.strip():
        return None
    reason = truncate(str(first["ctx"]["error"]), 120)
    text = f"Parse error: {reason}; send one JSON object per line, without lone surrogates."
    return JSONRPCError(jsonrpc="2.0", id=_request_id(line), error=ErrorData(code=PARSE_ERROR, message=text))


def _without_byte_order_mark(error: Exception) -> SessionMessage | Exception:
    """Read a line again without the byte order mark that Windows' shells write before the first one."""
    detail = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
    if detail is None or detail["type"] != "json_invalid" or not str(detail["input"]).startswith("\ufeff"):
        return error
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(str(detail["input"])[1:], by_name=False))
    except ValidationError as without_mark:
        return without_mark


def _missing_id_error(message: SessionMessage) -> JSONRPCError | None:
    """Return the protocol's error for a request whose id is neither a string nor an integer; None for others.

    The SDK drops such an id and takes the request for a notification, which is not answered.
    """
    content = message.message
    if not isinstance(content, JSONRPCNotification) or content.method.startswith("notifications/"):
        return None
    text = f"Invalid request: {truncate(content.method)} needs an id, a string or an integer."
    return JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=INVALID_REQUEST, message=text))


def plain_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of arguments in the subset that clients of all models accept.

    Optional arguments get their plain type and are not required, instead of being a choice between it and null;
    titles, defaults of null and ``additionalProperties`` are left out.

    Args:
        schema: The schema of an object, as pydantic writes it.
    """
    properties = {}
    for name, item in schema.get("properties", {}).items():
        plain = {key: value for key, value in item.items() if key not in ("anyOf", "title")}
        for choice in item.get("anyOf", ()):
            if choice.get("type") != "null":
                plain |= choice
        if plain.get("default", ...) is None:
            del plain["default"]
        properties[name] = plain
    required = {"required": schema["required"]} if schema.get("required") else {}
    return {"type": "object", "properties": properties, **required}


def _is_absent(value: object) -> bool:
    """Whether a client sent an argument without a value: null, blank, or "null", which the SDK also reads as null."""
    return value is None or (isinstance(value, str) and value.strip() in ("", "null"))


def _ignored_remark(unknown: Sequence[str], known: Sequence[str]) -> str:
    """Return a sentence that names arguments which a tool does not have; empty if there are none."""
    if not unknown:
        return ""
    plain = {name.replace("_", "").lower(): name for name in known}
    texts = []
    for name in unknown:
        closest = difflib.get_close_matches(name.replace("_", "").lower(), plain, n=1, cutoff=0.65)
        texts.append(truncate(name) + (f" (did you mean {plain[closest[0]]}?)" if closest else ""))
    return f"Ignored: {join_names(texts, 8)}."


def _request_id(message: str | dict[str, Any] | None) -> int | str | None:
    """Return the id of a message, if it has a valid one; of a text, as far as Python's more lenient parser reads it."""
    if isinstance(message, str):
        try:
            message = json.loads(message)
        except (ValueError, RecursionError):
            return None
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, int | str) and not isinstance(found, bool) and _is_encodable(found) else None


def _is_encodable(value: int | str) -> bool:
    """Whether a value has no lone surrogates, which cannot be sent back."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return False
    return True


@asynccontextmanager
async def _redirect_stdout(_: MCPServer[None]) -> AsyncIterator[None]:
    """Send output of libraries to stderr; the transport already holds the real stdout."""
    with redirect_stdout(sys.stderr):
        yield

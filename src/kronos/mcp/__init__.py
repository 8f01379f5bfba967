"""Kronos for assistants: an MCP server with a few tools that only read.

- stdin and stdout carry the protocol and nothing else; no port is opened, and what libraries print goes to stderr.
- Files come from one folder only, candles of symbols from the source that the person who starts it configured.
- Files are found and read by the HTTP server's own code, `kronos.sandbox`, which needs none of that server's extra.
- All work is bounded, runs in a thread one call at a time, tells its progress, and ends when the assistant cancels.
- Numbers are structured and described by a schema; a short text beside them says the same, simulated data first.
"""

from kronos.mcp.context import ServerOptions
from kronos.mcp.server import run

__all__ = ["ServerOptions", "run"]

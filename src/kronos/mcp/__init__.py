"""Kronos for assistants: a Model Context Protocol server with read-only tools.

- stdin and stdout carry only the protocol; output of libraries goes to stderr, and no port is opened.
- Files come from one folder, candles of symbols from the source configured by the user. Files are read by
  `kronos.sandbox`, as in the HTTP server.
- Calls run in a thread, one at a time, with limits on their work; they report progress and can be cancelled.
- Results are structured data with a schema, and a short text, which names simulated data first.
"""

from kronos.mcp.context import ServerOptions
from kronos.mcp.stdio import run

__all__ = ["ServerOptions", "run"]

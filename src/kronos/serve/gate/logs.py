"""Structured logs: one JSON object a line where a machine reads, a short line where a person does.

Nothing here configures logging by being imported; `configure` does, and only the server calls it.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

_OWN = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message", "asctime", "taskName"}
_HIDDEN = frozenset({"color_message"})


class Lines(logging.Formatter):
    """One JSON object for each record: time, level, logger, message, and whatever else it carries."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


class Words(logging.Formatter):
    """A line for people: time, message, and what it carries."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, with the traceback below it where there is one."""
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        extra = " ".join(f"{name}={value}" for name, value in _extra(record).items())
        line = _plain(f"{clock} {record.levelname.lower():7} {record.getMessage()} {extra}".rstrip())
        if not record.exc_info:
            return line
        return "\n".join([line, *map(_plain, self.formatException(record.exc_info).split("\n"))])


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _OWN | _HIDDEN}


def _plain(text: str) -> str:
    """The text with what would steer a terminal, or begin another line, as escapes: clients choose parts of it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def configure(*, machine: bool, verbose: bool, stream: TextIO | None = None) -> None:
    """Log to stderr.

    Args:
        machine: JSON lines, or lines for people.
        verbose: Whether to tell each request.
        stream: Another stream.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Lines() if machine else Words())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("kronos.access").setLevel(logging.INFO if verbose else logging.WARNING)
    for noisy in ("httpx2", "httpcore2", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

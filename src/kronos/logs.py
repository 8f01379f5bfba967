"""Log records as lines: readable ones for a terminal, JSON objects for a collector of logs.

Importing this module configures nothing; servers and the live forecaster call `log_handler`.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

_STANDARD_FIELDS = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {
    "message", "asctime", "taskName", "color_message",
}  # fmt: skip


class JsonFormatter(logging.Formatter):
    """One JSON object per record: time, level, logger, message, and the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


class TextFormatter(logging.Formatter):
    """One readable line per record: time, message, and the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line, followed by the traceback if there is one."""
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        extra = " ".join(f"{name}={value}" for name, value in _extra(record).items())
        line = _escape(f"{clock} {record.levelname.lower():7} {record.getMessage()} {extra}".rstrip())
        if not record.exc_info:
            return line
        return "\n".join([line, *map(_escape, self.formatException(record.exc_info).split("\n"))])


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD_FIELDS}


def _escape(text: str) -> str:
    """Escape control characters: clients choose parts of the text, which must not control a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def log_handler(*, json_lines: bool, stream: TextIO | None = None) -> logging.Handler:
    """Create a handler.

    Args:
        json_lines: Log JSON objects instead of readable lines.
        stream: Where to log; None for stderr, or nowhere if that is closed.
    """
    target = stream or sys.stderr
    handler = logging.NullHandler() if target is None else logging.StreamHandler(target)
    handler.setFormatter(JsonFormatter() if json_lines else TextFormatter())
    return handler

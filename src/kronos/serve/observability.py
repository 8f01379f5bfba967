"""Structured logs: one JSON object a line where a machine reads, a short line where a person does.

Nothing here configures logging by being imported; `configure` does, and only the server calls it.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TextIO

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

_OWN = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message", "asctime", "taskName"}
_HIDDEN = frozenset({"color_message"})


class JsonFormatter(logging.Formatter):
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


class TextFormatter(logging.Formatter):
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
    handler.setFormatter(JsonFormatter() if machine else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("kronos.access").setLevel(logging.INFO if verbose else logging.WARNING)
    for noisy in ("httpx2", "httpcore2", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._registry = CollectorRegistry()
        self._answered = Counter(
            "kronos_requests", "Requests answered.", ("route", "method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "kronos_request_seconds", "Seconds to the answer.", ("route",), buckets=_SECONDS, registry=self._registry
        )
        self._children: dict[tuple[str, str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    def watch(self, name: str, text: str, read: Callable[[], float], *, grows: bool = False) -> None:
        """Show a number that something else keeps, read when it is asked for.

        Args:
            name: Of the metric; one that only grows is shown with ``_total`` behind it.
            text: What it is.
            read: Gives it.
            grows: Whether it only grows, which makes it a counter.
        """
        self._registry.register(_Watched(CounterMetricFamily if grows else GaugeMetricFamily, name, text, read))

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (route, method if method in _METHODS else "other", status)  # clients invent methods; series cost memory
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._answered.labels(*key)
        child.inc()
        timer = self._timers.get(route)
        if timer is None:
            timer = self._timers[route] = self._seconds.labels(route)
        timer.observe(seconds)

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Watched(Collector):
    """One number that something else keeps."""

    def __init__(
        self,
        kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
        name: str,
        text: str,
        read: Callable[[], float],
    ) -> None:
        self._kind, self._name, self._text, self._read = kind, name, text, read

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """The number as it is now."""
        yield self._kind(self._name, self._text, value=self._read())

"""Structured logging and Prometheus metrics.

Importing this module does not configure logging; `configure_logging` does, and only the server calls it.
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


def configure_logging(*, json_lines: bool, access_log: bool, stream: TextIO | None = None) -> None:
    """Configure the root logger.

    Args:
        json_lines: Log JSON objects instead of readable lines.
        access_log: Log every request.
        stream: Where to log; None for stderr.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if json_lines else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("kronos.access").setLevel(logging.INFO if access_log else logging.WARNING)
    for noisy in ("httpx2", "httpcore2", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # seconds
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Prometheus metrics of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "kronos_requests", "Requests answered.", ("route", "method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "kronos_request_seconds", "Seconds to the response.", ("route",), buckets=_BUCKETS, registry=self._registry
        )
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[str, Histogram] = {}

    def watch(self, name: str, text: str, read: Callable[[], float], *, counter: bool = False) -> None:
        """Add a metric whose value is read at each scrape.

        Args:
            name: Name of the metric; counters are shown with the suffix ``_total``.
            text: Description.
            read: Returns the value.
            counter: Whether the value only increases.
        """
        self._registry.register(
            _CallbackMetric(CounterMetricFamily if counter else GaugeMetricFamily, name, text, read)
        )

    def record_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request."""
        # Clients can invent methods, and each series costs memory.
        key = (route, method if method in _METHODS else "other", status)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._requests.labels(*key)
        counter.inc()
        histogram = self._histograms.get(route)
        if histogram is None:
            histogram = self._histograms[route] = self._seconds.labels(route)
        histogram.observe(seconds)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _CallbackMetric(Collector):
    def __init__(
        self,
        family: type[CounterMetricFamily] | type[GaugeMetricFamily],
        name: str,
        text: str,
        read: Callable[[], float],
    ) -> None:
        self._family, self._name, self._text, self._read = family, name, text, read

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        yield self._family(self._name, self._text, value=self._read())

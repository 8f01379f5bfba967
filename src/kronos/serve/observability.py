"""Structured logging and Prometheus metrics.

Importing this module does not configure logging; `configure_logging` does, and only the server calls it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TextIO

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from kronos.logs import log_handler


def configure_logging(*, json_lines: bool, access_log: bool, stream: TextIO | None = None) -> None:
    """Configure the root logger.

    Args:
        json_lines: Log JSON objects instead of readable lines.
        access_log: Log every request.
        stream: Where to log; None for stderr, or nowhere if that is closed.
    """
    root = logging.getLogger()
    root.handlers[:] = [log_handler(json_lines=json_lines, stream=stream)]
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

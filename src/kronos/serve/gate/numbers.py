"""What Prometheus reads at ``/metrics``; a registry of its own for each server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Numbers:
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

"""Alerts by webhook: what an operator wants to know, sent without holding up a cycle."""

from __future__ import annotations

import logging
import threading
from typing import Any

from kronos.live.config import AlertsSection
from kronos.live.cycle import CycleResult
from kronos.live.entries import format_time
from kronos.provenance import now_utc

_log = logging.getLogger(__name__)
_WORTH_ALERTING = ("late", "stand-in", "waiting", "failed")


class Alerts:
    """Sends a JSON object to an address when something goes wrong, and when it is right again.

    Each series and each step is reported once until its state changes. Requests run in a thread: a webhook that hangs
    delays nothing, and one that fails is only logged.

    Args:
        config: Address and timeout; without an address nothing is sent.
    """

    def __init__(self, config: AlertsSection) -> None:
        self._config = config
        self._states: dict[str, str] = {}
        self._threads: list[threading.Thread] = []

    def report(self, result: CycleResult) -> None:
        """Report the state of a series if it is worth an alert, or has recovered."""
        slug, status = result.series.slug, result.status
        known = self._states.get(slug, "")
        state = status if status in _WORTH_ALERTING else ""
        if status == "recorded" or state == known:
            return
        self._states[slug] = state
        origin = None if result.origin is None else format_time(result.origin)
        self.send(status if state else "recovered", result.reason, series=slug, origin=origin)

    def report_step(self, name: str, failure: str) -> None:
        """Report that a step, such as ``publishing``, fails, or has recovered.

        Args:
            name: Name of the step.
            failure: Why it failed; empty if it succeeded.
        """
        known, self._states[name] = self._states.get(name, ""), "failed" if failure else ""
        if self._states[name] != known:
            self.send(f"{name} failed" if failure else "recovered", failure, step=name)

    def send(self, event: str, message: str, **details: Any) -> None:
        """Send an alert in the background.

        Args:
            event: What happened, such as ``late`` or ``cycle failed``.
            message: One sentence.
            **details: Further values for JSON.
        """
        if self._config.webhook is None:
            return
        body = {"event": event, "message": message, "sent_at": now_utc(), **details}
        thread = threading.Thread(target=self._post, args=(body,), daemon=True, name="kronos-alert")
        self._threads = [running for running in self._threads if running.is_alive()] + [thread]
        thread.start()

    def close(self) -> None:
        """Wait for the alerts that are on their way, no longer than the timeout of one."""
        for thread in self._threads:
            thread.join(self._config.timeout)

    def _post(self, body: dict[str, Any]) -> None:
        import httpx2

        assert self._config.webhook is not None  # checked before the thread starts
        try:
            address = self._config.webhook.get_secret_value()
            httpx2.post(address, json=body, timeout=self._config.timeout).raise_for_status()
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            # The address may hold a secret: only the kind of the error is logged.
            _log.warning("an alert was not delivered (%s): check alerts.webhook", type(error).__name__)

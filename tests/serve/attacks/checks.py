"""Shared data of the attacks, and the check of error responses."""

from __future__ import annotations

import json
import re

from serve.recordings import recorded

ORIGIN = "https://charts.example"  # an allowed origin
FRAME = recorded("BTC", 300).frame
HEADERS = {
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}  # fmt: skip
TRACE = re.compile(r"Traceback|File \"|\.py\b|/tmp/|/root/|/home/|/work/|/etc/|site-packages")


def check_error(reply, *statuses, given="\0"):
    """Check an error response: status, body, no path except the given one, security headers."""
    status = reply.status if hasattr(reply, "status") else reply.status_code
    headers = dict(reply.headers)
    body = reply.body.decode() if hasattr(reply, "body") else reply.text
    assert status in statuses, (status, body[:300])
    assert headers["content-type"].partition(";")[0] == "application/json"
    assert headers.items() >= HEADERS.items()
    assert "default-src 'none'" in headers["content-security-policy"]
    document = json.loads(body)
    assert isinstance(document["error"], str)
    assert document.keys() - {"options", "kind", "values", "preview"} in ({"error", "message"}, {"error", "path"})
    assert not TRACE.search(document.get("message", "").replace(given, "…")), body
    return document

"""HTTP errors: an exception becomes a status and a body ``{"error": …, "message": …}``.

- The message of a `KronosError` is passed on, its class decides the status. Any other exception is a bug: its
  traceback is logged, and the client gets no detail.
- Absolute paths in messages are reduced to their last part, so no response exposes the server's file system.
- Temporary errors (a full queue, an unreachable source) have a ``Retry-After`` header.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from kronos.candles.previews import TablePreview
from kronos.errors import CheckpointError, DeviceError, KronosError, SourceError, StorageError
from kronos.formatting import Message
from kronos.sandbox.data_dir import FileNotListed, is_exhausted, redact_paths
from kronos.sandbox.reader import UnreadableFileError

_LABELS = {  # short names, stable for clients
    400: "Bad request",
    401: "API key required",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    421: "Wrong host",
    429: "Too many requests",
    500: "Internal error",
    502: "Source of candles failed",
    503: "Unavailable",
    504: "Timed out",
    507: "Storage failed",
}
# Messages write an option that settles a question with an equals sign, such as decimal=','.
_READ_OPTION = re.compile(r"\b(columns|decimal|thousands|date_format|timezone|calendar|interval|header)=")


class ApiError(Exception):
    """An error with the status and message that the client receives."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        retry_after: float | None = None,
        options: tuple[str, ...] = (),
        preview: TablePreview | None = None,
    ) -> None:
        """Create the error.

        Args:
            status: HTTP status.
            message: One sentence, without paths.
            retry_after: Seconds after which a retry may succeed.
            options: Reading options that would settle the question, for forms to point at.
            preview: First rows of the file that the question is about.
        """
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after
        self.options, self.preview = options, preview
        self.challenge = 'Basic realm="Kronos API key", charset="UTF-8", Bearer'  # browsers ask for a password: the key

    @property
    def document(self) -> dict[str, Any]:
        """The response body."""
        document: dict[str, Any] = {"error": _LABELS.get(self.status) or HTTPStatus(self.status).phrase}
        document["message"] = _encodable(self.message)
        if self.options:
            document["options"] = list(self.options)
        if isinstance(self.message, Message) and self.message.kind:
            document["kind"] = self.message.kind
            document["values"] = {
                name: redact_paths(_encodable(value)) if isinstance(value, str) else value
                for name, value in self.message.values.items()
            }
        if self.preview is not None:
            document["preview"] = asdict(self.preview)
        return document

    def document_for(self, path: str) -> dict[str, Any]:
        """Return the response body for a path: the data feed for charts adds its protocol's fields."""
        document = self.document
        return document | {"s": "error", "errmsg": document["message"]} if path.startswith("/udf/") else document

    @property
    def headers(self) -> dict[str, str]:
        """``Retry-After`` in whole seconds for temporary errors, and how to authenticate."""
        if self.status == 401:
            return {"WWW-Authenticate": self.challenge}
        return {} if self.retry_after is None else {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


def to_api_error(error: BaseException) -> ApiError:
    """Map any exception to the error that the client receives."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TimeoutError):
        return ApiError(503, "The request timed out; retry later, or request less.", retry_after=5)
    if isinstance(error, MemoryError):
        return ApiError(503, "Out of memory; request fewer samples or steps.", retry_after=5)
    if is_exhausted(error) or is_exhausted(error.__cause__):
        return exhausted_error()
    if not isinstance(error, KronosError):
        return ApiError(500, "Internal server error; the details are in the server's log.")
    if isinstance(error, FileNotListed):
        return ApiError(404, str(error))  # not redacted: its only path is the client's own
    message = redact_paths(" ".join(str(error).split()))
    said = error.args[0] if error.args else None
    if isinstance(said, Message):
        message = Message.restore(message, said.kind, said.values)
    if isinstance(error, SourceError):
        return ApiError(502, message, retry_after=10)
    if isinstance(error, CheckpointError | DeviceError):
        return ApiError(503, message, retry_after=30)
    if isinstance(error, StorageError):
        return ApiError(507, message)
    preview = error.preview if isinstance(error, UnreadableFileError) else None
    return ApiError(400, message, options=tuple(dict.fromkeys(_READ_OPTION.findall(message))), preview=preview)


def _encodable(text: str) -> str:
    """The text without unpaired surrogates, which JSON input can contain."""
    return text.encode(errors="replace").decode()


def exhausted_error() -> ApiError:
    """Create the error for a request that the system refuses threads, processes or open files."""
    return ApiError(503, "The machine has no free threads, memory or file handles; retry shortly.", retry_after=2)


def shutdown_error() -> ApiError:
    """Create the error for work that a shutdown interrupts."""
    return ApiError(503, "The server stopped before the request finished; retry.", retry_after=5)

"""HTTP errors: an exception becomes a status and a body ``{"error": …, "message": …}``.

- The message of a `KronosError` is passed on, its class decides the status. Any other exception is a bug: its
  traceback is logged, and the client gets no detail.
- Absolute paths in messages are reduced to their last part, so no response exposes the server's file system.
- Temporary errors (a full queue, an unreachable source) have a ``Retry-After`` header.
"""

from __future__ import annotations

import math
from http import HTTPStatus

from kronos.errors import CheckpointError, DeviceError, KronosError, SourceError, StorageError
from kronos.sandbox.data_dir import FileNotListed, redact_paths

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
    507: "Cannot store",
}


class ApiError(Exception):
    """An error with the status and message that the client receives."""

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        """Create the error.

        Args:
            status: HTTP status.
            message: One sentence, without paths.
            retry_after: Seconds after which a retry may succeed.
        """
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after

    @property
    def document(self) -> dict[str, str]:
        """The response body."""
        message = self.message.encode(errors="replace").decode()  # JSON input can contain unpaired surrogates
        return {"error": _LABELS.get(self.status) or HTTPStatus(self.status).phrase, "message": message}

    @property
    def headers(self) -> dict[str, str]:
        """``Retry-After`` in whole seconds for temporary errors."""
        return {} if self.retry_after is None else {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


def to_api_error(error: BaseException) -> ApiError:
    """Map any exception to the error that the client receives."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TimeoutError):
        return ApiError(503, "The request timed out; retry later, or request less.", retry_after=5)
    if isinstance(error, MemoryError):
        return ApiError(503, "Out of memory; request fewer samples or steps.", retry_after=5)
    if not isinstance(error, KronosError):
        return ApiError(500, "Internal server error; the details are in the server's log.")
    if isinstance(error, FileNotListed):
        return ApiError(404, str(error))  # not redacted: its only path is the client's own
    message = redact_paths(" ".join(str(error).split()))
    if isinstance(error, SourceError):
        return ApiError(502, message, retry_after=10)
    if isinstance(error, CheckpointError | DeviceError):
        return ApiError(503, message, retry_after=30)
    return ApiError(507 if isinstance(error, StorageError) else 400, message)


def shutdown_error() -> ApiError:
    """Create the error for work that a shutdown interrupts."""
    return ApiError(503, "The server stopped before the request finished; retry.", retry_after=5)

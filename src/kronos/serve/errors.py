"""What goes wrong, as an HTTP status and ``{error, message}``.

- A `KronosError` keeps its sentence; its class decides on the status. Anything else is a bug: the log gets its
  traceback, the client a sentence that tells nothing.
- No answer names a place on this machine: absolute paths shrink to their last part.
- What may pass by itself (a full queue, a source that is down) carries ``Retry-After``.
"""

from __future__ import annotations

import math
from http import HTTPStatus

from kronos.errors import CheckpointError, DeviceError, KronosError, SourceError, StorageError
from kronos.sandbox.data_dir import redact_paths

_LABELS = {
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
_UNEXPECTED = "Something went wrong on the server, and its log says what; the server goes on."


class ApiError(Exception):
    """A refusal that is an answer: a status, a sentence, and when to come again."""

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        """Refuse.

        Args:
            status: HTTP status.
            message: One sentence, without paths.
            retry_after: Seconds after which it may work.
        """
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after

    @property
    def document(self) -> dict[str, str]:
        """The body."""
        message = self.message.encode(errors="replace").decode()  # JSON lets clients say half a character
        return {"error": label(self.status), "message": message}

    @property
    def headers(self) -> dict[str, str]:
        """``Retry-After`` in whole seconds, where it may work later."""
        return {} if self.retry_after is None else {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


def label(status: int) -> str:
    """The short name of an error."""
    return _LABELS.get(status) or HTTPStatus(status).phrase


def to_api_error(error: BaseException) -> ApiError:
    """An exception as the answer to a client."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TimeoutError):
        return ApiError(503, "The answer took too long; try again later, or ask for less.", retry_after=5)
    if isinstance(error, MemoryError):
        return ApiError(503, "Memory ran out; ask for fewer paths or steps.", retry_after=5)
    if not isinstance(error, KronosError):
        return ApiError(500, _UNEXPECTED)
    message = redact_paths(" ".join(str(error).split()))
    if isinstance(error, SourceError):
        return ApiError(502, message, retry_after=10)
    if isinstance(error, CheckpointError | DeviceError):
        return ApiError(503, message, retry_after=30)
    return ApiError(507 if isinstance(error, StorageError) else 400, message)

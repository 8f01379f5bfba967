"""Exceptions that a user can cause and fix.

Every such error is a `KronosError` whose message is one sentence: it names the file, row, column, field or option, and
the fix. The command line prints the message without a traceback and exits with status 1 (weights, device, disk or a
source of candles failed) or 2 (a file, an option or a setting is wrong). Each class also derives from the built-in
exception that a Python programmer would catch.
"""


class KronosError(Exception):
    """Base class of all errors that a user can fix."""


class DataError(KronosError, ValueError):
    """The candles cannot be used: missing columns, unreadable times, NaN, too little history."""


class ParameterError(KronosError, ValueError):
    """An argument, option or setting is out of range or contradicts another."""


class CalendarError(KronosError, ValueError):
    """Future timestamps cannot be computed: unknown calendar or timezone, or an interval that it does not support."""


class CheckpointError(KronosError, OSError):
    """A checkpoint is missing, unreachable, corrupt, or of another architecture than declared."""


class DeviceError(KronosError, RuntimeError):
    """The requested device is absent or out of memory."""


class StorageError(KronosError, OSError):
    """A file cannot be written: no space, no permission, no such folder."""


class SourceError(KronosError, OSError):
    """A source of candles is unreachable, rejects a request, or returns invalid candles."""

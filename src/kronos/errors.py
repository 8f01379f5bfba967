"""What can go wrong, said in one sentence.

Every error that a user can cause, or can mend, is a `KronosError`: its message is one sentence which names
the file, row, column or field, and the mend. The command line prints it and exits with status 1 (weights, device,
disk or a source of candles failed) or 2 (a file, an option or a setting is wrong); nothing prints a traceback.
Each class also derives from the built-in exception a Python programmer would catch.
"""


class KronosError(Exception):
    """Base of every error a user can mend. The message is one complete sentence."""


class DataError(KronosError, ValueError):
    """The candles given cannot be used: missing columns, unreadable times, NaN, too little history."""


class ParameterError(KronosError, ValueError):
    """An argument, option or setting is out of its range or contradicts another."""


class CalendarError(KronosError, ValueError):
    """Future timestamps cannot be told: unknown calendar, unknown timezone, an interval it does not serve."""


class CheckpointError(KronosError, OSError):
    """A checkpoint is missing, unreachable, corrupt, or of another architecture than said."""


class DeviceError(KronosError, RuntimeError):
    """The device asked for is absent, or out of memory."""


class StorageError(KronosError, OSError):
    """A file cannot be written: no space, no permission, no such place."""


class SourceError(KronosError, OSError):
    """A source of candles is unreachable, refuses to answer, or answers what cannot be candles."""

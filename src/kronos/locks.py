"""Locks, so that no two processes write to one folder at the same time.

The operating system holds a lock and frees it however its process ends, so a file that a killed process left behind
locks nothing. The file only names the holder, for the message to those who have to wait.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from kronos.errors import StorageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK = ".lock"  # usual name of the file, inside the folder that it locks

_BEYOND_THE_TEXT = 1 << 20  # Windows forbids reading a locked byte, so one that is never written is locked
_UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
_MAX_BYTES = 4096
_PAUSE = 0.05  # seconds between attempts

log = logging.getLogger("kronos")


@contextmanager
def exclusive_lock(path: str | Path, *, busy: str, fix: str, wait: float = 0.0) -> Iterator[None]:
    """Hold a lock during a block.

    Args:
        path: The lock's file; it and missing parent folders are created, and the file is removed afterwards.
        busy: What happens while it is locked, for the message: ``outputs/models/mine is being trained``.
        fix: What to do instead of waiting: ``choose another folder``.
        wait: Seconds to wait for another holder.

    Raises:
        StorageError: If another process, or another thread of this one, holds it; or if the file cannot be written.
    """
    file = Path(path)
    descriptor = _acquire(file, busy, fix, time.monotonic() + wait)
    try:
        yield
    finally:
        _release(file, descriptor)


def _acquire(file: Path, busy: str, fix: str, deadline: float) -> int:
    """Open and lock the file, trying again until the deadline.

    Returns:
        Its descriptor.
    """
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise StorageError(
                f"Cannot write {file}: {reason}. Change its permissions or choose another folder."
            ) from error
        try:
            is_locked = _try_lock(descriptor, file)
            if not is_locked and time.monotonic() >= deadline:
                raise StorageError(f"{busy} by {_holder(descriptor)}: wait until it ends, or {fix}.")
            if is_locked and _is_current(file, descriptor):
                _sign(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        # If it is locked, the previous holder removed the file after it was opened here: lock the new one.
        if not is_locked:
            time.sleep(_PAUSE)


def _release(file: Path, descriptor: int) -> None:
    if sys.platform == "win32":
        os.lseek(descriptor, _BEYOND_THE_TEXT, os.SEEK_SET)
        with suppress(OSError):
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        os.close(descriptor)
        with suppress(OSError):  # open in a process that waits for it
            file.unlink()
        return
    with suppress(OSError):
        file.unlink()  # while it is locked, so that nobody else's file is removed
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # also for child processes that share the descriptor
    os.close(descriptor)


def _try_lock(descriptor: int, file: Path) -> bool:
    """Lock the file unless someone else has; where locks do not exist, say so and go on without."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _BEYOND_THE_TEXT, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            return False
        log.warning("The file system of %s has no locks: do not write to this folder from two processes.", file.parent)
    return True


def _is_current(file: Path, descriptor: int) -> bool:
    """Whether the opened file is still the one of that name."""
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _sign(descriptor: int) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode())


def _holder(descriptor: int) -> str:
    """The holder in words, from what it wrote into the file."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        signed = json.loads(os.read(descriptor, _MAX_BYTES))
        since = datetime.fromisoformat(signed["since"])
        return f"process {int(signed['pid'])} on {str(signed['host'])[:80]} since {since:%Y-%m-%d %H:%M:%S} UTC"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"

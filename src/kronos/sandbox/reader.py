"""Reading a client's file in a process of its own, which may run out of memory or crash alone.

- The process gets a clean environment, one thread, limits that it sets itself, and a deadline that is kept here.
- Its answer is text and plain numbers of a bounded length; what cannot be understood counts as a crash.
- Its sentences speak of the copy by a random name, which the client's own replaces here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos import errors
from kronos.candles import COLUMNS, Candles, Finding
from kronos.errors import DataError, KronosError, StorageError
from kronos.formatting import truncate
from kronos.intervals import Interval
from kronos.sandbox.limits import AS_THEY_ARE, USUAL, FileOptions, ReadLimits
from kronos.sandbox.staging import Staged, stage
from kronos.sandbox.worker import OUT_OF_MEMORY

_CHILD = Path(__file__).with_name("worker.py")
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_IO_THREADS": "1",
    # Arrow's own pools and malloc's arenas reserve addresses by the gigabyte, which would count as memory.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
}
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")  # without them some Pythons don't start
_LONGEST_REPLY = 4 << 20
_LONGEST_SENTENCE = 1000


def parse(
    path: Path, options: FileOptions = AS_THEY_ARE, limits: ReadLimits = USUAL, *, name: str | None = None
) -> Candles:
    """Read a file as `kronos.candles.read_candles` does, but where it can do no harm.

    Args:
        path: The file; whoever calls has made sure that it may be read.
        options: What the client knows better than the file.
        limits: What reading may take.
        name: What the client calls the file; else its own name.

    Returns:
        The candles, the same as `read_candles` gives.

    Raises:
        DataError: If the file cannot be used, or reading it takes too much.
        ParameterError: If an option is wrong.
        StorageError: If there is no room for a copy, or no process can be started.
    """
    name = path.name if name is None else name
    try:
        stream = path.open("rb")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise DataError(f"{truncate(name, 80)} cannot be read ({why}); check its path and permissions.") from error
    with stream, stage(stream, name, limits) as staged:
        return parse_staged(staged, options, limits)


def parse_staged(staged: Staged, options: FileOptions, limits: ReadLimits) -> Candles:
    """Read a copy that has been made already; see `parse`."""
    request = {"file": staged.file, "options": asdict(options), "limits": asdict(limits)}
    try:
        (staged.folder / "request.json").write_text(json.dumps(request), "utf-8")
        status = _run(staged.folder, limits.seconds)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise StorageError(f"{truncate(staged.name, 80)} cannot be read now ({why}); try again later.") from error
    if status != 0:
        raise _crash(staged.name, status, limits)
    try:
        reply = _reply(staged.folder)
        answer = _error(reply, staged) if "error" in reply else _candles(reply, staged)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _crash(staged.name, status, limits) from error
    if isinstance(answer, KronosError):
        raise answer
    return answer


def _run(folder: Path, seconds: float) -> int | None:
    """The exit status of the process that reads; None if its time ran out."""
    inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    process = subprocess.Popen(
        # Isolated: neither PYTHON… variables nor the working directory, which holds the client's file, are heeded.
        [sys.executable, "-I", "-X", "utf8", str(_CHILD)],
        cwd=folder,
        env={**inherited, **_ENVIRONMENT, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Make sure that the process, and whatever it may have started, is gone."""
    if process.poll() is not None:
        return
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _reply(folder: Path) -> dict[str, Any]:
    with (folder / "reply.json").open("rb") as stream:
        data = stream.read(_LONGEST_REPLY + 1)
    if len(data) > _LONGEST_REPLY:
        raise ValueError("the reply is too long")
    reply = json.loads(data)
    if not isinstance(reply, dict):
        raise TypeError("the reply is no object")
    return reply


def _candles(reply: dict[str, Any], staged: Staged) -> Candles:
    """The candles that a reply and the numbers beside it describe."""
    rows, gone = reply["index"]["length"], reply["dropped"]["length"]
    data = (staged.folder / "candles.bin").read_bytes()
    if len(data) != 8 * (rows * (1 + len(COLUMNS)) + gone):
        raise ValueError("the numbers are not as many as said")
    stamps = np.frombuffer(data, "<i8", rows + gone).astype(np.int64)
    values = np.frombuffer(data, "<f8", rows * len(COLUMNS), 8 * (rows + gone)).astype(np.float64)
    index = _times(stamps[:rows], reply["index"])
    findings = [
        Finding(code, severity, _named(message, staged), tuple(lines), count)
        for code, severity, message, lines, count in reply["findings"]
    ]
    return Candles(
        frame=pd.DataFrame(values.reshape(rows, len(COLUMNS)), columns=list(COLUMNS), index=index),
        symbol=reply["symbol"],
        interval=Interval(*reply["interval"]),
        timezone=reply["timezone"],
        calendar=reply["calendar"],
        findings=tuple(findings),
        source=staged.name if reply["source"] == staged.file else reply["source"],
        simulated=reply["simulated"],
        has_volume=reply["has_volume"],
        has_amount=reply["has_amount"],
        dropped=_times(stamps[rows:], reply["dropped"]),
    )


def _times(stamps: np.ndarray[tuple[int, ...], np.dtype[np.int64]], described: dict[str, Any]) -> pd.DatetimeIndex:
    times = pd.DatetimeIndex(stamps.view(f"M8[{described['unit']}]"), name=described["name"])
    zone = described["timezone"]
    return times if zone is None else times.tz_localize("UTC").tz_convert(zone)


def _named(message: str, staged: Staged) -> str:
    """A sentence about the copy as one about the client's file."""
    return message.replace(staged.file, truncate(staged.name, 80))


def _error(reply: dict[str, Any], staged: Staged) -> KronosError:
    """The error that the process met, of the same kind."""
    kind = getattr(errors, str(reply["error"]), None)
    known = kind if isinstance(kind, type) and issubclass(kind, KronosError) else DataError
    # Some sentences repeat an option as it was given.
    return known(truncate(_named(str(reply["message"]), staged), _LONGEST_SENTENCE))


def _crash(name: str, status: int | None, limits: ReadLimits) -> DataError:
    """What to say of a process that gave no answer."""
    called = truncate(name, 80)
    if status is None or (os.name == "posix" and status == -signal.SIGXCPU):
        return DataError(f"{called} takes longer than the {limits.seconds:g} s that reading one file may; split it.")
    # The system itself kills whoever takes the last of its memory.
    if status == OUT_OF_MEMORY or (os.name == "posix" and status == -signal.SIGKILL):
        most = f"{limits.memory_mb:,} MB that reading one file may take"
        return DataError(f"{called} needs more memory than the {most}; split it.")
    return DataError(
        f"{called} makes its reader fail, as do files that are broken or need more than {limits.memory_mb:,} MB of "
        f"memory; write it again or split it."
    )

"""Process that reads one untrusted file: it sets its limits first, then imports pandas, then reads the file.

- `kronos.sandbox.processes` starts it as a script; the only line of standard input names a private folder, its working
  directory from then on: ``request.json`` describes the file; ``reply.json`` and ``candles.bin`` are the result.
- The result is text and plain numbers, never a pickle.
- RLIMIT_DATA limits the memory that is written to, which excludes the libraries' code; RLIMIT_AS is somewhat higher and
  limits other mappings. Without the module `resource` (Windows) only rows, columns and bytes are limited.
- A lack of memory is reported by the exit status, since a reply would need memory.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from kronos.candles import Candles

OUT_OF_MEMORY = 3  # exit status
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_MEBIBYTE = 1 << 20
_LIBRARIES_MB = 1024  # of addresses that are mapped but not written to


def main() -> None:
    """Prepare for a file, and process the request for it once there is one."""
    setup = json.loads(sys.argv[1])
    _end_with_parent(setup["parent"])
    _set_limits(setup["limits"])
    # For a package that is not installed but found by PYTHONPATH, which this process ignores.
    sys.path.append(str(Path(__file__).resolve().parents[3]))
    try:
        _import_libraries()
        folder = sys.stdin.readline()
        if not folder:  # the server has ended, or no longer needs this process
            return
        _enter(json.loads(folder))
        reply = _process(json.loads(Path("request.json").read_text("utf-8")), setup["limits"])
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    Path("reply.json").write_text(json.dumps(reply), "utf-8")


def _import_libraries() -> None:
    """Import what reading needs, so that a process that was started ahead has done so when its file arrives."""
    import pyarrow.feather
    import pyarrow.pandas_compat
    import pyarrow.parquet  # noqa: F401

    import kronos.candles.previews
    import kronos.sandbox.content_limits  # noqa: F401


def _enter(folder: str) -> None:
    """Make a private folder the working directory, and the only place of temporary files."""
    import tempfile

    os.chdir(folder)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _end_with_parent(parent: int) -> None:
    """Have Linux kill this process when its parent dies; elsewhere the limit of CPU time ends it."""
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it has died already
        os._exit(1)


def _set_limits(limits: dict[str, Any]) -> None:
    """Limit this process; limits that the system does not support are skipped."""
    if sys.platform == "win32":
        return
    with suppress(OSError):  # if the machine runs out of memory, this process is killed first, not the server
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    import resource

    seconds = int(limits["seconds"]) + 1
    memory = limits["memory_mb"] * _MEBIBYTE
    values = {
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_AS: memory + _LIBRARIES_MB * _MEBIBYTE,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 64 * limits["rows"] + 16 * _MEBIBYTE,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 128,
    }
    for limit, value in values.items():
        hard = resource.getrlimit(limit)[1]
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # At the hard limit of CPU time the system sends SIGKILL; at the soft one SIGXCPU, which identifies the cause.
        ceiling = soft + 1 if limit == resource.RLIMIT_CPU and soft != hard else soft
        with suppress(ValueError, OSError):
            resource.setrlimit(limit, (soft, ceiling))


def _process(request: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    from kronos import errors
    from kronos.candles import content, readers
    from kronos.candles.io import load_candles
    from kronos.candles.previews import preview_table
    from kronos.candles.read_options import ReadOptions
    from kronos.sandbox.content_limits import ReadLimits, check_limits

    path, allowed = Path(request["file"]), ReadLimits(**limits)
    # The reader's own limits are for trusted files; it allocates memory for what an archive may unpack to.
    content.MAX_BYTES = min(content.MAX_BYTES, allowed.expanded)
    readers.MAX_ROWS = min(readers.MAX_ROWS, allowed.rows + 1)  # it counts the header line
    preview = None
    try:
        options = ReadOptions(**{**request["options"], "columns": tuple(map(tuple, request["options"]["columns"]))})
        check_limits(path.read_bytes(), path.name, allowed)
        if request["preview"]:
            return {"preview": asdict(preview_table(path, options))}
        try:
            candles = load_candles(path, options)
        except errors.DataError:
            with suppress(errors.KronosError):
                preview = asdict(preview_table(path, options))
            raise
    except errors.KronosError as error:
        if _is_out_of_memory(error):
            raise MemoryError from error
        kind = next(c.__name__ for c in type(error).__mro__ if c.__module__ == errors.__name__)
        return {"error": kind, "message": _describe_message(error.args[0] if error.args else ""), "preview": preview}
    return _write_candles(candles)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether a lack of memory caused an error, which readers report as a damaged file."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or (
            type(cause).__module__.startswith("pandas") and "out of memory" in str(cause)
        ):
            return True
        cause = cause.__context__
    return False


def _write_candles(candles: Candles) -> dict[str, Any]:
    """Write the numbers of candles to ``candles.bin``; returns everything else."""
    import numpy as np

    with Path("candles.bin").open("wb") as target:
        for times in (candles.index, candles.dropped):
            target.write(times.asi8.astype("<i8").tobytes())
        target.write(np.ascontiguousarray(candles.frame.to_numpy(), dtype="<f8").tobytes())
    return {
        "symbol": candles.symbol,
        "interval": [candles.interval.count, candles.interval.unit],
        "timezone": candles.timezone,
        "calendar": candles.calendar,
        "findings": [
            [f.code, f.severity, _describe_message(f.message), list(f.rows), f.count] for f in candles.findings
        ],
        "source": candles.source,
        "simulated": candles.simulated,
        "has_volume": candles.has_volume,
        "has_amount": candles.has_amount,
        "index": _describe_index(candles.index),
        "dropped": _describe_index(candles.dropped),
    }


def _describe_message(message: object) -> list[Any]:
    """Text, kind and values of a message; the latter are empty if it is plain text."""
    return [str(message), getattr(message, "kind", ""), getattr(message, "values", {})]


def _describe_index(times: pd.DatetimeIndex) -> dict[str, Any]:
    return {
        "length": len(times),
        "unit": times.unit,
        "timezone": None if times.tz is None else str(times.tz),
        "name": times.name,
    }


if __name__ == "__main__":
    main()

"""The process that reads one hostile file: limits first, then pandas, then the file.

- It is started as a script by `kronos.sandbox.reader`, in a private folder which it has as its working
  directory: ``request.json`` says what to read; ``reply.json`` and ``candles.bin`` are its answer.
- What it answers is text and plain numbers, never a pickle: the process that started it decodes nothing else.
- Memory is limited by RLIMIT_DATA, which counts what is written to and not the libraries' code; RLIMIT_AS lies a little
  higher, for what is mapped otherwise. Without `resource` (Windows) only rows, columns and bytes are limited.
- When memory is gone it says so by its exit status, because saying more would need some.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from kronos.candles import Candles

OUT_OF_MEMORY = 3
_MEBIBYTE = 1 << 20
_LIBRARIES_MB = 1024  # of addresses that are mapped but not written to


def main() -> None:
    """Answer the request in the working directory."""
    request = json.loads(Path("request.json").read_text("utf-8"))
    _limit(request["limits"])
    # Where the package isn't installed but found by PYTHONPATH, which this process ignores.
    sys.path.append(str(Path(__file__).resolve().parents[3]))
    try:
        reply = _answer(request)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    Path("reply.json").write_text(json.dumps(reply), "utf-8")


def _limit(limits: dict[str, Any]) -> None:
    """Limit this process; a limit that the system does not know is left out."""
    if sys.platform == "win32":
        return
    with suppress(OSError):  # where the machine's memory runs out, this process goes first, not the server
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    import resource

    seconds = int(limits["seconds"]) + 1
    memory = limits["memory_mb"] * _MEBIBYTE
    wanted = {
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_AS: memory + _LIBRARIES_MB * _MEBIBYTE,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 64 * limits["rows"] + 16 * _MEBIBYTE,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 128,
    }
    for which, value in wanted.items():
        hard = resource.getrlimit(which)[1]
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # At the hard limit of time the system kills without a word; at the soft one the signal tells why.
        ceiling = soft + 1 if which == resource.RLIMIT_CPU and soft != hard else soft
        with suppress(ValueError, OSError):
            resource.setrlimit(which, (soft, ceiling))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from kronos import errors
    from kronos.candles import read_candles, readers
    from kronos.sandbox.limits import ReadLimits, check_bounds

    path, options = Path(request["file"]), dict(request["options"])
    columns, limits = dict(options.pop("columns")) or None, ReadLimits(**request["limits"])
    # The reader's own bounds are for people's own files, and it takes as much memory as it may unpack beforehand.
    readers.MAX_BYTES = min(readers.MAX_BYTES, limits.expanded)
    readers.MAX_ROWS = min(readers.MAX_ROWS, limits.rows + 1)  # it counts the line of the header
    try:
        check_bounds(path.read_bytes(), path.name, limits)
        candles = read_candles(path, **options, columns=columns)
    except errors.KronosError as error:
        if _is_memory(error):
            raise MemoryError from error
        kind = next(c.__name__ for c in type(error).__mro__ if c.__module__ == errors.__name__)
        return {"error": kind, "message": str(error)}
    return _written(candles)


def _is_memory(error: BaseException) -> bool:
    """Whether an error came of missing memory, which readers of formats take for a broken file."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or (
            type(seen).__module__.startswith("pandas") and "out of memory" in str(seen)
        ):
            return True
        seen = seen.__context__
    return False


def _written(candles: Candles) -> dict[str, Any]:
    """Write the numbers of candles, and tell everything else that they hold."""
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
        "findings": [[f.code, f.severity, f.message, list(f.rows), f.count] for f in candles.findings],
        "source": candles.source,
        "simulated": candles.simulated,
        "has_volume": candles.has_volume,
        "has_amount": candles.has_amount,
        "index": _described(candles.index),
        "dropped": _described(candles.dropped),
    }


def _described(times: pd.DatetimeIndex) -> dict[str, Any]:
    return {
        "length": len(times),
        "unit": times.unit,
        "timezone": None if times.tz is None else str(times.tz),
        "name": times.name,
    }


if __name__ == "__main__":
    main()

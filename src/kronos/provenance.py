"""Provenance of results: digests of files and frames, package versions, timestamps.

Versions are read from package metadata, without importing torch, numpy or pandas. The digest of a frame depends only on
its content, not on the pandas version, the resolution of the index or the memory layout.
"""

from __future__ import annotations

import hashlib
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from kronos.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_DISTRIBUTIONS = {"kronos": "kronos-forecast", "numpy": "numpy", "pandas": "pandas", "torch": "torch"}


def sha256_file(path: str | Path) -> str:
    """Compute the SHA-256 of a file, as 64 hexadecimal digits.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        with Path(path).open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"Cannot read {path}: {reason}; check the path and its permissions.") from error


def frame_digest(frame: pd.DataFrame) -> str:
    """Compute the SHA-256 of a frame's column names, index and values, as 64 hexadecimal digits.

    Times are hashed to the microsecond with their timezone, numbers as float64 (−0 as 0, all NaN alike), anything else
    as text.

    Args:
        frame: Any frame. [rows, columns]
    """
    digest = hashlib.sha256()
    _add(digest, repr([str(name) for name in frame.columns]).encode())
    _add(digest, _column_bytes(frame.index))
    for _, column in frame.items():  # noqa: PERF102 (the values of a frame are an array)
        _add(digest, _column_bytes(column))
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python, Kronos, numpy, pandas and torch, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package, distribution in _DISTRIBUTIONS.items():
        try:
            found[package] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return found


def now_utc() -> str:
    """The current time in UTC as ISO 8601 to the second, for example ``2025-03-01T12:00:00Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _add(digest: hashlib._Hash, part: bytes) -> None:
    """Add a part prefixed by its length, so that neighbouring parts cannot be confused."""
    digest.update(len(part).to_bytes(8, "little"))
    digest.update(part)


def _column_bytes(column: pd.Series | pd.Index) -> bytes:
    """Canonical bytes of a column: a tag for its kind, then its values."""
    import pandas as pd

    if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
        times = pd.DatetimeIndex(column)
        return f"time {times.tz}\n".encode() + times.as_unit("us").asi8.astype("<i8").tobytes()
    if column.dtype == "float64":  # not the nullable Float64; without the slow search for missing values
        return b"number\n" + _canonical_floats(column.to_numpy())
    if pd.api.types.is_numeric_dtype(column.dtype):
        return b"number\n" + _canonical_floats(column.to_numpy(dtype="float64", na_value=float("nan")))
    return b"text\n" + repr([str(value) for value in column]).encode()


def _canonical_floats(values: np.ndarray) -> bytes:
    """Little-endian float64 bytes in which −0 is 0 and all NaN have the same pattern."""
    import numpy as np

    canonical = np.where(np.isnan(values), np.nan, values + 0.0)
    return canonical.astype("<f8").tobytes()

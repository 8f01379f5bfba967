"""Qlib's binary folders, read and written without Qlib."""

from kronos.sources.qlib.folder import QlibFolder, read_qlib
from kronos.sources.qlib.writing import write_qlib

__all__ = ["QlibFolder", "read_qlib", "write_qlib"]

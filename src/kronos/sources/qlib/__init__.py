"""Qlib's binary folders, read and written without Qlib."""

from kronos.sources.qlib.reader import QlibFolder, read_qlib
from kronos.sources.qlib.writer import write_qlib

__all__ = ["QlibFolder", "read_qlib", "write_qlib"]

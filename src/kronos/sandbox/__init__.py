"""Candle files that clients name or upload, contained, limited, and read in a separate process.

- A client's name opens nothing outside the data folder, and reveals nothing about what exists there.
- Untrusted files are read in a process with limited memory, time and disk space.
- The HTTP and the MCP server share this package, so that it must not import what only the ``serve`` extra installs.
"""

from kronos.sandbox.content_limits import FileOptions, ReadLimits
from kronos.sandbox.data_dir import EXTENSIONS, DataDirectory, FileNotListed, ListedFile
from kronos.sandbox.library import SAMPLES, FileLibrary
from kronos.sandbox.reader import parse, private_folder
from kronos.sandbox.uploads import Upload

__all__ = [
    "EXTENSIONS",
    "SAMPLES",
    "DataDirectory",
    "FileLibrary",
    "FileNotListed",
    "FileOptions",
    "ListedFile",
    "ReadLimits",
    "Upload",
    "parse",
    "private_folder",
]

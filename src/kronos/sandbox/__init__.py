"""Files of candles that clients name or upload: contained, limited, and read where they can do no harm.

- A client's name opens nothing outside the data folder, and tells it nothing about what lies there.
- Hostile bytes are read in a process of their own, whose memory, time and disk are limited.
- Assistants' files are read here too (`kronos.mcp`), so nothing here needs what only the ``serve`` extra installs.
"""

from kronos.sandbox.data_dir import ENDINGS, DataDirectory, FileNotListed, ListedFile
from kronos.sandbox.library import SAMPLES, FileLibrary
from kronos.sandbox.limits import FileOptions, ReadLimits
from kronos.sandbox.reader import parse
from kronos.sandbox.uploads import Upload

__all__ = [
    "ENDINGS",
    "SAMPLES",
    "DataDirectory",
    "FileLibrary",
    "FileNotListed",
    "FileOptions",
    "ListedFile",
    "ReadLimits",
    "Upload",
    "parse",
]

"""Files of candles that clients name or upload: contained, limited, and read where they can do no harm.

- A client's name opens nothing outside the data folder, and tells it nothing about what lies there.
- Hostile bytes are read in a process of their own, whose memory, time and disk are limited.
- Assistants' files are read here too (`kronos.mcp`), so nothing here needs what only the ``serve`` extra installs.
"""

from kronos.serve.files.library import SAMPLES, Library
from kronos.serve.files.parsing import parse
from kronos.serve.files.places import ENDINGS, Folder, Listed, NotHere
from kronos.serve.files.requests import Limits, ReadOptions
from kronos.serve.files.uploads import Upload

__all__ = ["ENDINGS", "SAMPLES", "Folder", "Library", "Limits", "Listed", "NotHere", "ReadOptions", "Upload", "parse"]

"""What the person who starts the server decides; assistants cannot change it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """How to serve.

    Attributes:
        data: The folder that files are read from; nothing outside it is. None for ``data`` in the working folder, if
            there is one.
        source: Where the candles of symbols come from; None for ``KRONOS_SOURCE``, else symbols are refused.
        model: The model to use where a call names none; None for ``KRONOS_MODEL``, else the bundled one.
        device: Where it computes; None for ``KRONOS_DEVICE``, else the best there is.
    """

    data: Path | None = None
    source: str | None = None
    model: str | None = None
    device: str | None = None

"""What a client may say about a file, and what reading one may take.

- Both are frozen and hashable: results are kept under the options they were read with.
- Options are short by construction, because sentences and keys repeat them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from kronos.errors import ParameterError

_LONGEST = 200
_MOST_COLUMNS = 32


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a client knows better than the file; see `kronos.candles.read_candles`.

    Attributes:
        symbol: The instrument's name.
        interval: Such as ``"1h"``.
        timezone: IANA name.
        calendar: Trading calendar for what comes after.
        columns: Which column is which, as pairs ``("close", "Last Price")``.
    """

    symbol: str | None = None
    interval: str | None = None
    timezone: str | None = None
    calendar: str | None = None
    columns: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self)[:4]:
            value = getattr(self, field.name)
            if value is not None and (len(value) > _LONGEST or not value.isprintable()):
                raise ParameterError(f"{field.name} has to be at most {_LONGEST} printable characters; shorten it.")
        texts = [text for pair in self.columns for text in pair]
        if len(self.columns) > _MOST_COLUMNS or any(len(text) > _LONGEST for text in texts):
            raise ParameterError(
                f"columns may name {_MOST_COLUMNS} columns of at most {_LONGEST} characters; name fewer or rename them."
            )


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost.

    Attributes:
        bytes: Size of the file as it is stored.
        rows: Candles in it.
        memory_mb: Memory of the process that reads it, in MiB; some 110 of them are the process itself.
        seconds: How long reading may take, by the processor's clock and by the wall's.
        columns: Columns in it, used or not.
    """

    bytes: int = 64 << 20
    rows: int = 1_000_000
    memory_mb: int = 2048
    seconds: float = 30.0
    columns: int = 512

    @property
    def expanded(self) -> int:
        """How many bytes the file may unpack to: candles as text shrink to a quarter in a good archive."""
        return 4 * self.bytes


AS_THEY_ARE = ReadOptions()
USUAL = Limits()

"""The label beside a Qlib folder's files, ``kronos.json``: what they cannot say themselves.

It keeps the timezone, which instruments are simulated, and where each comes from. Qlib takes no notice of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kronos.candles import Candles
from kronos.candles.times import check_timezone
from kronos.errors import DataError
from kronos.intervals import Interval
from kronos.provenance import frame_digest, versions

LABEL = "kronos.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Label:
    """What is said of a folder; of one without a label, that nothing is known.

    Attributes:
        timezone: Of the folder's clock, if known.
        simulated: Whether any instrument is simulated; one that the label doesn't name then counts as such.
        instruments: What is said of each, by code.
    """

    timezone: str | None
    simulated: bool
    instruments: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Label:
        """Read a folder's label.

        Raises:
            DataError: If there is one, but it is damaged.
        """
        path = folder / LABEL
        if not path.exists():
            return cls(None, False, {})
        try:
            told = json.loads(path.read_text("utf-8"))
            zone, simulated, instruments = told["timezone"], told["simulated"], told["instruments"]
            sound = isinstance(simulated, bool) and isinstance(instruments, dict)
            if not sound or not all(isinstance(one, dict) for one in instruments.values()):
                raise TypeError
            return cls(None if zone is None else check_timezone(zone), simulated, instruments)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{path}, which labels the candles, is damaged; write the folder again.") from error

    def told(self, code: str, what: str, otherwise: bool) -> bool:
        """One yes or no about an instrument."""
        return bool(self.instruments.get(code, {}).get(what, otherwise))

    def text(self, code: str, what: str) -> str | None:
        """One name told of an instrument, if it is."""
        said = self.instruments.get(code, {}).get(what)
        return said if isinstance(said, str) else None


def label_of(candles: Mapping[str, Candles], interval: Interval, timezone: str | None) -> dict[str, Any]:
    """What is to be said of candles; the digests are those of the numbers before they were rounded to float32."""
    return {
        "format": _FORMAT,
        "kronos": versions().get("kronos"),
        "simulated": any(one.simulated for one in candles.values()),
        "interval": str(interval),
        "timezone": timezone,
        "instruments": {
            code: {
                "simulated": one.simulated,
                "source": one.source,
                "calendar": one.calendar,
                "has_volume": one.has_volume,
                "has_amount": one.has_amount,
                "rows": len(one),
                "sha256": frame_digest(one.frame),
            }
            for code, one in candles.items()
        },
    }

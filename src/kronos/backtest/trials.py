"""`TrialsLog`: every backtest that was run on some signals, so that the number of variants tried is counted.

The best of N variants looks good by luck alone, so a Sharpe ratio means little without N (Bailey & López de Prado 2014,
"The deflated Sharpe ratio"). The log is an append-only file of JSON lines beside the signals. A run with settings that
are in the log already is not another trial: N is the number of different settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kronos.errors import DataError
from kronos.formatting import expand_user, json_safe
from kronos.locks import exclusive_lock
from kronos.provenance import now_utc

TRIALS = "trials.jsonl"
_WAIT = 30.0  # seconds for another write


@dataclass(frozen=True, slots=True)
class Trial:
    """One backtest.

    Attributes:
        settings: Everything that the result depends on: signals, signal, strategy, rules, costs, dates, mode.
        figures: Figures of the result, such as the Sharpe ratio per day.
        made: Time of the run, UTC.
    """

    settings: Mapping[str, Any]
    figures: Mapping[str, float | None] = field(default_factory=dict)
    made: str = ""

    @property
    def digest(self) -> str:
        """Hash of the settings: equal for repetitions of a run."""
        text = json.dumps(json_safe(self.settings, convert=True), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


class TrialsLog:
    """The trials on some signals.

    Args:
        folder: Folder of the signals.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = expand_user(folder) / TRIALS

    def append(self, trials: Sequence[Trial]) -> None:
        """Add trials to the file, in one write; a line of an interrupted write is ended first.

        Another process that is writing the file is waited for: its write takes an instant.

        Raises:
            StorageError: If the file cannot be written, or another process does not end its write.
        """
        lines = [
            json.dumps(
                json_safe(
                    {
                        "made": trial.made or now_utc(),
                        "sha256": trial.digest,
                        "settings": trial.settings,
                        "figures": trial.figures,
                    },
                    convert=True,
                ),
                ensure_ascii=False,
                allow_nan=False,
            )
            for trial in trials
        ]
        if not lines:
            return
        lock = self.path.with_name(f".{TRIALS}.lock")
        with exclusive_lock(lock, busy=f"{self.path} is being written", fix="end it", wait=_WAIT):
            whole = not self.path.is_file() or self.path.read_bytes()[-1:] in (b"", b"\n")
            with self.path.open("a", encoding="utf-8") as file:
                file.write(("" if whole else "\n") + "\n".join(lines) + "\n")

    def read(self) -> tuple[Trial, ...]:
        """All runs in the order in which they were made; a line that an interrupted write cut off is left out.

        Raises:
            DataError: If another line is damaged.
        """
        if not self.path.is_file():
            return ()
        lines = self.path.read_text("utf-8").splitlines()
        trials = []
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                trials.append(Trial(row["settings"], row["figures"], row["made"]))
            except (ValueError, KeyError, TypeError):
                if line.strip() and not _cut_off(line):
                    raise DataError(f"{self.path}, line {number}, is damaged: restore the trials log.") from None
        return tuple(trials)

    def distinct(self) -> tuple[Trial, ...]:
        """The last run of each different settings: the variants that were tried."""
        return tuple({trial.digest: trial for trial in self.read()}.values())

    def __len__(self) -> int:
        """The number N of different variants tried."""
        return len(self.distinct())


def _cut_off(line: str) -> bool:
    return line.startswith("{") and not line.endswith("}")


__all__ = ["TRIALS", "Trial", "TrialsLog"]

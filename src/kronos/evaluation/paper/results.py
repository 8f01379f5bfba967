"""What a task gives: rows of figures, sentences that follow from them, and all that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kronos.evaluation.paper.settings import PaperSettings, Task
from kronos.metrics import Coefficients, Estimate

KIND, FORMAT = "kronos-paper", 1
MEAN = "mean of groups"
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and how sure it is.

    Attributes:
        value: The number; NaN where there is none, as of the order in a forecast that never changes.
        low: Lower end of its 95 % interval; NaN where it cannot be told.
        high: Upper end.
        t: The value over its HAC standard error; NaN where none was computed.
        p_value: Of that; two-sided.
    """

    value: float
    low: float = _NAN
    high: float = _NAN
    t: float = _NAN
    p_value: float = _NAN

    @classmethod
    def of(cls, found: Coefficients | Estimate) -> Figure:
        """The same from what the metrics give."""
        if isinstance(found, Estimate):
            return cls(found.estimate, found.low, found.high)
        return cls(found.mean, found.low, found.high, found.t_statistic, found.p_value)


@dataclass(frozen=True, slots=True)
class Row:
    """One forecaster in one group.

    Attributes:
        group: A market at an interval, or the mean of all groups, each counted alike.
        forecaster: Its name.
        baseline: Whether it stands there for comparison.
        n: Forecasts that count.
        dates: Distinct dates among them.
        figures: By name, in the order of the table.
    """

    group: str
    forecaster: str
    baseline: bool
    n: int
    dates: int
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True, eq=False)
class PaperResult:
    """A task's outcome.

    Attributes:
        settings: What it was run with.
        rows: Group by group the model, then those beside it; means over groups last.
        sentences: What follows, for people.
        warnings: What a reader must know before believing it.
        notes: What the names of forecasters mean, by name.
        made: What made it: the model and its hashes, origins, dates, versions.
    """

    settings: PaperSettings
    rows: tuple[Row, ...]
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: Mapping[str, str]
    made: Mapping[str, Any]

    @property
    def task(self) -> Task:
        """Which task it was."""
        return self.settings.task

    def row(self, group: str, forecaster: str) -> Row:
        """One forecaster's row in one group.

        Raises:
            KeyError: If there is none.
        """
        found = [row for row in self.rows if (row.group, row.forecaster) == (group, forecaster)]
        if not found:
            raise KeyError(f"There is no row of {forecaster} in {group}.")
        return found[0]

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON (numbers that are none are NaN)."""
        sampling = self.settings.sampling
        return {
            "kind": KIND,
            "format": FORMAT,
            "task": self.task,
            **self.made,
            "sampling": {name: getattr(sampling, name) for name in ("temperature", "top_p", "samples")},
            "seed": self.settings.seed,
            "most": self.settings.origins,
            "not_as_published": self.settings.changed,
            "rows": [asdict(row) | {"figures": {k: asdict(v) for k, v in row.figures.items()}} for row in self.rows],
            "sentences": list(self.sentences),
            "warnings": list(self.warnings),
            "notes": dict(self.notes),
        }


def with_means(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows, and where there are several groups each forecaster's mean over those it has a figure in."""
    groups = {row.group for row in rows}
    if len(groups) < 2:
        return tuple(rows)
    means = []
    for name in dict.fromkeys(row.forecaster for row in rows):
        own = [row for row in rows if row.forecaster == name]
        figures = {figure: Figure(_mean([row.figures[figure].value for row in own])) for figure in own[0].figures}
        means.append(Row(MEAN, name, own[0].baseline, sum(row.n for row in own), 0, figures))
    return (*rows, *means)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else _NAN

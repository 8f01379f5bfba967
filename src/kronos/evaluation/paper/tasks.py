"""What all tasks share: what they are given, and what they give back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kronos.evaluation.forecasters import Forecaster
from kronos.evaluation.paper.asking import Answers, Question, Summary, Tally, ask
from kronos.evaluation.paper.origins import Walk
from kronos.evaluation.paper.results import Row
from kronos.evaluation.paper.settings import PaperSettings


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """A task at one interval.

    Attributes:
        walk: The origins.
        model: Who is asked.
        settings: Of the task.
        tally: Of what is done.
    """

    walk: Walk
    model: Forecaster
    settings: PaperSettings
    tally: Tally

    def ask_model(self, summary: Summary, samples: int | None = None, walk: Walk | None = None) -> Answers:
        """Ask the model, with the history and the paths of the settings."""
        settings, windows = self.settings, self.walk.windows
        wanted = settings.sampling.samples if samples is None else samples
        question = Question(summary, wanted, settings.seed, windows.lookback)
        return ask(walk or self.walk, self.model, question, self.tally)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a task gives at one interval.

    Attributes:
        rows: Group by group, the model first.
        notes: What names of forecasters mean.
        history: The fewest candles that a forecast of the model used, if it says so.
        warnings: What a reader must know.
    """

    rows: tuple[Row, ...]
    notes: Mapping[str, str]
    history: int | None
    warnings: tuple[str, ...] = field(default=())

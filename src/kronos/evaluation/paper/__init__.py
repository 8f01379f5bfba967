"""The tasks of the published paper (arXiv 2508.02739) with its settings, next to naive forecasts that it left out.

- *price*: IC and RankIC of each forecast window, averaged over open, high, low and close;
- *return*: IC and RankIC of the return over the horizon, over all forecasts of a market at an interval;
- *volatility*: MAE and R² of the realised variance, next to GARCH, HAR and historical volatility;
- *synthetic*: the error of an LSTM that classifies sequences as generated or real, and the forecasts of one that is
  trained on generated sequences.

`PaperSettings` has the paper's values unless others are given; `run_paper` returns a `PaperResult`.
``docs/paper-tasks.md`` has the definitions, and the choices that the paper leaves open.
"""

from kronos.evaluation.paper.results import PaperResult, TaskRow, TaskStatistic
from kronos.evaluation.paper.runner import run_paper
from kronos.evaluation.paper.settings import TASKS, TEST_FROM, PaperSettings, Task, Windows

__all__ = [
    "TASKS",
    "TEST_FROM",
    "PaperResult",
    "PaperSettings",
    "Task",
    "TaskRow",
    "TaskStatistic",
    "Windows",
    "run_paper",
]

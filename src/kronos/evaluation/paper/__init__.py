"""The tasks of the published paper (arXiv 2508.02739) with its settings, beside the naive forecasts it left out.

- *price*: IC and RankIC of each forecast window, averaged over open, high, low and close;
- *return*: IC and RankIC of the return over the horizon, over all forecasts of a market at an interval;
- *volatility*: MAE and R² of the realised variance, beside GARCH, HAR and historical volatility;
- *synthetic*: whether an LSTM tells generated candles from real ones, and what one learns from them.

`PaperSettings` are the paper's unless told otherwise; `run_paper` gives a `PaperResult`. ``docs/paper-tasks.md`` has
the definitions, and what the paper leaves open.
"""

from kronos.evaluation.paper.results import Figure, PaperResult, Row
from kronos.evaluation.paper.runner import run_paper
from kronos.evaluation.paper.settings import TASKS, TEST_FROM, PaperSettings, Task, Windows

__all__ = ["TASKS", "TEST_FROM", "Figure", "PaperResult", "PaperSettings", "Row", "Task", "Windows", "run_paper"]

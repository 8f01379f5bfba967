"""Walk-forward evaluation: runs, scores with uncertainty, verdicts in words.

- `make_plan` chooses origins over many `Instrument`s; `evaluate` forecasts at each, resumably, and gives an
  `Evaluation`: scores, figures with intervals, verdicts, warnings.
- `ModelForecaster` wraps one of our models; any other fits the `Forecaster` protocol. Baselines are always beside it.
- `Correction` adds a calibrated forecaster to the table; `trials_of` turns a run into what a calibration is fitted on.
"""

from kronos.evaluation.calibrating import Correction, beside, corrected, identity_of, trials_of
from kronos.evaluation.evaluation import REFERENCE, Evaluation, Subject, baseline_forecasters, evaluate
from kronos.evaluation.forecasters import BaselineForecaster, Forecaster, ModelForecaster
from kronos.evaluation.plan import Dates, Instrument, Plan, WalkForward, make_plan
from kronos.evaluation.running import Paths, Settings, run
from kronos.evaluation.scoring import Truth
from kronos.evaluation.summary import ALL, Figures, Scores
from kronos.evaluation.verdict import Verdict

__all__ = [
    "ALL",
    "REFERENCE",
    "BaselineForecaster",
    "Correction",
    "Dates",
    "Evaluation",
    "Figures",
    "Forecaster",
    "Instrument",
    "ModelForecaster",
    "Paths",
    "Plan",
    "Scores",
    "Settings",
    "Subject",
    "Truth",
    "Verdict",
    "WalkForward",
    "baseline_forecasters",
    "beside",
    "corrected",
    "evaluate",
    "identity_of",
    "make_plan",
    "run",
    "trials_of",
]

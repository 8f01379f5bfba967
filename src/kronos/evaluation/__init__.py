"""Walk-forward evaluation: runs, scores with uncertainty, verdicts in words.

- `gather` reads files, folders and prepared datasets into `Instrument`s; `read_splits` the dates to judge them by.
- `make_plan` chooses origins over many `Instrument`s; `evaluate` forecasts at each, resumably, and gives an
  `Evaluation`: scores, figures with intervals, verdicts, warnings.
- `ModelForecaster` wraps one of our models; any other fits the `Forecaster` protocol. Baselines are always beside it.
- `cutoffs` tells up to when a model has seen candles; given to `evaluate`, tests on those are warned of.
- `Correction` adds a calibrated forecaster to the table; `trials_of` turns a run into what a calibration is fitted on.
"""

from kronos.evaluation.calibrating import Correction, beside, corrected, identity_of, trials_of
from kronos.evaluation.comparison import Comparison, compare
from kronos.evaluation.cutoffs import cutoffs
from kronos.evaluation.evaluation import REFERENCE, Evaluation, Subject, baseline_forecasters, evaluate
from kronos.evaluation.forecasters import BaselineForecaster, Forecaster, ModelForecaster
from kronos.evaluation.instruments import Gathered, gather
from kronos.evaluation.plan import Dates, Instrument, Plan, WalkForward, make_plan
from kronos.evaluation.running import Paths, Settings, run
from kronos.evaluation.scoring import Truth
from kronos.evaluation.splits import Splits, find_splits, read_splits
from kronos.evaluation.summary import ALL, Figures, Scores
from kronos.evaluation.verdict import Verdict

__all__ = [
    "ALL",
    "REFERENCE",
    "BaselineForecaster",
    "Comparison",
    "Correction",
    "Dates",
    "Evaluation",
    "Figures",
    "Forecaster",
    "Gathered",
    "Instrument",
    "ModelForecaster",
    "Paths",
    "Plan",
    "Scores",
    "Settings",
    "Splits",
    "Subject",
    "Truth",
    "Verdict",
    "WalkForward",
    "baseline_forecasters",
    "beside",
    "compare",
    "corrected",
    "cutoffs",
    "evaluate",
    "find_splits",
    "gather",
    "identity_of",
    "make_plan",
    "read_splits",
    "run",
    "trials_of",
]

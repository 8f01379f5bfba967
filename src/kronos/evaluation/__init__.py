"""Walk-forward evaluation: runs, scores with uncertainty, verdicts in words.

- `gather` reads files, folders and prepared datasets into `Instrument`s; `read_splits` the dates to judge them by.
- `make_plan` chooses origins over many `Instrument`s; `evaluate` forecasts at each, resumably, and gives an
  `Evaluation`: scores, figures with intervals, verdicts, warnings.
- `ModelForecaster` wraps one of our models; any other fits the `Forecaster` protocol. Baselines are always beside it.
- `cutoffs` tells up to when a model has seen candles; given to `evaluate`, tests on those are warned of.
- `Correction` adds a calibrated forecaster to the table; `trials_of` turns a run into what a calibration is fitted on.
"""

from kronos.evaluation.aggregate import ALL, Aggregates, Scores
from kronos.evaluation.calibration import Correction, baseline_paths, calibration_set_of, corrected, identity_of
from kronos.evaluation.dates import Splits, cutoffs, find_splits, read_splits
from kronos.evaluation.evaluation import REFERENCE, Contender, Evaluation, baseline_forecasters, evaluate
from kronos.evaluation.forecasters import BaselineForecaster, Forecaster, ModelForecaster
from kronos.evaluation.instruments import LoadedInstruments, load_instruments
from kronos.evaluation.model_comparison import Comparison, compare
from kronos.evaluation.plan import Dates, Instrument, Plan, WalkForward, make_plan
from kronos.evaluation.rolling import ForecastPaths, RollingSettings, run_rolling
from kronos.evaluation.scoring import Actuals
from kronos.evaluation.verdicts import Verdict

__all__ = [
    "ALL",
    "REFERENCE",
    "Actuals",
    "Aggregates",
    "BaselineForecaster",
    "Comparison",
    "Contender",
    "Correction",
    "Dates",
    "Evaluation",
    "ForecastPaths",
    "Forecaster",
    "Instrument",
    "LoadedInstruments",
    "ModelForecaster",
    "Plan",
    "RollingSettings",
    "Scores",
    "Splits",
    "Verdict",
    "WalkForward",
    "baseline_forecasters",
    "baseline_paths",
    "calibration_set_of",
    "compare",
    "corrected",
    "cutoffs",
    "evaluate",
    "find_splits",
    "identity_of",
    "load_instruments",
    "make_plan",
    "read_splits",
    "run_rolling",
]

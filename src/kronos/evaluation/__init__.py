"""Rolling-origin evaluation of forecasters: scores with intervals, verdicts, calibration, ablation.

This is a backtest of forecasts; portfolio backtests are not part of this package.

- `prepare_evaluation` loads candles, selects the dates and plans the origins; `load_instruments`, `read_splits` and
  `make_plan` are its steps.
- `evaluate` forecasts at every origin, resumably, and returns an `Evaluation`: scores, figures with intervals, verdicts
  and warnings for all contenders. `run_rolling` computes only the forecasts.
- `ModelForecaster` wraps a Kronos model; any other model fits the `Forecaster` protocol. Baselines are always included.
- `WholeCandles` are the scores of range, volume, wicks, gaps and clustering of the same forecasts.
- `cutoffs` returns when a model's training data end, so that `evaluate` can warn of test dates that it has seen.
- `Correction` adds a calibrated contender; `calibration_set_of` turns a run into the data that a calibration is fitted
  to; `ablate` measures the effect of each of its parts.
- `evaluate(…, adaptive=True)` adds contenders whose bands follow the outcomes; `AdaptiveFigures` has gain and cost.
"""

from kronos.evaluation.ablation import AblationRow, ablate, cross_fitted, default_ablations
from kronos.evaluation.adaptive import AdaptiveFigures
from kronos.evaluation.aggregate import ALL, Aggregates, Scores
from kronos.evaluation.calibration import Correction, apply_correction, baseline_paths, calibration_set_of, identity_of
from kronos.evaluation.dates import EvaluationSetup, Splits, cutoffs, find_splits, prepare_evaluation, read_splits
from kronos.evaluation.evaluation import REFERENCE, Contender, Evaluation, baseline_forecasters, evaluate
from kronos.evaluation.forecasters import BaselineForecaster, Forecaster, ModelForecaster
from kronos.evaluation.instruments import LoadedInstruments, load_instruments
from kronos.evaluation.model_comparison import ModelComparison, compare_models
from kronos.evaluation.origins import Dates, Instrument, LeftOut, Plan, RollingOrigins, make_plan
from kronos.evaluation.rolling import ForecastPaths, RollingSettings, run_rolling
from kronos.evaluation.scoring import Actuals
from kronos.evaluation.verdicts import Verdict
from kronos.evaluation.whole_candles import (
    CandleFigures,
    CandleMeasure,
    ClusteringFigures,
    OmittedCandles,
    WholeCandles,
    score_whole_candles,
)

__all__ = [
    "ALL",
    "REFERENCE",
    "AblationRow",
    "Actuals",
    "AdaptiveFigures",
    "Aggregates",
    "BaselineForecaster",
    "CandleFigures",
    "CandleMeasure",
    "ClusteringFigures",
    "Contender",
    "Correction",
    "Dates",
    "Evaluation",
    "EvaluationSetup",
    "ForecastPaths",
    "Forecaster",
    "Instrument",
    "LeftOut",
    "LoadedInstruments",
    "ModelComparison",
    "ModelForecaster",
    "OmittedCandles",
    "Plan",
    "RollingOrigins",
    "RollingSettings",
    "Scores",
    "Splits",
    "Verdict",
    "WholeCandles",
    "ablate",
    "apply_correction",
    "baseline_forecasters",
    "baseline_paths",
    "calibration_set_of",
    "compare_models",
    "cross_fitted",
    "cutoffs",
    "default_ablations",
    "evaluate",
    "find_splits",
    "identity_of",
    "load_instruments",
    "make_plan",
    "prepare_evaluation",
    "read_splits",
    "run_rolling",
    "score_whole_candles",
]

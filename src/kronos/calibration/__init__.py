"""Calibration: correction of forecasts by the errors of past ones, which preserves their sample paths.

- `fit` fits the parts (anchor, drift, dispersion, pooling, conformal) to a `CalibrationSet`: past forecasts of one
  model and their outcomes. `fit_series` fits the dispersion of one series to its own history.
- A `Calibration` corrects paths and forecasts and is saved as JSON with its provenance. `calibrate_forecast` applies
  one to a forecast.
- `AdaptiveConformal` updates the bands with every outcome, for live use; `apply_online` does so over past forecasts.
- Forecasts of a model that ships with a calibration are calibrated by default; their metadata says so.
"""

from kronos.calibration.apply import calibrate_forecast
from kronos.calibration.calibration import Calibration
from kronos.calibration.calibration_set import CalibrationSet
from kronos.calibration.conformal import MIN_OUTCOMES, AdaptiveConformal, apply_online
from kronos.calibration.curves import Curve
from kronos.calibration.fitting import fit
from kronos.calibration.identity import ModelIdentity
from kronos.calibration.per_series import fit_series
from kronos.calibration.transforms import BASELINE_PATHS, PARTS

__all__ = [
    "BASELINE_PATHS",
    "MIN_OUTCOMES",
    "PARTS",
    "AdaptiveConformal",
    "Calibration",
    "CalibrationSet",
    "Curve",
    "ModelIdentity",
    "apply_online",
    "calibrate_forecast",
    "fit",
    "fit_series",
]

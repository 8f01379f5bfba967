"""Calibration: forecasts corrected by what past ones got wrong, without breaking their paths.

- `fit` learns the parts (anchor, drift, dispersion, pooling, conformal) from `Trials`: past forecasts of one model
  and what came of them. `fit_within` learns the dispersion of one series from inside its own history.
- A `Calibration` corrects paths and whole forecasts, says what it does, and is saved as JSON with its provenance.
  `calibrated` applies one with nothing else at hand; `market_of` tells candles' market, which chooses the factors.
- `Adaptive` goes on learning the bands from every outcome, for live use; `adapted` does so along past forecasts.
- Off is the default everywhere: without a calibration nothing of a forecast changes.
"""

from kronos.calibration.adaptive import Adaptive
from kronos.calibration.calibration import Calibration
from kronos.calibration.curves import Curve
from kronos.calibration.fitting import fit
from kronos.calibration.identity import Identity
from kronos.calibration.markets import MARKETS, market_of
from kronos.calibration.online import adapted
from kronos.calibration.parts import BASELINE_PATHS, PARTS
from kronos.calibration.trials import Trials
from kronos.calibration.using import calibrated
from kronos.calibration.within import fit_within

__all__ = [
    "BASELINE_PATHS",
    "MARKETS",
    "PARTS",
    "Adaptive",
    "Calibration",
    "Curve",
    "Identity",
    "Trials",
    "adapted",
    "calibrated",
    "fit",
    "fit_within",
    "market_of",
]

"""Metrics of forecasts on plain arrays, with confidence intervals and significance tests.

Functions, by what they score:

- **One forecast**: `score`, one row per horizon.
- **Distributions**: `crps` and `energy_score` (whole paths), both fair; `pinball`, `weighted_quantile_loss` (WQL),
  `scaled_quantile_loss` (SQL).
- **Points**: `mae`, `rmse`, `mase` with `naive_scale`.
- **Bands**: `band_ends`, `in_band`, `interval_score`, `band_coverage`, `attainable_coverage`; `coverage`,
  `interval_width`.
- **Calibration**: `pit`, `pit_histogram`, `rank_histogram`, `uniformity` (Kolmogorov–Smirnov).
- **Probabilities**: `brier`, `reliability` (diagram and Murphy's decomposition).
- **Direction**: `direction`, `pesaran_timmermann`.
- **Ranking**: `information_coefficient` (IC) and `rank_ic`, across instruments or over time.
- **Candles**: `candle_quantities` (range, volume, wicks, gap), scored by `known_crps` and `empirical_crps`;
  `distinct_values`, `lag_one_correlation`.
- **Volatility**: `realised_volatility`, `volatility_scores` (MAE, R², QLIKE), `qlike`.
- **Uncertainty**: `bootstrap_mean`, `bootstrap_skill` (date-block bootstrap), `proportion` (Wilson, Clopper–Pearson).
- **Growing records**: `empirical_bernstein_sequence`, `betting_sequence` and `betting_test`, valid at every look.
- **Two forecasts**: `diebold_mariano`, `bootstrap_skill`.
- **Several forecasts**: `superior_predictive_ability` (SPA), `model_confidence_set` (MCS).

Conventions:

- NaN marks unknown values, which are ignored. Losses are elementwise, so that means, tests and intervals can be taken
  over any origins, horizons and instruments. Use log returns, not price levels, so that markets are comparable.
- CRPS and energy score are unbiased in the number of paths, so forecasts of 10 and of 1000 paths are comparable.
- Instruments move together on a date, and overlapping outcomes share candles. Functions that estimate uncertainty
  therefore take ``dates``, one per observation, and ``overlap``, the number of successive dates whose outcomes overlap:
  ⌈horizon / steps between origins⌉. Without dates, losses are one series in order of time, and proportions, signs and
  PIT values count as independent.
- An `Estimate` or `Significance` includes the number of observations, effective observations and dates behind it.
"""

from kronos.metrics.bootstrap import block_length, bootstrap_mean, bootstrap_skill
from kronos.metrics.candle_scores import (
    CandleQuantities,
    candle_quantities,
    distinct_values,
    empirical_crps,
    known_crps,
    lag_one_correlation,
)
from kronos.metrics.confidence_sequences import (
    BettingTest,
    ConfidenceSequence,
    betting_interval,
    betting_sequence,
    betting_test,
    empirical_bernstein_sequence,
)
from kronos.metrics.estimates import Estimate, Significance
from kronos.metrics.events import (
    Direction,
    Reliability,
    ReliabilityBin,
    brier,
    direction,
    pesaran_timmermann,
    reliability,
)
from kronos.metrics.forecast_score import score
from kronos.metrics.information_coefficients import Coefficients, information_coefficient, rank_ic
from kronos.metrics.pit_uniformity import HistogramBin, pit, pit_histogram, rank_histogram, uniformity
from kronos.metrics.point import (
    VolatilityScores,
    mae,
    mase,
    naive_scale,
    qlike,
    realised_volatility,
    rmse,
    scaled_quantile_loss,
    volatility_scores,
    weighted_quantile_loss,
)
from kronos.metrics.probabilistic import (
    BandCoverage,
    attainable_coverage,
    band_coverage,
    band_ends,
    coverage,
    crps,
    energy_score,
    in_band,
    interval_score,
    interval_width,
    pinball,
)
from kronos.metrics.proportions import clopper_pearson, proportion, wilson
from kronos.metrics.significance import (
    ConfidenceSet,
    SuperiorAbility,
    diebold_mariano,
    model_confidence_set,
    superior_predictive_ability,
)

__all__ = [
    "BandCoverage",
    "BettingTest",
    "CandleQuantities",
    "Coefficients",
    "ConfidenceSequence",
    "ConfidenceSet",
    "Direction",
    "Estimate",
    "HistogramBin",
    "Reliability",
    "ReliabilityBin",
    "Significance",
    "SuperiorAbility",
    "VolatilityScores",
    "attainable_coverage",
    "band_coverage",
    "band_ends",
    "betting_interval",
    "betting_sequence",
    "betting_test",
    "block_length",
    "bootstrap_mean",
    "bootstrap_skill",
    "brier",
    "candle_quantities",
    "clopper_pearson",
    "coverage",
    "crps",
    "diebold_mariano",
    "direction",
    "distinct_values",
    "empirical_bernstein_sequence",
    "empirical_crps",
    "energy_score",
    "in_band",
    "information_coefficient",
    "interval_score",
    "interval_width",
    "known_crps",
    "lag_one_correlation",
    "mae",
    "mase",
    "model_confidence_set",
    "naive_scale",
    "pesaran_timmermann",
    "pinball",
    "pit",
    "pit_histogram",
    "proportion",
    "qlike",
    "rank_histogram",
    "rank_ic",
    "realised_volatility",
    "reliability",
    "rmse",
    "scaled_quantile_loss",
    "score",
    "superior_predictive_ability",
    "uniformity",
    "volatility_scores",
    "weighted_quantile_loss",
    "wilson",
]

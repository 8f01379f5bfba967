"""Metrics: how good forecasts were, once the candles are known, and how sure that is.

Pure functions of plain arrays. What is not known is NaN and left out; losses are elementwise, so that means, tests
and intervals can be taken over any origins, horizons and instruments. Everything is meant for log returns, never
price levels, so that markets compare.

===================================  ==================================================================================
one forecast                         `score`: one row a horizon
distributions                        `crps` (fair), `energy_score` (fair, whole paths), `pinball`,
                                     `weighted_quantile_loss` (WQL), `scaled_quantile_loss` (SQL)
points                               `mae`, `rmse`, `mase` with `naive_scale`
bands                                `band_ends`, `inside`, `interval_score`, `band_coverage`, `reachable`;
                                     `coverage`, `interval_width`
calibration                          `pit`, `pit_histogram`, `rank_histogram`, `uniformity` (Kolmogorov-Smirnov)
probabilities                        `brier`, `reliability` (diagram and Murphy's decomposition)
direction                            `direction`, `pesaran_timmermann`
order                                `information_coefficient` (IC), `rank_ic`: across instruments or through time
volatility                           `realised_volatility`, `volatility_scores` (MAE, R², QLIKE), `qlike`
how sure                             `average`, `skill` (date-block bootstrap), `proportion` (Wilson, Clopper-Pearson)
two forecasts                        `diebold_mariano`, `skill`
many forecasts                       `superior_predictive_ability` (SPA), `model_confidence_set` (MCS)
===================================  ==================================================================================

- CRPS and energy score are the fair ones, unbiased in the number of paths, so forecasts of 10 and of 1000 compare.
- Observations of one date move together and overlapping outcomes share candles. So functions that say how sure
  something is take each observation's ``dates``, keep those of one date together, and ``overlap``, how many successive
  dates share part of their outcome: ⌈horizon / steps between origins⌉. Without dates, losses are one series in order of
  time, and shares, signs and PITs count as independent.
- An `Estimate` or `Significance` says on how many observations, effective observations and dates it rests.
"""

from kronos.metrics.bootstrap import block_length, bootstrap_mean, bootstrap_skill
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
from kronos.metrics.pit_histogram import HistogramBin, pit, pit_histogram, rank_histogram, uniformity
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
    band_coverage,
    band_ends,
    coverage,
    crps,
    energy_score,
    in_band,
    interval_score,
    interval_width,
    pinball,
    reachable,
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
    "Coefficients",
    "ConfidenceSet",
    "Direction",
    "Estimate",
    "HistogramBin",
    "Reliability",
    "ReliabilityBin",
    "Significance",
    "SuperiorAbility",
    "VolatilityScores",
    "band_coverage",
    "band_ends",
    "block_length",
    "bootstrap_mean",
    "bootstrap_skill",
    "brier",
    "clopper_pearson",
    "coverage",
    "crps",
    "diebold_mariano",
    "direction",
    "energy_score",
    "in_band",
    "information_coefficient",
    "interval_score",
    "interval_width",
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
    "reachable",
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

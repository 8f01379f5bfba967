"""How wide a forecast's bands should be, and where their ends: split conformal prediction.

A score says by how much the outcome lies beyond a band, in units of half the forecast's own 80 % band; a
quantile of past scores says by how much to move its ends (Romano, Patterson & Candès 2019, "Conformalized
quantile regression", with locally scaled scores). If past and new origins are exchangeable, the moved band
covers at least what it says whatever the distribution, as long as each group and step keeps its own quantile;
smoothing over steps and shrinking groups together gives up that guarantee for less noise.

The corrections make one increasing map of the paths (see `kronos.calibration.transforms.conform`). Probabilities,
also that of a rise, are shares of the moved paths. No separate map of probabilities is fitted (isotonic or
logistic): it would contradict the bands and the median. What it could mend is mended on the paths: a rise
announced too boldly by ``drift`` and ``dispersion`` (their ratio is what a logistic slope would change), and one
announced too often by moving the median, if ``symmetric`` is off.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kronos.calibration.estimating import Blocks, conformal_quantile
from kronos.calibration.parts import CENTRE, LOWER, UPPER
from kronos.calibration.transforms import half_width, median, quantile
from kronos.forecasts import BANDS
from kronos.forecasts.statistics import band_levels

Array = NDArray[np.float64]

_MATCHED = 0.8  # the band that the dispersion is matched on


def dispersion(values: Array, actual: Array, blocks: Blocks) -> tuple[float, float]:
    """The factor that makes the 80 % band cover 80 %, and its standard error.

    It is the conformal quantile, at 0.8, of the outcome's distance from the median over the band end's on its side.
    The band is one more outcome's, so the factor is right for any number of paths; minimising the fair CRPS would
    stretch 50 paths by 4 % and 20 by 12 % too much, because that score is fair to exchangeable paths only, and
    paths stretched around their own median are none.

    Args:
        values: Ordered values `[N, S]`.
        actual: What happened, `[N]`.
        blocks: `[N]` of `blocks_of`.

    Returns:
        NaN and infinity if the paths are all equal.
    """
    low, high = band_levels(_MATCHED)
    middle = median(values)
    below, above = middle - quantile(values, low), quantile(values, high) - middle
    known = (below > 0) & (above > 0)
    if not known.any():
        return float("nan"), float("inf")
    away = (actual - middle)[known]
    scores = np.maximum(away / above[known], -away / below[known])
    return conformal_quantile(scores, _MATCHED, blocks[known])


def beyond(values: Array, actual: Array, level: float) -> Array:
    """By how much what happened lies above a quantile of ordered values `[N, S]`, in half 80 % widths; `[N]`.

    NaN where all paths are equal: a point forecast has no unit and no bands.
    """
    unit = half_width(values)
    gap = actual - quantile(values, level)
    return np.divide(gap, unit, out=np.full_like(unit, np.nan), where=unit > 0)


def outside(values: Array, actual: Array, band: float) -> Array:
    """By how much it lies outside a central band, negative inside: the score of Romano et al., scaled; `[N]`."""
    low, high = band_levels(band)
    return np.maximum(-beyond(values, actual, low), beyond(values, actual, high))


def corrections(values: Array, actual: Array, blocks: Blocks, *, symmetric: bool) -> dict[str, tuple[float, float]]:
    """By how much to move each end outwards, and the standard error of that, by the curve's name.

    Args:
        values: Ordered values `[N, S]` of one step.
        actual: What happened, `[N]`.
        blocks: `[N]` of `blocks_of`.
        symmetric: Move both ends of a band alike, and the median not at all: what the market did in the fitting
            dates is not learnt. Otherwise each end and the median for itself.
    """
    known = half_width(values) > 0
    if not known.any():
        return dict.fromkeys((*LOWER, CENTRE, *UPPER), (float("nan"), float("inf")))
    values, actual, blocks = values[known], actual[known], blocks[known]
    found: dict[str, tuple[float, float]] = {}
    for band, lower, upper in zip(BANDS, LOWER, UPPER, strict=True):
        if symmetric:
            found[lower] = found[upper] = conformal_quantile(outside(values, actual, band), band, blocks)
            continue
        low, high = band_levels(band)
        found[lower] = conformal_quantile(-beyond(values, actual, low), high, blocks)
        found[upper] = conformal_quantile(beyond(values, actual, high), high, blocks)
    if not symmetric:
        found[CENTRE] = conformal_quantile(beyond(values, actual, 0.5), 0.5, blocks)
    return found

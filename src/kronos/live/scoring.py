"""Scores of settled forecasts, computed from the record's own numbers, many forecasts at a time.

All of them are of the cumulative log return of the close since the last known close, r, and of paths as they are
written: whole numbers of `kronos.live.entries.UNIT`. Sorting those is several times as fast as sorting floats, and
exact, so that whoever repeats a score gets the same one.

- ``crps``: fair CRPS of r at each step, as `kronos.metrics.crps`;
- ``inside``: for each central band, a character per step: 1 if the close lies within it, else 0, with the ends and the
  tolerance of `kronos.metrics.score`;
- ``increments``: fair CRPS of price changes over k steps, in basis points of the price at the start of the change,
  summed over the H // k changes that do not overlap. This is the score of Synth (Bittensor's subnet 50), but for its
  ensemble CRPS, which is biased for few paths: synth-subnet, ``synth/validator/crps_calculation.py``;
- ``brier``: Brier score of the probability of each event.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kronos.errors import ParameterError
from kronos.forecasts.statistics import SAME_PRICE, band_levels
from kronos.live.entries import LEVELS, UNIT, ForecastEntry, decode_paths
from kronos.metrics import brier
from kronos.typing import BoolArray, FloatArray

Event = Literal["upside", "amplification"]
WholeArray = NDArray[np.int32]  # log returns in units of UNIT

INCREMENTS = (1, 3, 6, 24)  # steps of the price changes; Synth's 5 minutes, 30 minutes, 3 hours and 24 hours, coarser
BASIS_POINTS = 1e4
DECIMALS = 10  # of scores: coarser than rounding errors, finer than what `kronos live verify` lets pass
_CHUNK = 1 << 18  # values at a time, so that they stay in the processor's cache


def score_many(
    paths: Mapping[str, FloatArray],
    returns: FloatArray,
    recent_volatility: FloatArray,
    probabilities: Mapping[Event, Mapping[str, FloatArray]],
) -> list[dict[str, Any]]:
    """Score N forecasts of H steps.

    Args:
        paths: Cumulative log returns by contender, in whole units of 10⁻⁷; what is finer is rounded. `[N, S, H]`, with
            an S of each contender's own.
        returns: Cumulative log returns that came. `[N, H]`
        recent_volatility: Standard deviation of the log returns in the volatility window. `[N]`
        probabilities: Probability of each event by contender. `[N]`

    Returns:
        For each forecast, by contender: ``crps`` of each step, ``inside`` by level, ``increments`` by number of steps,
        and ``brier`` of the events that the contender gives a probability of.

    Raises:
        ParameterError: If the sizes disagree, or a contender has no path.
    """
    for name, samples in paths.items():
        if samples.ndim != 3 or samples.shape[::2] != returns.shape or not samples.shape[1]:
            raise ParameterError(f"Invalid paths of {name}: {samples.shape} does not fit outcomes {returns.shape}.")
    happened = settle_events(returns, recent_volatility)
    forecasts: list[dict[str, Any]] = [{} for _ in range(len(returns))]
    for name, samples in paths.items():
        briers = {
            event: np.round(brier(given[name], happened[event]), DECIMALS).tolist()
            for event, given in probabilities.items()
            if name in given
        }
        step = max(1, _CHUNK // math.prod(samples.shape[1:]))
        for start in range(0, len(returns), step):
            part = slice(start, start + step)
            scores = _score_contender(samples[part], returns[part])
            for i, entry in enumerate(scores, start):
                entry["brier"] = {event: values[i] for event, values in briers.items()}
                forecasts[i][name] = entry
    return forecasts


def score_forecast(
    entry: ForecastEntry, candles: Sequence[Sequence[Any]]
) -> tuple[dict[str, bool], dict[str, dict[str, Any]]]:
    """Score a forecast of the record with the candles that settle it.

    Args:
        entry: The forecast.
        candles: Opening time, open, high, low and close of the H candles.

    Returns:
        Whether each event happened, and the scores by contender as `score_many` gives them.

    Raises:
        ParameterError: If there is not one candle for each step, or a close is not positive.
    """
    horizon = len(entry.times)
    closes = np.array([float(row[4]) for row in candles])
    if len(closes) != horizon or not (closes > 0).all():
        raise ParameterError(f"A forecast of {horizon} steps needs {horizon} candles with positive closes.")
    returns = cumulative_returns(closes[None], np.array([entry.last_close]))
    recent = np.array([entry.recent_volatility])
    probabilities: dict[Event, dict[str, FloatArray]] = {
        event: {name: np.array([float(values[0])]) for name, values in entry.probabilities.get(event, {}).items()}
        for event in ("upside", "amplification")
    }
    paths = {name: decode_paths(text, horizon)[None] for name, text in entry.paths.items()}
    happened = settle_events(returns, recent)
    outcome = {str(event): bool(flags[0]) for event, flags in happened.items()}
    return outcome, score_many(paths, returns, recent, probabilities)[0]


def cumulative_returns(closes: FloatArray, last_close: FloatArray) -> FloatArray:
    """Compute the cumulative log returns `[N, H]` of closes `[N, H]` since the last known closes `[N]`."""
    returns: FloatArray = np.log(closes / last_close[:, None])
    return returns


def settle_events(returns: FloatArray, recent_volatility: FloatArray) -> dict[Event, BoolArray]:
    """Determine which events happened.

    ``upside``: the last close is above the last known one. ``amplification``: the standard deviation (n - 1) of the
    log returns, from the last known close to the last, is above the recent one; a single step has none.

    Args:
        returns: Cumulative log returns that came. `[N, H]`
        recent_volatility: Standard deviation of the log returns in the volatility window. `[N]`
    """
    single = np.diff(returns, axis=1, prepend=0.0)
    if single.shape[1] < 2:
        return {"upside": returns[:, -1] > 0, "amplification": np.zeros(len(returns), dtype=np.bool_)}
    return {"upside": returns[:, -1] > 0, "amplification": single.std(axis=1, ddof=1) > recent_volatility}


def _score_contender(samples: FloatArray, returns: FloatArray) -> list[dict[str, Any]]:
    """Score forecasts of one contender: ``crps``, ``inside`` and ``increments``."""
    horizon = returns.shape[1]
    whole = np.rint(np.swapaxes(samples, 1, 2) * (1 / UNIT)).astype(np.int32)  # [N, H, S]
    ordered = np.sort(whole, axis=-1)
    crps = np.round(_fair_crps(_log_returns(ordered), returns), DECIMALS).tolist()
    inside = {str(level): _inside(ordered, returns, level / 100) for level in LEVELS}
    increments = {
        str(k): np.round(_increments(whole, returns, k), DECIMALS).tolist() for k in INCREMENTS if k <= horizon
    }
    return [
        {
            "crps": values,
            "inside": {level: flags[i] for level, flags in inside.items()},
            "increments": {k: sums[i] for k, sums in increments.items()},
        }
        for i, values in enumerate(crps)
    ]


def _log_returns(whole: WholeArray) -> FloatArray:
    return whole.astype(np.float64) * UNIT


def _fair_crps(ordered: FloatArray, observed: FloatArray) -> FloatArray:
    """Compute the fair CRPS of sorted samples on the last axis; see `kronos.metrics.crps`."""
    size = ordered.shape[-1]
    distance = np.abs(ordered - observed[..., None]) @ np.full(size, 1 / size)
    if size == 1:
        return np.asarray(distance)
    # With these weights the sorted samples sum to half the mean |x - x'|.
    return np.asarray(distance - ordered @ ((2 * np.arange(size) - (size - 1)) / (size * (size - 1))))


def _inside(ordered: WholeArray, returns: FloatArray, level: float) -> list[str]:
    """Write for each forecast which closes lie within the central band of the paths' closes."""
    low, high = (_quantile(ordered, end) for end in band_levels(level))
    within = (low - SAME_PRICE <= returns) & (returns <= high + SAME_PRICE)
    text = (within.astype(np.uint8) + ord("0")).tobytes().decode("ascii")
    horizon = returns.shape[1]
    return [text[start : start + horizon] for start in range(0, len(text), horizon)]


def _quantile(ordered: WholeArray, level: float) -> FloatArray:
    """Compute the log of the quantile at k / (S + 1) of prices, from sorted log returns on the last axis.

    As `kronos.forecasts.sample_quantiles` of the prices: between two samples, prices are interpolated, not their logs.
    """
    size = ordered.shape[-1]
    position = min(max(level * (size + 1) - 1, 0.0), size - 1.0)
    below = math.floor(position)
    quantile = _log_returns(ordered[..., below])
    if position > below:
        quantile += np.log1p((position - below) * np.expm1(_log_returns(ordered[..., below + 1]) - quantile))
    return quantile


def _increments(whole: WholeArray, returns: FloatArray, k: int) -> FloatArray:
    """Sum the fair CRPS of price changes over k steps, in basis points: `[N]`."""
    changes = np.sort(_changes(whole, k), axis=-1)  # sorted as log returns: their order is that of the relative changes
    samples = np.expm1(_log_returns(changes)) * BASIS_POINTS
    return np.asarray(_fair_crps(samples, np.expm1(_changes(returns, k)) * BASIS_POINTS).sum(axis=1))


def _changes(cumulative: NDArray[Any], k: int) -> NDArray[Any]:
    """Compute log returns over k steps that do not overlap, from cumulative ones on axis 1."""
    ends = cumulative[:, k - 1 :: k]
    changes = ends.copy()
    changes[:, 1:] -= ends[:, :-1]
    return changes

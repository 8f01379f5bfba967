"""Losses of whole candles, computed when a forecast is made: a run stores them instead of every path's candles.

A loss is the fair CRPS of one quantity of the candles, see `kronos.metrics.candle_scores`, at one origin and step, in
the quantity's own unit. Losses are computed at all steps, so that a run can be reported at any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from kronos.metrics.candle_scores import (
    CandleQuantities,
    candle_quantities,
    distinct_values,
    known_crps,
    lag_one_correlation,
)
from kronos.typing import BoolArray, FloatArray

Quantity = Literal["range", "volume", "upper_wick", "lower_wick", "gap", "span", "close_span"]

QUANTITIES: tuple[Quantity, ...] = ("range", "volume", "upper_wick", "lower_wick", "gap", "span", "close_span")
MIN_STEPS = 8  # of a path whose autocorrelation is computed
_PREFIX = "candle_"
_VERSION = 1  # of the stored arrays: other ones are ignored, and whole candles then not scored
_CHUNK = 400_000  # candles at once, to bound memory

Array32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class CandleLosses:
    """What whole candles of one forecaster are scored by, at every origin; NaN where undefined.

    Attributes:
        crps: CRPS of each quantity, in the order of `QUANTITIES`. [N, Q, H]
        distinct_volumes: Number of distinct log volumes among the paths. [N, H]
        median_gap: Median of the paths' absolute opening gaps. [N, H]
        undefined: Share of the paths whose volume is zero, and whose candle has no range. [N, 2, H]
        clustering: Mean over the paths of the autocorrelation at lag 1 of absolute returns and of ranges; NaN below
            `MIN_STEPS` steps. [N, 2]
        sampled: Whether the paths differ; they have a candle with a wick; one that does not open at the close before;
            volumes that differ. [N, 4]
    """

    crps: Array32
    distinct_volumes: Array32
    median_gap: Array32
    undefined: Array32
    clustering: Array32
    sampled: BoolArray

    @classmethod
    def empty(cls, origins: int, horizon: int) -> Self:
        """Return losses that are all undefined."""

        def unknown(*shape: int) -> Array32:
            return np.full((origins, *shape), np.nan, dtype=np.float32)

        return cls(
            crps=unknown(len(QUANTITIES), horizon),
            distinct_volumes=unknown(horizon),
            median_gap=unknown(horizon),
            undefined=unknown(2, horizon),
            clustering=unknown(2),
            sampled=np.zeros((origins, 4), dtype=np.bool_),
        )

    @classmethod
    def of(cls, paths: Sequence[FloatArray], closes: FloatArray, actual: Sequence[FloatArray]) -> Self:
        """Score the paths of some origins.

        Args:
            paths: Candles by origin, channels in the order of `kronos.candles.COLUMNS`. [n] arrays [S, H, 6]
            closes: Last known closes. [n]
            actual: The candles that followed, by origin. [n] arrays [H, 6]
        """
        parts, first = [], 0
        while first < len(paths):
            last = first + max(1, _CHUNK // max(1, paths[first][..., 0].size))
            while any(own.shape != paths[first].shape for own in paths[first:last]):
                last -= 1
            own = slice(first, last)
            parts.append(cls._of_chunk(np.stack(paths[own]), closes[own], np.stack(actual[own])))
            first = last
        return cls.joined(parts)

    @classmethod
    def _of_chunk(cls, paths: FloatArray, closes: FloatArray, actual: FloatArray) -> Self:
        sampled, happened = candle_quantities(paths, closes[:, None]), candle_quantities(actual, closes)
        missing = (sampled.volume, sampled.upper_wick)
        losses = [known_crps(np.moveaxis(getattr(sampled, name), 1, 2), getattr(happened, name)) for name in QUANTITIES]
        return cls(
            crps=np.stack(losses, axis=1).astype(np.float32),
            distinct_volumes=distinct_values(np.moveaxis(sampled.volume, 1, 2)).astype(np.float32),
            median_gap=np.median(np.abs(sampled.gap), axis=1).astype(np.float32),
            undefined=np.stack([np.isnan(own).mean(axis=1) for own in missing], axis=1).astype(np.float32),
            clustering=clustering(sampled.move, sampled.range, axis=1).astype(np.float32),
            sampled=_sampled(paths, sampled),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Concatenate the losses of successive origins; there is at least one part."""
        return cls(**{part.name: np.concatenate([getattr(own, part.name) for own in parts]) for part in fields(cls)})

    def put(self, rows: Sequence[int], losses: Self) -> None:
        """Write the losses of some origins into those of all."""
        for part in fields(self):
            getattr(self, part.name)[list(rows)] = getattr(losses, part.name)

    def of_quantity(self, quantity: Quantity) -> FloatArray:
        """Return the CRPS of one quantity, ``[N, H]``."""
        return self.crps[:, QUANTITIES.index(quantity)].astype(np.float64)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays to store, by name."""
        arrays = {_PREFIX + part.name: getattr(self, part.name) for part in fields(self)}
        return {**arrays, _PREFIX + "version": np.array(_VERSION)}

    @classmethod
    def from_arrays(cls, stored: Mapping[str, npt.NDArray[Any]]) -> Self | None:
        """Return stored losses; None if they are of an earlier version, which had none, or of another one."""
        if _PREFIX + "version" not in stored or int(stored[_PREFIX + "version"]) != _VERSION:
            return None
        return cls(**{part.name: stored[_PREFIX + part.name] for part in fields(cls)})


def clustering(moves: FloatArray, ranges: FloatArray, axis: int | None = None) -> FloatArray:
    """Compute the autocorrelation at lag 1 of absolute returns and of ranges.

    Args:
        moves: Absolute returns of successive candles. [..., H]
        ranges: Their ranges. [..., H]
        axis: Axis of the paths over which to average; None for no average.

    Returns:
        Both autocorrelations; NaN below `MIN_STEPS` steps. [..., 2]
    """
    if moves.shape[-1] < MIN_STEPS:
        found = [np.full(moves.shape[:-1], np.nan)] * 2
    else:
        found = [lag_one_correlation(moves), lag_one_correlation(ranges)]
    if axis is not None:
        found = [known_mean(own, axis) for own in found]
    return np.stack(found, axis=-1)


def known_mean(values: FloatArray, axis: int) -> FloatArray:
    """Compute the mean of known values along an axis; NaN without any."""
    known = ~np.isnan(values)
    counts = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    result: FloatArray = np.divide(total, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return result


def _sampled(paths: FloatArray, shape: CandleQuantities) -> BoolArray:
    """See `CandleLosses.sampled`."""
    within, volumes = (1, 2), paths[..., 4]
    wicks = np.fmax(shape.upper_wick, shape.lower_wick)  # NaN in candles without a range
    return np.stack(
        [
            (paths[..., 3] != paths[:, :1, :, 3]).any(axis=within),
            (wicks > 1e-6).any(axis=within),
            (np.abs(shape.gap) > 1e-8).any(axis=within),
            volumes.max(axis=within) > volumes.min(axis=within),
        ],
        axis=-1,
    )

"""Normalisation of candles: what a tokenizer sees instead of prices, and the way back.

A tokenizer's ``kronos.json`` names its normalisation. All statistics come from the history alone.

- ``spread``: every column by its mean and standard deviation, as published.
- ``steps``: all prices by the last close and the volatility of one step, so that candles keep their shape.
- ``changes``: every candle by what is new in it: its return, its opening gap, its wicks, and its volume compared with
  what is usual for a candle of that range. Equal codes then mean equal events at any price, in any unit and at any
  position in the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kronos.candles import COLUMNS, PRICES
from kronos.errors import DataError
from kronos.typing import FloatArray
from kronos.zoo import Normalisation

Floats = NDArray[np.float32] | NDArray[np.float64]
ScaleRule = Callable[[Floats, Floats], Floats]

EPSILON = 1e-5  # added to every standard deviation
# Volatilities of one step in one unit of x for "steps": 24 steps ahead lie within about a unit, a clip at 5 is 40 away.
STEPS = 8
PRICE_COLUMNS = len(PRICES)
OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT = range(len(COLUMNS))
NO_VOLUME = -5.0  # normalised volume of a candle without trades, for "changes"

_LEAST_PRICE, _LARGEST_PRICE = 1e-30, 1e30  # the spread of smaller or larger prices has no float32 number
# "changes" compresses values by asinh(value / bend): linear below the bend, logarithmic above.
_RETURN_BEND = 0.4  # volatilities
_GAP_BEND, _GAP_FACTOR = 0.15, 0.65  # median gaps
_WICK_BEND, _WICK_FACTOR = 0.03, 0.8  # volatilities
_LEAST_VOLATILITY = 1e-9  # of a history without any change
_LEAST_GAP = 0.02  # volatilities; the unit of gaps in a history without any
_MOST_LOG_CHANGE = 25.0  # of a path's prices, so that they remain finite
_RANGE_OFFSET = 0.25  # volatilities; added to ranges before their logarithm, since a range can be 0
# Volume is compared with a regression on the range whose slope and spread are shrunk to these by so many candles.
_PRIOR_SLOPE, _PRIOR_SPREAD, _PRIOR_CANDLES = 0.5, 0.7, 4
_LEAST_SPREAD = 0.05


class Scaler(Protocol):
    """Statistics of a history, and the transformations that use them."""

    @property
    def location(self) -> Floats:
        """What is subtracted from each column, ``[6]``."""
        ...

    @property
    def scale(self) -> Floats:
        """By what each column is divided, ``[6]``."""
        ...

    def transform(self, values: Floats) -> Floats:
        """Normalise candles ``[T, 6]`` that begin with the history, not yet clipped."""
        ...

    def inverse_transform(self, x: Floats) -> Floats:
        """Candles ``[..., H, 6]`` of normalised ones that follow the history."""
        ...

    def inverse_transform_last(self, x: Floats) -> Floats:
        """The history's last candle ``[6]`` from its normalised form."""
        ...


@dataclass(frozen=True, slots=True)
class AffineScaler:
    """Normalisation of every column by a location and a scale.

    Attributes:
        location: Subtracted from each column, ``[6]``.
        scale: Divisor of each column, ``[6]``.
    """

    location: Floats
    scale: Floats

    def transform(self, values: Floats) -> Floats:
        """Normalise candles ``[..., 6]``."""
        x: Floats = (values - self.location) / self.scale
        return x

    def inverse_transform(self, x: Floats) -> Floats:
        """Candles of normalised ones ``[..., 6]``."""
        values: Floats = x * self.scale + self.location
        return values

    def inverse_transform_last(self, x: Floats) -> Floats:
        """Candle of a normalised one ``[6]``."""
        return self.inverse_transform(x)


@dataclass(frozen=True, slots=True)
class ChangeScaler:
    """Normalisation of every candle by what is new in it.

    With the volatility σ of one step, the columns become: open, ``asinh`` of the gap from the previous close in typical
    gaps; high and low, ``asinh`` of the wick above and below the body in σ; close, ``asinh`` of the log return in σ;
    volume, the residual of a regression of log volume on log range, in its standard deviations (`NO_VOLUME` without
    trades); amount, 0: it follows from volume and prices.

    Attributes:
        previous: The history's last close but one.
        close: The history's last close.
        volatility: σ: standard deviation of log returns, from returns and ranges.
        gap: Median size of the log gaps that are not 0.
        level: Expected log volume of a candle whose log range is 0; None without volume.
        slope: Elasticity of volume with respect to range.
        spread: Standard deviation of log volume around its expectation.
        multiple: Amount divided by volume times the mean price.
    """

    previous: float
    close: float
    volatility: float
    gap: float
    level: float | None
    slope: float
    spread: float
    multiple: float

    @classmethod
    def fit(cls, history: Floats) -> ChangeScaler:
        """Compute the statistics of a history ``[T, 6]``.

        The volatility is the root of the mean of two estimates of the variance: squared returns, and Parkinson's (1980)
        from ranges, ``ln(high/low)² / (4 ln 2)``, with squared gaps; ranges make it usable for few candles.
        """
        values = np.asarray(history, np.float64)
        gaps, upper, lower, returns = _changes(values)
        ranges = _ranges(gaps, upper, lower, returns)
        variance = (np.mean(returns**2) + np.mean(ranges**2) / (4 * math.log(2)) + np.mean(gaps**2)) / 2
        volatility = max(math.sqrt(variance), _LEAST_VOLATILITY)
        sizes = np.abs(gaps[1:])
        sizes = sizes[sizes > 1e-9]
        gap = max(float(np.median(sizes)), 1e-4 * volatility) if len(sizes) else _LEAST_GAP * volatility
        level, slope, spread = _volume_regression(values[:, VOLUME], ranges / volatility)
        return cls(
            previous=float(values[-2, CLOSE] if len(values) > 1 else values[-1, OPEN]),
            close=float(values[-1, CLOSE]),
            volatility=volatility,
            gap=gap,
            level=level,
            slope=slope,
            spread=spread,
            multiple=_amount_multiple(values),
        )

    @property
    def location(self) -> Floats:
        """Last close and, of volume and amount, the expected log volume and the multiple, ``[6]``."""
        return np.array([self.close] * PRICE_COLUMNS + [self.level or 0.0, self.multiple])

    @property
    def scale(self) -> Floats:
        """σ in units of the price and, of volume, the spread of its logarithm, ``[6]``."""
        return np.array([self.close * self.volatility] * PRICE_COLUMNS + [self.spread, 1.0])

    def transform(self, values: Floats) -> Floats:
        """Normalise candles ``[T, 6]``; the first has no previous close, so its gap is 0."""
        values = np.asarray(values, np.float64)
        gaps, upper, lower, returns = _changes(values)
        ranges = _ranges(gaps, upper, lower, returns)
        x = np.zeros(values.shape)
        x[:, OPEN] = np.arcsinh(gaps / (_GAP_BEND * self.gap)) * _GAP_FACTOR
        x[:, HIGH] = np.arcsinh(upper / (_WICK_BEND * self.volatility)) * _WICK_FACTOR
        x[:, LOW] = np.arcsinh(lower / (_WICK_BEND * self.volatility)) * _WICK_FACTOR
        x[:, CLOSE] = np.arcsinh(returns / (_RETURN_BEND * self.volatility))
        volume = values[:, VOLUME]
        traded = (volume > 0) & (self.level is not None)
        expected = self._expected_log_volume(ranges)
        x[:, VOLUME] = NO_VOLUME
        x[traded, VOLUME] = np.clip((np.log(volume[traded]) - expected[traded]) / self.spread, 0.75 * NO_VOLUME, None)
        return x

    def inverse_transform(self, x: Floats) -> Floats:
        """Candles ``[..., H, 6]`` that continue the history, of normalised ones."""
        return self._continue(np.asarray(x, np.float64), self.close)

    def inverse_transform_last(self, x: Floats) -> Floats:
        """The history's last candle ``[6]`` from its normalised form and the close before it."""
        last: Floats = self._continue(np.asarray(x, np.float64)[None], self.previous)[0]
        return last

    def _continue(self, x: FloatArray, close: float) -> FloatArray:
        gaps = self.gap * _GAP_BEND * np.sinh(x[..., OPEN] / _GAP_FACTOR)
        upper, lower = (
            self.volatility * _WICK_BEND * np.sinh(np.maximum(x[..., column], 0) / _WICK_FACTOR)
            for column in (HIGH, LOW)
        )
        returns = self.volatility * _RETURN_BEND * np.sinh(x[..., CLOSE])
        levels = np.clip(np.cumsum(returns, axis=-1), -_MOST_LOG_CHANGE, _MOST_LOG_CHANGE)
        opens = np.concatenate((np.zeros_like(levels[..., :1]), levels[..., :-1]), axis=-1) + gaps
        values = np.empty(x.shape)
        values[..., OPEN], values[..., CLOSE] = opens, levels
        values[..., HIGH] = np.maximum(opens, levels) + upper
        values[..., LOW] = np.minimum(opens, levels) - lower
        ranges = values[..., HIGH] - values[..., LOW]
        values[..., :PRICE_COLUMNS] = close * np.exp(
            np.clip(values[..., :PRICE_COLUMNS], -2 * _MOST_LOG_CHANGE, 2 * _MOST_LOG_CHANGE)
        )
        log_volume = self._expected_log_volume(ranges) + self.spread * x[..., VOLUME]
        traded = (x[..., VOLUME] > (NO_VOLUME + 0.75 * NO_VOLUME) / 2) & (self.level is not None)
        values[..., VOLUME] = np.where(traded, np.exp(np.minimum(log_volume, 700.0)), 0.0)
        values[..., AMOUNT] = values[..., VOLUME] * values[..., :PRICE_COLUMNS].mean(-1) * self.multiple
        return values

    def _expected_log_volume(self, ranges: FloatArray) -> FloatArray:
        """Log volume that candles of these log ranges usually have."""
        expected: FloatArray = (self.level or 0.0) + self.slope * np.log(ranges / self.volatility + _RANGE_OFFSET)
        return expected


def _changes(values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Log gaps, upper wicks, lower wicks and returns of candles ``[T, 6]``, ``[T]`` each."""
    if not (values[:, :PRICE_COLUMNS] > 0).all():
        raise DataError("A price is not above 0: this model reads logarithms of prices. Drop such candles.")
    opens, highs, lows, closes = np.log(values[:, :PRICE_COLUMNS]).T
    before = np.concatenate((opens[:1], closes[:-1]))
    upper, lower = highs - np.maximum(opens, closes), np.minimum(opens, closes) - lows
    return opens - before, np.maximum(upper, 0), np.maximum(lower, 0), closes - before


def _ranges(gaps: FloatArray, upper: FloatArray, lower: FloatArray, returns: FloatArray) -> FloatArray:
    """Log ratio of high and low."""
    return np.abs(returns - gaps) + upper + lower


def _volume_regression(volume: FloatArray, ranges: FloatArray) -> tuple[float | None, float, float]:
    """Level, slope and residual spread of log volume, given ranges in volatilities."""
    traded = volume > 0
    count = int(traded.sum())
    if not count:
        return None, _PRIOR_SLOPE, _PRIOR_SPREAD
    y, z = np.log(volume[traded]), np.log(ranges[traded] + _RANGE_OFFSET)
    dy, dz = y - y.mean(), z - z.mean()
    prior = _PRIOR_CANDLES * 0.5  # candles times the usual variance of the log range
    slope = float((dz @ dy + prior * _PRIOR_SLOPE) / (dz @ dz + prior))
    slope = min(max(slope, 0.0), 2.0)
    residuals = dy - slope * dz
    variance = (residuals @ residuals + _PRIOR_CANDLES * _PRIOR_SPREAD**2) / (count + _PRIOR_CANDLES)
    return float(y.mean() - slope * z.mean()), slope, max(math.sqrt(variance), _LEAST_SPREAD)


def _amount_multiple(values: FloatArray) -> float:
    """Median of amount divided by volume and mean price; 0 without either."""
    product = values[:, VOLUME] * values[:, :PRICE_COLUMNS].mean(axis=1)
    traded = product > 0
    return float(np.median(values[traded, AMOUNT] / product[traded])) if traded.any() else 0.0


def published_scale(std: Floats, mean: Floats) -> Floats:  # noqa: ARG001 (a ScaleRule takes both)
    """The published scale: the standard deviation plus 1e-5, independent of the unit of price."""
    scale: Floats = std + EPSILON
    return scale


def unit_free_scale(std: Floats, mean: Floats) -> Floats:
    """The published scale if a column's standard deviation is 0.01 or more, and a proportional one below.

    A constant of 1e-5 added to the deviation of a coin worth 1e-6 would make its prices look flat and its forecasts a
    hundred times too wide. So the addition shrinks with the deviation; a constant column gets a scale that is small
    relative to its mean.
    """
    varying = std + np.minimum(EPSILON, 1e-3 * std)
    constant = np.minimum(EPSILON, 1e-9 * np.abs(mean))
    return np.maximum(np.where(std > 1e-9 * np.abs(mean), varying, constant), np.finfo(np.float32).tiny)


def fit_scaler(
    history: Floats, normalisation: Normalisation = "spread", scale_of: ScaleRule = unit_free_scale
) -> Scaler:
    """Compute the statistics of a history ``[T, 6]``, without any later candle.

    Args:
        history: The known candles.
        normalisation: ``spread``, ``steps`` or ``changes``; see the module. For ``steps`` the unit of prices is 8 times
            the root mean square of the changes from close to close; volume and amount are as for ``spread``.
        scale_of: Computes the scale from standard deviation and mean, for ``spread`` and ``steps``.

    Raises:
        DataError: If a price is not above 0 and the normalisation is ``changes``.
    """
    if normalisation == "changes":
        return ChangeScaler.fit(history)
    location, spread = history.mean(axis=0), history.std(axis=0)
    if normalisation == "steps":
        close = history[:, CLOSE]
        location[:PRICE_COLUMNS] = close[-1]
        spread[:PRICE_COLUMNS] = STEPS * np.sqrt(np.square(np.diff(close)).mean()) if len(close) > 1 else 0.0
    return AffineScaler(location, scale_of(spread, location))


def mirror_prices(x: NDArray[np.float32], normalisation: Normalisation) -> NDArray[np.float32]:
    """Turn the prices of normalised candles ``[..., 6]`` upside down: rises become falls; a new array."""
    mirrored = x.copy()
    mirrored[..., :PRICE_COLUMNS] = x[..., [OPEN, LOW, HIGH, CLOSE]]
    turned = [OPEN, CLOSE] if normalisation == "changes" else [OPEN, HIGH, LOW, CLOSE]
    mirrored[..., turned] *= -1
    return mirrored


def normalise(
    values: Floats, clip: float, scale_of: ScaleRule = unit_free_scale, normalisation: Normalisation = "spread"
) -> tuple[NDArray[np.float32], Scaler]:
    """Normalise a history ``[T, 6]`` by its own statistics and clip it: ``(x, scaler)``.

    Raises:
        DataError: If prices are so small or large that their spread has no float32 number, or not above 0 where their
            logarithms are needed.
    """
    highest = np.abs(values[:, :PRICE_COLUMNS]).max(initial=0)
    if highest > 0 and not _LEAST_PRICE <= highest <= _LARGEST_PRICE:
        raise DataError(
            f"Prices near {highest:.1g} are too {'small' if highest < 1 else 'large'} to be normalised: multiply them "
            f"by a power of ten, so that they lie between {_LEAST_PRICE:g} and {_LARGEST_PRICE:g}."
        )
    scaler = fit_scaler(values, normalisation, scale_of)
    return np.clip(scaler.transform(values), -clip, clip).astype(np.float32), scaler

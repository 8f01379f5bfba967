"""The forecast object: all sample paths, the history they continue, and their metadata.

- Immutable: arrays are read-only copies, and corrections (calibration) return a new forecast.
- Averages are not candles: `mean`, `median` and `quantiles` are computed per channel; `sample` returns the candles of
  one path, `representative` the index of the most central one.
- Steps are counted from 1, as in tables: 1 is the first future candle. -1 is the last one, -2 the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS, Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts.frames import LEVELS, FrameKind, to_frame
from kronos.forecasts.metadata import ForecastMetadata
from kronos.forecasts.repair import describe_repairs, valid_candles
from kronos.forecasts.statistics import (
    Probability,
    band_levels,
    check_levels,
    expected_shortfall,
    log_returns,
    medoid,
    sample_quantiles,
)
from kronos.formatting import percent, plural
from kronos.intervals import Interval
from kronos.notebook import SummaryTable, format_column, format_times, html_summary
from kronos.typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure
ReturnKind = Literal["simple", "log"]

_CHANNEL = {name: i for i, name in enumerate(COLUMNS)}
_FEW_PATHS = 20  # with fewer, charts show the paths themselves instead of bands
_STEPS = 5  # of a long forecast shown in a notebook
_ENOUGH_PATHS = 39  # needed by the widest band shown, 95 %; see `sample_quantiles`


@dataclass(frozen=True, eq=False, repr=False)
class Forecast:
    """Sample paths of the future of one series.

    Attributes:
        paths: Valid candles in price units, channels in the order of `COLUMNS`, read-only. [S, H, 6]
        timestamps: Times of the future candles, timezone-aware if the history is. [H]
        history: The candles that the forecast continues; the last one is the origin.
        metadata: Model, weights, sampling settings, data and versions.
        mended: Share (0 to 1) of the sampled candles that `repair_candles` had to change.

    Raises:
        ParameterError: If the shapes disagree or the paths contain invalid candles.
        DataError: If the history is empty.
    """

    paths: FloatArray
    timestamps: pd.DatetimeIndex
    history: Candles
    metadata: ForecastMetadata
    mended: float = 0.0

    def __post_init__(self) -> None:
        paths = np.array(self.paths, dtype=np.float64)
        if paths.ndim != 3 or paths.shape[2] != len(COLUMNS) or paths.size == 0:
            raise ParameterError(f"Sample paths need the shape [samples, steps, {len(COLUMNS)}]; got {paths.shape}.")
        times = pd.DatetimeIndex(self.timestamps, name="timestamps")
        if len(times) != paths.shape[1]:
            raise ParameterError(f"{len(times)} timestamps for {paths.shape[1]} steps: pass one per step.")
        if len(self.history) == 0:
            raise DataError("A forecast needs a history of at least one candle.")
        if (times.tz is None) != (self.history.timezone is None):
            raise ParameterError("The timestamps and the history must both have a timezone, or neither.")
        if not valid_candles(paths).all():
            raise ParameterError("The paths contain invalid candles: repair them with kronos.forecasts.repair_candles.")
        paths.setflags(write=False)
        object.__setattr__(self, "timestamps", times)
        object.__setattr__(self, "paths", paths)

    # Properties ------------------------------------------------------------

    @property
    def symbol(self) -> str | None:
        """The instrument's symbol, if known."""
        return self.history.symbol

    @property
    def interval(self) -> Interval:
        """Length of a candle."""
        return self.history.interval

    @property
    def samples(self) -> int:
        """Number of sample paths, S."""
        return int(self.paths.shape[0])

    @property
    def horizon(self) -> int:
        """Number of future candles, H."""
        return int(self.paths.shape[1])

    @property
    def last_close(self) -> float:
        """The last known close, which returns are relative to."""
        return float(self.history.frame["close"].iloc[-1])

    @property
    def start(self) -> pd.Timestamp:
        """Time of the last known candle: everything after it is forecast."""
        return self.history.end

    @property
    def simulated(self) -> bool:
        """Whether the history or the paths are simulated; every output labels them."""
        return self.metadata.simulated or self.history.simulated

    @property
    def notes(self) -> tuple[str, ...]:
        """Caveats for the reader: those of the metadata, and one if there are few paths."""
        if self.samples >= _ENOUGH_PATHS:
            return self.metadata.notes
        count = plural(self.samples, "path")
        if self.samples < _FEW_PATHS:
            return (*self.metadata.notes, f"Only {count}: quantiles and probabilities are rough.")
        covered = 100 * (self.samples - 1) / (self.samples + 1)
        return (
            *self.metadata.notes,
            f"Only {count}: the 95 % band is their full range and covers {covered:.0f} %.",
        )

    @property
    def repairs(self) -> dict[str, float]:
        """Why sampled candles were repaired: their share by channel and reason; see `repair_reasons`.

        Empty if none were, or the forecast was saved before reasons were recorded.
        """
        return dict(self.metadata.details.get("repairs") or {})

    def describe_repairs(self) -> str:
        """Return ``72.6 % of the sampled candles: volume below 0``; empty if none were repaired."""
        return describe_repairs(self.mended, self.repairs)

    def channel(self, column: str) -> FloatArray:
        """Return all paths of one channel, `[S, H]`.

        Raises:
            ParameterError: If ``column`` is not one of `COLUMNS`.
        """
        if column not in _CHANNEL:
            raise ParameterError(f"Unknown channel '{column}': choose from {', '.join(COLUMNS)}.")
        channel: FloatArray = self.paths[:, :, _CHANNEL[column]]
        return channel

    def returns(self, *, cumulative: bool = False) -> FloatArray:
        """Return the log returns of the close, per step or cumulative since the last known close, `[S, H]`."""
        logs = np.log(self.channel("close") / self.last_close)
        if cumulative:
            return logs
        steps: FloatArray = np.diff(logs, axis=1, prepend=0.0)
        return steps

    # Summaries ------------------------------------------------------------

    def mean(self) -> pd.DataFrame:
        """Return the mean over the paths per step and channel; its rows need not be valid candles, `[H, 6]`."""
        return self._frame(self.paths.mean(axis=0))

    def median(self) -> pd.DataFrame:
        """Return the median over the paths per step and channel; its rows need not be valid candles, `[H, 6]`."""
        return self._frame(np.median(self.paths, axis=0))

    def quantiles(self, levels: Sequence[float] = (0.05, 0.5, 0.95), column: str = "close") -> pd.DataFrame:
        """Return the quantiles of one channel per step, one column per level, `[H, levels]`.

        Type 6 of Hyndman & Fan 1996 (see `sample_quantiles`): a central band has its nominal coverage if the outcome
        is distributed like one more path.

        Raises:
            ParameterError: If a level is not strictly between 0 and 1, or the column is unknown.
        """
        checked = check_levels(levels)
        values = sample_quantiles(self.channel(column), checked)  # [levels, H]
        return pd.DataFrame(values.T, index=self.timestamps, columns=pd.Index(checked, name=column))

    def quantile_candles(self, level: float = 0.5) -> pd.DataFrame:
        """Return the quantile of each channel per step: valid candles that need not occur on any path, `[H, 6]`.

        Taking all channels at the same level preserves low ≤ open, close ≤ high.
        """
        return self._frame(sample_quantiles(self.paths, [level])[0])

    def sample(self, i: int) -> pd.DataFrame:
        """Return path ``i`` as candles, `[H, 6]`.

        Raises:
            ParameterError: If there is no such path.
        """
        if not -self.samples <= i < self.samples:
            raise ParameterError(f"There is no path {i}: choose from 0 to {self.samples - 1}.")
        return self._frame(self.paths[i])

    def representative(self) -> int:
        """Return the index of the medoid: the path with the smallest total distance to the others in log close.

        The most central path is calmer than most; use the bands for the range of outcomes.
        """
        return medoid(self.channel("close"))

    def range(self, level: float = 0.9) -> pd.DataFrame:
        """Return the central interval of the close per step, columns ``low`` and ``high``, `[H, 2]`.

        At each step a share ``level`` of the paths lies inside; fewer paths stay inside at every step.
        """
        low, high = band_levels(level)
        return self.quantiles([low, high]).set_axis(["low", "high"], axis=1)

    def path_range(self, level: float = 0.9) -> tuple[float, float]:
        """Return the price range that whole paths stay in, from quantiles of their lowest low and highest high.

        A share (1 - level) / 2 of the paths leaves it on each side, so at least a share ``level`` stays inside.
        """
        low, high = band_levels(level)
        lowest, highest = self.channel("low").min(axis=1), self.channel("high").max(axis=1)
        return float(sample_quantiles(lowest, [low])[0]), float(sample_quantiles(highest, [high])[0])

    # Probabilities and risk ------------------------------------------------------------

    def probability_above(self, price: float, step: int = -1) -> Probability:
        """Estimate the probability that the close at ``step`` is above ``price``.

        Raises:
            ParameterError: If the price is not positive or there is no such step.
        """
        return Probability.of(self._closes(step) > _check_price(price))

    def probability_below(self, price: float, step: int = -1) -> Probability:
        """Estimate the probability that the close at ``step`` is below ``price``.

        Raises:
            ParameterError: If the price is not positive or there is no such step.
        """
        return Probability.of(self._closes(step) < _check_price(price))

    def probability_between(self, lower: float, upper: float, step: int = -1) -> Probability:
        """Estimate the probability that the close at ``step`` is from ``lower`` to ``upper``, both inclusive.

        Raises:
            ParameterError: If a price is not positive, the range is empty, or there is no such step.
        """
        low, high = _check_price(lower), _check_price(upper)
        if low > high:
            raise ParameterError(f"Invalid range from {low:g} to {high:g}: give the lower price first.")
        closes = self._closes(step)
        return Probability.of((closes >= low) & (closes <= high))

    def probability_touch(self, price: float, step: int = -1) -> Probability:
        """Estimate the probability that the price reaches ``price`` at any step up to ``step``.

        A price above the last close is reached by a high at or above it, one below by a low at or below it; the last
        close itself by both a high at or above it and a low at or below it.

        Raises:
            ParameterError: If the price is not positive or there is no such step.
        """
        price, until = _check_price(price), self._position(step) + 1
        reaches_up = self.channel("high")[:, :until].max(axis=1) >= price
        reaches_down = self.channel("low")[:, :until].min(axis=1) <= price
        if price > self.last_close:
            return Probability.of(reaches_up)
        return Probability.of(reaches_down if price < self.last_close else reaches_up & reaches_down)

    def upside_probability(self, step: int = -1) -> Probability:
        """Estimate the probability that the close at ``step`` is above the last known close."""
        return self.probability_above(self.last_close, step)

    def volatility_amplification(self, window: int = 24) -> Probability:
        """Estimate the probability that volatility over the horizon exceeds that of the recent past.

        A path counts if the standard deviation (n - 1) of its log returns, starting from the last known close, exceeds
        that of the history's last ``window`` log returns.

        Raises:
            ParameterError: If ``window`` or the horizon is below 2.
            DataError: If the history has fewer than ``window`` returns.
        """
        if window < 2 or self.horizon < 2:
            raise ParameterError(
                f"Volatility needs a window and a horizon of at least 2 candles; got {window} and {self.horizon}."
            )
        if len(self.history) <= window:
            raise DataError(
                f"A volatility window of {window} needs {window + 1} candles of history; got {len(self.history)}."
            )
        closes = self.history.frame["close"].to_numpy()[-window - 1 :]
        recent = log_returns(closes).std(ddof=1)
        return Probability.of(self.returns().std(axis=1, ddof=1) > recent)

    def value_at_risk(self, level: float = 0.95, step: int = -1, kind: ReturnKind = "simple") -> float:
        """Return the loss from the last close to ``step`` that is not exceeded with probability ``level``.

        Minus the (1 - level) quantile of the return: 0.03 is a loss of 3 %; negative if that quantile is a gain.

        Args:
            level: Between 0 and 1, usually 0.95 or 0.99.
            step: Counted from 1; -1 is the last.
            kind: ``simple`` returns (close / last close - 1) or ``log`` returns.

        Raises:
            ParameterError: If an argument is out of range.
        """
        (level,) = check_levels([level])
        return float(-sample_quantiles(self._horizon_returns(step, kind), [round(1 - level, 12)])[0])

    def expected_shortfall(self, level: float = 0.95, step: int = -1, kind: ReturnKind = "simple") -> float:
        """Return the mean loss over the worst share 1 - level of the paths; never below the value at risk.

        For a finite sample as in Acerbi & Tasche 2002, "On the coherence of expected shortfall".

        Args:
            level: Between 0 and 1, usually 0.95 or 0.99.
            step: Counted from 1; -1 is the last.
            kind: ``simple`` returns (close / last close - 1) or ``log`` returns.

        Raises:
            ParameterError: If an argument is out of range.
        """
        (level,) = check_levels([level])
        return expected_shortfall(self._horizon_returns(step, kind), level)

    # Conversion ------------------------------------------------------------

    def to_frame(self, kind: FrameKind = "wide", level: Sequence[float] = LEVELS) -> pd.DataFrame:
        """Convert the forecast to a table.

        Args:
            kind: ``wide``: indexed by time, with the mean, median and ends of the 50, 80, 90 and 95 % bands of each
                channel, named ``close_mean``, ``close_median``, ``close_q05``, ``close_q025`` (the digits of the
                level after the point). ``long``: every candle of every path, with ``sample_id``, ``timestamps`` and
                the six columns. ``nixtla``: ``unique_id``, ``ds``, the median of the close under the model's name,
                and the ends of its bands as ``kronos-nano-lo-80`` and ``kronos-nano-hi-80``.
            level: Bands of a ``nixtla`` table, in percent.

        Raises:
            ParameterError: If an argument is invalid.
        """
        return to_frame(self, kind, level)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready summary: times, averages, bands of the close, probabilities and metadata."""
        from kronos.forecasts.io import to_dict

        return to_dict(self)

    def save(self, path: str | Path) -> Path:
        """Write paths, times, history and metadata to one ``.npz`` file atomically, and return its path.

        Raises:
            ParameterError: If the path does not end in ``.npz``.
            StorageError: If the file cannot be written.
        """
        from kronos.forecasts.io import save

        return save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Forecast:
        """Load a forecast written by `save`, bit for bit.

        Raises:
            DataError: If the file is missing, damaged, not a forecast, or of a newer format.
        """
        from kronos.forecasts.io import load

        return load(Path(path))

    def plot(
        self,
        *,
        path: str | Path | None = None,
        actual: pd.DataFrame | Candles | None = None,
        history_bars: int | None = None,
        theme: Literal["light", "dark"] = "light",
        palette: Literal["green-up", "red-up", "colour-blind"] = "green-up",
    ) -> Figure:
        """Plot the forecast with `kronos.plotting.plot_forecast`, and save the figure if ``path`` is given."""
        from kronos.plotting import plot_forecast  # plotting imports this package, so not at module level

        return plot_forecast(self, path=path, actual=actual, history_bars=history_bars, theme=theme, palette=palette)

    def __repr__(self) -> str:
        return (
            f"Forecast({self.symbol or 'series'} {self.interval}, {self.horizon} steps × {self.samples} "
            f"paths after {self.start}, {self.metadata.describe()})"
        )

    def _repr_html_(self) -> str:
        """Show the first and last steps, the probability of a rise and the notes in notebooks."""
        steps = list(range(self.horizon)) if self.horizon <= _STEPS + 1 else [*range(_STEPS - 1), self.horizon - 1]
        bands = pd.concat([self.median()["close"], self.range(0.8), self.range(0.95)], axis=1).iloc[steps]
        prices = format_column([self.last_close, *bands.to_numpy().ravel()])
        width = bands.shape[1]
        cells = [prices[1 + width * i : 1 + width * (i + 1)] for i in range(len(steps))]
        rows = [
            (str(step + 1), time, median, f"{low} – {high}", f"{lowest} – {highest}")
            for step, time, (median, low, high, lowest, highest) in zip(
                steps, format_times(list(self.timestamps[steps])), cells, strict=True
            )
        ]
        facts = [
            ("last close", f"{prices[0]} at {format_times([self.start])[0]}"),
            ("timezone", self.history.timezone or "none"),
            ("model", self.metadata.describe()),
            ("paths", f"{self.samples:,}"),
            ("probability up", str(self.upside_probability())),
            ("value at risk 95 %", percent(self.value_at_risk())),
            ("repaired", self.describe_repairs() or "none of the sampled candles"),
        ]
        name = self.metadata.details.get("series") or self.symbol or "one instrument"
        return html_summary(
            f"Forecast of {name}: {plural(self.horizon, 'candle')} of {self.interval}",
            facts,
            SummaryTable(
                ("step", "time", "median close", "80 % band", "95 % band"),
                rows,
                gap=None if len(steps) == self.horizon else len(steps) - 1,
            ),
            self.notes,
            simulated=self.simulated,
        )

    # Helpers ------------------------------------------------------------

    def _frame(self, values: FloatArray) -> pd.DataFrame:
        return pd.DataFrame(values, index=self.timestamps, columns=list(COLUMNS))

    def _position(self, step: int) -> int:
        """Row of a step: steps are counted from 1, or from the end if they are negative."""
        if isinstance(step, bool) or not isinstance(step, int | np.integer) or not 1 <= abs(step) <= self.horizon:
            raise ParameterError(
                f"There is no step {step}: choose 1 (the first) to {self.horizon}, or -1 (the last) to {-self.horizon}."
            )
        return int(step) - 1 if step > 0 else self.horizon + int(step)

    def _closes(self, step: int) -> FloatArray:
        closes: FloatArray = self.channel("close")[:, self._position(step)]
        return closes

    def _horizon_returns(self, step: int, kind: ReturnKind) -> FloatArray:
        ratio = self._closes(step) / self.last_close
        if kind not in ("simple", "log"):
            raise ParameterError(f"Invalid kind '{kind}' of return: choose 'simple' or 'log'.")
        return ratio - 1 if kind == "simple" else np.log(ratio)


def _check_price(price: float) -> float:
    if not (np.isfinite(price) and price > 0):
        raise ParameterError(f"Invalid price {price}: pass a positive, finite number.")
    return float(price)

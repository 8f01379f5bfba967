"""The forecast itself: all sampled paths, the history they continue, and how they were made.

- Immutable: arrays are read-only copies, and corrections (calibration) give a new forecast.
- Averages are not candles: `mean`, `median` and `quantiles` are per channel; `sample` and `representative`
  give candles that belong together.
- A step is a position in the horizon as Python counts them: 0 is the first future candle, -1 the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS, Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts.metadata import ForecastMetadata
from kronos.forecasts.repair import valid_candles
from kronos.forecasts.statistics import (
    BANDS,
    Probability,
    band_levels,
    check_levels,
    expected_loss_beyond,
    medoid,
    sample_quantiles,
)
from kronos.intervals import Interval
from kronos.typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure
ReturnKind = Literal["simple", "log"]

_CHANNEL = {name: i for i, name in enumerate(COLUMNS)}
_FEW_PATHS = 20  # below it a picture shows the paths themselves and no bands
_ENOUGH_PATHS = 39  # for the widest band shown, 95 %; see `sample_quantiles`


@dataclass(frozen=True, eq=False, repr=False)
class Forecast:
    """Sampled futures of one series.

    Attributes:
        paths: `[S, H, 6]` float64, read-only: valid candles in price units, in the order of `COLUMNS`.
        timestamps: `[H]` times of the future candles, timezone-aware as the history's are.
        history: The candles the forecast continues; its last one is the origin.
        metadata: How it was made: model, weights, sampling, data, versions.
        mended: Share (0 to 1) of the sampled candles that were no valid candles before `mend`.

    Raises:
        ParameterError: If the shapes disagree, or the paths hold candles that `mend` would change.
    """

    paths: FloatArray
    timestamps: pd.DatetimeIndex
    history: Candles
    metadata: ForecastMetadata
    mended: float = 0.0

    def __post_init__(self) -> None:
        paths = np.array(self.paths, dtype=np.float64)
        if paths.ndim != 3 or paths.shape[2] != len(COLUMNS) or paths.size == 0:
            raise ParameterError(f"Sample paths need the shape [samples, steps, {len(COLUMNS)}], not {paths.shape}.")
        times = pd.DatetimeIndex(self.timestamps, name="timestamps")
        if len(times) != paths.shape[1]:
            raise ParameterError(f"{paths.shape[1]} steps need as many timestamps, not {len(times)}.")
        if len(self.history) == 0:
            raise DataError("A forecast needs a history of at least one candle.")
        if (times.tz is None) != (self.history.timezone is None):
            raise ParameterError("The timestamps need a timezone just if the history has one.")
        if not valid_candles(paths).all():
            raise ParameterError(
                "The paths hold invalid candles; pass them through kronos.forecasts.repair_candles first."
            )
        paths.setflags(write=False)
        object.__setattr__(self, "timestamps", times)
        object.__setattr__(self, "paths", paths)

    # What it is ------------------------------------------------------------

    @property
    def symbol(self) -> str | None:
        """The instrument's name, if it is known."""
        return self.history.symbol

    @property
    def interval(self) -> Interval:
        """Length of a candle."""
        return self.history.interval

    @property
    def samples(self) -> int:
        """How many paths, S."""
        return int(self.paths.shape[0])

    @property
    def horizon(self) -> int:
        """How many future candles, H."""
        return int(self.paths.shape[1])

    @property
    def last_close(self) -> float:
        """The last known close, from which returns count."""
        return float(self.history.frame["close"].iloc[-1])

    @property
    def start(self) -> pd.Timestamp:
        """Time of the last known candle: everything after it is forecast."""
        return self.history.end

    @property
    def simulated(self) -> bool:
        """Whether the history or the paths are simulated; every output that shows them says so."""
        return self.metadata.simulated or self.history.simulated

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences a reader must know: those of its making, and what few paths cannot tell."""
        if self.samples >= _ENOUGH_PATHS:
            return self.metadata.notes
        count = "1 path" if self.samples == 1 else f"{self.samples} paths"
        if self.samples < _FEW_PATHS:
            return (*self.metadata.notes, f"Only {count}: quantiles and probabilities are rough.")
        covered = 100 * (self.samples - 1) / (self.samples + 1)
        return (
            *self.metadata.notes,
            f"Only {count}: the 95 % band is their whole range, which covers {covered:.0f} %.",
        )

    def channel(self, column: str) -> FloatArray:
        """All paths of one channel, `[S, H]`.

        Raises:
            ParameterError: If ``column`` is none of `COLUMNS`.
        """
        if column not in _CHANNEL:
            raise ParameterError(f"'{column}' is no channel; choose one of {', '.join(COLUMNS)}.")
        channel: FloatArray = self.paths[:, :, _CHANNEL[column]]
        return channel

    def returns(self, *, cumulative: bool = False) -> FloatArray:
        """Log returns of the close `[S, H]`: step by step from the last known close on, or since it."""
        logs = np.log(self.channel("close") / self.last_close)
        if cumulative:
            return logs
        steps: FloatArray = np.diff(logs, axis=1, prepend=0.0)
        return steps

    # Summaries ------------------------------------------------------------

    def mean(self) -> pd.DataFrame:
        """Mean over the paths, per step and channel `[H × 6]`; averages, which together are no candles."""
        return self._frame(self.paths.mean(axis=0))

    def median(self) -> pd.DataFrame:
        """Median over the paths, per step and channel `[H × 6]`; together they are no candles."""
        return self._frame(np.median(self.paths, axis=0))

    def quantiles(self, levels: Sequence[float] = (0.05, 0.5, 0.95), column: str = "close") -> pd.DataFrame:
        """Quantiles of one channel by step `[H × levels]`, one column a level.

        Type 6 of Hyndman & Fan 1996 (see `sample_quantiles`), so that a band covers what it says if the truth
        is one more path.

        Raises:
            ParameterError: If a level is not strictly between 0 and 1, or the column is unknown.
        """
        checked = check_levels(levels)
        values = sample_quantiles(self.channel(column), checked)  # [levels, H]
        return pd.DataFrame(values.T, index=self.timestamps, columns=pd.Index(checked, name=column))

    def quantile_candles(self, level: float = 0.5) -> pd.DataFrame:
        """Quantile of each channel by step `[H × 6]`: a quantile candle, which no path need have.

        Open, high, low and close are quantiles at one level, each of its own channel, and therefore keep
        low ≤ open, close ≤ high.
        """
        return self._frame(sample_quantiles(self.paths, [level])[0])

    def sample(self, i: int) -> pd.DataFrame:
        """Path ``i`` as candles `[H × 6]`.

        Raises:
            ParameterError: If there is no such path.
        """
        if not -self.samples <= i < self.samples:
            raise ParameterError(f"There is no path {i}; the forecast has paths 0 to {self.samples - 1}.")
        return self._frame(self.paths[i])

    def representative(self) -> int:
        """Index of the medoid: the real path with the least total distance to the others in log close.

        It is the most central path, and therefore calmer than most: bands show how far prices may go, it does
        not.
        """
        return medoid(self.channel("close"))

    def range(self, level: float = 0.9) -> pd.DataFrame:
        """Central interval of the close by step, columns ``low`` and ``high`` `[H × 2]`.

        Each step's close lies inside on a share ``level`` of the paths; a whole path does so more rarely.
        """
        low, high = band_levels(level)
        return self.quantiles([low, high]).set_axis(["low", "high"], axis=1)

    def path_range(self, level: float = 0.9) -> tuple[float, float]:
        """Prices between which a whole path stays, from quantiles of its lowest low and its highest high.

        Each side is left by a share (1 - level) / 2 of the paths, so a share of at least ``level`` stays
        inside.
        """
        low, high = band_levels(level)
        lowest, highest = self.channel("low").min(axis=1), self.channel("high").max(axis=1)
        return float(sample_quantiles(lowest, [low])[0]), float(sample_quantiles(highest, [high])[0])

    # Probabilities and risk ------------------------------------------------------------

    def probability_above(self, price: float, step: int = -1) -> Probability:
        """Share of paths whose close at ``step`` is above ``price``; smoothed as `Probability` states.

        Raises:
            ParameterError: If the price is not positive or there is no such step.
        """
        return Probability.of(self._closes(step) > _price(price))

    def probability_below(self, price: float, step: int = -1) -> Probability:
        """Share of paths whose close at ``step`` is below ``price``; smoothed as `Probability` states.

        Raises:
            ParameterError: If the price is not positive or there is no such step.
        """
        return Probability.of(self._closes(step) < _price(price))

    def probability_touch(self, price: float, step: int = -1) -> Probability:
        """Share of paths that reach ``price`` at any time up to ``step``.

        A path reaches a price above the last close with a high at or above it, one below with a low at or
        below it; the last close itself it must cross or meet again. Smoothed as `Probability` states.

        Raises:
            ParameterError: If the price is not positive or there is no such step.
        """
        price, until = _price(price), self._position(step) + 1
        reaches_up = self.channel("high")[:, :until].max(axis=1) >= price
        reaches_down = self.channel("low")[:, :until].min(axis=1) <= price
        if price > self.last_close:
            return Probability.of(reaches_up)
        return Probability.of(reaches_down if price < self.last_close else reaches_up & reaches_down)

    def upside_probability(self, step: int = -1) -> Probability:
        """Share of paths whose close at ``step`` is above the last known close."""
        return self.probability_above(self.last_close, step)

    def volatility_amplification(self, window: int = 24) -> Probability:
        """Share of paths that are more volatile than the recent past.

        A path counts when the standard deviation (n - 1) of its log returns over the horizon, the first from
        the last known close, exceeds that of the history's last ``window`` log returns of the close.

        Raises:
            ParameterError: If ``window`` or the horizon is below 2.
            DataError: If the history has fewer than ``window`` returns.
        """
        if window < 2 or self.horizon < 2:
            raise ParameterError("Volatility needs a window and a horizon of at least 2 candles.")
        if len(self.history) <= window:
            raise DataError(
                f"A volatility window of {window} needs {window + 1} candles; there are {len(self.history)}."
            )
        closes = self.history.frame["close"].to_numpy()[-window - 1 :]
        recent = np.diff(np.log(closes)).std(ddof=1)
        return Probability.of(self.returns().std(axis=1, ddof=1) > recent)

    def value_at_risk(self, level: float = 0.95, step: int = -1, kind: ReturnKind = "simple") -> float:
        """Loss from the last close to ``step`` that is not exceeded with probability ``level``.

        Minus the (1 - level) quantile of the return: 0.03 is a loss of 3 %; negative if even that quantile
        gains.

        Args:
            level: Between 0 and 1, usually 0.95 or 0.99.
            step: Position in the horizon.
            kind: ``simple`` returns (close / last close - 1) or ``log`` returns.

        Raises:
            ParameterError: If an argument is out of its range.
        """
        (level,) = check_levels([level])
        return float(-sample_quantiles(self._horizon_returns(step, kind), [round(1 - level, 12)])[0])

    def expected_shortfall(self, level: float = 0.95, step: int = -1, kind: ReturnKind = "simple") -> float:
        """Mean loss over the worst share 1 - level of the paths; never less than the value at risk.

        For a finite sample as in Acerbi & Tasche 2002, "On the coherence of expected shortfall".

        Args:
            level: Between 0 and 1, usually 0.95 or 0.99.
            step: Position in the horizon.
            kind: ``simple`` returns (close / last close - 1) or ``log`` returns.

        Raises:
            ParameterError: If an argument is out of its range.
        """
        (level,) = check_levels([level])
        return expected_loss_beyond(self._horizon_returns(step, kind), level)

    # Out and in ------------------------------------------------------------

    def to_frame(self, kind: Literal["wide", "long"] = "wide") -> pd.DataFrame:
        """The forecast as a table.

        ``wide``: indexed by time, per channel its mean, median and the ends of the 50, 80, 90 and 95 % bands,
        named ``close_mean``, ``close_median``, ``close_q05``, ``close_q025`` (the level's digits after the
        point). ``long``: every candle of every path, with ``sample_id``, ``timestamps`` and the six columns.

        Raises:
            ParameterError: If ``kind`` is neither.
        """
        if kind == "long":
            return self._long()
        if kind != "wide":
            raise ParameterError(f"A forecast's table is 'wide' or 'long', not '{kind}'.")
        levels = sorted(end for band in (*BANDS, 0.9) for end in band_levels(band))
        values = sample_quantiles(self.paths, levels)  # [levels, H, 6]
        mean, median = self.paths.mean(axis=0), np.median(self.paths, axis=0)
        columns: dict[str, FloatArray] = {}
        for name, c in _CHANNEL.items():
            columns |= {f"{name}_mean": mean[:, c], f"{name}_median": median[:, c]}
            columns |= {f"{name}_q{_digits(q)}": values[i, :, c] for i, q in enumerate(levels)}
        return pd.DataFrame(columns, index=self.timestamps)

    def to_dict(self) -> dict[str, Any]:
        """A summary ready for JSON: times, averages, bands of the close, probabilities, how it was made."""
        from kronos.forecasts.io import to_dict

        return to_dict(self)

    def save(self, path: str | Path) -> Path:
        """Write paths, times, history and making to one ``.npz`` file, all or nothing; returns its path."""
        from kronos.forecasts.io import save

        return save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Forecast:
        """Read what `save` wrote, every number and time as it was.

        Raises:
            DataError: If the file is missing, no forecast, damaged, or of a newer format.
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
        """Draw it as `kronos.plotting.plot_forecast` does, and save the picture if ``path`` is given."""
        # By name, because plotting stands above this room and imports it; a shortcut for the user only.
        figure: Figure = import_module("kronos.plotting").plot_forecast(
            self, path=path, actual=actual, history_bars=history_bars, theme=theme, palette=palette
        )
        return figure

    def __repr__(self) -> str:
        return (
            f"Forecast({self.symbol or 'series'} {self.interval}, {self.horizon} steps × {self.samples} "
            f"paths after {self.start}, {self.metadata.describe()})"
        )

    # Helpers ------------------------------------------------------------

    def _frame(self, values: FloatArray) -> pd.DataFrame:
        return pd.DataFrame(values, index=self.timestamps, columns=list(COLUMNS))

    def _long(self) -> pd.DataFrame:
        frame = pd.DataFrame(self.paths.reshape(-1, len(COLUMNS)), columns=list(COLUMNS))
        frame.insert(0, "sample_id", np.repeat(np.arange(self.samples), self.horizon))
        frame.insert(1, "timestamps", self.timestamps.take(np.tile(np.arange(self.horizon), self.samples)))
        return frame

    def _position(self, step: int) -> int:
        if not -self.horizon <= step < self.horizon:
            raise ParameterError(f"There is no step {step}; the forecast has steps 0 to {self.horizon - 1}.")
        return step % self.horizon

    def _closes(self, step: int) -> FloatArray:
        closes: FloatArray = self.channel("close")[:, self._position(step)]
        return closes

    def _horizon_returns(self, step: int, kind: ReturnKind) -> FloatArray:
        ratio = self._closes(step) / self.last_close
        if kind not in ("simple", "log"):
            raise ParameterError(f"Returns are 'simple' or 'log', not '{kind}'.")
        return ratio - 1 if kind == "simple" else np.log(ratio)


def _price(price: float) -> float:
    """The price, checked: positive and finite."""
    if not (np.isfinite(price) and price > 0):
        raise ParameterError(f"A price level is positive and finite, not {price}.")
    return float(price)


def _digits(level: float) -> str:
    """A level's digits after the point, at least two: 0.025 is 025, 0.5 is 50."""
    return f"{level:.12f}".split(".")[1].rstrip("0").ljust(2, "0")

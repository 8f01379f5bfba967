"""Signals: one number per instrument and day from a forecast made at the day's close, and the plan of the forecasts.

The signal of day t uses candles up to and including t only. The published four compare the mean path of the close with
the last close, in units of the standard deviation of the close over the lookback (``finetune/qlib_test.py`` of the
published code subtracts *normalised* closes, so a high-priced instrument has no larger signals). With C̄[h] the mean
over the paths of the close at step h, c the last close and s the standard deviation:

- ``last`` = (C̄[H] − c) / s, ``mean`` = (mean over h of C̄[h] − c) / s, ``max`` and ``min`` likewise.

The others compare instruments by return. With R the log returns of the paths over the whole horizon:

- ``return`` = median of R; ``risk_adjusted`` = median of R / standard deviation of R;
- ``probability`` = share of paths with R > 0, minus ½: above 0 if most paths rise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.backtest.universe import Universe
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.evaluation.dates import cutoffs
from kronos.evaluation.origins import Instrument, Plan, RollingOrigins, to_naive_utc
from kronos.formatting import join_names, plural
from kronos.provenance import frame_digest
from kronos.typing import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor, SamplingParams

SIGNALS: dict[str, str] = {
    "last": "mean path's last close minus the last known close, in standard deviations of the lookback (published)",
    "mean": "mean of the mean path's closes minus the last known close, in the same unit (published)",
    "max": "highest close of the mean path minus the last known close, in the same unit (published)",
    "min": "lowest close of the mean path minus the last known close, in the same unit (published)",
    "return": "median log return over the horizon",
    "risk_adjusted": "median log return over the horizon divided by its standard deviation over the paths",
    "probability": "share of paths that end above the last known close, minus one half",
}
PUBLISHED_SIGNALS = ("last", "mean", "max", "min")
SeenDays = Literal["refuse", "mark"]

_EPSILON = 1e-5  # the published code adds it to the standard deviation
_LEAST_SPREAD = 1e-4  # of log returns: paths that agree to a basis point have no infinite ratio
_HISTORY = 512  # latest candles that the calendar of the next ones is detected from


@dataclass(frozen=True, slots=True)
class SignalSettings:
    """How the forecasts behind signals are made; the defaults are the published ones.

    Attributes:
        lookback: Candles of history per forecast, and of the standard deviation that is the unit of signals.
        horizon: Candles to forecast.
        samples: Number of sample paths.
        temperature: Sampling temperature.
        top_p: Total probability of the tokens to sample from.
        top_k: Number of tokens to sample from; 0 for all.
        seed: Random seed; random numbers are keyed by it, the instrument and the day.
        calibrated: Whether to apply the calibration that ships with the model.

    Raises:
        ParameterError: If a value is out of range.
    """

    lookback: int = 90
    horizon: int = 10
    samples: int = 5
    temperature: float = 0.6
    top_p: float = 0.9
    top_k: int = 0
    seed: int = 1
    calibrated: bool = False

    def __post_init__(self) -> None:
        if self.lookback < 2:
            raise ParameterError(f"Invalid lookback {self.lookback}: choose at least 2 candles.")
        if self.horizon < 1:
            raise ParameterError(f"Invalid horizon {self.horizon}: choose at least 1 candle.")
        if self.samples < 1:
            raise ParameterError(f"Invalid number of samples {self.samples}: choose at least 1.")

    def sampling(self) -> SamplingParams:
        """The sampling parameters; invalid ones raise a `ParameterError`."""
        from kronos.inference import SamplingParams

        return SamplingParams(self.temperature, self.top_k, self.top_p, self.samples, self.seed)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SignalPlan:
    """The days and instruments to forecast, in the order of days, before any forecast.

    Attributes:
        instruments: The series.
        settings: How they are forecast.
        series: Position in ``instruments`` of each origin's instrument. [N]
        known: Number of candles known at each origin. [N]
        seen: Whether the model may have been trained on the first candle that is forecast. [N]
        new_from: First date whose candles are new to the model, by instrument; None if its training dates are unknown.
    """

    instruments: tuple[Instrument, ...]
    settings: SignalSettings
    series: IntArray = field(repr=False)
    known: IntArray = field(repr=False)
    seen: BoolArray = field(repr=False)
    new_from: Mapping[str, str] | None = None

    def __len__(self) -> int:
        return len(self.series)

    def time(self, origin: int) -> pd.Timestamp:
        """Time of the last candle known at an origin."""
        return self._instrument(origin).candles.index[int(self.known[origin]) - 1]

    def name(self, origin: int) -> str:
        """Unique name of an origin, which keys random numbers."""
        return f"{self._instrument(origin).name}@{self.time(origin).isoformat()}"

    def market(self, origin: int) -> str:
        """Market of an origin's instrument."""
        return self._instrument(origin).market

    def history(self, origin: int) -> Candles:
        """The latest candles known at an origin, and none after it."""
        known, candles = int(self.known[origin]), self._instrument(origin).candles
        first = max(0, known - max(_HISTORY, self.settings.lookback))
        return replace(candles, frame=candles.frame.iloc[first:known])

    def table(self) -> pd.DataFrame:
        """One row per origin: date, instrument, market, last_close, spread, seen.

        ``spread`` is the standard deviation of the close over the lookback plus 1e-5: the published unit of signals.
        """
        lookback = self.settings.lookback
        parts = []
        for position, instrument in enumerate(self.instruments):
            own = np.flatnonzero(self.series == position)
            known = self.known[own]
            close = instrument.candles.frame["close"].to_numpy()
            windows = np.lib.stride_tricks.sliding_window_view(close, lookback)[known - lookback]
            columns = {
                "date": instrument.candles.index[known - 1],
                "instrument": instrument.name,
                "market": instrument.market,
                "last_close": close[known - 1],
                "spread": windows.std(axis=1) + _EPSILON,
                "seen": self.seen[own],
            }
            parts.append(pd.DataFrame(columns).set_axis(own, axis=0))
        return pd.concat([part for part in parts if len(part)]).sort_index()

    def data_digest(self) -> str:
        """Hash of the candles of all instruments."""
        digest = hashlib.sha256()
        for instrument in self.instruments:
            frame = frame_digest(instrument.candles.frame)
            digest.update(f"{instrument.name}|{instrument.group}|{frame}\n".encode())
        return digest.hexdigest()

    def digest(self) -> str:
        """Hash of candles, settings and origins: equal digests mean that the same forecasts are needed."""
        digest = hashlib.sha256(json.dumps(self.settings.to_dict(), sort_keys=True).encode())
        digest.update(self.data_digest().encode() + self.series.tobytes() + self.known.tobytes())
        return digest.hexdigest()

    def _instrument(self, origin: int) -> Instrument:
        return self.instruments[int(self.series[origin])]


def plan_signals(
    instruments: Sequence[Instrument],
    predictor: KronosPredictor,
    settings: SignalSettings = SignalSettings(),
    *,
    start: str | pd.Timestamp | None = None,
    end: str | pd.Timestamp | None = None,
    universe: Universe | None = None,
    seen: SeenDays = "refuse",
    whole_horizon: bool = False,
) -> SignalPlan:
    """Select the days and instruments to forecast.

    A day counts as seen by the model if the first candle after it is dated before the model's ``trained_until`` of the
    market; of the last candle of a series, its own date counts.

    Args:
        instruments: The series, of one interval.
        predictor: The model.
        settings: How the signals are made.
        start: First day; None for the first that is new to the model, by instrument.
        end: Last day, inclusive; None for the last one.
        universe: Membership of an index by date; a day on which an instrument is no member gets no signal.
        seen: Whether days that the model may have seen in training are refused or marked.
        whole_horizon: Whether a day needs a horizon of candles after it, as in the published code: the last days of the
            data then have no signal.

    Raises:
        ParameterError: If days were seen in training and ``seen`` is ``refuse``, or an argument is invalid.
        DataError: If no day is left.
    """
    if not instruments:
        raise ParameterError("There is no instrument to forecast: give at least one.")
    names = [instrument.name for instrument in instruments]
    if len(set(names)) < len(names):
        raise ParameterError(f"Two instruments are named '{_repeated(names)}': give them different names.")
    if seen not in ("refuse", "mark"):
        raise ParameterError(f"Invalid seen '{seen}': choose 'refuse' or 'mark'.")
    if universe is not None and not set(names) & set(universe.instruments):
        raise DataError(
            f"None of {join_names(names)} belongs to {universe.name}, which has {join_names(universe.instruments)}: "
            f"write their names alike."
        )
    settings.sampling()
    new_from = new_days(instruments, predictor)
    least = max(settings.lookback, predictor.least_history)
    series, known, marked, times = [], [], [], []
    for position, instrument in enumerate(instruments):
        last = len(instrument.candles) - (settings.horizon if whole_horizon else 0)
        counts = np.arange(least, last + 1, dtype=np.int64)
        first = _first_forecast(instrument, counts)
        new = np.ones(len(counts), dtype=np.bool_)
        if new_from is not None and instrument.name in new_from:
            new = np.asarray(first >= pd.Timestamp(new_from[instrument.name]), dtype=np.bool_)
        kept = _between(instrument, counts, start, end)
        if start is None:
            kept &= new
        if universe is not None and len(counts):
            kept &= universe.members(instrument.candles.index[counts - 1], [instrument.name])[:, 0]
        series.append(np.full(int(kept.sum()), position, dtype=np.int64))
        known.append(counts[kept])
        marked.append(~new[kept])
        times.append(instrument.candles.index[counts[kept] - 1].as_unit("ns").asi8)
    # By day: the instruments of a day have the same trading days before and after it.
    order = np.argsort(np.concatenate(times), kind="stable")
    plan = SignalPlan(
        instruments=tuple(instruments),
        settings=settings,
        series=np.concatenate(series)[order],
        known=np.concatenate(known)[order],
        seen=np.concatenate(marked)[order],
        new_from=new_from,
    )
    if not len(plan):
        raise DataError(
            f"No day is left to forecast: {plural(len(names), 'instrument')} with {least} candles before a day"
            f"{_span(start, end, new_from)}. Choose other dates, a shorter lookback or longer histories."
        )
    if seen == "refuse" and plan.seen.any():
        raise _seen_days(plan)
    return plan


def new_days(instruments: Sequence[Instrument], predictor: KronosPredictor) -> dict[str, str] | None:
    """The first date whose candles are new to a model, by instrument; see `kronos.zoo.trained_until`.

    Returns:
        Dates by instrument, empty if the model has seen no candles; None if its training dates are unknown.
    """
    nothing = np.empty(0, dtype=np.int64)
    found = cutoffs(predictor, Plan(RollingOrigins(), tuple(instruments), nothing, nothing))
    if found is None:
        return None
    return {one.name: str(found[one.group]) for one in instruments if one.group in found}


def signal_values(returns: npt.NDArray[Any], last_close: FloatArray, spread: FloatArray) -> dict[str, FloatArray]:
    """Compute all signals of `SIGNALS`.

    Args:
        returns: Cumulative log returns of the close since the last known one; NaN where there is no forecast. [N, S, H]
        last_close: The last known close. [N]
        spread: Standard deviation of the close over the lookback: the unit of the published signals. [N]

    Returns:
        Signals by name; NaN where there is no forecast. [N] each
    """
    path = last_close[:, None] * np.exp(returns.astype(np.float64)).mean(axis=1)  # the mean path [N, H]
    final = returns[:, :, -1].astype(np.float64)
    published = {"last": path[:, -1], "mean": path.mean(axis=1), "max": path.max(axis=1), "min": path.min(axis=1)}
    median = np.median(final, axis=1)
    risk = final.std(axis=1, ddof=1) if final.shape[1] > 1 else np.zeros(len(final))
    values = {name: (price - last_close) / spread for name, price in published.items()}
    values["return"] = median
    values["risk_adjusted"] = median / np.maximum(risk, _LEAST_SPREAD)
    values["probability"] = np.where(np.isnan(median), np.nan, (final > 0).mean(axis=1) - 0.5)
    return values


def _first_forecast(instrument: Instrument, counts: IntArray) -> pd.DatetimeIndex:
    """The naive UTC time of the first candle after each origin; of the last origin its own."""
    index = instrument.candles.index
    times = index[np.minimum(counts, len(index) - 1)]
    return times if times.tz is None else times.tz_convert("UTC").tz_localize(None)


def _between(
    instrument: Instrument, counts: IntArray, start: str | pd.Timestamp | None, end: str | pd.Timestamp | None
) -> BoolArray:
    """Which origins lie between two dates, both inclusive."""
    rows = instrument.candles.index.slice_indexer(start, end)
    return np.asarray((counts - 1 >= rows.start) & (counts - 1 < rows.stop), dtype=np.bool_)


def _seen_days(plan: SignalPlan) -> ParameterError:
    origins = np.flatnonzero(plan.seen)
    names = sorted({plan.instruments[int(plan.series[origin])].name for origin in origins})
    first = min(to_naive_utc(plan.time(int(origin))) for origin in origins)
    assert plan.new_from is not None
    return ParameterError(
        f"The model may have been trained on {plural(len(origins), 'day')} from {first:%Y-%m-%d} of {join_names(names)}"
        f" (new to it from {max(plan.new_from[name] for name in names)[:10]}): its forecasts look better there than on "
        f"new days. Choose a later start, or mark such days with --seen mark (seen='mark' in Python)."
    )


def _span(start: object, end: object, new_from: Mapping[str, str] | None) -> str:
    given = "".join(f" {word} {time}" for word, time in (("from", start), ("to", end)) if time is not None)
    if start is None and new_from:
        given += f", new to the model from {max(new_from.values())[:10]}"
    return given


def _repeated(names: Sequence[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


__all__ = [
    "PUBLISHED_SIGNALS",
    "SIGNALS",
    "SeenDays",
    "SignalPlan",
    "SignalSettings",
    "new_days",
    "plan_signals",
    "signal_values",
]

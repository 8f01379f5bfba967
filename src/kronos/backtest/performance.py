"""Performance of a backtest: returns, risk, costs and how much of them may be luck.

Returns are annualised in two ways, which differ by about half the variance: the arithmetic mean times the periods a
year, and the growth of wealth to the power of periods a year over periods. How many periods a year has is stated with
every figure (`Annualization`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd

from kronos.backtest.results import BacktestResult
from kronos.backtest.sharpe import (
    deflated_sharpe_ratio_of,
    expected_max_sharpe,
    minimum_track_record,
    probabilistic_sharpe_ratio_of,
    sharpe_moments,
    sharpe_ratio,
    trial_deviation,
)
from kronos.errors import DataError, ParameterError
from kronos.metrics import Estimate, bootstrap_mean
from kronos.metrics.bootstrap import REPETITIONS
from kronos.typing import FloatArray

PeriodUnit = Literal["days", "trading days", "weeks", "months", "bars", "configured"]

_WEEKEND_SHARE = 0.2  # of dates on weekends, from which a market trades every day
_WEEK, _MONTH, _YEAR = (5, 8), (26, 32), 365.25  # days between dates that are weekly or monthly, and of a year


@dataclass(frozen=True, slots=True)
class Annualization:
    """Number of periods a year, and where it comes from.

    Attributes:
        periods: Periods a year.
        unit: What the dates are, or ``configured`` for a number that somebody chose.
        bars_a_day: Bars a day of trading.
        observed: Periods a year that the dates have themselves, since exchanges differ: about 252 in the US, 243 in
            China; NaN for less than three months.
    """

    periods: float
    unit: PeriodUnit
    bars_a_day: int = 1
    observed: float = math.nan

    def __post_init__(self) -> None:
        if not (self.periods > 0 and math.isfinite(self.periods)):
            raise ParameterError(f"Invalid annualisation {self.periods}: choose periods a year, such as 252.")

    @classmethod
    def infer(cls, dates: pd.DatetimeIndex) -> Annualization:
        """The convention that fits the dates: 365 days with weekends, 252 without, 52 weeks or 12 months.

        Several bars a day multiply the days; bars of several days divide the year.
        """
        days = dates.normalize().unique()
        years = (dates[-1] - dates[0]) / pd.Timedelta(days=_YEAR)
        observed = (len(dates) - 1) / years if years > 0.25 else math.nan
        gap = days.to_series().diff().median() / pd.Timedelta(days=1)  # NaN for a single day
        if _MONTH[0] <= gap <= _MONTH[1]:
            return cls(12, "months", observed=observed)
        if _WEEK[0] <= gap <= _WEEK[1]:
            return cls(52, "weeks", observed=observed)
        if gap >= 2:  # such as bars of three days, or quarters
            return cls(round(_YEAR / gap, 2), "bars", observed=observed)
        daily = float((days.day_of_week >= 5).mean()) > _WEEKEND_SHARE
        bars = int(np.median(np.unique(dates.normalize().asi8, return_counts=True)[1]))
        return cls(bars * (365 if daily else 252), "days" if daily else "trading days", bars, observed)

    @property
    def basis(self) -> str:
        """The number in words."""
        if self.unit == "configured":
            return f"{self.periods:g} periods a year, as configured"
        seen = "" if math.isnan(self.observed) else f" (these dates have {self.observed:.0f})"
        if self.bars_a_day == 1:
            return f"{self.periods:g} {self.unit} a year{seen}"
        days = self.periods / self.bars_a_day
        return f"{self.periods:g} bars a year{seen}, {self.bars_a_day} on each of {days:g} {self.unit}"


@dataclass(frozen=True, slots=True)
class PerformanceSettings:
    """How performance is measured.

    Attributes:
        periods_a_year: Periods a year; None infers them from the dates.
        risk_free: Risk-free rate a year, which Sharpe ratios are in excess of.
        trials: Number of variants that were tried, this one included.
        trial_ratios: Annual Sharpe ratios of the trials, as far as they are known. Where their spread is larger than
            that of trials without skill, it replaces it in the deflated Sharpe ratio. A smaller one does not: variants
            that resemble each other would hide how many there were.
        confidence: Confidence level of intervals.
        repetitions: Bootstrap repetitions.
        seed: Random seed.
    """

    periods_a_year: float | None = None
    risk_free: float = 0.0
    trials: int = 1
    trial_ratios: tuple[float, ...] = ()
    confidence: float = 0.95
    repetitions: int = REPETITIONS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trials < max(1, len(self.trial_ratios)):
            raise ParameterError(
                f"Invalid trials {self.trials}: count at least 1, and all {len(self.trial_ratios)} with a known ratio."
            )


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The largest fall of wealth from a peak.

    Attributes:
        depth: Fall as a share of the peak, 0 or more.
        peak: Day of the peak; the first day if wealth fell from the start.
        trough: Day of the lowest wealth.
        recovery: Day on which the peak was reached again; None if it was not.
        days: Trading days from peak to recovery, or to the end.
    """

    depth: float
    peak: pd.Timestamp
    trough: pd.Timestamp
    recovery: pd.Timestamp | None
    days: int


@dataclass(frozen=True, slots=True)
class CostFigures:
    """Costs taken apart.

    Attributes:
        fees: Fees in the currency of the account.
        slippage: Slippage in the currency of the account.
        fees_a_year: Fees a year as a share of the net asset value.
        slippage_a_year: Slippage a year as a share of the net asset value.
        turnover_a_year: Purchases and sales a year as a multiple of the net asset value.
        break_even: Costs per traded value at which nothing of the (excess) return before costs is left; NaN without
            trades, negative if there is a loss before costs.
    """

    fees: float
    slippage: float
    fees_a_year: float
    slippage_a_year: float
    turnover_a_year: float
    break_even: float


@dataclass(frozen=True, slots=True)
class YearFigures:
    """One calendar year, which may be partial.

    Attributes:
        year: The year.
        days: Periods in it.
        total_return: Growth of wealth in it; not annualised.
        benchmark_return: That of the benchmark; NaN without one.
        sharpe: Annualised Sharpe ratio.
        max_drawdown: Largest fall from a peak within the year, as a share of the peak.
        turnover: Purchases and sales as a multiple of the net asset value.
        costs: Fees and slippage as a share of the net asset value.
    """

    year: int
    days: int
    total_return: float
    benchmark_return: float
    sharpe: float
    max_drawdown: float
    turnover: float
    costs: float


@dataclass(frozen=True, slots=True)
class Performance:
    """Figures of a backtest; shares and ratios are annual where nothing else is said.

    Attributes:
        first: First day.
        last: Last day.
        days: Number of periods.
        annualization: Periods a year.
        trials: Number of variants that were tried.
        total_return: Growth of wealth over all periods.
        annual_return: Mean return × periods a year.
        annual_return_compounded: (Final wealth / initial wealth) ^ (periods a year / periods) − 1.
        return_before_costs: Mean return with fees and slippage added back, × periods a year.
        volatility: Standard deviation of returns × √(periods a year).
        sharpe: Sharpe ratio with a stationary-bootstrap interval.
        sharpe_before_costs: Sharpe ratio with fees and slippage added back.
        skewness: Skewness of the returns.
        kurtosis: Kurtosis of the returns, 3 for normal ones.
        probabilistic_sharpe: Probability that the true Sharpe ratio is above 0.
        expected_max_sharpe: Sharpe ratio that the best of as many trials without skill is expected to show.
        deflated_sharpe: Probability that the true Sharpe ratio is above 0, given the number of trials.
        deflated_information: The same of the information ratio; NaN without a benchmark.
        track_record: Periods after which this Sharpe ratio would be above 0 with the confidence of the settings.
        benchmark_return: Mean return of the benchmark × periods a year; NaN without one, as the following.
        benchmark_compounded: Compounded annual return of the benchmark.
        excess_return: Mean return in excess of the benchmark × periods a year.
        excess_before_costs: The same with fees and slippage added back.
        excess_compounded: Annual growth of wealth relative to that of the benchmark.
        tracking_error: Standard deviation of excess returns × √(periods a year).
        information_ratio: Excess return / tracking error, with a stationary-bootstrap interval; None without benchmark.
        drawdown: The largest drawdown.
        hit_rate: Share of periods with a positive (excess) return among those with any.
        turnover: Mean purchases and sales a period as a share of the net asset value.
        costs: Costs taken apart.
        years: Figures by calendar year.
    """

    first: pd.Timestamp
    last: pd.Timestamp
    days: int
    annualization: Annualization
    trials: int
    total_return: float
    annual_return: float
    annual_return_compounded: float
    return_before_costs: float
    volatility: float
    sharpe: Estimate
    sharpe_before_costs: float
    skewness: float
    kurtosis: float
    probabilistic_sharpe: float
    expected_max_sharpe: float
    deflated_sharpe: float
    deflated_information: float
    track_record: float
    benchmark_return: float
    benchmark_compounded: float
    excess_return: float
    excess_before_costs: float
    excess_compounded: float
    tracking_error: float
    information_ratio: Estimate | None
    drawdown: Drawdown
    hit_rate: Estimate
    turnover: float
    costs: CostFigures
    years: tuple[YearFigures, ...] = field(repr=False)


def measure_performance(
    result: BacktestResult, benchmark: FloatArray | None = None, settings: PerformanceSettings | None = None
) -> Performance:
    """Measure the performance of a backtest.

    Args:
        result: Account of the backtest.
        benchmark: Returns of the benchmark on the days of the result, NaN counting as 0; None for none. [T]
        settings: How to measure; None for the defaults.

    Raises:
        DataError: If there are fewer than two days or the benchmark has another length.
    """
    settings = settings or PerformanceSettings()
    if len(result) < 2:
        raise DataError(f"Performance needs at least 2 days; the backtest has {len(result)}.")
    known = _known_benchmark(result, benchmark)
    year = settings.periods_a_year
    annual = Annualization.infer(result.dates) if year is None else Annualization(year, "configured")
    periods, returns = annual.periods, result.returns
    rated = returns - settings.risk_free / periods
    before = result.returns_before_costs
    moments = sharpe_moments(rated)
    scale = math.sqrt(periods)
    trials = [ratio / scale for ratio in settings.trial_ratios]
    spread = max(trial_deviation(moments.periods, trials), trial_deviation(moments.periods))
    nothing = float("nan")
    excess = None if known is None else returns - known
    interval = partial(
        sharpe_ratio,
        periods_a_year=periods,
        confidence=settings.confidence,
        repetitions=settings.repetitions,
        seed=settings.seed,
    )
    gains = returns if excess is None else excess
    gross = before if known is None else before - known
    return Performance(
        first=result.dates[0],
        last=result.dates[-1],
        days=len(result),
        annualization=annual,
        trials=settings.trials,
        total_return=total_return(returns),
        annual_return=float(returns.mean()) * periods,
        annual_return_compounded=compounded(returns, periods),
        return_before_costs=float(before.mean()) * periods,
        volatility=float(returns.std(ddof=1)) * scale,
        sharpe=interval(rated),
        sharpe_before_costs=sharpe_moments(before - settings.risk_free / periods).sharpe * scale,
        skewness=moments.skewness,
        kurtosis=moments.kurtosis,
        probabilistic_sharpe=probabilistic_sharpe_ratio_of(moments),
        # What chance shows does not depend on what these trials showed, unlike the deflated ratio's benchmark.
        expected_max_sharpe=expected_max_sharpe(settings.trials, trial_deviation(len(result)) * scale),
        deflated_sharpe=deflated_sharpe_ratio_of(moments, settings.trials, spread),
        deflated_information=(
            nothing if excess is None else deflated_sharpe_ratio_of(sharpe_moments(excess), settings.trials, spread)
        ),
        track_record=minimum_track_record(moments, confidence=settings.confidence),
        benchmark_return=nothing if known is None else float(known.mean()) * periods,
        benchmark_compounded=nothing if known is None else compounded(known, periods),
        excess_return=nothing if excess is None else float(excess.mean()) * periods,
        excess_before_costs=nothing if known is None else float(gross.mean()) * periods,
        excess_compounded=nothing if known is None else _relative_growth(returns, known, periods),
        tracking_error=nothing if excess is None else float(excess.std(ddof=1)) * scale,
        information_ratio=None if excess is None else interval(excess),
        drawdown=largest_drawdown(returns, result.dates),
        hit_rate=_hit_rate(gains, result.dates, settings),
        turnover=float(result.turnover.mean()),
        costs=_cost_figures(result, gross, periods),
        years=_years(result, known, periods),
    )


def total_return(returns: FloatArray) -> float:
    """Growth of wealth over all periods: Π (1 + r) − 1."""
    return float(np.prod(1 + returns)) - 1


def compounded(returns: FloatArray, periods_a_year: float) -> float:
    """Annual growth of wealth: Π (1 + r) ^ (periods a year / periods) − 1; −1 if all was lost."""
    wealth = 1 + total_return(returns)
    return wealth ** (periods_a_year / len(returns)) - 1 if wealth > 0 else -1.0


def largest_drawdown(returns: FloatArray, dates: pd.DatetimeIndex) -> Drawdown:
    """The largest fall of compounded wealth from a peak, with its days."""
    wealth = np.concatenate([[1.0], wealth_of(returns)])  # the first value is that before the first day
    peaks = np.maximum.accumulate(wealth)
    depths = 1 - wealth / peaks
    trough = int(depths.argmax())
    peak = int(np.flatnonzero(wealth[: trough + 1] == peaks[trough])[-1])
    recovered = np.flatnonzero(wealth[trough:] >= peaks[trough])
    end = trough + int(recovered[0]) if len(recovered) else None
    last = len(returns) if end is None else end
    place = dates[np.maximum(np.arange(-1, len(dates)), 0)]
    return Drawdown(
        depth=float(depths[trough]),
        peak=place[peak],
        trough=place[trough],
        recovery=None if end is None else place[end],
        days=last - peak,
    )


def wealth_of(returns: FloatArray) -> FloatArray:
    """Wealth after each period that grows from 1 [T]."""
    return np.cumprod(1 + returns).astype(np.float64)


def drawdowns(returns: FloatArray) -> FloatArray:
    """Distance of compounded wealth from its peak, as a share of the peak, 0 or below [T]."""
    wealth = wealth_of(returns)
    below: FloatArray = wealth / np.maximum.accumulate(np.maximum(wealth, 1.0)) - 1
    return below


def _known_benchmark(result: BacktestResult, benchmark: FloatArray | None) -> FloatArray | None:
    if benchmark is None:
        return None
    if benchmark.shape != result.returns.shape:
        raise DataError(f"The benchmark has {len(benchmark)} returns; the backtest has {len(result)} days.")
    return np.nan_to_num(benchmark)


def _relative_growth(returns: FloatArray, benchmark: FloatArray, periods: float) -> float:
    own, other = 1 + total_return(returns), 1 + total_return(benchmark)
    if other <= 0:
        return float("nan")
    return float((own / other) ** (periods / len(returns)) - 1) if own > 0 else -1.0


def _hit_rate(gains: FloatArray, dates: pd.DatetimeIndex, settings: PerformanceSettings) -> Estimate:
    """Share of positive returns among those that are not 0: days without holdings are no misses."""
    hits = np.where(gains == 0, np.nan, gains > 0)
    return bootstrap_mean(
        hits, dates, confidence=settings.confidence, repetitions=settings.repetitions, seed=settings.seed
    )


def _cost_figures(result: BacktestResult, gross: FloatArray, periods: float) -> CostFigures:
    before = np.concatenate([[result.start_cash], result.net_asset_value[:-1]])
    base = np.where(before > 0, before, np.nan)
    turnover = float(result.turnover.mean())
    return CostFigures(
        fees=float(result.fees.sum()),
        slippage=float(result.slippage.sum()),
        fees_a_year=float(np.nanmean(result.fees / base)) * periods,
        slippage_a_year=float(np.nanmean(result.slippage / base)) * periods,
        turnover_a_year=turnover * periods,
        break_even=float(gross.mean()) / turnover if turnover > 0 else float("nan"),
    )


def _years(result: BacktestResult, benchmark: FloatArray | None, periods: float) -> tuple[YearFigures, ...]:
    costs = result.returns_before_costs - result.returns
    years = result.dates.year.to_numpy()
    found = []
    for year in np.unique(years):
        own = years == year
        returns = result.returns[own]
        found.append(
            YearFigures(
                year=int(year),
                days=int(own.sum()),
                total_return=total_return(returns),
                benchmark_return=float("nan") if benchmark is None else total_return(benchmark[own]),
                sharpe=sharpe_moments(returns).sharpe * math.sqrt(periods),
                max_drawdown=float(-drawdowns(returns).min()),
                turnover=float(result.turnover[own].sum()),
                costs=float(costs[own].sum()),
            )
        )
    return tuple(found)


__all__ = [
    "Annualization",
    "CostFigures",
    "Drawdown",
    "Performance",
    "PerformanceSettings",
    "YearFigures",
    "compounded",
    "drawdowns",
    "largest_drawdown",
    "measure_performance",
    "total_return",
    "wealth_of",
]

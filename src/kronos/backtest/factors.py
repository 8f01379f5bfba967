"""Quality of a signal before any strategy: information coefficients, decay, known factors, returns by quantile.

Outcomes are returns that a trade after the signal could have had: a score of day t is compared with the return from the
deal price of day t + lag to that of day t + lag + horizon.

The factors are the ones that forecasts of prices are most often found to repeat: size (by traded value, as bars have no
market capitalisation), momentum, volatility and reversal. What is left of a signal without them is what a portfolio
manager cannot buy for less (Grinold & Kahn 2000, "Active Portfolio Management", chapter 11).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from kronos.backtest.costs import DealPrice
from kronos.backtest.market import MarketPanel
from kronos.errors import ParameterError
from kronos.metrics import Coefficients, Estimate, bootstrap_mean, information_coefficient, rank_ic
from kronos.typing import FloatArray, IntArray

MIN_INSTRUMENTS = 5  # that a coefficient across instruments needs
FACTORS = ("size", "momentum", "volatility", "reversal")
FACTOR_INSTRUMENTS = MIN_INSTRUMENTS + len(FACTORS)  # that a coefficient without the factors needs
_MIN_PAIRS_OVER_TIME = 20
_CLIP = 3.0  # standard deviations beyond which an exposure counts as no larger


@dataclass(frozen=True, slots=True)
class FactorWindows:
    """Lengths of the factors, in bars.

    Attributes:
        size: Bars of the mean traded value.
        momentum: Bars of the return of momentum.
        skip: Latest bars that momentum leaves out, since they reverse.
        volatility: Bars of the standard deviation of log returns.
        reversal: Bars of the return of reversal.
    """

    size: int = 60
    momentum: int = 60
    skip: int = 5
    volatility: int = 20
    reversal: int = 5

    def __post_init__(self) -> None:
        if min(self.size, self.momentum, self.reversal) < 1 or self.volatility < 2 or self.skip < 0:
            raise ParameterError("Factor windows need 1 or more bars, that of volatility 2, and skip 0 or more.")


@dataclass(frozen=True, slots=True)
class SignalQuestion:
    """What a signal is compared with.

    Attributes:
        horizon: Bars of the return.
        lag: Bars from a score to its trade.
        deal_price: Price of the trades.
        quantiles: Groups of instruments by score.
        longest_lag: Longest lag of the decay.
        windows: Lengths of the factors.
        seed: Random seed of the intervals.
    """

    horizon: int = 1
    lag: int = 1
    deal_price: DealPrice = "open"
    quantiles: int = 5
    longest_lag: int = 10
    windows: FactorWindows = field(default_factory=FactorWindows)
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.horizon, self.lag, self.longest_lag) < 1 or self.quantiles < 2:
            raise ParameterError("A signal needs a horizon, a lag and a longest lag of 1 or more, and 2 quantiles.")


@dataclass(frozen=True, eq=False)
class SignalQuality:
    """What a signal says about later returns.

    Attributes:
        question: What it was compared with.
        dates: Day of each coefficient of ``ic`` and ``rank_ic``; empty for coefficients over time. [K]
        ic: Pearson's correlation of scores and returns, across instruments on each day. With fewer than
            `MIN_INSTRUMENTS` it is over time for each instrument.
        rank_ic: Spearman's correlation.
        neutral_rank_ic: Spearman's correlation of what is left of the scores without the factors; None over time.
        decay: By lag, rank correlation with the return of one bar, that many bars later.
        exposures: By factor, rank correlation of the scores with the factor on the same day; empty over time.
        quantiles: Mean return by quantile of the score, from the worst, less that of all instruments on the day; empty
            over time.
        spread: Mean return of the best quantile less that of the worst; None over time.
        instruments: Median number of instruments with a score.
    """

    question: SignalQuestion
    dates: pd.DatetimeIndex
    ic: Coefficients
    rank_ic: Coefficients
    neutral_rank_ic: Coefficients | None
    decay: Mapping[int, Coefficients]
    exposures: Mapping[str, Coefficients]
    quantiles: tuple[Estimate, ...]
    spread: Estimate | None
    instruments: int

    @property
    def across_instruments(self) -> bool:
        """Whether the coefficients are across instruments rather than over time."""
        return self.neutral_rank_ic is not None


def signal_quality(
    panel: MarketPanel, scores: FloatArray, question: SignalQuestion | None = None, *, rows: slice = slice(None)
) -> SignalQuality:
    """Compare scores with later returns.

    Args:
        panel: The bars.
        scores: Scores; NaN where there is none. [T, N]
        question: What to compare with; None for the next bar's return from the open.
        rows: Days of the scores to compare; the panel's other days are used for factors and outcomes only.
    """
    question = question or SignalQuestion()
    if panel.membership is not None:
        scores = np.where(panel.membership, scores, np.nan)
    chosen = np.full_like(scores, np.nan)
    chosen[rows] = scores[rows]
    counts = np.sum(~np.isnan(chosen), axis=1)
    instruments = int(np.median(counts[counts > 0])) if counts.any() else 0
    across = instruments >= MIN_INSTRUMENTS
    outcomes = forward_returns(panel, question.horizon, lag=question.lag, deal_price=question.deal_price)
    ranks = coefficients(chosen, outcomes, overlap=question.horizon, across=across)
    decay = {
        lag: coefficients(chosen, forward_returns(panel, 1, lag=lag, deal_price=question.deal_price), across=across)
        for lag in range(question.lag, question.lag + question.longest_lag)
    }
    exposures = factor_exposures(panel, question.windows) if across else {}
    left = neutral_scores(chosen, exposures) if across else None
    quantiles, spread = _quantile_returns(chosen, outcomes, question) if across else ((), None)
    return SignalQuality(
        question=question,
        dates=panel.dates[ranks.keys.astype(np.int64)] if across else panel.dates[:0],
        ic=coefficients(chosen, outcomes, rank=False, across=across, overlap=question.horizon),
        rank_ic=ranks,
        neutral_rank_ic=None if left is None else coefficients(left, outcomes, overlap=question.horizon),
        decay=decay,
        exposures={name: coefficients(chosen, values) for name, values in exposures.items()},
        quantiles=quantiles,
        spread=spread,
        instruments=instruments,
    )


def coefficients(
    scores: FloatArray, outcomes: FloatArray, *, rank: bool = True, overlap: int = 1, across: bool = True
) -> Coefficients:
    """Correlate scores with outcomes `[T, N]`: across the instruments of a row, or over time for each instrument.

    The keys of the result are rows, or columns over time.
    """
    known = ~np.isnan(scores) & ~np.isnan(outcomes)
    row, column = np.nonzero(known)
    if not across:
        correlate = rank_ic if rank else information_coefficient
        pairs = scores[known], outcomes[known]
        return correlate(*pairs, row, column, over="time", min_pairs=_MIN_PAIRS_OVER_TIME, overlap=overlap)
    if rank:
        # Spearman's correlation is Pearson's of ranks; ranking by rows takes a tenth of the time of sorting all pairs.
        scores, outcomes = (row_ranks(np.where(known, values, np.nan)) for values in (scores, outcomes))
    return information_coefficient(scores[known], outcomes[known], row, min_pairs=MIN_INSTRUMENTS, overlap=overlap)


def row_ranks(values: FloatArray) -> FloatArray:
    """Rank of each value within its row from 1, ties at their mean rank; NaN where there is none [T, N]."""
    return pd.DataFrame(values).rank(axis=1).to_numpy(np.float64)


def forward_returns(
    panel: MarketPanel, horizon: int = 1, *, lag: int = 1, deal_price: DealPrice = "open"
) -> FloatArray:
    """Returns from the deal price of row t + lag to that of row t + lag + horizon, in row t [T, N].

    What cannot be bought on row t + lag has no return. What has no bar on the last row is worth its latest close then,
    so that an instrument that left the market keeps its loss.

    Args:
        panel: The bars.
        horizon: Bars of the return.
        lag: Bars from the row to the purchase, 0 or more; 0 at the close is the close of the row itself.
        deal_price: Price of purchase and sale.

    Raises:
        ParameterError: If the horizon is below 1 or the lag negative.
    """
    if horizon < 1 or lag < 0:
        raise ParameterError(f"Invalid horizon {horizon} or lag {lag}: choose a horizon ≥ 1 and a lag ≥ 0.")
    price = panel.open if deal_price == "open" else panel.close
    entry = np.where(panel.suspended, np.nan, price)
    out = np.where(np.isnan(price), panel.previous_close if deal_price == "open" else panel.last_close, price)
    returns = np.full(price.shape, np.nan)
    days = len(panel) - lag - horizon
    if days > 0:
        returns[:days] = out[lag + horizon :] / entry[lag : lag + days] - 1
    return returns


def factor_exposures(panel: MarketPanel, windows: FactorWindows | None = None) -> dict[str, FloatArray]:
    """Exposures of instruments to known factors, from bars up to each row only [T, N]; NaN where there is no bar.

    - size: log of the mean traded value, close × volume;
    - momentum: return over a window that leaves out the latest bars;
    - volatility: standard deviation of log returns;
    - reversal: the latest return with its sign reversed.
    """
    windows = windows or FactorWindows()
    logs = pd.DataFrame(np.log(panel.last_close))
    traded = (
        pd.DataFrame(panel.close * panel.volume).rolling(windows.size, min_periods=max(1, windows.size // 2)).mean()
    )
    exposures = {
        "size": pd.DataFrame(np.log(traded.where(traded > 0).to_numpy(np.float64))),
        "momentum": logs.shift(windows.skip) - logs.shift(windows.skip + windows.momentum),
        "volatility": logs.diff().rolling(windows.volatility).std(),
        "reversal": logs.shift(windows.reversal) - logs,
    }
    no_bar = np.isnan(panel.close)
    return {name: np.where(no_bar, np.nan, frame.to_numpy(np.float64)) for name, frame in exposures.items()}


def neutral_scores(scores: FloatArray, exposures: Mapping[str, FloatArray]) -> FloatArray:
    """Residuals of scores after a regression on the exposures across instruments, row by row [T, N].

    Scores enter as normal ranks, Φ⁻¹((rank − ½) / n), exposures standardised and clipped at three standard deviations,
    an unknown exposure as the average one. A row with fewer than `MIN_INSTRUMENTS` more scores than factors is NaN.
    """
    from scipy.special import ndtri

    ranks = row_ranks(scores)
    residuals = np.full(scores.shape, np.nan)
    for row in range(len(scores)):
        known = np.flatnonzero(~np.isnan(scores[row]))
        if len(known) < len(exposures) + MIN_INSTRUMENTS:
            continue
        target = ndtri((ranks[row, known] - 0.5) / len(known))
        design = np.column_stack([np.ones(len(known)), *(_standardised(own[row, known]) for own in exposures.values())])
        solution = np.linalg.lstsq(design, target, rcond=None)[0]
        residuals[row, known] = target - design @ solution
    return residuals


def _standardised(values: FloatArray) -> FloatArray:
    """Values less their mean over their deviation, clipped; 0 where they are unknown or all alike."""
    known = values[~np.isnan(values)]
    deviation = float(known.std()) if known.size else 0.0
    if not deviation > 1e-12:
        return np.zeros(len(values))
    scores: FloatArray = np.nan_to_num(np.clip((values - known.mean()) / deviation, -_CLIP, _CLIP))
    return scores


def _quantile_returns(
    scores: FloatArray, outcomes: FloatArray, question: SignalQuestion
) -> tuple[tuple[Estimate, ...], Estimate | None]:
    """Mean returns of quantiles less those of all, and the spread between the ends, with intervals over days."""
    count = question.quantiles
    groups = quantile_groups(scores, count)
    members = [np.where(groups == group, outcomes, np.nan) for group in range(count)]
    means = np.column_stack([_row_means(own) for own in members])
    everything = _row_means(np.where(groups >= 0, outcomes, np.nan))

    def estimate(values: FloatArray) -> Estimate:
        return bootstrap_mean(values, overlap=question.horizon, seed=question.seed)

    return (
        tuple(estimate(means[:, group] - everything) for group in range(count)),
        estimate(means[:, -1] - means[:, 0]),
    )


def quantile_groups(scores: FloatArray, count: int) -> IntArray:
    """Quantile of each score within its row, 0 for the lowest; −1 where there is none or the row has too few [T, N].

    Equal scores are ordered by column, so that quantiles have the same size.
    """
    frame = pd.DataFrame(scores)
    ranks = frame.rank(axis=1, method="first").to_numpy(np.float64)
    sizes = frame.count(axis=1).to_numpy(np.float64)[:, None]
    groups = np.where(sizes >= count, np.ceil(ranks * count / np.maximum(sizes, 1)) - 1, np.nan)
    return np.nan_to_num(groups, nan=-1).astype(np.int64)


def _row_means(values: FloatArray) -> FloatArray:
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    sums = np.where(known, values, 0.0).sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


__all__ = [
    "FACTORS",
    "FACTOR_INSTRUMENTS",
    "MIN_INSTRUMENTS",
    "FactorWindows",
    "SignalQuality",
    "SignalQuestion",
    "coefficients",
    "factor_exposures",
    "forward_returns",
    "neutral_scores",
    "quantile_groups",
    "signal_quality",
]

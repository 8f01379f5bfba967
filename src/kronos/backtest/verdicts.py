"""Verdicts on a backtest in words, derived from the figures by fixed rules.

- *edge*: evidence if the 95 % interval of the information ratio lies above 0 and the deflated information ratio is at
  least `DEFLATED`; within the trials if only the interval does; worse if it lies below 0; otherwise no evidence. With a
  suspected leak there is no other verdict.
- *trials*: beyond chance if the deflated information ratio is at least `DEFLATED`, otherwise within what trials without
  skill show. Both go by the Sharpe ratio where there is no benchmark only: in a market that rises, portfolios without
  skill have a high one.
- *costs*: whether the excess return is above 0 before costs, and after.
- *random*: better if at most 5 % of random signals that trade as often have the Sharpe ratio, worse if at least 95 %.
- *ranking*: whether the mean rank information coefficient differs from 0 at 5 %.
- *factors*: the same without size, momentum, volatility and reversal; known factors if only the raw coefficient differs
  from 0.
- *fills*: whether the excess return has the same sign at the open and at the close.
- *leak*: suspected if a Sharpe ratio before costs above `SUSPICIOUS_SHARPE`, or a mean rank coefficient above
  `SUSPICIOUS_IC`, falls below `COLLAPSE` of itself when the trade comes one bar later. Real signals fade; only one that
  knows its own bar disappears. One that knows several bars does not, so that a leak is also suspected if the figures of
  bars of a day or longer are implausible: a Sharpe ratio before costs above `IMPLAUSIBLE_SHARPE` or a mean rank
  coefficient above `IMPLAUSIBLE_IC`, beyond what chance adds to the suspicious ones.
- *published*: its rules add to the return if the excess return before costs is more than `PUBLISHED_GAP` a year higher
  than by the corrected rules.

With fewer than `MIN_DAYS` days there is no verdict but on a leak and on the published rules; for edge, trials, costs,
random and fills, only days count on which the account and its benchmark differ. Several bars a day are one day. With
fewer than `FACTOR_INSTRUMENTS` instruments there is no verdict on factors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kronos.backtest.costs import DealPrice
from kronos.backtest.factors import FACTOR_INSTRUMENTS, SignalQuality
from kronos.backtest.performance import Performance
from kronos.formatting import format_number, percent, plural
from kronos.metrics import Coefficients, Estimate

VerdictSubject = Literal["edge", "trials", "costs", "random", "ranking", "factors", "fills", "leak", "published"]
VerdictWord = Literal[
    "evidence",
    "no evidence",
    "worse",
    "within trials",
    "beyond chance",
    "costs eat it",
    "survives costs",
    "nothing before costs",
    "better",
    "own information",
    "known factors",
    "same sign",
    "depends on fill",
    "suspected",
    "no sign",
    "rules add",
    "little difference",
    "too few days",
]

MIN_DAYS = 60
DEFLATED = 0.95
SIZE = 0.05  # of tests
SUSPICIOUS_SHARPE = 4.0
SUSPICIOUS_IC = 0.15
COLLAPSE = 0.25
IMPLAUSIBLE_SHARPE = 8.0
IMPLAUSIBLE_IC = 0.3
PUBLISHED_GAP = 0.02
_TOO_FEW = "too few days to tell"


@dataclass(frozen=True, slots=True)
class BacktestVerdict:
    """One conclusion.

    Attributes:
        about: What it is about.
        word: The conclusion.
        sentence: The conclusion in words, with the figures it follows from.
    """

    about: VerdictSubject
    word: VerdictWord
    sentence: str


@dataclass(frozen=True, eq=False)
class StudyFigures:
    """The figures that verdicts follow from.

    Attributes:
        performance: The signal's.
        delayed: Those of the signal traded one bar later.
        fills: Those of the signal by the price of the fill.
        published: Those in the published mode; None if it was not run.
        quality: Information coefficients.
        random_signals: Number of random signals; 0 for none.
        p_value: Share of random signals with at least the Sharpe ratio.
    """

    performance: Performance
    delayed: Performance
    fills: Mapping[DealPrice, Performance]
    published: Performance | None
    quality: SignalQuality
    random_signals: int
    p_value: float


def derive_backtest_verdicts(figures: StudyFigures) -> list[BacktestVerdict]:
    """Derive all verdicts, that on the edge first."""
    leak = _leak(figures)
    found = [_edge(figures.performance, leak), _trials(figures.performance), _costs(figures.performance)]
    if figures.random_signals:
        found.append(_random(figures))
    quality, least = figures.quality, _least_bars(figures.performance)
    found += [_ranking(quality, least)]
    if quality.neutral_rank_ic is not None and quality.instruments >= FACTOR_INSTRUMENTS:
        found.append(_factors(quality, quality.neutral_rank_ic, least))
    found += [_fills(figures.performance, figures.fills), leak]
    if figures.published is not None:
        found.append(_published(figures.performance, figures.published))
    return found


def _edge(performance: Performance, leak: BacktestVerdict) -> BacktestVerdict:
    measured, deflated, name = _measured(performance)
    details = f"{name} {_range(measured)}, deflated {percent(deflated, 0)}"
    if leak.word == "suspected":
        return BacktestVerdict(
            "edge", "suspected", f"no figure here can be trusted before the leak is ruled out ({details})"
        )
    word: VerdictWord
    if _is_short(performance) or math.isnan(measured.low):
        word, sentence = "too few days", _TOO_FEW
    elif measured.low > 0 and deflated >= DEFLATED:
        word, sentence = "evidence", "evidence of an edge"
    elif measured.low > 0:
        word = "within trials"
        sentence = f"above the benchmark, but {_within(performance.trials)}"
    elif measured.high < 0:
        word, sentence = "worse", "worse than the benchmark"
    else:
        word, sentence = "no evidence", "no evidence of an edge"
    return BacktestVerdict("edge", word, f"{sentence} ({details})")


def _trials(performance: Performance) -> BacktestVerdict:
    measured, deflated, name = _measured(performance)
    trials = plural(performance.trials, "trial")
    expected = (
        f"the best of {trials} without skill is expected to show {format_number(performance.expected_max_sharpe, 2)}"
        if performance.trials > 1
        else "a single trial, so nothing was selected"
    )
    details = f"{name} {format_number(measured.estimate, 2)}; {expected}; deflated {percent(deflated, 0)}"
    if _is_short(performance) or math.isnan(deflated):
        return BacktestVerdict("trials", "too few days", f"{_TOO_FEW} ({details})")
    within = _within(performance.trials)
    if deflated >= DEFLATED:
        return BacktestVerdict("trials", "beyond chance", f"{within.replace('within', 'beyond', 1)} ({details})")
    return BacktestVerdict("trials", "within trials", f"{within} ({details})")


def _measured(performance: Performance) -> tuple[Estimate, float, str]:
    """The ratio that verdicts go by, its deflated probability and its name."""
    if performance.information_ratio is None:
        return performance.sharpe, performance.deflated_sharpe, "Sharpe ratio"
    return performance.information_ratio, performance.deflated_information, "information ratio"


def _is_short(performance: Performance) -> bool:
    """Whether too few days have a return: those on which nothing moves are no evidence."""
    return min(performance.days, performance.hit_rate.n) < _least_bars(performance)


def _least_bars(performance: Performance) -> int:
    """The bars of `MIN_DAYS` days: 60 bars of 15 minutes are a few days, all of one market regime."""
    return MIN_DAYS * performance.annualization.bars_a_day


def _within(trials: int) -> str:
    return f"within what {plural(trials, 'trial')} without skill {'shows' if trials == 1 else 'show'}"


def _costs(performance: Performance) -> BacktestVerdict:
    has_benchmark = performance.information_ratio is not None
    before, after = _before_costs(performance), _excess(performance)
    costs = performance.costs
    details = (
        f"{percent(before)} a year before costs, {percent(after)} after; turnover "
        f"{format_number(costs.turnover_a_year, 1)} times a year"
    )
    if not math.isnan(costs.break_even) and before > 0:
        details += f", break-even at {format_number(1e4 * costs.break_even, 1)} bp of the traded value"
    word: VerdictWord
    if _is_short(performance):
        word, sentence = "too few days", _TOO_FEW
    elif before <= 0:
        word = "nothing before costs"
        sentence = "no excess return even before costs" if has_benchmark else "no return even before costs"
    elif after <= 0:
        word, sentence = "costs eat it", "costs eat the signal"
    else:
        word, sentence = "survives costs", "some of it is left after costs"
    return BacktestVerdict("costs", word, f"{sentence} ({details})")


def _random(figures: StudyFigures) -> BacktestVerdict:
    p_value, count = figures.p_value, figures.random_signals
    details = f"p {format_number(p_value, 2)} among {plural(count, 'random signal')} that trade as often"
    if _is_short(figures.performance) or math.isnan(p_value):
        return BacktestVerdict("random", "too few days", f"{_TOO_FEW} ({details})")
    if p_value <= SIZE:
        return BacktestVerdict("random", "better", f"better than random signals ({details})")
    # The share of those with at most the ratio, so that few random signals are no evidence in this direction either.
    if 1 - p_value + 1 / (count + 1) <= SIZE:
        return BacktestVerdict("random", "worse", f"worse than random signals ({details})")
    return BacktestVerdict("random", "no evidence", f"not distinguishable from random signals ({details})")


def _ranking(quality: SignalQuality, least: int) -> BacktestVerdict:
    own = quality.rank_ic
    details = _coefficient(own)
    where = "" if quality.across_instruments else " over time"
    word: VerdictWord
    if own.dates < least or math.isnan(own.p_value):
        word, sentence = "too few days", _TOO_FEW
    elif own.p_value >= SIZE:
        word, sentence = "no evidence", f"no evidence that scores order later returns{where}"
    elif own.mean > 0:
        word, sentence = "better", f"higher scores have higher returns{where}"
    else:
        word, sentence = "worse", f"higher scores have lower returns{where}"
    return BacktestVerdict("ranking", word, f"{sentence} ({details})")


def _factors(quality: SignalQuality, left: Coefficients, least: int) -> BacktestVerdict:
    raw = quality.rank_ic
    details = f"without size, momentum, volatility and reversal: {_coefficient(left)}; with them: {_coefficient(raw)}"
    word: VerdictWord
    if left.dates < least or math.isnan(left.p_value):
        word, sentence = "too few days", _TOO_FEW
    elif left.p_value < SIZE and left.mean > 0:
        word, sentence = "own information", "information beyond known factors"
    elif raw.p_value < SIZE and raw.mean > 0:
        word, sentence = "known factors", "nothing is left without known factors"
    else:
        word, sentence = "no evidence", "no evidence of information beyond known factors"
    return BacktestVerdict("factors", word, f"{sentence} ({details})")


def _fills(performance: Performance, fills: Mapping[DealPrice, Performance]) -> BacktestVerdict:
    returns = {price: _excess(own) for price, own in fills.items()}
    details = ", ".join(f"{percent(value)} a year at the {price}" for price, value in returns.items())
    if _is_short(performance):
        return BacktestVerdict("fills", "too few days", f"{_TOO_FEW} ({details})")
    if len({value > 0 for value in returns.values()}) > 1:
        return BacktestVerdict("fills", "depends on fill", f"gain or loss depends on the price of the fill ({details})")
    return BacktestVerdict("fills", "same sign", f"the same sign at the open and at the close ({details})")


def _leak(figures: StudyFigures) -> BacktestVerdict:
    own, later = figures.performance, figures.delayed
    before, after = own.sharpe_before_costs, later.sharpe_before_costs
    decay = list(figures.quality.decay.values())
    now, then = decay[0].mean, decay[1].mean if len(decay) > 1 else math.nan
    details = (
        f"Sharpe ratio before costs {format_number(before, 2)}, one bar later {format_number(after, 2)}; "
        f"RankIC of the next bar {format_number(now)}, of the one after {format_number(then)}"
    )
    if math.isnan(before) and math.isnan(now):
        return BacktestVerdict("leak", "too few days", f"{_TOO_FEW} ({details})")
    # Two independent ratios differ by chance with a deviation of √(2 / years).
    chance = 2 * math.sqrt(2 * own.annualization.periods / own.days)
    by_return = before > SUSPICIOUS_SHARPE and after < COLLAPSE * before and before - after > chance
    by_rank = now > SUSPICIOUS_IC and then < COLLAPSE * now
    if by_return or by_rank:
        return BacktestVerdict(
            "leak",
            "suspected",
            f"leak suspected: it is implausibly good and collapses one bar later; check whether scores use later "
            f"candles ({details})",
        )
    if _implausible(own, figures.quality):
        return BacktestVerdict(
            "leak", "suspected", f"leak suspected: implausibly good; check whether scores use later candles ({details})"
        )
    return BacktestVerdict("leak", "no sign", f"no sign of a leak from a shift by one bar ({details})")


def _implausible(own: Performance, quality: SignalQuality) -> bool:
    """Whether figures are too good for bars of a day or longer, whatever a delay makes of them."""
    if own.annualization.bars_a_day > 1:  # many small gains a day have a high ratio before costs
        return False
    before = own.sharpe_before_costs
    chance = 2 * math.sqrt(own.annualization.periods / own.days)
    ranks = quality.rank_ic
    by_rank = quality.across_instruments and ranks.mean > IMPLAUSIBLE_IC and ranks.low > SUSPICIOUS_IC
    return (before > IMPLAUSIBLE_SHARPE and before - chance > SUSPICIOUS_SHARPE) or by_rank


def _published(performance: Performance, published: Performance) -> BacktestVerdict:
    # Before costs, since the published mode has no slippage.
    own, other = _before_costs(performance), _before_costs(published)
    details = f"{percent(other)} a year published, {percent(own)} corrected, before costs"
    if other - own > PUBLISHED_GAP:
        return BacktestVerdict("published", "rules add", f"the published mode earns more by its rules ({details})")
    sentence = f"the published rules do not explain its returns ({details})"
    return BacktestVerdict("published", "little difference", sentence)


def _before_costs(performance: Performance) -> float:
    has_benchmark = performance.information_ratio is not None
    return performance.excess_before_costs if has_benchmark else performance.return_before_costs


def _excess(performance: Performance) -> float:
    return performance.annual_return if performance.information_ratio is None else performance.excess_return


def _range(found: Estimate) -> str:
    estimate, low, high = (format_number(value, 2) for value in (found.estimate, found.low, found.high))
    return f"{estimate}, {low} to {high}"


def _coefficient(found: Coefficients) -> str:
    return f"RankIC {format_number(found.mean)}, t {format_number(found.t_statistic, 1)}"


__all__ = [
    "COLLAPSE",
    "DEFLATED",
    "IMPLAUSIBLE_IC",
    "IMPLAUSIBLE_SHARPE",
    "MIN_DAYS",
    "PUBLISHED_GAP",
    "SUSPICIOUS_IC",
    "SUSPICIOUS_SHARPE",
    "BacktestVerdict",
    "StudyFigures",
    "VerdictSubject",
    "VerdictWord",
    "derive_backtest_verdicts",
]

"""Strategies: from the scores and holdings of a day to the `Decision` that is traded on a later bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from kronos.errors import ParameterError
from kronos.typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False, slots=True)
class MarketDay:
    """What a strategy knows after the close of a day, and nothing later.

    Attributes:
        number: Trading days before this one.
        scores: Scores of the day [N]; NaN where there is none, or where the instrument is no member of the index.
        listed: Whether an instrument has a bar on the day and is a member of the index [N].
        has_bar: Whether an instrument has a bar on the day [N]. Where it has neither bar nor score, as in a suspension
            or a closed market, there is nothing to decide: a holding stays.
        shares: Shares held [N].
        days_held: Closes since a holding was opened [N]; 1 on the day of the purchase, 0 where nothing is held.
        weights: Values of the holdings at the latest close as shares of the net asset value [N].
    """

    number: int
    scores: FloatArray
    listed: BoolArray
    has_bar: BoolArray
    shares: IntArray
    days_held: IntArray
    weights: FloatArray

    @property
    def undecided(self) -> BoolArray:
        """Whether an instrument has neither a bar nor a score [N]."""
        undecided: BoolArray = ~self.has_bar & np.isnan(self.scores)
        return undecided


@dataclass(frozen=True, eq=False, slots=True)
class Decision:
    """What a strategy wants traded. Sales come first, and purchases are paid from what there is then.

    Attributes:
        targets: Weights of the net asset value to hold [N]; NaN leaves a holding as it is, 0 sells all of it, and below
            0 is a short position.
        purchases: Instruments to buy from the cash, the most wanted first. The sales that the market refused are known
            by then, and so is which of the purchases it allows: `cash_share` is divided equally among those.
        cash_share: Share of the cash after the sales that is spent on the purchases.
        most_holdings: Number of holdings that the purchases may fill up to; None for any.
    """

    targets: FloatArray
    purchases: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    cash_share: float = 0.95
    most_holdings: int | None = None


class Strategy(Protocol):
    """A rule from scores and holdings to trades. It has no state: equal days have equal decisions."""

    def decide(self, day: MarketDay) -> Decision | None:
        """The trades wanted after this day; None for none."""
        ...


@dataclass(frozen=True, slots=True)
class TopkDropout:
    """Hold the ``k`` best scores, and replace at most ``drop`` of the holdings a day, as Qlib's strategy does.

    The holdings and the best ``k + drop − holdings`` others are ranked together. Holdings among the last ``drop`` of
    this ranking are sold, and as many others bought, so that nothing is sold for a worse score. A holding without a
    score ranks last; one without a bar either is not ranked and stays. It differs from Qlib's in what
    `kronos.backtest.published` lists.

    Attributes:
        k: Instruments to hold.
        drop: Most holdings to replace in a day.
        hold_days: Least number of closes between purchase and sale.
        cash_share: Share of the cash that is spent on purchases.
    """

    k: int = 50
    drop: int = 5
    hold_days: int = 5
    cash_share: float = 0.95

    def __post_init__(self) -> None:
        if self.k < 1 or not 0 <= self.drop <= self.k:
            raise ParameterError(f"Invalid k={self.k}, drop={self.drop}: choose k ≥ 1 and 0 ≤ drop ≤ k.")
        if self.hold_days < 0:
            raise ParameterError(f"Invalid hold_days {self.hold_days}: choose 0 or more.")
        check_share("cash_share", self.cash_share)

    def decide(self, day: MarketDay) -> Decision | None:
        """The worst of the holdings for the best of the others."""
        if np.isnan(day.scores).all():  # a day without scores is no day on which all scores are bad
            return None
        held = np.flatnonzero(day.shares)
        others = ranked(day.scores, np.flatnonzero((day.shares == 0) & ~np.isnan(day.scores)))
        candidates = others[: max(0, self.drop + self.k - len(held))]
        worst = ranked(day.scores, np.concatenate([held[~day.undecided[held]], candidates]))
        worst = worst[len(worst) - min(self.drop, len(worst)) :]
        room = self.k - len(held)
        # Qlib counts a holding that is too young to be sold among those that make room, and so drifts above k.
        dropped = worst[(day.shares[worst] != 0) & (day.days_held[worst] >= self.hold_days)][::-1]
        # Where candidates are scarce, Qlib sells the worst for nothing. Here a holding goes for a better one, to get
        # down to k, or because it has no score any more.
        replaced = np.arange(len(dropped)) < len(candidates) - room
        dropped = dropped[replaced | np.isnan(day.scores[dropped])]
        wanted = max(0, len(dropped) + room)
        targets = np.full(len(day.scores), np.nan)
        targets[dropped] = 0.0
        return Decision(targets, candidates[:wanted], self.cash_share, self.k)


@dataclass(frozen=True, slots=True)
class LongShortDeciles:
    """Hold the best share of the scores long and the worst short, in equal weights.

    Attributes:
        fraction: Share of the scored instruments on each side; 0.1 for deciles.
        gross: Sum of the absolute weights; half of it is long.
        interval: Days between rebalancings.
    """

    fraction: float = 0.1
    gross: float = 1.0
    interval: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 0.5:
            raise ParameterError(f"Invalid fraction {self.fraction}: choose a share above 0 and up to 0.5.")
        if not 0 < self.gross <= 2:
            raise ParameterError(f"Invalid gross {self.gross}: choose a sum of weights above 0 and up to 2.")
        check_interval(self.interval)

    def decide(self, day: MarketDay) -> Decision | None:
        """Equal weights on both ends of the ranking, and nothing between them."""
        if day.number % self.interval:
            return None
        order = ranked(day.scores, np.flatnonzero(~np.isnan(day.scores)))
        side = int(len(order) * self.fraction)
        if side == 0:
            return None
        kept = day.weights[day.undecided]
        long, short = (max(0.0, self.gross / 2 - part) for part in (kept[kept > 0].sum(), -kept[kept < 0].sum()))
        targets = np.where(day.undecided, np.nan, 0.0)
        targets[order[:side]] = long / side
        targets[order[-side:]] = -short / side
        return Decision(targets)


@dataclass(frozen=True, slots=True)
class ThresholdLongFlat:
    """Hold an instrument while its score is above a threshold, else cash; instruments have equal shares.

    Attributes:
        entry: Score above which the instrument is bought.
        exit: Score at or below which it is sold; None for the same as ``entry``. A lower one trades less often.
        weight: Share of the net asset value to invest over all instruments.
    """

    entry: float = 0.0
    exit: float | None = None
    weight: float = 0.95

    def __post_init__(self) -> None:
        if self.exit is not None and self.exit > self.entry:
            raise ParameterError(f"Invalid exit {self.exit}: choose at most the entry {self.entry}.")
        check_share("weight", self.weight)

    def decide(self, day: MarketDay) -> Decision | None:
        """Buy above the entry, sell below the exit, and leave everything between as it is."""
        leave = self.entry if self.exit is None else self.exit
        targets = np.full(len(day.scores), np.nan)
        targets[(day.shares != 0) & (day.scores <= leave)] = 0.0
        # A holding is not rebalanced: its weight drifts with its price, which costs nothing.
        targets[(day.shares == 0) & (day.scores > self.entry)] = self.weight / len(day.scores)
        return None if np.isnan(targets).all() else Decision(targets)


@dataclass(frozen=True, slots=True)
class EqualWeight:
    """Hold all listed members of the index in equal weights, whatever their scores; a benchmark.

    Attributes:
        interval: Days between rebalancings.
        weight: Share of the net asset value to invest.
    """

    interval: int = 20
    weight: float = 0.95

    def __post_init__(self) -> None:
        check_interval(self.interval)
        check_share("weight", self.weight)

    def decide(self, day: MarketDay) -> Decision | None:
        """Equal weights of what is listed, on the days of rebalancing."""
        if day.number % self.interval or not day.listed.any():
            return None
        weight = max(0.0, self.weight - float(day.weights[~day.has_bar].sum())) / day.listed.sum()
        return Decision(np.where(day.has_bar, np.where(day.listed, weight, 0.0), np.nan))


@dataclass(frozen=True, slots=True)
class BuyAndHold:
    """Buy instruments once in equal weights and keep them; a benchmark.

    Attributes:
        columns: Columns of the panel to buy; None for all that are listed on the first day.
        weight: Share of the net asset value to invest.
    """

    columns: Sequence[int] | None = None
    weight: float = 0.95

    def __post_init__(self) -> None:
        check_share("weight", self.weight)

    def decide(self, day: MarketDay) -> Decision | None:
        """Purchases while nothing is held, then none."""
        wanted = day.listed.copy()
        if self.columns is not None:
            chosen = np.zeros(len(wanted), dtype=np.bool_)
            chosen[list(self.columns)] = True
            wanted &= chosen
        if day.shares.any() or not wanted.any():
            return None
        return Decision(np.where(wanted, self.weight / wanted.sum(), np.nan))


def ranked(scores: FloatArray, columns: IntArray) -> IntArray:
    """Columns by falling score; equal scores in the order of the panel, columns without a score last."""
    columns = np.sort(columns)
    return columns[np.argsort(-scores[columns], kind="stable")]


def check_interval(interval: int) -> None:
    """Refuse an interval of less than a day."""
    if interval < 1:
        raise ParameterError(f"Invalid interval {interval}: choose 1 or more days.")


def check_share(name: str, value: float) -> None:
    """Refuse a share of the account that is not above 0 and at most 1."""
    if not 0 < value <= 1:
        raise ParameterError(f"Invalid {name} {value}: choose a share above 0 and up to 1.")


__all__ = [
    "BuyAndHold",
    "Decision",
    "EqualWeight",
    "LongShortDeciles",
    "MarketDay",
    "Strategy",
    "ThresholdLongFlat",
    "TopkDropout",
]

"""Rows of the tables of a track record."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RecordCounts:
    """Origins and outcomes by kind.

    Attributes:
        forecasts: Forecasts in time.
        scored: Of them, those with scores.
        pending: Those whose candles have not closed.
        unresolved: Those that cannot be scored.
        late: Origins with a late forecast.
        missed: Origins without one.
        revisions: Settling candles that the source changed later.
        first: First origin; empty without any.
        last: Last origin.
        timely: Share of origins with a forecast in time; NaN without any.
    """

    forecasts: int
    scored: int
    pending: int
    unresolved: int
    late: int
    missed: int
    revisions: int
    first: str
    last: str
    timely: float


@dataclass(frozen=True)
class EarlierSeries:
    """A series of the same symbol that another protocol opened before.

    Attributes:
        id: Its id.
        model: Name of its model.
        opened_at: When its protocol was entered.
        forecasts: Its forecasts in time.
        scored: Those of them that are scored.
    """

    id: str
    model: str
    opened_at: str
    forecasts: int
    scored: int


@dataclass(frozen=True)
class CoverageFigure:
    """Coverage of a band at one step, or over all of them.

    Attributes:
        contender: Name of the contender.
        level: Level in percent.
        step: Step; None for all.
        target: Coverage that calibrated paths of this number attain.
        estimate: Share of closes inside.
        lower: Lower bound at all times.
        upper: Upper bound at all times.
        n: Number of closes.
        blocks: Number of blocks behind the bounds.
    """

    contender: str
    level: int
    step: int | None
    target: float
    estimate: float
    lower: float
    upper: float
    n: int
    blocks: int


@dataclass(frozen=True)
class SkillFigure:
    """CRPS skill against a baseline at one step, or over all of them.

    Attributes:
        contender: Name of the contender.
        baseline: Name of the baseline.
        step: Step; None for all.
        crps: Mean CRPS of the contender in units of σ√h.
        estimate: Skill 1 - ΣM / ΣB.
        block_estimate: Skill of the average gain of a block, which the bounds are of.
        lower: Lower bound at all times.
        upper: Upper bound at all times.
        n: Number of forecasts.
        blocks: Number of blocks behind the bounds.
    """

    contender: str
    baseline: str
    step: int | None
    crps: float
    estimate: float
    block_estimate: float
    lower: float
    upper: float
    n: int
    blocks: int


@dataclass(frozen=True)
class BrierFigure:
    """Brier score of a probability.

    Attributes:
        contender: Name of the contender.
        event: ``upside`` or ``amplification``.
        reference: ``coin`` or ``base_rate``.
        score: Mean Brier score.
        reference_score: That of the reference.
        skill: 1 - score / reference score.
        lower: Lower bound at all times of the mean by which the score is lower than that of the reference.
        upper: Upper bound.
        n: Number of forecasts.
        blocks: Number of blocks behind the bounds.
    """

    contender: str
    event: str
    reference: str
    score: float
    reference_score: float
    skill: float
    lower: float
    upper: float
    n: int
    blocks: int


@dataclass(frozen=True)
class ReliabilityFigure:
    """Forecasts of similar probability; the interval holds for this bin at one time only.

    Attributes:
        contender: Name of the contender.
        event: ``upside`` or ``amplification``.
        forecast: Mean probability.
        observed: Frequency of the event.
        low: Lower end of the 95 % interval.
        high: Upper end.
        n: Number of forecasts.
    """

    contender: str
    event: str
    forecast: float
    observed: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class SkillCurve:
    """Skill against a baseline after each completed block, with bounds at all times.

    Attributes:
        contender: Name of the contender.
        baseline: Name of the baseline.
        origins: Last origin of each block.
        estimate: Skill of the average gain so far; NaN without a score.
        lower: Lower bounds.
        upper: Upper bounds.
    """

    contender: str
    baseline: str
    origins: tuple[str, ...]
    estimate: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]

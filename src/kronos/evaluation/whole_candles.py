"""Scores of whole candles: range, volume, wicks, gap, the range over the horizon, and clustering of volatility.

The close alone does not tell whether a forecaster's candles resemble those of the market. Each measure is the CRPS of
one quantity of the candles, against a distribution of the origin's own past, see `kronos.evaluation.candle_references`:

- ``range``: log(high / low), against the last 64 candles;
- ``volume``: log(volume), against the last 64 candles; ``volume_time_of_day`` against those of the same clock time;
- ``upper_wick``, ``lower_wick``: their shares of the candle's range, against the last 64 candles;
- ``gap``: log(open / close before), the close before being that of the path, against the last 64 candles;
- ``span``: log(highest high / lowest low) up to a step, against windows of the history of as many candles;
- ``close_span``: the same of the closes, so that a difference to ``span`` is one of highs and lows.

Ranges and gaps are in units of σ, spans of σ√h, so that no series outweighs others. Skill is 1 − CRPS / CRPS of the
reference. All figures are over the origins of the other tables, without those at which a quantity is undefined (zero
volume, a candle without a range), which are counted. The words follow the rules of `kronos.evaluation.verdicts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from kronos.evaluation.aggregate import ALL, Scores, format_steps
from kronos.evaluation.candle_losses import MIN_STEPS, CandleLosses, Quantity
from kronos.evaluation.candle_references import RECENT, CandleReferences, Reference
from kronos.evaluation.origins import Plan
from kronos.evaluation.rolling import ForecastPaths
from kronos.evaluation.scoring import Actuals, equal_mean, equal_share, equal_skill, large_groups
from kronos.evaluation.verdicts import Word, format_estimate, word_of
from kronos.metrics import Estimate
from kronos.typing import BoolArray, FloatArray, IntArray

CandleMeasure = Literal[
    "range", "volume", "volume_time_of_day", "upper_wick", "lower_wick", "gap", "span", "close_span"
]
Clustered = Literal["returns", "ranges"]
ClusteringWord = Literal["weaker", "no evidence", "stronger", "too few dates"]


@dataclass(frozen=True, slots=True)
class _Definition:
    """How a measure is computed."""

    quantity: Quantity
    words: str
    reference: Reference = "recent"
    unit: float | None = None  # power of h that σ is multiplied by; None for no unit
    needs: int = 0  # part of a forecaster's candles that must differ: position in `CandleLosses.sampled`


MEASURES: Mapping[CandleMeasure, _Definition] = {
    "range": _Definition("range", "range", unit=0.0, needs=1),
    "volume": _Definition("volume", "volume", needs=3),
    "volume_time_of_day": _Definition("volume", "volume", "time_of_day", needs=3),
    "upper_wick": _Definition("upper_wick", "upper wick", needs=1),
    "lower_wick": _Definition("lower_wick", "lower wick", needs=1),
    "gap": _Definition("gap", "opening gap", unit=0.0, needs=2),
    "span": _Definition("span", "range over all steps", unit=0.5, needs=1),
    "close_span": _Definition("close_span", "range of the closes over all steps", unit=0.5),
}
_REASONS = (
    "all of its paths are equal: a point forecast",
    "its candles have no wicks: only closes are forecast",
    "each of its candles opens at the close before",
    "its volumes are constant",
)


@dataclass(frozen=True, slots=True)
class CandleFigures:
    """One measure of one forecaster in one group at one step.

    Attributes:
        forecaster: Name of the forecaster.
        group: Market at an interval, or ``all``, where every group of enough origins has the same weight.
        measure: What is scored.
        step: Steps ahead.
        n: Number of forecasts.
        left_out: Number of forecasts at which the quantity is undefined: zero volume, no range, too short a history.
        crps: Mean CRPS, in the unit of the measure.
        reference_crps: Mean CRPS of the reference.
        skill: 1 − CRPS / CRPS of the reference.
        word: The conclusion.
        undefined: Mean share of the paths at which it is undefined; they are left out of the CRPS.
        details: ``distinct_values`` of volume: mean number of distinct values among the paths of an origin.
            ``median_ratio`` of gap: median absolute gap of the paths over that of the last 64 candles, both in σ and
            averaged over origins.
    """

    forecaster: str
    group: str
    measure: CandleMeasure
    step: int
    n: int
    left_out: int
    crps: float
    reference_crps: float
    skill: Estimate
    word: Word
    undefined: float = 0.0
    details: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The conclusion in words, with the figures it follows from."""
        definition = MEASURES[self.measure]
        reference = f"that of the last {RECENT} candles"
        if definition.reference == "time_of_day":
            reference = "that of past candles at the same time of day"
        elif definition.quantity in ("span", "close_span"):
            reference = "that of past windows"
        at = format_steps(self.step)
        sentence = {
            "better": f"{definition.words} better than {reference} at {at}",
            "worse": f"{definition.words} worse than {reference} at {at}",
            "no evidence": f"no evidence of a better {definition.words} than {reference} at {at}",
        }.get(self.word, "too few dates to say")
        return f"{sentence} (skill {format_estimate(self.skill)}, n = {self.n:,})"


@dataclass(frozen=True, slots=True)
class ClusteringFigures:
    """Clustering of volatility within the paths of one forecaster, in one group.

    Attributes:
        forecaster: Name of the forecaster.
        group: Market at an interval, or ``all``.
        of: Absolute ``returns`` or ``ranges``.
        steps: Length of the paths.
        n: Number of forecasts.
        paths: Mean autocorrelation at lag 1 within paths.
        actual: That of the actual futures, of the same length.
        history: That of the past, over windows of the same length.
        difference: Paths minus actual futures.
        history_difference: Paths minus past.
        word: ``weaker`` if the interval of the difference to the actual futures lies below 0, ``stronger`` if above.
    """

    forecaster: str
    group: str
    of: Clustered
    steps: int
    n: int
    paths: float
    actual: float
    history: float
    difference: Estimate
    history_difference: Estimate
    word: ClusteringWord

    @property
    def sentence(self) -> str:
        """The conclusion in words, with the figures it follows from."""
        sentence = {
            "weaker": f"{self.of} cluster less than in the market",
            "stronger": f"{self.of} cluster more than in the market",
            "no evidence": f"no evidence that {self.of} cluster less or more than in the market",
            "too few dates": "too few dates to say",
        }[self.word]
        found = self.difference
        return (
            f"{sentence} (autocorrelation {self.paths:.3f} in paths, {self.actual:.3f} in the market, difference "
            f"{found.estimate:+.3f}, {found.low:+.3f} to {found.high:+.3f}, n = {self.n:,})"
        )


@dataclass(frozen=True, slots=True)
class OmittedCandles:
    """Measures that are not scored, with the reason.

    Attributes:
        forecaster: Name of the forecaster; ``all`` if the candles are the reason.
        group: Market at an interval; ``all`` if the forecaster is the reason.
        measures: The measures, or ``clustering``.
        reason: The reason.
    """

    forecaster: str
    group: str
    measures: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class WholeCandles:
    """The scores of whole candles of an evaluation.

    Attributes:
        figures: Figures by forecaster, group, measure and step.
        clustering: Clustering by forecaster and group.
        omitted: What is not scored, and why.
    """

    figures: Sequence[CandleFigures]
    clustering: Sequence[ClusteringFigures]
    omitted: Sequence[OmittedCandles]

    def select(
        self, forecaster: str, group: str = ALL, measure: CandleMeasure | None = None, step: int | None = None
    ) -> list[CandleFigures]:
        """Return the figures of one forecaster in one group, of all measures or steps where None."""
        return [
            own
            for own in self.figures
            if (own.forecaster, own.group) == (forecaster, group)
            and measure in (None, own.measure)
            and step in (None, own.step)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the part of the JSON document; unknown numbers are NaN."""
        return {
            "figures": [{**asdict(own), "sentence": own.sentence} for own in self.figures],
            "clustering": [{**asdict(own), "sentence": own.sentence} for own in self.clustering],
            "omitted": [asdict(own) for own in self.omitted],
        }


def score_whole_candles(
    plan: Plan, actuals: Actuals, paths: Mapping[str, ForecastPaths], scores: Scores
) -> WholeCandles:
    """Score the whole candles of all forecasters at the origins and steps of the other scores.

    Args:
        plan: The origins.
        actuals: The outcomes.
        paths: Sample paths by forecaster, with the losses of their candles.
        scores: The scores of the close.
    """
    origins = np.sort(scores.steps["origin"].unique())
    steps = sorted(scores.steps["step"].unique().tolist())
    losses: dict[str, CandleLosses] = {}
    omitted = []
    parts: dict[str, BoolArray] = {}
    for name, own in paths.items():
        if own.candles is None:
            reason = "no candles are stored: only its closes are corrected, or an earlier version forecast it"
            omitted.append(OmittedCandles(name, ALL, (*MEASURES, "clustering"), reason))
            continue
        parts[name] = own.candles.sampled[origins].any(axis=0)
        losses[name] = own.candles
        omitted += _omitted_of(name, parts[name])
    table = _Table(plan.select(origins), actuals, origins, steps, CandleReferences.of(plan.select(origins), steps))
    figures = [
        found
        for name, own in losses.items()
        for measure, definition in MEASURES.items()
        if parts[name][0] and parts[name][definition.needs]
        for found in table.figures(name, own, measure)
    ]
    clusters = [
        found
        for name, own in losses.items()
        if parts[name][0]
        for found in table.clustering(name, own, ranges=bool(parts[name][1]))
    ]
    omitted += table.omitted()
    return WholeCandles(figures, clusters, omitted)


def _omitted_of(name: str, parts: BoolArray) -> Iterator[OmittedCandles]:
    """What is not scored for one forecaster, by reason."""
    if not parts[0]:
        yield OmittedCandles(name, ALL, (*MEASURES, "clustering"), _REASONS[0])
        return
    for need in (1, 2, 3):
        if not parts[need]:
            measures = [str(key) for key, own in MEASURES.items() if own.needs == need]
            measures += ["clustering of ranges"] if need == 1 else []
            yield OmittedCandles(name, ALL, tuple(measures), _REASONS[need])


class _Table:
    """Computes the figures from losses and references at the scored origins."""

    def __init__(
        self, plan: Plan, actuals: Actuals, origins: IntArray, steps: Sequence[int], references: CandleReferences
    ) -> None:
        self._plan, self._origins, self._steps, self._references = plan, origins, steps, references
        labels = actuals.origins.iloc[origins]
        self._labels = labels["group"].to_numpy().astype(np.str_)
        self._dates = labels["date"].to_numpy()
        self._sigma = actuals.sigma[origins]
        large = large_groups(self._labels)
        self._groups = {group: self._labels == group for group in sorted(set(self._labels.tolist()))}
        self._groups[ALL] = np.isin(self._labels, sorted(large))
        self._intraday = {own.group: own.candles.interval.intraday for own in plan.instruments}

    def figures(self, name: str, losses: CandleLosses, measure: CandleMeasure) -> Iterator[CandleFigures]:
        """The figures of one measure at every step in every group."""
        definition = MEASURES[measure]
        crps = losses.of_quantity(definition.quantity)[self._origins]
        forecast = np.isfinite(losses.median_gap[self._origins, 0])
        for place, step in enumerate(self._steps):
            if step == 1 and definition.quantity in ("span", "close_span"):
                continue  # the range of one candle
            unit = 1.0 if definition.unit is None else self._sigma * step**definition.unit
            own = crps[:, step - 1] / unit
            reference = self._references.crps[definition.quantity, definition.reference][:, place] / unit
            known = np.isfinite(own) & np.isfinite(reference)
            overlap = self._plan.rolling.overlap(step)
            for group, members in self._groups.items():
                rows = members & known
                if not rows.any():
                    continue
                labels = self._labels[rows]
                skill = equal_skill(own[rows], reference[rows], labels, self._dates[rows], overlap)
                yield CandleFigures(
                    forecaster=name,
                    group=group,
                    measure=measure,
                    step=step,
                    n=int(rows.sum()),
                    left_out=int((members & forecast & ~known).sum()),
                    crps=equal_mean(own[rows], labels),
                    reference_crps=equal_mean(reference[rows], labels),
                    skill=skill,
                    word=word_of(skill, 0.0),
                    undefined=self._undefined(losses, measure, step, rows),
                    details=self._details(losses, measure, step, rows),
                )

    def _undefined(self, losses: CandleLosses, measure: CandleMeasure, step: int, rows: BoolArray) -> float:
        place = {"volume": 0, "upper_wick": 1, "lower_wick": 1}.get(MEASURES[measure].quantity)
        if place is None:
            return 0.0
        return equal_mean(losses.undefined[self._origins[rows], place, step - 1], self._labels[rows])

    def _details(self, losses: CandleLosses, measure: CandleMeasure, step: int, rows: BoolArray) -> dict[str, Estimate]:
        labels, dates, overlap = self._labels[rows], self._dates[rows], self._plan.rolling.overlap(step)
        if measure == "volume":
            distinct = losses.distinct_volumes[self._origins[rows], step - 1]
            return {"distinct_values": equal_share(distinct, labels, dates, overlap)}
        if measure == "gap":
            sigma = self._sigma[rows]
            own = losses.median_gap[self._origins[rows], step - 1] / sigma
            return {"median_ratio": _ratio(own, self._references.median_gap[rows] / sigma, labels, dates, overlap)}
        return {}

    def clustering(self, name: str, losses: CandleLosses, *, ranges: bool) -> Iterator[ClusteringFigures]:
        """The clustering of paths in every group; none if they are too short."""
        horizon = self._plan.rolling.horizon
        overlap = self._plan.rolling.overlap(horizon)
        kinds: tuple[Clustered, ...] = ("returns", "ranges") if ranges else ("returns",)
        for place, of in enumerate(kinds):
            own = losses.clustering[self._origins, place].astype(np.float64)
            actual, past = self._references.actual_clustering[:, place], self._references.past_clustering[:, place]
            known = np.isfinite(own) & np.isfinite(actual) & np.isfinite(past)
            for group, members in self._groups.items():
                rows = members & known
                if not rows.any():
                    continue
                labels, dates = self._labels[rows], self._dates[rows]
                difference = equal_share((own - actual)[rows], labels, dates, overlap)
                yield ClusteringFigures(
                    forecaster=name,
                    group=group,
                    of=of,
                    steps=horizon,
                    n=int(rows.sum()),
                    paths=equal_mean(own[rows], labels),
                    actual=equal_mean(actual[rows], labels),
                    history=equal_mean(past[rows], labels),
                    difference=difference,
                    history_difference=equal_share((own - past)[rows], labels, dates, overlap),
                    word=_clustering_word(difference),
                )

    def omitted(self) -> Iterator[OmittedCandles]:
        """Measures that the candles of a group do not allow, by reason."""
        for group, members in self._groups.items():
            if group == ALL:
                continue
            reasons: dict[str, list[str]] = {}
            for measure, definition in MEASURES.items():
                known = self._references.actual_known[definition.quantity][members]
                reference = self._references.crps[definition.quantity, definition.reference][members]
                if not known.any():
                    reason = "zero volumes" if definition.quantity == "volume" else "candles without a range"
                    reasons.setdefault(reason, []).append(measure)
                elif not np.isfinite(reference).any():
                    long = definition.reference == "time_of_day" and not self._intraday[group]
                    reason = "an interval of a day or longer" if long else "histories too short for the reference"
                    reasons.setdefault(reason, []).append(measure)
            for reason, measures in reasons.items():
                yield OmittedCandles(ALL, group, tuple(measures), reason)
        if self._plan.rolling.horizon < MIN_STEPS:
            yield OmittedCandles(ALL, ALL, ("clustering",), f"paths of fewer than {MIN_STEPS} steps")


def _ratio(own: FloatArray, other: FloatArray, labels: Any, dates: Any, overlap: int) -> Estimate:
    """The ratio of two means, with an interval."""
    skill = equal_skill(own, other, labels, dates, overlap)
    return replace(skill, estimate=1 - skill.estimate, low=1 - skill.high, high=1 - skill.low)


def _clustering_word(difference: Estimate) -> ClusteringWord:
    words: dict[str, ClusteringWord] = {"better": "stronger", "worse": "weaker", "no evidence": "no evidence"}
    return words.get(word_of(difference, 0.0), "too few dates")

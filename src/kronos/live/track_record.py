"""The track record: how good the forecasts of a series have been so far, bad days included.

Estimates are plain means over all scored forecasts. Verdicts, and the bounds beside the estimates, come from completed
blocks of H origins; see `kronos.live.block_sequences` for why they hold although outcomes overlap and somebody looks
every hour. Each verdict errs with probability 0.05 at most over the whole record, not all of them together. Intervals
of reliability bins hold for one bin at one time.

- CRPS skill is 1 - ΣM / ΣB, with CRPS in units of σ√h. Its bounds are those of the average gain g of a block,
  (B - M) / (B + M) within ±¼, converted by 2g / (1 + g): blocks count equally, so that one wild day cannot decide.
- Coverage is compared with what S calibrated paths attain, `kronos.metrics.attainable_coverage`.
- Brier scores are compared with a coin and with the base rate: the frequency among the outcomes known at the origin,
  (k + 1) / (n + 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kronos.formatting import json_safe
from kronos.live.block_sequences import (
    GAIN_LIMIT,
    Bounds,
    BoundsPath,
    CoverageTest,
    average_bounds,
    block_gains,
    coverage_test,
    gain_to_skill,
)
from kronos.live.block_sums import EVENTS, BlockSums
from kronos.live.entries import LEVELS, Entry
from kronos.live.track_figures import (
    BrierFigure,
    CoverageFigure,
    EarlierSeries,
    RecordCounts,
    ReliabilityFigure,
    SkillCurve,
    SkillFigure,
)
from kronos.live.verdicts import RecordVerdict, Value, coverage_verdict, difference_verdict
from kronos.metrics import attainable_coverage, reliability
from kronos.typing import FloatArray

OWN = ("calibrated", "raw")  # contenders that are judged; the others are baselines
STEPS = (1, 4, 8, 24)  # that coverage and skill are shown at, with the last
_LIMITS = {"coin": (-0.75, 0.25), "base_rate": (-1.0, 1.0)}  # of the differences of Brier scores
_QUESTIONS = {"upside": "coin", "amplification": "base_rate"}  # what the verdict on a probability compares it with
_BINS = 10
_DIGITS = 6  # of figures in JSON
_DIGITS_OF_CURVES = 4


@dataclass(frozen=True)
class TrackRecord:
    """Figures of a series.

    Attributes:
        horizon: Steps of a forecast, and origins of a block.
        simulated: Whether the candles are simulated.
        counts: Origins and outcomes by kind.
        verdicts: What the record says so far.
        coverage: Coverage by contender, level and step.
        skill: CRPS skill by contender, baseline and step.
        brier: Brier scores by contender, event and reference.
        reliability: Bins by contender and event.
        increments: Mean score of price changes in basis points, by number of steps and contender.
        curves: Skill over time.
        final: Whether as many forecasts are scored as the protocol announced, so that figures change no more.
        earlier: Earlier series of the same symbol, whose protocol was another.
    """

    horizon: int
    simulated: bool
    counts: RecordCounts
    verdicts: tuple[RecordVerdict, ...]
    coverage: tuple[CoverageFigure, ...]
    skill: tuple[SkillFigure, ...]
    brier: tuple[BrierFigure, ...]
    reliability: tuple[ReliabilityFigure, ...]
    increments: Mapping[str, Mapping[str, float]]
    curves: tuple[SkillCurve, ...]
    final: bool = False
    earlier: tuple[EarlierSeries, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as values for JSON; what is unknown is None."""
        figures: dict[str, Any] = json_safe(_rounded(asdict(self)))
        return figures

    def sentences(self) -> list[str]:
        """Return the verdicts in English."""
        return [verdict.sentence() for verdict in self.verdicts]


class TrackRecordData:
    """The rows of a series so far, and its figures.

    Args:
        protocol: Protocol of the series.
    """

    def __init__(self, protocol: Mapping[str, Any]) -> None:
        self.simulated = bool(protocol["simulated"])
        self._sums = BlockSums(protocol)
        self._sequences: _Sequences | None = None

    def extend(self, entries: Iterable[Entry]) -> None:
        """Add new entries of the series in the order of the record.

        Raises:
            ValueError: If an outcome has no forecast.
        """
        self._sums.extend(entries)

    def summarize(self) -> TrackRecord:
        """Compute the figures so far."""
        sums = self._sums
        if self._sequences is None or self._sequences.key != (sums.completed, sums.contenders):
            self._sequences = _Sequences(sums)  # they change once in H origins, when a block is completed
        sequences = self._sequences
        return TrackRecord(
            sums.horizon,
            self.simulated,
            _counts(sums),
            tuple(sequences.verdicts(sums)),
            tuple(_coverage(sums, sequences)),
            tuple(_skill(sums, sequences)),
            tuple(_brier(sums, sequences)),
            tuple(_reliability(sums)),
            {
                str(k): dict(zip(sums.contenders, sums.increments[:, i].tolist(), strict=True))
                for i, k in enumerate(sums.steps)
            },
            sequences.curves,
            sums.final,
        )


class _Sequences:
    """Bounds and tests from the completed blocks of a series.

    Args:
        sums: The sums so far.
    """

    def __init__(self, sums: BlockSums) -> None:
        self.key = (sums.completed, sums.contenders)
        self.skill: dict[tuple[str, str, int | None], Bounds] = {}
        self.coverage: dict[tuple[str, int, int | None], CoverageTest] = {}
        self.brier: dict[tuple[str, str, str], Bounds] = {}
        curves = []
        for name in _own(sums):
            for baseline in _baselines(sums):
                for step in _steps(sums):
                    path = _gain_path(sums, name, baseline, step)
                    self.skill[name, baseline, step] = path.last
                    if step is None:
                        curves.append(_curve(sums, name, baseline, path))
            for level in LEVELS:
                for step in _steps(sums):
                    self.coverage[name, level, step] = _coverage_test(sums, name, level, step)
            for event in EVENTS:
                for reference, limits in _LIMITS.items():
                    scores, others = _brier_scores(sums, name, event, reference)
                    by_block = _block_means(others - scores, sums)
                    self.brier[name, event, reference] = average_bounds(by_block, *limits).last
        self.curves = tuple(curves)

    def verdicts(self, sums: BlockSums) -> Iterator[RecordVerdict]:
        """Yield what the bounds say: skill over all steps, bands over all steps, and both probabilities."""
        for name in _own(sums):
            for baseline in _baselines(sums):
                bounds = _as_skill(self.skill[name, baseline, None])
                yield difference_verdict("skill", bounds, {"contender": name, "baseline": baseline})
            for level in LEVELS:
                values: dict[str, Value] = {"contender": name, "level": level, "target": _target(sums, level)}
                yield coverage_verdict(self.coverage[name, level, None], values)
            for event, reference in _QUESTIONS.items():
                values = {"contender": name, "reference": reference}
                yield difference_verdict(event, self.brier[name, event, reference], values)


def _own(sums: BlockSums) -> list[str]:
    return [name for name in OWN if name in sums.contenders]


def _baselines(sums: BlockSums) -> list[str]:
    return [name for name in sums.contenders if name not in OWN]


def _steps(sums: BlockSums) -> list[int | None]:
    """Return the steps that are shown; None stands for all."""
    return [None, *sorted({step for step in STEPS if step <= sums.horizon} | {sums.horizon})]


def _over_steps(array: FloatArray, step: int | None) -> FloatArray:
    """Return one step, or the sum over all of them, on the last axis."""
    return np.asarray(array.sum(axis=-1) if step is None else array[..., step - 1], dtype=np.float64)


def _target(sums: BlockSums, level: int) -> float:
    return attainable_coverage(level / 100, sums.samples)


def _gain_path(sums: BlockSums, name: str, baseline: str, step: int | None) -> BoundsPath:
    whole = slice(sums.completed)
    crps = np.where(sums.compared[whole, None] > 0, _over_steps(sums.crps[whole], step), np.nan)
    own, other = (crps[:, sums.contenders.index(contender)] for contender in (name, baseline))
    return average_bounds(block_gains(own, other), -GAIN_LIMIT, GAIN_LIMIT)


def _curve(sums: BlockSums, name: str, baseline: str, path: BoundsPath) -> SkillCurve:
    estimate, lower, upper = (
        tuple(np.round(gain_to_skill(part), _DIGITS_OF_CURVES).tolist())
        for part in (path.estimate, path.lower, path.upper)
    )
    origins = tuple(sums.origins[sums.horizon - 1 : sums.completed * sums.horizon : sums.horizon])
    return SkillCurve(name, baseline, origins, estimate, lower, upper)


def _coverage_test(sums: BlockSums, name: str, level: int, step: int | None) -> CoverageTest:
    whole, contender = slice(sums.completed), sums.contenders.index(name)
    inside = _over_steps(sums.inside[whole, contender, LEVELS.index(level)], step)
    closes = sums.scored[whole, contender] * (sums.horizon if step is None else 1)
    shares = np.divide(inside, closes, out=np.full(len(inside), np.nan), where=closes > 0)
    return coverage_test(shares, _target(sums, level))


def _brier_scores(sums: BlockSums, name: str, event: str, reference: str) -> tuple[FloatArray, FloatArray]:
    """Return the Brier scores of a contender and of a reference by origin; NaN where there is none. `[origins]`."""
    happened = sums.happened[:, EVENTS.index(event)]
    chance = sums.chances[:, EVENTS.index(event), sums.contenders.index(name)]
    other = np.full(len(happened), 0.5) if reference == "coin" else _base_rate(happened, sums.horizon)
    scores = (chance - happened) ** 2
    return scores, np.where(np.isnan(scores), np.nan, (other - happened) ** 2)


def _base_rate(happened: FloatArray, horizon: int) -> FloatArray:
    """Return the frequency of an event among the outcomes known at each origin, (k + 1) / (n + 2). `[origins]`."""
    known = ~np.isnan(happened)
    totals = np.cumsum([np.where(known, happened, 0.0), known], axis=1)
    earlier = np.concatenate([np.zeros((2, horizon)), totals], axis=1)[:, : len(happened)]  # settled H origins later
    return np.asarray((earlier[0] + 1) / (earlier[1] + 2), dtype=np.float64)


def _block_means(values: FloatArray, sums: BlockSums) -> FloatArray:
    """Average the known values of each completed block; NaN where there is none. `[blocks]`."""
    blocks = values[: sums.completed * sums.horizon].reshape(sums.completed, sums.horizon)
    known = (~np.isnan(blocks)).sum(axis=1)
    means: FloatArray = np.divide(np.nansum(blocks, axis=1), known, out=np.full(len(blocks), np.nan), where=known > 0)
    return means


def _as_skill(gain: Bounds) -> Bounds:
    estimate, lower, upper = gain_to_skill(np.array([gain.estimate, gain.lower, gain.upper])).tolist()
    return Bounds(estimate, lower, upper, gain.blocks)


def _counts(sums: BlockSums) -> RecordCounts:
    counts, total = sums.counts, len(sums.origins)
    return RecordCounts(
        forecasts=counts["forecast"],
        scored=counts["score"],
        pending=sums.pending,
        unresolved=counts["unresolved"],
        late=counts["late"],
        missed=counts["missed"],
        revisions=counts["revision"],
        first=sums.origins[0] if total else "",
        last=sums.origins[-1] if total else "",
        timely=counts["forecast"] / total if total else math.nan,
    )


def _coverage(sums: BlockSums, sequences: _Sequences) -> Iterator[CoverageFigure]:
    for (name, level, step), test in sequences.coverage.items():
        contender = sums.contenders.index(name)
        inside = float(_over_steps(sums.inside[:, contender, LEVELS.index(level)], step).sum())
        n = int(sums.scored[:, contender].sum()) * (sums.horizon if step is None else 1)
        bounds = test.bounds
        yield CoverageFigure(
            contender=name,
            level=level,
            step=step,
            target=_target(sums, level),
            estimate=inside / n if n else math.nan,
            lower=bounds.lower,
            upper=bounds.upper,
            n=n,
            blocks=bounds.blocks,
        )


def _skill(sums: BlockSums, sequences: _Sequences) -> Iterator[SkillFigure]:
    totals, n = sums.crps.sum(axis=0), int(sums.compared.sum())
    for (name, baseline, step), gain in sequences.skill.items():
        own, other = (float(_over_steps(totals[sums.contenders.index(c)], step)) for c in (name, baseline))
        bounds = _as_skill(gain)
        yield SkillFigure(
            contender=name,
            baseline=baseline,
            step=step,
            crps=own / (n * (sums.horizon if step is None else 1)) if n else math.nan,
            estimate=1 - own / other if other > 0 else math.nan,
            block_estimate=bounds.estimate,
            lower=bounds.lower,
            upper=bounds.upper,
            n=n,
            blocks=bounds.blocks,
        )


def _brier(sums: BlockSums, sequences: _Sequences) -> Iterator[BrierFigure]:
    for (name, event, reference), bounds in sequences.brier.items():
        scores, others = (values[~np.isnan(values)] for values in _brier_scores(sums, name, event, reference))
        score, other = (float(values.mean()) if len(values) else math.nan for values in (scores, others))
        yield BrierFigure(
            contender=name,
            event=event,
            reference=reference,
            score=score,
            reference_score=other,
            skill=1 - score / other if other > 0 else math.nan,
            lower=bounds.lower,
            upper=bounds.upper,
            n=len(scores),
            blocks=bounds.blocks,
        )


def _reliability(sums: BlockSums) -> Iterator[ReliabilityFigure]:
    blocks = np.arange(len(sums.origins)) // sums.horizon
    for name in _own(sums):
        for e, event in enumerate(EVENTS):
            chance, happened = sums.chances[:, e, sums.contenders.index(name)], sums.happened[:, e]
            # Outcomes of one block overlap, and those of a block and the next.
            for part in reliability(chance, happened, blocks, bins=_BINS, overlap=2).bins:
                observed = part.observed
                yield ReliabilityFigure(
                    name, event, part.forecast, observed.estimate, observed.low, observed.high, part.n
                )


def _rounded(value: Any) -> Any:
    """Round the numbers of nested values to digits that are worth publishing."""
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, _DIGITS) if isinstance(value, float) else value

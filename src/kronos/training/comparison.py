"""Comparison of a trained model with its initial weights: measures, verdict rule, storage as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from kronos.atomic import write_text
from kronos.errors import DataError
from kronos.evaluation import Evaluation
from kronos.evaluation.verdicts import MIN_DATES
from kronos.formatting import format_signed, json_safe, to_json
from kronos.metrics import Estimate

TrainingVerdict = Literal["helped", "helped in part", "no evidence", "harmed", "from scratch"]
MeasureVerdict = Literal["better", "no evidence", "worse", "too few dates"]
MeasureName = Literal["nll", "reconstruction", "crps"]
ContenderKind = Literal["tuned", "start", "reference", "baseline"]

KIND = "kronos comparison"
FORMAT = 1
RULE = (
    "Helped: the 95 % interval of the change lies below zero in NLL, reconstruction error or CRPS, and above zero in "
    "none of them; only in part if sampled forecasts were scored and their CRPS is not among the improved measures. "
    "Harmed: above zero in at least one measure, and below zero in none. If measures contradict each other, CRPS "
    "decides, because it measures the forecasts; if CRPS is undecided too, the verdict is no evidence. Otherwise, and "
    f"with fewer than {MIN_DATES} dates: no evidence."
)
UNITS: Mapping[MeasureName, str] = {"nll": "nats per candle", "reconstruction": "one-step volatilities", "crps": "σ√h"}
_LABELS: Mapping[MeasureName, str] = {"nll": "NLL", "reconstruction": "error of the close", "crps": "CRPS"}
_BETTER: Mapping[MeasureName, str] = {
    "nll": "the tokens of unseen candles are more likely",
    "reconstruction": "the tokenizer's closes are closer to the actual ones",
    "crps": "sampled forecasts are better",
}
_WORSE: Mapping[MeasureName, str] = {
    "nll": "the tokens of unseen candles are less likely",
    "reconstruction": "the tokenizer's closes are further from the actual ones",
    "crps": "sampled forecasts are worse",
}
_CONCLUSIONS: Mapping[TrainingVerdict, str] = {
    "helped": "Training helped",
    "helped in part": "Training helped in part",
    "no evidence": "No evidence that training helped",
    "harmed": "Training harmed",
    "from scratch": "Trained from scratch, without initial weights to compare with",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A loss before and after training; lower is better.

    Attributes:
        name: ``nll``, ``reconstruction`` or ``crps``.
        start: Mean loss of the initial weights.
        tuned: Mean loss of the trained weights.
        change: Mean difference (tuned minus start) at the same origins, with its interval.
        by_group: ``start``, ``tuned`` and the number ``n`` of origins by group (market at an interval).
    """

    name: MeasureName
    start: float
    tuned: float
    change: Estimate
    by_group: Mapping[str, Mapping[str, float]]

    @property
    def unit(self) -> str:
        """Unit of the losses."""
        return UNITS[self.name]

    @property
    def verdict(self) -> MeasureVerdict:
        """``better`` if the interval of the change lies below zero, ``worse`` if above; none with too few dates."""
        change = self.change
        if change.dates < MIN_DATES or math.isnan(change.low) or math.isnan(change.high):
            return "too few dates"
        if change.high < 0:
            return "better"
        return "worse" if change.low > 0 else "no evidence"

    @property
    def figures(self) -> str:
        """Figures as text: ``NLL 4.213 → 4.105 nats per candle, change −0.108, −0.131 to −0.085``."""
        change, low, high = (
            format_signed(value) for value in (self.change.estimate, self.change.low, self.change.high)
        )
        interval = f", {low} to {high}" if math.isfinite(self.change.low) else ""
        return f"{_LABELS[self.name]} {self.start:.3f} → {self.tuned:.3f} {self.unit}, change {change}{interval}"

    @property
    def sentence(self) -> str:
        """The verdict as a clause, with the figures."""
        better = _BETTER[self.name]
        clause = {
            "better": better,
            "worse": _WORSE[self.name],
            "no evidence": f"no evidence that {better}",
            "too few dates": f"too few dates to say whether {better}",
        }[self.verdict]
        return f"{clause} ({self.figures})"


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """Forecast scores of one contender over all groups.

    Attributes:
        name: Name in tables.
        kind: ``tuned``, ``start``, ``reference`` (which skill is measured against) or ``baseline``.
        n: Number of forecasts.
        crps: Mean CRPS in σ√h by step ahead.
        skill: Skill against the reference at the horizon; None for the reference itself.
        coverage: Share of outcomes within the 80 % band at the horizon; None for point forecasts.
    """

    name: str
    kind: ContenderKind
    n: int
    crps: Mapping[str, float]
    skill: Estimate | None
    coverage: Estimate | None


@dataclass(frozen=True)
class TrainingComparison:
    """Comparison of a trained model with its initial weights and with baselines.

    Attributes:
        measures: Losses before and after; empty for a training from scratch.
        contenders: Forecast scores of all contenders at the same origins; empty if only a tokenizer was trained.
        against_baselines: Verdicts of the evaluation on the trained model.
        notes: What was not measured, and why.
        warnings: Warnings about the reliability of the result.
        names: Names of the initial model (None: from scratch) and the trained model.
        tested: Extent of the test: ``first``, ``last``, ``origins``, ``windows``, ``instruments``, ``groups``,
            ``lookback``, ``horizon``, ``paths``.
        provenance: Digest of the plan, seed, versions, time.
        evaluation: All forecasts and figures; None for a stored comparison, or one without forecasts.
    """

    measures: tuple[Measure, ...]
    contenders: tuple[ComparisonRow, ...]
    against_baselines: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    names: tuple[str | None, str]
    tested: Mapping[str, Any]
    provenance: Mapping[str, Any]
    evaluation: Evaluation | None = field(default=None, compare=False, repr=False)

    @property
    def verdict(self) -> TrainingVerdict:
        """Verdict by `RULE`; ``from scratch`` without initial weights."""
        return verdict_of(self.measures) if self.names[0] is not None else "from scratch"

    @property
    def sentence(self) -> str:
        """The verdict as a sentence, with the figures it follows from."""
        verdict = self.verdict
        reasons = [measure.sentence for measure in self.measures] or list(self.against_baselines[:1])
        return f"{_CONCLUSIONS[verdict]}{': ' if reasons else ''}{'; '.join(reasons)}."

    def to_dict(self) -> dict[str, Any]:
        """Everything but the forecasts, ready for JSON."""
        document = {
            "kind": KIND,
            "format": FORMAT,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "rule": RULE,
            "names": {"start": self.names[0], "tuned": self.names[1]},
            "tested": dict(self.tested),
            "measures": [
                {**asdict(measure), "word": measure.verdict, "unit": measure.unit} for measure in self.measures
            ],
            "rivals": [asdict(row) for row in self.contenders],
            **{name: list(getattr(self, name)) for name in ("against_baselines", "notes", "warnings")},
            "made": dict(self.provenance),
        }
        return {name: json_safe(value) for name, value in document.items()}

    def save(self, path: Path) -> Path:
        """Write the comparison as JSON, atomically.

        Raises:
            StorageError: If the file cannot be written.
        """
        write_text(path, to_json(self.to_dict()) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> TrainingComparison:
        """Read a comparison written by `save`, without its forecasts.

        Raises:
            DataError: If the file cannot be read.
        """
        try:
            return cls._from_dict(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is not a valid comparison: compare again.") from error

    @classmethod
    def _from_dict(cls, document: Mapping[str, Any]) -> TrainingComparison:
        return cls(
            measures=tuple(_to_measure(values) for values in document["measures"]),
            contenders=tuple(
                ComparisonRow(
                    **{
                        **values,
                        "crps": _to_floats(values["crps"]),
                        "skill": _to_estimate(values["skill"]),
                        "coverage": _to_estimate(values["coverage"]),
                    }
                )
                for values in document["rivals"]
            ),
            against_baselines=tuple(document["against_baselines"]),
            notes=tuple(document["notes"]),
            warnings=tuple(document["warnings"]),
            names=(document["names"]["start"], document["names"]["tuned"]),
            tested=document["tested"],
            provenance=document["made"],
        )

    def summary(self) -> list[str]:
        """Lines for a terminal: verdict, extent of the test, CRPS of all contenders, notes and warnings."""
        tested = self.tested
        lines = [
            self.sentence,
            f"Tested on candles not used in training, {tested['first']} to {tested['last']}: {_extent(tested)}.",
            *(f"{self.names[1]}: {sentence}." for sentence in self.against_baselines),
        ]
        if self.contenders:
            step = str(tested["horizon"])
            lines.append(f"CRPS in σ√h at {step} candles ahead, lower is better:")
            width = max(len(row.name) for row in self.contenders)
            for row in sorted(self.contenders, key=lambda row: row.crps[step]):
                coverage = "" if row.coverage is None else f"   80 % band covers {row.coverage.estimate:.0%}"
                lines.append(f"  {row.name:<{width}}  {row.crps[step]:.3f}{coverage}")
        return lines + [f"Note: {note}" for note in self.notes] + [f"Warning: {text}" for text in self.warnings]


def verdict_of(measures: Sequence[Measure]) -> Literal["helped", "helped in part", "no evidence", "harmed"]:
    """Derive the verdict by `RULE`."""
    verdicts: dict[MeasureName, MeasureVerdict] = {measure.name: measure.verdict for measure in measures}
    better, worse = ("better" in verdicts.values(), "worse" in verdicts.values())
    if better and worse:
        better, worse = (verdicts.get("crps") == verdict for verdict in ("better", "worse"))
    if better:
        return "helped" if verdicts.get("crps", "better") == "better" else "helped in part"
    return "harmed" if worse else "no evidence"


def _extent(tested: Mapping[str, Any]) -> str:
    counts = [f"{tested['windows']:,} windows"] if tested["windows"] else []
    if tested["origins"]:
        counts.append(f"{tested['origins']:,} forecasts of {tested['horizon']} candles, {tested['paths']} paths each")
    return ", ".join([*counts, f"instruments: {tested['instruments']}"])


def _to_measure(values: Mapping[str, Any]) -> Measure:
    change = _to_estimate(values["change"])
    if change is None:
        raise KeyError("change")
    start, tuned = _to_float(values["start"]), _to_float(values["tuned"])
    groups = {group: _to_floats(figures) for group, figures in values["by_group"].items()}
    return Measure(values["name"], start, tuned, change, groups)


def _to_estimate(values: Mapping[str, Any] | None) -> Estimate | None:
    if values is None:
        return None
    numbers = {name: _to_float(values[name]) for name in ("estimate", "low", "high", "effective_n")}
    return Estimate(**{**values, **numbers})


def _to_float(value: float | None) -> float:
    """A number; null in JSON is NaN."""
    return math.nan if value is None else float(value)


def _to_floats(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: _to_float(value) for name, value in values.items()}

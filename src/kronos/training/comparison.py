"""What a comparison of a trained model with what it started from says, and by which rule."""

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
from kronos.evaluation.verdicts import FEW_DATES
from kronos.metrics import Estimate

Verdict = Literal["helped", "helped in part", "no evidence", "harmed", "from scratch"]
Word = Literal["better", "no evidence", "worse", "too few dates"]
Name = Literal["nll", "reconstruction", "crps"]
Kind = Literal["tuned", "start", "reference", "baseline"]

KIND = "kronos comparison"
FORMAT = 1
RULE = (
    "Helped: the 95 % interval of the change lies below zero in NLL, reconstruction error or CRPS, and in none of them "
    "above zero; in part only, where sampled forecasts are scored and their CRPS isn't among them. Harmed: above "
    "zero in one of them, and below in none. Where they contradict each other, the CRPS decides, because forecasts are "
    "what the model is for; where it says nothing, nothing is claimed. Otherwise, and on fewer than "
    f"{FEW_DATES} dates: no evidence."
)
UNITS: Mapping[Name, str] = {"nll": "nats a candle", "reconstruction": "one-step volatilities", "crps": "σ√h"}
_LABELS: Mapping[Name, str] = {"nll": "NLL", "reconstruction": "error of the close", "crps": "CRPS"}
_BETTER: Mapping[Name, str] = {
    "nll": "the tokens of unseen candles are likelier",
    "reconstruction": "the tokenizer's closes are nearer to the real ones",
    "crps": "sampled forecasts are better",
}
_WORSE: Mapping[Name, str] = {
    "nll": "the tokens of unseen candles are less likely",
    "reconstruction": "the tokenizer's closes are further from the real ones",
    "crps": "sampled forecasts are worse",
}
_CLAIMS: Mapping[Verdict, str] = {
    "helped": "Training helped",
    "helped in part": "Training helped in part",
    "no evidence": "No evidence that training helped",
    "harmed": "Training harmed",
    "from scratch": "Trained from scratch: there is nothing before to compare with",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One loss before and after; less is better.

    Attributes:
        name: ``nll``, ``reconstruction`` or ``crps``.
        start: Mean loss of what training started from.
        tuned: Mean loss of what was trained.
        change: Mean of tuned minus start at the same moments, with its interval.
        by_group: Of each market at an interval ``start``, ``tuned`` and the number ``n``.
    """

    name: Name
    start: float
    tuned: float
    change: Estimate
    by_group: Mapping[str, Mapping[str, float]]

    @property
    def unit(self) -> str:
        """Of the losses."""
        return UNITS[self.name]

    @property
    def word(self) -> Word:
        """``better`` if the change's interval lies below zero, ``worse`` if above; nothing on too few dates."""
        found = self.change
        if found.dates < FEW_DATES or math.isnan(found.low) or math.isnan(found.high):
            return "too few dates"
        if found.high < 0:
            return "better"
        return "worse" if found.low > 0 else "no evidence"

    @property
    def figures(self) -> str:
        """``NLL 4.213 → 4.105 nats a candle, change −0.108, −0.131 to −0.085``."""
        change, low, high = (signed(value) for value in (self.change.estimate, self.change.low, self.change.high))
        ends = f", {low} to {high}" if math.isfinite(self.change.low) else ""
        return f"{_LABELS[self.name]} {self.start:.3f} → {self.tuned:.3f} {self.unit}, change {change}{ends}"

    @property
    def sentence(self) -> str:
        """What it says, with the figures."""
        better = _BETTER[self.name]
        told = {
            "better": better,
            "worse": _WORSE[self.name],
            "no evidence": f"no evidence that {better}",
            "too few dates": f"too few dates to say whether {better}",
        }[self.word]
        return f"{told} ({self.figures})"


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """A row of the table: somebody's forecasts over all markets.

    Attributes:
        name: As tables call it.
        kind: ``tuned``, ``start``, ``reference`` (which skill is against) or ``baseline``.
        n: Forecasts.
        crps: Mean CRPS in σ√h by step ahead.
        skill: Against the reference at the horizon; None of the reference itself.
        coverage: Share of outcomes within the 80 % band at the horizon; None of forecasts that are a point.
    """

    name: str
    kind: Kind
    n: int
    crps: Mapping[str, float]
    skill: Estimate | None
    coverage: Estimate | None


@dataclass(frozen=True)
class Comparison:
    """What a training came to.

    Attributes:
        measures: Start against tuned; empty of a training from scratch.
        rivals: Everybody at the same moments; empty where only a tokenizer was trained.
        against_baselines: What may be said of the tuned model by itself: the evaluation's sentences.
        notes: What was not measured, and why.
        warnings: What a reader must know before believing it.
        names: What start (None: from scratch) and tuned are called.
        tested: On what: ``first``, ``last``, ``origins``, ``windows``, ``instruments``, ``groups``, ``lookback``,
            ``horizon``, ``paths``.
        made: Plan's digest, seed, versions, time.
        evaluation: All forecasts and figures; None of a comparison that was read, or has no forecasts.
    """

    measures: tuple[Measure, ...]
    rivals: tuple[ComparisonRow, ...]
    against_baselines: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    names: tuple[str | None, str]
    tested: Mapping[str, Any]
    made: Mapping[str, Any]
    evaluation: Evaluation | None = field(default=None, compare=False, repr=False)

    @property
    def verdict(self) -> Verdict:
        """By `RULE`; ``from scratch`` where there was nothing before."""
        return verdict_of(self.measures) if self.names[0] is not None else "from scratch"

    @property
    def sentence(self) -> str:
        """The verdict with the figures it follows from."""
        verdict = self.verdict
        reasons = [one.sentence for one in self.measures] or list(self.against_baselines[:1])
        return f"{_CLAIMS[verdict]}{': ' if reasons else ''}{'; '.join(reasons)}."

    def to_dict(self) -> dict[str, Any]:
        """Everything but the forecasts, ready for JSON."""
        lists = {name: list(getattr(self, name)) for name in ("against_baselines", "notes", "warnings")}
        told: dict[str, Any] = {
            "kind": KIND,
            "format": FORMAT,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "rule": RULE,
            "names": {"start": self.names[0], "tuned": self.names[1]},
            "tested": dict(self.tested),
            "measures": [{**asdict(one), "word": one.word, "unit": one.unit} for one in self.measures],
            "rivals": [asdict(one) for one in self.rivals],
            **lists,
            "made": dict(self.made),
        }
        plain: dict[str, Any] = finite(told)
        return plain

    def save(self, path: Path) -> Path:
        """Write it as JSON, whole or not at all.

        Raises:
            StorageError: If it cannot be written.
        """
        write_text(path, json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Comparison:
        """Read what `save` wrote; the forecasts are not there again.

        Raises:
            DataError: If it cannot be read.
        """
        try:
            return cls._of(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is no comparison that can be read; make it again.") from error

    @classmethod
    def _of(cls, told: Mapping[str, Any]) -> Comparison:
        return cls(
            measures=tuple(_measure(one) for one in told["measures"]),
            rivals=tuple(
                ComparisonRow(
                    **{
                        **one,
                        "crps": _numbers(one["crps"]),
                        "skill": _estimate(one["skill"]),
                        "coverage": _estimate(one["coverage"]),
                    }
                )
                for one in told["rivals"]
            ),
            against_baselines=tuple(told["against_baselines"]),
            notes=tuple(told["notes"]),
            warnings=tuple(told["warnings"]),
            names=(told["names"]["start"], told["names"]["tuned"]),
            tested=told["tested"],
            made=told["made"],
        )

    def summary(self) -> list[str]:
        """Lines for a terminal: the verdict, on what it was tested, everybody's CRPS, what speaks against it."""
        tested = self.tested
        lines = [
            self.sentence,
            f"Tested on candles that training never saw, {tested['first']} to {tested['last']}: {_extent(tested)}.",
            *(f"{self.names[1]}: {one}." for one in self.against_baselines),
        ]
        if self.rivals:
            step = str(tested["horizon"])
            lines.append(f"CRPS in σ√h at {step} candles ahead, less is better:")
            width = max(len(one.name) for one in self.rivals)
            for one in sorted(self.rivals, key=lambda rival: rival.crps[step]):
                covered = "" if one.coverage is None else f"   80 % band covers {one.coverage.estimate:.0%}"
                lines.append(f"  {one.name:<{width}}  {one.crps[step]:.3f}{covered}")
        return lines + [f"Note: {one}" for one in self.notes] + [f"Warning: {one}" for one in self.warnings]


def verdict_of(measures: Sequence[Measure]) -> Literal["helped", "helped in part", "no evidence", "harmed"]:
    """The verdict by `RULE`."""
    words: dict[Name, Word] = {one.name: one.word for one in measures}
    better, worse = ("better" in words.values(), "worse" in words.values())
    if better and worse:
        better, worse = (words.get("crps") == word for word in ("better", "worse"))
    if better:
        return "helped" if words.get("crps", "better") == "better" else "helped in part"
    return "harmed" if worse else "no evidence"


def signed(value: float, decimals: int = 3) -> str:
    """A change with its sign, a true minus; zero without."""
    text = f"{value:+.{decimals}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def _extent(tested: Mapping[str, Any]) -> str:
    """How much was tested."""
    counts = [f"{tested['windows']:,} windows"] if tested["windows"] else []
    if tested["origins"]:
        counts.append(f"{tested['origins']:,} forecasts of {tested['horizon']} candles, {tested['paths']} paths each")
    return ", ".join([*counts, f"instruments: {tested['instruments']}"])


def _measure(told: Mapping[str, Any]) -> Measure:
    change = _estimate(told["change"])
    if change is None:
        raise KeyError("change")
    start, tuned = _number(told["start"]), _number(told["tuned"])
    groups = {group: _numbers(figures) for group, figures in told["by_group"].items()}
    return Measure(told["name"], start, tuned, change, groups)


def _estimate(told: Mapping[str, Any] | None) -> Estimate | None:
    if told is None:
        return None
    numbers = {name: _number(told[name]) for name in ("estimate", "low", "high", "effective_n")}
    return Estimate(**{**told, **numbers})


def _number(value: float | None) -> float:
    """What JSON has as null is NaN."""
    return math.nan if value is None else float(value)


def _numbers(told: Mapping[str, float | None]) -> dict[str, float]:
    return {name: _number(value) for name, value in told.items()}


def finite(value: Any) -> Any:
    """The value with null for numbers that are not finite, and plain lists and numbers."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value

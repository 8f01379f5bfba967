"""Verdicts of a track record: keys and values for the messages of each language, and English sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kronos.formatting import percent
from kronos.live.block_sequences import Bounds, CoverageTest

Tone = Literal["good", "bad", "neutral", "early"]
Value = str | int | float

_SENTENCES = {
    "skill.early": "{contender}: too early to tell whether it is better than {baseline} ({evidence}).",
    "skill.better": "{contender}: better than {baseline} ({evidence}).",
    "skill.worse": "{contender}: worse than {baseline} ({evidence}).",
    "coverage.early": "{contender}: too early to tell whether the {level} % band covers what it should.",
    "coverage.consistent": "{contender}: the {level} % band is consistent with {target} so far ({evidence}).",
    "coverage.narrow": "{contender}: the {level} % band is too narrow for {target} ({evidence}).",
    "coverage.wide": "{contender}: the {level} % band is too wide for {target} ({evidence}).",
    "upside.early": (
        "{contender}: too early to tell whether the probability of a rise is better than a coin ({evidence})."
    ),
    "upside.better": "{contender}: the probability of a rise is better than a coin ({evidence}).",
    "upside.worse": "{contender}: the probability of a rise is worse than a coin ({evidence}).",
    "amplification.early": (
        "{contender}: too early to tell whether the probability of higher volatility is better than its frequency so "
        "far ({evidence})."
    ),
    "amplification.better": (
        "{contender}: the probability of higher volatility is better than its frequency so far ({evidence})."
    ),
    "amplification.worse": (
        "{contender}: the probability of higher volatility is worse than its frequency so far ({evidence})."
    ),
}
_SUBJECTS = {
    "skill": "CRPS skill",
    "coverage": "covered",
    "upside": "Brier score lower by",
    "amplification": "Brier score lower by",
}


INFORMATIVE = 0.2  # width of the bounds of a coverage up to which a right width is said to be consistent with them


@dataclass(frozen=True)
class RecordVerdict:
    """What the record says about one question so far.

    Attributes:
        key: Key of the message: ``skill.early``, ``coverage.narrow`` …
        tone: Whether it is good news.
        values: Values of the message: contender, what it is compared with, estimate, lower and upper bound (left out if
            unknown) and the number of blocks that the bounds rest on.
    """

    key: str
    tone: Tone
    values: Mapping[str, Value] = field(default_factory=dict)

    def sentence(self) -> str:
        """Return the verdict in English."""
        subject = self.key.partition(".")[0]
        values = dict(self.values)
        blocks = f"{values['blocks']} {'block' if values['blocks'] == 1 else 'blocks'}"
        if "lower" not in values:
            evidence = blocks
        elif subject in ("skill", "coverage"):
            low, high = (percent(float(values[end]), 1) for end in ("lower", "upper"))
            evidence = f"{_SUBJECTS[subject]} {low} to {high}, {blocks}"
        else:
            low, high = (f"{float(values[end]):.3f}" for end in ("lower", "upper"))
            evidence = f"{_SUBJECTS[subject]} {low} to {high}, {blocks}"
        if "target" in values:
            values["target"] = percent(float(values["target"]), 1)
        return _SENTENCES[self.key].format(**(values | {"evidence": evidence}))


def difference_verdict(subject: str, bounds: Bounds, values: Mapping[str, Value]) -> RecordVerdict:
    """Judge a difference that is above 0 if the contender is better.

    Args:
        subject: ``skill``, ``upside`` or ``amplification``.
        bounds: Its bounds.
        values: Contender, and what it is compared with.
    """
    found = dict(values) | _bounds_values(bounds)
    if bounds.lower > 0:
        return RecordVerdict(f"{subject}.better", "good", found)
    if bounds.upper < 0:
        return RecordVerdict(f"{subject}.worse", "bad", found)
    return RecordVerdict(f"{subject}.early", "early", found)


def coverage_verdict(test: CoverageTest, values: Mapping[str, Value]) -> RecordVerdict:
    """Judge a band by the test of its coverage.

    Args:
        test: The test.
        values: Contender, level in percent, and target.
    """
    found = dict(values) | _bounds_values(test.bounds)
    # Both may be found, at different times: then say what it is on the whole.
    below = test.bounds.estimate < float(values["target"])
    if test.too_narrow and (below or not test.too_wide):
        return RecordVerdict("coverage.narrow", "bad", found)
    if test.too_wide:
        return RecordVerdict("coverage.wide", "bad", found)
    if test.bounds.blocks and test.bounds.upper - test.bounds.lower <= INFORMATIVE:
        return RecordVerdict("coverage.consistent", "neutral", found)
    return RecordVerdict("coverage.early", "early", found)


def _bounds_values(bounds: Bounds) -> dict[str, Value]:
    values: dict[str, Value] = {"blocks": bounds.blocks}
    if not math.isnan(bounds.estimate):
        values |= {"estimate": bounds.estimate, "lower": bounds.lower, "upper": bounds.upper}
    return values

"""A verdict in words, by stated rules; "no evidence of an edge" is one of them.

Each is about one forecaster in one group (or over all) at the evaluation's horizon, against the reference, a random
walk:

- *price*: the 95 % interval of the CRPS skill lies above 0: better; below: worse; else no evidence.
- *direction*: the 95 % interval of the hit rate lies above one half and Pesaran and Timmermann's test rejects chance at
  5 %: better than a coin; the interval lies below one half: worse; else no evidence. Over all groups the test looks
  within each, so that markets of different drifts are not taken for knowledge.
- *volatility*: as for price, with the QLIKE loss of the expected realised variance.
- *bands*: the 95 % interval of the share of outcomes within the 80 % band lies below 80 %, and the share by more than
  `NEGLIGIBLE`: too narrow; above: too wide; else calibrated.

Intervals are by blocks of dates. Where they rest on fewer than `FEW_DATES` dates nothing is claimed. A skill above
`TOO_GOOD` at any step is reported as a likely leak, not as a success: no market gives that much away. A leak of one
candle shows at the first step and is hardly seen at the horizon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from kronos.evaluation.aggregate import ALL, Aggregates, Scores, told_steps
from kronos.evaluation.dates import reached
from kronos.evaluation.plan import WalkForward
from kronos.metrics import Estimate, bootstrap_skill, qlike

About = Literal["price", "direction", "volatility", "bands"]
Word = Literal["better", "no evidence", "worse", "too narrow", "calibrated", "too wide", "too few dates"]

FEW_DATES = 20
ENOUGH_FORECASTS = 400
TOO_GOOD = 0.5
NEGLIGIBLE = 0.03  # by how much a band's share may be off and still serve


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be said of a forecaster.

    Attributes:
        forecaster: Its name.
        group: Market at an interval, or ``all``.
        about: ``price``, ``direction``, ``volatility`` or ``bands``.
        word: The outcome.
        sentence: The same for people, with the figures it follows from.
    """

    forecaster: str
    group: str
    about: About
    word: Word
    sentence: str


def verdicts(figures: Sequence[Aggregates], scores: Scores, reference: str, walk: WalkForward) -> list[Verdict]:
    """Everything that may be said at the horizon; of the reference itself only its direction and bands.

    Args:
        figures: Of `summarise`.
        scores: What they were made of.
        reference: The forecaster that skill is measured against.
        walk: How origins were chosen.
    """
    found = []
    for one in figures:
        if one.step != walk.horizon:
            continue
        if one.skill is not None:
            found.append(_price(one, reference))
        if one.hit_rate is not None:
            found.append(_direction(one))
        if one.width > 0:  # a point forecast says nothing of how far prices may go
            found.append(_bands(one))
            if one.forecaster != reference and one.group != ALL:
                found += _volatility(one, scores, reference, walk)
    return found


def _price(one: Aggregates, reference: str) -> Verdict:
    assert one.skill is not None
    word = _word(one.skill, 0.0)
    against = f"than {reference} by CRPS at {told_steps(one.step)}"
    told = {
        "better": f"better {against}",
        "worse": f"worse {against}",
        "no evidence": f"no evidence of an edge over {reference} at {told_steps(one.step)}",
        "too few dates": "too few dates to say",
    }[word]
    return Verdict(one.forecaster, one.group, "price", word, f"{told} (skill {_range(one.skill)}, n = {one.n:,})")


def _direction(one: Aggregates) -> Verdict:
    assert one.hit_rate is not None
    word = _word(one.hit_rate, 0.5)
    if word == "better" and not (one.direction_p is not None and one.direction_p < 0.05):
        word = "no evidence"
    told = {
        "better": "better than a coin at the direction",
        "worse": "worse than a coin at the direction",
        "no evidence": "no evidence that it knows the direction",
        "too few dates": "too few dates to say",
    }[word]
    return Verdict(one.forecaster, one.group, "direction", word, f"{told} (right {_range(one.hit_rate)})")


def _volatility(one: Aggregates, scores: Scores, reference: str, walk: WalkForward) -> list[Verdict]:
    rows = scores.whole[scores.whole["group"] == one.group]
    own = rows[rows["forecaster"] == one.forecaster]
    base = rows[rows["forecaster"] == reference].set_index("origin")
    if own.empty or base.empty or not (own["volatility"] > 0).any():
        return []
    overlap = walk.overlap(walk.horizon)
    losses, against = _qlike(own), _qlike(base.reindex(own["origin"]))
    found = bootstrap_skill(losses, against, own["date"].to_numpy(), overlap=overlap)
    word = _word(found, 0.0)
    told = {
        "better": f"better than {reference} at the volatility to come",
        "worse": f"worse than {reference} at the volatility to come",
        "no evidence": f"no evidence that it knows the volatility to come better than {reference}",
        "too few dates": "too few dates to say",
    }[word]
    return [Verdict(one.forecaster, one.group, "volatility", word, f"{told} (QLIKE skill {_range(found)})")]


def _bands(one: Aggregates) -> Verdict:
    share = one.coverage["80"]
    side = _word(share, 0.8)
    word: Word = "calibrated"
    if side == "too few dates":
        word = side
    elif side != "no evidence" and abs(share.estimate - 0.8) > NEGLIGIBLE:
        word = "too wide" if side == "better" else "too narrow"
    told = {
        "too narrow": "bands too narrow",
        "too wide": "bands too wide",
        "calibrated": "bands about as wide as they say",
        "too few dates": "too few dates to say",
    }[word]
    return Verdict(one.forecaster, one.group, "bands", word, f"{told} (80 % covers {_range(share)})")


def _qlike(rows: pd.DataFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    predicted = np.square(rows["volatility"].to_numpy(dtype=np.float64))
    observed = np.square(rows["realised"].to_numpy(dtype=np.float64))
    known = (predicted > 0) & (observed > 0)
    return np.where(known, qlike(np.where(known, predicted, 1.0), np.where(known, observed, 1.0)), np.nan)


def _word(found: Estimate, neutral: float) -> Word:
    if found.dates < FEW_DATES or math.isnan(found.low) or math.isnan(found.high):
        return "too few dates"
    if found.low > neutral:
        return "better"
    return "worse" if found.high < neutral else "no evidence"


def _range(found: Estimate) -> str:
    estimate, low, high = (f"{round(value, 3) + 0.0:.1%}" for value in (found.estimate, found.low, found.high))
    return f"{estimate}, {low} to {high}"


def warnings(
    figures: Sequence[Aggregates],
    scores: Scores,
    walk: WalkForward,
    trained_until: Mapping[str, Mapping[str, pd.Timestamp] | None] | None = None,
) -> list[str]:
    """What a reader must know before believing the figures, in sentences.

    Args:
        figures: Of `summarise`.
        scores: What they were made of.
        walk: How origins were chosen.
        trained_until: By forecaster and group (or ``all``), the time from which candles are new to it; None for a
            forecaster of which nothing tells.
    """
    found = []
    if walk.overlapping:
        found.append(
            f"Forecasts overlap: origins are {walk.step} candles apart and reach {walk.horizon} ahead, so that they "
            f"are less evidence than their number suggests; intervals allow for it."
        )
    found += _too_good(figures)
    counts = scores.steps[scores.steps["step"] == walk.horizon].groupby(["group", "forecaster"]).size()
    short = counts.groupby("group").max()
    small = [f"{group} ({count})" for group, count in short.items() if count < ENOUGH_FORECASTS]
    if small:
        found.append(f"Fewer than {ENOUGH_FORECASTS} forecasts in {', '.join(small)}: differences there may be chance.")
    return found + _seen_in_training(scores, trained_until or {})


def _too_good(figures: Sequence[Aggregates]) -> list[str]:
    """Who is better than anybody can be, and where that is most so."""
    most: dict[tuple[str, str], tuple[float, int]] = {}
    for one in figures:
        if one.skill is not None and one.skill.dates >= FEW_DATES and one.skill.estimate > TOO_GOOD:
            most[one.forecaster, one.group] = max(
                most.get((one.forecaster, one.group), (0.0, 0)), (one.skill.estimate, one.step)
            )
    return [
        f"{forecaster} is too good to be true in {group} (skill {skill:.0%} at {told_steps(step)}): look for a leak of "
        f"the future into its history."
        for (forecaster, group), (skill, step) in most.items()
    ]


def _seen_in_training(scores: Scores, trained_until: Mapping[str, Mapping[str, pd.Timestamp] | None]) -> list[str]:
    """Groups whose forecast candles a model may have been trained on, or chosen by."""
    told: dict[str, list[str]] = {}  # a calibrated forecaster has seen what the raw one has: one sentence for both
    first = {str(group): date for group, date in scores.steps.groupby("group")["first"].min().items()}
    for forecaster, until in trained_until.items():
        sentence = _reach(first, until)
        if sentence:
            told.setdefault(sentence, []).append(forecaster)
    return [sentence.format(" and ".join(names)) for sentence, names in told.items()]


def _reach(first: Mapping[str, pd.Timestamp], until: Mapping[str, pd.Timestamp] | None) -> str:
    """The sentence about somebody's training data, with a gap for the name; empty if there is nothing to say."""
    if until is None:
        return "Nothing says up to when {}'s data went: it may have been trained or selected on what it is tested on."
    seen = [
        f"{group} (tested from {date:%Y-%m-%d}, new to it from {known:%Y-%m-%d})".replace("{", "{{").replace("}", "}}")
        for group, (date, known) in reached(first, until).items()
    ]
    if not seen:
        return ""
    return "{} may have been trained or selected on what it is tested on: its data reach into the test of " + (
        f"{', '.join(seen)}."
    )

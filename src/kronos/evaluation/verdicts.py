"""Verdicts and warnings in words, derived from the figures by fixed rules.

A verdict is about one forecaster in one group (or over all groups) at the horizon of the evaluation, against the
reference, a random walk:

- *price*: better if the 95 % interval of the CRPS skill lies above 0, worse if below, otherwise no evidence;
- *direction*: better if the 95 % interval of the hit rate lies above one half and the Pesaran–Timmermann test rejects
  chance at 5 %, worse if the interval lies below one half, otherwise no evidence. Over all groups the test is within
  each of them, so that markets with different drifts do not pass for skill;
- *volatility*: as for price, with the QLIKE loss of the expected realised variance;
- *bands*: too narrow if the 95 % interval of the 80 % band's coverage lies below 80 % and the coverage is off by more
  than `COVERAGE_TOLERANCE`, too wide if above. Otherwise calibrated, unless the interval reaches further than
  `COVERAGE_RANGE` from 80 %: then there are too few dates to say.

Intervals are by blocks of dates. With fewer than `MIN_DATES` dates there is no verdict. A skill above
`SUSPICIOUS_SKILL` at any step is reported as a likely leak, because no market is that predictable. The check covers all
steps because a leak of one candle shows at the first step and hardly at the horizon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from kronos.evaluation.aggregate import ALL, Aggregates, Scores, format_steps
from kronos.evaluation.dates import seen_groups
from kronos.evaluation.origins import RollingOrigins
from kronos.evaluation.rolling import ForecastPaths
from kronos.evaluation.scoring import Actuals, has_forecast
from kronos.formatting import plural
from kronos.metrics import Estimate, bootstrap_skill, qlike
from kronos.typing import FloatArray

About = Literal["price", "direction", "volatility", "bands"]
Word = Literal["better", "no evidence", "worse", "too narrow", "calibrated", "too wide", "too few dates"]

MIN_DATES = 20
MIN_FORECASTS = 400
SUSPICIOUS_SKILL = 0.5
COVERAGE_TOLERANCE = 0.03  # deviation of a band's coverage that is small enough to ignore
COVERAGE_RANGE = 0.1  # deviation that the interval of a coverage has to exclude before bands are called as stated
_TOO_FEW = "too few dates to say"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One conclusion about a forecaster.

    Attributes:
        forecaster: Name of the forecaster.
        group: Market at an interval, or ``all``.
        about: ``price``, ``direction``, ``volatility`` or ``bands``.
        word: The conclusion.
        sentence: The conclusion in words, with the figures it follows from.
    """

    forecaster: str
    group: str
    about: About
    word: Word
    sentence: str


def derive_verdicts(
    aggregates: Sequence[Aggregates], scores: Scores, reference: str, rolling: RollingOrigins
) -> list[Verdict]:
    """Derive all verdicts at the horizon; for the reference itself only those on direction and bands.

    Args:
        aggregates: The figures, from `aggregate_scores`.
        scores: The scores behind them.
        reference: Name of the reference.
        rolling: How the origins were selected.
    """
    verdicts = []
    for figures in aggregates:
        if figures.step != rolling.horizon:
            continue
        if figures.skill is not None:
            verdicts.append(_price(figures, reference))
        if figures.hit_rate is not None:
            verdicts.append(_direction(figures))
        if figures.width > 0:  # a point forecast has no bands and no volatility
            verdicts.append(_bands(figures))
            if figures.forecaster != reference and figures.group != ALL:
                verdicts += _volatility(figures, scores, reference, rolling)
    return verdicts


def _price(figures: Aggregates, reference: str) -> Verdict:
    assert figures.skill is not None
    word = word_of(figures.skill, 0.0)
    steps = format_steps(figures.step)
    sentence = {
        "better": f"better than {reference} by CRPS at {steps}",
        "worse": f"worse than {reference} by CRPS at {steps}",
        "no evidence": f"no evidence of an edge over {reference} at {steps}",
        "too few dates": _TOO_FEW,
    }[word]
    details = f"skill {format_estimate(figures.skill)}, n = {figures.n:,}"
    return Verdict(figures.forecaster, figures.group, "price", word, f"{sentence} ({details})")


def _direction(figures: Aggregates) -> Verdict:
    assert figures.hit_rate is not None
    word = word_of(figures.hit_rate, 0.5)
    if word == "better" and not (figures.direction_p is not None and figures.direction_p < 0.05):
        word = "no evidence"
    sentence = {
        "better": "direction better than a coin flip",
        "worse": "direction worse than a coin flip",
        "no evidence": "no evidence of skill in direction",
        "too few dates": _TOO_FEW,
    }[word]
    details = f"hit rate {format_estimate(figures.hit_rate)}"
    return Verdict(figures.forecaster, figures.group, "direction", word, f"{sentence} ({details})")


def _volatility(figures: Aggregates, scores: Scores, reference: str, rolling: RollingOrigins) -> list[Verdict]:
    rows = scores.trajectories[scores.trajectories["group"] == figures.group]
    own = rows[rows["forecaster"] == figures.forecaster]
    base = rows[rows["forecaster"] == reference].set_index("origin")
    if own.empty or base.empty or not (own["volatility"] > 0).any():
        return []
    losses, reference_losses = _qlike(own), _qlike(base.reindex(own["origin"]))
    overlap = rolling.overlap(rolling.horizon)
    skill = bootstrap_skill(losses, reference_losses, own["date"].to_numpy(), overlap=overlap)
    word = word_of(skill, 0.0)
    sentence = {
        "better": f"volatility better than that of {reference}",
        "worse": f"volatility worse than that of {reference}",
        "no evidence": f"no evidence of a better volatility than that of {reference}",
        "too few dates": _TOO_FEW,
    }[word]
    details = f"QLIKE skill {format_estimate(skill)}"
    return [Verdict(figures.forecaster, figures.group, "volatility", word, f"{sentence} ({details})")]


def _bands(figures: Aggregates) -> Verdict:
    share = figures.coverage["80"]
    side = word_of(share, 0.8)
    word: Word = "calibrated"
    if side == "too few dates":
        word = side
    elif side != "no evidence" and abs(share.estimate - 0.8) > COVERAGE_TOLERANCE:
        word = "too wide" if side == "better" else "too narrow"
    elif max(0.8 - share.low, share.high - 0.8) > COVERAGE_RANGE:
        word = "too few dates"
    sentence = {
        "too narrow": "bands too narrow",
        "too wide": "bands too wide",
        "calibrated": "bands about as wide as stated",
        "too few dates": _TOO_FEW,
    }[word]
    details = f"80 % covers {format_estimate(share)}"
    return Verdict(figures.forecaster, figures.group, "bands", word, f"{sentence} ({details})")


def _qlike(rows: pd.DataFrame) -> FloatArray:
    predicted = np.square(rows["volatility"].to_numpy(dtype=np.float64))
    observed = np.square(rows["realised"].to_numpy(dtype=np.float64))
    known = (predicted > 0) & (observed > 0)
    return np.where(known, qlike(np.where(known, predicted, 1.0), np.where(known, observed, 1.0)), np.nan)


def word_of(estimate: Estimate, neutral: float) -> Word:
    """Derive the word from an interval: ``better`` if above a value, ``worse`` if below, else ``no evidence``.

    Args:
        estimate: The estimate.
        neutral: The value.
    """
    if estimate.dates < MIN_DATES or math.isnan(estimate.low) or math.isnan(estimate.high):
        return "too few dates"
    if estimate.low > neutral:
        return "better"
    return "worse" if estimate.high < neutral else "no evidence"


def format_estimate(found: Estimate) -> str:
    """Format an estimate with its interval: ``4.1%, 3.0% to 5.2%``."""
    estimate, low, high = (f"{round(value, 3) + 0.0:.1%}" for value in (found.estimate, found.low, found.high))
    return f"{estimate}, {low} to {high}"


# Warnings ----------------------------------------------------------------------


def unscored_warnings(actuals: Actuals, paths: Mapping[str, ForecastPaths], scores: Scores) -> list[str]:
    """Warn of origins that are in no figure, so that all contenders are compared at the same ones.

    Args:
        actuals: The outcomes.
        paths: Sample paths by contender.
        scores: The scores behind the figures.
    """
    scored = np.isin(np.arange(len(actuals.sigma)), scores.steps["origin"].unique())
    count = int((~scored).sum())
    if not count:
        return []
    reasons = []
    if flat := int(np.isnan(actuals.sigma).sum()):
        reasons.append(f"at {flat:,} the close did not change in the 64 candles before")
    for name, own in paths.items():
        without = int((~scored & np.isfinite(actuals.sigma) & ~has_forecast(actuals, own)).sum())
        if without:
            reasons.append(f"at {without:,} {name} has no forecast")
    origins = plural(count, "origin")
    return [f"{origins} of {len(scored):,} are left out of every figure: {'; '.join(reasons)}."]


def evaluation_warnings(
    aggregates: Sequence[Aggregates],
    scores: Scores,
    rolling: RollingOrigins,
    trained_until: Mapping[str, Mapping[str, pd.Timestamp] | None] | None = None,
) -> list[str]:
    """Collect the warnings that qualify the figures, as sentences.

    Args:
        aggregates: The figures, from `aggregate_scores`.
        scores: The scores behind them.
        rolling: How the origins were selected.
        trained_until: By forecaster and group (or ``all``), the time from which candles are new to it; None for a
            forecaster whose training dates are unknown.
    """
    warnings = []
    if rolling.overlapping:
        warnings.append(
            f"Forecasts overlap: origins are {rolling.step} candles apart and forecasts reach {rolling.horizon} ahead. "
            f"They carry less evidence than their number suggests; intervals allow for that."
        )
    warnings += _suspicious_skills(aggregates)
    counts = scores.steps[scores.steps["step"] == rolling.horizon].groupby(["group", "forecaster"]).size()
    largest = counts.groupby("group").max()
    small = [f"{group} ({count})" for group, count in largest.items() if count < MIN_FORECASTS]
    if small:
        warnings.append(f"Fewer than {MIN_FORECASTS} forecasts in {', '.join(small)}: differences there may be chance.")
    return warnings + _seen_in_training(scores, trained_until or {})


def _suspicious_skills(aggregates: Sequence[Aggregates]) -> list[str]:
    """One sentence for each forecaster and group with an implausible skill, at the step where it is highest."""
    highest: dict[tuple[str, str], tuple[float, int]] = {}
    for figures in aggregates:
        skill = figures.skill
        if skill is not None and skill.dates >= MIN_DATES and skill.estimate > SUSPICIOUS_SKILL:
            key = figures.forecaster, figures.group
            highest[key] = max(highest.get(key, (0.0, 0)), (skill.estimate, figures.step))
    return [
        f"{forecaster} is too good to be true in {group} (skill {skill:.0%} at {format_steps(step)}): check whether "
        f"future candles leak into its history."
        for (forecaster, group), (skill, step) in highest.items()
    ]


def _seen_in_training(scores: Scores, trained_until: Mapping[str, Mapping[str, pd.Timestamp] | None]) -> list[str]:
    """One sentence for each set of groups that models may have been trained on or selected by."""
    names: dict[str, list[str]] = {}  # a calibrated forecaster and its raw one share a sentence
    first = {str(group): date for group, date in scores.steps.groupby("group")["first"].min().items()}
    for forecaster, until in trained_until.items():
        sentence = _training_sentence(first, until)
        if sentence:
            names.setdefault(sentence, []).append(forecaster)
    return [sentence.format(" and ".join(forecasters)) for sentence, forecasters in names.items()]


def _training_sentence(first: Mapping[str, pd.Timestamp], until: Mapping[str, pd.Timestamp] | None) -> str:
    """The warning with a placeholder for the forecaster's name; empty if there is nothing to warn of."""
    if until is None:
        return "The training dates of {} are unknown: it may have been trained or selected on these test dates."
    seen = [
        f"{group} (tested from {date:%Y-%m-%d}, new to it from {new:%Y-%m-%d})".replace("{", "{{").replace("}", "}}")
        for group, (date, new) in seen_groups(first, until).items()
    ]
    return f"{{}} may have been trained or selected on test dates of {', '.join(seen)}." if seen else ""

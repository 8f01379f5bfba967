"""The task on realised volatility: the sum of squared log returns between the forecast closes, as the paper has it.

That is H - 1 returns: the one from the last known close to the first forecast one is not among them. The model says it
by its sampled path; baselines say what they expect, the mean over many of theirs, as GARCH does in the paper.
"""

from __future__ import annotations

import numpy as np

from kronos.candles import PRICES
from kronos.evaluation.paper.forecasting import (
    RANDOM_WALK,
    VOLATILITIES,
    OriginSet,
    Question,
    Rows,
    Times,
    actual_prices,
    available,
    forecast_origins,
    realised_variance,
    variance_of,
)
from kronos.evaluation.paper.results import Figure, Row, TaskContext, TaskResult
from kronos.metrics import bootstrap_skill, volatility_scores
from kronos.typing import FloatArray

PATHS = 100  # of a baseline, whose mean is its expectation


def amount(walk: OriginSet) -> int:
    """Forecasts to make."""
    return len(walk.plan) * (1 + len(available(VOLATILITIES)))


def volatility(work: TaskContext) -> TaskResult:
    """Forecast realised variances: MAE and R², and the MAE against historical volatility's."""
    answers = work.ask_model(realised_variance)
    said = {work.model.name: answers.values}
    notes = {}
    for one in available(VOLATILITIES):
        question = Question(realised_variance, PATHS, work.settings.seed)
        said[one.name] = forecast_origins(work.walk, one, question, work.tally).values
        notes[one.name] = f"{one.description}; the mean of {PATHS} paths"
    fell = np.isinf(answers.values)
    said = {name: np.where(fell, np.nan, values) for name, values in said.items()}  # all on the same origins
    came = variance_of(actual_prices(work.walk.plan)[..., PRICES.index("close")])
    times = Times.of(work.walk.plan)
    rows = [
        _row(group, name, work, (values[members], came[members], said[RANDOM_WALK][members]), times.some(members))
        for group, members in work.walk.groups()
        for name, values in said.items()
    ]
    return TaskResult(tuple(rows), notes, answers.history, _fallen(work, int(fell.sum())))


def _fallen(work: TaskContext, count: int) -> tuple[str, ...]:
    """The warning that some forecasts are left out."""
    if not count:
        return ()
    return (
        f"{work.walk.interval}: {count:,} of {len(work.walk.plan):,} forecasts of {work.model.name} are left out, of "
        f"everybody: a price was sampled at 0 or below, so that there is no log return.",
    )


def _row(
    group: str, name: str, work: TaskContext, variances: tuple[FloatArray, FloatArray, FloatArray], times: Times
) -> Row:
    """A row from variances: predicted, those that came, and the reference's."""
    predicted, came, reference = variances
    scores = volatility_scores(predicted, came)
    gain = bootstrap_skill(np.abs(predicted - came), np.abs(reference - came), times.origins, overlap=times.overlap)
    known: Rows = np.flatnonzero(~np.isnan(predicted))
    figures = {
        "mae": Figure(scores.mae),
        "r2": Figure(scores.r2),
        "r2_regression": Figure(scores.r2_regression),
        "skill": Figure.of(gain),
    }
    return Row(group, name, name != work.model.name, len(known), int(times.origins[known].nunique()), figures)

"""The tasks on prices and returns: does the model order what comes?

- *price*: each forecast window has its own coefficient, along its steps; the average over windows is reported.
- *return*: one coefficient over all forecasts of a market at an interval, of the return from the last known close to
  the last forecast one; and beside it, because a pooled one mixes markets' moves with instruments', the mean over dates
  of the coefficient across instruments.
"""

from __future__ import annotations

import numpy as np

from kronos.candles import PRICES
from kronos.evaluation.paper.forecasting import (
    LAST_VALUE,
    RANDOM_WALK,
    RULES,
    OriginSet,
    Question,
    Rows,
    Times,
    actual_prices,
    available,
    closes_before,
    forecast_origins,
    mean_prices,
    rules,
)
from kronos.evaluation.paper.results import Figure, Row, TaskContext, TaskResult, by_date, mean_figure, pooled, within
from kronos.metrics import bootstrap_skill
from kronos.typing import FloatArray

_CLOSE = PRICES.index("close")


def amount(walk: OriginSet) -> int:
    """Forecasts to make: the model's, and the random walk's."""
    return 2 * len(walk.plan)


def prices(work: TaskContext) -> TaskResult:
    """Forecast prices: IC and RankIC of each window, and the error against the last value's."""
    said, history, notes = _said(work)
    came, times = actual_prices(work.walk.plan), Times.of(work.walk.plan)
    rows = []
    for group, members in work.walk.groups():
        own = times.some(members)
        base = _errors(said[LAST_VALUE][members], came[members])
        for name, values in said.items():
            ic, rank_ic = within(values[members], came[members])
            gain = bootstrap_skill(_errors(values[members], came[members]), base, own.origins, overlap=own.overlap)
            figures = {"ic": mean_figure(ic, own), "rank_ic": mean_figure(rank_ic, own), "skill": Figure.of(gain)}
            rows.append(_row(group, name, work, values[members], own, figures))
    return TaskResult(tuple(rows), notes, history)


def returns(work: TaskContext) -> TaskResult:
    """Forecast returns over the horizon: IC and RankIC over all forecasts, and across instruments by date."""
    said, history, notes = _said(work)
    plan, times = work.walk.plan, Times.of(work.walk.plan)
    last = closes_before(plan)
    came = actual_prices(plan)[:, -1, _CLOSE] / last - 1
    rows = []
    for group, members in work.walk.groups():
        own = times.some(members)
        for name, values in said.items():
            predicted = values[members][:, -1, _CLOSE] / last[members] - 1
            ic, rank_ic = pooled(predicted, came[members], own)
            figures = {"ic": ic, "rank_ic": rank_ic, "rank_ic_by_date": by_date(predicted, came[members], own)}
            rows.append(_row(group, name, work, values[members], own, figures))
    return TaskResult(tuple(rows), notes, history)


def _said(work: TaskContext) -> tuple[dict[str, FloatArray], int | None, dict[str, str]]:
    """Everybody's prices ``[N, H, 4]``, the history that the model used, and what the others' names mean."""
    answers = work.ask_model(mean_prices)
    said = {work.model.name: _shaped(answers.values, work.walk)} | rules(work.walk)
    notes = dict(RULES)
    settings = work.settings
    for one in available([RANDOM_WALK]):
        question = Question(mean_prices, settings.sampling.samples, settings.seed)
        said[one.name] = _shaped(forecast_origins(work.walk, one, question, work.tally).values, work.walk)
        notes[one.name] = f"{one.description}; the mean of as many paths as the model's, which is chance"
    return said, answers.history, notes


def _shaped(values: FloatArray, walk: OriginSet) -> FloatArray:
    """Prices ``[N, H, 4]``, also of one who made no forecast at all."""
    shape = (len(walk.plan), walk.windows.horizon, len(PRICES))
    return values if values.shape == shape else np.full(shape, np.nan)


def _errors(predicted: FloatArray, came: FloatArray) -> FloatArray:
    """Mean absolute error of the log prices of each window, ``[N]``."""
    errors: FloatArray = np.abs(np.log(predicted / came)).mean(axis=(1, 2))
    return errors


def _row(group: str, name: str, work: TaskContext, values: FloatArray, times: Times, figures: dict[str, Figure]) -> Row:
    known: Rows = np.flatnonzero(~np.isnan(values[:, 0, 0]))
    dates = times.origins[known].nunique()
    return Row(group, name, name != work.model.name, len(known), int(dates), figures)

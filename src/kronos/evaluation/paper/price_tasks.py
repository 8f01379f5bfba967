"""The paper's tasks on prices, returns and volatility.

- *price*: each forecast window has its own coefficient, along its steps; their mean over windows is reported.
- *return*: one coefficient over all forecasts of a market at an interval, of the return from the last known close to
  the last forecast one. It mixes market-wide moves with differences between instruments, so the mean over dates of the
  coefficient across instruments is reported too.
- *volatility*: the sum of the H − 1 squared log returns between the forecast closes; like the paper, it omits the
  one from the last known close to the first forecast close. The model's forecast is that of its sampled path, the
  baselines' is the mean over many paths, an expectation like that of the paper's GARCH.
"""

from __future__ import annotations

import numpy as np

from kronos.candles import PRICES
from kronos.evaluation.paper.forecasting import (
    LAST_VALUE,
    NAIVE_RULES,
    RANDOM_WALK,
    VOLATILITIES,
    ForecastSpec,
    OriginSet,
    OriginTimes,
    actual_prices,
    available,
    closes_before,
    forecast_origins,
    mean_prices,
    naive_prices,
    realised_variance,
    variance_of,
)
from kronos.evaluation.paper.results import (
    TaskContext,
    TaskResult,
    TaskRow,
    TaskStatistic,
    mean_figure,
    pooled_correlations,
    rank_ic_by_date,
    within_windows,
)
from kronos.metrics import bootstrap_skill, volatility_scores
from kronos.typing import FloatArray

_CLOSE = PRICES.index("close")
_BASELINE_PATHS = 100  # the mean over so many paths is a baseline's expected variance


def price_work(origins: OriginSet) -> int:
    """Return the number of forecasts of the price and return tasks: the model's and the random walk's."""
    return 2 * len(origins.plan)


def price_task(context: TaskContext) -> TaskResult:
    """Run the price task: IC and RankIC of each window, and skill of the MAE against the last value."""
    predictions, history, notes = _price_forecasts(context)
    actual, times = actual_prices(context.origins.plan), OriginTimes.of(context.origins.plan)
    rows = []
    for group, members in context.origins.groups():
        own = times.select(members)
        base = _log_errors(predictions[LAST_VALUE][members], actual[members])
        for name, prices in predictions.items():
            ic, rank_ic = within_windows(prices[members], actual[members])
            errors = _log_errors(prices[members], actual[members])
            skill = bootstrap_skill(errors, base, own.origins, overlap=own.overlap)
            figures = {
                "ic": mean_figure(ic, own),
                "rank_ic": mean_figure(rank_ic, own),
                "skill": TaskStatistic.of(skill),
            }
            rows.append(_row(group, name, context, prices[members, 0, 0], own, figures))
    return TaskResult(tuple(rows), notes, history)


def return_task(context: TaskContext) -> TaskResult:
    """Run the return task: IC and RankIC over all forecasts, and RankIC across instruments by date."""
    predictions, history, notes = _price_forecasts(context)
    plan, times = context.origins.plan, OriginTimes.of(context.origins.plan)
    last = closes_before(plan)
    actual = actual_prices(plan)[:, -1, _CLOSE] / last - 1
    rows = []
    for group, members in context.origins.groups():
        own = times.select(members)
        for name, prices in predictions.items():
            predicted = prices[members][:, -1, _CLOSE] / last[members] - 1
            ic, rank_ic = pooled_correlations(predicted, actual[members], own)
            by_date = rank_ic_by_date(predicted, actual[members], own)
            figures = {"ic": ic, "rank_ic": rank_ic, "rank_ic_by_date": by_date}
            rows.append(_row(group, name, context, prices[members, 0, 0], own, figures))
    return TaskResult(tuple(rows), notes, history)


def _price_forecasts(context: TaskContext) -> tuple[dict[str, FloatArray], int | None, dict[str, str]]:
    """Everybody's prices ``[N, H, 4]``, the history that the model used, and notes on the others."""
    forecasts = context.forecast_model(mean_prices)
    predictions = {context.model.name: _with_shape(forecasts.values, context.origins)} | naive_prices(context.origins)
    notes = dict(NAIVE_RULES)
    settings = context.settings
    for baseline in available([RANDOM_WALK]):
        spec = ForecastSpec(mean_prices, settings.sampling.samples, settings.seed)
        values = forecast_origins(context.origins, baseline, spec, context.work).values
        predictions[baseline.name] = _with_shape(values, context.origins)
        notes[baseline.name] = f"{baseline.description}; the mean of as many paths as the model's, which is pure chance"
    return predictions, forecasts.history, notes


def _with_shape(values: FloatArray, origins: OriginSet) -> FloatArray:
    """Prices ``[N, H, 4]``; all NaN for a forecaster that made no forecast at all."""
    shape = (len(origins.plan), origins.windows.horizon, len(PRICES))
    return values if values.shape == shape else np.full(shape, np.nan)


def _log_errors(predicted: FloatArray, actual: FloatArray) -> FloatArray:
    """Mean absolute error of the log prices of each window, ``[N]``."""
    errors: FloatArray = np.abs(np.log(predicted / actual)).mean(axis=(1, 2))
    return errors


def volatility_work(origins: OriginSet) -> int:
    """Return the number of forecasts of the volatility task."""
    return len(origins.plan) * (1 + len(available(VOLATILITIES)))


def volatility_task(context: TaskContext) -> TaskResult:
    """Run the volatility task: MAE and R² of the realised variance, and skill of the MAE against the random walk."""
    origins, model = context.origins, context.model
    forecasts = context.forecast_model(realised_variance)
    variances = {model.name: forecasts.values}
    notes = {}
    for baseline in available(VOLATILITIES):
        spec = ForecastSpec(realised_variance, _BASELINE_PATHS, context.settings.seed)
        variances[baseline.name] = forecast_origins(origins, baseline, spec, context.work).values
        notes[baseline.name] = f"{baseline.description}; the mean of {_BASELINE_PATHS} paths"
    undefined = np.isinf(forecasts.values)  # left out for all, so that they share their origins
    variances = {name: np.where(undefined, np.nan, values) for name, values in variances.items()}
    actual = variance_of(actual_prices(origins.plan)[..., _CLOSE])
    times = OriginTimes.of(origins.plan)
    rows = []
    for group, members in origins.groups():
        own, base = times.select(members), np.abs(variances[RANDOM_WALK][members] - actual[members])
        for name, values in variances.items():
            predicted = values[members]
            scores = volatility_scores(predicted, actual[members])
            errors = np.abs(predicted - actual[members])
            figures = {
                "mae": TaskStatistic(scores.mae),
                "r2": TaskStatistic(scores.r2),
                "r2_regression": TaskStatistic(scores.r2_regression),
                "skill": TaskStatistic.of(bootstrap_skill(errors, base, own.origins, overlap=own.overlap)),
            }
            rows.append(_row(group, name, context, predicted, own, figures))
    warnings = []
    if undefined.any():
        warnings.append(
            f"{origins.interval}: {undefined.sum():,} of {len(origins.plan):,} forecasts of {model.name} are left out, "
            f"for all forecasters, because a price was sampled at 0 or below and has no log return."
        )
    return TaskResult(tuple(rows), notes, forecasts.history, tuple(warnings))


def _row(
    group: str,
    name: str,
    context: TaskContext,
    values: FloatArray,
    times: OriginTimes,
    figures: dict[str, TaskStatistic],
) -> TaskRow:
    """A row of the table; origins with NaN ``values`` ``[N]`` have no forecast."""
    known = np.flatnonzero(~np.isnan(values))
    dates = int(times.origins[known].nunique())
    return TaskRow(group, name, name != context.model.name, len(known), dates, figures)

"""Run one of the paper's tasks: origins, forecasts, figures, and sentences that follow from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from kronos import provenance
from kronos.baselines import BASELINES
from kronos.errors import DataError, ParameterError
from kronos.evaluation.dates import seen_groups
from kronos.evaluation.forecasters import Forecaster
from kronos.evaluation.origins import Dates, Instrument, Plan
from kronos.evaluation.paper.forecasting import (
    DIRECTED,
    NAIVE_RULES,
    RANDOM_WALK,
    OriginSet,
    OriginTimes,
    WorkCounter,
    make_origin_sets,
)
from kronos.evaluation.paper.price_tasks import price_task, price_work, return_task, volatility_task, volatility_work
from kronos.evaluation.paper.results import PaperResult, TaskContext, TaskResult, TaskRow, TaskStatistic, with_means
from kronos.evaluation.paper.settings import TEST_FROM, PaperSettings, Task
from kronos.evaluation.paper.synthetic import REAL, synthetic_task, synthetic_work
from kronos.evaluation.verdicts import MIN_DATES
from kronos.formatting import join_names
from kronos.progress import ProgressCallback

CutoffFunction = Callable[[Plan], Mapping[str, pd.Timestamp] | None]

_RESERVED_NAMES = {*BASELINES, *NAIVE_RULES, REAL}
_DEFAULT_DATES = Dates(start=pd.Timestamp(TEST_FROM))
_TASKS: Mapping[Task, tuple[Callable[[TaskContext], TaskResult], Callable[[OriginSet], int]]] = {
    "price": (price_task, price_work),
    "return": (return_task, price_work),
    "volatility": (volatility_task, volatility_work),
    "synthetic": (synthetic_task, synthetic_work),
}


def run_paper(
    instruments: Sequence[Instrument],
    model: Forecaster,
    settings: PaperSettings,
    *,
    dates: Dates = _DEFAULT_DATES,
    cutoffs: CutoffFunction | None = None,
    progress: ProgressCallback | None = None,
) -> PaperResult:
    """Run one of the paper's tasks.

    Args:
        instruments: The series to forecast, of any markets and intervals; each pair of these is a group.
        model: The forecaster, with the sampling parameters of the settings (`PaperSettings.sampling`).
        settings: The task, and the settings that differ from the paper.
        dates: Times between which all forecast candles lie; by default from the start of the paper's tests.
        cutoffs: Returns for a plan the time from which each group's candles are new to the model, or None if unknown,
            see `kronos.evaluation.cutoffs`; used to warn of earlier test dates.
        progress: Called with the amount of finished work and its total.

    Raises:
        DataError: If there is nothing to forecast within the dates, or too little to score.
        ParameterError: If the paper does not cover the interval, or the model has the name of a baseline.
    """
    if model.name in _RESERVED_NAMES:
        raise ParameterError(f"Invalid model name '{model.name}': it is the name of a baseline. Choose another name.")
    task, amount_of = _TASKS[settings.task]
    origin_sets, problems = make_origin_sets(instruments, settings, dates)
    work = WorkCounter(sum(amount_of(origins) for origins in origin_sets), progress)
    results = [task(TaskContext(origins, model, settings, work)) for origins in origin_sets]
    work.finish()
    rows = [row for result in results for row in result.rows]
    task_warnings = [warning for result in results for warning in result.warnings]
    if not rows:
        raise DataError(task_warnings[0])
    warnings = [*problems, *task_warnings]
    for origins, result in zip(origin_sets, results, strict=True):
        warnings += _short_history(origins, result, model) + _seen_in_training(origins, cutoffs, model)
    return PaperResult(
        settings=settings,
        rows=with_means(rows),
        sentences=tuple(task_sentences(settings.task, rows)),
        warnings=(*warnings, *_simulated(origin_sets)),
        notes={model.name: model.description} | {k: note for result in results for k, note in result.notes.items()},
        provenance={
            "model": dict(model.identity()),
            "from": None if dates.start is None else dates.start.isoformat(),
            "to": None if dates.end is None else dates.end.isoformat(),
            "walks": [_describe_origins(origins) for origins in origin_sets],
            "versions": provenance.versions(),
            "created": provenance.now_utc(),
        },
    )


def _short_history(origins: OriginSet, result: TaskResult, model: Forecaster) -> list[str]:
    lookback = origins.windows.lookback
    if result.history is None or result.history >= lookback:
        return []
    return [
        f"{origins.interval}: {model.name} used {result.history} candles of history instead of {lookback}, because "
        f"history and horizon share its context."
    ]


def _seen_in_training(origins: OriginSet, cutoffs: CutoffFunction | None, model: Forecaster) -> list[str]:
    if cutoffs is None:
        return []
    until = cutoffs(origins.plan)
    if until is None:
        return [f"The training dates of {model.name} are unknown: it may have been trained on these test dates."]
    first = origins.plan.table().groupby("group")["first"].min()
    seen = [
        f"{group} (tested from {date:%Y-%m-%d}, new to it from {new:%Y-%m-%d})"
        for group, (date, new) in seen_groups({str(group): date for group, date in first.items()}, until).items()
    ]
    return [f"{model.name} may have been trained or selected on test dates of {', '.join(seen)}."] if seen else []


def _simulated(origin_sets: Sequence[OriginSet]) -> list[str]:
    names = [own.name for origins in origin_sets for own in origins.plan.instruments if own.candles.simulated]
    if not names:
        return []
    return [f"SIMULATED candles, not market data: {join_names(names, 3)}. Their figures show nothing about markets."]


def _describe_origins(origins: OriginSet) -> dict[str, object]:
    """A summary of the origins of one interval, as values for JSON."""
    plan, times = origins.plan, OriginTimes.of(origins.plan)
    return {
        "interval": origins.interval,
        "lookback": origins.windows.lookback,
        "horizon": origins.windows.horizon,
        "stride": plan.rolling.step,
        "instruments": len(set(plan.series.tolist())),
        "origins": len(plan),
        "first": times.origins.min().isoformat(),
        "last": times.ends.max().isoformat(),
        "plan": plan.digest(),
    }


# Sentences -----------------------------------------------------------------------


def task_sentences(task: Task, rows: Sequence[TaskRow]) -> list[str]:
    """Return one sentence per group about the model."""
    figure, label = _MAIN_FIGURE[task]
    sentences = []
    for row in rows:
        if row.baseline:
            continue
        if math.isnan(row.figures[figure].value):
            sentences.append(f"{row.group}: {row.forecaster}'s forecasts have no {label}; there is no conclusion.")
        else:
            others = {own.forecaster: own for own in rows if own.group == row.group and own.baseline}
            sentences.append(f"{row.group}: {_SENTENCE[task](row, others)}.")
    return sentences


def _ordering(row: TaskRow, others: dict[str, TaskRow], what: str) -> str:
    figure = row.figures["rank_ic"]
    conclusion = {
        "better": f"{row.forecaster} orders {what} better than chance",
        "worse": f"{row.forecaster} orders {what} worse than chance",
        "no evidence": f"no evidence that {row.forecaster} orders {what}",
        "few": f"too few dates to say whether {row.forecaster} orders {what}",
    }[_word(figure, row.dates)]
    naive = max((others[name] for name in DIRECTED), key=lambda own: _sort_key(own.figures["rank_ic"]))
    reached = naive.figures["rank_ic"].value
    count = f"{row.n:,} forecasts on {row.dates:,} dates"
    verb = "reaches without any model" if reached >= figure.value else "reaches"
    return (
        f"{conclusion} (RankIC {figure.value:.3f}{_interval(figure, 3)}, {count}); {naive.forecaster} {verb} "
        f"{reached:.3f}"
    )


def _price(row: TaskRow, others: dict[str, TaskRow]) -> str:
    skill = row.figures["skill"]
    error = "" if math.isnan(skill.value) else f"; its error is {_relative(-skill.value)} that of the last value"
    return _ordering(row, others, "the prices within a window") + error


def _return(row: TaskRow, others: dict[str, TaskRow]) -> str:
    return _ordering(row, others, "future returns")


def _volatility(row: TaskRow, others: dict[str, TaskRow]) -> str:
    skill = row.figures["skill"]
    conclusion = {
        "better": f"{row.forecaster} forecasts volatility better than {RANDOM_WALK}",
        "worse": f"{row.forecaster} forecasts volatility worse than {RANDOM_WALK}",
        "no evidence": f"no evidence that {row.forecaster} forecasts volatility better than {RANDOM_WALK}",
        "few": f"too few dates to say whether {row.forecaster} forecasts volatility better than {RANDOM_WALK}",
    }[_word(skill, row.dates)]
    best = max(others.values(), key=lambda own: _sort_key(own.figures["r2"]))
    error = f"MAE {_relative(-skill.value)} that of the latter{_interval(skill, 2, 'skill ')}"
    own, other = (found.figures["r2"].value for found in (row, best))
    return f"{conclusion} ({error}); R² {own:.2f}, that of {best.forecaster} {other:.2f}"


def _synthetic(row: TaskRow, others: dict[str, TaskRow]) -> str:
    error, walk = row.figures["discriminative"], others[RANDOM_WALK].figures["discriminative"]
    learned, real = row.figures["tstr_rank_ic"], others[REAL].figures["tstr_rank_ic"]
    return (
        f"an LSTM misclassifies {error.value:.1%} of {row.forecaster}'s and real sequences (50 % is a coin flip; a "
        f"random walk has {walk.value:.1%}); a forecaster trained on them has a RankIC of {learned.value:.3f} on real "
        f"sequences of {row.dates:,} dates{_interval(learned, 3)}, one trained on real sequences {real.value:.3f}"
    )


_MAIN_FIGURE = {
    "price": ("rank_ic", "RankIC"),
    "return": ("rank_ic", "RankIC"),
    "volatility": ("mae", "error"),
    "synthetic": ("discriminative", "discriminative error"),
}
_SENTENCE = {"price": _price, "return": _return, "volatility": _volatility, "synthetic": _synthetic}


def _word(figure: TaskStatistic, dates: int) -> str:
    if dates < MIN_DATES or math.isnan(figure.low):
        return "few"
    if figure.low > 0:
        return "better"
    return "worse" if figure.high < 0 else "no evidence"


def _sort_key(figure: TaskStatistic) -> float:
    return -math.inf if math.isnan(figure.value) else figure.value


def _interval(figure: TaskStatistic, digits: int, name: str = "") -> str:
    """The interval after a comma: ``, -0.012 to 0.034``; empty if unknown."""
    if math.isnan(figure.low):
        return ""
    return f", {name}{figure.low:.{digits}f} to {figure.high:.{digits}f}"


def _relative(share: float) -> str:
    """How an error compares with another: ``12% above``, ``equal to``."""
    if abs(share) < 0.005:
        return "equal to"
    return f"{abs(share):.0%} {'above' if share > 0 else 'below'}"

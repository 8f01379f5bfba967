"""One call for a whole task: origins, forecasts, figures, sentences, and what made them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from kronos import provenance
from kronos.baselines import BASELINES
from kronos.errors import DataError, ParameterError
from kronos.evaluation.forecasters import Forecaster
from kronos.evaluation.paper import price_tasks, synthetic, volatility_task
from kronos.evaluation.paper.forecasting import DIRECTED, RANDOM_WALK, RULES, Aggregator, OriginSet, Times, make_walks
from kronos.evaluation.paper.results import Figure, PaperResult, Row, TaskContext, TaskResult, with_means
from kronos.evaluation.paper.settings import TEST_FROM, PaperSettings, Task
from kronos.evaluation.paper.synthetic import REAL
from kronos.evaluation.plan import Dates, Instrument, Plan
from kronos.evaluation.verdicts import FEW_DATES
from kronos.progress import ProgressCallback


def sentences(task: Task, rows: Sequence[Row]) -> list[str]:
    """One sentence a group about the model in it."""
    found = []
    for row in rows:
        if row.baseline:
            continue
        figure, words = _MAIN[task]
        if math.isnan(row.figures[figure].value):
            found.append(f"{row.group}: {row.forecaster}'s forecasts have no {words}, so nothing can be said of them.")
        else:
            beside = {one.forecaster: one for one in rows if one.group == row.group and one.baseline}
            found.append(f"{row.group}: {_SAY[task](row, beside)}.")
    return found


def _order(row: Row, beside: dict[str, Row], what: str) -> str:
    figure = row.figures["rank_ic"]
    told = {
        "better": f"{row.forecaster} orders {what} better than chance",
        "worse": f"{row.forecaster} orders {what} worse than chance",
        "no evidence": f"no evidence that {row.forecaster} orders {what}",
        "few": f"too few dates to say whether {row.forecaster} orders {what}",
    }[_word(figure, row.dates)]
    naive = max((beside[name] for name in DIRECTED), key=lambda one: _rank(one.figures["rank_ic"]))
    count = f"{row.n:,} forecasts on {row.dates:,} dates"
    reached = naive.figures["rank_ic"].value
    against = "without any model reaches" if reached >= figure.value else "reaches"
    return (
        f"{told} (RankIC {figure.value:.3f}{_interval(figure, 3)}, {count}); {naive.forecaster} {against} {reached:.3f}"
    )


def _price(row: Row, beside: dict[str, Row]) -> str:
    gain = row.figures["skill"]
    closer = "" if math.isnan(gain.value) else f"; its error is {_more(-gain.value)} the last value's"
    return _order(row, beside, "the prices within a window") + closer


def _return(row: Row, beside: dict[str, Row]) -> str:
    return _order(row, beside, "the returns to come")


def _volatility(row: Row, beside: dict[str, Row]) -> str:
    gain = row.figures["skill"]
    told = {
        "better": f"{row.forecaster} tells the volatility to come better than {RANDOM_WALK}",
        "worse": f"{row.forecaster} tells the volatility to come worse than {RANDOM_WALK}",
        "no evidence": f"no evidence that {row.forecaster} tells the volatility to come better than {RANDOM_WALK}",
        "few": f"too few dates to say whether {row.forecaster} tells the volatility to come better than {RANDOM_WALK}",
    }[_word(gain, row.dates)]
    best = max(beside.values(), key=lambda one: _rank(one.figures["r2"]))
    error = f"MAE {_more(-gain.value)} the latter's{_interval(gain, 2, 'skill ')}"
    own, others = (one.figures["r2"].value for one in (row, best))
    return f"{told} ({error}); R² {own:.2f}, {best.forecaster}'s {others:.2f}"


def _synthetic(row: Row, beside: dict[str, Row]) -> str:
    error, walk = row.figures["discriminative"], beside[RANDOM_WALK].figures["discriminative"]
    learnt, real = row.figures["tstr_rank_ic"], beside[REAL].figures["tstr_rank_ic"]
    return (
        f"an LSTM that tells {row.forecaster}'s sequences from real ones errs in {error.value:.1%} of cases "
        f"(50 % would be guessing; a random walk's: {walk.value:.1%}); a forecaster that learnt from them has a RankIC "
        f"of {learnt.value:.3f} on real ones of {row.dates:,} dates{_interval(learnt, 3)}, one that learnt from real "
        f"ones {real.value:.3f}"
    )


_MAIN = {
    "price": ("rank_ic", "RankIC"),
    "return": ("rank_ic", "RankIC"),
    "volatility": ("mae", "error"),
    "synthetic": ("discriminative", "error to be told by"),
}
_SAY = {"price": _price, "return": _return, "volatility": _volatility, "synthetic": _synthetic}


def _word(figure: Figure, dates: int) -> str:
    if dates < FEW_DATES or math.isnan(figure.low):
        return "few"
    if figure.low > 0:
        return "better"
    return "worse" if figure.high < 0 else "no evidence"


def _rank(figure: Figure) -> float:
    return -math.inf if math.isnan(figure.value) else figure.value


def _interval(figure: Figure, digits: int, name: str = "") -> str:
    """``, −0.012 to 0.034``, or nothing."""
    if math.isnan(figure.low):
        return ""
    return f", {name}{figure.low:.{digits}f} to {figure.high:.{digits}f}"


def _more(share: float) -> str:
    """``12 % above``: how an error stands to another's."""
    if abs(share) < 0.005:
        return "like"
    return f"{abs(share):.0%} {'above' if share > 0 else 'below'}"


_TAKEN = {*BASELINES, *RULES, synthetic.REAL}
_USUAL = Dates(start=pd.Timestamp(TEST_FROM))
Known = Callable[[Plan], Mapping[str, pd.Timestamp] | None]

_TASKS: Mapping[Task, tuple[Callable[[TaskContext], TaskResult], Callable[[OriginSet], int]]] = {
    "price": (price_tasks.prices, price_tasks.amount),
    "return": (price_tasks.returns, price_tasks.amount),
    "volatility": (volatility_task.volatility, volatility_task.amount),
    "synthetic": (synthetic.synthetic, synthetic.amount),
}


def run_paper(
    instruments: Sequence[Instrument],
    model: Forecaster,
    settings: PaperSettings,
    *,
    dates: Dates = _USUAL,
    cutoffs: Known | None = None,
    progress: ProgressCallback | None = None,
) -> PaperResult:
    """Run one of the paper's tasks.

    Args:
        instruments: What to forecast, of any markets and intervals; each pair is a group.
        model: Who is asked, with the sampling of the settings (`PaperSettings.sampling`).
        settings: The task, and what of it differs from the paper.
        dates: Between which times all forecast candles lie; by default from where the paper's tests begin.
        cutoffs: Gives for a plan the time from which each group's candles are new to the model, or None where nothing
            tells, as `kronos.evaluation.dates.cutoffs` does; tests on earlier ones are warned of.
        progress: Called with the work done and all of it.

    Raises:
        DataError: If there is nothing to forecast in those dates, or too little to judge.
        ParameterError: If the paper has no such interval, or a baseline has the model's name.
    """
    if model.name in _TAKEN:
        raise ParameterError(f"A model cannot be called '{model.name}', as a baseline is; give it another name.")
    task, amount = _TASKS[settings.task]
    walks, problems = make_walks(instruments, settings, dates)
    tally = Aggregator(sum(amount(walk) for walk in walks), progress)
    outcomes = [task(TaskContext(walk, model, settings, tally)) for walk in walks]
    tally.finish()
    rows = [row for outcome in outcomes for row in outcome.rows]
    notes = {name: text for outcome in outcomes for name, text in outcome.notes.items()}
    told = [warning for outcome in outcomes for warning in outcome.warnings]
    if not rows:
        raise DataError(told[0])
    warnings = [*problems, *told]
    for walk, outcome in zip(walks, outcomes, strict=True):
        warnings += _shortened(walk, outcome, model) + _seen(walk, cutoffs, model)
    return PaperResult(
        settings=settings,
        rows=with_means(rows),
        sentences=tuple(sentences(settings.task, rows)),
        warnings=(*warnings, *_simulated(walks)),
        notes={model.name: model.description} | notes,
        made={
            "model": dict(model.identity()),
            "from": None if dates.start is None else dates.start.isoformat(),
            "to": None if dates.end is None else dates.end.isoformat(),
            "walks": [_told(walk) for walk in walks],
            "versions": provenance.versions(),
            "created": provenance.now_utc(),
        },
    )


def _shortened(walk: OriginSet, outcome: TaskResult, model: Forecaster) -> list[str]:
    """Whether the model saw less history than it should have."""
    asked = walk.windows.lookback
    if outcome.history is None or outcome.history >= asked:
        return []
    return [
        f"{walk.interval}: {model.name} used {outcome.history} candles of history instead of {asked}, because history "
        f"and horizon share its context."
    ]


def _seen(walk: OriginSet, cutoffs: Known | None, model: Forecaster) -> list[str]:
    """Whether the model may know what it is tested on."""
    if cutoffs is None:
        return []
    new = cutoffs(walk.plan)
    if new is None:
        return [f"Nothing says up to when {model.name}'s data went: it may have been trained on what it is tested on."]
    first = walk.plan.table().groupby("group")["first"].min()
    seen = [
        f"{group} (tested from {date:%Y-%m-%d}, new to it from {new[str(group)]:%Y-%m-%d})"
        for group, date in first.items()
        if str(group) in new and date < new[str(group)]
    ]
    return [f"{model.name} may have been trained or selected on what it is tested on: {', '.join(seen)}."] * bool(seen)


def _simulated(walks: Sequence[OriginSet]) -> list[str]:
    names = [one.name for walk in walks for one in walk.plan.instruments if one.candles.simulated]
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"SIMULATED candles, which never traded: {', '.join(names[:3])}{more}; figures of them say nothing."]


def _told(walk: OriginSet) -> dict[str, object]:
    """A walk for JSON."""
    plan, times = walk.plan, Times.of(walk.plan)
    return {
        "interval": walk.interval,
        "lookback": walk.windows.lookback,
        "horizon": walk.windows.horizon,
        "stride": plan.walk.step,
        "instruments": len(set(plan.series.tolist())),
        "origins": len(plan),
        "first": times.origins.min().isoformat(),
        "last": times.ends.max().isoformat(),
        "plan": plan.digest(),
    }

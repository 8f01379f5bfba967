"""One call for a whole task: origins, forecasts, figures, sentences, and what made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from kronos import provenance
from kronos.baselines import BASELINES
from kronos.errors import DataError, ParameterError
from kronos.evaluation.forecasters import Forecaster
from kronos.evaluation.paper import prices, synthetic, volatility
from kronos.evaluation.paper.asking import Progress, Tally
from kronos.evaluation.paper.naive import RULES
from kronos.evaluation.paper.origins import Times, Walk, make_walks
from kronos.evaluation.paper.results import PaperResult, with_means
from kronos.evaluation.paper.sentences import sentences
from kronos.evaluation.paper.settings import TEST_FROM, PaperSettings, Task
from kronos.evaluation.paper.tasks import Outcome, Work
from kronos.evaluation.plan import Dates, Instrument, Plan

_TAKEN = {*BASELINES, *RULES, synthetic.REAL}
_USUAL = Dates(start=pd.Timestamp(TEST_FROM))
Known = Callable[[Plan], Mapping[str, pd.Timestamp] | None]

_TASKS: Mapping[Task, tuple[Callable[[Work], Outcome], Callable[[Walk], int]]] = {
    "price": (prices.prices, prices.amount),
    "return": (prices.returns, prices.amount),
    "volatility": (volatility.volatility, volatility.amount),
    "synthetic": (synthetic.synthetic, synthetic.amount),
}


def run_paper(
    instruments: Sequence[Instrument],
    model: Forecaster,
    settings: PaperSettings,
    *,
    dates: Dates = _USUAL,
    cutoffs: Known | None = None,
    progress: Progress | None = None,
) -> PaperResult:
    """Run one of the paper's tasks.

    Args:
        instruments: What to forecast, of any markets and intervals; each pair is a group.
        model: Who is asked, with the sampling of the settings (`PaperSettings.sampling`).
        settings: The task, and what of it differs from the paper.
        dates: Between which times all forecast candles lie; by default from where the paper's tests begin.
        cutoffs: Gives for a plan the time from which each group's candles are new to the model, or None where nothing
            tells, as `kronos.evaluation.cutoffs.cutoffs` does; tests on earlier ones are warned of.
        progress: Called with the work done and all of it.

    Raises:
        DataError: If there is nothing to forecast in those dates, or too little to judge.
        ParameterError: If the paper has no such interval, or a baseline has the model's name.
    """
    if model.name in _TAKEN:
        raise ParameterError(f"A model cannot be called '{model.name}', as a baseline is; give it another name.")
    task, amount = _TASKS[settings.task]
    walks, problems = make_walks(instruments, settings, dates)
    tally = Tally(sum(amount(walk) for walk in walks), progress)
    outcomes = [task(Work(walk, model, settings, tally)) for walk in walks]
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


def _shortened(walk: Walk, outcome: Outcome, model: Forecaster) -> list[str]:
    """Whether the model saw less history than it should have."""
    asked = walk.windows.lookback
    if outcome.history is None or outcome.history >= asked:
        return []
    return [
        f"{walk.interval}: {model.name} used {outcome.history} candles of history instead of {asked}, because history "
        f"and horizon share its context."
    ]


def _seen(walk: Walk, cutoffs: Known | None, model: Forecaster) -> list[str]:
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


def _simulated(walks: Sequence[Walk]) -> list[str]:
    names = [one.name for walk in walks for one in walk.plan.instruments if one.candles.simulated]
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"SIMULATED candles, which never traded: {', '.join(names[:3])}{more}; figures of them say nothing."]


def _told(walk: Walk) -> dict[str, object]:
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

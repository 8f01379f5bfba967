"""What follows from a task's figures, in plain sentences by stated rules.

A coefficient or a skill counts as such if its 95 % interval excludes 0, and only on `FEW_DATES` dates or more; what a
naive rule reaches stands in the same sentence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kronos.evaluation.paper.naive import DIRECTED, RANDOM_WALK
from kronos.evaluation.paper.results import Figure, Row
from kronos.evaluation.paper.settings import Task
from kronos.evaluation.paper.synthetic import REAL
from kronos.evaluation.verdict import FEW_DATES


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

"""The way from files to forecasts that `kronos evaluate` and `kronos calibrate` share.

begun = begin(reading, span, walk, models, wanted=True)
effort.prepare()
with walking(effort, "Forecasting", wanted=True, then="Scoring") as progress:
    run(begun.plan, [one.forecaster for one in begun.loaded], effort.folder, effort.settings(), progress=progress)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kronos.cli.console import progress_bar, spinner, stderr
from kronos.cli.evaluation_arguments import ContenderModelArgs, DateArgs, InputArgs, OriginArgs, RunArgs
from kronos.cli.model_loading import ModelArgs
from kronos.cli.options import PartName
from kronos.errors import DataError, ParameterError
from kronos.progress import ProgressCallback

if TYPE_CHECKING:
    import pandas as pd

    from kronos.evaluation import Dates, Evaluation, Instrument, ModelForecaster, Plan
    from kronos.evaluation.dates import Splits
    from kronos.evaluation.instruments import LoadedInstruments
    from kronos.inference import KronosPredictor, SamplingParams

INTERRUPTED = 130
_LAST = 0.3  # share of a series that is evaluated where nothing says which dates


@dataclass(frozen=True)
class EvaluationData:
    """What was read.

    Attributes:
        gathered: The instruments, and what could not be read.
        splits: The dates beside them, if there are any.
    """

    gathered: LoadedInstruments
    splits: Splits | None

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """All series."""
        return self.gathered.instruments


@dataclass(frozen=True)
class EvaluationDates:
    """Between which times candles are forecast.

    Attributes:
        dates: By the instrument's name.
        words: The same for people: where the dates come from.
    """

    dates: Mapping[str, Dates]
    words: str


@dataclass(frozen=True)
class LoadedModel:
    """A model that is here.

    Attributes:
        name: What tables call it, unique.
        predictor: The model.
        sampling: How its paths are drawn.
        forecaster: The same for an evaluation.
    """

    name: str
    predictor: KronosPredictor
    sampling: SamplingParams
    forecaster: ModelForecaster


def read(reading: InputArgs, span: DateArgs, *, wanted: bool) -> EvaluationData:
    """Read the candles, and the dates beside them.

    Raises:
        KronosError: If there is nothing to read, dates are wrong, or (where that is asked for) a file cannot be read.
    """
    from kronos.evaluation.dates import find_splits, read_splits
    from kronos.evaluation.instruments import load_instruments

    splits = None
    if span.splits is not None:
        splits = read_splits(span.splits)
    elif span.start is None and span.end is None:
        splits = find_splits(reading.paths)
    with progress_bar("Reading", wanted=wanted) as bar:
        gathered = load_instruments(
            reading.paths, market=reading.market, interval=reading.interval, timezone=reading.timezone, progress=bar
        )
    if reading.strict and gathered.unreadable:
        raise DataError(gathered.unreadable[0].problem)
    return EvaluationData(gathered, splits)


def explicit_dates(span: DateArgs, data: EvaluationData) -> EvaluationDates | None:
    """The dates that somebody names: the caller, a split, or a prepared dataset; None where nobody does.

    Raises:
        ParameterError: If a time is none, or a part is asked for that some series doesn't have.
    """
    from kronos.evaluation import Dates

    names = [one.name for one in data.instruments]
    start, end = _time(span.start, "--from"), _time(span.end, "--to")
    if start is not None or end is not None:
        if start is not None and end is not None and _clock(start) >= _clock(end):
            raise ParameterError(f"--to {span.end} is not after --from {span.start}.")
        words = " ".join(f"{word} {time}" for word, time in (("from", span.start), ("to", span.end)) if time)
        return EvaluationDates(dict.fromkeys(names, Dates(start, end)), f"candles {words}")
    part: PartName = span.part or "test"
    prepared = {name: dates[part] for name, dates in data.gathered.dates.items()}
    split = data.splits.dates(part) if data.splits is not None else {}
    dates = {one.name: prepared.get(one.name) or split.get(one.market) for one in data.instruments}
    known = {name: found for name, found in dates.items() if found is not None}
    if len(known) == len(dates):
        return EvaluationDates(known, _part_words(part, data, [name for name in names if name not in prepared]))
    if not known and span.part is None and span.splits is None and data.splits is None:
        return None
    lacking = next(one for one in data.instruments if one.name not in known)
    where = "Nothing" if data.splits is None else f"No line of {data.splits.path}"
    raise ParameterError(
        f"{where} tells the {part} dates of the market '{lacking.market}' of {lacking.name}; add them to a splits.csv, "
        f"name another market with --market, or give --from and --to."
    )


def _part_words(part: PartName, data: EvaluationData, split: Sequence[str]) -> str:
    """Where the dates of a part come from."""
    sources = []
    if len(split) < len(data.instruments):
        sources.append("the prepared dataset")
    if split and data.splits is not None:
        sources.append(str(data.splits.path))
    return f"{part} dates of {' and '.join(sources)}"


def default_dates(data: EvaluationData, loaded: Sequence[LoadedModel], walk: OriginArgs) -> EvaluationDates:
    """Dates where nobody names any: in each group those that are new to all models, else the last 30 %.

    Args:
        data: The candles.
        loaded: The models; one of which nobody knows what it has seen, or that has seen nothing, doesn't count.
        walk: A group's dates are new if at least one of its series has a horizon's candles then.

    Raises:
        DataError: If no series is long enough at any date.
    """
    from kronos.evaluation import Dates, cutoffs, make_plan

    whole = make_plan(data.instruments, walk.walk())
    seen = [found for one in loaded if (found := cutoffs(one.predictor, whole))]
    begins = {group: max(one[group] for one in seen) for group in data.gathered.groups} if seen else {}
    new = {one.group for one in data.instruments if _candles_from(one, begins.get(one.group)) >= walk.horizon}
    dates = {}
    for one in data.instruments:
        start = begins[one.group] if one.group in new else _late(one)
        dates[one.name] = Dates(_like(start, one), None)
    old = sorted({one.group for one in data.instruments} - new)
    last = f"the last {100 * _LAST:.0f} % of each series"
    if not new:
        return EvaluationDates(dates, f"{last}, because nothing names the dates (--from, --to, --splits)")
    words = "candles that are new to the models"
    return EvaluationDates(dates, f"{words}; of {', '.join(old)} {last}" if old else words)


def load_models(models: ContenderModelArgs, *, wanted: bool) -> list[LoadedModel]:
    """Have the models here, each under a name of its own.

    Raises:
        KronosError: If an option is wrong, or weights cannot be had.
    """
    from kronos.baselines import BASELINES
    from kronos.cli.model_loading import choose, load, sampling_params

    chosen = [
        choose(ModelArgs(ref, models.tokenizer, models.device, models.precision, None))
        for ref in models.refs or (None,)
    ]
    with spinner("Loading", wanted=wanted):
        sampling = sampling_params(models.sampling)  # before the weights: a wrong option needs no download
        from kronos.evaluation import ModelForecaster
    taken = set(BASELINES)
    found = []
    for one in chosen:
        if wanted and one.announcement:
            stderr().print(one.announcement, style="dim", markup=False)
        name = _free(one.entry.name if one.entry else one.title, taken)
        predictor = load(one, wanted=wanted)
        found.append(LoadedModel(name, predictor, sampling, ModelForecaster(predictor, name, sampling=sampling)))
    return found


@dataclass(frozen=True)
class EvaluationSetup:
    """Everything that there is before the first forecast.

    Attributes:
        data: What was read.
        dated: Which dates are forecast.
        plan: The origins.
        loaded: The models.
    """

    data: EvaluationData
    dated: EvaluationDates
    plan: Plan
    loaded: Sequence[LoadedModel]


def prepare_evaluation(
    reading: InputArgs, span: DateArgs, walk: OriginArgs, models: ContenderModelArgs, *, wanted: bool
) -> EvaluationSetup:
    """Read, choose dates and origins, and have the models here; what is cheap to refuse is refused first.

    Raises:
        KronosError: One sentence on whatever is wrong.
    """
    from kronos.evaluation import make_plan

    chosen = walk.walk()
    data = read(reading, span, wanted=wanted)
    dated = explicit_dates(span, data)
    plan = None if dated is None else make_plan(data.instruments, chosen, dated.dates)
    loaded = load_models(models, wanted=wanted)
    needed = max([chosen.least_history, *(one.predictor.least_history for one in loaded)])
    if dated is None:
        dated = default_dates(data, loaded, walk)
    if plan is None or needed > chosen.least_history:  # origins that every model can be asked at
        plan = make_plan(data.instruments, replace(chosen, least_history=needed), dated.dates)
    return EvaluationSetup(data, dated, plan, loaded)


def workers_for(asked: int | None, loaded: Sequence[LoadedModel]) -> int:
    """How many processes share the work.

    Raises:
        ParameterError: If several are asked for, but a model is on a GPU.
    """
    from kronos.settings import get_settings

    elsewhere = next((one for one in loaded if one.predictor.device.type != "cpu"), None)
    if elsewhere is None:
        return asked or get_settings().threads or os.cpu_count() or 1
    if asked is not None and asked > 1:
        raise ParameterError(
            f"{elsewhere.name} is on {elsewhere.predictor.device}, which one process uses at a time; leave out "
            f"--workers, or take --device cpu."
        )
    return 1


@contextmanager
def evaluation_progress(effort: RunArgs, title: str, *, wanted: bool, then: str) -> Iterator[ProgressCallback]:
    """Show how far a run is and how long it still takes, say what was there already, and end well at Ctrl-C.

    Args:
        effort: Where forecasts are kept.
        title: What is going on.
        wanted: Whether to show anything.
        then: What goes on once all forecasts are there.

    Yields:
        What to call with the forecasts done and their number.

    Raises:
        typer.Exit: With status 130 at Ctrl-C.
    """
    from kronos.cli.model_loading import threads
    from kronos.settings import get_settings

    try:
        with threads(get_settings().threads), progress_bar(title, wanted=wanted, long=True, then=then) as bar:
            begun = False

            def progress(done: int, total: int) -> None:
                nonlocal begun
                if wanted and done and not begun:
                    words = f"{done:,} of {total:,} forecasts were there already, in {effort.folder}."
                    stderr().print(words, style="dim", markup=False)
                begun = True
                if bar is not None:
                    bar(done, total)

            yield progress
    except KeyboardInterrupt:
        same = "the same command without --fresh" if effort.fresh else "the same command"
        typer.echo(f"Stopped: what is done is kept in {effort.folder}, and {same} goes on from there.", err=True)
        raise typer.Exit(INTERRUPTED) from None


# Helpers -------------------------------------------------------------------


def _time(text: str | None, option: str) -> pd.Timestamp | None:
    """A time of the command line: the wall clock of the candles where it names no timezone.

    Raises:
        ParameterError: If it is none.
    """
    from kronos.cli.data.fetch import parse_time

    if text is None or parse_time(text, option) is None:
        return None
    import pandas as pd

    return pd.Timestamp(text)


def _clock(time: pd.Timestamp) -> pd.Timestamp:
    """A time in UTC without a timezone; a naive one as it is written."""
    return time if time.tz is None else time.tz_convert("UTC").tz_localize(None)


def _like(time: pd.Timestamp, one: Instrument) -> pd.Timestamp:
    """A naive time as UTC where the candles' times have a timezone."""
    return time.tz_localize("UTC") if time.tz is None and one.candles.index.tz is not None else time


def _candles_from(one: Instrument, begin: pd.Timestamp | None) -> int:
    """How many candles an instrument has from a time on; none from an unknown one."""
    return 0 if begin is None else len(one.candles) - int(one.candles.index.searchsorted(_like(begin, one)))


def _late(one: Instrument) -> pd.Timestamp:
    """When the last share of an instrument's candles begins."""
    return one.candles.index[round(len(one.candles) * (1 - _LAST))]


def _free(name: str, taken: set[str]) -> str:
    """A name that nobody has yet, with a number where it is taken."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(candidate)
    return candidate


@dataclass(frozen=True)
class EvaluationResult:
    """What came out, and what a reader wants to know beside it.

    Attributes:
        evaluation: Scores, figures, verdicts, warnings.
        data: What was read.
        dated: Which dates were forecast.
        files: What was written.
    """

    evaluation: Evaluation
    data: EvaluationData
    dated: EvaluationDates
    files: tuple[Path, ...]

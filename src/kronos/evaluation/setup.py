"""Set up an evaluation: load the candles, select the dates, and plan the origins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from kronos.errors import DataError, ParameterError
from kronos.evaluation.dates import (
    SelectedDates,
    SplitName,
    Splits,
    dates_between,
    dates_of_split,
    default_dates,
    find_splits,
    missing_split_dates,
    read_splits,
)
from kronos.evaluation.instruments import LoadedInstruments, load_instruments
from kronos.evaluation.plan import Dates, Instrument, Plan, RollingOrigins, make_plan
from kronos.progress import ProgressCallback

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor

Predictors = Sequence["KronosPredictor"]
_DEFAULT_ORIGINS = RollingOrigins()


@dataclass(frozen=True, slots=True)
class EvaluationSetup:
    """An evaluation before its first forecast.

    Attributes:
        data: The instruments, and the files that could not be read.
        dates: Selected dates by instrument name.
        description: Where the dates come from, for readers.
        plan: The origins, for `evaluate`.
    """

    data: LoadedInstruments
    dates: Mapping[str, Dates]
    description: str
    plan: Plan

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """All instruments."""
        return self.data.instruments


def prepare_evaluation(
    data: Sequence[Instrument] | Sequence[str | Path],
    rolling: RollingOrigins = _DEFAULT_ORIGINS,
    *,
    predictors: Predictors | Callable[[], Predictors] = (),
    start: str | pd.Timestamp | None = None,
    end: str | pd.Timestamp | None = None,
    split: SplitName | None = None,
    splits: str | Path | Splits | None = None,
    market: str | None = None,
    interval: str | None = None,
    timezone: str | None = None,
    strict: bool = False,
    progress: ProgressCallback | None = None,
) -> EvaluationSetup:
    """Load candles, select the dates to evaluate on, and plan the origins.

        setup = prepare_evaluation(["candles/"], RollingOrigins(horizon=24, max_origins=400), predictors=[predictor])
        evaluation = evaluate(setup.plan, [ModelForecaster(predictor, "mine")], Path("out/evaluation"))

    Dates are, in this order: ``start`` and ``end``; the dates of a split, from ``splits``, a ``splits.csv`` next to the
    candles, or a prepared dataset; per group, the dates that are new to all models; the last 30 % of each series.

    Args:
        data: Instruments, or paths of candle files, folders and prepared datasets.
        rolling: How to select origins: horizon, stride, lookback, maximum number.
        predictors: The models. They determine the default dates and the history that an origin needs. A callable is
            called only after data and given dates were checked, so that an error in them costs no download.
        start: First time of the forecast candles; without a timezone, in the wall clock of the candles.
        end: Time before which the forecast candles end.
        split: ``validation`` or ``test``; None for the test split, if there is one.
        splits: Dates by market, or a CSV file with them.
        market: Market of all files, see `load_instruments`.
        interval: Interval of all files.
        timezone: Timezone of all files.
        strict: Whether to raise an error for a file that cannot be read, instead of skipping it.
        progress: Called with the number of files read and their total.

    Raises:
        DataError: If nothing can be read, or no origin is left.
        ParameterError: If an argument is invalid, or the dates of a split are missing for a market.
    """
    if (start is not None or end is not None) and (split is not None or splits is not None):
        raise ParameterError("Select dates either by start and end or by a split, not by both.")
    paths = [item for item in data if not isinstance(item, Instrument)]
    if splits is None and start is None and end is None:
        splits = find_splits(paths)
    elif isinstance(splits, str | Path):
        splits = read_splits(splits)
    if paths:
        loaded = load_instruments(paths, market=market, interval=interval, timezone=timezone, progress=progress)
        if strict and loaded.unreadable:
            raise DataError(loaded.unreadable[0].problem)
    else:
        loaded = LoadedInstruments(tuple(item for item in data if isinstance(item, Instrument)))
    selected = _given_dates(loaded, start, end, split, splits)
    plan = None if selected is None else make_plan(loaded.instruments, rolling, selected.dates)
    models = predictors() if callable(predictors) else predictors
    if selected is None:
        selected = default_dates(loaded, rolling, models)
    needed = max([rolling.least_history, *(model.least_history for model in models)])
    if plan is None or needed > rolling.least_history:  # only origins at which every model can forecast
        plan = make_plan(loaded.instruments, replace(rolling, least_history=needed), selected.dates)
    return EvaluationSetup(loaded, selected.dates, selected.description, plan)


def _given_dates(
    data: LoadedInstruments,
    start: str | pd.Timestamp | None,
    end: str | pd.Timestamp | None,
    split: SplitName | None,
    splits: Splits | None,
) -> SelectedDates | None:
    """The dates that the arguments, a split or a prepared dataset give; None if there are none."""
    if start is not None or end is not None:
        dates = dates_between(start, end)
        text = " ".join(f"{word} {time}" for word, time in (("from", start), ("to", end)) if time is not None)
        return SelectedDates({instrument.name: dates for instrument in data.instruments}, f"candles {text}")
    name: SplitName = split or "test"
    selected = dates_of_split(data, splits, name)
    if selected is None and (split is not None or splits is not None):
        raise missing_split_dates(data.instruments[0], splits, name)
    return selected

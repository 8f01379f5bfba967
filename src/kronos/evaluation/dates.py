"""The dates that an evaluation may use: given dates, dates of a split, or dates after a model's training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from kronos.candles import ReadOptions
from kronos.datasets.readers import is_qlib
from kronos.datasets.splits import SplitDates, find_split_dates, read_split_dates
from kronos.errors import DataError, ParameterError
from kronos.evaluation.aggregate import ALL
from kronos.evaluation.instruments import LoadedInstruments, load_instruments
from kronos.evaluation.origins import (
    Dates,
    Instrument,
    Plan,
    QualityFilter,
    RollingOrigins,
    find_dates,
    make_plan,
    to_naive_utc,
)
from kronos.progress import ProgressCallback
from kronos.zoo import Cutoffs, trained_until
from kronos.zoo.catalog import cutoff_for, latest_cutoffs

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor
    from kronos.nn import Kronos, KronosTokenizer

SplitName = Literal["validation", "test"]
_TEST_SHARE = 0.3  # last share of a series, used if no dates are known


@dataclass(frozen=True, slots=True)
class SelectedDates:
    """The dates that an evaluation uses.

    Attributes:
        dates: By instrument name.
        description: Where the dates come from, for readers.
    """

    dates: Mapping[str, Dates]
    description: str


@dataclass(frozen=True, slots=True)
class Splits(SplitDates):
    """The dates of a splits.csv, by market."""

    def dates(self, split: SplitName) -> dict[str, Dates]:
        """Return the dates of one split by market, or market and interval.

        Args:
            split: ``validation`` or ``test``.
        """
        if split == "test":
            return {market: Dates(test, None) for market, (_, test) in self.cuts.items()}
        return {market: Dates(validation, test) for market, (validation, test) in self.cuts.items()}


def read_splits(path: str | Path) -> Splits:
    """Read a splits.csv.

    Args:
        path: A CSV file with the columns market, validation_from and test_from.

    Raises:
        DataError: If the file cannot be read, or a line is invalid.
    """
    return _splits(read_split_dates(path))


def find_splits(paths: Iterable[str | Path]) -> Splits | None:
    """Find the ``splits.csv`` that belongs to candle files: in their folder or in one of the two above it.

    A file of that name with other columns (of share splits, for example) is ignored.

    Args:
        paths: Candle files and folders.

    Raises:
        DataError: If a line is invalid.
        ParameterError: If there are several.
    """
    found = find_split_dates(paths)
    return None if found is None else _splits(found)


def _splits(found: SplitDates) -> Splits:
    return Splits(found.cuts, found.path)


# Which dates to evaluate on ------------------------------------------------------


def dates_between(start: str | pd.Timestamp | None, end: str | pd.Timestamp | None) -> Dates:
    """Parse the times between which candles are forecast.

    Args:
        start: First time of the forecast candles; without a timezone, in the wall clock of the candles.
        end: Time before which the forecast candles end.

    Raises:
        ParameterError: If a time cannot be parsed, or ``end`` is not after ``start``.
    """
    dates = Dates(_parse_time("start", start), _parse_time("end", end))
    if dates.start is not None and dates.end is not None and to_naive_utc(dates.start) >= to_naive_utc(dates.end):
        raise ParameterError(f"Invalid dates: the end {end} is not after the start {start}.")
    return dates


def _parse_time(name: str, time: str | pd.Timestamp | None) -> pd.Timestamp | None:
    if time is None:
        return None
    try:
        parsed = pd.Timestamp(time)
        valid = not pd.isna(parsed.as_unit("ns"))  # out of range is invalid too
    except (ValueError, TypeError, OverflowError):
        valid = False
    if not valid:
        raise ParameterError(f"Invalid {name} '{time}': give a time such as 2024-07-01 or '2024-07-01 12:00'.")
    return parsed


def dates_of_split(data: LoadedInstruments, splits: Splits | None, split: SplitName) -> SelectedDates | None:
    """Select the dates of a split: those of prepared datasets, and for other instruments those of their market.

    Args:
        data: The instruments.
        splits: Dates by market.
        split: ``validation`` or ``test``.

    Returns:
        The dates; None if no instrument has any.

    Raises:
        ParameterError: If only some instruments have dates.
    """
    by_market = splits.dates(split) if splits is not None else {}
    prepared = {name: dates[split] for name, dates in data.dates.items()}
    dates = {
        instrument.name: found
        for instrument in data.instruments
        if (found := prepared.get(instrument.name) or find_dates(by_market, instrument)) is not None
    }
    if not dates:
        return None
    missing = next((instrument for instrument in data.instruments if instrument.name not in dates), None)
    if missing is not None:
        raise missing_split_dates(missing, splits, split)
    sources = ["the prepared dataset"] if prepared else []
    if splits is not None and len(prepared) < len(dates):
        sources.append(str(splits.path))
    return SelectedDates(dates, f"{split} dates of {' and '.join(sources)}")


def missing_split_dates(instrument: Instrument, splits: Splits | None, split: SplitName) -> ParameterError:
    """Return the error for an instrument whose market has no dates in a split."""
    where = "" if splits is None else f" in {splits.path}"
    return ParameterError(
        f"No {split} dates{where} for the market '{instrument.market}' of {instrument.name} "
        f"({instrument.candles.interval}): add them to a splits.csv, set the market, or give start and end dates."
    )


def default_dates(
    data: LoadedInstruments, rolling: RollingOrigins, predictors: Sequence[KronosPredictor]
) -> SelectedDates:
    """Select dates when none are given: per group those that are new to all models, else the last 30 %.

    Args:
        data: The instruments.
        rolling: How origins are selected; dates count as new if a series of the group has a horizon of candles there.
        predictors: The models; those with unknown training dates are ignored.

    Raises:
        DataError: If no series is long enough.
    """
    plan = make_plan(data.instruments, rolling, quality="none")
    known = [found for predictor in predictors if (found := cutoffs(predictor, plan))]
    starts = {group: max(times[group] for times in known) for group in data.groups} if known else {}
    new = {
        instrument.group
        for instrument in data.instruments
        if _candles_from(instrument, starts.get(instrument.group)) >= rolling.horizon
    }
    dates = {}
    for instrument in data.instruments:
        start = starts[instrument.group] if instrument.group in new else _start_of_last_share(instrument)
        dates[instrument.name] = Dates(_localize_like(start, instrument), None)
    old = sorted({instrument.group for instrument in data.instruments} - new)
    last = f"the last {100 * _TEST_SHARE:.0f} % of each series"
    if not new:
        return SelectedDates(dates, f"{last}, because no dates are given")
    description = "candles that are new to the models"
    return SelectedDates(dates, f"{description}; of {', '.join(old)} {last}" if old else description)


def _localize_like(time: pd.Timestamp, instrument: Instrument) -> pd.Timestamp:
    """A naive time as UTC if the candles have a timezone."""
    return time.tz_localize("UTC") if time.tz is None and instrument.candles.index.tz is not None else time


def _candles_from(instrument: Instrument, start: pd.Timestamp | None) -> int:
    """The number of an instrument's candles from a time on; 0 if the time is unknown."""
    if start is None:
        return 0
    index = instrument.candles.index
    return len(index) - int(index.searchsorted(_localize_like(start, instrument)))


def _start_of_last_share(instrument: Instrument) -> pd.Timestamp:
    return instrument.candles.index[round(len(instrument.candles) * (1 - _TEST_SHARE))]


# What models were trained on -----------------------------------------------------


def cutoffs(predictor: KronosPredictor, plan: Plan) -> Mapping[str, pd.Timestamp] | None:
    """Return, by group, the time from which candles are new to a model and its tokenizer, as `evaluate` takes it.

    Args:
        predictor: The model.
        plan: The origins; a market that is missing from the model's record gets the latest recorded date.

    Returns:
        Naive UTC times (of naive candles, in their own wall clock). Dates begin at midnight in each instrument's
        timezone. Empty if the model has seen no candles; None if its training dates are unknown, or its weights have
        changed since they were loaded.

    Raises:
        CheckpointError: If a checkpoint's ``kronos.json`` has impossible dates.
    """
    model, tokenizer = _recorded_cutoffs(predictor.model), _recorded_cutoffs(predictor.tokenizer)
    if model is None or tokenizer is None:
        return None
    recorded = latest_cutoffs(model, tokenizer)
    if not recorded:
        return {}
    result: dict[str, pd.Timestamp] = {}
    for instrument in plan.instruments:
        time = _midnight(cutoff_for(recorded, instrument.group), instrument)
        result[instrument.group] = max(time, result.get(instrument.group, time))
    return result


def _recorded_cutoffs(network: Kronos | KronosTokenizer) -> Cutoffs | None:
    return trained_until(network.located) if network.located is not None and network.unchanged else None


def _midnight(day: str, instrument: Instrument) -> pd.Timestamp:
    """The start of a day in the timezone of an instrument's candles, in naive UTC."""
    zone = instrument.candles.index.tz
    if zone is None:
        return pd.Timestamp(day)
    return to_naive_utc(pd.Timestamp(day).tz_localize(zone, ambiguous=True, nonexistent="shift_forward"))


def seen_groups(
    first: Mapping[str, pd.Timestamp], until: Mapping[str, pd.Timestamp]
) -> dict[str, tuple[pd.Timestamp, pd.Timestamp]]:
    """Return the groups with forecast candles from before a model's cutoff: the first such candle, and the cutoff.

    Args:
        first: Time of the first forecast candle, by group.
        until: Time from which candles are new to the model, by group (or ``all``).
    """
    known = {group: until.get(group, until.get(ALL)) for group in first}
    return {group: (first[group], time) for group, time in known.items() if time is not None and first[group] < time}


def training_overlap_warnings(name: str, plan: Plan, until: Mapping[str, pd.Timestamp] | None) -> list[str]:
    """Warn of a calibration that would be fitted to dates of the model's training, where its errors are smaller.

    Args:
        name: Name of the model.
        plan: The origins that the calibration is fitted to.
        until: Time from which candles are new to the model, see `cutoffs`.
    """
    if until is None:
        return [
            f"The training dates of {name} are unknown: on dates that it was trained or selected on, its errors are "
            f"smaller, and a calibration fitted there makes bands too narrow."
        ]
    first = plan.table().groupby("group")["first"].min()
    seen = seen_groups({str(group): time for group, time in first.items()}, until)
    if not seen:
        return []
    groups = ", ".join(f"{group} (new to it from {new:%Y-%m-%d})" for group, (_, new) in seen.items())
    return [
        f"{name} may have been trained or selected on these dates of {groups}: its errors are smaller there than on "
        f"new dates, and a calibration fitted there may make bands too narrow."
    ]


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
    reading: ReadOptions | None = None,
    strict: bool = False,
    quality: QualityFilter = "paper",
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
        reading: How all files are written; None infers it.
        strict: Whether to raise an error for a file that cannot be read, instead of skipping it.
        quality: Whether origins with price jumps or flat prices are left out, see `make_plan`.
        progress: Called with the number of files read and their total.

    Raises:
        DataError: If nothing can be read, or no origin is left.
        ParameterError: If an argument is invalid, or the dates of a split are missing for a market.
    """
    if (start is not None or end is not None) and (split is not None or splits is not None):
        raise ParameterError("Select dates either by start and end or by a split, not by both.")
    paths = [item for item in data if not isinstance(item, Instrument)]
    if splits is None and start is None and end is None:
        splits = find_splits(path for path in paths if not is_qlib(path))
    elif isinstance(splits, str | Path):
        splits = read_splits(splits)
    if paths:
        loaded = load_instruments(
            paths, market=market, interval=interval, timezone=timezone, reading=reading, progress=progress
        )
        if strict and loaded.unreadable:
            raise DataError(loaded.unreadable[0].problem)
    else:
        loaded = LoadedInstruments(tuple(item for item in data if isinstance(item, Instrument)))
    selected = _given_dates(loaded, start, end, split, splits)
    plan = None if selected is None else make_plan(loaded.instruments, rolling, selected.dates, quality=quality)
    models = predictors() if callable(predictors) else predictors
    if selected is None:
        selected = default_dates(loaded, rolling, models)
    needed = max([rolling.least_history, *(model.least_history for model in models)])
    if plan is None or needed > rolling.least_history:  # only origins at which every model can forecast
        longer = replace(rolling, least_history=needed)
        plan = make_plan(loaded.instruments, longer, selected.dates, quality=quality)
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

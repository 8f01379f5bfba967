"""Up to when a model has seen candles, for each group of a plan: earlier tests would only ask what it has learnt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from kronos.datasets.splits import SPLITS, SplitDates, find_split_dates, read_split_dates
from kronos.evaluation.aggregate import ALL
from kronos.evaluation.plan import Dates, Instrument, Plan
from kronos.zoo import Cutoffs, trained_until
from kronos.zoo.catalog import cutoff, latest

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor
    from kronos.nn import Kronos, KronosTokenizer


def cutoffs(predictor: KronosPredictor, plan: Plan) -> Mapping[str, pd.Timestamp] | None:
    """By group the time from which candles are new to a model and its tokenizer, as `evaluate` takes it.

    Args:
        predictor: The model.
        plan: The origins; a market that the model's record doesn't list has the latest of its dates.

    Returns:
        Times in UTC without a timezone (naive ones as they are written), where dates begin at midnight of each
        instrument's own timezone; none where no candle was seen. None when nothing tells, or the weights have changed
        since they were loaded.

    Raises:
        CheckpointError: If a checkpoint's ``kronos.json`` has dates that cannot be.
    """
    model, tokenizer = _seen(predictor.model), _seen(predictor.tokenizer)
    if model is None or tokenizer is None:
        return None
    told = latest(model, tokenizer)
    if not told:
        return {}
    found: dict[str, pd.Timestamp] = {}
    for one in plan.instruments:
        time = _beginning(cutoff(told, one.market), one)
        found[one.group] = max(time, found.get(one.group, time))
    return found


def reached(
    first: Mapping[str, pd.Timestamp], until: Mapping[str, pd.Timestamp]
) -> dict[str, tuple[pd.Timestamp, pd.Timestamp]]:
    """Groups whose forecast candles somebody may have seen: when those begin, and from when on they are new.

    Args:
        first: By group the time of its first forecast candle.
        until: By group (or ``all``) the time from which candles are new.
    """
    known = {group: until.get(group, until.get(ALL)) for group in first}
    return {group: (first[group], time) for group, time in known.items() if time is not None and first[group] < time}


def learnt_from(name: str, plan: Plan, until: Mapping[str, pd.Timestamp] | None) -> list[str]:
    """Warnings of a calibration whose forecasts a model made where it had learnt: it errs less there than elsewhere.

    Args:
        name: The model's.
        plan: The origins that the calibration is fitted on.
        until: As `cutoffs` tells it.
    """
    if until is None:
        return [
            f"Nothing says up to when {name}'s data went: where it was trained or selected it errs less than on new "
            f"dates, and what is fitted there makes bands too narrow."
        ]
    first = plan.table().groupby("group")["first"].min()
    seen = reached({str(group): time for group, time in first.items()}, until)
    if not seen:
        return []
    told = ", ".join(f"{group} (new to it from {known:%Y-%m-%d})" for group, (_, known) in seen.items())
    return [
        f"{name} may have been trained or selected on these dates of {told}: it errs less there than on new ones, and "
        f"what is fitted there may make bands too narrow."
    ]


def _seen(network: Kronos | KronosTokenizer) -> Cutoffs | None:
    return trained_until(network.located) if network.located is not None and network.unchanged else None


def _beginning(day: str, one: Instrument) -> pd.Timestamp:
    """When a day begins where an instrument's candles are timed."""
    zone = one.candles.index.tz
    if zone is None:
        return pd.Timestamp(day)
    begun = pd.Timestamp(day).tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
    return begun.tz_convert("UTC").tz_localize(None)


Part = Literal["validation", "test"]

PARTS: tuple[Part, ...] = ("validation", "test")

__all__ = ["PARTS", "SPLITS", "Part", "Splits", "find_splits", "read_splits"]


@dataclass(frozen=True, slots=True)
class Splits(SplitDates):
    """The cuts of a file."""

    def dates(self, part: Part) -> dict[str, Dates]:
        """Between which times candles of a part lie, by market.

        Args:
            part: ``validation`` or ``test``.
        """
        if part == "test":
            return {market: Dates(test, None) for market, (_, test) in self.cuts.items()}
        return {market: Dates(validation, test) for market, (validation, test) in self.cuts.items()}


def read_splits(path: str | Path) -> Splits:
    """Read the cuts.

    Args:
        path: A CSV file with the columns market, validation_from and test_from.

    Raises:
        DataError: If it cannot be read, or a line is wrong.
    """
    return _of(read_split_dates(path))


def find_splits(paths: Iterable[str | Path]) -> Splits | None:
    """The cuts beside candles: ``splits.csv`` in their folder, or in one of the two above it.

    A file of that name with other columns is somebody else's (of share splits, say), and does not count.

    Args:
        paths: Of candle files and folders.

    Raises:
        DataError: If a line is wrong.
        ParameterError: If there are several.
    """
    found = find_split_dates(paths)
    return None if found is None else _of(found)


def _of(dates: SplitDates) -> Splits:
    return Splits(dates.cuts, dates.path)

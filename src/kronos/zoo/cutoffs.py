"""Up to when checkpoints have seen candles: what tests on earlier ones would only repeat.

A date by market, or under ``all`` for every market: the first whose candles were not seen. Two things are told apart:
candles that weights were fitted to (``trained_until``), and candles by whose loss they were chosen among others
(``selected_until``); neither kind makes an honest test. A record that names no market under a key says that no candle
was seen, as of a tokenizer whose weights were written down; one without the key says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from kronos.errors import CheckpointError

ALL = "all"

Cutoffs = Mapping[str, str]


def read_cutoffs(path: Path, record: Mapping[str, object], key: str) -> Cutoffs:
    """Read the cut-offs that a record has under a key: one date, or dates by market.

    Args:
        path: Of the record, for errors.
        record: The content of a ``kronos.json``.
        key: ``trained_until`` or ``selected_until``.

    Returns:
        Dates such as ``2024-07-01`` by market or ``all``; empty when the record says nothing.

    Raises:
        CheckpointError: If it says something else than dates.
    """
    value = record.get(key)
    if value is None:
        return {}
    told: Mapping[Any, Any] = value if isinstance(value, dict) else {ALL: value}
    try:
        return {str(market): date.fromisoformat(day).isoformat() for market, day in told.items()}
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} has {key} = {value!r}, which must be a date such as 2024-07-01, or dates by market; correct it."
        ) from error


def cutoff(told: Cutoffs, market: str) -> str:
    """The date of one market.

    Args:
        told: By market or ``all``, not empty.
        market: One that is not listed has the date of ``all``, or else the latest: its candles may be among the others'
            by another name.
    """
    return told.get(market) or told.get(ALL) or max(told.values())


def latest(*everybody: Cutoffs) -> Cutoffs:
    """By market the latest date of several; those that say nothing don't count."""
    told = [one for one in everybody if one]
    return {market: max(cutoff(one, market) for one in told) for market in sorted({key for one in told for key in one})}

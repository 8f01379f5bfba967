"""Adaptive bands along past forecasts: each corrected by what was known when it was made."""

from __future__ import annotations

import heapq
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kronos.calibration.adaptive import Adaptive
from kronos.calibration.trials import Trials

_LEAST = 50  # outcomes of a group before its bands are moved: fewer say too little about their ends


def adapted(trials: Trials, before: Trials | None = None, *, rate: float = 0.01, window: int = 500) -> Trials:
    """Correct forecasts as `Adaptive` would have, live: group by group, in the order of their origins.

    An outcome counts from the moment at which the last of its forecast's steps was known, never earlier.

    Args:
        trials: Forecasts, raw or calibrated, of steps 1 to H.
        before: Earlier ones of the same kind to begin with; all their outcomes are taken to be known.
        rate: How fast levels move; see `Adaptive`.
        window: How many outcomes are remembered.

    Returns:
        The same forecasts with moved bands; those of a group with fewer than 50 known outcomes as they were.
    """
    result = np.array(trials.returns, dtype=np.float64)
    for group in trials.counts():
        state = Adaptive(trials.returns.shape[2], rate, window)
        known = 0
        if before is not None and group in before.counts():
            earlier = before.select(np.asarray(before.group) == group)
            state, known = state.after(earlier), len(earlier)
        _walk(trials, np.flatnonzero(np.asarray(trials.group) == group), state, known, result)
    return replace(trials, returns=result.astype(np.asarray(trials.returns).dtype))


def _walk(trials: Trials, rows: NDArray[np.intp], state: Adaptive, known: int, result: NDArray[np.float64]) -> None:
    """Correct one group's forecasts in place of ``result``."""
    dates, known_at = np.asarray(trials.dates), np.asarray(trials.known_at)
    waiting: list[tuple[np.datetime64, int]] = []
    for row in rows[np.argsort(dates[rows], kind="stable")].tolist():
        while waiting and waiting[0][0] <= dates[row]:
            _, past = heapq.heappop(waiting)
            state, known = state.updated(trials.returns[past], trials.actual[past]), known + 1
        if known >= _LEAST:
            result[row] = state.apply_paths(trials.returns[row])
        heapq.heappush(waiting, (known_at[row], row))

"""The learning rate, and what goes with it, as functions of how far a training has come.

Progress, not the step, is what they take: a training that ends after some minutes follows its clock.
"""

from __future__ import annotations

import math

from kronos.training.settings import StageSettings

START = 0.1  # of the peak, where warm-ups begin
_SWING = 0.05  # of AdamW's first beta in a one-cycle schedule
_ONECYCLE_WARMUP = 0.03
_ONECYCLE_END = 1e-4  # of the start


def learning_rate(settings: StageSettings, progress: float, steps: int) -> float:
    """The rate of a step.

    Args:
        settings: With the schedule and its peak.
        progress: Share of the training that is done, the first step's 0 and the last one's 1.
        steps: Of the whole training.
    """
    peak = settings.learning_rate
    if settings.schedule == "constant":
        return peak
    if settings.schedule == "onecycle":
        rising, share = _phase(progress, steps)
        if rising:
            return _cosine(START * peak, peak, share)
        return _cosine(peak, START * _ONECYCLE_END * peak, share)
    if progress < settings.warmup:
        return peak * (START + (1 - START) * progress / settings.warmup)
    return _cosine(peak, settings.final * peak, (progress - settings.warmup) / (1 - settings.warmup))


def first_beta(settings: StageSettings, progress: float, steps: int) -> float:
    """AdamW's first beta at a step; arguments as of `learning_rate`."""
    beta = settings.betas[0]
    if settings.schedule != "onecycle":
        return beta
    high, low = min(beta + _SWING, 0.999), max(beta - _SWING, 0.0)
    rising, share = _phase(progress, steps)
    return _cosine(high, low, share) if rising else _cosine(low, high, share)


def _phase(progress: float, steps: int) -> tuple[bool, float]:
    """Whether a one-cycle rate still rises, and which share of that phase is done; as torch's OneCycleLR has it."""
    last = max(steps - 1, 1)
    turn = (_ONECYCLE_WARMUP * steps - 1) / last
    if turn > 0 and progress <= turn:
        return True, progress / turn
    return False, (progress - turn) / (1 - turn)


def _cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from start to end."""
    return end + (start - end) * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2

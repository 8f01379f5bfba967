"""Simulated markets of known distribution, and models with known errors."""

from dataclasses import replace

import numpy as np
import pandas as pd

from kronos.calibration import CalibrationSet, ModelIdentity
from kronos.forecasts import sample_quantiles
from kronos.forecasts.statistics import band_levels
from kronos.metrics import crps

MODEL = ModelIdentity("toy", "a" * 64, "b" * 64, {"temperature": 1.0, "top_k": 0, "top_p": 1.0})


def shocks(rng, shape, tails):
    """Shocks of unit variance: normal, or Student's t with ``tails`` degrees of freedom."""
    if tails is None:
        return rng.standard_normal(shape)
    return rng.standard_t(tails, shape) / np.sqrt(tails / (tails - 2))


def trials(
    origins=500,
    paths=50,
    horizon=24,
    seed=0,
    groups=("a",),
    spread=1.0,
    tails=None,
    model_tails=None,
    level=0.0,
    leaves=1.0,
    drift=0.0,
    signal=0.0,
    heard=0.0,
    bias=0.0,
    start="2024-01-01",
    with_baseline=True,
):
    """Past forecasts of random walks, ``origins`` per group.

    Args:
        spread: Spread of the model's steps relative to the truth; one number, or one per group.
        tails: Degrees of freedom of the truth; model_tails: of the model.
        level: Standard deviation of the tokenizer's level error in one-step σ; ``leaves`` is the share
            that persists from one step to the next.
        drift: Standard deviation of the model's spurious drift, as a share of σ√h.
        signal: Standard deviation of the true drift, of which the model knows the share ``heard``.
        bias: Drift of the truth per step in σ, unknown to the model.
    """
    rng = np.random.default_rng(seed)
    number = origins * len(groups)
    steps = np.arange(1, horizon + 1)
    spreads = np.repeat(np.broadcast_to(spread, len(groups)), origins)
    sigma = 0.01 * np.exp(rng.normal(0, 0.5, number))
    ahead = signal * np.sqrt(steps) * rng.normal(size=(number, 1))
    actual = np.cumsum(shocks(rng, (number, horizon), tails) + bias, axis=1) + ahead
    shape = (number, paths, horizon)
    returns = np.cumsum(shocks(rng, shape, model_tails), axis=2) * spreads[:, None, None]
    error = level * rng.normal(size=number)
    left = leaves ** (steps - 1)
    spurious = drift * np.sqrt(steps) * rng.normal(size=(number, 1))
    returns += (error[:, None] * left + spurious + heard * ahead)[:, None, :]
    baseline = np.cumsum(rng.standard_normal(shape), axis=2) if with_baseline else None
    scale = sigma[:, None, None]
    return CalibrationSet(
        returns=returns * scale,
        actual=actual * sigma[:, None],
        sigma=sigma,
        dates=np.tile(pd.date_range(start, periods=origins, freq="1D", tz="UTC"), len(groups)),
        identity=MODEL,
        group=np.repeat(groups, origins),
        level_error=error * sigma if level else None,
        baseline=None if baseline is None else baseline * scale,
        baseline_name="walk" if with_baseline else "",
    )


def only_steps(past, steps):
    """The same forecasts of only some steps."""
    where = np.searchsorted(past.steps, steps)
    baseline = None if past.baseline is None else past.baseline[:, :, where]
    chosen = {"returns": past.returns[:, :, where], "actual": past.actual[:, where], "baseline": baseline}
    return replace(past, **chosen, steps=np.array(steps))


def mean_crps(past, h):
    """Mean CRPS at step h in units of σ√h."""
    at = np.searchsorted(past.steps, h)
    scores = crps(past.returns[:, :, at], past.actual[:, at], axis=1)
    return float((scores / (past.sigma * np.sqrt(h))).mean())


def coverage(past, h, band):
    at = np.searchsorted(past.steps, h)
    low, high = sample_quantiles(past.returns[:, :, at], band_levels(band), axis=1)
    return float(((low <= past.actual[:, at]) & (past.actual[:, at] <= high)).mean())

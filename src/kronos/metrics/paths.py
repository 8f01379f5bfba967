"""Scores of whole paths."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.scores import Array

_CHUNK = 65_536  # numbers of paths at a time: what stays in a core's cache


def energy_score(samples: ArrayLike, observed: ArrayLike, axis: int = -2) -> Array:
    """Energy score of an ensemble of paths, the fair estimator: unbiased whatever its size.

    mean ‖xᵢ - y‖ - Σᵢⱼ ‖xᵢ - xⱼ‖ / (2 S (S - 1)) with the Euclidean norm over the steps: the CRPS of whole paths
    (Gneiting & Raftery 2007, "Strictly Proper Scoring Rules, Prediction, and Estimation", equation 22, with
    exponent 1; unbiased as in Ferro 2014). Steps of larger spread weigh more: cumulative returns divided by √h
    weigh alike. A single path scores its distance. Memory is bounded whatever the number of origins.

    Args:
        samples: S paths along ``axis``, steps along the last axis, for example `[origins, S, H]`.
        observed: What happened; of the samples' shape without ``axis``, for example `[origins, H]`.
        axis: The paths' axis; not the last.

    Returns:
        One score an origin, in the unit of the samples; NaN where a step is unknown. Smaller is better.

    Raises:
        ParameterError: If there is no path or no step, ``axis`` is the last, or the shapes disagree.
    """
    ensembles, truth = np.asarray(samples, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    if ensembles.ndim < 2 or axis % ensembles.ndim == ensembles.ndim - 1:
        raise ParameterError("Paths need an axis of samples besides the last one, which is the steps'.")
    ensembles = np.moveaxis(ensembles, axis, -2)  # [..., S, H]
    *origins, size, steps = ensembles.shape
    if size == 0 or steps == 0:
        raise ParameterError("The energy score needs at least one path of at least one step.")
    if truth.shape != (*origins, steps):
        raise ParameterError(f"What happened needs the shape {(*origins, steps)} of its paths, not {truth.shape}.")
    flat, happened = ensembles.reshape(-1, size, steps), truth.reshape(-1, steps)
    rows = max(1, _CHUNK // (size * steps))
    scores: Array = np.empty(len(flat))
    for begin in range(0, len(flat), rows):
        part = slice(begin, begin + rows)
        scores[part] = _energy(flat[part], happened[part])
    return scores.reshape(origins)


def _energy(paths: Array, observed: Array) -> Array:
    """Energy scores `[n]` of paths `[n, S, H]`."""
    size = paths.shape[1]
    # Differences from what happened: spreads are small against price levels and would lose their digits.
    errors = np.moveaxis(paths, 1, 0) - observed  # [S, n, H]
    distance: Array = _norms(errors).mean(axis=0)
    if size == 1:
        return distance
    pairs = np.zeros(len(paths))
    for lag in range(1, size):
        pairs += _norms(errors[lag:] - errors[:-lag]).sum(axis=0)
    spread: Array = pairs / (size * (size - 1))
    return distance - spread


def _norms(vectors: Array) -> Array:
    """Euclidean length along the last axis."""
    lengths: Array = np.sqrt(np.einsum("...h,...h->...", vectors, vectors))
    return lengths

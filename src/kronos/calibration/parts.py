"""The parts of a calibration: their order, and what each of them may be.

Applied in this order, whatever order they are asked for in, each fitted on what the ones before it leave:

- ``anchor``: takes a share of the tokenizer's level error at the last known close out of all steps;
- ``drift``: leaves a share of the median's drift;
- ``dispersion``: stretches the paths around their median;
- ``pooling``: averages with a baseline's paths, rank by rank; always stated;
- ``conformal``: moves the ends of the bands to where past outcomes say they belong.

Pooling comes before the conformal correction, because the bands that people see are the pooled ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from kronos.errors import ParameterError
from kronos.forecasts import BANDS
from kronos.forecasts.statistics import band_levels

PARTS = ("anchor", "drift", "dispersion", "pooling", "conformal")

# Least and greatest factor, and the neutral one that holds unless past forecasts speak against it: no anchoring, no
# drift, no stretching, no weight beside the baseline. What a model claims to know has to prove itself.
LIMITS = {"anchor": (0.0, 1.0), "drift": (0.0, 1.0), "dispersion": (1 / 8, 8.0), "pooling": (0.0, 1.0)}
NEUTRAL = {"anchor": 0.0, "drift": 0.0, "dispersion": 1.0, "pooling": 0.0}

BASELINE_PATHS = 250  # of a baseline to pool with: its quantiles should not be what errs

LEVELS = tuple(sorted(end for band in BANDS for end in band_levels(band)))
LOWER = tuple(f"conformal q{level:g}" for level in LEVELS[: len(BANDS)][::-1])  # inner first
UPPER = tuple(f"conformal q{level:g}" for level in LEVELS[len(BANDS) :])
CENTRE = "conformal q0.5"


def check_parts(parts: Sequence[str]) -> tuple[str, ...]:
    """The parts in the order they are applied in.

    Raises:
        ParameterError: If there is none of that name.
    """
    names = (parts,) if isinstance(parts, str) else tuple(parts)
    for name in names:
        if name not in PARTS:
            near = difflib.get_close_matches(str(name), PARTS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; choose from {', '.join(PARTS)}."
            raise ParameterError(f"'{name}' is no part of a calibration{hint}")
    return tuple(part for part in PARTS if part in names)


def curve_names(part: str, *, symmetric: bool) -> tuple[str, ...]:
    """Names of the curves that a part consists of."""
    if part != "conformal":
        return (part,)
    return (*LOWER, *UPPER) if symmetric else (*LOWER, CENTRE, *UPPER)

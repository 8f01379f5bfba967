"""Calibrations in files: JSON with a format number; a reader refuses what it does not know."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from kronos.calibration.calibration import Calibration
from kronos.calibration.curves import Curve
from kronos.calibration.identity import Identity
from kronos.calibration.parts import CENTRE, LIMITS, check_parts, curve_names
from kronos.errors import DataError
from kronos.storage import write_text

FORMAT = 1
KIND = "kronos calibration"

_BY_GROUP = ("groups", "known_by_group")  # of what it was fitted on
_LAST_STEP = 10**6  # no forecast is longer
_MOST_BYTES = 2**24  # many groups with factors of their own take a few hundred thousand


def to_dict(calibration: Calibration) -> dict[str, Any]:
    """See `Calibration.to_dict`."""
    return {
        "kind": KIND,
        "format": FORMAT,
        "identity": calibration.identity.to_dict(),
        "parts": list(calibration.parts),
        "curves": {
            name: {
                "knots": list(curve.knots),
                "pooled": list(curve.pooled),
                "groups": {group: list(values) for group, values in curve.groups.items()},
            }
            for name, curve in calibration.curves.items()
        },
        "baseline": calibration.baseline,
        "fitted_on": dict(calibration.fitted_on),
        "settings": dict(calibration.settings),
        "versions": dict(calibration.versions),
        "created": calibration.created,
    }


def from_dict(fields: Mapping[str, Any], name: str) -> Calibration:
    """The calibration of a dictionary; ``name`` says in errors what it was read from."""
    if not isinstance(fields, Mapping) or fields.get("kind") != KIND:
        raise _damaged(name)
    if fields.get("format") != FORMAT:
        raise DataError(f"{name} has calibration format {fields.get('format')}, not {FORMAT}; use a newer kronos.")
    try:
        calibration = Calibration(
            identity=_identity(fields["identity"]),
            parts=check_parts(fields["parts"]),
            curves={str(name): _curve(str(name), curve) for name, curve in fields["curves"].items()},
            baseline=str(fields["baseline"]),
            fitted_on=dict(fields["fitted_on"]),
            settings=dict(fields["settings"]),
            versions=dict(fields["versions"]),
            created=str(fields["created"]),
        )
        _check(calibration)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise _damaged(name) from error
    return calibration


def save(calibration: Calibration, path: Path) -> Path:
    """See `Calibration.save`."""
    write_text(path, json.dumps(to_dict(calibration), indent=1, allow_nan=False) + "\n")
    return path


def load(path: Path) -> Calibration:
    """See `Calibration.load`."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; save a calibration there first.")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path.name} is larger than 16 MB, so it is no saved calibration; give another file.")
        fields = json.loads(path.read_text("utf-8"))
    except DataError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path.name) from error
    return from_dict(fields, path.name)


def _identity(fields: Mapping[str, Any]) -> Identity:
    identity = Identity(**fields)
    hashes = (identity.sha256, identity.tokenizer_sha256)
    if not isinstance(identity.model, str) or not all(one is None or isinstance(one, str) for one in hashes):
        raise ValueError("the model")
    sampling = None if identity.sampling is None else dict(identity.sampling)
    if sampling is not None and not all(isinstance(value, int | float | str | None) for value in sampling.values()):
        raise ValueError("the sampling")
    return replace(identity, sampling=sampling)


def _curve(name: str, fields: Mapping[str, Any]) -> Curve:
    knots = tuple(int(knot) for knot in fields["knots"])
    rows = {str(group): tuple(map(float, values)) for group, values in fields["groups"].items()}
    curve = Curve(knots, tuple(map(float, fields["pooled"])), rows)
    low, high = LIMITS.get(name, (-math.inf, math.inf))
    if not knots or knots[0] < 1 or knots[-1] > _LAST_STEP or any(a >= b for a, b in pairwise(knots)):
        raise ValueError(f"the knots of {name}")
    for values in (curve.pooled, *curve.groups.values()):
        if len(values) != len(knots) or not all(math.isfinite(value) and low <= value <= high for value in values):
            raise ValueError(f"the factors of {name}")
    return curve


def _check(calibration: Calibration) -> None:
    """Every part has its curves, and what the sentences need is there."""
    symmetric = CENTRE not in calibration.curves
    needed = [name for part in calibration.parts for name in curve_names(part, symmetric=symmetric)]
    if set(needed) != set(calibration.curves) or ("pooling" in calibration.parts) != bool(calibration.baseline):
        raise ValueError("parts and curves disagree")
    _check_fitted_on(calibration.fitted_on)
    json.dumps(to_dict(calibration), allow_nan=False)  # it can be saved again


def _check_fitted_on(told: Mapping[str, Any]) -> None:
    """Counts are counts, times are times, and nothing is nested deeper than a dictionary by group."""
    groups, known = told["groups"], told.get("known_by_group", {})
    for count in (told["origins"], *groups.values()):
        if not isinstance(count, int) or count < 0:
            raise ValueError("the number of origins")
    for time in (told["first"], told["last"], told["known"], *known.values()):
        if not isinstance(time, str) or np.isnat(np.datetime64(time)):
            raise ValueError("the times")
    if any(isinstance(value, Mapping | list) for name, value in told.items() if name not in _BY_GROUP):
        raise ValueError("what it was fitted on")


def _damaged(name: str) -> DataError:
    return DataError(f"{name} is no saved calibration, or it is damaged; save it again.")

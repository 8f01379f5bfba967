"""Saving and loading calibrations: one JSON file, validated by pydantic.

Files are validated in full before use, because a factor out of range would silently distort every forecast.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, model_validator

from kronos.atomic import write_text
from kronos.calibration.calibration import Calibration
from kronos.calibration.curves import Curve
from kronos.calibration.identity import ModelIdentity
from kronos.calibration.transforms import CENTRE, LIMITS, check_parts, curve_names
from kronos.errors import DataError

FORMAT = 1
KIND = "kronos calibration"

_MAX_STEP = 10**6  # no forecast is longer
_MAX_BYTES = 2**24  # files with many groups have a few hundred thousand


def _check_time(time: str) -> str:
    if np.isnat(np.datetime64(time)):
        raise ValueError("not a time")
    return time


_Time = Annotated[str, AfterValidator(_check_time)]


class _Identity(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    sha256: str | None = None
    tokenizer_sha256: str | None = None
    sampling: dict[str, bool | int | float | str | None] | None = None


class _Curve(BaseModel):
    knots: tuple[Annotated[int, Field(ge=1, le=_MAX_STEP)], ...] = Field(min_length=1)
    pooled: tuple[FiniteFloat, ...]
    groups: dict[str, tuple[FiniteFloat, ...]]

    @model_validator(mode="after")
    def _check_shape(self) -> _Curve:
        if any(a >= b for a, b in pairwise(self.knots)):
            raise ValueError("knots must ascend")
        if any(len(values) != len(self.knots) for values in (self.pooled, *self.groups.values())):
            raise ValueError("a curve needs one factor per knot")
        return self


class _FittedOn(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    origins: NonNegativeInt
    groups: dict[str, NonNegativeInt]
    first: _Time
    last: _Time
    known: _Time
    known_by_group: dict[str, _Time] = {}

    @model_validator(mode="after")
    def _check_extra(self) -> _FittedOn:
        if any(isinstance(value, dict | list) for value in (self.model_extra or {}).values()):
            raise ValueError("further fields must be scalars")
        return self


class _Fields(BaseModel):
    identity: _Identity
    parts: list[str]
    curves: dict[str, _Curve]
    baseline: str
    fitted_on: _FittedOn
    settings: dict[str, Any]
    versions: dict[str, Any]
    created: str

    @model_validator(mode="after")
    def _check_curves(self) -> _Fields:
        symmetric = CENTRE not in self.curves
        needed = {name for part in check_parts(self.parts) for name in curve_names(part, symmetric=symmetric)}
        if needed != set(self.curves) or ("pooling" in self.parts) != bool(self.baseline):
            raise ValueError("parts, curves and baseline disagree")
        for name in self.curves.keys() & LIMITS.keys():
            low, high = LIMITS[name]
            curve = self.curves[name]
            if any(not low <= value <= high for values in (curve.pooled, *curve.groups.values()) for value in values):
                raise ValueError(f"the factors of {name} are out of range")
        return self


def to_dict(calibration: Calibration) -> dict[str, Any]:
    """Convert a calibration to JSON values; see `Calibration.to_dict`."""
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


def from_dict(fields: Mapping[str, Any], source: str) -> Calibration:
    """Restore the result of `to_dict`.

    Args:
        fields: JSON values.
        source: Name of the source in errors.

    Raises:
        DataError: If the fields are not a valid calibration of this format.
    """
    if not isinstance(fields, Mapping) or fields.get("kind") != KIND:
        raise _invalid(source)
    if fields.get("format") != FORMAT:
        raise DataError(
            f"{source} has calibration format {fields.get('format')}; this version reads format {FORMAT}: update "
            "kronos, or fit the calibration again with 'kronos calibrate'."
        )
    try:
        valid = _Fields.model_validate(dict(fields))
        calibration = Calibration(
            identity=ModelIdentity(**valid.identity.model_dump()),
            parts=check_parts(valid.parts),
            curves={name: Curve(**dict(curve)) for name, curve in valid.curves.items()},
            baseline=valid.baseline,
            fitted_on=dict(fields["fitted_on"]),  # as stored, so that saving it again gives the same bytes
            settings=valid.settings,
            versions=valid.versions,
            created=valid.created,
        )
        json.dumps(to_dict(calibration), allow_nan=False)  # it can be saved again
    except (TypeError, ValueError, RecursionError) as error:  # pydantic's error is a ValueError
        raise _invalid(source) from error
    return calibration


def save(calibration: Calibration, path: Path) -> Path:
    """Write a calibration; see `Calibration.save`."""
    write_text(path, json.dumps(to_dict(calibration), indent=1, allow_nan=False) + "\n")
    return path


def load(path: Path) -> Calibration:
    """Load a calibration; see `Calibration.load`."""
    if not path.is_file():
        raise DataError(f"{path} does not exist: save a calibration there first.")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path.name} is larger than 16 MB, so it is not a saved calibration: choose another file.")
        fields = json.loads(path.read_text("utf-8"))
    except DataError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise _invalid(path.name) from error
    return from_dict(fields, path.name)


def _invalid(source: str) -> DataError:
    return DataError(f"{source} is not a saved calibration, or it is damaged: save it again.")

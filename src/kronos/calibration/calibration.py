"""The `Calibration` class: fitted corrections of a model's forecasts, and their application."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kronos.calibration.calibration_set import CalibrationSet, Floats, read_level_error
from kronos.calibration.curves import Curve
from kronos.calibration.identity import ModelIdentity
from kronos.calibration.transforms import BASELINE_PATHS, CENTRE, LOWER, UPPER, apply_parts, check_parts, move_candles
from kronos.errors import ParameterError
from kronos.forecasts import Forecast
from kronos.typing import FloatArray


def describe(calibration: Calibration, group: str | None) -> str:
    """Describe a calibration: one line on the fit, and one per part."""
    model, origins = calibration.identity.model, calibration.fitted_on["origins"]
    factors = f"factors of {group or 'all groups together'}"
    head = f"Calibration of {model}, fitted on {origins:,} past forecasts, {fitted_period(calibration)}, {factors}:"
    if not calibration.parts:
        return f"{head} no parts; forecasts are unchanged."
    return "\n".join([head, *(f"- {part}: {_describe_part(calibration, part, group)}" for part in calibration.parts)])


def fitted_period(calibration: Calibration) -> str:
    """Return the dates of the first and last origin of the fit."""
    return f"{calibration.fitted_on['first'][:10]} to {calibration.fitted_on['last'][:10]}"


def describe_weights(calibration: Calibration, group: str | None) -> str:
    """Describe the model's weights against the baseline."""
    name = calibration.baseline
    if calibration.adds_nothing(group):
        return f"The model adds nothing: its weight relative to {name} is 0 at every step."
    return f"Pooled with {name}; the model's weight is {_describe_curve(calibration, 'pooling', group)}."


def _describe_part(calibration: Calibration, part: str, group: str | None) -> str:
    if part == "pooling":
        return describe_weights(calibration, group)
    if part == "conformal":
        return _describe_conformal(calibration, group)
    templates = {
        "anchor": "{} of the tokenizer's level error is removed.",
        "drift": "{} of the median's drift is kept.",
        "dispersion": "deviations from the median are multiplied by {}.",
    }
    return templates[part].format(_describe_curve(calibration, part, group))


def _describe_conformal(calibration: Calibration, group: str | None) -> str:
    """Describe the shifts of the ends of all bands, and of the median if it is shifted."""
    ends = [
        f"{side} end of the {band} % band by {_describe_curve(calibration, name, group)}"
        for band, names in (("50", (LOWER[0], UPPER[0])), ("80", (LOWER[1], UPPER[1])), ("95", (LOWER[2], UPPER[2])))
        for side, name in zip(("lower", "upper"), names, strict=True)
    ]
    if CENTRE in calibration.curves:
        ends.append(f"the median up by {_describe_curve(calibration, CENTRE, group)}")
    else:  # both ends of a band have the same shift
        ends = [end.replace("upper end", "ends") for end in ends[1::2]]
    return f"shifted outwards, in units of half the 80 % band: {'; '.join(ends)}."


def _describe_curve(calibration: Calibration, name: str, group: str | None) -> str:
    """Format a factor at its knots, for example ``0.90 at step 1, 0.70 at step 4``."""
    curve = calibration.curves[name]
    values = [f"{round(value, 2) + 0.0:.2f}" for value in curve.at(curve.knots, group).tolist()]
    if len(set(values)) == 1:
        return f"{values[0]} at every step"
    return ", ".join(f"{value} at step {knot}" for knot, value in zip(curve.knots, values, strict=True))


_CHUNK = 256  # origins at a time, to stay within the processor's cache


@dataclass(frozen=True)
class Calibration:
    """Corrections of a model's forecasts, fitted on past ones.

    Attributes:
        identity: The model whose forecasts are corrected.
        parts: Names of the parts, in order of application.
        curves: Factors of the parts by step and group, by name.
        baseline: Name of the baseline that paths are pooled with; empty if none.
        fitted_on: Number of origins in total and by group, first and last time, and a digest of the data.
        settings: Settings of the fit.
        versions: Versions of the packages used.
        created: Time of the fit.
    """

    identity: ModelIdentity
    parts: tuple[str, ...]
    curves: Mapping[str, Curve]
    baseline: str
    fitted_on: Mapping[str, Any]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    created: str

    # Description ------------------------------------------------------------

    def describe(self, group: str | None = None) -> str:
        """Describe the corrections in one line per part, for one group or for unknown groups."""
        return describe(self, self._known_group(group))

    def weights(self, group: str | None = None) -> dict[int, float]:
        """Return the model's weight against the baseline at the knots, by step; 1 without pooling."""
        if "pooling" not in self.parts:
            return {1: 1.0}
        curve = self.curves["pooling"]
        return dict(zip(curve.knots, curve.at(curve.knots, self._known_group(group)).tolist(), strict=True))

    def adds_nothing(self, group: str | None = None) -> bool:
        """Return whether the model's weight is 0 at every step, so that the result is the baseline's distribution."""
        return not any(self.weights(group).values())

    def known_until(self, group: str | None = None) -> np.datetime64:
        """Return when the last outcome in the fit was known: of a group with its own factors, otherwise of all.

        The factors of a group are shrunk towards those of all groups, whose outcomes may be later; `apply` adds a note.
        """
        by_group: Mapping[str, str] = self.fitted_on.get("known_by_group", {})
        return np.datetime64(by_group.get(self._known_group(group) or "", self.fitted_on["known"]))

    # Application ------------------------------------------------------------

    def apply_paths(
        self,
        returns: ArrayLike,
        *,
        level_error: ArrayLike | None = None,
        baseline: ArrayLike | None = None,
        group: str | Sequence[str] | NDArray[np.str_] | None = None,
        steps: Sequence[int] | NDArray[np.int64] | None = None,
        parts: Sequence[str] | None = None,
    ) -> Floats:
        """Correct paths of cumulative log returns; see `apply` for forecasts.

        Args:
            returns: Paths. [N, S, H], or [S, H] for one origin
            level_error: Level errors of the tokenizer, or one for all; NaN and None correct nothing. [N]
            baseline: Paths of the baseline, of the same shape except for the number of paths; for pooling.
            group: Labels, or one for all; unknown groups use the pooled factors. [N]
            steps: Steps ahead; None: 1 to H. [H]
            parts: None for all; see `apply`.

        Returns:
            New paths of the same shape and precision; the argument itself without parts.

        Raises:
            ParameterError: If shapes disagree, pooling has no baseline, or the parts are not leading ones.
        """
        original: Floats = np.asarray(returns)
        parts = self._leading_parts(parts)
        if not parts:
            return original
        if original.ndim not in (2, 3) or original.size == 0:
            raise ParameterError(
                f"Paths need the shape [origins, paths, steps] or [paths, steps]; got {original.shape}."
            )
        paths = original.astype(np.float64).reshape(-1, *original.shape[-2:])
        number, _, horizon = paths.shape
        other = self._baseline_paths(baseline, paths) if "pooling" in parts else None
        ahead = np.arange(1, horizon + 1) if steps is None else np.asarray(steps, dtype=np.int64)
        if ahead.shape != (horizon,) or (ahead < 1).any():
            raise ParameterError(f"Invalid steps {ahead.tolist()}: pass one number from 1 for each of {horizon} steps.")
        labels = np.broadcast_to(np.asarray("" if group is None else group, dtype=np.str_), (number,))
        errors = np.broadcast_to(np.asarray(np.nan if level_error is None else level_error, dtype=np.float64), number)
        result = np.empty_like(paths)
        for start in range(0, number, _CHUNK):
            rows = slice(start, start + _CHUNK)
            chunk = None if other is None else other[rows]
            result[rows] = apply_parts(parts, self.curves, paths[rows], ahead, labels[rows], errors[rows], chunk)
        dtype = original.dtype if np.issubdtype(original.dtype, np.floating) else np.float64
        return result.reshape(original.shape).astype(dtype, copy=False)

    def draws(
        self,
        paths: int,
        steps: NDArray[np.int64],
        groups: NDArray[np.str_],
        *,
        baseline: int = BASELINE_PATHS,
        parts: Sequence[str] | None = None,
    ) -> FloatArray | None:
        """Return the effective number of independent draws of corrected paths, `[N, H]`; None for their number.

        With the model's weight w the sampling variance of pooled values is w² / S + (1 - w)² / S' times that of one
        draw, because the sampling errors of the two ensembles are independent.

        Args:
            paths: Number of paths of the model, S.
            steps: Steps ahead. [H]
            groups: Labels. [N]
            baseline: Number of paths of the baseline, S'.
            parts: None for all; see `apply`.
        """
        if "pooling" not in self._leading_parts(parts):
            return None
        weight = self.curves["pooling"].at_groups(steps, groups)
        return np.asarray(1 / (weight**2 / paths + (1 - weight) ** 2 / baseline))

    def apply_set(
        self, past: CalibrationSet, parts: Sequence[str] | None = None, *, other_model: bool = False
    ) -> CalibrationSet:
        """Correct the forecasts of a calibration set, for example of later dates, to score them.

        Raises:
            ParameterError: As `apply`.
        """
        parts = self._leading_parts(parts)
        if not parts:
            return past
        self._check_model(past.identity, other_model)
        if "pooling" in parts:
            self._check_baseline(past.baseline_name)
        returns = self.apply_paths(
            past.returns,
            level_error=past.level_error,
            baseline=past.baseline,
            group=past.group,
            steps=past.steps,
            parts=parts,
        )
        size = BASELINE_PATHS if past.baseline is None else past.baseline.shape[1]
        ahead, labels = np.asarray(past.steps), np.asarray(past.group)
        draws = self.draws(past.returns.shape[1], ahead, labels, baseline=size, parts=parts)
        return replace(past, returns=returns, draws=draws)

    def apply(
        self,
        forecast: Forecast,
        *,
        baseline: Forecast | None = None,
        group: str | None = None,
        parts: Sequence[str] | None = None,
        other_model: bool = False,
    ) -> Forecast:
        """Correct a forecast by moving whole candles, so that all statistics remain consistent.

        Only the forecast, its history and the baseline are used.

        Each step is corrected separately, so the volatility along a path is not calibrated: it follows from the spreads
        of the steps and from how often the model's paths cross. For the previous bundled model, pooled (95 origins of
        the test dates of six markets, 24 steps, 50 paths), the mean realised variance of the paths was 1.01 to 1.03
        times that of the pooled baseline (raw: 1.8), from 0.7 to 1.8 times by market. Paths are somewhat too rough:
        their steps had 1.14 times the variance of independent steps with the same final spread (raw: 1.1; the baseline:
        1.0). 48 % of them were more volatile than the previous 24 candles, and so were 55 % of the outcomes (raw: 65 %;
        the baseline: 40 %).

        Args:
            forecast: A raw forecast of the model that the calibration was fitted for.
            baseline: The forecast of the fitted baseline from the same origin; required for pooling.
            group: Label of market and interval, as in the fit; unknown groups use the pooled factors.
            parts: None for all, empty for none. Only leading parts can be applied, because each was fitted to the
                result of the ones before it; fit again for another choice.
            other_model: Apply the calibration to a forecast of another model or sampling.

        Returns:
            A new forecast with the calibration in its metadata; the same object without parts.

        Raises:
            ParameterError: If the forecast is of another model or already calibrated, or the baseline does not match.
        """
        parts = self._leading_parts(parts)
        if not parts:
            return forecast
        if forecast.metadata.calibrated:
            raise ParameterError("This forecast is already calibrated: apply a calibration to raw forecasts only.")
        self._check_model(ModelIdentity.of(forecast.metadata), other_model)
        pooled = "pooling" in parts
        if pooled and baseline is not None:
            self._check_baseline(baseline.metadata.model)
            _check_same_origin(forecast, baseline)
        error = read_level_error(forecast)
        returns = self.apply_paths(
            forecast.returns(cumulative=True),
            level_error=error,
            baseline=baseline.returns(cumulative=True) if pooled and baseline is not None else None,
            group=group,
            parts=parts,
        )
        opening = 0.0
        if "anchor" in parts and np.isfinite(error):
            opening = error * float(self.curves["anchor"].at([1], self._known_group(group))[0])
        metadata = replace(
            forecast.metadata.with_details(calibration=self._details(parts, group, forecast)),
            calibrated=True,
            notes=(*forecast.metadata.notes, *self._notes(forecast, group, parts)),
        )
        return replace(forecast, paths=move_candles(forecast, np.asarray(returns), opening), metadata=metadata)

    # Conversion ------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        from kronos.calibration.io import to_dict

        return to_dict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Calibration:
        """Restore the result of `to_dict`.

        Raises:
            DataError: If the fields are not a calibration, damaged, or of a newer format.
        """
        from kronos.calibration.io import from_dict

        return from_dict(fields, "This")

    def save(self, path: str | Path) -> Path:
        """Write the calibration as JSON atomically, and return the path.

        Raises:
            StorageError: If the file cannot be written.
        """
        from kronos.calibration.io import save

        return save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Load a calibration written by `save`.

        Raises:
            DataError: If the file is missing, damaged, not a calibration, or of a newer format.
        """
        from kronos.calibration.io import load

        return load(Path(path))

    # Helpers ------------------------------------------------------------

    def _known_group(self, group: str | None) -> str | None:
        """Return the group if it has its own factors."""
        return group if any(group in curve.groups for curve in self.curves.values()) else None

    def _leading_parts(self, parts: Sequence[str] | None) -> tuple[str, ...]:
        names = self.parts if parts is None else check_parts(parts)
        if names != self.parts[: len(names)]:
            available = ", ".join(self.parts) or "no parts"
            raise ParameterError(
                f"Invalid parts {', '.join(names)}: this calibration has {available}, each fitted after the ones "
                "before it. Leave out parts from the end only, or fit again."
            )
        return names

    def _check_model(self, identity: ModelIdentity, other_model: bool) -> None:
        difference = self.identity.difference_from(identity)
        if difference and not other_model:
            raise ParameterError(
                f"The calibration does not match this forecast, {difference}: fit one for it, or pass other_model=True."
            )

    def _check_baseline(self, name: str) -> None:
        if name != self.baseline:
            raise ParameterError(f"The calibration pools with {self.baseline}, not with '{name}': pass the former.")

    def _baseline_paths(self, baseline: ArrayLike | None, paths: FloatArray) -> FloatArray:
        if baseline is None:
            raise ParameterError(
                f"The calibration pools with {self.baseline}: pass the baseline's paths, or parts that end before "
                "pooling."
            )
        other = np.asarray(baseline, dtype=np.float64)
        other = other.reshape(-1, *other.shape[-2:]) if other.ndim in (2, 3) else other
        if other.ndim != 3 or (len(other), other.shape[2]) != (len(paths), paths.shape[2]):
            raise ParameterError(
                f"The baseline's paths need the shape [{len(paths)}, paths, {paths.shape[2]}]; got {list(other.shape)}."
            )
        return other

    def _details(self, parts: tuple[str, ...], group: str | None, forecast: Forecast) -> dict[str, Any]:
        """Return the details for the metadata of a corrected forecast, JSON values only."""
        known = self._known_group(group)
        steps = np.arange(1, forecast.horizon + 1)
        factors = {
            name: [round(value, 6) for value in curve.at(steps, known).tolist()]
            for name, curve in self.curves.items()
            if name.split()[0] in parts
        }
        return {
            "parts": list(parts),
            "group": known,
            "factors": factors,
            "baseline": self.baseline if "pooling" in parts else None,
            "model_adds_nothing": "pooling" in parts and self.adds_nothing(group),
            "fitted_steps": max(curve.knots[-1] for curve in self.curves.values()),
            "look_ahead": not _known_at_origin(self.known_until(group), forecast),
            "fitted_for": self.identity.to_dict(),
            "fitted_on": dict(self.fitted_on),
            "created": self.created,
        }

    def _notes(self, forecast: Forecast, group: str | None, parts: tuple[str, ...]) -> tuple[str, ...]:
        """Return the caveats for the reader of a corrected forecast."""
        notes = [
            f"Calibrated ({', '.join(parts)}) on {self.fitted_on['origins']:,} past forecasts, {fitted_period(self)}: "
            "each step separately, not the volatility along a path."
        ]
        if "pooling" in parts:
            notes.append(describe_weights(self, self._known_group(group)))
        if group is not None and self._known_group(group) is None:
            count = self.fitted_on["groups"].get(group, 0)
            reason = f"has only {count:,} past forecasts of" if count else "has no group"
            notes.append(f"The calibration {reason} '{group}': the factors of all groups together are used.")
        last = max(curve.knots[-1] for curve in self.curves.values())
        if forecast.horizon > last:
            notes.append(f"The calibration was fitted up to step {last}: later steps use the factors of that step.")
        if "anchor" in parts and not np.isfinite(read_level_error(forecast)):
            notes.append("The tokenizer's level error is unknown: the paths are not anchored.")
        if not _known_at_origin(self.known_until(group), forecast):
            notes.append(
                "Look-ahead: the calibration was fitted on outcomes from after this forecast's origin, so this is not "
                "a fair test of it."
            )
        elif not _known_at_origin(self.known_until(), forecast):
            notes.append(
                "Partial look-ahead: the calibration's factors depend in part on outcomes of other groups from after "
                "this forecast's origin."
            )
        difference = self.identity.difference_from(ModelIdentity.of(forecast.metadata))
        if difference:
            notes.append(f"The calibration was fitted for other forecasts: {difference}.")
        return tuple(notes)


def _known_at_origin(time: np.datetime64, forecast: Forecast) -> bool:
    """Return whether a time is not after the last candle of the forecast's history."""
    start = forecast.start if forecast.start.tz is None else forecast.start.tz_convert("UTC").tz_localize(None)
    return bool(time <= start.to_datetime64())


def _check_same_origin(forecast: Forecast, baseline: Forecast) -> None:
    same = (
        forecast.start == baseline.start
        and forecast.last_close == baseline.last_close
        and forecast.timestamps.equals(baseline.timestamps)
    )
    if not same:
        raise ParameterError("The forecasts of baseline and model need the same last candle and future times.")

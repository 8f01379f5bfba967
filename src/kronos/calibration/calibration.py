"""A fitted calibration: what it is, what it says about itself, and how it is applied."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kronos.atomic import write_text
from kronos.calibration.calibration_set import CalibrationSet, Floats, level_error
from kronos.calibration.curves import Curve
from kronos.calibration.description import describe, span, weights_in_words
from kronos.calibration.identity import ModelIdentity
from kronos.calibration.transforms import (
    BASELINE_PATHS,
    CENTRE,
    LIMITS,
    apply_parts,
    check_parts,
    curve_names,
    move_candles,
)
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast
from kronos.typing import FloatArray

_CHUNK = 256  # origins at a time: small enough for the cache


@dataclass(frozen=True)
class Calibration:
    """Corrections of a model's forecasts, fitted on past ones.

    Attributes:
        identity: The model whose forecasts they correct.
        parts: Which parts, in the order they are applied in.
        curves: Their factors by step and group, by name.
        baseline: Which baseline the paths are pooled with; empty if none.
        fitted_on: Number of origins, by group, first and last, and a digest of everything seen.
        settings: How it was fitted.
        versions: Of the packages it was fitted with.
        created: When.
    """

    identity: ModelIdentity
    parts: tuple[str, ...]
    curves: Mapping[str, Curve]
    baseline: str
    fitted_on: Mapping[str, Any]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    created: str

    # What it says ------------------------------------------------------------

    def describe(self, group: str | None = None) -> str:
        """What it does, a line a part, for one group or for those it doesn't know."""
        return describe(self, self._known(group))

    def weights(self, group: str | None = None) -> dict[int, float]:
        """The model's weight beside the baseline at the knots, by step; 1 throughout without pooling."""
        if "pooling" not in self.parts:
            return {1: 1.0}
        curve = self.curves["pooling"]
        return dict(zip(curve.knots, curve.at(curve.knots, self._known(group)).tolist(), strict=True))

    def adds_nothing(self, group: str | None = None) -> bool:
        """Whether the model's weight is 0 at every step: what comes out is the baseline's distribution."""
        return not any(self.weights(group).values())

    def known_until(self, group: str | None = None) -> np.datetime64:
        """When the last outcome that it learnt from was known: of a group that has factors of its own, else of all.

        A group's own factors lean on those of all groups, whose outcomes may be later; that is little, but not nothing,
        and `apply` says it.
        """
        by_group: Mapping[str, str] = self.fitted_on.get("known_by_group", {})
        return np.datetime64(by_group.get(self._known(group) or "", self.fitted_on["known"]))

    # What it does ------------------------------------------------------------

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
        """Correct paths of cumulative log returns; see `apply` for whole forecasts.

        Args:
            returns: `[N, S, H]`, or `[S, H]` for one origin.
            level_error: `[N]` or one number; NaN and None correct nothing.
            baseline: The baseline's paths, of the same shape but for the number of paths; for pooling.
            group: One label, or one an origin; unknown ones take the pooled factors.
            steps: `[H]` steps ahead; 1 to H if None.
            parts: None for all; see `apply`.

        Returns:
            New paths of the same shape and precision; the argument itself if no part is on.

        Raises:
            ParameterError: If shapes disagree, pooling has no baseline, or parts can't be had.
        """
        given: Floats = np.asarray(returns)
        chosen = self._chosen(parts)
        if not chosen:
            return given
        if given.ndim not in (2, 3) or given.size == 0:
            raise ParameterError(f"Paths need the shape [origins, paths, steps] or [paths, steps], not {given.shape}.")
        paths = given.astype(np.float64).reshape(-1, *given.shape[-2:])
        number, _, horizon = paths.shape
        other = self._baseline_paths(baseline, paths) if "pooling" in chosen else None
        ahead = np.arange(1, horizon + 1) if steps is None else np.asarray(steps, dtype=np.int64)
        if ahead.shape != (horizon,) or (ahead < 1).any():
            raise ParameterError(f"Give one step ahead, counted from 1, for each of the {horizon} steps.")
        labels = np.broadcast_to(np.asarray("" if group is None else group, dtype=np.str_), (number,))
        errors = np.broadcast_to(np.asarray(np.nan if level_error is None else level_error, dtype=np.float64), number)
        result = np.empty_like(paths)
        for begin in range(0, number, _CHUNK):
            rows = slice(begin, begin + _CHUNK)
            near = None if other is None else other[rows]
            result[rows] = apply_parts(chosen, self.curves, paths[rows], ahead, labels[rows], errors[rows], near)
        kind = given.dtype if np.issubdtype(given.dtype, np.floating) else np.float64
        return result.reshape(given.shape).astype(kind, copy=False)

    def draws(
        self,
        paths: int,
        steps: NDArray[np.int64],
        groups: NDArray[np.str_],
        *,
        baseline: int = BASELINE_PATHS,
        parts: Sequence[str] | None = None,
    ) -> FloatArray | None:
        """How many independent draws corrected paths are worth, `[N, H]`; None for their number.

        With the model's weight w their values err by w² / S + (1 - w)² / S' as much as one draw does, because the
        errors of two samples' values of one rank are independent.

        Args:
            paths: S, of the model.
            steps: `[H]` steps ahead.
            groups: `[N]` labels.
            baseline: S', of the baseline.
            parts: None for all; see `apply`.
        """
        if "pooling" not in self._chosen(parts):
            return None
        weight = self.curves["pooling"].of_each(steps, groups)
        return np.asarray(1 / (weight**2 / paths + (1 - weight) ** 2 / baseline))

    def apply_trials(
        self, trials: CalibrationSet, parts: Sequence[str] | None = None, *, other_model: bool = False
    ) -> CalibrationSet:
        """Correct the forecasts of some trials, for example those of later dates, to score them.

        Raises:
            ParameterError: As `apply`.
        """
        chosen = self._chosen(parts)
        if not chosen:
            return trials
        self._check_model(trials.identity, other_model)
        if "pooling" in chosen:
            self._check_baseline(trials.baseline_name)
        returns = self.apply_paths(
            trials.returns,
            level_error=trials.level_error,
            baseline=trials.baseline,
            group=trials.group,
            steps=trials.steps,
            parts=chosen,
        )
        near = BASELINE_PATHS if trials.baseline is None else trials.baseline.shape[1]
        ahead, labels = np.asarray(trials.steps), np.asarray(trials.group)
        draws = self.draws(trials.returns.shape[1], ahead, labels, baseline=near, parts=chosen)
        return replace(trials, returns=returns, draws=draws)

    def apply(
        self,
        forecast: Forecast,
        *,
        baseline: Forecast | None = None,
        group: str | None = None,
        parts: Sequence[str] | None = None,
        other_model: bool = False,
    ) -> Forecast:
        """Correct a forecast: its candles are moved as wholes, so that every statistic agrees with the others.

        Only the forecast, its history and the baseline are looked at.

        Each step is corrected by itself, so the volatility along a path is not calibrated: it follows from the steps'
        spreads and from how often the model's paths cross. With the bundled model before this one, pooled (95 origins
        of the test dates of six markets, 24 steps, 50 paths), the mean realised variance of the paths was 1.01 to 1.03
        times that of the pooled baseline's (raw: 1.8), from 0.7 to 1.8 times by market. Paths are somewhat too rough:
        their steps had 1.14 times the variance of independent steps that spread as far in the end (raw: 1.1; the
        baseline: 1.0). 48 % of them were more volatile than the 24 candles before, and 55 % of what came (raw: 65 %;
        the baseline: 40 %).

        Args:
            forecast: A raw forecast of the model that the calibration was fitted for.
            baseline: A forecast of the same origin by the baseline it was fitted with; needed for pooling.
            group: Label of the market and interval, as at fitting; an unknown one takes the pooled factors.
            parts: None for all, empty for none. Parts can be left off from the end only, because each was
                fitted on what the ones before it leave; fit again for another choice.
            other_model: Apply it although the forecast is of another model or sampling.

        Returns:
            A new forecast that says it is calibrated and how; the very same object if no part is on.

        Raises:
            ParameterError: If the forecast is of another model, calibrated already, or the baseline isn't what it
                has to be.
        """
        chosen = self._chosen(parts)
        if not chosen:
            return forecast
        if forecast.metadata.calibrated:
            raise ParameterError("This forecast is calibrated already; apply a calibration to raw ones only.")
        self._check_model(ModelIdentity.of(forecast.metadata), other_model)
        pooled = "pooling" in chosen
        if pooled and baseline is not None:
            self._check_baseline(baseline.metadata.model)
            _check_same_origin(forecast, baseline)
        error = level_error(forecast)
        returns = self.apply_paths(
            forecast.returns(cumulative=True),
            level_error=error,
            baseline=baseline.returns(cumulative=True) if pooled and baseline is not None else None,
            group=group,
            parts=chosen,
        )
        opening = 0.0
        if "anchor" in chosen and np.isfinite(error):
            opening = error * float(self.curves["anchor"].at([1], self._known(group))[0])
        made = replace(
            forecast.metadata.with_details(calibration=self._details(chosen, group, forecast.horizon)),
            calibrated=True,
            notes=(*forecast.metadata.notes, *self._notes(forecast, group, chosen)),
        )
        return replace(forecast, paths=move_candles(forecast, np.asarray(returns), opening), metadata=made)

    # Out and in ------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return to_dict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_dict`.

        Raises:
            DataError: If it is no calibration, damaged, or of a newer format.
        """
        return from_dict(fields, "This")

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, all or nothing; returns the path.

        Raises:
            StorageError: If the file system refuses.
        """
        return save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            DataError: If the file is missing, no calibration, damaged, or of a newer format.
        """
        return load(Path(path))

    # Helpers ------------------------------------------------------------

    def _known(self, group: str | None) -> str | None:
        """The group if it has factors of its own."""
        return group if any(group in curve.groups for curve in self.curves.values()) else None

    def _chosen(self, parts: Sequence[str] | None) -> tuple[str, ...]:
        chosen = self.parts if parts is None else check_parts(parts)
        if chosen != self.parts[: len(chosen)]:
            have = ", ".join(self.parts) or "no parts"
            raise ParameterError(
                f"This calibration has {have}, each fitted after the ones before it; leave parts off from the end, "
                "or fit it again with those you want."
            )
        return chosen

    def _check_model(self, identity: ModelIdentity, other_model: bool) -> None:
        difference = self.identity.differs(identity)
        if difference and not other_model:
            raise ParameterError(
                f"The calibration is not this forecast's: their {difference}; fit one for it, or pass other_model=True."
            )

    def _check_baseline(self, name: str) -> None:
        if name != self.baseline:
            raise ParameterError(f"The calibration pools with {self.baseline}, not with '{name}'; give that one.")

    def _baseline_paths(self, baseline: ArrayLike | None, paths: FloatArray) -> FloatArray:
        if baseline is None:
            raise ParameterError(
                f"The calibration pools with {self.baseline}; give the baseline's paths, or parts that end before "
                "pooling."
            )
        given = np.asarray(baseline, dtype=np.float64)
        other = given.reshape(-1, *given.shape[-2:]) if given.ndim in (2, 3) else given
        if other.ndim != 3 or (len(other), other.shape[2]) != (len(paths), paths.shape[2]):
            raise ParameterError(f"The baseline's paths need the shape [{len(paths)}, paths, {paths.shape[2]}].")
        return other

    def _details(self, chosen: tuple[str, ...], group: str | None, horizon: int) -> dict[str, Any]:
        """What a forecast remembers of its calibration, JSON values only."""
        known = self._known(group)
        steps = np.arange(1, horizon + 1)
        factors = {
            name: [round(value, 6) for value in curve.at(steps, known).tolist()]
            for name, curve in self.curves.items()
            if name.split()[0] in chosen
        }
        return {
            "parts": list(chosen),
            "group": known,
            "factors": factors,
            "baseline": self.baseline if "pooling" in chosen else None,
            "model_adds_nothing": "pooling" in chosen and self.adds_nothing(group),
            "fitted_for": self.identity.to_dict(),
            "fitted_on": dict(self.fitted_on),
            "created": self.created,
        }

    def _notes(self, forecast: Forecast, group: str | None, chosen: tuple[str, ...]) -> tuple[str, ...]:
        """Sentences a reader of the corrected forecast must know."""
        notes = [
            f"Calibrated ({', '.join(chosen)}) on {self.fitted_on['origins']:,} past forecasts, {span(self)}; "
            "each step by itself, not the volatility along a path."
        ]
        if "pooling" in chosen:
            notes.append(weights_in_words(self, self._known(group)))
        if group is not None and self._known(group) is None:
            count = self.fitted_on["groups"].get(group, 0)
            few = f"had only {count:,} past forecasts of" if count else "doesn't know"
            notes.append(f"The calibration {few} '{group}': factors of all groups together.")
        last = max(curve.knots[-1] for curve in self.curves.values())
        if forecast.horizon > last:
            notes.append(f"The calibration was fitted up to step {last}: later steps take that one's factors.")
        if "anchor" in chosen and not np.isfinite(level_error(forecast)):
            notes.append("The tokenizer's level error is not known: nothing was anchored.")
        if not _before(self.known_until(group), forecast):
            notes.append("The calibration saw outcomes from after this forecast's origin: no fair test of it.")
        elif not _before(self.known_until(), forecast):
            notes.append(
                "The calibration's factors lean on other groups' outcomes from after this forecast's origin: not quite "
                "a fair test of it."
            )
        difference = self.identity.differs(ModelIdentity.of(forecast.metadata))
        if difference:
            notes.append(f"The calibration was fitted for other forecasts: their {difference}.")
        return tuple(notes)


def _before(known: np.datetime64, forecast: Forecast) -> bool:
    """Whether everything was known by the time of the last candle that the forecast knew."""
    start = forecast.start if forecast.start.tz is None else forecast.start.tz_convert("UTC").tz_localize(None)
    return bool(known <= start.to_datetime64())


def _check_same_origin(forecast: Forecast, baseline: Forecast) -> None:
    same = (
        forecast.start == baseline.start
        and forecast.last_close == baseline.last_close
        and forecast.timestamps.equals(baseline.timestamps)
    )
    if not same:
        raise ParameterError("The baseline's forecast needs the same last candle and future times as the model's.")


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


def _identity(fields: Mapping[str, Any]) -> ModelIdentity:
    identity = ModelIdentity(**fields)
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

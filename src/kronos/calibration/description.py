"""Text descriptions of a calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kronos.calibration.transforms import CENTRE, LOWER, UPPER

if TYPE_CHECKING:
    from kronos.calibration.calibration import Calibration


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

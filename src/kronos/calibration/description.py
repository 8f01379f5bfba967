"""A calibration in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kronos.calibration.transforms import CENTRE, LOWER, UPPER

if TYPE_CHECKING:
    from kronos.calibration.calibration import Calibration


def describe(calibration: Calibration, group: str | None) -> str:
    """A line for what it was fitted on, and a line a part."""
    whose = calibration.identity.model
    number = calibration.fitted_on["origins"]
    where = f", factors of {group}" if group else ", factors of all groups together"
    lines = [f"Calibration of {whose}, fitted on {number:,} past forecasts, {span(calibration)}{where}:"]
    lines += [f"- {part}: {_part(calibration, part, group)}" for part in calibration.parts]
    return "\n".join(lines) if calibration.parts else f"{lines[0]} no part; forecasts stay as they are."


def span(calibration: Calibration) -> str:
    """The days of its first and last origin."""
    return f"{calibration.fitted_on['first'][:10]} to {calibration.fitted_on['last'][:10]}"


def weights_in_words(calibration: Calibration, group: str | None) -> str:
    """The sentence that always goes with pooled paths."""
    name = calibration.baseline
    if calibration.adds_nothing(group):
        return f"The model adds nothing: its weight beside {name} is 0 at every step."
    return f"Pooled with {name}; the model's weight is {_along(calibration, 'pooling', group)}."


def _part(calibration: Calibration, part: str, group: str | None) -> str:
    if part == "pooling":
        return weights_in_words(calibration, group)
    if part == "conformal":
        return _conformal(calibration, group)
    said = {
        "anchor": "the share of the tokenizer's level error that is taken out is {}.",
        "drift": "the share of the median's drift that is left is {}.",
        "dispersion": "deviations from the median are multiplied by {}.",
    }
    return said[part].format(_along(calibration, part, group))


def _conformal(calibration: Calibration, group: str | None) -> str:
    """The ends' corrections at the widest and narrowest band, and the median's if it has one."""
    ends = [
        f"{side} end of the {band} % band by {_along(calibration, name, group)}"
        for band, names in (("50", (LOWER[0], UPPER[0])), ("80", (LOWER[1], UPPER[1])), ("95", (LOWER[2], UPPER[2])))
        for side, name in zip(("lower", "upper"), names, strict=True)
    ]
    if CENTRE in calibration.curves:
        ends.append(f"the median up by {_along(calibration, CENTRE, group)}")
        return f"moved outwards, in half 80 % widths: {'; '.join(ends)}."
    both = [end.replace("upper end", "ends") for end in ends[1::2]]
    return f"moved outwards, in half 80 % widths: {'; '.join(both)}."


def _along(calibration: Calibration, name: str, group: str | None) -> str:
    """A factor at its knots, for example 0.9 at step 1, 0.7 at step 4."""
    curve = calibration.curves[name]
    values = [f"{round(value, 2) + 0.0:.2f}" for value in curve.at(curve.knots, group).tolist()]
    if len(set(values)) == 1:
        return f"{values[0]} at every step"
    return ", ".join(f"{value} at step {knot}" for knot, value in zip(curve.knots, values, strict=True))

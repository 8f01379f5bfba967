"""A calibration at work on one forecast, with nothing else at hand: the baseline is made here, the market is told."""

from __future__ import annotations

from dataclasses import replace

from kronos.baselines import BASELINES, BaselineSpec
from kronos.baselines.base import WINDOW, derive_seed
from kronos.calendars.markets import market_of
from kronos.calibration.calibration import Calibration
from kronos.calibration.transforms import BASELINE_PATHS
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast, ForecastMetadata

_ONE_GROUP = {"all"}  # of trials that tell no groups apart


def calibrate_forecast(forecast: Forecast, calibration: Calibration, *, market: str | None = None) -> Forecast:
    """Correct a raw forecast by all parts of a calibration.

    Where it pools, the baseline's paths are drawn from the end of the forecast's history, with a seed that comes from
    the forecast's own: the result is the same for the same forecast. Where the baseline can't be made, the parts
    before pooling are applied, and the forecast says so. Nothing from after the origin is looked at.

    Args:
        forecast: A raw forecast of the model that the calibration was fitted for.
        calibration: What to do.
        market: As at fitting, for example ``crypto``; with the interval it chooses the factors. None guesses it from
            the calendar; where that is no known market's, the factors of all groups together are taken.

    Returns:
        A new forecast that says it is calibrated and how; the very same one if the calibration has no parts.

    Raises:
        ParameterError: If the forecast is of another model or calibrated already, or the baseline is none of
            `kronos.baselines.BASELINES`.
    """
    guessed = market is None and not set(calibration.fitted_on["groups"]) <= _ONE_GROUP
    history = forecast.history
    chosen = market_of(history.index, history.interval, history.calendar) if guessed else market
    parts, notes = calibration.parts, list[str]()
    baseline = None
    if "pooling" in parts:
        try:
            baseline = _baseline(forecast, _entry(calibration.baseline))
        except DataError as error:
            place = parts.index("pooling")
            notes.append(_lack(parts[place:], calibration.baseline, error))
            parts = parts[:place]
    group = None if chosen is None else f"{chosen} {forecast.interval}"
    corrected = calibration.apply(forecast, baseline=baseline, group=group, parts=parts)
    if guessed and corrected.metadata.calibrated:
        notes = [*_guess(corrected.metadata, chosen), *notes]
    made = replace(corrected.metadata, notes=(*corrected.metadata.notes, *notes))
    return replace(corrected, metadata=made) if notes else corrected


def _entry(name: str) -> BaselineSpec:
    if name not in BASELINES:
        raise ParameterError(
            f"The calibration pools with '{name}', which is none of kronos.baselines.BASELINES; make its forecast and "
            "pass both to Calibration.apply."
        )
    return BASELINES[name]


def _baseline(forecast: Forecast, entry: BaselineSpec) -> Forecast:
    """The baseline's forecast of the same origin."""
    details = forecast.metadata.details
    seed, name = int(details.get("seed") or 0), str(details.get("series", forecast.symbol or ""))
    return entry(
        forecast.history.tail(WINDOW),
        forecast.horizon,
        samples=BASELINE_PATHS,
        seed=derive_seed(seed, name),
        timestamps=forecast.timestamps,
    )


def _lack(parts: tuple[str, ...], name: str, error: DataError) -> str:
    reason = str(error).rstrip(".")
    return f"Calibrated without {' and '.join(parts)}: {name} can't be made of this history ({reason})."


def _guess(made: ForecastMetadata, market: str | None) -> list[str]:
    """What to say of a market that nobody named."""
    if market is None:
        return ["The calendar tells no market: factors of all groups together; name the market if it is known."]
    group = made.details["calibration"]["group"]
    return [f"Factors of {group}; the market is guessed from the calendar."] if group else []

"""Calibration of a single forecast, including the baseline forecast and the market that it needs."""

from __future__ import annotations

from dataclasses import replace

from kronos.baselines import BASELINES, BaselineSpec
from kronos.baselines.base import WINDOW
from kronos.calendars.future import market_of
from kronos.calibration.calibration import Calibration
from kronos.calibration.transforms import BASELINE_PATHS
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast, ForecastMetadata
from kronos.formatting import join_names
from kronos.rng import derive_seed

_SINGLE_GROUP = {"all"}  # the group of a calibration set without groups


def calibrate_forecast(forecast: Forecast, calibration: Calibration, *, market: str | None = None) -> Forecast:
    """Apply all parts of a calibration to a raw forecast.

    For pooling, the baseline's paths are sampled from the end of the forecast's history with a seed derived from the
    forecast's, so the result is reproducible. If the baseline cannot forecast this history, only the parts before
    pooling are applied, with a note. No data from after the origin is used.

    Args:
        forecast: A raw forecast of the model that the calibration was fitted for.
        calibration: The calibration.
        market: Market as in the fit, for example ``crypto``; market and interval select the factors. None infers it
            from the calendar; without a known market the factors of all groups together are used.

    Returns:
        A new forecast with the calibration in its metadata; the same object if the calibration has no parts.

    Raises:
        ParameterError: If the forecast is of another model or already calibrated, or the baseline is not one of
            `kronos.baselines.BASELINES`.
    """
    inferred = market is None and not set(calibration.fitted_on["groups"]) <= _SINGLE_GROUP
    history = forecast.history
    if inferred:
        market = market_of(history.index, history.interval, history.calendar)
    parts, notes = calibration.parts, list[str]()
    baseline = None
    if "pooling" in parts:
        try:
            baseline = _baseline_forecast(forecast, _find_baseline(calibration.baseline))
        except DataError as error:
            position = parts.index("pooling")
            notes.append(_missing_baseline_note(parts[position:], calibration.baseline, error))
            parts = parts[:position]
    group = None if market is None else f"{market} {forecast.interval}"
    corrected = calibration.apply(forecast, baseline=baseline, group=group, parts=parts)
    if inferred and corrected.metadata.calibrated:
        notes = [*_inferred_market_notes(corrected.metadata, market), *notes]
    metadata = replace(corrected.metadata, notes=(*corrected.metadata.notes, *notes))
    return replace(corrected, metadata=metadata) if notes else corrected


def _find_baseline(name: str) -> BaselineSpec:
    if name not in BASELINES:
        raise ParameterError(
            f"The calibration pools with '{name}', which is not in kronos.baselines.BASELINES: pass its forecast to "
            "Calibration.apply yourself."
        )
    return BASELINES[name]


def _baseline_forecast(forecast: Forecast, spec: BaselineSpec) -> Forecast:
    """Forecast with the baseline from the same origin."""
    details = forecast.metadata.details
    seed, name = int(details.get("seed") or 0), str(details.get("series", forecast.symbol or ""))
    return spec(
        forecast.history.tail(WINDOW),
        forecast.horizon,
        samples=BASELINE_PATHS,
        seed=derive_seed(seed, name),
        timestamps=forecast.timestamps,
    )


def _missing_baseline_note(parts: tuple[str, ...], name: str, error: DataError) -> str:
    reason = str(error).rstrip(".")
    return f"Calibrated without {join_names(parts)}: {name} cannot forecast this history ({reason})."


def _inferred_market_notes(metadata: ForecastMetadata, market: str | None) -> list[str]:
    if market is None:
        return [
            "The calendar matches no known market: factors of all groups together are used. Set the market if known."
        ]
    group = metadata.details["calibration"]["group"]
    return [f"Factors of {group}: the market is inferred from the calendar."] if group else []

"""Metadata of a forecast: the model, its settings and the calendar, shown in files, figures and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Kind = Literal["kronos", "baseline"]


@dataclass(frozen=True)
class ForecastMetadata:
    """Provenance of a forecast.

    Attributes:
        model: Name of the model or baseline, for example ``kronos-small``.
        kind: ``kronos`` for a model's forecast, ``baseline`` for a statistical one.
        details: Everything else needed to reproduce it: sampling, seed, tokenizer, hashes, versions; for a model also
            ``level_error``, the error of its tokenizer at the last known close, in logs, and ``repairs``, the shares
            of `repair_reasons`. JSON values only.
        calendar: Name of the calendar that the timestamps follow, for example ``XNYS``.
        calendar_basis: ``calendar``, ``projected``, ``inferred`` or ``given``.
        calibrated: Whether the paths were corrected by a calibration; raw otherwise.
        simulated: Whether the history is simulated, or the paths are placeholders.
        notes: Caveats for the reader, one sentence each.
    """

    model: str
    kind: Kind = "kronos"
    details: Mapping[str, Any] = field(default_factory=dict)
    calendar: str = "24/7"
    calendar_basis: str = "calendar"
    calibrated: bool = False
    simulated: bool = False
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The model's name, marked if it is a baseline."""
        return f"{self.model} (baseline)" if self.kind == "baseline" else self.model

    @property
    def state(self) -> str:
        """``raw`` or ``calibrated``."""
        return "calibrated" if self.calibrated else "raw"

    @property
    def pooled(self) -> tuple[str, tuple[float, ...]] | None:
        """The baseline that the paths are pooled with and the model's weight at each step; None if not pooled."""
        calibration = self.details.get("calibration") or {}
        if not calibration.get("baseline"):
            return None
        return str(calibration["baseline"]), tuple(float(weight) for weight in calibration["factors"]["pooling"])

    def describe(self) -> str:
        """Return one line: model, baseline or not, raw or calibrated, seed and calendar."""
        calendar = self.calendar if self.calendar_basis == "calendar" else f"{self.calendar} ({self.calendar_basis})"
        parts = [
            self.name,
            self.state,
            f"seed {self.details['seed']}" if self.details.get("seed") is not None else "",
            f"calendar {calendar}",
            "SIMULATED" if self.simulated else "",
        ]
        return " · ".join(part for part in parts if part)

    def with_details(self, **details: Any) -> ForecastMetadata:
        """Return a copy with more details, by name; JSON values only."""
        return replace(self, details={**self.details, **details})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return asdict(self) | {"details": dict(self.details), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ForecastMetadata:
        """Restore the result of `to_dict`."""
        return cls(**{**fields, "notes": tuple(fields["notes"])})

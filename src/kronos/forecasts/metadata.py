"""How a forecast was made: it travels with the forecast, into files, pictures and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Kind = Literal["kronos", "baseline"]


@dataclass(frozen=True)
class ForecastMetadata:
    """How a forecast was made.

    Attributes:
        model: Name of the model or baseline, for example ``kronos-small``.
        kind: ``kronos`` for a model's forecast, ``baseline`` for a statistical one.
        details: What else is needed to make it again: sampling, seed, tokenizer, hashes, versions; and of a model's
            forecast ``level_error``, by how much its tokenizer misses the last known close, in logs. JSON values only.
        calendar: Name of the calendar its timestamps follow, for example ``XNYS``.
        calendar_basis: ``calendar``, ``projected``, ``inferred`` or ``given``.
        calibrated: Whether the paths were corrected on past forecasts; raw otherwise.
        simulated: Whether the history is simulated data, or the paths a stand-in.
        notes: Sentences a reader must know.
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
        """The model's name, with a word where it is but a baseline."""
        return f"{self.model} (baseline)" if self.kind == "baseline" else self.model

    @property
    def state(self) -> str:
        """``raw`` or ``calibrated``."""
        return "calibrated" if self.calibrated else "raw"

    @property
    def pooled(self) -> tuple[str, tuple[float, ...]] | None:
        """The baseline that the paths are pooled with, and the model's weight beside it at each step; None if none."""
        told = self.details.get("calibration") or {}
        if not told.get("baseline"):
            return None
        return str(told["baseline"]), tuple(float(weight) for weight in told["factors"]["pooling"])

    def describe(self) -> str:
        """One line: the model, whether it is a baseline, raw or calibrated, its seed and calendar."""
        calendar = self.calendar if self.calendar_basis == "calendar" else f"{self.calendar} ({self.calendar_basis})"
        parts = [
            self.name,
            self.state,
            f"seed {self.details['seed']}" if self.details.get("seed") is not None else "",
            f"calendar {calendar}",
            "SIMULATED" if self.simulated else "",
        ]
        return " · ".join(part for part in parts if part)

    def with_details(self, **more: Any) -> ForecastMetadata:
        """The same with more details, by name; JSON values only."""
        return replace(self, details={**self.details, **more})

    def to_dict(self) -> dict[str, Any]:
        """Every field, ready for JSON."""
        return asdict(self) | {"details": dict(self.details), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ForecastMetadata:
        """The inverse of `to_dict`."""
        return cls(**{**fields, "notes": tuple(fields["notes"])})

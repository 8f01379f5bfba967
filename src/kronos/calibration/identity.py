"""The identity of a model, which decides whether a calibration applies to its forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kronos.forecasts import ForecastMetadata


@dataclass(frozen=True)
class ModelIdentity:
    """What the errors of a model's forecasts depend on: its weights and the sampling settings.

    Attributes:
        model: Name of the model.
        sha256: SHA-256 of the weights; None if unknown, as for baselines.
        tokenizer_sha256: SHA-256 of the tokenizer's weights; None if unknown.
        sampling: Temperature, top_k and top_p; None if unknown.
    """

    model: str
    sha256: str | None = None
    tokenizer_sha256: str | None = None
    sampling: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, metadata: ForecastMetadata) -> ModelIdentity:
        """Read the identity from the metadata of a forecast."""
        weights, tokenizer = metadata.details.get("model") or {}, metadata.details.get("tokenizer") or {}
        sampling = metadata.details.get("sampling")
        return cls(
            model=metadata.model,
            sha256=weights.get("sha256") if isinstance(weights, Mapping) else None,
            tokenizer_sha256=tokenizer.get("sha256") if isinstance(tokenizer, Mapping) else None,
            sampling=dict(sampling) if isinstance(sampling, Mapping) else None,
        )

    def difference_from(self, other: ModelIdentity) -> str:
        """Describe the difference from another identity, for the end of a sentence; empty if none is known.

        Weights are compared by their hashes if both are known, by the model's name otherwise.
        """
        if self.sha256 and other.sha256:
            if self.sha256 != other.sha256:
                return f"weights differ ({self.model}, {other.model})"
        elif self.model != other.model:
            return f"models differ ({self.model}, {other.model})"
        if self.tokenizer_sha256 and other.tokenizer_sha256 and self.tokenizer_sha256 != other.tokenizer_sha256:
            return "tokenizers differ"
        if self.sampling is not None and other.sampling is not None and dict(self.sampling) != dict(other.sampling):
            return f"sampling differs ({_format_sampling(self.sampling)}; {_format_sampling(other.sampling)})"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return {
            "model": self.model,
            "sha256": self.sha256,
            "tokenizer_sha256": self.tokenizer_sha256,
            "sampling": None if self.sampling is None else dict(self.sampling),
        }


def _format_sampling(sampling: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sampling.items())

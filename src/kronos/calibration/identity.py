"""Whose forecasts a calibration is fitted on, and whose it may therefore correct."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kronos.forecasts import ForecastMetadata


@dataclass(frozen=True)
class ModelIdentity:
    """What a forecast's errors depend on: the weights, and how paths are drawn from them.

    Attributes:
        model: The model's name.
        sha256: Of its weights; None if unknown, as for baselines.
        tokenizer_sha256: Of its tokenizer's weights.
        sampling: Temperature, top_k and top_p; None if unknown.
    """

    model: str
    sha256: str | None = None
    tokenizer_sha256: str | None = None
    sampling: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, made: ForecastMetadata) -> ModelIdentity:
        """Read it from how a forecast was made."""
        weights, tokenizer = made.details.get("model") or {}, made.details.get("tokenizer") or {}
        sampling = made.details.get("sampling")
        return cls(
            model=made.model,
            sha256=weights.get("sha256") if isinstance(weights, Mapping) else None,
            tokenizer_sha256=tokenizer.get("sha256") if isinstance(tokenizer, Mapping) else None,
            sampling=dict(sampling) if isinstance(sampling, Mapping) else None,
        )

    def differs(self, other: ModelIdentity) -> str:
        """What is different about another, in words that end a sentence; empty if nothing known is.

        Weights are told apart by their hashes where both are known, by the model's name otherwise.
        """
        if self.sha256 and other.sha256:
            if self.sha256 != other.sha256:
                return f"weights differ ({self.model}, {other.model})"
        elif self.model != other.model:
            return f"models differ ({self.model}, {other.model})"
        if self.tokenizer_sha256 and other.tokenizer_sha256 and self.tokenizer_sha256 != other.tokenizer_sha256:
            return "tokenizers differ"
        if self.sampling is not None and other.sampling is not None and dict(self.sampling) != dict(other.sampling):
            return f"sampling differs ({_words(self.sampling)}; {_words(other.sampling)})"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Every field, ready for JSON."""
        return {
            "model": self.model,
            "sha256": self.sha256,
            "tokenizer_sha256": self.tokenizer_sha256,
            "sampling": None if self.sampling is None else dict(self.sampling),
        }


def _words(sampling: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sampling.items())

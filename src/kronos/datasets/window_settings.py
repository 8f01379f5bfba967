"""How windows are cut, normalised and varied: what a training sample is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kronos.errors import ParameterError

if TYPE_CHECKING:
    from kronos.zoo import Normalisation

LEAST = 2  # candles of a lookback part: one has no spread

Weighting = Literal["sqrt", "size", "equal"]


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """A training sample.

    Attributes:
        lookback: Candles of history.
        predict: Candles to predict.
        shortest: Where set, each training sample knows only its first ``shortest`` to ``lookback`` candles, and
            predicts the others too; windows of validation and test know ``lookback``.
        clip: Bound of the normalised candles.
        normalisation: ``spread`` as published, or ``steps``; see `kronos.inference.normalising.statistics`.
        without_volume: Share of training samples whose volume and amount are zeroed.
        mirrored: Share of training samples with prices upside down.
        weighting: How markets and intervals share the training samples: by the square root of how many windows they
            have (``sqrt``), by how many (``size``), or each the same (``equal``). Within a group every window is as
            likely as any other.
    """

    lookback: int = 90
    predict: int = 10
    shortest: int | None = None
    clip: float = 5.0
    normalisation: Normalisation = "spread"
    without_volume: float = 0.05
    mirrored: float = 0.0
    weighting: Weighting = "sqrt"

    def __post_init__(self) -> None:
        if self.lookback < LEAST:
            raise ParameterError(f"lookback counts candles of history, at least {LEAST}, not {self.lookback}.")
        if self.predict < 1:
            raise ParameterError(f"predict counts candles to predict, at least 1, not {self.predict}.")
        if self.shortest is not None and not LEAST <= self.shortest <= self.lookback:
            raise ParameterError(f"shortest lies between {LEAST} and lookback = {self.lookback}, not {self.shortest}.")
        if not self.clip > 0:
            raise ParameterError(f"clip is a bound above 0, such as 5, not {self.clip}.")
        for name, share in (("without_volume", self.without_volume), ("mirrored", self.mirrored)):
            if not 0 <= share <= 1:
                raise ParameterError(f"{name} is a share of the samples between 0 and 1, not {share}.")
        for name, value, known in (
            ("normalisation", self.normalisation, ("spread", "steps")),
            ("weighting", self.weighting, ("sqrt", "size", "equal")),
        ):
            if value not in known:
                raise ParameterError(f"{name} is one of {', '.join(known)}, not '{value}'.")

    @property
    def total(self) -> int:
        """Candles of one sample."""
        return self.lookback + self.predict

"""What the paper ran its tasks with, and what may be asked for instead.

Its tables 6 and 8, and the text on generation: sampling by task, history and horizon by interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

from kronos.errors import ParameterError
from kronos.inference.sampling import SamplingParams

Task = Literal["price", "return", "volatility", "synthetic"]

TASKS: tuple[Task, ...] = get_args(Task)
TEST_FROM = "2024-07-01"  # the published weights have seen candles up to the end of June 2024
SEQUENCES = 6000
PRICES_ONLY = frozenset({"crypto", "fx", "forex"})  # markets that the paper forecasts without volume and amount


@dataclass(frozen=True, slots=True)
class Windows:
    """Candles of history, and candles to forecast after them."""

    lookback: int
    horizon: int


FORECAST: Mapping[str, Windows] = MappingProxyType(
    {
        "5m": Windows(480, 96),
        "10m": Windows(240, 48),
        "15m": Windows(160, 32),
        "20m": Windows(120, 24),
        "40m": Windows(90, 24),
        "1h": Windows(80, 12),
        "2h": Windows(60, 12),
        "4h": Windows(90, 18),
        "1d": Windows(40, 12),
    }
)
GENERATION: Mapping[str, Windows] = MappingProxyType({"15m": Windows(120, 96), "1d": Windows(96, 35)})
USEFULNESS: Mapping[str, Windows] = MappingProxyType({"15m": Windows(80, 16), "1d": Windows(30, 5)})
PRESETS: Mapping[Task, str] = MappingProxyType(
    {"price": "paper-price", "return": "paper-price", "volatility": "paper-volatility", "synthetic": "paper-synthetic"}
)
_LEAST_HORIZON: Mapping[Task, int] = MappingProxyType({"price": 3, "return": 1, "volatility": 2, "synthetic": 8})


@dataclass(frozen=True, slots=True)
class PaperSettings:
    """What a task is run with; None takes what the paper took.

    Attributes:
        task: Which.
        temperature: Divides the logits.
        top_p: Keeps the tokens up to that mass.
        samples: Paths of each forecast; not of generated sequences, which are one a context.
        lookback: Candles of history that the model sees.
        horizon: Candles to forecast or to generate.
        stride: Candles from one origin to the next; None for the horizon, so that windows share no candle.
        most: Origins of a market at an interval, at most; None for all.
        sequences: Real sequences, and as many generated ones, of a market at an interval, at most.
        seed: Of the draws, and of the networks that judge sequences.

    Raises:
        ParameterError: If a value is out of its range.
    """

    task: Task
    temperature: float | None = None
    top_p: float | None = None
    samples: int | None = None
    lookback: int | None = None
    horizon: int | None = None
    stride: int | None = None
    most: int | None = None
    sequences: int = SEQUENCES
    seed: int = 1

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ParameterError(f"There is no task '{self.task}'; choose from {', '.join(TASKS)}.")
        if self.lookback is not None and self.lookback < 2:
            raise ParameterError(f"The lookback is at least 2 candles, not {self.lookback}.")
        least = _LEAST_HORIZON[self.task]
        if self.horizon is not None and self.horizon < least:
            raise ParameterError(f"The {self.task} task needs a horizon of at least {least}, not {self.horizon}.")
        if self.task == "synthetic" and self.samples is not None:
            raise ParameterError("Sequences are generated one a context; ask for more sequences instead of samples.")
        if self.sequences < 2:
            raise ParameterError(f"At least 2 sequences are needed, not {self.sequences}.")
        if self.seed < 0:
            raise ParameterError(f"The seed is at least 0, not {self.seed}.")
        self.sampling  # noqa: B018 (refuses what cannot be sampled with)

    @property
    def sampling(self) -> SamplingParams:
        """How the model samples."""
        usual = SamplingParams.of(PRESETS[self.task], self.samples, self.seed)
        return replace(
            usual,
            temperature=usual.temperature if self.temperature is None else self.temperature,
            top_p=usual.top_p if self.top_p is None else self.top_p,
        )

    @property
    def origins(self) -> int | None:
        """Origins of a market at an interval, at most."""
        if self.task != "synthetic":
            return self.most
        return self.sequences if self.most is None else min(self.most, self.sequences)

    @property
    def changed(self) -> list[str]:
        """Names of what is not as in the paper, or need not be: history and horizon differ between intervals."""
        usual, own = SamplingParams.of(PRESETS[self.task]), self.sampling
        names = [name for name in ("temperature", "top_p", "samples") if getattr(own, name) != getattr(usual, name)]
        names += [name for name in ("lookback", "horizon", "most") if getattr(self, name) is not None]
        return [*names, "sequences"] if self.task == "synthetic" and self.sequences != SEQUENCES else names

    def windows(self, interval: str) -> Windows:
        """History and horizon at an interval.

        Raises:
            ParameterError: If the paper has none, and not both are given.
        """
        known = GENERATION if self.task == "synthetic" else FORECAST
        usual = known.get(interval)
        if usual is not None:
            return Windows(self.lookback or usual.lookback, self.horizon or usual.horizon)
        if self.lookback is None or self.horizon is None:
            raise ParameterError(
                f"The paper's {self.task} task has no {interval} candles (it has {', '.join(known)}); say what history "
                f"and horizon to take instead, with --lookback and --horizon."
            )
        return Windows(self.lookback, self.horizon)


def usefulness_windows(interval: str, length: int) -> Windows:
    """What the forecaster that learns from generated sequences sees of each, and what it forecasts.

    Args:
        interval: Of the candles.
        length: Of the sequences; of other lengths than the paper's about the last sixth is forecast.
    """
    usual = USEFULNESS.get(interval)
    if usual is not None and usual.lookback + usual.horizon == length:
        return usual
    horizon = max(3, length // 6)
    return Windows(length - horizon, horizon)

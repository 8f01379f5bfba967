"""The paper's settings for its tasks, and the values that can replace them.

They are from its tables 6 and 8 and the text on generation: sampling by task, history and horizon by interval.
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
TEST_FROM = "2024-07-01"  # the published weights were trained on candles up to the end of June 2024
SEQUENCES = 6000
PRICE_ONLY_MARKETS = frozenset({"crypto", "fx", "forex"})  # forecast without volume and amount in the paper


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
TSTR: Mapping[str, Windows] = MappingProxyType({"15m": Windows(80, 16), "1d": Windows(30, 5)})
PRESETS: Mapping[Task, str] = MappingProxyType(
    {"price": "paper-price", "return": "paper-price", "volatility": "paper-volatility", "synthetic": "paper-synthetic"}
)
_MIN_HORIZON: Mapping[Task, int] = MappingProxyType({"price": 3, "return": 1, "volatility": 2, "synthetic": 8})


@dataclass(frozen=True, slots=True)
class PaperSettings:
    """The settings of one task; None selects the paper's value.

    Attributes:
        task: The task.
        temperature: Sampling temperature.
        top_p: Probability mass of the tokens to sample from.
        samples: Number of sample paths per forecast; not for generated sequences, of which each context has one.
        lookback: Candles of history for the model.
        horizon: Candles to forecast or to generate.
        stride: Candles between successive origins; None for the horizon, so that windows share no candle.
        max_origins: Largest number of origins of a market at an interval; None for all.
        sequences: Largest number of real sequences, and of generated ones, of a market at an interval.
        seed: Random seed of forecasts and of the networks of the synthetic task.

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
    max_origins: int | None = None
    sequences: int = SEQUENCES
    seed: int = 1

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ParameterError(f"Unknown task '{self.task}': choose from {', '.join(TASKS)}.")
        if self.lookback is not None and self.lookback < 2:
            raise ParameterError(f"Invalid lookback {self.lookback}: choose at least 2 candles.")
        least = _MIN_HORIZON[self.task]
        if self.horizon is not None and self.horizon < least:
            raise ParameterError(
                f"Invalid horizon {self.horizon} for the {self.task} task: choose at least {least} candles."
            )
        if self.task == "synthetic" and self.samples is not None:
            raise ParameterError(
                "The synthetic task generates one sequence per context: set the number of sequences, not of samples."
            )
        if self.sequences < 2:
            raise ParameterError(f"Invalid number of sequences {self.sequences}: choose at least 2.")
        if self.seed < 0:
            raise ParameterError(f"Invalid seed {self.seed}: choose 0 or more.")
        self.sampling  # noqa: B018 (validates temperature, top_p and samples)

    @property
    def sampling(self) -> SamplingParams:
        """The sampling parameters of the model."""
        preset = SamplingParams.resolve(PRESETS[self.task], self.samples, self.seed)
        return replace(
            preset,
            temperature=preset.temperature if self.temperature is None else self.temperature,
            top_p=preset.top_p if self.top_p is None else self.top_p,
        )

    @property
    def origin_limit(self) -> int | None:
        """Largest number of origins of a market at an interval, also limited by ``sequences``."""
        if self.task != "synthetic":
            return self.max_origins
        return self.sequences if self.max_origins is None else min(self.max_origins, self.sequences)

    @property
    def changed(self) -> list[str]:
        """Names of the settings that differ from the paper; those that depend on the interval, if they are given."""
        preset, own = SamplingParams.resolve(PRESETS[self.task]), self.sampling
        names = [name for name in ("temperature", "top_p", "samples") if getattr(own, name) != getattr(preset, name)]
        names += [name for name in ("lookback", "horizon", "max_origins") if getattr(self, name) is not None]
        return [*names, "sequences"] if self.task == "synthetic" and self.sequences != SEQUENCES else names

    def windows(self, interval: str) -> Windows:
        """Return history and horizon at an interval.

        Raises:
            ParameterError: If the paper does not cover the interval, and lookback or horizon are not given.
        """
        known = GENERATION if self.task == "synthetic" else FORECAST
        published = known.get(interval)
        if published is not None:
            return Windows(self.lookback or published.lookback, self.horizon or published.horizon)
        if self.lookback is None or self.horizon is None:
            raise ParameterError(
                f"The paper's {self.task} task has no {interval} candles (only {', '.join(known)}): set lookback and "
                f"horizon."
            )
        return Windows(self.lookback, self.horizon)


def tstr_windows(interval: str, length: int) -> Windows:
    """Return history and horizon of the forecaster that is trained on generated sequences.

    Args:
        interval: Interval of the candles.
        length: Length of the sequences; if it is not the paper's, about the last sixth is forecast.
    """
    published = TSTR.get(interval)
    if published is not None and published.lookback + published.horizon == length:
        return published
    horizon = max(3, length // 6)
    return Windows(length - horizon, horizon)

"""What is measured: the networks, the cases with their floors, and how often; in full, and as a smoke run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from kronos.inference import Precision


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model's and its tokenizer's constructor arguments; the weights are random."""

    name: str
    model: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    context: int


@dataclass(frozen=True, slots=True)
class Case:
    """One call to measure.

    Attributes:
        history: Candles given.
        horizon: Candles asked for.
        samples: Paths.
        method: ``predict`` lets the window slide where history and horizon outgrow the context.
        floor: How many times faster than the plain decoder it has to be.
        plain_steps: Steps of the plain decoder to time; the rest is scaled.
    """

    history: int
    horizon: int
    samples: int
    method: Literal["forecast", "predict"] = "forecast"
    floor: float | None = None
    plain_steps: int = 3

    @property
    def title(self) -> str:
        """History + horizon × samples."""
        return f"{self.history} + {self.horizon} × {self.samples}"


@dataclass(frozen=True, slots=True)
class ManyPlan:
    """Series of different lengths forecast in one call."""

    series: int
    samples: int
    horizon: int
    shortest: int
    longest: int

    @property
    def lengths(self) -> list[int]:
        """Candles of each series: spread evenly, in no order."""
        spread = (self.longest - self.shortest) / max(1, self.series - 1)
        return [self.shortest + round(spread * (i * 37 % self.series)) for i in range(self.series)]


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of the benchmarks.

    Attributes:
        quick: Whether this is the smoke run, whose numbers mean nothing.
        architectures: Of mini, small and base.
        cases: For small, against the plain decoder.
        typical: What every model is timed with, and its memory measured.
        heavy: Whose memory is measured for both decoders.
        many: For `forecast_many`.
        repeats: Timings of each of our calls, after a warm-up.
        rounds: Starts of each program.
        matrix: Side of the square matrices that the matrix rate is measured with.
        read_mb: Megabytes read to measure the memory's bandwidth.
        precisions: That the models are timed at.
        threads: Of torch.
    """

    quick: bool
    architectures: tuple[Architecture, ...]
    cases: tuple[Case, ...]
    typical: Case
    heavy: Case
    many: ManyPlan
    repeats: int
    rounds: int
    matrix: int
    read_mb: int
    precisions: tuple[Precision, ...]
    threads: int

    def architecture(self, name: str) -> Architecture:
        """The one of that name."""
        return next(a for a in self.architectures if a.name == name)


def full() -> Plan:
    """What docs/performance.md is made of."""
    typical = Case(360, 24, 30, floor=80, plain_steps=5)
    heavy = Case(400, 24, 100, floor=150, plain_steps=3)
    return Plan(
        quick=False,
        architectures=tuple(published(name) for name in ("kronos-mini", "kronos-small", "kronos-base")),
        cases=(
            typical,
            heavy,
            Case(392, 120, 1, floor=12, plain_steps=120),
            Case(500, 60, 10, method="predict", floor=6, plain_steps=18),
        ),
        typical=typical,
        heavy=heavy,
        many=ManyPlan(64, 20, 24, 200, 480),
        repeats=7,
        rounds=9,
        matrix=2048,
        read_mb=512,
        precisions=("exact", "fast"),
        threads=2,
    )


def quick() -> Plan:
    """Everything once, with shrunken networks: shows that the benchmarks run, in seconds."""
    typical = Case(24, 4, 3, floor=80, plain_steps=2)
    heavy = Case(28, 4, 5, floor=150, plain_steps=2)
    return Plan(
        quick=True,
        architectures=tuple(shrunken(name) for name in ("kronos-mini", "kronos-small", "kronos-base")),
        cases=(
            typical,
            heavy,
            Case(20, 12, 1, floor=12, plain_steps=12),
            Case(30, 6, 2, method="predict", floor=6, plain_steps=4),
        ),
        typical=typical,
        heavy=heavy,
        many=ManyPlan(3, 2, 4, 16, 28),
        repeats=2,
        rounds=1,
        matrix=64,
        read_mb=1,
        precisions=("exact",),
        threads=1,
    )


def published(name: str) -> Architecture:
    """The published architecture of that name."""
    from kronos.zoo import find_entry  # here, so that what only reads a plan stays light

    entry = find_entry(name)
    assert entry is not None
    assert entry.tokenizer is not None
    assert entry.context is not None
    tokenizer = find_entry(entry.tokenizer)
    assert tokenizer is not None
    return Architecture(name, entry.config, tokenizer.config, entry.context)


def shrunken(name: str) -> Architecture:
    """Another of the same form that is computed in no time."""
    whole = published(name)
    bits = {"s1_bits": 5, "s2_bits": 5}
    model = {**whole.model, **bits, "n_layers": 2, "d_model": 32, "n_heads": 2, "ff_dim": 48}
    tokenizer = {**whole.tokenizer, **bits, "d_model": 32, "n_heads": 2, "ff_dim": 48}
    return Architecture(name, model, tokenizer, context=32)

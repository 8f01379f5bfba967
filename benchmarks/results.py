"""All that one run measured, and which floors it met."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.decoding import CaseResult, ManyResult, ModelResult
from benchmarks.drawing import DrawingResult
from benchmarks.machine import Machine
from benchmarks.plans import Plan
from benchmarks.startup import BARE, HELP, KRONOS, NUMPY
from benchmarks.timing import Times

PLAIN_SHARE = 0.55  # of the matrix rate, below which the plain decoder would be a straw man
BASE_OVER_SMALL = 4.0
STARTUP_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class Results:
    """One run: the plan and what was measured, in the order of the report; ``seconds`` is all of it."""

    plan: Plan
    machine: Machine
    cases: list[CaseResult]
    models: list[ModelResult]
    many: ManyResult
    memory: dict[str, int]
    startup: dict[str, Times]
    drawing: list[DrawingResult]
    seconds: float

    def model(self, name: str) -> ModelResult:
        """The one of that name in float32."""
        return next(m for m in self.models if m.name == name and m.precision == "exact")

    @property
    def base_over_small(self) -> float:
        """Time of kronos-base over that of kronos-small."""
        return self.model("kronos-base").ours.median / self.model("kronos-small").ours.median

    def startup_over(self, ours: str, theirs: str) -> float:
        """Seconds that one program takes longer than the other."""
        return self.startup[ours].median - self.startup[theirs].median


@dataclass(frozen=True, slots=True)
class Floor:
    """A requirement, what was measured, and whether that is enough."""

    what: str
    wanted: str
    measured: str
    met: bool


def floors(results: Results) -> list[Floor]:
    """All of them, from the measurements."""
    found = [
        Floor(
            f"{r.case.title} against the plain decoder",
            f"at least {r.case.floor:.0f}×",
            f"{r.ratio:.1f}×",
            r.ratio >= r.case.floor,
        )
        for r in results.cases
        if r.case.floor is not None
    ]
    for r in results.cases:
        share = r.plain_rate / results.machine.matrix
        what = f"{r.case.title}: the plain decoder's share of the matrix rate"
        found.append(Floor(what, f"at least {PLAIN_SHARE:.0%}", f"{share:.0%}", share >= PLAIN_SHARE))
    ratio = results.base_over_small
    found.append(
        Floor(
            f"{results.plan.typical.title}: kronos-base over kronos-small",
            f"at most {BASE_OVER_SMALL:.0f}×",
            f"{ratio:.2f}×",
            ratio <= BASE_OVER_SMALL,
        )
    )
    for ours, theirs, title in ((KRONOS, NUMPY, "`import kronos`"), (HELP, BARE, "`kronos --help`")):
        more = results.startup_over(ours, theirs)
        what = f"{title} over " + ("`import numpy`" if theirs == NUMPY else "a bare typer program")
        found.append(Floor(what, f"at most {STARTUP_SECONDS:.2f} s", f"{more:.3f} s", more <= STARTUP_SECONDS))
    return found

"""What one run of ``python -m benchmarks.serving`` measured, and which of the server's promises that keeps."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.load import Answers
from benchmarks.results import Floor

P95_RATIO = 3.0
LATE_SECONDS = 0.002
STOP_SECONDS = 3.0
GROWTH = 1.05  # of memory, in as much overload again


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: Of each route under load.
        seconds: Of a round.
        saturation: Seconds of each try at a capacity.
        crowd: Clients that ask at the same moment.
        rate: Requests a second of the overload.
        overload: Its seconds.
        queue: Forecasts that may wait.
        streams: Event streams that are open when the signal comes.
    """

    rounds: int
    seconds: float
    saturation: float
    crowd: int
    rate: float
    overload: float
    queue: int
    streams: int


@dataclass(frozen=True, slots=True)
class Route:
    """One route: what it can do in a second, its rounds under load, and all of them as one."""

    capacity: float
    rounds: list[Answers]
    all: Answers


@dataclass(frozen=True, slots=True)
class Beside:
    """The empty route and ours under the same load.

    Attributes:
        ceiling: Requests a second that the generator exchanges with a server that does nothing.
        rate: Of the load.
        empty: FastAPI's empty route.
        ours: Our cached answer.
        pinned: Whether servers and generator had a core each.
    """

    ceiling: float
    rate: float
    empty: Route
    ours: Route
    pinned: bool

    def ratios(self, share: float) -> list[float]:
        """Our percentile over the empty route's, round by round."""
        pairs = zip(self.ours.rounds, self.empty.rounds, strict=True)
        return [ours.percentile(share) / empty.percentile(share) for ours, empty in pairs]

    @property
    def late(self) -> float:
        """Seconds within which 99 % of the requests were on their way: long where the machine has other work."""
        late = np.concatenate([self.empty.all.late, self.ours.all.late])
        return float(np.nanpercentile(late, 99))

    @property
    def ratio(self) -> float:
        """Of the p95s: the median of the rounds."""
        return median(self.ratios(95))


@dataclass(frozen=True, slots=True)
class Crowd:
    """Clients that asked at once for symbols nobody had asked for: forecasts and batches that this took."""

    clients: int
    symbols: int
    answers: Answers
    computed: int
    batches: int


@dataclass(frozen=True, slots=True)
class Overload:
    """Forecasts asked for too fast, what ``/health`` answered meanwhile, and megabytes before, after, at most."""

    answers: Answers
    health: Answers
    before: float
    after: float
    peak: float

    @property
    def refused(self) -> int:
        """Requests that were turned away."""
        return self.answers.count(429, 503)

    @property
    def hinted(self) -> int:
        """Those that were told when to come again."""
        return int(self.answers.retry.sum())

    @property
    def odd(self) -> int:
        """Requests with any other end than an answer or a refusal."""
        return len(self.answers.status) - self.answers.count(200, 202) - self.refused


@dataclass(frozen=True, slots=True)
class Stop:
    """A signal while streams were open: seconds to the end, streams that were told, the exit code."""

    streams: int
    seconds: float
    told: int
    code: int


@dataclass(frozen=True, slots=True)
class Results:
    """One run, in the order of the report; ``seconds`` is all of it."""

    plan: Plan
    beside: Beside
    crowd: Crowd
    limited: Overload
    unlimited: Overload
    again: Overload
    stop: Stop
    seconds: float


def promises(results: Results) -> list[Floor]:
    """All of them, from the measurements."""
    crowd, stop, ratio, late = results.crowd, results.stop, results.beside.ratio, results.beside.late
    overloads = (results.limited, results.unlimited, results.again)
    refused, hinted = (sum(getattr(one, name) for one in overloads) for name in ("refused", "hinted"))
    odd = sum(one.odd for one in overloads)
    answered = crowd.answers.count(200)
    load = "p95 of a cached response over that of the empty route, at half of its capacity"
    return [
        Floor(load, f"at most {P95_RATIO:.0f}×", f"{ratio:.2f}×", ratio <= P95_RATIO),
        Floor(
            "99 % of that load sent on schedule, so that the figures are valid",
            f"within {1e3 * LATE_SECONDS:.0f} ms",
            f"{1e3 * late:.2f} ms",
            late <= LATE_SECONDS,
        ),
        Floor("Cold cache: responses", f"{crowd.clients}", f"{answered}", answered == crowd.clients),
        Floor("Cold cache: forecasts", f"{crowd.symbols}", f"{crowd.computed}", crowd.computed == crowd.symbols),
        Floor("Overload: rejections with `Retry-After`", f"{refused}", f"{hinted}", hinted == refused > 0),
        Floor("Overload: neither answered nor rejected", "0", f"{odd}", odd == 0),
        Floor(
            "Overload, repeated: memory at the end over memory at the start",
            f"at most {GROWTH:g}×",
            f"{results.again.after / results.again.before:.3f}×",
            results.again.after <= GROWTH * results.again.before,
        ),
        Floor(
            f"SIGTERM to exit, with {stop.streams} open streams",
            f"at most {STOP_SECONDS:.0f} s",
            f"{stop.seconds:.2f} s",
            stop.seconds <= STOP_SECONDS,
        ),
    ]

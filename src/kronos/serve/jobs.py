"""Jobs: work that a client starts, watches and may cancel.

- A job's story is its present state: whoever connects again gets that, and misses nothing that matters.
- Finished jobs are kept for a while, the oldest leaving first; what they made is saved elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from kronos.provenance import now_utc
from kronos.serve.errors import ApiError, to_api_error

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})

_KEPT, _RUNNING = 256, 64
_WEIGHT = 20_000_000  # values and characters of all results that are kept
_LONGEST = 3600.0  # seconds after which a job is given up
_EVERY = 0.1  # seconds between two reports of progress, at least

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """One piece of work.

    Attributes:
        id: Its name, which cannot be guessed.
        kind: What it does.
        state: How far it is.
        progress: Share of the work done, 0 to 1.
        message: What it does now, or what became of it.
        result: What it made, once it is done.
        fault: What went wrong, if it failed.
        created: When it was asked for; UTC.
        finished: When it ended; UTC.
        weight: How large the result is, roughly.
    """

    id: str
    kind: str
    state: State = "queued"
    progress: float = 0.0
    message: str = "waiting"
    result: dict[str, Any] | None = None
    fault: ApiError | None = None
    created: str = field(default_factory=now_utc)
    finished: str | None = None
    weight: int = 0
    _task: asyncio.Task[None] | None = field(default=None, repr=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED

    def tell(self, progress: float, message: str | None = None) -> None:
        """Report how far it is; call it in the event loop."""
        if self.ended:
            return
        self.state, self.progress = "running", progress
        if message is not None:
            self.message = message
        self._notify()

    def document(self) -> dict[str, Any]:
        """The job ready for JSON."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "progress": round(self.progress, 4),
            "message": self.message,
            "created": self.created,
            "finished": self.finished,
            "result": self.result,
            "error": None if self.fault is None else self.fault.document,
        }

    def end(self, state: State, message: str, *, fault: ApiError | None = None) -> None:
        """Say what became of it."""
        if self.ended:
            return
        self.state, self.message, self.fault, self.finished = state, message, fault, now_utc()
        if state == "done":
            self.progress = 1.0
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def changes(self) -> AsyncIterator[dict[str, Any]]:
        """Its state now, and again whenever it has changed, up to the end."""
        while True:
            changed, ended = self._changed, self.ended
            yield self.document()
            if ended:
                return
            await changed.wait()
            if not self.ended:
                await asyncio.sleep(_EVERY)


class Jobs:
    """All jobs; they belong to one event loop."""

    def __init__(self) -> None:
        """Begin without any."""
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._closed = False

    def start(self, kind: str, work: Callable[[Job], Awaitable[dict[str, Any]]]) -> Job:
        """Start a job.

        Args:
            kind: What it does.
            work: Does it: tells the job how far it is, and gives what it made.

        Raises:
            ApiError: 503 if too many are running, or the server is stopping.
        """
        running = sum(not job.ended for job in self._jobs.values())
        if self._closed or running >= _RUNNING:
            why = "The server is stopping" if self._closed else "Too many jobs are running"
            raise ApiError(503, f"{why}; try again later.", retry_after=5)
        job = Job(secrets.token_urlsafe(12), kind)
        self._jobs[job.id] = job
        job._task = asyncio.create_task(_run(job, work))
        self._forget()
        return job

    def _forget(self) -> None:
        """Let the oldest ended jobs go until neither they nor their results are too many."""
        weight = sum(job.weight for job in self._jobs.values())
        for old in [job for job in self._jobs.values() if job.ended]:
            if len(self._jobs) <= _KEPT and weight <= _WEIGHT:
                return
            weight -= old.weight
            del self._jobs[old.id]

    def get(self, name: str) -> Job:
        """A job by its id.

        Raises:
            ApiError: 404 if there is none.
        """
        job = self._jobs.get(name)
        if job is None:
            raise ApiError(404, "There is no job of that id; it may have ended long ago.")
        return job

    def all(self) -> list[Job]:
        """All jobs, the latest first."""
        return list(reversed(self._jobs.values()))

    async def cancel(self, job: Job) -> None:
        """Stop a job, and wait until it has stopped; one that has ended stays as it is."""
        if job._task is not None and not job.ended:
            job._task.cancel()
            await asyncio.wait([job._task], timeout=5)
            job.end("cancelled", "cancelled")  # a task that had not begun ends without a word

    async def close(self) -> None:
        """Take no more jobs, and stop those that run."""
        self._closed = True
        running = [job for job in self._jobs.values() if not job.ended]
        await asyncio.gather(*(self.cancel(job) for job in running))


async def _run(job: Job, work: Callable[[Job], Awaitable[dict[str, Any]]]) -> None:
    try:
        async with asyncio.timeout(_LONGEST):
            job.result = await work(job)
        job.weight = _weight(job.result)
    except asyncio.CancelledError:
        job.end("cancelled", "cancelled")
    except Exception as error:  # noqa: BLE001 (it is told as the job's end)
        fault = to_api_error(error)
        if fault.status == 500:
            _log.exception("a job failed", extra={"job": job.id, "kind": job.kind})
        job.end("failed", fault.message, fault=fault)
    else:
        job.end("done", "done")


def _weight(value: Any) -> int:
    """Values and characters in a result: what it takes in memory, roughly."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_weight, value.values()), len(value))
    return sum(map(_weight, value), 1) if isinstance(value, list) else 1

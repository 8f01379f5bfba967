"""Background jobs that clients start, follow and cancel.

- A job has a current state and no history: a client that reconnects receives the state.
- Finished jobs are kept up to a number and a size, then the oldest are dropped; their results are saved elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, Literal, ParamSpec, TypeVar

from kronos.provenance import now_utc
from kronos.serve.errors import ApiError, exhausted_error, to_api_error

P = ParamSpec("P")
T = TypeVar("T")


class DaemonPool(Executor):
    """An executor of daemon threads.

    `ThreadPoolExecutor` joins its threads at interpreter exit, so one slow response of an exchange would delay the
    shutdown of the server.
    """

    def __init__(self, threads: int, name: str) -> None:
        """Create the pool; its threads start on demand.

        Args:
            threads: Largest number of threads.
            name: Prefix of the threads' names.
        """
        self._max_threads, self._name = threads, name
        self._tasks: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._idle = self._started = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in one of the threads.

        Raises:
            ApiError: 503 if the pool has no thread yet and the system refuses to start one.
        """
        future: Future[T] = Future()

        def task() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 (the caller receives it)
                future.set_exception(wrap_exception(error))

        with self._changed:
            self._tasks.append(task)
            if len(self._tasks) > self._idle and self._started < self._max_threads:
                self._start_thread()
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the threads end with the process."""

    def _start_thread(self) -> None:
        """Start a thread; if the system refuses, the task waits for one of the others."""
        thread = threading.Thread(target=self._run, name=f"{self._name}-{self._started + 1}", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            if not self._started:
                self._tasks.pop()
                raise exhausted_error() from error
        else:
            self._started += 1

    def _run(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._tasks)
                self._idle -= 1
                task = self._tasks.popleft()
            task()
            del task  # or its result would stay in memory until the next one


def wrap_exception(error: BaseException) -> Exception:
    """Return an exception that a future accepts and that does not end an event loop.

    `SystemExit`, `StopIteration` and the like become the cause of a `RuntimeError`.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapped = RuntimeError(f"{type(error).__name__} in a thread")
    wrapped.__cause__ = error
    return wrapped


JobState = Literal["queued", "running", "done", "failed", "cancelled"]
_FINAL_STATES: frozenset[JobState] = frozenset({"done", "failed", "cancelled"})

_MAX_JOBS, _MAX_RUNNING, _MAX_RUNNING_PER_CLIENT = 512, 256, 64
_MAX_SIZE = 20_000_000  # values and characters of all results in memory
_MAX_SECONDS = 3600.0
_REPORT_SECONDS = 0.1  # shortest time between two progress reports

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """A background job.

    Attributes:
        id: Unguessable identifier.
        kind: What the job does.
        owner: Client that may see and cancel it: the pseudonym of its API key; empty if the server has no keys.
        state: Current state.
        progress: Completed share, 0 to 1.
        message: Current activity, or the outcome.
        result: Result of a job in state ``done``.
        error: Error of a job in state ``failed``.
        created: Start, UTC.
        finished: End, UTC.
        size: Approximate number of values and characters in the result.
    """

    id: str
    kind: str
    owner: str = ""
    state: JobState = "queued"
    progress: float = 0.0
    message: str = "waiting"
    result: dict[str, Any] | None = None
    error: ApiError | None = None
    created: str = field(default_factory=now_utc)
    finished: str | None = None
    size: int = 0
    _task: asyncio.Task[None] | None = field(default=None, repr=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state in _FINAL_STATES

    def report(self, progress: float, message: str | None = None) -> None:
        """Set the progress; call it in the event loop."""
        if self.ended:
            return
        self.state, self.progress = "running", progress
        if message is not None:
            self.message = message
        self._notify()

    def document(self) -> dict[str, Any]:
        """Return the job as JSON values."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "progress": round(self.progress, 4),
            "message": self.message,
            "created": self.created,
            "finished": self.finished,
            "result": self.result,
            "error": None if self.error is None else self.error.document,
        }

    def end(self, state: JobState, message: str, *, error: ApiError | None = None) -> None:
        """Set a final state, unless the job has one."""
        if self.ended:
            return
        self.state, self.message, self.error, self.finished = state, message, error, now_utc()
        if state == "done":
            self.progress = 1.0
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def changes(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the current state, then each change up to the final state."""
        while True:
            changed, ended = self._changed, self.ended
            yield self.document()
            if ended:
                return
            await changed.wait()
            if not self.ended:
                await asyncio.sleep(_REPORT_SECONDS)


class Jobs:
    """All jobs of a server; they belong to one event loop."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._closed = False

    def start(self, kind: str, work: Callable[[Job], Awaitable[dict[str, Any]]], *, owner: str = "") -> Job:
        """Start a job.

        Args:
            kind: What the job does.
            work: Computes the result; may call `Job.report`.
            owner: Client that may see and cancel it; see `Job`.

        Raises:
            ApiError: 503 if too many jobs are running or the server is shutting down, 429 if they are the client's.
        """
        running = Counter(job.owner for job in self._jobs.values() if not job.ended)
        if self._closed or running.total() >= _MAX_RUNNING:
            reason = "The server is shutting down" if self._closed else "Too many jobs are running"
            raise ApiError(503, f"{reason}; retry later.", retry_after=5)
        if running[owner] >= _MAX_RUNNING_PER_CLIENT:
            raise ApiError(429, f"{_MAX_RUNNING_PER_CLIENT} jobs are running: wait until one has ended.", retry_after=5)
        job = Job(secrets.token_urlsafe(12), kind, owner)
        self._jobs[job.id] = job
        job._task = asyncio.create_task(_run(job, work))
        self._drop_oldest()
        return job

    def _drop_oldest(self) -> None:
        """Drop finished jobs until number and size are within the limits: the oldest of the client with the most."""
        while len(self._jobs) > _MAX_JOBS or sum(job.size for job in self._jobs.values()) > _MAX_SIZE:
            ended = [job for job in self._jobs.values() if job.ended]
            if not ended:
                return
            shares = Counter[str]()
            for job in ended:
                shares[job.owner] += 1 + job.size * _MAX_JOBS // _MAX_SIZE
            heaviest = max(shares, key=shares.__getitem__)
            del self._jobs[next(job.id for job in ended if job.owner == heaviest)]

    def get(self, job_id: str, owner: str | None = None) -> Job:
        """Return a job.

        Args:
            job_id: Its id.
            owner: Client that requests it; None if a ticket has proved the right to it.

        Raises:
            ApiError: 404 if there is none with this id, or it is another client's.
        """
        job = self._jobs.get(job_id)
        if job is None or owner not in (None, job.owner):
            raise ApiError(404, "No job has this id; old jobs are dropped.")
        return job

    def all(self, owner: str | None = None) -> list[Job]:
        """Return the jobs of a client, or of all, the newest first."""
        return [job for job in reversed(self._jobs.values()) if owner in (None, job.owner)]

    async def cancel(self, job: Job) -> None:
        """Cancel a job and wait until it has stopped; a finished job does not change."""
        if job._task is not None and not job.ended:
            job._task.cancel()
            await asyncio.wait([job._task], timeout=5)
            job.end("cancelled", "cancelled")  # a task that had not started does not set its state

    async def close(self) -> None:
        """Reject new jobs and cancel the running ones."""
        self._closed = True
        running = [job for job in self._jobs.values() if not job.ended]
        await asyncio.gather(*(self.cancel(job) for job in running))


async def _run(job: Job, work: Callable[[Job], Awaitable[dict[str, Any]]]) -> None:
    try:
        async with asyncio.timeout(_MAX_SECONDS):
            job.result = await work(job)
        job.size = _size(job.result)
    except asyncio.CancelledError:
        job.end("cancelled", "cancelled")
    except Exception as exception:  # noqa: BLE001 (it becomes the job's outcome)
        error = to_api_error(exception)
        if error.status == 500:
            _log.exception("job failed", extra={"job": job.id, "kind": job.kind})
        job.end("failed", error.message, error=error)
    else:
        job.end("done", "done")


def _size(value: Any) -> int:
    """Count the values and characters in a result, as an estimate of its memory."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()), len(value))
    return sum(map(_size, value), 1) if isinstance(value, list) else 1

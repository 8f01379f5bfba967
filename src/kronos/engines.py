"""Engines: where independent pieces of work are computed. The results are the same, whichever computes them.

- `LocalEngine`: this machine, in this process or in several.
- `RayEngine`: the machines of a Ray cluster, with Ray Data; needs the extra ``ray``.

Batches, evaluations, signals and live cycles hand blocks of forecasts to an engine. The blocks do not depend on the
engine or its number of workers, and random numbers are keyed by the forecast, so neither do the results. Workers get
the function, and with it the model, once.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from multiprocessing import active_children, connection, get_context, parent_process
from typing import Any, Protocol, TypeVar

from kronos import errors
from kronos.errors import DeviceError, KronosError, ParameterError
from kronos.formatting import truncate

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_DEATHS = 3  # of workers without a finished item in between, after which to give up

log = logging.getLogger("kronos")


class Engine(Protocol):
    """The interface of whatever computes blocks of forecasts."""

    @property
    def name(self) -> str:
        """Name in summaries."""
        ...

    @property
    def workers(self) -> int | None:
        """Number of workers; None to let the engine choose."""
        ...

    def run(
        self, function: Callable[[ItemT], ResultT], items: Sequence[ItemT], *, gpu: bool
    ) -> Generator[tuple[int, ResultT]]:
        """Call a function with every item, and yield the position of each item with its result, in any order.

        A worker may end at any time, so that an item is computed again: the function has to be repeatable.

        Args:
            function: Picklable, as are the items and the results.
            items: The pieces of work.
            gpu: Whether the function uses a GPU.
        """
        ...


def uses_gpu(parts: Iterable[object]) -> bool:
    """Whether any model or forecaster uses a GPU: they say so with an attribute ``gpu``, which they may leave out."""
    return any(bool(getattr(part, "gpu", False)) for part in parts)


class LocalEngine:
    """Computes on this machine.

    Args:
        workers: Number of processes, which share the CPU threads of this one; 1 computes everything in this process.
            A script that uses more needs the usual ``if __name__ == "__main__":``, because they start by importing it.

    Raises:
        ParameterError: If ``workers`` is less than 1.
    """

    name = "local"

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise ParameterError(f"Invalid number of workers {workers}: choose at least 1.")
        self.workers: int | None = workers

    def run(
        self, function: Callable[[ItemT], ResultT], items: Sequence[ItemT], *, gpu: bool
    ) -> Generator[tuple[int, ResultT]]:
        """See `Engine`; processes that are killed are replaced, and the items that they had begun computed again.

        Raises:
            ParameterError: If several processes would share a GPU.
            DeviceError: If processes are killed again and again, for example for lack of memory.
        """
        workers = self.workers or 1
        if gpu and workers > 1:
            raise ParameterError(
                "Only one process of this machine can use its GPU: choose 1 worker, or the engine ray."
            )
        if workers == 1 or len(items) < 2:
            for position, item in enumerate(items):
                yield position, function(item)
            return
        pending, deaths = list(range(len(items))), 0
        while pending:
            finished: set[int] = set()
            try:
                # After a death, not even the last item runs in this process: it may be the one that killed another.
                with closing(_run_processes(function, items, pending, workers)) as done:
                    for position, result in done:
                        finished.add(position)
                        yield position, result
            except DeviceError as error:
                deaths = 1 if finished else deaths + 1
                if not isinstance(error.__cause__, BrokenProcessPool) or deaths >= _DEATHS:
                    raise
                log.warning("A worker process was killed; starting others.")
            pending = [position for position in pending if position not in finished]


class RayEngine:
    """Computes on a Ray cluster. A finished item is never lost, so Ray may repeat the others; it keeps no checkpoints.

    Args:
        workers: Number of actors; by default one per GPU if the model uses one, else one per CPU of the cluster.
        address: Address of the cluster; by default that of ``RAY_ADDRESS``, else a cluster of this machine alone, which
            ends with the run.

    Raises:
        ParameterError: If ``workers`` is less than 1, or Ray is not installed.
    """

    name = "ray"

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        if workers is not None and workers < 1:
            raise ParameterError(f"Invalid number of workers {workers}: choose at least 1.")
        _import_ray()
        self.workers, self.address = workers, address

    def run(
        self, function: Callable[[ItemT], ResultT], items: Sequence[ItemT], *, gpu: bool
    ) -> Generator[tuple[int, ResultT]]:
        """See `Engine`; actors that are killed are replaced.

        Raises:
            DeviceError: If the cluster cannot be reached, has no GPU for a model that needs one, or an actor fails.
        """
        if not items:
            return
        ray = _import_ray()
        with self._connected(ray), _quiet_data() as data:
            resources = ray.cluster_resources()
            total = int(resources.get("GPU" if gpu else "CPU", 0))
            if total < 1:
                raise DeviceError("The Ray cluster has no GPU: add one, or use the device cpu.")
            workers = min(self.workers or total, len(items))
            threads = 1 if gpu else max(1, total // workers)
            references = ray.put(function), ray.put(list(items))  # held here, because a new actor reads them again
            results = data.from_items(
                [{"position": position} for position in range(len(items))], override_num_blocks=len(items)
            ).map_batches(
                EngineActor,
                fn_constructor_args=(*references, threads),
                batch_size=1,
                compute=data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
                num_cpus=min(threads, total / workers) if not gpu else 1,
                num_gpus=1 if gpu else 0,
            )
            try:
                for row in results.iter_rows():
                    if row["error"]:
                        raise _as_error(str(row["error"]), str(row["message"]))
                    yield int(row["position"]), pickle.loads(row["result"])  # noqa: S301 (of an actor of this run)
            except ray.exceptions.RayError as error:
                reason = truncate(str(error).strip().rpartition("\n")[2], 200)
                raise DeviceError(
                    f"A worker of Ray failed: {reason}. Kronos has to be installed on all machines."
                ) from error

    @contextmanager
    def _connected(self, ray: Any) -> Iterator[None]:
        """Connect to the cluster, or start one that ends with the block."""
        if ray.is_initialized():
            yield
            return
        alone = self.address is None and "RAY_ADDRESS" not in os.environ
        options: dict[str, Any] = {"include_dashboard": False} if alone else {"address": self.address or "auto"}
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise DeviceError(f"Cannot start or reach the Ray cluster: {error}") from error
        try:
            yield
        finally:
            ray.shutdown()


class EngineActor:
    """A worker of Ray Data, which keeps the function, and so its model, for all of its items.

    Args:
        function: Reference to the function.
        items: Reference to the items.
        threads: CPU threads to use.
    """

    def __init__(self, function: Any, items: Any, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        ray = _import_ray()
        self._function, self._items = ray.get(function), ray.get(items)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Compute the item of a batch of one row; errors for the user are values, which Ray does not wrap."""
        position = int(batch["position"][0])
        result, error, message = b"", "", ""
        try:
            result = pickle.dumps(self._function(self._items[position]))
        except KronosError as raised:
            error, message = type(raised).__name__, str(raised)
        return {"position": [position], "result": [result], "error": [error], "message": [message]}


def _as_error(name: str, message: str) -> KronosError:
    """An error of an actor as the exception that it was."""
    kind = getattr(errors, name, KronosError)
    return kind(message) if isinstance(kind, type) and issubclass(kind, KronosError) else KronosError(message)


@contextmanager
def _quiet_data() -> Iterator[Any]:
    """Ray Data without its progress bars, whose settings are restored afterwards."""
    from ray import data

    context = data.DataContext.get_current()
    names = ("enable_progress_bars", "enable_operator_progress_bars")
    before = {name: getattr(context, name) for name in names}
    logger = logging.getLogger("ray.data")
    level = logger.level
    try:
        for name in names:
            setattr(context, name, False)
        logger.setLevel(logging.ERROR)
        yield data
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)


def _import_ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ParameterError("The engine ray needs Ray: install the extra 'ray', or use the engine local.") from error
    return ray


# Worker processes ------------------------------------------------------------

_function: Callable[[Any], Any] | None = None  # what a worker process calls with each item


def _run_processes(
    function: Callable[[ItemT], ResultT], items: Sequence[ItemT], positions: Sequence[int], workers: int
) -> Generator[tuple[int, ResultT]]:
    """Compute the items at some positions in processes, started in that order.

    Raises:
        DeviceError: If a process was killed, for example for lack of memory.
    """
    import torch

    number = min(workers, len(positions))
    threads = max(1, torch.get_num_threads() // number)
    before = set(active_children())
    pool = ProcessPoolExecutor(number, get_context("spawn"), _start_worker, (function, threads))
    try:
        with without_interrupts():
            pending: dict[Future[ResultT], int] = {pool.submit(_call, items[at]): at for at in positions}
        for future in as_completed(list(pending)):
            yield pending.pop(future), future.result()
        pool.shutdown()  # here, so that workers are also killed if Ctrl-C interrupts the wait for their end
    except BrokenProcessPool as error:
        raise DeviceError(
            "A worker process was killed, possibly for lack of memory. Run again with fewer workers; finished "
            "forecasts are not repeated."
        ) from error
    except (KeyboardInterrupt, GeneratorExit):  # the results of unfinished items are of no use
        for process in set(active_children()) - before:
            process.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Hold back Ctrl-C for this thread and for processes that it starts, which otherwise die while they import.

    The processes call `leave_interrupts_to_parent`. Where signals cannot be blocked, on Windows, nothing is held back.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its start, with the first process, would end the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_interrupts_to_parent() -> None:
    """Ignore Ctrl-C in this process, whose parent handles it and started it `without_interrupts`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # for programs that this process starts


def _start_worker(function: Callable[[Any], Any], threads: int) -> None:
    global _function
    leave_interrupts_to_parent()
    if "torch" in sys.modules:  # loaded with the function; not all functions need it, and loading it takes seconds
        sys.modules["torch"].set_num_threads(threads)
    else:
        os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)))
    _function = function
    threading.Thread(target=exit_with_parent, daemon=True).start()


def exit_with_parent() -> None:
    """Wait for the parent of this process and end with it, even if it is killed; run it in a thread."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _call(item: Any) -> Any:
    assert _function is not None
    return _function(item)

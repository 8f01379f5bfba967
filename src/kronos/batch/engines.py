"""Engines: where the shards of a batch are computed. The results are the same, whichever runs them.

- `LocalEngine`: this machine, in this process or in several.
- `RayEngine`: the machines of a Ray cluster, with Ray Data; needs the extra ``ray``. Actors load the model once, and
  use a GPU each if the model does. Shards are independent and a finished one is only looked at, so Ray may repeat
  whatever it lost; its own checkpoints are not used.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from typing import Any, Protocol

from kronos import errors
from kronos.batch.shards import Shard
from kronos.errors import DeviceError, KronosError, ParameterError
from kronos.evaluation.rolling import run_jobs
from kronos.formatting import truncate

Job = Callable[[Shard], None]
_DEATHS = 3  # of workers without a finished shard in between, after which to give up

log = logging.getLogger("kronos")


class Engine(Protocol):
    """The interface that `kronos.batch.run` needs."""

    @property
    def name(self) -> str:
        """Name in summaries."""
        ...

    @property
    def workers(self) -> int | None:
        """Number of workers; None to let the engine choose."""
        ...

    def run(self, job: Job, shards: Sequence[Shard], *, gpu: bool) -> Generator[Shard]:
        """Call the job with every shard, and yield each shard once it is done, in any order.

        Args:
            job: Computes and writes a shard; picklable.
            shards: The shards to compute.
            gpu: Whether the job uses a GPU.
        """
        ...


class LocalEngine:
    """Computes shards on this machine.

    Args:
        workers: Number of processes, which share the CPU threads of this one; 1 computes everything in this process.
            A script that uses more needs the usual ``if __name__ == "__main__":``.

    Raises:
        ParameterError: If ``workers`` is less than 1.
    """

    name = "local"

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise ParameterError(f"Invalid number of workers {workers}: choose at least 1.")
        self.workers: int | None = workers

    def run(self, job: Job, shards: Sequence[Shard], *, gpu: bool) -> Generator[Shard]:
        """See `Engine`; processes that are killed are replaced, and the shards that they had begun computed again.

        Raises:
            ParameterError: If several processes would share a GPU.
            DeviceError: If processes are killed again and again, for example for lack of memory.
        """
        workers = self.workers or 1
        if gpu and workers > 1:
            raise ParameterError(
                "Only one process of this machine can use its GPU: choose 1 worker, or the engine ray."
            )
        pending, deaths = list(shards), 0
        while pending:
            finished: set[Shard] = set()
            try:
                # After a death, not even the last shard runs in this process: it may be the one that killed another.
                with closing(run_jobs(job, pending, workers, isolate=len(shards) > 1)) as done:
                    for shard in done:
                        finished.add(shard)
                        yield shard
            except DeviceError as error:
                deaths = 1 if finished else deaths + 1
                if not isinstance(error.__cause__, BrokenProcessPool) or deaths >= _DEATHS:
                    raise
                log.warning("A worker process was killed; starting others.")
            pending = [shard for shard in pending if shard not in finished]


class RayEngine:
    """Computes shards on a Ray cluster.

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

    def run(self, job: Job, shards: Sequence[Shard], *, gpu: bool) -> Generator[Shard]:
        """See `Engine`.

        Raises:
            DeviceError: If the cluster cannot be reached, has no GPU for a model that needs one, or an actor fails.
        """
        ray = _import_ray()
        with self._connected(ray), _quiet_data() as data:
            resources = ray.cluster_resources()
            total = int(resources.get("GPU" if gpu else "CPU", 0))
            if total < 1:
                raise DeviceError("The Ray cluster has no GPU: add one, or run the batch with the device cpu.")
            workers = min(self.workers or total, len(shards))
            threads = 1 if gpu else max(1, total // workers)
            references = ray.put(job), ray.put(list(shards))  # held here, because a new actor reads them again
            results = data.from_items(
                [{"position": position} for position in range(len(shards))], override_num_blocks=len(shards)
            ).map_batches(
                ShardActor,
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
                    yield shards[int(row["position"])]
            except ray.exceptions.RayError as error:
                reason = truncate(str(error).strip().rpartition("\n")[2], 200)
                raise DeviceError(
                    f"A worker of Ray failed: {reason}. Kronos has to be installed on all machines; the run resumes."
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


class ShardActor:
    """A worker of Ray Data, which keeps the job, and so its model, for all of its shards.

    Args:
        job: Reference to the job.
        shards: Reference to the shards.
        threads: CPU threads to use.
    """

    def __init__(self, job: Any, shards: Any, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        ray = _import_ray()
        self._job, self._shards = ray.get(job), ray.get(shards)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Compute the shard of a batch of one row; errors for the user are values, which Ray does not wrap."""
        position = int(batch["position"][0])
        error = message = ""
        try:
            self._job(self._shards[position])
        except KronosError as raised:
            error, message = type(raised).__name__, str(raised)
        return {"position": [position], "error": [error], "message": [message]}


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

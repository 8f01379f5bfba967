"""CUDA graphs: the kernels of a program recorded once and launched together afterwards.

Decoding a batch launches thousands of short kernels, and a GPU waits for the processor between them. A `GraphCache`
captures all of them as one graph per key, which is the bucket of a batch and what else the program depends on.

- The first run of a key is eager: kernels are loaded, and a single forecast doesn't pay for a graph that it never uses
  again. The second run captures the graph, and this and all later runs replay it. Both compute the same.
- The graphs share one memory pool, so that they need the memory of the largest and not of all. That is safe because
  they run one at a time, and a program's inputs and results lie outside of the pool.
- The programs that were not used for the longest time are dropped, and their graphs with them.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast
from weakref import WeakSet

import torch

from kronos.inference.devices import is_out_of_memory

CAPACITY = 16  # programs

_log = logging.getLogger(__name__)


class Program(Protocol):
    """Kernels that read fixed inputs and write fixed results, without reading anything from the device."""

    def run(self) -> None:
        """Compute the results from the inputs."""
        ...


class Graph(Protocol):
    """A captured program."""

    def replay(self) -> None:
        """Compute the results from the inputs again."""
        ...


Capture = Callable[[Callable[[], None]], Graph]
P = TypeVar("P", bound=Program)


@dataclass(slots=True)
class _Entry:
    program: Program
    graph: Graph | None = None
    runs: int = 0


class GraphCache:
    """The most recently used programs with their graphs.

    A program's inputs are shared by all threads: hold ``lock`` from loading them until the results are read.

    Args:
        capture: Captures a call.
        capacity: Maximum number of programs.
    """

    def __init__(self, capture: Capture, capacity: int = CAPACITY) -> None:
        self.lock = threading.RLock()
        self._capture, self._capacity = capture, capacity
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._capturable = True

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    @property
    def captured(self) -> int:
        """Number of programs that have a graph."""
        return sum(entry.graph is not None for entry in self._entries.values())

    def program(self, key: Hashable, build: Callable[[], P]) -> P:
        """The program of a key, built if it is new."""
        if key not in self._entries:
            program = build()
            while len(self._entries) >= self._capacity:
                self._entries.popitem(last=False)
            self._entries[key] = _Entry(program)
        self._entries.move_to_end(key)
        return cast(P, self._entries[key].program)

    def run(self, key: Hashable) -> None:
        """Run the program of a key on the inputs that were loaded, with its graph from the second time on."""
        entry = self._entries[key]
        if entry.graph is None and entry.runs > 0 and self._capturable:
            entry.graph = self._captured(entry)
        entry.runs += 1
        if entry.graph is None:
            entry.program.run()
        else:
            entry.graph.replay()

    def clear(self) -> None:
        """Drop all programs and graphs, which frees their memory."""
        self._entries.clear()

    def _captured(self, entry: _Entry) -> Graph | None:
        try:
            return self._capture(entry.program.run)
        except RuntimeError as error:
            # The program itself has run before, so that the batch can still be decoded. Nothing more is captured,
            # because a capture that failed may keep the memory that it had taken.
            self._capturable = False
            reason = "too little memory is free" if is_out_of_memory(error) else str(error).splitlines()[0]
            _log.warning("Cannot capture a CUDA graph (%s): decoding without, which is slower.", reason)
            return None


class CudaCapture:
    """Captures calls on one GPU, with one memory pool for all of them.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None
        self._graphs: WeakSet[torch.cuda.CUDAGraph] = WeakSet()

    def __call__(self, call: Callable[[], None]) -> Graph:
        """Capture a call; nothing is computed before the graph is replayed.

        Raises:
            RuntimeError: If the call does what cannot be captured, or memory runs out.
        """
        with torch.cuda.device(self._device):
            # A pool ends with its last graph, and a stream has its matrix library's workspace in the pool.
            if not self._graphs:
                self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
                self._pool = torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            # Other threads may allocate meanwhile, which only the error mode of this thread allows.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                call()
        self._graphs.add(graph)
        return graph


def cuda_graph_cache(device: torch.device) -> GraphCache:
    """A cache that captures on a GPU."""
    return GraphCache(CudaCapture(device))

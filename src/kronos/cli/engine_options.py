"""The options of commands that hand blocks of forecasts to an engine, and the engine that they choose."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kronos.cli.options import MODEL_PANEL
from kronos.errors import ParameterError

if TYPE_CHECKING:
    from kronos.engines import Engine
    from kronos.inference import KronosPredictor

EngineName = Literal["local", "ray"]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        help="local: this machine; ray: a Ray cluster (RAY_ADDRESS), or this machine with Ray.",
        rich_help_panel=MODEL_PANEL,
    ),
]
_WORKERS = "Number of processes, or of Ray's actors; results do not depend on it."
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=_WORKERS,
        show_default="one per core, or KRONOS_THREADS; one per GPU",
        rich_help_panel=MODEL_PANEL,
    ),
]
SignalWorkers = Annotated[
    int | None,
    typer.Option(min=1, help=_WORKERS, show_default="1; with ray, one per core or GPU", rich_help_panel=MODEL_PANEL),
]


@dataclass(frozen=True, slots=True)
class EngineArgs:
    """Where forecasts are computed.

    Attributes:
        name: ``local`` or ``ray``.
        workers: Number of processes or actors; None for the default.
    """

    name: EngineName = "local"
    workers: int | None = None

    def open(
        self, predictors: Mapping[str, KronosPredictor], *, threads: int | None = None, default: int | None = None
    ) -> Engine:
        """Choose the engine for some models.

        Args:
            predictors: The models, by name.
            threads: CPU threads of this machine to use; None for one per core.
            default: Number of processes on the CPU unless it is given; None for one per thread.

        Raises:
            ParameterError: If several processes would share a GPU, or Ray is not installed.
        """
        from kronos.engines import LocalEngine, RayEngine

        if self.name == "ray":
            return RayEngine(self.workers)
        on_gpu = next((name for name, one in predictors.items() if one.device.type != "cpu"), None)
        if on_gpu is None:
            return LocalEngine(self.workers or default or threads or os.cpu_count() or 1)
        if self.workers is not None and self.workers > 1:
            raise ParameterError(
                f"{on_gpu} is on {predictors[on_gpu].device}, which only one process can use: leave out --workers, or "
                f"use --device cpu."
            )
        return LocalEngine(1)


LOCAL = EngineArgs()

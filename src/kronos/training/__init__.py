"""Training: objectives, the loop, checkpoints, monitors, LoRA, several models at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kronos.training.comparing import compare
    from kronos.training.comparison import Comparison
    from kronos.training.config import TrainConfig, load_config
    from kronos.training.distributed import Process, process
    from kronos.training.loop import Fitted, Trainer, fit
    from kronos.training.lora import LoRA, add_lora, load_adapter, merge_lora, save_adapter
    from kronos.training.monitors import JsonLines, TensorBoard, Terminal, TrainingMonitor
    from kronos.training.objectives import (
        Losses,
        ModelObjective,
        Objective,
        ReconstructionWeights,
        TokenizerObjective,
        check_causality,
    )
    from kronos.training.planning import make_plan
    from kronos.training.running import run
    from kronos.training.scalar_code import Grid, ScalarCode, scalar_tokenizer
    from kronos.training.settings import StageSettings

_HOMES = {
    "Comparison": "comparison",
    "Fitted": "loop",
    "Grid": "scalar_code",
    "JsonLines": "monitors",
    "LoRA": "lora",
    "Losses": "objectives",
    "ModelObjective": "objectives",
    "Objective": "objectives",
    "Process": "distributed",
    "ReconstructionWeights": "objectives",
    "ScalarCode": "scalar_code",
    "StageSettings": "settings",
    "TensorBoard": "monitors",
    "Terminal": "monitors",
    "TokenizerObjective": "objectives",
    "TrainConfig": "config",
    "Trainer": "loop",
    "TrainingMonitor": "monitors",
    "add_lora": "lora",
    "check_causality": "objectives",
    "compare": "comparing",
    "fit": "loop",
    "load_adapter": "lora",
    "load_config": "config",
    "make_plan": "planning",
    "merge_lora": "lora",
    "process": "distributed",
    "run": "running",
    "save_adapter": "lora",
    "scalar_tokenizer": "scalar_code",
}

__all__ = [
    "Comparison",
    "Fitted",
    "Grid",
    "JsonLines",
    "LoRA",
    "Losses",
    "ModelObjective",
    "Objective",
    "Process",
    "ReconstructionWeights",
    "ScalarCode",
    "StageSettings",
    "TensorBoard",
    "Terminal",
    "TokenizerObjective",
    "TrainConfig",
    "Trainer",
    "TrainingMonitor",
    "add_lora",
    "check_causality",
    "compare",
    "fit",
    "load_adapter",
    "load_config",
    "make_plan",
    "merge_lora",
    "process",
    "run",
    "save_adapter",
    "scalar_tokenizer",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch is not needed to list a command."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kronos.training' has no attribute '{name}'")
    value = getattr(import_module(f"kronos.training.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

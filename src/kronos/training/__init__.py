"""Training: objectives, the loop, checkpoints, monitors, LoRA, several models at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kronos.training.callbacks import JsonLines, TensorBoard, Terminal, TrainingCallback
    from kronos.training.comparison import Comparison
    from kronos.training.comparison_run import compare
    from kronos.training.config import TrainConfig, TrainingArguments, load_config
    from kronos.training.distributed import Process, process
    from kronos.training.lora import LoRA, add_lora, load_adapter, merge_lora, save_adapter
    from kronos.training.objectives import (
        Losses,
        ModelObjective,
        Objective,
        ReconstructionWeights,
        TokenizerObjective,
        check_causality,
    )
    from kronos.training.plan import make_plan
    from kronos.training.runner import run
    from kronos.training.scalar_tokenizer import Grid, ScalarCode, scalar_tokenizer
    from kronos.training.trainer import Trainer, TrainResult, fit

_HOMES = {
    "Comparison": "comparison",
    "Grid": "scalar_tokenizer",
    "JsonLines": "callbacks",
    "LoRA": "lora",
    "Losses": "objectives",
    "ModelObjective": "objectives",
    "Objective": "objectives",
    "Process": "distributed",
    "ReconstructionWeights": "objectives",
    "ScalarCode": "scalar_tokenizer",
    "TensorBoard": "callbacks",
    "Terminal": "callbacks",
    "TokenizerObjective": "objectives",
    "TrainConfig": "config",
    "TrainResult": "trainer",
    "Trainer": "trainer",
    "TrainingArguments": "config",
    "TrainingCallback": "callbacks",
    "add_lora": "lora",
    "check_causality": "objectives",
    "compare": "comparison_run",
    "fit": "trainer",
    "load_adapter": "lora",
    "load_config": "config",
    "make_plan": "plan",
    "merge_lora": "lora",
    "process": "distributed",
    "run": "runner",
    "save_adapter": "lora",
    "scalar_tokenizer": "scalar_tokenizer",
}

__all__ = [
    "Comparison",
    "Grid",
    "JsonLines",
    "LoRA",
    "Losses",
    "ModelObjective",
    "Objective",
    "Process",
    "ReconstructionWeights",
    "ScalarCode",
    "TensorBoard",
    "Terminal",
    "TokenizerObjective",
    "TrainConfig",
    "TrainResult",
    "Trainer",
    "TrainingArguments",
    "TrainingCallback",
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

"""Options that ``kronos train`` and ``kronos pipeline`` share, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

ModeName = Literal["sequential", "parallel"]
StageChoice = Literal["tokenizer", "model", "all"]

WHAT, HOW, WHERE, OUT = "What to train on, and from", "How to train", "Machine and folders", "Output"


def config_names(incomplete: str) -> list[str]:
    """Names of configurations that a model can be trained by."""
    from kronos.datasets import configurations

    return [one.name for one in configurations(training=True) if one.name.startswith(incomplete.lower())]


def start_names(incomplete: str) -> list[str]:
    """Names of checkpoints to start from."""
    from kronos.zoo import list_checkpoints

    return [one.name for one in list_checkpoints() if one.name.startswith(incomplete.lower())]


Configs = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG", help="Names or paths of configurations.", autocompletion=config_names, show_default=False
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        help="Name or path of a configuration; the other options win over it.",
        show_default="finetune_csv",
        autocompletion=config_names,
        rich_help_panel=WHAT,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="A file or folder of candles, a prepared dataset, qlib:FOLDER:INSTRUMENTS.",
        show_default="the configuration's",
        rich_help_panel=WHAT,
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        help="Weights to start from: zoo name, hub id or folder.",
        show_default="the configuration's, kronos-nano",
        autocompletion=start_names,
        rich_help_panel=WHAT,
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        help="The tokenizer to train the model with.",
        show_default="the one that belongs to it",
        autocompletion=start_names,
        rich_help_panel=WHAT,
    ),
]
Scratch = Annotated[
    bool,
    typer.Option(
        "--from-scratch", help="New weights in the shape of --start, instead of its own.", rich_help_panel=WHAT
    ),
]
Splits = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Dates by market: market, validation_from, test_from.",
        show_default="the configuration's shares",
        rich_help_panel=WHAT,
    ),
]
Lookback = Annotated[
    int | None,
    typer.Option(min=2, help="Candles of history in a sample.", show_default="as configured", rich_help_panel=WHAT),
]
Predict = Annotated[
    int | None,
    typer.Option(min=1, help="Candles to predict in a sample.", show_default="as configured", rich_help_panel=WHAT),
]
Lora = Annotated[
    int | None,
    typer.Option(min=1, metavar="RANK", help="Train a few weights beside the model's own.", rich_help_panel=HOW),
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes at most.", rich_help_panel=HOW)]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps of a pass.", rich_help_panel=HOW)]
Minutes = Annotated[float | None, typer.Option(help="End after so many, the best weights kept.", rich_help_panel=HOW)]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Samples a step, of all processes.", rich_help_panel=HOW)]
LearningRate = Annotated[float | None, typer.Option(help="Its peak.", rich_help_panel=HOW)]
Patience = Annotated[
    int | None, typer.Option(min=1, help="Passes without improvement after which to stop.", rich_help_panel=HOW)
]
Seed = Annotated[int | None, typer.Option(min=0, help="Of samples, dropout and new weights.", rich_help_panel=HOW)]
Precision = Annotated[
    Literal["float32", "bfloat16", "auto"] | None,
    typer.Option(help="auto is bfloat16 where the hardware gains.", rich_help_panel=HOW),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="cpu, cuda, cuda:1 or mps (KRONOS_DEVICE).", show_default="the best there is", rich_help_panel=WHERE
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        help="A folder in which each model gets its own.", show_default="outputs/models", rich_help_panel=WHERE
    ),
]
Name = Annotated[
    str | None,
    typer.Option(help="What the model is called.", show_default="the data's, or as configured", rich_help_panel=WHERE),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume/--restart",
        help="Go on where an interrupted training was, or forget what it left.",
        rich_help_panel=WHERE,
    ),
]
Compare = Annotated[
    bool,
    typer.Option(
        "--compare/--no-compare",
        help="Whether to find out if it helped, on the untouched test part.",
        rich_help_panel=OUT,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done and what is wrong, and end.", rich_help_panel=OUT)
]
Mode = Annotated[ModeName, typer.Option(help="One after another, or side by side in processes.", rich_help_panel=WHERE)]
MaxWorkers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes side by side, at most.", show_default="one a core", rich_help_panel=WHERE),
]
Stage = Annotated[StageChoice, typer.Option(help="Which networks to train.", rich_help_panel=HOW)]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Keep what an earlier run has finished.", rich_help_panel=WHERE)
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Write events for TensorBoard too.", rich_help_panel=OUT)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.", rich_help_panel=OUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=OUT)]

"""``kronos train tokenizer``, ``kronos train model`` and ``kronos train run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kronos.cli import options
from kronos.cli.reading_options import ReadingArgs
from kronos.cli.train.arguments import TrainArgs, TrainOutputArgs, resolve_config, shared_overrides
from kronos.cli.train.runner import run_training
from kronos.errors import ParameterError

if TYPE_CHECKING:
    from kronos.datasets.config import StageName

Quality = Annotated[
    Literal["paper", "none"] | None,
    typer.Option(
        help="Candles to train on: those that pass the paper's filters, or all, in stretches of any length.",
        show_default="paper",
        rich_help_panel=options.DATA_PANEL,
    ),
]
MODEL_EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos train model --data btc_1h.csv   [dim](fine-tunes kronos-nano in minutes)[/dim]\n\n"
    "kronos train model --data btc_1h.csv --dry-run\n\n"
    "kronos train model --data data/candles --splits splits.csv --start kronos-small --lora 8\n\n"
    "kronos train model --data btc_1h.csv --start kronos-mini --from-scratch --epochs 50\n\n"
    "kronos train model --config finetune_csv --data btc_1h.csv --learning-rate 5e-5 --name btc\n\n"
    "torchrun --nproc-per-node 2 -m kronos train model --data btc_1h.csv   [dim](two processes)[/dim]\n\n"
    "kronos forecast btc_1h.csv --model outputs/models/btc_1h/model   [dim](afterwards)[/dim]"
)
TOKENIZER_EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos train tokenizer --data btc_1h.csv\n\n"
    "kronos train tokenizer --data data/candles --splits splits.csv --start kronos-tokenizer-base\n\n"
    "kronos train tokenizer --data data/candles --start kronos-tokenizer-2k --from-scratch --minutes 60\n\n"
    "kronos train tokenizer --config finetune_qlib_csi300\n\n"
    "torchrun --nproc-per-node 2 -m kronos train tokenizer --data btc_1h.csv   [dim](two processes)[/dim]\n\n"
    "kronos train model --data btc_1h.csv --tokenizer outputs/models/btc_1h/tokenizer --name btc   [dim](next)[/dim]"
)
RUN_EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos train run model_a_4h --dry-run\n\n"
    "kronos train run model_a_4h model_b_1d\n\n"
    "kronos train run model_a_4h model_b_1d --mode parallel --max-workers 2\n\n"
    "kronos train run mine.yaml --stage tokenizer\n\n"
    "kronos train run configs/a.yaml configs/b.yaml --skip-existing --output-dir /data/models --json"
)


def tokenizer(
    data: options.TrainingData = None,
    config: options.TrainingConfig = None,
    start: options.Start = None,
    from_scratch: options.FromScratch = False,
    splits: options.TrainingSplits = None,
    quality: Quality = None,
    interval: options.Interval = None,
    timezone: options.Timezone = None,
    column: options.Columns = None,
    decimal: options.Decimal = None,
    thousands: options.Thousands = None,
    date_format: options.DateFormat = None,
    header: options.Header = None,
    strict: options.Strict = False,
    lookback: options.TrainingLookback = None,
    predict: options.Predict = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    minutes: options.Minutes = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    patience: options.Patience = None,
    seed: options.TrainingSeed = None,
    precision: options.TrainingPrecision = None,
    device: options.Device = None,
    output: options.ModelsFolder = None,
    name: options.ModelName = None,
    resume: options.Resume = True,
    compare: options.Compare = True,
    dry_run: options.DryRun = False,
    tensorboard: options.TensorBoard = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a tokenizer, which turns candles into tokens and back.

    A model only works with the tokenizer it was trained with: train the model again afterwards.

    The latest candles are the test split, on which the tokenizer is compared with its initial weights.

    The same command continues an interrupted training run.
    """
    args = TrainArgs(
        config=config,
        data=data,
        splits=splits,
        quality=quality,
        lookback=lookback,
        predict=predict,
        start=start if from_scratch else None,
        tokenizer=None if from_scratch else start,
        from_scratch=from_scratch,
        epochs=epochs,
        steps=steps,
        minutes=minutes,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        seed=seed,
        precision=precision,
        device=device,
        output=output,
        name=name,
        reading=ReadingArgs(column or (), decimal, thousands, date_format, header, timezone),
        interval=interval,
    )
    output_args = TrainOutputArgs(json, quiet, dry_run, tensorboard)
    _train("tokenizer", args, output_args, restart=not resume, compare=compare, strict=strict)


def model(
    data: options.TrainingData = None,
    config: options.TrainingConfig = None,
    start: options.Start = None,
    tokenizer: options.TrainingTokenizer = None,
    from_scratch: options.FromScratch = False,
    splits: options.TrainingSplits = None,
    quality: Quality = None,
    interval: options.Interval = None,
    timezone: options.Timezone = None,
    column: options.Columns = None,
    decimal: options.Decimal = None,
    thousands: options.Thousands = None,
    date_format: options.DateFormat = None,
    header: options.Header = None,
    strict: options.Strict = False,
    lookback: options.TrainingLookback = None,
    predict: options.Predict = None,
    lora: options.Lora = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    minutes: options.Minutes = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    patience: options.Patience = None,
    seed: options.TrainingSeed = None,
    precision: options.TrainingPrecision = None,
    device: options.Device = None,
    output: options.ModelsFolder = None,
    name: options.ModelName = None,
    resume: options.Resume = True,
    compare: options.Compare = True,
    dry_run: options.DryRun = False,
    tensorboard: options.TensorBoard = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train or fine-tune a model, and measure whether it improved.

    The latest candles are the test split, on which the model is compared with its initial weights and naive baselines.

    The same command continues an interrupted training run.
    """
    args = TrainArgs(
        config=config,
        data=data,
        splits=splits,
        quality=quality,
        lookback=lookback,
        predict=predict,
        start=start,
        tokenizer=tokenizer,
        from_scratch=from_scratch,
        lora=lora,
        epochs=epochs,
        steps=steps,
        minutes=minutes,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        seed=seed,
        precision=precision,
        device=device,
        output=output,
        name=name,
        reading=ReadingArgs(column or (), decimal, thousands, date_format, header, timezone),
        interval=interval,
    )
    output_args = TrainOutputArgs(json, quiet, dry_run, tensorboard)
    _train("model", args, output_args, restart=not resume, compare=compare, strict=strict)


def _train(
    stage: StageName, args: TrainArgs, output: TrainOutputArgs, *, restart: bool, compare: bool, strict: bool
) -> None:
    from kronos.training.runner import RunOptions

    run_options = RunOptions(restart=restart, compare=compare, strict=strict)
    run_training([resolve_config(stage, args)], [stage], run_options, output)


def run(
    configs: options.Configs,
    stage: options.Stage = "all",
    mode: options.Mode = "sequential",
    max_workers: options.MaxWorkers = None,
    output_dir: options.ModelsFolder = None,
    device: options.Device = None,
    skip_existing: options.SkipExisting = False,
    resume: options.Resume = True,
    compare: options.Compare = True,
    strict: options.Strict = False,
    dry_run: options.DryRun = False,
    tensorboard: options.TensorBoard = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train the networks of configurations: for each, the tokenizer and then the model.

    Everything is checked before the first step; a training that fails later does not stop the others.

    Ctrl-C saves the state; the same command continues from it.
    """
    from kronos.training.config import load_config
    from kronos.training.runner import RunOptions

    if tensorboard and mode == "parallel":
        raise ParameterError("--tensorboard needs --mode sequential; leave out --tensorboard or --mode parallel.")
    overrides = shared_overrides(output_dir, device)
    loaded = [load_config(name).changed(overrides) for name in dict.fromkeys(configs)]
    stages: list[StageName] = ["tokenizer", "model"] if stage == "all" else [stage]
    run_options = RunOptions(
        mode, max_workers, skip_existing=skip_existing, restart=not resume, compare=compare, strict=strict
    )
    run_training(loaded, stages, run_options, TrainOutputArgs(json, quiet, dry_run, tensorboard))

"""``kronos train tokenizer`` and ``kronos train model``: one network, from options or a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kronos.cli.train import options as ask
from kronos.cli.train.arguments import Data, Effort, Place, TrainArgs, Weights, resolve
from kronos.cli.train.runner import TrainOutputArgs, run_training
from kronos.errors import ParameterError

if TYPE_CHECKING:
    from kronos.datasets.config import StageName

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


def tokenizer(
    data: ask.Data = None,
    config: ask.Config = None,
    start: ask.Start = None,
    from_scratch: ask.Scratch = False,
    splits: ask.Splits = None,
    lookback: ask.Lookback = None,
    predict: ask.Predict = None,
    epochs: ask.Epochs = None,
    steps: ask.Steps = None,
    minutes: ask.Minutes = None,
    batch_size: ask.BatchSize = None,
    learning_rate: ask.LearningRate = None,
    patience: ask.Patience = None,
    seed: ask.Seed = None,
    precision: ask.Precision = None,
    device: ask.Device = None,
    output: ask.Output = None,
    name: ask.Name = None,
    resume: ask.Resume = True,
    compare: ask.Compare = True,
    dry_run: ask.DryRun = False,
    tensorboard: ask.TensorBoard = False,
    json: ask.Json = False,
    quiet: ask.Quiet = False,
) -> None:
    """Train a tokenizer: how candles become tokens, and tokens candles.

    A model reads the tokens of the tokenizer it was trained with, so it has to be trained again afterwards.

    The latest part of the candles is kept to compare the tokenizer on with what it started from.

    The same command goes on where an interrupted one was.
    """
    weights = Weights(tokenizer=start, scratch=from_scratch)
    if from_scratch:
        weights = Weights(start=start, scratch=True)
    effort = Effort(epochs, steps, minutes, batch_size, learning_rate, patience, seed, precision, device)
    asked = TrainArgs(config, weights, Data(data, splits, lookback, predict), effort, Place(name, output))
    _train("tokenizer", asked, TrainOutputArgs(json, quiet, dry_run, tensorboard), resume=resume, compare=compare)


def model(
    data: ask.Data = None,
    config: ask.Config = None,
    start: ask.Start = None,
    tokenizer: ask.Tokenizer = None,
    from_scratch: ask.Scratch = False,
    splits: ask.Splits = None,
    lookback: ask.Lookback = None,
    predict: ask.Predict = None,
    lora: ask.Lora = None,
    epochs: ask.Epochs = None,
    steps: ask.Steps = None,
    minutes: ask.Minutes = None,
    batch_size: ask.BatchSize = None,
    learning_rate: ask.LearningRate = None,
    patience: ask.Patience = None,
    seed: ask.Seed = None,
    precision: ask.Precision = None,
    device: ask.Device = None,
    output: ask.Output = None,
    name: ask.Name = None,
    resume: ask.Resume = True,
    compare: ask.Compare = True,
    dry_run: ask.DryRun = False,
    tensorboard: ask.TensorBoard = False,
    json: ask.Json = False,
    quiet: ask.Quiet = False,
) -> None:
    """Train a model, or fine-tune one, and say whether it helped.

    The latest part of the candles is kept for the comparison with what the model started from and with naive baselines.

    The same command goes on where an interrupted one was.
    """
    effort = Effort(epochs, steps, minutes, batch_size, learning_rate, patience, seed, precision, device)
    asked = TrainArgs(
        config,
        Weights(start, tokenizer, from_scratch, lora),
        Data(data, splits, lookback, predict),
        effort,
        Place(name, output),
    )
    _train("model", asked, TrainOutputArgs(json, quiet, dry_run, tensorboard), resume=resume, compare=compare)


def _train(stage: StageName, asked: TrainArgs, telling: TrainOutputArgs, *, resume: bool, compare: bool) -> None:
    from kronos.training.runner import RunOptions

    run_training([resolve(stage, asked)], [stage], RunOptions(restart=not resume, compare=compare), telling)


EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos train run model_a_4h --dry-run\n\n"
    "kronos train run model_a_4h model_b_1d\n\n"
    "kronos train run model_a_4h model_b_1d --mode parallel --max-workers 2\n\n"
    "kronos train run mine.yaml --stage tokenizer\n\n"
    "kronos train run configs/a.yaml configs/b.yaml --skip-existing --output-dir /data/models --json"
)


def run(
    configs: ask.Configs,
    stage: ask.Stage = "all",
    mode: ask.Mode = "sequential",
    max_workers: ask.MaxWorkers = None,
    output_dir: ask.Output = None,
    device: ask.Device = None,
    skip_existing: ask.SkipExisting = False,
    resume: ask.Resume = True,
    compare: ask.Compare = True,
    dry_run: ask.DryRun = False,
    tensorboard: ask.TensorBoard = False,
    json: ask.Json = False,
    quiet: ask.Quiet = False,
) -> None:
    """Train what configurations say: the tokenizer, then the model that needs it, of one after another.

    Everything is looked at before the first step; one that fails later does not stop the others.

    Ctrl-C ends it at a state that the same command goes on from.
    """
    from kronos.cli.train.arguments import everywhere
    from kronos.training.config import load_config
    from kronos.training.runner import RunOptions

    if tensorboard and mode == "parallel":
        raise ParameterError("--tensorboard listens to trainings in this process; leave it or --mode parallel out.")
    changes = everywhere(output_dir, device)
    loaded = [load_config(name).changed(changes) for name in dict.fromkeys(configs)]
    wanted: list[StageName] = ["tokenizer", "model"] if stage == "all" else [stage]
    how = RunOptions(mode, max_workers, skip_existing=skip_existing, restart=not resume, compare=compare)
    run_training(loaded, wanted, how, TrainOutputArgs(json, quiet, dry_run, tensorboard))

"""``kronos train run``: several configurations, one after another or side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kronos.cli.train import options as ask
from kronos.cli.train.doing import Telling, do
from kronos.errors import ParameterError

if TYPE_CHECKING:
    from kronos.datasets.recipes import StageName

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
    from kronos.cli.train.asking import everywhere
    from kronos.training.config import load_config
    from kronos.training.running import How

    if tensorboard and mode == "parallel":
        raise ParameterError("--tensorboard listens to trainings in this process; leave it or --mode parallel out.")
    changes = everywhere(output_dir, device)
    loaded = [load_config(name).changed(changes) for name in dict.fromkeys(configs)]
    wanted: list[StageName] = ["tokenizer", "model"] if stage == "all" else [stage]
    how = How(mode, max_workers, skip_existing=skip_existing, restart=not resume, compare=compare)
    do(loaded, wanted, how, Telling(json, quiet, dry_run, tensorboard))

"""``kronos pipeline``: from a configuration to an evaluated model: prepare, train, evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kronos.cli.console import print_json
from kronos.cli.errors import status_of
from kronos.cli.train import options as ask
from kronos.errors import KronosError, ParameterError

if TYPE_CHECKING:
    from kronos.datasets import DatasetConfig
    from kronos.settings import Settings
    from kronos.training.config import TrainConfig
    from kronos.training.runner import StageResult

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos pipeline model_a_4h\n\n"
    "kronos pipeline model_a_4h model_b_1d --skip-existing\n\n"
    "kronos pipeline model_a_4h --source simulated   [dim](no network; says nothing about markets)[/dim]\n\n"
    "kronos pipeline model_a_4h --source files:data/candles --output-dir /data/models\n\n"
    "kronos pipeline model_a_4h --dry-run"
)
_STEPS = ("prepare", "train", "evaluate")
_EVALUATION = "evaluation"


@dataclass
class PipelineRun:
    """How far one configuration has come.

    Attributes:
        name: Of the model.
        config: How to train.
        dataset: What to prepare first; None where the candles are there.
        done: What became of each step: ``done``, ``kept``, ``skipped`` or ``failed``.
        error: What it ended with.
        outcomes: Of its networks.
    """

    name: str
    config: TrainConfig
    dataset: DatasetConfig | None
    done: dict[str, str] = field(default_factory=dict)
    error: KronosError | None = None
    outcomes: tuple[StageResult, ...] = ()

    @property
    def evaluation(self) -> Path:
        """The folder of its evaluation."""
        return self.config.folder / _EVALUATION

    def document(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        evaluated = self.done.get("evaluate") in ("done", "kept")
        return {
            "model_name": self.name,
            "folder": str(self.config.folder),
            "steps": {step: self.done.get(step, "skipped") for step in _STEPS},
            "error": None if self.error is None else str(self.error),
            "stages": [one.to_dict() for one in self.outcomes],
            "evaluation": str(self.evaluation / "evaluation.json") if evaluated else None,
        }


@dataclass(frozen=True)
class PipelineArgs:
    """What options say."""

    skip_existing: bool
    source: str | None
    most: int
    samples: int
    telling: Any


def pipeline(
    configs: ask.Configs,
    source: Annotated[
        str | None,
        typer.Option(
            help="Where candles come from instead: files:FOLDER, simulated, an exchange (KRONOS_SOURCE).",
            show_default="the configuration's",
            rich_help_panel=ask.WHAT,
        ),
    ] = None,
    most: Annotated[
        int, typer.Option(min=1, metavar="N", help="Origins of the evaluation at most.", rich_help_panel=ask.HOW)
    ] = 300,
    samples: Annotated[int, typer.Option(min=2, help="Paths of each of its forecasts.", rich_help_panel=ask.HOW)] = 50,
    device: ask.Device = None,
    output_dir: ask.Output = None,
    skip_existing: ask.SkipExisting = False,
    dry_run: ask.DryRun = False,
    json: ask.Json = False,
    quiet: ask.Quiet = False,
) -> None:
    """Prepare a dataset, train on it, and evaluate the model on its test part, for each configuration.

    A configuration that fails does not stop the others.

    The same command goes on where an interrupted one was; with [bold]--skip-existing[/bold] whatever is done is kept.
    """
    from kronos.cli.train.runner import TrainOutputArgs

    ways = _ways(configs, device, output_dir)
    how = PipelineArgs(skip_existing, source, most, samples, TrainOutputArgs(json, quiet))
    if dry_run:
        _show_plan(ways, how, json=json)
        return
    for way in ways:
        _go(way, how)
    if json:
        print_json({"kind": "kronos pipeline", "models": [way.document() for way in ways]})
    _end(ways)


def _ways(configs: Sequence[str], device: str | None, output: Path | None) -> list[PipelineRun]:
    from kronos.cli.train.arguments import everywhere
    from kronos.training.config import load_both

    changes = everywhere(output, device)
    ways = []
    for name in dict.fromkeys(configs):
        config, dataset = load_both(name)
        changed = config.changed(changes)
        if changed.data.startswith("qlib:") and "model" in changed.stages:
            raise ParameterError(
                f"{changed.model_name}: a Qlib folder cannot be evaluated as files can; 'kronos train run {name}' "
                f"trains on it, and compares on its test part."
            )
        ways.append(PipelineRun(changed.model_name, changed, dataset))
    twice = next((one for one in ways if sum(other.config.folder == one.config.folder for other in ways) > 1), None)
    if twice is not None:
        raise ParameterError(f"Two configurations would share {twice.config.folder}; give one another model_name.")
    return ways


def _go(way: PipelineRun, how: PipelineArgs) -> None:
    """Take one configuration as far as it comes."""
    for step, act in zip(_STEPS, (_prepare, _train, _evaluate), strict=True):
        try:
            way.done[step] = act(way, how)
        except KronosError as error:
            way.done[step], way.error = "failed", error
            return
        if way.done[step] == "failed":
            return


def _settings(how: PipelineArgs) -> Settings:
    from kronos.settings import get_settings

    return get_settings({"source": how.source})


def _prepare(way: PipelineRun, how: PipelineArgs) -> str:
    """Make the dataset; one that is there is kept, as a training may have begun on it."""
    from kronos.cli.console import progress_bar
    from kronos.cli.data.fetch import log_to_stderr
    from kronos.cli.data.prepare_view import show_dataset
    from kronos.datasets import prepare
    from kronos.datasets.discovery import is_dataset
    from kronos.sources import open_source

    if way.dataset is None:
        return "kept"
    place = Path(way.config.data)
    settings = _settings(how)
    if is_dataset(place):
        return "kept"
    config = way.dataset.changed(source=settings.source, records=settings.records_per_tf)
    wanted = how.telling.shown
    with log_to_stderr(verbose=False), progress_bar(f"{way.name}: candles", wanted=wanted) as bar:
        source = open_source(config.source, settings=settings, progress=bar)
        made = prepare(config, source, folder=place)
    if wanted:
        show_dataset(made, verbose=False)
    return "done"


def _train(way: PipelineRun, how: PipelineArgs) -> str:
    """Train its networks.

    Raises:
        KronosError: If something is wrong before the first step.
        typer.Exit: If it was interrupted.
    """
    from kronos.cli.train.runner import train
    from kronos.training.runner import RunOptions

    way.outcomes = tuple(
        train([way.config], way.config.stages, RunOptions(skip_existing=how.skip_existing), how.telling).outcomes
    )
    bad = next((one for one in way.outcomes if not one.good), None)
    if bad is not None:
        way.error = bad.error or ParameterError(f"{bad.stage}: {bad.reason}")
        return "failed"
    return "kept" if all(one.state == "kept" for one in way.outcomes) else "done"


def _evaluate(way: PipelineRun, how: PipelineArgs) -> str:
    """Forecast the test part with the model, beside all baselines."""
    from kronos.cli import evaluate
    from kronos.cli.evaluate_view import show
    from kronos.cli.evaluation_arguments import ContenderModelArgs, DateArgs, InputArgs, OriginArgs, RunArgs
    from kronos.cli.model_loading import SamplingArgs

    if "model" not in way.config.stages:
        return "skipped"
    done, model = way.evaluation / "evaluation.json", way.config.folder / "model"
    weights = model / "model.safetensors"
    if how.skip_existing and done.is_file() and done.stat().st_mtime >= weights.stat().st_mtime:
        return "kept"
    horizon, quiet = way.config.windows.predict, not how.telling.shown
    settings = way.config.settings("model")
    sampling = SamplingArgs(horizon, how.samples, 1, "default", None, None, None, None)
    result = evaluate.run(
        evaluate.EvaluateArgs(
            InputArgs((way.config.data,), None, None, None, False),
            DateArgs(_test_from(way.config), None, None, way.config.split.file),
            OriginArgs(horizon, None, None, how.most),
            ContenderModelArgs((str(model),), None, sampling, settings.device, None),
            evaluate.ContenderArgs((), "historical-volatility", False, ()),
            RunArgs(how.samples, 1, None, way.evaluation, False),
            evaluate.EvaluationOutputArgs(None, False, False, quiet),
        )
    )
    if not quiet:
        show(result, verbose=False)
    return "done"


def _test_from(config: TrainConfig) -> str | None:
    """When the test part begins; None where the file of a split, or a prepared dataset, tells `kronos evaluate`."""
    from kronos.datasets.config import Split
    from kronos.training.plan import open_data

    data = open_data(config)
    if not isinstance(data.split, Split):
        return None
    return max(one.test for one in data.cuts.values()).isoformat()


def _show_plan(ways: Sequence[PipelineRun], how: PipelineArgs, *, json: bool) -> None:
    """Say of each configuration what would be done, step by step."""
    from kronos.cli.console import Column, page, table, width
    from kronos.datasets.discovery import is_dataset
    from kronos.training.run_folder import is_done

    rows = []
    for way in ways:
        there = way.dataset is None or is_dataset(Path(way.config.data))
        trained = all(is_done(way.config.folder, stage) for stage in way.config.stages)
        evaluated = (way.evaluation / "evaluation.json").is_file()
        source = how.source or (way.dataset.source if way.dataset is not None else "")
        rows.append(
            {
                "model_name": way.name,
                "data": way.config.data,
                "prepare": "is there" if there else f"from {source}",
                "train": "is done" if trained else " and ".join(way.config.stages),
                "evaluate": "is done" if evaluated and how.skip_existing else f"at most {how.most:,} origins",
                "folder": str(way.config.folder),
            }
        )
    if json:
        print_json({"kind": "kronos pipeline plan", "dry_run": True, "models": rows})
        return
    page(
        table(*(Column(name, [row[name] for row in rows]) for name in ("model_name", *_STEPS)), width=width()),
        "",
        "Nothing was fetched, trained or written; 'kronos train run … --dry-run' tells more once candles are there.",
    )


def _end(ways: Sequence[PipelineRun]) -> None:
    """Say what failed, and end with the status of the worst.

    Raises:
        typer.Exit: If anything failed.
    """
    failed = [(way, way.error) for way in ways if way.error is not None]
    for way, error in failed:
        step = next(step for step in reversed(_STEPS) if step in way.done)
        typer.echo(f"Error: {way.name}, {step}: {' '.join(str(error).split())}", err=True)
    if failed:
        raise typer.Exit(1 if len(ways) > 1 else max(status_of(error) for _, error in failed))

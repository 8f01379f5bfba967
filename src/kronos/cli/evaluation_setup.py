"""The arguments, model loading and progress that `kronos evaluate` and `kronos calibrate` share."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Self

import typer

from kronos.cli.console import spinner, stderr
from kronos.cli.engine_options import LOCAL, EngineArgs
from kronos.cli.errors import INTERRUPTED
from kronos.cli.files import check_folder, check_not_read
from kronos.cli.model_loading import ModelArgs, SamplingArgs, model_files
from kronos.cli.options import PrecisionName, QualityName, SplitName
from kronos.cli.reading_options import ReadingArgs
from kronos.errors import ParameterError
from kronos.formatting import to_json, unique_name
from kronos.progress import ProgressCallback, progress_bar

if TYPE_CHECKING:
    from kronos.engines import Engine
    from kronos.evaluation import (
        Evaluation,
        EvaluationSetup,
        LoadedInstruments,
        ModelForecaster,
        Plan,
        RollingOrigins,
        RollingSettings,
    )
    from kronos.inference import KronosPredictor, SamplingParams

DIGEST = 8  # hexadecimal characters of a digest in a folder's name
_NAME = 60  # characters of the candles' name in it


@dataclass(frozen=True, kw_only=True)
class EvaluationRunArgs:
    """Candles, dates, origins, models and forecasts of a run; the defaults are those of `kronos evaluate`.

    Attributes:
        paths: Candle files, folders of them, prepared datasets.
        market: Market of all series; None to infer it.
        interval: Candle interval of all files; None to infer it.
        timezone: Time zone of all files.
        reading: How all files are written.
        strict: Whether a file that cannot be read is an error.
        quality: Whether origins with price jumps or flat stretches are left out.
        start: First time to forecast.
        end: End of the times to forecast, exclusive.
        split: Split to use; None for the test split, if there is one.
        splits: File with split dates by market; None for the ``splits.csv`` in the candles' folder.
        horizon: Candles to forecast.
        stride: Candles between origins; None for the horizon.
        lookback: Candles of history per forecast; None for the model's maximum.
        max_origins: Maximum number of origins per market and interval.
        models: Zoo names, hub ids or folders; empty for ``KRONOS_MODEL`` or the bundled model.
        tokenizer: Another tokenizer than the models' own.
        device: Device such as ``cpu`` or ``cuda:1``.
        precision: ``exact`` or ``fast``.
        samples: Number of sample paths.
        seed: Random seed.
        preset: Sampling preset.
        temperature: Sampling temperature.
        top_p: Total probability of the tokens to sample from.
        top_k: Number of tokens to sample from.
        engine: Where the forecasts are computed.
        output: Folder for results and for the forecasts of the run; None for one in ``parent`` that is named by the
            candles and a digest of the plan.
        parent: Folder of the output folders that are named by their plans.
        run_name: Name of the run's folder in the output folder; None for ``run-`` and a digest of the plan, so that
            every plan has its own.
        restart: Whether to discard the forecasts of an earlier run.
        local: Whether to refuse models that would have to be downloaded.
        quiet: Whether to show no progress.
    """

    paths: tuple[str, ...]
    market: str | None = None
    interval: str | None = None
    timezone: str | None = None
    reading: ReadingArgs = field(default_factory=ReadingArgs)
    strict: bool = False
    quality: QualityName = "paper"
    start: str | None = None
    end: str | None = None
    split: SplitName | None = None
    splits: Path | None = None
    horizon: int = 24
    stride: int | None = None
    lookback: int | None = None
    max_origins: int | None = None
    models: tuple[str, ...] = ()
    tokenizer: str | None = None
    device: str | None = None
    precision: PrecisionName | None = None
    samples: int = 50
    seed: int = 1
    preset: str = "default"
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    engine: EngineArgs = LOCAL
    output: Path | None = None
    parent: Path = Path("out") / "evaluation"
    run_name: str | None = "run"
    restart: bool = False
    local: bool = False
    quiet: bool = False

    @property
    def folder(self) -> Path:
        """Folder for results; known once `with_run_folder` has named it."""
        assert self.output is not None
        return self.output

    @property
    def run_folder(self) -> Path:
        """Folder for the forecasts of the run; known once `with_run_folder` has named it."""
        assert self.run_name is not None
        return self.folder / self.run_name

    def with_run_folder(self, plan: Plan, models: Sequence[LoadedModel]) -> Self:
        """Return the arguments with all folders named: equal plans have equal names, others have others.

        Args:
            plan: The origins.
            models: The models; calibrations share the forecasts of their model.
        """
        key = [plan.digest(), self.samples, self.seed, *sorted(to_json(one.forecaster.identity()) for one in models)]
        digest = hashlib.sha256(to_json(key).encode()).hexdigest()[:DIGEST]
        output = self.output or self.parent / f"{source_name(self.paths)}-{digest}"
        return replace(self, output=output, run_name=self.run_name or f"run-{digest}")

    def rolling(self) -> RollingOrigins:
        """Return how to select origins."""
        from kronos.evaluation import RollingOrigins

        return RollingOrigins(self.horizon, stride=self.stride, lookback=self.lookback, max_origins=self.max_origins)

    def rolling_settings(self) -> RollingSettings:
        """Return samples and seed."""
        from kronos.evaluation import RollingSettings

        return RollingSettings(self.samples, self.seed)

    def check(self) -> None:
        """Check the options that can be checked without reading a file.

        Raises:
            ParameterError: If options contradict each other, or a time cannot be parsed.
        """
        from kronos.cli.data.fetch import parse_time

        if (self.start or self.end) and (self.split or self.splits):
            raise ParameterError("--from and --to cannot be combined with --split or --splits: leave out one of them.")
        parse_time(self.start, "--from")
        parse_time(self.end, "--to")

    def check_outputs(self, option: str, outputs: Sequence[Path], data: LoadedInstruments) -> None:
        """Check that no output replaces a file that the command reads.

        Args:
            option: The option that names the outputs.
            outputs: The files to write.
            data: The candles read.

        Raises:
            ParameterError: If one does.
        """
        from kronos.datasets.discovery import list_sources
        from kronos.datasets.readers import is_qlib
        from kronos.datasets.splits import PARTS

        ignored = {*data.passed_over, *(file.path for file in data.unreadable)}
        read = [*filter(None, [self.splits])]
        files = [path for path in self.paths if not is_qlib(path)]
        for source in list_sources(files) if files else ():
            if source.dataset is not None:
                read += [source.dataset.path(part) for part in PARTS]
            elif source.path not in ignored:
                read.append(source.path)
        for ref in (*self.models, self.tokenizer):
            read += model_files(ref)
        check_not_read(option, outputs, read)

    def prepare_output(self) -> None:
        """Check that the output can be a folder, and discard an earlier run with ``--restart``.

        Raises:
            StorageError: If the earlier run cannot be removed.
            ParameterError: If the output is a file, or the folder contains something else than a run.
        """
        check_folder("--output", self.folder)
        if self.restart:
            from kronos.evaluation.rolling import discard_run

            discard_run(self.run_folder)


def source_name(paths: Sequence[str]) -> str:
    """A short folder name for candles: ``btc_1h``, or ``btc_1h-and-2-more``."""
    name = re.sub(r"[^\w.+-]+", "-", PurePath(os.path.abspath(paths[0])).stem).strip("-.")[:_NAME]  # noqa: PTH100 (no links)
    return f"{name or 'candles'}-and-{len(paths) - 1}-more" if len(paths) > 1 else name or "candles"


@dataclass(frozen=True)
class LoadedModel:
    """A model of an evaluation.

    Attributes:
        name: Unique name in tables.
        predictor: The model.
        sampling: Its sampling parameters.
        forecaster: The model as a forecaster.
    """

    name: str
    predictor: KronosPredictor
    sampling: SamplingParams
    forecaster: ModelForecaster


@dataclass(frozen=True)
class EvaluationResult:
    """An evaluation with its data and the files written.

    Attributes:
        evaluation: Scores, figures, verdicts, warnings.
        setup: The data and dates.
        files: The report, the document and the scores.
    """

    evaluation: Evaluation
    setup: EvaluationSetup
    files: tuple[Path, ...]


def prepare(args: EvaluationRunArgs) -> tuple[EvaluationSetup, list[LoadedModel]]:
    """Read the candles, select dates and origins, and load the models.

    Raises:
        KronosError: If anything is invalid. Candles and given dates are checked before a model is downloaded.
    """
    from kronos.evaluation import prepare_evaluation

    models: list[LoadedModel] = []
    with ExitStack() as reading:

        def load() -> list[KronosPredictor]:
            reading.close()  # one progress display at a time
            models.extend(load_models(args))
            return [model.predictor for model in models]

        setup = prepare_evaluation(
            args.paths,
            args.rolling(),
            predictors=load,
            start=args.start,
            end=args.end,
            split=args.split,
            splits=args.splits,
            market=args.market,
            interval=args.interval,
            timezone=args.timezone,
            reading=args.reading.options(),
            strict=args.strict,
            quality=args.quality,
            progress=reading.enter_context(progress_bar("Reading", enabled=not args.quiet)),
        )
    return setup, models


def load_models(args: EvaluationRunArgs) -> list[LoadedModel]:
    """Load the models, each with a unique name.

    Raises:
        KronosError: If an option is invalid, or weights are not available.
    """
    from kronos.baselines import BASELINES
    from kronos.cli.model_loading import choose, load, sampling_params

    shown = not args.quiet
    choices = [
        choose(ModelArgs(ref, args.tokenizer, args.device, args.precision, None)) for ref in args.models or (None,)
    ]
    if args.local:
        choices = [replace(choice, settings=choice.settings.model_copy(update={"offline": True})) for choice in choices]
    with spinner("Loading", enabled=shown):
        sampling = sampling_params(
            SamplingArgs(
                args.horizon,
                args.samples,
                args.seed,
                args.preset,
                args.temperature,
                args.top_p,
                args.top_k,
                args.lookback,
            )
        )
        from kronos.evaluation import ModelForecaster
    names = set(BASELINES)
    models = []
    for choice in choices:
        if shown and choice.announcement:
            stderr().print(choice.announcement, style="dim", markup=False)
        name = unique_name(choice.entry.name if choice.entry else choice.title, names)
        names.add(name)
        predictor = load(choice, show_progress=shown)
        models.append(LoadedModel(name, predictor, sampling, ModelForecaster(predictor, name, sampling=sampling)))
    return models


def engine_for(args: EvaluationRunArgs, models: Sequence[LoadedModel]) -> Engine:
    """Return the engine that computes the forecasts.

    Raises:
        ParameterError: If several processes would share a GPU, or Ray is not installed.
    """
    from kronos.settings import get_settings

    return args.engine.open({model.name: model.predictor for model in models}, threads=get_settings().threads)


@contextmanager
def evaluation_progress(args: EvaluationRunArgs, title: str, *, next_title: str) -> Iterator[ProgressCallback]:
    """Show the progress of a run, report forecasts of an earlier one, and exit cleanly at Ctrl-C.

    Args:
        args: The run.
        title: Title of the progress bar.
        next_title: Title once all forecasts are done.

    Yields:
        The progress callback.

    Raises:
        typer.Exit: With status 130 at Ctrl-C.
    """
    from kronos.cli.model_loading import threads
    from kronos.settings import get_settings

    with (
        threads(get_settings().threads),
        resumable_progress(
            title, args.run_folder, restarted=args.restart, shown=not args.quiet, next_title=next_title
        ) as progress,
    ):
        yield progress


@contextmanager
def resumable_progress(
    title: str, folder: str | PurePath, *, restarted: bool, shown: bool, next_title: str | None = None
) -> Iterator[ProgressCallback]:
    """Show the progress of forecasts that are stored, report those of an earlier run, and exit cleanly at Ctrl-C.

    Args:
        title: Title of the progress bar.
        folder: Where the forecasts are stored.
        restarted: Whether the command has ``--restart``, which a command that resumes must not have.
        shown: Whether to show anything.
        next_title: Title once all forecasts are done.

    Yields:
        The progress callback.

    Raises:
        typer.Exit: With status 130 at Ctrl-C.
    """
    first = True
    try:
        with progress_bar(title, enabled=shown, show_remaining=True, next_title=next_title) as bar:

            def progress(done: int, total: int) -> None:
                nonlocal first
                if first and shown and done:
                    note = f"{done:,} of {total:,} forecasts found in {folder}."
                    stderr().print(note, style="dim", markup=False)
                first = False
                if bar is not None:
                    bar(done, total)

            yield progress
    except KeyboardInterrupt:
        command = "the same command without --restart" if restarted else "the same command"
        typer.echo(f"Stopped. Finished forecasts are in {folder}; {command} resumes the run.", err=True)
        raise typer.Exit(INTERRUPTED) from None

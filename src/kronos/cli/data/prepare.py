"""``kronos data prepare``: build training datasets from configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from kronos.cli import options
from kronos.cli.data.prepare_view import PrepareJob
from kronos.cli.reading_options import ReadingArgs
from kronos.errors import KronosError, ParameterError

if TYPE_CHECKING:
    from kronos.candles import ReadOptions
    from kronos.datasets import PreparedDataset
    from kronos.settings import Settings

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos data prepare --list-configs\n\n"
    "kronos data prepare --config model_a_4h --dry-run\n\n"
    "kronos data prepare --config model_a_4h model_b_1d\n\n"
    "kronos data prepare --config model_a_4h --timeframes 4H 1D --records-per-timeframe 3000 --force\n\n"
    "kronos data prepare --config mine.yaml --source binance --output-dir /data/kronos\n\n"
    "kronos data prepare --config model_a_4h --source replay:data/simulated   [dim](no network)[/dim]"
)


class MultiValueCommand(TyperCommand):
    """A command without arguments whose repeatable options take every word up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after repeating an option's name before each further value of it."""
        repeatable = {name for param in self.params if getattr(param, "multiple", False) for name in param.opts}
        return super().parse_args(ctx, _repeat_options(args, repeatable))


def _repeat_options(args: list[str], repeatable: set[str]) -> list[str]:
    """Expand ``["--a", "1", "2", "--b"]`` to ``["--a", "1", "--a", "2", "--b"]`` if ``--a`` is repeatable."""
    result: list[str] = []
    option, values = "", 0
    for arg in args:
        name, equals, _ = arg.partition("=")
        if arg.startswith("-") and arg != "-":
            option, values = (name if name in repeatable else ""), int(bool(equals))
            result.append(arg)
            continue
        if option and values:
            result.append(option)
        values += 1
        result.append(arg)
    return result


@dataclass(frozen=True)
class PrepareArgs:
    """How to prepare datasets.

    Attributes:
        force: Whether to replace existing datasets.
        formats: File formats to write besides the dataset itself.
        json: Whether stdout gets one JSON document.
        verbose: Whether to list all findings.
        reading: How the files of the source ``files:FOLDER`` are written; None to infer it.
    """

    force: bool
    formats: tuple[str, ...]
    json: bool
    verbose: bool
    reading: ReadOptions | None = None


def prepare(
    config: options.DatasetConfigs = None,
    list_configs: options.ListConfigs = False,
    dry_run: options.DryRun = False,
    timeframes: options.Timeframes = None,
    records_per_timeframe: options.RecordsPerTimeframe = None,
    source: options.ConfiguredSource = None,
    timezone: options.Timezone = None,
    column: options.Columns = None,
    decimal: options.Decimal = None,
    thousands: options.Thousands = None,
    date_format: options.DateFormat = None,
    header: options.Header = None,
    output_dir: options.DatasetsFolder = None,
    store: options.StoreFolder = None,
    force: options.ReplaceDataset = False,
    format_: options.DatasetFormats = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Prepare training datasets from configurations: fetch, check, filter, split by time, store.

    Downloads are cached: an interrupted run continues where it stopped.

    Options override environment variables, which override the configuration.

    The options of reading say how the files of the source files:FOLDER are written.

    Public market data needs no keys; OKX_API_KEY and the like are used when set.
    """
    from kronos.cli.data import prepare_view as view

    if list_configs:
        view.show_configs(json=json)
        return
    if not config:
        raise ParameterError("Missing --config NAME; --list-configs lists the configurations.")
    from kronos.settings import get_settings
    from kronos.sources import check_source

    reading = ReadingArgs(column or (), decimal, thousands, date_format, header, timezone).given()
    settings = get_settings(
        {"source": source, "output_dir": output_dir, "store_dir": store, "records_per_tf": records_per_timeframe}
    )
    jobs = _load_jobs(config, timeframes, settings)
    if dry_run:
        for job in jobs:
            check_source(job.config.source, settings)
        view.show_plan(jobs, settings, force=force, json=json)
        return
    _run(jobs, settings, PrepareArgs(force, tuple(format_ or ("parquet",)), json, verbose, reading))


def _load_jobs(names: list[str], timeframes: list[str] | None, settings: Settings) -> list[PrepareJob]:
    """Load configurations and apply options and environment variables.

    Raises:
        ParameterError: If a configuration is missing or invalid, or two share a folder.
    """
    from kronos.datasets import load_config
    from kronos.datasets.preparation import check_distinct_folders
    from kronos.intervals import split_timeframes

    texts = timeframes or ([settings.timeframes] if settings.timeframes else None)
    overrides = None if texts is None else [timeframe for text in texts for timeframe in split_timeframes(text)]
    jobs = []
    for name in dict.fromkeys(names):
        config = load_config(name).changed(
            timeframes=overrides, records=settings.records_per_tf, source=settings.source
        )
        jobs.append(PrepareJob(config, config.folder(settings.output_dir)))
    check_distinct_folders([(job.config.model_name, job.folder) for job in jobs])
    return jobs


def _run(jobs: list[PrepareJob], settings: Settings, args: PrepareArgs) -> None:
    """Prepare the datasets one by one; a failed one does not stop the others, but the command fails at the end."""
    from kronos.cli.console import log_to_stderr
    from kronos.cli.data import prepare_view as view
    from kronos.cli.errors import report_failures
    from kronos.datasets.preparation import check_formats, check_output_folder

    check_formats(args.formats)
    for job in jobs:
        check_output_folder(job.folder, force=args.force)
    prepared: list[PreparedDataset] = []
    failed: list[tuple[str, KronosError]] = []
    with log_to_stderr(verbose=args.verbose):
        for job in jobs:
            try:
                prepared.append(_prepare(job, settings, args))
            except KronosError as error:
                if len(jobs) == 1:
                    raise
                failed.append((job.config.model_name, error))
            else:
                if not args.json:
                    view.show_dataset(prepared[-1], verbose=args.verbose)
    if args.json:
        view.print_datasets(prepared, failed)
    report_failures(failed)


def _prepare(job: PrepareJob, settings: Settings, args: PrepareArgs) -> PreparedDataset:
    from kronos.datasets import prepare as prepare_dataset
    from kronos.progress import progress_bar
    from kronos.sources import open_source

    with progress_bar(job.config.model_name, enabled=not args.json) as progress:
        source = open_source(job.config.source, settings=settings, progress=progress, reading=args.reading)
        return prepare_dataset(job.config, source, folder=job.folder, force=args.force, formats=args.formats)

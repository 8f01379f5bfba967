"""``kronos data prepare``: from configurations to datasets, and what to see before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kronos.cli.data.prepare_view import PrepareJob
from kronos.errors import KronosError, ParameterError

if TYPE_CHECKING:
    from kronos.datasets import Prepared
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
_WHAT, _WHERE, _OUT = "What", "Where", "Output"


def _config_names(incomplete: str) -> list[str]:
    """Names that complete ``--config``."""
    from kronos.datasets import configurations

    return [entry.name for entry in configurations() if entry.name.startswith(incomplete.lower())]


def prepare(
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config",
            "-c",
            help="Name or path; several may follow.",
            autocompletion=_config_names,
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None,
    list_configs: Annotated[
        bool, typer.Option("--list-configs", help="List the configurations that have a name, and end.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, without network or keys, and end.")
    ] = False,
    timeframes: Annotated[
        list[str] | None,
        typer.Option(
            help="For every symbol, such as 4H 1D (KRONOS_TIMEFRAMES).", rich_help_panel=_WHAT, show_default=False
        ),
    ] = None,
    records_per_timeframe: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Latest closed candles of each series (KRONOS_RECORDS_PER_TF).",
            show_default="the configuration's",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="okx, binance, any exchange of ccxt's, coingecko, yahoo, baostock, akshare, files:FOLDER, "
            "qlib:FOLDER, replay:FOLDER, simulated (KRONOS_SOURCE).",
            show_default="the configuration's",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            help="Each dataset gets its own folder in it (KRONOS_OUTPUT_DIR).",
            show_default="data/kronos_datasets",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            help="Where downloads are kept (KRONOS_STORE_DIR).", show_default="data/candles", rich_help_panel=_WHERE
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace a dataset that exists, once the new one is whole.", rich_help_panel=_WHERE
        ),
    ] = False,
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="parquet, always; pkl also writes the published system's pickles.",
            show_default="parquet",
            rich_help_panel=_OUT,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.", rich_help_panel=_OUT)
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell what happens, and list all findings.", rich_help_panel=_OUT)
    ] = False,
) -> None:
    """Prepare training datasets from configurations: fetch, check, filter, split by time, store.

    What is downloaded is kept, so that an interrupted run goes on where it was.

    Flags win over the environment, which wins over the configuration.

    Public candles need no keys; OKX_API_KEY and its like are used when set.
    """
    from kronos.cli.data import prepare_view as view

    if list_configs:
        view.show_configs(json=json)
        return
    if not config:
        raise ParameterError("Which configuration? Give --config NAME; --list-configs shows them.")
    from kronos.settings import get_settings

    settings = get_settings(
        {"source": source, "output_dir": output_dir, "store_dir": store, "records_per_tf": records_per_timeframe}
    )
    jobs = _plan(config, timeframes, settings)
    if dry_run:
        _check_sources(jobs, settings)
        view.show_plan(jobs, settings, force=force, json=json)
        return
    _run(jobs, settings, force=force, formats=tuple(format_ or ("parquet",)), json=json, verbose=verbose)


def _plan(names: list[str], timeframes: list[str] | None, settings: Settings) -> list[PrepareJob]:
    """Read the configurations, and put over them what flags and environment say.

    Raises:
        ParameterError: If one does not exist or is wrong, or two would share a folder.
    """
    from kronos.datasets import load_config
    from kronos.datasets.prepare import check_apart
    from kronos.intervals import split_timeframes

    wanted = timeframes or ([settings.timeframes] if settings.timeframes else None)
    chosen = None if wanted is None else [one for text in wanted for one in split_timeframes(text)]
    jobs = []
    for name in dict.fromkeys(names):
        config = load_config(name).changed(timeframes=chosen, records=settings.records_per_tf, source=settings.source)
        jobs.append(PrepareJob(config, config.folder(settings.output_dir)))
    check_apart([(job.config.model_name, job.folder) for job in jobs])
    return jobs


def _check_sources(jobs: list[PrepareJob], settings: Settings) -> None:
    """Refuse sources on this machine that aren't there; whether others are would take the network.

    Raises:
        ParameterError: If what follows a source's name is wrong.
        DataError: If there is no such file or folder.
    """
    from kronos.sources import is_local, open_source

    for job in jobs:
        if is_local(job.config.source):
            open_source(job.config.source, settings=settings)


def _run(
    jobs: list[PrepareJob], settings: Settings, *, force: bool, formats: tuple[str, ...], json: bool, verbose: bool
) -> None:
    """Prepare one after another; one that fails does not stop the others, but the command then fails too."""
    from kronos.cli.data import prepare_view as view
    from kronos.cli.data.fetch import end_with, log_to_stderr
    from kronos.datasets.prepare import check_formats, check_output_folder

    check_formats(formats)
    for job in jobs:
        check_output_folder(job.folder, force=force)
    done: list[Prepared] = []
    failed: list[tuple[str, KronosError]] = []
    with log_to_stderr(verbose=verbose):
        for job in jobs:
            try:
                done.append(_prepare(job, settings, force=force, formats=formats, wanted=not json))
            except KronosError as error:
                if len(jobs) == 1:
                    raise
                failed.append((job.config.model_name, error))
            else:
                if not json:
                    view.show_dataset(done[-1], verbose=verbose)
    if json:
        view.print_datasets(done, failed)
    end_with(failed)


def _prepare(job: PrepareJob, settings: Settings, *, force: bool, formats: tuple[str, ...], wanted: bool) -> Prepared:
    from kronos.cli.console import progress_bar
    from kronos.datasets import prepare as make
    from kronos.sources import open_source

    with progress_bar(job.config.model_name, wanted=wanted) as bar:
        source = open_source(job.config.source, settings=settings, progress=bar)
        return make(job.config, source, folder=job.folder, force=force, formats=formats)

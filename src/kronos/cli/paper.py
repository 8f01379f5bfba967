"""``kronos paper``: the tasks of the published paper with its settings, next to naive forecasts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import RenderableType
from rich.text import Text

from kronos.cli import options
from kronos.cli.console import ConsoleColumn, page, page_width, spinner, table
from kronos.cli.files import check_folder, check_not_read
from kronos.cli.model_loading import ModelArgs, model_files
from kronos.cli.reading_options import ReadingArgs
from kronos.errors import ParameterError
from kronos.formatting import MISSING, plural

if TYPE_CHECKING:
    from kronos.evaluation import Dates, LoadedInstruments
    from kronos.evaluation.paper import PaperResult, PaperSettings, TaskRow, TaskStatistic

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos paper price data/xshg --market XSHG --model kronos-small --output out/paper\n\n"
    "kronos paper return data/binance_4h --market crypto --model kronos-base\n\n"
    "kronos paper volatility aapl_1d.csv msft_1d.csv --from 2025-01-01 --json\n\n"
    "kronos paper synthetic data/xshg_15m --market XSHG --sequences 600   [dim](a quick look; the paper has 6000)[/dim]"
)
TaskName = Literal["price", "return", "volatility", "synthetic"]


@dataclass(frozen=True)
class PaperOutput:
    """The result of a task with its data and file.

    Attributes:
        result: Figures, sentences, warnings.
        data: The instruments.
        file: The JSON file; None if none is written.
    """

    result: PaperResult
    data: LoadedInstruments
    file: Path | None


def paper(
    task: Annotated[TaskName, typer.Argument(metavar="TASK", help="price, return, volatility or synthetic.")],
    paths: options.Paths,
    model: options.Model = None,
    tokenizer: options.Tokenizer = None,
    device: options.Device = None,
    precision: options.Precision = None,
    lookback: Annotated[
        int | None,
        typer.Option(
            help="Candles of history for the model.",
            show_default="the paper's, by interval",
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(
            "--horizon",
            "-n",
            help="Candles to forecast.",
            show_default="the paper's, by interval",
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = None,
    stride: options.Stride = None,
    max_origins: options.MaxOrigins = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="Sampling temperature above 0; 1 leaves the model's probabilities unchanged, lower values narrow the "
            "bands.",
            show_default="the paper's, by task",
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            help="Sample from the most likely tokens with this total probability; below 1 narrows the bands.",
            show_default="the paper's, by task",
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            help="Number of sample paths.",
            show_default="the paper's, by task",
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = None,
    sequences: Annotated[
        int,
        typer.Option(
            help="Number of real and of generated sequences of the synthetic task.",
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = 6000,
    seed: Annotated[
        int,
        typer.Option(
            help="Random seed of forecasts and of the synthetic task's networks.",
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = 1,
    market: options.Market = None,
    interval: options.Interval = None,
    timezone: options.Timezone = None,
    column: options.Columns = None,
    decimal: options.Decimal = None,
    thousands: options.Thousands = None,
    date_format: options.DateFormat = None,
    header: options.Header = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="First time to forecast.",
            show_default="2024-07-01, as in the paper",
            rich_help_panel=options.DATA_PANEL,
        ),
    ] = None,
    to: options.To = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for paper-TASK.json.", rich_help_panel=options.OUTPUT_PANEL),
    ] = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Run a task of the Kronos paper with its settings.

    Unlike the paper's tables, the results include naive forecasts and the uncertainty of the figures.
    docs/paper-tasks.md has the definitions, and the choices that the paper leaves open.
    """
    if verbose and quiet:
        raise ParameterError("-v and -q contradict each other: leave one out.")
    file = None
    if output is not None:
        check_folder("--output", output)
        file = output / f"paper-{task}.json"
        check_not_read("--output", [file], [*filter(os.path.isfile, paths), *model_files(model)])
    from kronos.cli.data.fetch import parse_time

    parse_time(from_, "--from")
    parse_time(to, "--to")
    with spinner("Loading", enabled=not quiet):
        from kronos.evaluation import load_instruments
        from kronos.evaluation.dates import dates_between
        from kronos.evaluation.paper import TEST_FROM, PaperSettings
    from kronos.progress import progress_bar

    settings = PaperSettings(task, temperature, top_p, samples, lookback, horizon, stride, max_origins, sequences, seed)
    dates = dates_between(from_ or TEST_FROM, to)
    reading = ReadingArgs(column or (), decimal, thousands, date_format, header)
    with progress_bar("Reading", enabled=not quiet) as bar:
        data = load_instruments(
            paths, market=market, interval=interval, timezone=timezone, reading=reading.options(), progress=bar
        )
    result = _run(data, dates, settings, ModelArgs(model, tokenizer, device, precision, None), quiet=quiet)
    done = PaperOutput(result, data, file)
    if done.file is not None:
        from kronos.atomic import write_text
        from kronos.formatting import to_json

        write_text(done.file, to_json(to_document(done)) + "\n")
    if json:
        from kronos.cli.console import print_json

        print_json(to_document(done))
    elif not quiet:
        show(done, verbose=verbose)


def to_document(done: PaperOutput) -> dict[str, Any]:
    """Return the JSON document: the result, its data, and the file written."""
    data = {
        "series": [{"name": instrument.name, "group": instrument.group} for instrument in done.data.instruments],
        "unreadable": [{"path": str(file.path), "problem": file.problem} for file in done.data.unreadable],
    }
    return {**done.result.to_dict(), "data": data, "file": None if done.file is None else str(done.file)}


def _run(
    data: LoadedInstruments, dates: Dates, settings: PaperSettings, model: ModelArgs, *, quiet: bool
) -> PaperResult:
    """Load the model and run the task.

    Raises:
        KronosError: If an argument is invalid, or there is nothing to forecast.
    """
    from kronos.cli.console import stderr
    from kronos.cli.model_loading import choose, load, threads
    from kronos.evaluation import ModelForecaster, cutoffs
    from kronos.evaluation.paper import run_paper
    from kronos.evaluation.paper.forecasting import make_origin_sets
    from kronos.progress import progress_bar

    make_origin_sets(data.instruments, settings, dates)  # errors in the data cost no download
    choice = choose(model)
    if not quiet and choice.announcement:
        stderr().print(choice.announcement, style="dim", markup=False)
    predictor = load(choice, show_progress=not quiet)
    name = choice.entry.name if choice.entry else choice.title
    bar_of = progress_bar(f"Task {settings.task}", enabled=not quiet, show_remaining=True)
    with threads(choice.settings.threads), bar_of as bar:
        return run_paper(
            data.instruments,
            ModelForecaster(predictor, name, sampling=settings.sampling),
            settings,
            dates=dates,
            cutoffs=lambda plan: cutoffs(predictor, plan),
            progress=bar,
        )


# Output --------------------------------------------------------------------------

_WARN = "bold #f2b134"


@dataclass(frozen=True)
class _FigureColumn:
    """A figure of the table.

    Attributes:
        name: Its key in the figures of a row.
        heading: Column heading.
        text: Formats the value.
        shows_t: Whether a column with its t statistic follows.
        priority: Columns with the highest number are dropped first in a narrow terminal; 0 is never dropped.
    """

    name: str
    heading: str
    text: Callable[[float], str]
    shows_t: bool = True
    priority: int = 0


_COLUMNS = {
    "price": (
        _FigureColumn("ic", "IC", "{:.4f}".format),
        _FigureColumn("rank_ic", "RankIC", "{:.4f}".format),
        _FigureColumn("skill", "skill of MAE", "{:+.1%}".format, shows_t=False, priority=1),
    ),
    "return": (
        _FigureColumn("ic", "IC", "{:.4f}".format),
        _FigureColumn("rank_ic", "RankIC", "{:.4f}".format),
        _FigureColumn("rank_ic_by_date", "RankIC by date", "{:.4f}".format, priority=1),
    ),
    "volatility": (
        _FigureColumn("mae", "MAE", "{:.3g}".format, shows_t=False),
        _FigureColumn("r2", "R²", "{:.4f}".format, shows_t=False),
        _FigureColumn("r2_regression", "R² rescaled", "{:.4f}".format, shows_t=False, priority=2),
        _FigureColumn("skill", "skill of MAE", "{:+.1%}".format, shows_t=False, priority=1),
    ),
    "synthetic": (
        _FigureColumn("discriminative", "discriminative error", "{:.1%}".format, shows_t=False),
        _FigureColumn("tstr_ic", "TSTR IC", "{:.4f}".format),
        _FigureColumn("tstr_rank_ic", "TSTR RankIC", "{:.4f}".format),
    ),
}


def show(done: PaperOutput, *, verbose: bool) -> None:
    """Print the result of a task.

    Args:
        done: The result.
        verbose: Whether to explain the names of the forecasters.
    """
    result = done.result
    lines: list[RenderableType] = [*_header(result), Text(), _table(result.task, result.rows), Text()]
    lines += [Text(sentence) for sentence in result.sentences]
    unreadable = [f"{file.path} was not read: {file.problem}" for file in done.data.unreadable]
    lines += [Text(f"! {warning}", style=_WARN) for warning in (*result.warnings, *unreadable)]
    if verbose:
        lines += [Text(), *(Text(f"{name}: {note}", style="dim") for name, note in result.notes.items())]
    if done.file is not None:
        lines += [Text(), Text(f"Written: {done.file}", style="dim")]
    page(*lines)


def _header(result: PaperResult) -> list[RenderableType]:
    """The task, the settings, the origins and the model."""
    settings, sampling, provenance = result.settings, result.settings.sampling, result.provenance
    model = provenance["model"]
    title = Text.assemble((f"The paper's {settings.task} task", "bold"), f" with {model['name']}")
    text = (
        f"temperature {sampling.temperature:g}, top-p {sampling.top_p:g}, {plural(sampling.samples, 'path')}, seed "
        f"{settings.seed}"
    )
    if settings.changed:
        text += f"; not as published: {', '.join(name.replace('_', '-') for name in settings.changed)}"
    lines: list[RenderableType] = [title, Text(text, style="dim")]
    for origins in provenance["walks"]:
        summary = (
            f"{origins['interval']}: {origins['lookback']} candles of history, {origins['horizon']} ahead; "
            f"instruments: {origins['instruments']:,}, origins: {origins['origins']:,}, {origins['first'][:10]} to "
            f"{origins['last'][:10]}"
        )
        lines.append(Text(summary, style="dim"))
    sha256 = (model.get("model") or {}).get("sha256")
    return [*lines, Text(f"weights sha256 {sha256}", style="dim")] if sha256 else lines


def _table(task: str, rows: Sequence[TaskRow]) -> RenderableType:
    above = ["", *(row.group for row in rows[:-1])]
    groups = ["" if before == row.group else row.group for row, before in zip(rows, above, strict=True)]
    columns = [
        ConsoleColumn("group", groups),
        ConsoleColumn("forecaster", [row.forecaster for row in rows]),
        ConsoleColumn("n", [f"{row.n:,}" for row in rows], right=True, priority=3),
        ConsoleColumn("dates", [f"{row.dates:,}" if row.dates else "" for row in rows], right=True, priority=4),
    ]
    for column in _COLUMNS[task]:
        figures = [row.figures[column.name] for row in rows]
        cells = [column.text(figure.value) if math.isfinite(figure.value) else MISSING for figure in figures]
        columns.append(ConsoleColumn(column.heading, cells, right=True, priority=column.priority))
        if column.shows_t:
            cells = [_t_statistic(row, figure) for row, figure in zip(rows, figures, strict=True)]
            columns.append(ConsoleColumn("t", cells, right=True, priority=column.priority or 5))
    return table(*columns, width=page_width())


def _t_statistic(row: TaskRow, figure: TaskStatistic) -> str:
    """The t statistic, if there are enough dates for one."""
    from kronos.evaluation.verdicts import MIN_DATES

    return f"{figure.t:.1f}" if math.isfinite(figure.t) and row.dates >= MIN_DATES else ""

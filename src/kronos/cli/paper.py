"""``kronos paper``: the tasks of the published paper with its settings, beside naive forecasts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import RenderableType
from rich.text import Text

from kronos.cli import options as ask
from kronos.cli.console import Column, page, table, width
from kronos.cli.model_loading import ModelArgs
from kronos.errors import ParameterError, StorageError

if TYPE_CHECKING:
    from kronos.evaluation import Dates
    from kronos.evaluation.instruments import LoadedInstruments
    from kronos.evaluation.paper import Figure, PaperResult, PaperSettings, Row

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos paper price data/xshg --market XSHG --model kronos-small --output out/paper\n\n"
    "kronos paper return data/binance_4h --market crypto --model kronos-base\n\n"
    "kronos paper volatility aapl_1d.csv msft_1d.csv --from 2025-01-01 --json\n\n"
    "kronos paper synthetic data/xshg_15m --market XSHG --sequences 600   [dim](a quick look; the paper has 6000)[/dim]"
)
TaskName = Literal["price", "return", "volatility", "synthetic"]


@dataclass(frozen=True)
class Telling:
    """What is written and printed.

    Attributes:
        output: The folder of the JSON file; None writes none.
        json: Whether stdout gets one JSON document.
        verbose: Whether to say what the names mean.
        quiet: Whether to print nothing but errors.
    """

    output: Path | None
    json: bool
    verbose: bool
    quiet: bool

    def check(self) -> None:
        """Refuse what contradicts itself, or cannot be written.

        Raises:
            ParameterError: If options contradict each other.
            StorageError: If the output is a file.
        """
        if self.verbose and self.quiet:
            raise ParameterError("-v and -q contradict each other; leave one out.")
        if self.output is not None and self.output.exists() and not self.output.is_dir():
            raise StorageError(f"Cannot write into {self.output}: it is a file; choose another folder.")


@dataclass(frozen=True)
class Told:
    """What came out, and what a reader wants to know beside it.

    Attributes:
        result: Figures, sentences, warnings.
        gathered: What was read.
        file: What was written; None if nothing was.
    """

    result: PaperResult
    gathered: LoadedInstruments
    file: Path | None


def paper(
    task: Annotated[TaskName, typer.Argument(metavar="TASK", help="price, return, volatility or synthetic.")],
    paths: ask.Paths,
    model: ask.OneModel = None,
    tokenizer: ask.Tokenizer = None,
    device: ask.Device = None,
    precision: ask.Precision = None,
    lookback: Annotated[
        int | None,
        typer.Option(
            help="Candles of history that the model sees.",
            show_default="the paper's, by interval",
            rich_help_panel=ask.WALK,
        ),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(
            "--horizon", "-n", help="Candles to forecast.", show_default="the paper's", rich_help_panel=ask.WALK
        ),
    ] = None,
    stride: ask.Stride = None,
    most: ask.Most = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Divides the logits.", show_default="the paper's, by task", rich_help_panel=ask.DRAW),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Keep that mass of tokens.", show_default="the paper's", rich_help_panel=ask.DRAW),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(help="Paths of each forecast.", show_default="the paper's", rich_help_panel=ask.DRAW),
    ] = None,
    sequences: Annotated[
        int,
        typer.Option(help="Real sequences, and generated ones, of the synthetic task.", rich_help_panel=ask.DRAW),
    ] = 6000,
    seed: Annotated[
        int, typer.Option(help="Of the draws, and of the networks that judge sequences.", rich_help_panel=ask.DRAW)
    ] = 1,
    market: ask.Market = None,
    interval: ask.Interval = None,
    timezone: ask.Timezone = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="Forecast no candle before this time.",
            show_default="2024-07-01, as the paper",
            rich_help_panel=ask.DATA,
        ),
    ] = None,
    to: ask.To = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write paper-TASK.json into this folder.", rich_help_panel=ask.OUT),
    ] = None,
    json: ask.Json = False,
    verbose: ask.Verbose = False,
    quiet: ask.Quiet = False,
) -> None:
    """Run a task of the Kronos paper with its settings, so that anyone with the weights can check its tables.

    Each table has naive forecasts beside the model, which the paper has not, and says how sure its figures are.
    docs/paper-tasks.md has the definitions, and what the paper leaves open.
    """
    telling = Telling(output, json, verbose, quiet)
    telling.check()
    from kronos.cli.console import spinner

    with spinner("Loading", wanted=not quiet):
        from kronos.evaluation.paper import PaperSettings

    settings = PaperSettings(task, temperature, top_p, samples, lookback, horizon, stride, most, sequences, seed)
    gathered = _gather(paths, (market, interval, timezone), wanted=not quiet)
    dates = _dates(gathered, from_, to)
    told = _run(gathered, dates, settings, ModelArgs(model, tokenizer, device, precision, None), telling)
    if json:
        from kronos.cli.console import print_json

        print_json(document(told))
    elif not quiet:
        show(told, verbose=verbose)


def document(told: Told) -> dict[str, Any]:
    """Everything ready for JSON."""
    gathered = told.gathered
    unreadable = [{"path": str(one.path), "problem": one.problem} for one in gathered.unreadable]
    data = {
        "series": [{"name": one.name, "group": one.group} for one in gathered.instruments],
        "unreadable": unreadable,
    }
    return {**told.result.to_dict(), "data": data, "file": None if told.file is None else str(told.file)}


def _gather(paths: list[str], known: tuple[str | None, str | None, str | None], *, wanted: bool) -> LoadedInstruments:
    """Read the candles; market, interval and timezone are of all of them where they are given."""
    from kronos.cli.console import progress_bar
    from kronos.evaluation.instruments import load_instruments

    market, interval, timezone = known
    with progress_bar("Reading", wanted=wanted) as bar:
        return load_instruments(paths, market=market, interval=interval, timezone=timezone, progress=bar)


def _dates(gathered: LoadedInstruments, start: str | None, end: str | None) -> Dates:
    """Between which times candles are forecast: from the paper's date on where nobody says another.

    Raises:
        ParameterError: If a time is none, or they are in the wrong order.
    """
    from kronos.cli.evaluation_arguments import DateArgs
    from kronos.cli.evaluation_setup import EvaluationData, explicit_dates
    from kronos.evaluation.paper import TEST_FROM

    dated = explicit_dates(DateArgs(start or TEST_FROM, end, None, None), EvaluationData(gathered, None))
    assert dated is not None  # a start is always given
    return next(iter(dated.dates.values()))


def _run(
    gathered: LoadedInstruments, dates: Dates, settings: PaperSettings, machine: ModelArgs, telling: Telling
) -> Told:
    """Load the model, run the task, write.

    Raises:
        KronosError: One sentence on whatever is wrong.
    """
    from kronos.atomic import write_text
    from kronos.cli.console import dump_json, progress_bar, stderr
    from kronos.cli.model_loading import choose, load, threads
    from kronos.evaluation import ModelForecaster, cutoffs
    from kronos.evaluation.paper import run_paper
    from kronos.evaluation.paper.forecasting import make_walks

    wanted = not telling.quiet
    make_walks(gathered.instruments, settings, dates)  # what cannot be forecast needs no download
    chosen = choose(machine)
    if wanted and chosen.announcement:
        stderr().print(chosen.announcement, style="dim", markup=False)
    predictor = load(chosen, wanted=wanted)
    name = chosen.entry.name if chosen.entry else chosen.title
    forecaster = ModelForecaster(predictor, name, sampling=settings.sampling)
    bar_of = progress_bar(f"The {settings.task} task", wanted=wanted, long=True)
    with threads(chosen.settings.threads), bar_of as bar:
        result = run_paper(
            gathered.instruments,
            forecaster,
            settings,
            dates=dates,
            cutoffs=lambda plan: cutoffs(predictor, plan),
            progress=bar,
        )
    if telling.output is None:
        return Told(result, gathered, None)
    told = Told(result, gathered, telling.output / f"paper-{settings.task}.json")
    assert told.file is not None
    write_text(told.file, dump_json(document(told)) + "\n")
    return told


_WARN = "bold #f2b134"
_NONE = "–"


@dataclass(frozen=True)
class _Shown:
    """A figure of the table.

    Attributes:
        name: In the row's figures.
        heading: Above its column.
        text: The number as it is written.
        sure: Whether its t statistic stands beside it.
        spare: When its columns leave where it is narrow.
    """

    name: str
    heading: str
    text: Callable[[float], str]
    sure: bool = True
    spare: int = 0


def _coefficient(value: float) -> str:
    return f"{value:.4f}"


def _share(value: float) -> str:
    return f"{value:.1%}"


def _skill(value: float) -> str:
    return f"{value:+.1%}"


def _size(value: float) -> str:
    return f"{value:.3g}"


_FIGURES = {
    "price": (
        _Shown("ic", "IC", _coefficient),
        _Shown("rank_ic", "RankIC", _coefficient),
        _Shown("skill", "skill of MAE", _skill, sure=False, spare=1),
    ),
    "return": (
        _Shown("ic", "IC", _coefficient),
        _Shown("rank_ic", "RankIC", _coefficient),
        _Shown("rank_ic_by_date", "RankIC by date", _coefficient, spare=1),
    ),
    "volatility": (
        _Shown("mae", "MAE", _size, sure=False),
        _Shown("r2", "R²", _coefficient, sure=False),
        _Shown("r2_regression", "R² rescaled", _coefficient, sure=False, spare=2),
        _Shown("skill", "skill of MAE", _skill, sure=False, spare=1),
    ),
    "synthetic": (
        _Shown("discriminative", "discriminative error", _share, sure=False),
        _Shown("tstr_ic", "TSTR IC", _coefficient),
        _Shown("tstr_rank_ic", "TSTR RankIC", _coefficient),
    ),
}


def show(told: Told, *, verbose: bool) -> None:
    """Print it.

    Args:
        told: The result.
        verbose: Whether to say what the names mean.
    """
    result = told.result
    lines: list[RenderableType] = [*_header(result.to_dict()), Text()]
    lines += [_table(result.task, result.rows), Text()]
    lines += [Text(sentence) for sentence in result.sentences]
    unreadable = [f"{one.path} was not read: {one.problem}" for one in told.gathered.unreadable]
    lines += [Text(f"! {warning}", style=_WARN) for warning in (*result.warnings, *unreadable)]
    if verbose:
        lines += [Text(), *(Text(f"{name}: {meaning}", style="dim") for name, meaning in result.notes.items())]
    if told.file is not None:
        lines += [Text(), Text(f"Written: {told.file}", style="dim")]
    page(*lines)


def _header(made: dict[str, Any]) -> list[RenderableType]:
    """What was run, with what."""
    sampling, model = made["sampling"], made["model"]
    title = Text.assemble((f"The paper's {made['task']} task", "bold"), f" with {model['name']}")
    changed = made["not_as_published"]
    settings = f"temperature {sampling['temperature']:g}, top-p {sampling['top_p']:g}, {_count(sampling['samples'])}"
    settings += f", seed {made['seed']}" + (f"; not as published: {', '.join(changed)}" if changed else "")
    lines: list[RenderableType] = [title, Text(settings, style="dim")]
    for walk in made["walks"]:
        words = (
            f"{walk['interval']}: {walk['lookback']} candles of history, {walk['horizon']} ahead; instruments: "
            f"{walk['instruments']:,}, origins: {walk['origins']:,}, {walk['first'][:10]} to {walk['last'][:10]}"
        )
        lines.append(Text(words, style="dim"))
    digest = (model.get("model") or {}).get("sha256")
    return [*lines, Text(f"weights sha256 {digest}", style="dim")] if digest else lines


def _count(samples: int) -> str:
    return "1 path" if samples == 1 else f"{samples} paths"


def _table(task: str, rows: Sequence[Row]) -> RenderableType:
    groups = ["" if before == row.group else row.group for row, before in zip(rows, _before(rows), strict=True)]
    columns = [
        Column("group", groups),
        Column("forecaster", [row.forecaster for row in rows]),
        Column("n", [f"{row.n:,}" for row in rows], right=True, spare=3),
        Column("dates", [f"{row.dates:,}" if row.dates else "" for row in rows], right=True, spare=4),
    ]
    for shown in _FIGURES[task]:
        figures = [row.figures[shown.name] for row in rows]
        columns.append(Column(shown.heading, [_number(one, shown.text) for one in figures], True, shown.spare))
        if shown.sure:
            cells = [_t(row, one) for row, one in zip(rows, figures, strict=True)]
            columns.append(Column("t", cells, right=True, spare=shown.spare or 5))
    return table(*columns, width=width())


def _before(rows: Sequence[Row]) -> list[str]:
    """The group of the row above each."""
    return ["", *(row.group for row in rows[:-1])]


def _number(figure: Figure, text: Callable[[float], str]) -> str:
    return text(figure.value) if math.isfinite(figure.value) else _NONE


def _t(row: Row, figure: Figure) -> str:
    """The t statistic, where it rests on enough dates to be one."""
    from kronos.evaluation.verdicts import FEW_DATES

    return f"{figure.t:.1f}" if math.isfinite(figure.t) and row.dates >= FEW_DATES else ""

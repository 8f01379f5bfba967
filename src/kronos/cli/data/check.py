"""``kronos data check``: what files of candles hold, before anything is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kronos.cli.errors import FAILED, MISUSED
from kronos.errors import ParameterError, StorageError

if TYPE_CHECKING:
    from kronos.datasets.checking import Checkup

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos data check btc_1h.csv\n\n"
    "kronos data check data/candles --report quality.md\n\n"
    "kronos data check exports/*.csv --timezone Asia/Shanghai -v\n\n"
    "kronos data check data --strict --json > check.json   [dim](in a pipeline)[/dim]"
)
_REPORTS = (".md", ".json")
_LINES = 20  # of findings, where nobody says how many


def check(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Files of candles, and folders of them.", show_default=False),
    ],
    interval: Annotated[
        str | None, typer.Option(help="A candle's length in all files, such as 5m, 1h, 1d; else inferred.")
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="Of the times in all files, such as Asia/Shanghai.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Status 1 if there are warnings, or nothing is left of a series.")
    ] = False,
    findings: Annotated[
        int | None,
        typer.Option(
            "--findings", min=0, help="Lines of findings to show; reports have all.", show_default="20, or all with -v"
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a report with a section for each file: .md or .json.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="List notes too, and each place where a series splits.")
    ] = False,
) -> None:
    """Check candles: rows dropped or mended, gaps, jumps, runs without trading; what is left to learn from.

    Folders are searched for CSV, Feather and Parquet files; tables of something else in them are passed over.

    Status 0 even with findings; 1 with [bold]--strict[/bold] if there are warnings; 2 if a file could not be read.
    """
    if report is not None:
        _check_report(report)
    from kronos.cli.console import progress_bar
    from kronos.datasets.checking import check_paths

    with progress_bar("Checking", wanted=not json) as bar:
        checkup = check_paths(paths, interval=interval, timezone=timezone, progress=bar)
    if report is not None:
        from kronos.cli.data.check_report import write

        write(checkup, report)
    lines = findings if findings is not None else None if verbose else _LINES
    _show(checkup, report, lines=lines, json=json, verbose=verbose)
    if checkup.unreadable:
        what = "1 path" if len(checkup.unreadable) == 1 else f"{len(checkup.unreadable)} paths"
        typer.echo(f"Error: {what} could not be read; see what is listed as not read.", err=True)
        raise typer.Exit(MISUSED)
    if strict and not checkup.flawless:
        raise typer.Exit(FAILED)


def _check_report(path: Path) -> None:
    """Refuse a report that cannot be written before anything is read.

    Raises:
        ParameterError: If its ending says nothing.
        StorageError: If it is a folder.
    """
    if path.suffix.lower() not in _REPORTS:
        raise ParameterError(
            f"--report {path.name} has no ending that says what to write; use {' or '.join(_REPORTS)}."
        )
    if path.is_dir():
        raise StorageError(f"Cannot write {path}: a folder of that name exists; choose another name.")


def _show(checkup: Checkup, report: Path | None, *, lines: int | None, json: bool, verbose: bool) -> None:
    from kronos.cli.console import emit, print_json, stdout

    if json:
        from kronos.cli.data.check_report import document

        print_json(document(checkup))
        return
    from kronos.cli.data.check_view import view

    console = stdout()
    emit(console, view(checkup, console.width, lines=lines, verbose=verbose, written=report))

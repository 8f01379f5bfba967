"""``kronos data fetch``: candles of instruments by name, kept in the store and written where they are wanted."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kronos.cli.console import Column, page, print_json, table, width
from kronos.cli.errors import status_of
from kronos.errors import DataError, KronosError, ParameterError, SourceError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType
    from rich.table import Table

    from kronos.candles import Candles
    from kronos.intervals import Interval
    from kronos.sources import CandleSource

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos data fetch BTC/USDT ETH/USDT --source binance --interval 1h --records 5000\n\n"
    "kronos data fetch BTC-USDT-SWAP --source okx --interval 4h --start 2024-01-01 --output btc_4h.parquet\n\n"
    "kronos data fetch BTC ETH --source coingecko --interval 4h --records 180 --output data/csv\n\n"
    "kronos data fetch AAPL --source yahoo --interval 1d --records 2000   [dim](needs kronos\\[equities])[/dim]"
)
_DEFAULT_RECORDS = 2000


def fetch(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL", help="In any usual notation.", show_default=False)],
    source: Annotated[
        str | None,
        typer.Option(
            help="okx, binance, any exchange of ccxt's, coingecko, yahoo, baostock, akshare, files:FOLDER, "
            "qlib:FOLDER, replay:FOLDER, simulated (KRONOS_SOURCE).",
            show_default="binance",
        ),
    ] = None,
    interval: Annotated[str, typer.Option("--interval", "-i", help="A candle's length, such as 5m, 1h, 1d.")] = "1h",
    records: Annotated[
        int | None,
        typer.Option("--records", "-n", min=2, help="The latest closed candles.", show_default="2000 without --start"),
    ] = None,
    start: Annotated[str | None, typer.Option(help="First opening time, UTC.", metavar="TIME")] = None,
    end: Annotated[
        str | None, typer.Option(help="Opening times from here on are left out, UTC.", metavar="TIME")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A .csv, .parquet or .feather file; a folder gets one a symbol."),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Where downloads are kept (KRONOS_STORE_DIR).", show_default="data/candles"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell what happens, and list all findings.")] = False,
) -> None:
    """Fetch closed candles by symbol: all that were asked for, in order, without gaps of our making.

    A symbol that fails does not stop the others, but the command then fails too.

    Downloads are kept: asking again fetches only what is new, and an interrupted download goes on where it was.
    """
    from kronos.cli.console import progress_bar
    from kronos.intervals import Interval
    from kronos.settings import get_settings
    from kronos.sources import open_source

    length = Interval.parse(interval).normalized()
    latest = _DEFAULT_RECORDS if records is None and start is None else records
    span = FetchRange(length, parse_time(start, "--start"), parse_time(end, "--end"), latest)
    settings = get_settings({"source": source, "store_dir": store})
    names = list(dict.fromkeys(symbols))
    with log_to_stderr(verbose=verbose), progress_bar("Fetching", wanted=not json) as bar:
        opened = open_source(settings.source or "binance", settings=settings, progress=bar)
        files = targets(names, span, output, simulated=opened.simulated)
        fetched, failed = fetch_all(opened, names, span, files)
    show(fetched, opened, failed, json=json, verbose=verbose)
    end_with(failed)


@dataclass(frozen=True, slots=True)
class FetchRange:
    """Which candles to fetch; see `CandleSource.candles`."""

    interval: Interval
    start: pd.Timestamp | None
    end: pd.Timestamp | None
    records: int | None


@dataclass(frozen=True, slots=True)
class FetchResult:
    """One series that was fetched.

    Attributes:
        candles: What came.
        file: Where it was written; None if nowhere but the store.
    """

    candles: Candles
    file: Path | None


Failed = list[tuple[str, KronosError]]


def fetch_all(
    source: CandleSource, symbols: list[str], span: FetchRange, files: list[Path | None]
) -> tuple[list[FetchResult], Failed]:
    """Fetch series one after another; one of several that fails does not stop the others.

    Returns:
        What came, and which symbols failed for which reason; a source that cannot be reached is not asked again.

    Raises:
        KronosError: If the only one fails, or a file cannot be written.
    """
    fetched: list[FetchResult] = []
    failed: Failed = []
    for symbol, file in zip(symbols, files, strict=True):
        try:
            fetched.append(fetch_one(source, symbol, span, file))
        except (DataError, ParameterError, SourceError) as error:
            if len(symbols) == 1:
                raise
            failed.append((symbol, error))
            if isinstance(error, SourceError):
                break
    return fetched, failed


def fetch_one(source: CandleSource, symbol: str, span: FetchRange, file: Path | None) -> FetchResult:
    """Fetch a series, and write it where it is wanted."""
    candles = source.candles(symbol, span.interval, start=span.start, end=span.end, records=span.records)
    from kronos.candles.io import write_candles

    return FetchResult(candles, None if file is None else write_candles(candles, file))


def parse_time(text: str | None, option: str) -> pd.Timestamp | None:
    """A time of the command line, in UTC."""
    if text is None:
        return None
    import pandas as pd

    try:
        time = pd.Timestamp(text).as_unit("ns")  # so that what is out of all range is refused here
        unreadable = pd.isna(time)
    except (ValueError, TypeError, OverflowError):
        unreadable = True
    if unreadable:
        raise ParameterError(f"{option} cannot be '{text}'; write a time like 2024-01-31 or '2024-01-31 12:00'.")
    return time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")


def targets(symbols: list[str], span: FetchRange, output: Path | None, *, simulated: bool) -> list[Path | None]:
    """A file for each symbol: the one named, or one in the folder named."""
    if output is None:
        return [None] * len(symbols)
    from kronos.candles.io import ENDINGS, check_target

    if output.suffix.lower() in ENDINGS:
        if len(symbols) > 1:
            raise ParameterError(f"{len(symbols)} symbols don't go into one file; give a folder to --output.")
        check_target(output, simulated=simulated)
        return [output]
    if output.suffix and not output.is_dir():
        raise ParameterError(
            f"--output {output.name} is neither a folder nor {', '.join(ENDINGS)}; correct its ending."
        )
    files = [output / _file_name(symbol, span.interval, simulated=simulated) for symbol in symbols]
    seen: dict[str, str] = {}
    for symbol, file in zip(symbols, files, strict=True):
        other = seen.setdefault(file.name.casefold(), symbol)  # some file systems don't tell cases apart
        if other != symbol:
            raise ParameterError(f"{other} and {symbol} would both be written to {file}; leave one of them out.")
    return list(files)


def _file_name(symbol: str, interval: Interval, *, simulated: bool) -> str:
    """What a series' file is called: ``BTC-USDT_1h.csv``, ``simulated_BTC-USDT_1h.csv``."""
    plain = re.sub(r"[^\w.+=@-]+", "-", symbol).strip("-.") or "series"
    return f"{'simulated_' if simulated else ''}{plain}_{interval}.csv"


def show(
    fetched: list[FetchResult],
    source: CandleSource,
    failed: Sequence[tuple[str, KronosError]] = (),
    *,
    json: bool,
    verbose: bool,
) -> None:
    """Print what came; what failed is part of the document for machines."""
    if json:
        errors = [{"symbol": symbol, "error": str(error)} for symbol, error in failed]
        series = [_entry(one) for one in fetched]
        print_json({"source": source.name, "simulated": source.simulated, "series": series, "errors": errors})
        return
    if not fetched:
        return
    from rich.text import Text

    lines: list[RenderableType] = [_table([_entry(one) for one in fetched]), Text()]
    if source.simulated:
        lines.append(Text("SIMULATED: these candles never traded.", style="bold yellow"))
    for one in fetched:
        for finding in one.candles.findings:
            if verbose or finding.severity == "warning":
                style = "yellow" if finding.severity == "warning" else "dim"
                lines.append(Text(f"{one.candles.symbol}: {finding.message}", style=style))
    lines += [Text.assemble(("→ ", "dim"), str(one.file)) for one in fetched if one.file is not None]
    page(*lines)


def _table(entries: list[dict[str, Any]]) -> Table:
    first, last = ([entry[end][:16].replace("T", " ") for entry in entries] for end in ("first", "last"))
    return table(
        Column("symbol", [entry["symbol"] for entry in entries]),
        Column("interval", [entry["interval"] for entry in entries], spare=1),
        Column("candles", [f"{entry['candles']:,}" for entry in entries], right=True),
        Column("first", first, spare=2),
        Column("last", last),
        Column("digest", [entry["sha256"][:12] for entry in entries], spare=3),
        width=width(),
    )


def _entry(one: FetchResult) -> dict[str, Any]:
    from kronos.provenance import frame_digest

    candles = one.candles
    return {
        "symbol": candles.symbol,
        "interval": str(candles.interval),
        "source": candles.source,
        "simulated": candles.simulated,
        "candles": len(candles),
        "first": candles.start.isoformat(),
        "last": candles.end.isoformat(),
        "sha256": frame_digest(candles.frame),
        "findings": [
            {"severity": f.severity, "code": f.code, "count": f.count, "message": f.message} for f in candles.findings
        ],
        "file": None if one.file is None else str(one.file),
    }


_LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR}
_ALSO = {"WARN": "WARNING", "CRITICAL": "ERROR", "FATAL": "ERROR", "TRACE": "DEBUG"}


def level(*, verbose: bool) -> int:
    """How much to tell: flags, else ``KRONOS_LOG_LEVEL``, else ``LOG_LEVEL``, else warnings.

    Raises:
        ParameterError: If a variable names no level.
    """
    if verbose:
        return logging.INFO
    for name in ("KRONOS_LOG_LEVEL", "LOG_LEVEL"):
        text = os.environ.get(name, "").strip().upper()
        if text:
            word = _ALSO.get(text, text)
            if word not in _LEVELS:
                raise ParameterError(f"{name} cannot be '{text}'; take {', '.join(_LEVELS)}.")
            return _LEVELS[word]
    return logging.WARNING


@contextmanager
def log_to_stderr(*, verbose: bool) -> Iterator[None]:
    """Send the sources' log to stderr for a block, and take the handler away again."""
    logger = logging.getLogger("kronos")
    wanted = level(verbose=verbose)
    handler = _Sentences()
    before, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(wanted)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        logger.propagate = propagate


def end_with(failed: Sequence[tuple[str, KronosError]]) -> None:
    """Say what failed of several things, if anything did, and end with the status of the worst.

    Args:
        failed: What each is called, and why.

    Raises:
        typer.Exit: If anything failed.
    """
    for name, reason in failed:
        typer.echo(f"Error: {name}: {reason}", err=True)
    if failed:
        raise typer.Exit(max(status_of(reason) for _, reason in failed))


class _Sentences(logging.Handler):
    """Log records as sentences above whatever progress is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        # Plainly, as only what is written to sys.stderr itself is put above a progress bar.
        sys.stderr.write(record.getMessage() + "\n")

"""``kronos data fetch`` and ``kronos data simulate``: series of candles by symbol, shown and written to files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.cli import options
from kronos.cli.console import ConsoleColumn, log_to_stderr, page, page_width, print_json, spinner, table
from kronos.cli.errors import report_failures
from kronos.cli.files import check_not_read
from kronos.errors import DataError, KronosError, ParameterError, SourceError
from kronos.formatting import expand_user
from kronos.progress import progress_bar

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
SIMULATE_EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos data simulate\n\n"
    "kronos data simulate BTC-USDT-SWAP ETH-USDT-SWAP --interval 1h --records 26000 --output data/simulated\n\n"
    "kronos data simulate --market ashare --interval 5m --records 960 --seed 7"
)
_DEFAULT_RECORDS = 2000


def fetch(
    symbols: options.FetchSymbols,
    source: options.Source = None,
    interval: options.FetchInterval = "1h",
    records: options.FetchRecords = None,
    start: options.FetchStart = None,
    end: options.FetchEnd = None,
    output: options.FetchOutput = None,
    store: options.StoreFolder = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Fetch closed candles by symbol, in order and without gaps from paging.

    A symbol that fails does not stop the others, but the command fails at the end.

    Downloads are cached: a repeated command fetches only new candles, and an interrupted download continues where it
    stopped.
    """
    from kronos.intervals import Interval
    from kronos.settings import get_settings
    from kronos.sources import open_source

    latest = _DEFAULT_RECORDS if records is None and start is None else records
    span = FetchRange(
        Interval.parse(interval).normalized(), parse_time(start, "--start"), parse_time(end, "--end"), latest
    )
    settings = get_settings({"source": source, "store_dir": store})
    names = list(dict.fromkeys(symbols))
    with log_to_stderr(verbose=verbose), progress_bar("Fetching", enabled=not json) as progress:
        opened = open_source(settings.source or "binance", settings=settings, progress=progress)
        files = _output_files(names, span, output, simulated=opened.simulated)
        check_not_read("--output", filter(None, files), _folder_of(settings.source))
        fetched, failed = _fetch_all(opened, names, span, files)
    _show(fetched, opened, failed, json=json, verbose=verbose)
    report_failures(failed)


def simulate(
    symbols: options.SimulatedSymbols = None,
    market: options.SimulatedMarket = "crypto",
    interval: options.FetchInterval = "1h",
    records: options.SimulatedRecords = 2000,
    end: options.FetchEnd = None,
    seed: options.SimulationSeed = 0,
    output: options.SimulatedOutput = Path("data") / "simulated",
    json: options.Json = False,
) -> None:
    """Simulate candles with regimes, clustered volatility, jumps and sessions; file names begin with simulated.

    The candle at a time depends only on the symbol, market and seed; longer intervals aggregate shorter ones.
    """
    from kronos.intervals import Interval
    from kronos.sources.simulation import SimulatedSource

    span = FetchRange(Interval.parse(interval).normalized(), None, parse_time(end, "--end"), records)
    source = SimulatedSource(seed, market=market)
    names = list(dict.fromkeys(symbols or ["BTC-USDT"]))
    files = _output_files(names, span, output, simulated=True)
    with spinner("Simulating", enabled=not json):
        fetched = [_fetch_one(source, name, span, file) for name, file in zip(names, files, strict=True)]
    _show(fetched, source, json=json, verbose=False)


def _folder_of(source: str | None) -> list[Path]:
    """The folder that a source such as ``files:FOLDER`` reads, if it is one."""
    _, _, folder = (source or "").partition(":")
    path = expand_user(folder)
    return [path] if folder and path.is_dir() else []


@dataclass(frozen=True, slots=True)
class FetchRange:
    """Candles to fetch; see `CandleSource.candles`."""

    interval: Interval
    start: pd.Timestamp | None
    end: pd.Timestamp | None
    records: int | None


@dataclass(frozen=True, slots=True)
class FetchResult:
    """A fetched series.

    Attributes:
        candles: The candles.
        file: File they were written to; None if only the store has them.
    """

    candles: Candles
    file: Path | None


Failures = list[tuple[str, KronosError]]


def parse_time(text: str | None, option: str) -> pd.Timestamp | None:
    """Parse the time that an option was given; times without a zone are UTC.

    Raises:
        ParameterError: If it is not a time.
    """
    if text is None:
        return None
    import pandas as pd

    try:
        time = pd.Timestamp(text).as_unit("ns")  # raises on times that nanoseconds cannot express
        invalid = pd.isna(time)
    except (ValueError, TypeError, OverflowError):
        invalid = True
    if invalid:
        raise ParameterError(f"Invalid {option} '{text}': write a time such as 2024-01-31 or '2024-01-31 12:00'.")
    return time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")


def _fetch_all(
    source: CandleSource, symbols: list[str], span: FetchRange, files: list[Path | None]
) -> tuple[list[FetchResult], Failures]:
    """Fetch series one by one; a failed one does not stop the others, unless the source cannot be reached.

    Raises:
        KronosError: If the only series fails, or a file cannot be written.
    """
    fetched: list[FetchResult] = []
    failed: Failures = []
    for symbol, file in zip(symbols, files, strict=True):
        try:
            fetched.append(_fetch_one(source, symbol, span, file))
        except (DataError, ParameterError, SourceError) as error:
            if len(symbols) == 1:
                raise
            failed.append((symbol, error))
            if isinstance(error, SourceError):
                break
    return fetched, failed


def _fetch_one(source: CandleSource, symbol: str, span: FetchRange, file: Path | None) -> FetchResult:
    candles = source.candles(symbol, span.interval, start=span.start, end=span.end, records=span.records)
    from kronos.candles.io import write_candles

    return FetchResult(candles, None if file is None else write_candles(candles, file))


def _output_files(symbols: list[str], span: FetchRange, output: Path | None, *, simulated: bool) -> list[Path | None]:
    """Return the file of each symbol: ``--output`` itself, or a file in that folder.

    Raises:
        ParameterError: If the output cannot hold the symbols.
    """
    if output is None:
        return [None] * len(symbols)
    from kronos.candles.io import WRITABLE_SUFFIXES, check_output_path

    if output.suffix.lower() in WRITABLE_SUFFIXES:
        if len(symbols) > 1:
            raise ParameterError(f"--output {output.name} is one file for {len(symbols)} symbols; give a folder.")
        check_output_path(output, simulated=simulated)
        return [output]
    if output.suffix and not output.is_dir():
        raise ParameterError(f"--output {output.name} is neither a folder nor a {', '.join(WRITABLE_SUFFIXES)} file.")
    files = [output / _file_name(symbol, span.interval, simulated=simulated) for symbol in symbols]
    owners: dict[str, str] = {}
    for symbol, file in zip(symbols, files, strict=True):
        other = owners.setdefault(file.name.casefold(), symbol)  # some file systems ignore case
        if other != symbol:
            raise ParameterError(f"{other} and {symbol} would both be written to {file}; leave one of them out.")
    return list(files)


def _file_name(symbol: str, interval: Interval, *, simulated: bool) -> str:
    """Return a series' file name: ``BTC-USDT_1h.csv``, ``simulated_BTC-USDT_1h.csv``."""
    safe = re.sub(r"[^\w.+=@-]+", "-", symbol).strip("-.") or "series"
    return f"{'simulated_' if simulated else ''}{safe}_{interval}.csv"


def _show(
    fetched: list[FetchResult],
    source: CandleSource,
    failed: Sequence[tuple[str, KronosError]] = (),
    *,
    json: bool,
    verbose: bool,
) -> None:
    """Print the fetched series; the JSON document also has the failures."""
    if json:
        errors = [{"symbol": symbol, "error": str(error)} for symbol, error in failed]
        series = [_entry(result) for result in fetched]
        print_json({"source": source.name, "simulated": source.simulated, "series": series, "errors": errors})
        return
    if not fetched:
        return
    from rich.text import Text

    lines: list[RenderableType] = [_table([_entry(result) for result in fetched]), Text()]
    if source.simulated:
        lines.append(Text("SIMULATED: these candles never traded.", style="bold yellow"))
    for result in fetched:
        for finding in result.candles.findings:
            if verbose or finding.severity == "warning":
                style = "yellow" if finding.severity == "warning" else "dim"
                lines.append(Text(f"{result.candles.symbol}: {finding.message}", style=style))
    lines += [Text.assemble(("→ ", "dim"), str(result.file)) for result in fetched if result.file is not None]
    page(*lines)


def _table(entries: list[dict[str, Any]]) -> Table:
    first, last = ([entry[end][:16].replace("T", " ") for entry in entries] for end in ("first", "last"))
    return table(
        ConsoleColumn("symbol", [entry["symbol"] for entry in entries]),
        ConsoleColumn("interval", [entry["interval"] for entry in entries], priority=1),
        ConsoleColumn("candles", [f"{entry['candles']:,}" for entry in entries], right=True),
        ConsoleColumn("first", first, priority=2),
        ConsoleColumn("last", last),
        ConsoleColumn("digest", [entry["sha256"][:12] for entry in entries], priority=3),
        width=page_width(),
    )


def _entry(result: FetchResult) -> dict[str, Any]:
    from kronos.provenance import frame_digest

    candles = result.candles
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
        "file": None if result.file is None else str(result.file),
    }
